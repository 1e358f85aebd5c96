//! Which path and method leads to which handler.
//!
//! One table holds perch's own routes; a [`Router`] adds those of the owner and of whoever uses perch as a library.
//! Everything that follows from the table alone is answered here: 404, 405 with `Allow`, `OPTIONS`, and
//! `HEAD` for every `GET`. What a handler does is its own file's matter.

use std::sync::Arc;

use hyper::{Method, StatusCode, header};

use super::guard::{self, Guard, Needs};
use super::message::{Body, Request, Response};
use super::router::{Added, Next, Router};
use super::{Context, access, controls, login, mjpeg, offer, path, picture, status, system, tls, whep, wifi};
use crate::auth::Scope;

/// One of perch's own routes.
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    pub(super) handler: fn(&Context, &Request) -> Response,
}

const fn row(method: Method, path: &'static str, needs: Needs, handler: fn(&Context, &Request) -> Response) -> Row {
    Row { method, path, needs, handler }
}

const PUBLIC: Needs = Needs::Public;
const OWN_PAGE: Needs = Needs::OwnPage;
const VIEW: Needs = Needs::Caller(Scope::View);
const CONTROL: Needs = Needs::Caller(Scope::Control);
const SETUP: Needs = Needs::Setup;
const ADMIN: Needs = Needs::Caller(Scope::Admin);

/// perch's own routes and what each needs. `{name}` is one segment of a path, `{*name}` the rest of it; the first row
/// that fits counts.
pub(super) static TABLE: &[Row] = &[
    row(Method::GET, "/", VIEW, |context, request| context.assets.index(request)),
    row(Method::GET, "/login", PUBLIC, login::page),
    row(Method::GET, "/claim", PUBLIC, login::claim_page),
    row(Method::GET, "/account", ADMIN, |context, request| context.assets.named(request, "account.html")),
    row(Method::GET, "/system", ADMIN, |context, request| context.assets.named(request, "system.html")),
    row(Method::GET, "/wifi", PUBLIC, wifi::page),
    // What the pages before the login need.
    row(Method::GET, "/static/style.css", PUBLIC, |context, request| context.assets.named(request, "static/style.css")),
    row(Method::GET, "/static/forms.css", PUBLIC, |context, request| context.assets.named(request, "static/forms.css")),
    row(Method::GET, "/static/icon.svg", PUBLIC, |context, request| context.assets.named(request, "static/icon.svg")),
    row(Method::GET, "/static/login.js", PUBLIC, |context, request| context.assets.named(request, "static/login.js")),
    row(Method::GET, "/static/wifi.js", PUBLIC, |context, request| context.assets.named(request, "static/wifi.js")),
    row(Method::GET, "/static/{*file}", VIEW, |context, request| context.assets.file(request)),
    row(Method::GET, "/api/door", OWN_PAGE, login::door),
    row(Method::POST, "/api/claim", OWN_PAGE, login::claim),
    row(Method::POST, "/api/login", OWN_PAGE, login::log_in),
    row(Method::POST, "/api/logout", OWN_PAGE, login::log_out),
    row(Method::GET, "/api/sessions", ADMIN, access::sessions),
    row(Method::DELETE, "/api/sessions/{id}", ADMIN, access::end_session),
    row(Method::GET, "/api/tokens", ADMIN, access::tokens),
    row(Method::POST, "/api/tokens", ADMIN, access::add_token),
    row(Method::DELETE, "/api/tokens/{id}", ADMIN, access::revoke_token),
    row(Method::PUT, "/api/accounts/{role}", ADMIN, access::set_password),
    row(Method::DELETE, "/api/accounts/{role}", ADMIN, access::remove_account),
    row(Method::POST, "/offer", VIEW, offer::offer),
    row(Method::GET, "/offer", VIEW, offer::offer),
    row(Method::POST, "/close_connection", VIEW, offer::close_connection),
    row(Method::POST, "/whep", VIEW, whep::create),
    row(Method::OPTIONS, "/whep", PUBLIC, whep::options),
    row(Method::POST, "/whep/{camera}", VIEW, whep::create),
    row(Method::DELETE, "/whep/{id}", VIEW, whep::delete),
    row(Method::PATCH, "/whep/{id}", VIEW, whep::patch),
    row(Method::OPTIONS, "/whep/{id}", PUBLIC, whep::options),
    row(Method::GET, "/healthz", PUBLIC, status::healthz),
    row(Method::GET, "/ca.crt", PUBLIC, tls::root),
    row(Method::GET, "/metrics", VIEW, status::metrics),
    row(Method::GET, "/api/status", VIEW, status::status),
    row(Method::GET, "/api/system", ADMIN, system::system),
    row(Method::POST, "/api/system/reboot", ADMIN, system::reboot),
    row(Method::POST, "/api/system/factory-reset", ADMIN, system::factory_reset),
    row(Method::GET, "/api/wifi", SETUP, wifi::status),
    row(Method::POST, "/api/wifi", SETUP, wifi::join),
    row(Method::GET, "/api/support-bundle", ADMIN, system::support_bundle),
    row(Method::GET, "/api/cameras/{name}/controls", VIEW, controls::list),
    row(Method::PATCH, "/api/cameras/{name}/controls", CONTROL, controls::change),
    row(Method::GET, "/api/cameras/{name}/masks", VIEW, picture::masks),
    row(Method::PUT, "/api/cameras/{name}/masks", CONTROL, picture::set_masks),
    row(Method::DELETE, "/api/cameras/{name}/masks", CONTROL, picture::reset_masks),
    row(Method::GET, "/api/cameras/{name}/overlay", VIEW, picture::overlay),
    row(Method::PUT, "/api/cameras/{name}/overlay", CONTROL, picture::set_overlay),
    row(Method::DELETE, "/api/cameras/{name}/overlay", CONTROL, picture::reset_overlay),
    row(Method::GET, "/snapshot.jpg", VIEW, mjpeg::snapshot),
    row(Method::GET, "/stream.mjpg", VIEW, mjpeg::stream),
];

/// Leads requests to handlers.
pub(super) struct Routes {
    pub(super) context: Arc<Context>,
    pub(super) router: Router,
    pub(super) guard: Guard,
}

enum Found<'a> {
    Own(&'static Row),
    Added(&'a Added),
}

impl Routes {
    /// Answers one request, through the library user's wrappers.
    pub(super) fn answer(&self, mut request: Request) -> Response {
        request.is_at_access_point = wifi::is_at_access_point(&self.context, &request);
        if let Some(refusal) = self.guard.refuse_name(&request) {
            let way = (request.is_at_access_point && request.method.is_safe()).then(|| wifi::lead(&self.context));
            return way.flatten().unwrap_or(refusal);
        }
        if let Some(way) = self.guard.lead_to_https(&request) {
            return way;
        }
        let (origin, is_secure) = (self.guard.allowed_origin(&request), request.is_secure);
        let response = Next::new(self.router.wrappers(), &|request| self.lead(request)).run(request);
        let response = if is_secure { self.guard.over_tls(response) } else { response };
        match origin {
            Some(origin) => Guard::share(response, origin),
            None => response,
        }
    }

    fn lead(&self, mut request: Request) -> Response {
        if request.method == Method::OPTIONS && request.path == "*" {
            return Response::empty(StatusCode::NO_CONTENT)
                .with(header::ALLOW, "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
        }
        let wanted = if request.method == Method::HEAD { Method::GET } else { request.method.clone() };
        let mut allowed: Vec<Method> = Vec::new();
        let own = TABLE.iter().map(|row| (&row.method, row.path, Found::Own(row)));
        let added = self.router.added().iter().map(|added| (&added.method, &*added.path, Found::Added(added)));
        for (method, pattern, found) in own.chain(added) {
            let Some(params) = path::matches(pattern, &request.path) else { continue };
            if *method != wanted {
                allowed.push(method.clone());
                continue;
            }
            request.params = params;
            let needs = match &found {
                Found::Own(row) => row.needs,
                Found::Added(added) => added.needs,
            };
            request.caller = match self.guard.admit(&request, needs) {
                Ok(caller) => caller,
                Err(refusal) => return *refusal,
            };
            return match found {
                Found::Own(row) => (row.handler)(&self.context, &request),
                Found::Added(added) => (added.handler)(&request),
            };
        }
        if let Err(refusal) = self.guard.admit(&request, guard::needs_of_nothing(&request.method)) {
            return *refusal;
        }
        if allowed.is_empty() {
            return self.not_found(&request);
        }
        let allow = allow(&allowed);
        if request.method == Method::OPTIONS {
            return Response::empty(StatusCode::NO_CONTENT).with(header::ALLOW, allow);
        }
        let what = format!("{} is not allowed here; allowed: {allow}", request.method);
        Response::error(StatusCode::METHOD_NOT_ALLOWED, what).with(header::ALLOW, allow)
    }

    fn not_found(&self, request: &Request) -> Response {
        match is_api(&request.path) {
            true => Response::error(StatusCode::NOT_FOUND, "there is nothing here"),
            false => self.context.assets.error_page(StatusCode::NOT_FOUND, "404.html"),
        }
    }

    /// What is answered when a handler failed; the reason is in the log alone.
    pub(super) fn failed(&self, path: &str) -> Response {
        match is_api(path) {
            true => Response::error(StatusCode::INTERNAL_SERVER_ERROR, "perch failed here; its log says why"),
            false => self.context.assets.error_page(StatusCode::INTERNAL_SERVER_ERROR, "500.html"),
        }
    }
}

/// The value of `Allow` for these methods.
pub(super) fn allow(methods: &[Method]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for method in methods {
        names.push(method.as_str());
        if *method == Method::GET {
            names.push("HEAD");
        }
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// Whether programs rather than people ask for this path, so that errors are JSON rather than a page.
fn is_api(path: &str) -> bool {
    ["/api", "/offer", "/whep", "/close_connection"]
        .iter()
        .any(|api| path.strip_prefix(api).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Keeps a whole body from being sent with `HEAD`, and streams from being started.
pub(super) fn without_body(mut response: Response) -> Response {
    if let Body::Stream(_) = response.body {
        response.body = Body::Whole(bytes::Bytes::new());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_documented() {
        let page = include_str!("../../docs/http-api.md");
        for row in TABLE {
            let line = format!("`{} {}`", row.method, row.path);
            assert!(page.contains(&line), "docs/http-api.md does not mention {line}");
        }
    }

    /// Adding a row means deciding here, once more, what it needs.
    #[test]
    fn only_these_routes_ask_for_no_login() {
        let open: Vec<String> = TABLE
            .iter()
            .filter(|row| !matches!(row.needs, Needs::Caller(_) | Needs::Setup))
            .map(|row| format!("{} {}", row.method, row.path))
            .collect();
        assert_eq!(
            open,
            [
                "GET /login",
                "GET /claim",
                "GET /wifi",
                "GET /static/style.css",
                "GET /static/forms.css",
                "GET /static/icon.svg",
                "GET /static/login.js",
                "GET /static/wifi.js",
                "GET /api/door",
                "POST /api/claim",
                "POST /api/login",
                "POST /api/logout",
                "OPTIONS /whep",
                "OPTIONS /whep/{id}",
                "GET /healthz",
                "GET /ca.crt",
            ]
        );
    }

    #[test]
    fn who_may_what_is_for_the_owner_alone() {
        for row in TABLE.iter().filter(|row| {
            [
                "/api/sessions",
                "/api/tokens",
                "/api/accounts",
                "/account",
                "/system",
                "/api/system",
                "/api/support-bundle",
            ]
            .iter()
            .any(|path| row.path.starts_with(path))
        }) {
            assert_eq!(row.needs, Needs::Caller(Scope::Admin), "{}", row.path);
        }
    }

    #[test]
    fn only_these_routes_are_open_in_the_access_point_of_a_camera_without_an_owner() {
        let open: Vec<_> = TABLE.iter().filter(|row| row.needs == Needs::Setup).collect();
        assert!(open.len() == 2 && open.iter().all(|row| row.path == "/api/wifi"));
    }

    #[test]
    fn what_changes_something_is_closed_to_other_sites() {
        for row in TABLE.iter().filter(|row| !row.method.is_safe()) {
            assert_ne!(row.needs, Needs::Public, "{} {}", row.method, row.path);
        }
    }

    #[test]
    fn only_paths_for_programs_get_json_errors() {
        assert!(is_api("/offer") && is_api("/whep/x") && is_api("/api/none"));
        assert!(!is_api("/") && !is_api("/offers") && !is_api("/test"));
    }
}
