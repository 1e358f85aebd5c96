//! What fuzz targets need of the parts that strangers' bytes reach, and nobody else. Not part of the interface.

use hyper::Method;
use hyper::header::{self, HeaderName, HeaderValue};

use super::guard::{Guard, Https, Needs};
use super::message::Request;
use super::routes::TABLE;
use super::{cookie, path, whep};
use crate::auth::Scope;

/// A request of these bytes, as the front would hand it on: `METHOD TARGET`, header lines, an empty line, a body.
fn request(bytes: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: Method::from_bytes(method.as_bytes()).ok()?,
        path: path.to_owned(),
        query: query.to_owned(),
        body: body.as_bytes().to_vec().into(),
        ..Request::default()
    };
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let (name, value) = (HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value.trim()).ok()?);
        request.headers.append(name, value);
    }
    Some(request)
}

/// The way of a request up to its handler.
///
/// # Panics
/// When something that must hold of every request does not.
pub fn head(bytes: &[u8]) {
    let Some(mut request) = request(bytes) else { return };
    let guard =
        Guard::new(vec!["https://home.example".into()], Vec::new(), None, Https { led_to: Some(443), hsts_s: 0 });
    let is_own = guard.refuse_name(&request).is_none();
    // Asked by a name that is not its own, it refuses first.
    if is_own
        && let Some(way) = guard.lead_to_https(&request)
        && let Some(to) = way.headers().get(header::LOCATION)
    {
        let there = to.as_bytes().strip_prefix(b"https://").expect("it leads to HTTPS");
        assert!(there.first().is_some_and(|byte| *byte != b'/'), "it leads to a host");
    }
    for needs in [Needs::Public, Needs::OwnPage, Needs::Caller(Scope::Admin)] {
        for is_secure in [false, true] {
            request.is_secure = is_secure;
            let is_let_in = guard.admit(&request, needs).is_ok();
            let evil = request.header(header::ORIGIN).is_some_and(|origin| origin.ends_with("evil.example"));
            assert!(!(is_let_in && evil && is_own && needs != Needs::Public), "another site's page is let in");
        }
    }
    for row in TABLE {
        let params = path::matches(row.path, &request.path).unwrap_or_default();
        assert!(params.len() <= 1);
    }
    let _ = (request.query_value("camera"), request.content_type(), whep::candidates(&request.body));
}

/// Reading cookies.
///
/// # Panics
/// When something that must hold of every secret does not.
pub fn cookies(lines: &str) {
    let mut request = Request::default();
    for line in lines.lines() {
        let Ok(value) = HeaderValue::from_str(line) else { continue };
        request.headers.append(header::COOKIE, value);
    }
    if let Some(secret) = cookie::secret(&request) {
        assert!(lines.contains(secret) && !secret.contains(';'));
    }
}
