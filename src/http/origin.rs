//! From which page a request comes, as browsers say it (`Origin`, `Sec-Fetch-Site`), and by which name perch is asked
//! for (`Host`).
//!
//! Programs say neither, and links that were typed or clicked say no `Origin`; what they may do is the login's matter.

use hyper::header::{self, HeaderName};

use super::message::Request;

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Checks an origin as the owner writes it: scheme, host, and port if it is not the scheme's own.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_origin(origin: &str) -> Result<(), String> {
    let advice = "must be an exact origin such as `https://home.example:8443`";
    let host = ["http://", "https://"].iter().find_map(|scheme| origin.strip_prefix(scheme));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._~:[]".contains(&byte);
    match host {
        Some(host) if !host.is_empty() && host.bytes().all(plain) => Ok(()),
        _ => Err(format!("`{origin}` {advice}, in lower case, without path")),
    }
}

/// Checks a name as the owner writes it: as in `Host`, without a port.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    match !host.is_empty() && host.len() <= 253 && host.bytes().all(plain) {
        true => Ok(()),
        false => Err(format!("`{host}` must be a name such as `camera.home.example`, in lower case, without port")),
    }
}

/// Whether a page of another origin asks, other than by a link that the user follows. `allowed` are as good as our own.
///
/// Browsers send `Sec-Fetch-Site` only to addresses that they trust (HTTPS and this very machine), so its absence says
/// nothing, and `Origin` only where a page reads or changes something.
pub(super) fn is_foreign(request: &Request, allowed: &[String]) -> bool {
    let mut origins = request.headers.get_all(header::ORIGIN).iter();
    if let Some(origin) = origins.next() {
        let own = match (origin.to_str(), request.header(header::HOST), origins.next()) {
            (Ok(origin), _, None) if allowed.iter().any(|allowed| allowed == origin) => true,
            (Ok(origin), Some(host), None) => is_same(origin, host, request.is_secure),
            _ => false,
        };
        return !own;
    }
    // Another port of the same host is another origin, and `same-site`.
    let from_elsewhere = request.headers.get_all(SITE).iter().any(|site| site != "same-origin" && site != "none");
    let is_link = request.method.is_safe()
        && request.header(MODE) == Some("navigate")
        && request.header(DEST) == Some("document");
    from_elsewhere && !is_link
}

/// Whether `host` is a name of this machine: an address (which no name server can turn elsewhere), `localhost`, its own
/// `name` with or without `.local`, or one of `more`. Against DNS rebinding: a name of somebody else's that leads here.
pub(super) fn is_own_name(host: &str, name: &str, more: &[String]) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let name = name.to_ascii_lowercase();
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').map(|address| address.split('%').next().unwrap_or(address));
        return address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    host.is_empty()
        || host.parse::<std::net::Ipv4Addr>().is_ok()
        || host == "localhost"
        || !name.is_empty() && host.strip_prefix(&name).is_some_and(|rest| rest.is_empty() || rest == ".local")
        || more.contains(&host)
}

/// The name in a `Host` header, without its port.
pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

/// Over TLS only a page that came over TLS is the same. Without, TLS may have ended at a reverse proxy.
fn is_same(origin: &str, host: &str, is_secure: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" if !is_secure => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |authority: &str| authority.strip_suffix(default_port).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Method;
    use hyper::header::HeaderValue;

    fn foreign(method: Method, headers: &[(HeaderName, &'static str)]) -> bool {
        let mut request = Request { method, ..Request::default() };
        for (name, value) in headers {
            request.headers.append(name, HeaderValue::from_static(value));
        }
        is_foreign(&request, &["https://home.example".into()])
    }

    fn post(headers: &[(HeaderName, &'static str)]) -> bool {
        foreign(Method::POST, headers)
    }

    #[test]
    fn the_pages_own_requests_pass() {
        assert!(!post(&[(header::HOST, "cam.local:8000"), (header::ORIGIN, "http://cam.local:8000")]));
        assert!(!post(&[(header::HOST, "Cam.local"), (header::ORIGIN, "http://cam.local:80"), (SITE, "same-origin")]));
        assert!(!post(&[(header::HOST, "cam.local:443"), (header::ORIGIN, "https://cam.local")]));
        assert!(!post(&[(header::HOST, "cam.local")]));
        assert!(!post(&[(header::HOST, "cam.local"), (SITE, "none")]));
    }

    #[test]
    fn over_tls_a_page_that_came_without_is_foreign() {
        for (origin, expected) in
            [("https://cam.local", false), ("http://cam.local", true), ("http://cam.local:443", true)]
        {
            let mut request = Request { method: Method::POST, is_secure: true, ..Request::default() };
            request.headers.append(header::HOST, HeaderValue::from_static("cam.local"));
            request.headers.append(header::ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(is_foreign(&request, &[]), expected, "{origin}");
        }
    }

    #[test]
    fn other_sites_are_foreign() {
        let host = (header::HOST, "cam.local:8000");
        for origin in ["http://evil.example", "null", "", "http://cam.local", "http://cam.local:8000.evil.example"] {
            assert!(post(&[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
        assert!(post(&[(header::ORIGIN, "http://cam.local")]));
        for site in ["cross-site", "same-site", "", "nonsense"] {
            assert!(
                post(&[host.clone(), (SITE, site)]) && foreign(Method::GET, &[host.clone(), (SITE, site)]),
                "{site}"
            );
        }
    }

    #[test]
    fn a_link_may_be_followed_but_not_embedded_or_posted() {
        let link = [(SITE, "cross-site"), (MODE, "navigate"), (DEST, "document")];
        assert!(!foreign(Method::GET, &link));
        assert!(foreign(Method::POST, &link));
        for dest in ["image", "iframe", "video", "empty"] {
            assert!(foreign(Method::GET, &[(SITE, "cross-site"), (MODE, "navigate"), (DEST, dest)]), "{dest}");
        }
    }

    #[test]
    fn an_allowed_origin_passes_and_only_as_it_is_written() {
        let host = (header::HOST, "cam.local:8000");
        assert!(!post(&[host.clone(), (header::ORIGIN, "https://home.example"), (SITE, "cross-site")]));
        for origin in ["http://home.example", "https://home.example:8443", "https://home.example.evil.example"] {
            assert!(post(&[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
    }

    #[test]
    fn two_origins_are_foreign() {
        let own = (header::ORIGIN, "http://cam.local");
        assert!(post(&[(header::HOST, "cam.local"), own.clone(), own]));
    }

    #[test]
    fn origins_and_names_are_checked_when_they_are_read() {
        for origin in ["https://home.example", "http://192.0.2.1:8080", "http://[2001:db8::1]"] {
            assert_eq!(check_origin(origin), Ok(()));
        }
        for origin in ["*", "null", "", "https://", "home.example", "https://home.example/", "https://Home.example"] {
            assert!(check_origin(origin).unwrap_err().contains("exact origin"), "{origin}");
        }
        assert_eq!(check_host("cam.home.example"), Ok(()));
        for host in ["", "*", "cam:8000", "http://cam", "Cam", "cam/"] {
            assert!(check_host(host).is_err(), "{host}");
        }
    }

    #[test]
    fn only_names_that_nobody_else_can_own_lead_here() {
        let more = ["camera.home.example".to_owned()];
        let own = |host: &str| is_own_name(without_port(host), "Perch", &more);
        for host in [
            "127.0.0.1:8000",
            "192.168.1.7",
            "[::1]:8000",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:80",
            "perch",
            "perch.local.",
            "Perch.local:8000",
            "camera.home.example:8000",
            "",
        ] {
            assert!(own(host), "{host}");
        }
        for host in [
            "[evil.example]",
            "[/evil.example]",
            "evil.example",
            "perch.evil.example",
            "perchx",
            "xperch.local",
            "perch.local.evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "1.2.3",
            "2130706433",
            "home.example",
            "perch:8000:8000",
        ] {
            assert!(!own(host), "{host}");
        }
        assert!(!is_own_name(".local", "", &[]), "a machine without a name");
    }
}
