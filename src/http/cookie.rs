//! The login cookie: what it is called, and how it is read and set (RFC 6265).

use std::time::Duration;

use hyper::header;

use super::message::Request;

/// Its name. It is the same over HTTP and HTTPS, so no `__Host-` in front.
const NAME: &str = "perch_session";

/// The secret in the request's cookie. Two that differ are none: one of them is somebody else's doing.
pub(super) fn secret(request: &Request) -> Option<&str> {
    let lines = request.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value.trim_matches('"'));
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// `Set-Cookie` for a session that begins. No script reads it, no other site's page makes a browser send it.
pub(super) fn begin(secret: &str, lasts: Duration, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{NAME}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}", lasts.as_secs())
}

/// `Set-Cookie` for a session that has ended.
pub(super) fn end(is_secure: bool) -> String {
    begin("", Duration::ZERO, is_secure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&'static str]) -> Option<String> {
        let mut request = Request::default();
        for line in lines {
            request.headers.append(header::COOKIE, header::HeaderValue::from_static(line));
        }
        secret(&request).map(str::to_owned)
    }

    #[test]
    fn the_secret_is_found_among_other_cookies() {
        assert_eq!(found(&["a=b; perch_session=abc;c=d"]).as_deref(), Some("abc"));
        assert_eq!(found(&["a=b", " perch_session=\"abc\" "]).as_deref(), Some("abc"));
        assert_eq!(found(&["perch_session=abc; perch_session=abc"]).as_deref(), Some("abc"));
        for other in ["", "perch_session", "xperch_session=abc", "Perch_Session=abc", "a=perch_session=abc"] {
            assert_eq!(found(&[other]), None, "{other}");
        }
    }

    #[test]
    fn two_that_differ_are_none() {
        assert_eq!(found(&["perch_session=abc; perch_session=def"]), None);
        assert_eq!(found(&["perch_session=abc", "perch_session=def"]), None);
    }

    #[test]
    fn the_cookie_is_for_the_browser_alone_and_secure_under_tls() {
        let lasts = Duration::from_secs(60);
        assert_eq!(begin("abc", lasts, false), "perch_session=abc; HttpOnly; SameSite=Strict; Path=/; Max-Age=60");
        assert!(begin("abc", lasts, true).ends_with("; Secure"));
        assert!(end(false).contains("Max-Age=0"));
    }
}
