//! Signalling as the seed's clients know it: `/offer` and `/close_connection`.

use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::message::{Request, Response};
use super::{Context, Mode};
use crate::auth::Scope;
use crate::auth::door::seconds;
use crate::webrtc::{self, OfferError};

/// What the seed's clients send as `Content-Type`. None is taken for it, but no form's and no plain text: those a page
/// could send without asking.
const JSON: &str = "application/json";
/// When somebody who found no place may find one, in seconds: some have left by then, and offers that led nowhere are
/// forgotten.
const LATER: &str = "5";

/// Answers, for the camera of `?camera=`, `{"sdp", "type": "offer"}` with `{"sdp", "type": "answer", "session"}`.
pub(super) fn offer(context: &Context, request: &Request) -> Response {
    if !["", JSON].contains(&&*request.content_type()) {
        return Response::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the Content-Type must be {JSON}"));
    }
    let sdp = match offered_sdp(&request.body) {
        Ok(sdp) => sdp,
        Err(what) => return Response::error(StatusCode::BAD_REQUEST, what),
    };
    let Some(camera) = context.asked_camera(request) else { return context.no_such_camera() };
    if let Some(refusal) = without_webrtc(context) {
        return refusal;
    }
    if request.method == Method::HEAD {
        return Response::new(StatusCode::OK, "application/json", ""); // Nobody would hear the answer.
    }
    match context.sessions.answer(camera, &sdp, request.peer.map(|peer| peer.ip())) {
        Ok(answer) => {
            context.watching.add(&request.caller.who, answer.id, &context.sessions);
            let body = json!({ "sdp": answer.sdp, "type": "answer", "session": answer.id.to_string() });
            Response::json(StatusCode::OK, &body)
        }
        Err(error) => refused(&error),
    }
}

/// A refusal, when the owner wants no WebRTC.
pub(super) fn without_webrtc(context: &Context) -> Option<Response> {
    let what = "this camera serves single pictures only: GET /stream.mjpg";
    (context.mode == Mode::Mjpeg).then(|| Response::error(StatusCode::NOT_FOUND, what))
}

/// The answer to an offer that cannot be taken.
pub(super) fn refused(error: &OfferError) -> Response {
    let status = match error {
        OfferError::Malformed(_) => StatusCode::BAD_REQUEST,
        OfferError::Unusable(_) => StatusCode::UNPROCESSABLE_ENTITY,
        OfferError::TooManyViewers { limit } => {
            let body = json!({ "error": error.to_string(), "limit": limit });
            return Response::json(StatusCode::SERVICE_UNAVAILABLE, &body).with(header::RETRY_AFTER, LATER);
        }
        OfferError::TooManyConnecting => {
            return Response::error(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                .with(header::RETRY_AFTER, LATER);
        }
        OfferError::TooManyFromThere { limit } => {
            let body = json!({ "error": error.to_string(), "limit": limit });
            return Response::json(StatusCode::TOO_MANY_REQUESTS, &body).with(header::RETRY_AFTER, LATER);
        }
        OfferError::TooFast { wait } => {
            return Response::error(StatusCode::TOO_MANY_REQUESTS, error.to_string())
                .with(header::RETRY_AFTER, seconds(*wait).to_string());
        }
        OfferError::Internal(_) => {
            log::error!("an offer could not be answered: {error}");
            return Response::error(StatusCode::INTERNAL_SERVER_ERROR, "perch failed here; its log says why");
        }
    };
    Response::error(status, error.to_string())
}

fn parse(body: &[u8]) -> Result<Value, String> {
    if body.trim_ascii().is_empty() {
        return Err("the body is empty: JSON was expected".into());
    }
    serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))
}

fn offered_sdp(body: &[u8]) -> Result<String, String> {
    let Value::Object(mut offer) = parse(body)? else {
        return Err("the body must be a JSON object with `sdp` and `type`".into());
    };
    match offer.get("type") {
        Some(Value::String(kind)) if kind == "offer" => {}
        Some(Value::String(kind)) => {
            let kind: String = kind.chars().take(20).collect();
            return Err(format!("`type` must be \"offer\", not {kind:?}"));
        }
        Some(_) => return Err("`type` must be a string".into()),
        None => return Err("`type` is missing".into()),
    }
    match offer.remove("sdp") {
        Some(Value::String(sdp)) => Ok(sdp),
        Some(_) => Err("`sdp` must be a string".into()),
        None => Err("`sdp` is missing".into()),
    }
}

/// What `/close_connection` is asked to do.
#[derive(Debug, PartialEq, Eq)]
enum Close {
    /// `{"session": "<id>"}`.
    One(String),
    /// Anything but `0`.
    All,
    /// `0`: the seed would reset its clock. perch's time is captured time, so nothing is to do.
    Nothing,
}

fn close(body: &[u8]) -> Result<Close, String> {
    Ok(match parse(body)? {
        Value::Object(mut object) => match object.remove("session") {
            Some(Value::String(id)) => Close::One(id),
            Some(_) => return Err("`session` must be a string".into()),
            None => Close::All,
        },
        // In the seed's language 0, 0.0 and false are all equal to 0.
        Value::Number(number) if number.as_f64() == Some(0.0) => Close::Nothing,
        Value::Bool(false) => Close::Nothing,
        _ => Close::All,
    })
}

/// Closes one session, or all.
pub(super) fn close_connection(context: &Context, request: &Request) -> Response {
    let sessions = &context.sessions;
    let asked = match close(&request.body) {
        Ok(asked) => asked,
        Err(what) => return Response::error(StatusCode::BAD_REQUEST, what),
    };
    match asked {
        Close::One(id) => {
            if let Ok(id) = id.parse() {
                // It may have ended by itself.
                let _ = sessions.close(&id);
            }
            Response::text("OK")
        }
        Close::All | Close::Nothing if sessions.mode() == webrtc::Mode::Broadcast || !sessions.has_streamed() => {
            Response::text("DISABLED")
        }
        Close::All if !request.caller.may(Scope::Control) => {
            Response::error(StatusCode::FORBIDDEN, "closing everybody's sessions needs the right to control")
        }
        Close::All => {
            sessions.close_all();
            Response::text("OK")
        }
        Close::Nothing => Response::text("OK"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_says_what_is_wrong_with_it() {
        for (body, what) in [
            ("", "the body is empty"),
            ("{", "the body is not JSON"),
            ("[]", "must be a JSON object"),
            ("{}", "`type` is missing"),
            (r#"{"type":"offer"}"#, "`sdp` is missing"),
            (r#"{"type":"answer","sdp":""}"#, "must be \"offer\", not \"answer\""),
            (r#"{"type":1,"sdp":""}"#, "`type` must be a string"),
            (r#"{"type":"offer","sdp":{}}"#, "`sdp` must be a string"),
        ] {
            let error = offered_sdp(body.as_bytes()).unwrap_err();
            assert!(error.contains(what), "{body}: {error}");
        }
    }

    #[test]
    fn extra_keys_of_an_offer_are_ignored() {
        assert_eq!(offered_sdp(br#"{"type":"offer","sdp":"v=0","more":[1]}"#).as_deref(), Ok("v=0"));
    }

    #[test]
    fn zero_closes_nobody_and_any_other_value_everybody() {
        for zero in ["0", "0.0", "-0", "false", " 0 "] {
            assert_eq!(close(zero.as_bytes()), Ok(Close::Nothing), "{zero}");
        }
        for other in ["1", "\"0\"", "null", "true", "[]", "{}", "\"session\""] {
            assert_eq!(close(other.as_bytes()), Ok(Close::All), "{other}");
        }
        assert_eq!(close(br#"{"session":"ab"}"#), Ok(Close::One("ab".into())));
        assert!(close(br#"{"session":1}"#).is_err() && close(b"").is_err() && close(b"{").is_err());
    }
}
