//! WHEP: signalling that standard players know (draft-ietf-wish-whep, on the ground of RFC 9725, WHIP).
//!
//! The client offers, perch answers, and the session is a resource that can be patched with candidates
//! and deleted. ICE restarts and server-made offers are not supported.

use hyper::{Method, StatusCode, header};

use super::Context;
use super::message::{Request, Response};
use super::offer::{refused, without_webrtc};
use super::routes::allow;
use crate::webrtc::{CandidateError, IceServer, SessionId};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Most candidates in one PATCH.
const MAX_CANDIDATES: usize = 32;

/// `POST /whep`, `POST /whep/{camera}`: opens a session.
pub(super) fn create(context: &Context, request: &Request) -> Response {
    let name = request.param("camera");
    let Some(camera) = context.camera(name) else {
        return if name.parse::<SessionId>().is_ok() { no_post() } else { context.no_such_camera() };
    };
    if let Some(refusal) = without_webrtc(context) {
        return refusal;
    }
    if request.content_type() != SDP {
        return unsupported(SDP).with(header::HeaderName::from_static("accept-post"), SDP);
    }
    let Ok(offer) = std::str::from_utf8(&request.body) else {
        return Response::error(StatusCode::BAD_REQUEST, "the offer is not text");
    };
    if offer.trim().is_empty() {
        return Response::error(StatusCode::BAD_REQUEST, "the body is empty: an SDP offer was expected");
    }
    let answer = match context.sessions.answer(camera, offer, request.peer.map(|peer| peer.ip())) {
        Ok(answer) => answer,
        Err(error) => return refused(&error),
    };
    context.watching.add(&request.caller.who, answer.id, &context.sessions);
    let mut response = Response::new(StatusCode::CREATED, SDP, answer.sdp)
        .with(header::LOCATION, format!("/whep/{}", answer.id))
        .with(header::ETAG, entity_tag(&answer.id))
        .with(header::HeaderName::from_static("accept-patch"), FRAGMENT);
    for link in context.sessions.ice_servers().iter().flat_map(links) {
        response = response.with(header::LINK, link);
    }
    response
}

/// `OPTIONS`: what may be sent here.
pub(super) fn options(context: &Context, request: &Request) -> Response {
    let response = Response::empty(StatusCode::NO_CONTENT);
    match request.param("id") {
        camera if context.camera(camera).is_some() => response
            .with(header::ALLOW, allow(&[Method::POST]))
            .with(header::HeaderName::from_static("accept-post"), SDP),
        _ => response
            .with(header::ALLOW, allow(&[Method::DELETE, Method::PATCH]))
            .with(header::HeaderName::from_static("accept-patch"), FRAGMENT),
    }
}

/// `DELETE /whep/{id}`: ends a session.
pub(super) fn delete(context: &Context, request: &Request) -> Response {
    match request.param("id").parse::<SessionId>() {
        Ok(id) if context.sessions.close(&id) => Response::empty(StatusCode::OK),
        _ => unknown(),
    }
}

/// `PATCH /whep/{id}`: adds candidates.
pub(super) fn patch(context: &Context, request: &Request) -> Response {
    if request.content_type() != FRAGMENT {
        return unsupported(FRAGMENT).with(header::HeaderName::from_static("accept-patch"), FRAGMENT);
    }
    let Ok(id) = request.param("id").parse::<SessionId>() else { return unknown() };
    if !context.sessions.contains(&id) {
        return unknown();
    }
    match request.header(header::IF_MATCH) {
        // RFC 9725, section 4.3.2: `*` asks for an ICE restart.
        Some("*") => {
            return Response::error(
                StatusCode::UNPROCESSABLE_ENTITY,
                "ICE restarts are not supported: open a new session",
            );
        }
        Some(tag) if tag != entity_tag(&id) => {
            return Response::error(StatusCode::PRECONDITION_FAILED, "this is not the session's entity tag");
        }
        _ => {}
    }
    let candidates = match candidates(&request.body) {
        Ok(candidates) => candidates,
        Err(what) => return Response::error(StatusCode::BAD_REQUEST, what),
    };
    for candidate in candidates {
        match context.sessions.add_candidate(&id, candidate) {
            Ok(()) => {}
            Err(CandidateError::UnknownSession) => return unknown(),
            Err(error @ CandidateError::Malformed(_)) => {
                return Response::error(StatusCode::BAD_REQUEST, error.to_string());
            }
        }
    }
    Response::empty(StatusCode::NO_CONTENT)
}

/// The candidates of an SDP fragment (RFC 8840), without `a=`.
pub(super) fn candidates(fragment: &[u8]) -> Result<Vec<&str>, String> {
    let Ok(text) = std::str::from_utf8(fragment) else { return Err("the fragment is not text".into()) };
    let mut found = Vec::new();
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).peekable();
    if lines.peek().is_none() {
        return Err("the body is empty: an SDP fragment was expected".into());
    }
    for line in lines {
        match line.as_bytes() {
            [b'a' | b'm', b'=', ..] => {}
            _ => return Err("a line of the fragment is neither `a=` nor `m=`".into()),
        }
        let Some(candidate) = line.strip_prefix("a=").filter(|line| line.starts_with("candidate:")) else { continue };
        if found.len() == MAX_CANDIDATES {
            return Err(format!("more than {MAX_CANDIDATES} candidates at once"));
        }
        found.push(candidate);
    }
    Ok(found)
}

/// The answer to an offer to a session, which cannot be opened a second time.
fn no_post() -> Response {
    let allow = allow(&[Method::DELETE, Method::PATCH]);
    let what = format!("POST is not allowed here; allowed: {allow}");
    Response::error(StatusCode::METHOD_NOT_ALLOWED, what).with(header::ALLOW, allow)
}

fn entity_tag(id: &SessionId) -> String {
    format!("\"{id}\"")
}

fn unknown() -> Response {
    Response::error(StatusCode::NOT_FOUND, "there is no such session")
}

fn unsupported(expected: &str) -> Response {
    Response::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the Content-Type must be {expected}"))
}

/// A server's `Link` values (RFC 9725, section 4.6), one for each of its URLs.
fn links(server: &IceServer) -> Vec<String> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let urls = server.urls.iter();
    urls.map(|url| {
        let url = url.replace(['<', '>'], "");
        match server.username.is_empty() {
            true => format!("<{url}>; rel=\"ice-server\""),
            false => format!(
                "<{url}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                quoted(&server.username),
                quoted(&server.credential)
            ),
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_gives_its_candidates() {
        let fragment = b"a=ice-ufrag:EsAw\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na=end-of-candidates\r\n";
        assert_eq!(candidates(fragment).unwrap(), ["candidate:1 1 udp 1 10.0.0.1 9 typ host"]);
        assert_eq!(candidates(b"a=end-of-candidates\n").unwrap(), [""; 0]);
    }

    #[test]
    fn a_fragment_that_is_none_is_refused() {
        for body in [&b""[..], b"\r\n", b"candidate:1", b"{}", b"\xff"] {
            assert!(candidates(body).is_err(), "{body:?}");
        }
        assert!(candidates("a=candidate:1\n".repeat(MAX_CANDIDATES).as_bytes()).is_ok());
        assert!(candidates("a=candidate:1\n".repeat(MAX_CANDIDATES + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_turn_server_is_linked_with_its_credentials_quoted() {
        let server = IceServer {
            urls: vec!["turn:turn.example.net?transport=udp".into()],
            username: "me".into(),
            credential: "a\"b".into(),
        };
        assert_eq!(
            links(&server),
            [
                r#"<turn:turn.example.net?transport=udp>; rel="ice-server"; username="me"; credential="a\"b"; credential-type="password""#
            ]
        );
    }
}
