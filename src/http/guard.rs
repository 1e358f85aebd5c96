//! Who may ask: the one place that decides. What is not allowed here is refused.
//!
//! In this order: by which name perch was asked for, whether it must be over HTTPS, whether a page of another site asks, who it is and whether that is
//! enough. A route names what it [`Needs`]; how callers prove who they are is `auth`'s.

use std::sync::Arc;

use hyper::{Method, StatusCode, header};

use super::cookie;
use super::message::{Request, Response};
use super::origin;
use crate::auth::{Caller, Door, Scope, Standing};

/// What pages of allowed origins may send: JSON and SDP bodies, a bearer token, WHEP's entity tag.
const SHARED_HEADERS: &str = "Authorization, Content-Type, If-Match";
/// What they may read of an answer: where a WHEP session is, and how long to wait.
const SHARED_ANSWER_HEADERS: &str = "ETag, Link, Location, Retry-After";
/// How long a browser may remember a preflight's answer, in seconds.
const PREFLIGHT_AGE: &str = "600";
/// A program that is not let in learns how it could be (RFC 6750).
const CHALLENGE: &str = "Bearer realm=\"perch\"";

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: it tells and changes nothing that matters, and any page may ask for it.
    Public,
    /// No login, but no other site's page either: logging in itself.
    OwnPage,
    /// Somebody in the access point of an appliance that has no owner yet, or the owner; and no other site's page.
    Setup,
    /// Somebody who may do this much, and no other site's page.
    Caller(Scope),
}

/// The rules, as the owner set them.
pub(super) struct Guard {
    origins: Vec<String>,
    hosts: Vec<String>,
    /// `None` where everybody may do everything.
    door: Option<Arc<Door>>,
    https: Https,
}

/// What HTTPS means for requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Https {
    /// The port that whoever asks over HTTP is led to.
    pub(super) led_to: Option<u16>,
    /// For how long browsers are told to ask over HTTPS alone.
    pub(super) hsts_s: u64,
}

/// What is answered over HTTP all the same: signs of life, and the root without which HTTPS is not trusted.
const ALSO_WITHOUT_TLS: [&str; 2] = ["/healthz", "/ca.crt"];

impl Guard {
    /// Lets pages of `origins` ask, answers to `hosts` beside the machine's own names, and asks at `door` who it is.
    pub(super) const fn new(origins: Vec<String>, hosts: Vec<String>, door: Option<Arc<Door>>, https: Https) -> Self {
        Self { origins, hosts, door, https }
    }

    /// The way to HTTPS, when that is where the request belongs. What carries a body has been read along already: it is
    /// refused, so that whoever sends it notices.
    pub(super) fn lead_to_https(&self, request: &Request) -> Option<Response> {
        let port = self.https.led_to?;
        // In the access point no browser would take the certificate, and the air is encrypted.
        if request.is_secure || request.is_at_access_point || ALSO_WITHOUT_TLS.contains(&&*request.path) {
            return None;
        }
        let host = origin::without_port(request.header(header::HOST).unwrap_or_default());
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
        let there = format!("https://{host}{port}{}{query}", request.path);
        if request.method.is_safe() && !host.is_empty() {
            // Not for good: browsers would remember it when HTTPS is switched off.
            return Some(Response::empty(StatusCode::TEMPORARY_REDIRECT).with(header::LOCATION, there));
        }
        Some(Response::error(StatusCode::FORBIDDEN, format!("this camera takes that over HTTPS alone: {there}")))
    }

    /// The answer as it is given over TLS.
    pub(super) fn over_tls(&self, response: Response) -> Response {
        match self.https.hsts_s {
            0 => response,
            age => response.with(header::STRICT_TRANSPORT_SECURITY, format!("max-age={age}")),
        }
    }

    /// A refusal, when perch was asked for by a name that is not its own.
    pub(super) fn refuse_name(&self, request: &Request) -> Option<Response> {
        let host = origin::without_port(request.header(header::HOST).unwrap_or_default());
        let name = rustix::system::uname();
        let is_own = origin::is_own_name(host, name.nodename().to_str().unwrap_or_default(), &self.hosts);
        (!is_own).then(|| {
            let what = "this name is not one of this camera's: use its address, or list the name in http.allowed_hosts";
            Response::error(StatusCode::MISDIRECTED_REQUEST, what)
        })
    }

    /// Who asks, when they may ask for what `needs` this.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn admit(&self, request: &Request, needs: Needs) -> Result<Caller, Box<Response>> {
        if needs != Needs::Public && origin::is_foreign(request, &self.origins) {
            return Err(Box::new(Response::error(
                StatusCode::FORBIDDEN,
                "pages of other sites may not use this camera",
            )));
        }
        let Some(door) = &self.door else { return Ok(Caller::ANYONE) };
        let scope = match needs {
            Needs::Public | Needs::OwnPage => return Ok(Caller::default()),
            // Who is in it has read its password from the camera's screen.
            Needs::Setup if request.is_at_access_point && matches!(door.standing(), Standing::Unclaimed(_)) => {
                return Ok(Caller::default());
            }
            Needs::Setup => Scope::Admin,
            Needs::Caller(scope) => scope,
        };
        match caller(Some(door), request) {
            Some(caller) if caller.may(scope) => Ok(caller),
            Some(caller) => {
                let what = format!("this needs the right to {scope}, and you have the right to {}", caller.scope);
                Err(Box::new(Response::error(StatusCode::FORBIDDEN, what)))
            }
            None => Err(Box::new(stranger(request, door.standing()))),
        }
    }

    /// The origin of the page that asks, when the owner allows it.
    pub(super) fn allowed_origin(&self, request: &Request) -> Option<&str> {
        let asking = request.header(header::ORIGIN)?;
        self.origins.iter().map(String::as_str).find(|origin| *origin == asking)
    }

    /// The answer as a page of the allowed `origin` may read it (Fetch standard, section 3.2).
    pub(super) fn share(response: Response, origin: &str) -> Response {
        let response = response
            .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin)
            .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, SHARED_ANSWER_HEADERS)
            .with(header::HeaderName::from_static("cross-origin-resource-policy"), "cross-origin")
            .with(header::VARY, "Origin");
        match response.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).map(str::to_owned) {
            Some(allow) => response
                .with(header::ACCESS_CONTROL_ALLOW_METHODS, allow)
                .with(header::ACCESS_CONTROL_ALLOW_HEADERS, SHARED_HEADERS)
                .with(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
            None => response,
        }
    }
}

/// Who asks at `door`, if they can say.
pub(super) fn caller(door: Option<&Door>, request: &Request) -> Option<Caller> {
    match door {
        Some(door) => door.who(cookie::secret(request), bearer(request)),
        None => Some(Caller::ANYONE),
    }
}

/// The token in `Authorization: Bearer`. Another kind of authorization counts as a wrong token, not as none.
fn bearer(request: &Request) -> Option<&str> {
    let value = request.header(header::AUTHORIZATION)?;
    match value.split_once(' ') {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        _ => Some(""),
    }
}

/// The refusal for somebody unknown: people are led to a page, programs are told.
fn stranger(request: &Request, standing: Standing) -> Response {
    let wants_page = request.method.is_safe()
        && request.header(header::AUTHORIZATION).is_none()
        && request.header(header::ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let lead = |to: &str| Response::empty(StatusCode::SEE_OTHER).with(header::LOCATION, to);
    match standing {
        Standing::Claimed if wants_page => lead("/login"),
        Standing::Claimed => {
            let what = "log in first, or send a token as `Authorization: Bearer`";
            Response::error(StatusCode::UNAUTHORIZED, what).with(header::WWW_AUTHENTICATE, CHALLENGE)
        }
        Standing::Unclaimed(_) if wants_page && request.is_at_access_point => lead("/wifi"),
        Standing::Unclaimed(_) if wants_page => lead("/claim"),
        Standing::Unclaimed(_) => {
            Response::error(StatusCode::FORBIDDEN, "this camera has no owner yet: open /claim in a browser near it")
        }
        Standing::Broken => {
            let what = "who the owner is cannot be read, so nobody is let in; perch's log says why";
            Response::error(StatusCode::SERVICE_UNAVAILABLE, what)
        }
    }
}

/// What a path that is no route needs: no more is told about it than about one that is.
pub(super) fn needs_of_nothing(method: &Method) -> Needs {
    // A preflight carries neither cookie nor token (Fetch standard, section 3.2.5).
    if *method == Method::OPTIONS { Needs::Public } else { Needs::Caller(Scope::View) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use hyper::header::HeaderValue;
    use std::time::Duration;

    const HOME: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn locked() -> (Guard, Arc<Door>) {
        let door = Arc::new(Door::new(None, Duration::from_secs(900)));
        (Guard::new(Vec::new(), Vec::new(), Some(door.clone()), Https::default()), door)
    }

    fn request(headers: &[(header::HeaderName, &str)]) -> Request {
        let mut request = Request::default();
        for (name, value) in headers {
            request.headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    fn status(guard: &Guard, request: &Request, needs: Needs) -> StatusCode {
        guard.admit(request, needs).map_or_else(|refusal| refusal.status(), |_| StatusCode::OK)
    }

    #[test]
    fn before_the_claim_nothing_but_the_claim_is_open() {
        let (guard, _) = locked();
        let page = request(&[(header::ACCEPT, "text/html,*/*")]);
        let led = guard.admit(&page, Needs::Caller(Scope::View)).unwrap_err();
        assert_eq!(
            (led.status(), &led.headers()[header::LOCATION]),
            (StatusCode::SEE_OTHER, &HeaderValue::from_static("/claim"))
        );
        assert_eq!(status(&guard, &request(&[]), Needs::Caller(Scope::View)), StatusCode::FORBIDDEN);
        assert_eq!(status(&guard, &request(&[]), Needs::OwnPage), StatusCode::OK);
        assert_eq!(status(&guard, &request(&[]), Needs::Public), StatusCode::OK);
    }

    #[test]
    fn in_the_access_point_of_a_camera_without_an_owner_wifi_can_be_set_up() {
        let (guard, door) = locked();
        let mut stranger = request(&[(header::ACCEPT, "text/html")]);
        assert_eq!(status(&guard, &stranger, Needs::Setup), StatusCode::SEE_OTHER);
        stranger.is_at_access_point = true;
        assert_eq!(status(&guard, &stranger, Needs::Setup), StatusCode::OK);
        let led = guard.admit(&stranger, Needs::Caller(Scope::View)).unwrap_err();
        assert_eq!(led.headers()[header::LOCATION], "/wifi");
        let mut foreign = request(&[(header::HOST, "10.83.0.1"), (header::ORIGIN, "http://evil.example")]);
        foreign.is_at_access_point = true;
        assert_eq!(status(&guard, &foreign, Needs::Setup), StatusCode::FORBIDDEN);
        // Once there is an owner, it takes them.
        let owner = door.claim("a heron at dusk", HOME, "").map(|begun| begun.secret).unwrap_or_default();
        assert_eq!(status(&guard, &stranger, Needs::Setup), StatusCode::SEE_OTHER);
        let cookie = request(&[(header::COOKIE, &format!("perch_session={owner}"))]);
        assert_eq!(status(&guard, &cookie, Needs::Setup), StatusCode::OK);
        let token = door.add_token("x", Scope::Control).unwrap().0;
        let bearer = request(&[(header::AUTHORIZATION, &format!("bearer {token}"))]);
        assert_eq!(status(&guard, &bearer, Needs::Setup), StatusCode::FORBIDDEN);
    }

    #[test]
    fn a_cookie_or_a_token_opens_as_far_as_it_goes() {
        let (guard, door) = locked();
        let owner = door.claim("a heron at dusk", HOME, "").map(|begun| begun.secret).unwrap_or_default();
        door.set_password(Role::Viewer, "a gull at noon").unwrap();
        let viewer =
            door.log_in(Role::Viewer, "a gull at noon", HOME, "").map(|begun| begun.secret).unwrap_or_default();
        let token = door.add_token("x", Scope::Control).unwrap().0;
        let cookie = |secret: &str| request(&[(header::COOKIE, &format!("perch_session={secret}"))]);
        let bearer = |token: &str| request(&[(header::AUTHORIZATION, &format!("bearer {token}"))]);
        let (ok, no, who) = (StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED);
        for (request, expected) in [
            (cookie(&owner), [ok, ok, ok]),
            (cookie(&viewer), [ok, no, no]),
            (bearer(&token), [ok, ok, no]),
            (cookie("wrong"), [who; 3]),
            (bearer("wrong"), [who; 3]),
            (request(&[]), [who; 3]),
            (
                request(&[
                    (header::AUTHORIZATION, "Basic b3duZXI6eA=="),
                    (header::COOKIE, &format!("perch_session={owner}")),
                ]),
                [who; 3],
            ),
        ] {
            let found =
                [Scope::View, Scope::Control, Scope::Admin].map(|scope| status(&guard, &request, Needs::Caller(scope)));
            assert_eq!(found, expected, "{:?}", request.headers);
        }
    }

    #[test]
    fn a_right_cookie_does_not_make_another_sites_page_welcome() {
        let (guard, door) = locked();
        let owner = door.claim("a heron at dusk", HOME, "").map(|begun| begun.secret).unwrap_or_default();
        let cookie = (header::COOKIE, format!("perch_session={owner}"));
        let host = (header::HOST, "127.0.0.1:8000");
        let asked = |origin: &str| request(&[(cookie.0.clone(), &cookie.1), host.clone(), (header::ORIGIN, origin)]);
        assert_eq!(status(&guard, &asked("http://127.0.0.1:8000"), Needs::Caller(Scope::Admin)), StatusCode::OK);
        for needs in [Needs::OwnPage, Needs::Caller(Scope::View)] {
            assert_eq!(status(&guard, &asked("http://127.0.0.1:9000"), needs), StatusCode::FORBIDDEN);
        }
    }

    #[test]
    fn without_a_door_everybody_may_everything_but_other_sites() {
        let guard = Guard::new(Vec::new(), Vec::new(), None, Https::default());
        assert_eq!(guard.admit(&request(&[]), Needs::Caller(Scope::Admin)).ok(), Some(Caller::ANYONE));
        let foreign = request(&[(header::ORIGIN, "http://evil.example")]);
        assert_eq!(status(&guard, &foreign, Needs::Caller(Scope::View)), StatusCode::FORBIDDEN);
    }

    #[test]
    fn a_name_of_somebody_elses_is_refused() {
        let guard = Guard::new(Vec::new(), vec!["cam.home.example".into()], None, Https::default());
        let refused =
            |host: &str| guard.refuse_name(&request(&[(header::HOST, host)])).map(|response| response.status());
        assert_eq!(refused("rebound.example:8000"), Some(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(refused("cam.home.example:8000"), None);
        assert_eq!(refused(&rustix::system::uname().nodename().to_string_lossy()), None);
    }

    #[test]
    fn over_http_whoever_asks_is_led_to_https() {
        let led = |port, method: Method, host, path: &str, query: &str, is_secure| {
            let guard = Guard::new(Vec::new(), Vec::new(), None, Https { led_to: port, hsts_s: 0 });
            let mut request = request(&[(header::HOST, host)]);
            (request.method, request.path, request.query, request.is_secure) =
                (method, path.into(), query.into(), is_secure);
            let answer = guard.lead_to_https(&request)?;
            let to = answer.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
            Some((answer.status().as_u16(), to.unwrap_or_default()))
        };
        let (get, post) = (Method::GET, Method::POST);
        assert_eq!(led(Some(443), get.clone(), "cam:80", "/a", "b=c", false), Some((307, "https://cam/a?b=c".into())));
        assert_eq!(
            led(Some(8443), Method::HEAD, "[::1]:80", "/", "", false),
            Some((307, "https://[::1]:8443/".into()))
        );
        assert_eq!(led(Some(443), post, "cam", "/api/login", "", false), Some((403, String::new())));
        assert_eq!(led(Some(443), get.clone(), "", "/", "", false), Some((403, String::new())));
        for (port, path, is_secure) in
            [(None, "/", false), (Some(443), "/", true), (Some(443), "/healthz", false), (Some(443), "/ca.crt", false)]
        {
            assert_eq!(led(port, get.clone(), "cam", path, "", is_secure), None, "{path}");
        }
    }
}
