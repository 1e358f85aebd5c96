//! Claiming, logging in and out, and the pages for it. What a good password is and how often it may be tried is
//! `auth`'s.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hyper::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::message::{Request, Response};
use super::{Context, cookie, guard};
use crate::auth::door::{Begun, seconds};
use crate::auth::password::HashError;
use crate::auth::session::LONGEST_S;
use crate::auth::{Door, Refused, Role, Scope, Standing, Who};

/// `GET /login`, or the way to where one has to go instead.
pub(super) fn page(context: &Context, request: &Request) -> Response {
    match context.door.as_deref().map(Door::standing) {
        None => lead("/"),
        Some(Standing::Unclaimed(_)) => lead("/claim"),
        Some(_) => context.assets.named(request, "login.html"),
    }
}

/// `GET /claim`, or the way to where one has to go instead.
pub(super) fn claim_page(context: &Context, request: &Request) -> Response {
    match context.door.as_deref().map(Door::standing) {
        None => lead("/"),
        Some(Standing::Claimed) => lead("/login"),
        Some(_) => context.assets.named(request, "claim.html"),
    }
}

fn lead(to: &str) -> Response {
    Response::empty(StatusCode::SEE_OTHER).with(header::LOCATION, to)
}

#[derive(Serialize)]
struct DoorPage {
    locked: bool,
    claimed: bool,
    /// Seconds that claiming is still possible.
    claim_open_s: u64,
    accounts: Vec<Role>,
    /// What the caller may do; nothing before the login.
    scope: Option<Scope>,
    /// The account that the caller is logged in with.
    role: Option<Role>,
}

/// `GET /api/door`: whether there is a lock, and how far the caller is in.
pub(super) fn door(context: &Context, request: &Request) -> Response {
    let door = context.door.as_deref();
    let (claimed, left) = match door.map(Door::standing) {
        Some(Standing::Unclaimed(left)) => (false, left),
        _ => (true, None),
    };
    let caller = guard::caller(door, request);
    let role = match caller.as_ref().map(|caller| &caller.who) {
        Some(Who::Session { role, .. }) => Some(*role),
        _ => None,
    };
    let page = DoorPage {
        locked: door.is_some(),
        claimed,
        claim_open_s: left.map_or(0, seconds),
        accounts: door.map(Door::accounts).unwrap_or_default(),
        scope: caller.map(|caller| caller.scope),
        role,
    };
    Response::json(StatusCode::OK, &page)
}

#[derive(Deserialize)]
struct Claim {
    password: String,
}

/// `POST /api/claim`: makes whoever asks the owner.
pub(super) fn claim(context: &Context, request: &Request) -> Response {
    with_body(context, request, |door, Claim { password }| {
        door.claim(&password, address(request), browser(request)).map(|begun| let_in(request, &begun))
    })
}

#[derive(Deserialize)]
struct Login {
    #[serde(default = "owner")]
    account: Role,
    password: String,
}

const fn owner() -> Role {
    Role::Owner
}

/// `POST /api/login`: begins a session.
pub(super) fn log_in(context: &Context, request: &Request) -> Response {
    with_body(context, request, |door, Login { account, password }| {
        door.log_in(account, &password, address(request), browser(request)).map(|begun| let_in(request, &begun))
    })
}

/// `POST /api/logout`: ends the caller's session, if there is one.
pub(super) fn log_out(context: &Context, request: &Request) -> Response {
    if let Some(door) = &context.door
        && let Some(caller) = door.who(cookie::secret(request), None)
        && let Who::Session { id, .. } = caller.who
        && let Err(error) = door.end_session(&id)
    {
        return refused(&error);
    }
    Response::empty(StatusCode::NO_CONTENT).with(header::SET_COOKIE, cookie::end(request.is_secure))
}

fn let_in(request: &Request, begun: &Begun) -> Response {
    let lasts = Duration::from_secs(LONGEST_S);
    Response::json(StatusCode::OK, &serde_json::json!({ "scope": begun.caller.scope }))
        .with(header::SET_COOKIE, cookie::begin(&begun.secret, lasts, request.is_secure))
}

fn address(request: &Request) -> IpAddr {
    // Nobody's address is far from everything.
    request.peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical())
}

fn browser(request: &Request) -> &str {
    request.header(header::USER_AGENT).unwrap_or_default()
}

/// Does `deed` with the body, which must be JSON of the form `T` and say so. What is wrong with a body is told without
/// quoting it: it may hold a password.
pub(super) fn with_body<T: serde::de::DeserializeOwned>(
    context: &Context,
    request: &Request,
    deed: impl FnOnce(&Door, T) -> Result<Response, Refused>,
) -> Response {
    if request.content_type() != "application/json" {
        return Response::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json");
    }
    let Ok(body) = serde_json::from_slice(&request.body) else {
        return Response::error(StatusCode::BAD_REQUEST, "the body is not the JSON that is expected here");
    };
    with_door(context, |door| deed(door, body))
}

/// Does `deed` at the door, if there is one.
pub(super) fn with_door(context: &Context, deed: impl FnOnce(&Door) -> Result<Response, Refused>) -> Response {
    match &context.door {
        Some(door) => deed(door).unwrap_or_else(|error| refused(&error)),
        None => Response::error(StatusCode::NOT_FOUND, "nothing is locked here: there is no login"),
    }
}

fn refused(error: &Refused) -> Response {
    let (status, retry) = match error {
        Refused::Wrong => (StatusCode::UNAUTHORIZED, None),
        Refused::TooOften(wait) => (StatusCode::TOO_MANY_REQUESTS, Some(seconds(*wait))),
        Refused::Claimed | Refused::Unclaimed => (StatusCode::CONFLICT, None),
        Refused::WindowClosed | Refused::TooFar => (StatusCode::FORBIDDEN, None),
        Refused::Weak(_) | Refused::Token(_) => (StatusCode::UNPROCESSABLE_ENTITY, None),
        Refused::Hash(HashError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        Refused::Hash(HashError::Failed) | Refused::Broken => (StatusCode::SERVICE_UNAVAILABLE, None),
        Refused::Unsaved(error) => {
            log::error!("auth.json could not be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, None)
        }
    };
    let response = Response::error(status, error.to_string());
    match retry {
        Some(seconds) => response.with(header::RETRY_AFTER, seconds.to_string()),
        None => response,
    }
}
