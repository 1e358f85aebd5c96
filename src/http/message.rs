//! A request as handlers see it, and what they answer.
//!
//! Bodies of requests are whole and small (the front has limited them). The headers that every answer
//! must carry are added here, so that no handler can forget them. Sockets are `front`'s and `dispatch`'s.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::stream::Parts;
use crate::auth::Caller;

/// What every answer carries. Scripts and styles come from perch's own files alone, no other site may frame, embed or
/// reach a page, and nothing of the browser's machine is used.
const ALWAYS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; \
         connect-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), microphone=(), geolocation=(), display-capture=(), usb=(), serial=(), bluetooth=(), payment=()",
    ),
];
/// Browsers hide the answer from other origins' pages, however it is embedded; unless `guard` shares it.
const RESOURCE_POLICY: (HeaderName, &str) = (HeaderName::from_static("cross-origin-resource-policy"), "same-origin");

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as sent, still percent-encoded, without the query.
    pub path: String,
    /// What follows `?`, or nothing.
    pub query: String,
    /// The headers, without those of the connection.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Who asks.
    pub peer: Option<SocketAddr>,
    pub(super) params: Vec<(String, String)>,
    /// Who `guard` found that it is.
    pub(super) caller: Caller,
    pub(super) is_secure: bool,
    /// Whether it comes from the appliance's access point, and that is open.
    pub(super) is_at_access_point: bool,
}

impl Request {
    /// Whether it came over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// What stood in the path where the route says `{name}`, decoded; empty when the route has no such name.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The value of `name` in the query, decoded; empty when it is not there. The first one counts.
    #[must_use]
    pub fn query_value(&self, name: &str) -> String {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// A header's value, when it is there and is text.
    #[must_use]
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's type without its parameters, in lower case; empty when there is none.
    #[must_use]
    pub fn content_type(&self) -> String {
        let value = self.header(header::CONTENT_TYPE).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// Writes an answer that does not end by itself; runs on its own thread.
pub(super) type StreamBody = Box<dyn FnOnce(&mut Parts<'_>) -> io::Result<()> + Send>;

/// What follows an answer's head.
pub(super) enum Body {
    /// All of it at once.
    Whole(Bytes),
    /// Written bit by bit.
    Stream(StreamBody),
}

/// One answer.
pub struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Whole(Bytes::new()) }
    }

    /// An answer with a body of the given type.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Self::empty(status);
        response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.body = Body::Whole(body.into());
        response
    }

    /// 200 with plain text.
    #[must_use]
    pub fn text(body: impl Into<String>) -> Self {
        Self::new(StatusCode::OK, "text/plain; charset=utf-8", body.into())
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, "application/json", body),
            Err(error) => {
                log::error!("an answer could not be written as JSON: {error}");
                Self::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// A refusal: `{"error": "…"}`.
    #[must_use]
    pub fn error(status: StatusCode, what: impl AsRef<str>) -> Self {
        Self::json(status, &serde_json::json!({ "error": what.as_ref() }))
    }

    pub(super) fn stream(content_type: &'static str, body: StreamBody) -> Self {
        let mut response = Self::new(StatusCode::OK, content_type, Bytes::new());
        response.body = Body::Stream(body);
        response
    }

    /// The same answer with one more header; a value that no header can hold is logged and left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> Self {
        match HeaderValue::from_str(value.as_ref()) {
            Ok(value) => drop(self.headers.append(name, value)),
            Err(_) => log::warn!("header {name} was left out: {:?} is not a header value", value.as_ref()),
        }
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body, when it is whole.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        match &self.body {
            Body::Whole(bytes) => Some(bytes),
            Body::Stream(_) => None,
        }
    }

    /// Adds what every answer carries.
    #[must_use]
    pub(super) fn hardened(mut self) -> Self {
        for (name, value) in ALWAYS {
            self.headers.insert(name, HeaderValue::from_static(value));
        }
        let (name, value) = RESOURCE_POLICY;
        self.headers.entry(name).or_insert(HeaderValue::from_static(value));
        let no_store = HeaderValue::from_static("no-store");
        self.headers.entry(header::CACHE_CONTROL).or_insert(no_store);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_hardened_and_none_allows_inline_scripts() {
        for answer in [Response::text("ok"), Response::new(StatusCode::OK, "text/html; charset=utf-8", "<p>")] {
            let answer = answer.with(header::CONTENT_SECURITY_POLICY, "default-src *").hardened();
            for (name, value) in ALWAYS.into_iter().chain([RESOURCE_POLICY]) {
                let found: Vec<_> = answer.headers().get_all(&name).iter().collect();
                assert_eq!(found, [value], "{name}");
            }
        }
        assert!(ALWAYS.iter().all(|(_, value)| !value.contains("unsafe")));
    }

    #[test]
    fn what_is_shared_stays_shared() {
        let (name, _) = RESOURCE_POLICY;
        let answer = Response::text("ok").with(name.clone(), "cross-origin").hardened();
        assert_eq!(answer.headers()[name], "cross-origin");
    }

    #[test]
    fn a_value_with_a_line_break_never_becomes_a_header() {
        let response = Response::empty(StatusCode::OK).with(header::LOCATION, "/a\r\nSet-Cookie: b");
        assert!(response.headers().is_empty());
    }

    #[test]
    fn content_type_is_read_without_parameters_and_case() {
        let mut request = Request::default();
        request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("Application/SDP; charset=utf-8"));
        assert_eq!(request.content_type(), "application/sdp");
    }
}
