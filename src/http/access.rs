//! Who has access, for the owner: sessions, tokens, the accounts' passwords.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use super::login::{with_body, with_door};
use super::message::{Request, Response};
use crate::auth::{Role, Scope, Who};

#[derive(Serialize)]
struct SessionRow {
    id: String,
    role: Role,
    created: u64,
    last_used: u64,
    address: String,
    browser: String,
    /// Whether it is the caller's own.
    current: bool,
}

/// `GET /api/sessions`: who is logged in.
pub(super) fn sessions(context: &Context, request: &Request) -> Response {
    with_door(context, |door| {
        let own = |id: &str| matches!(&request.caller.who, Who::Session { id: own, .. } if own == id);
        let rows = door.sessions().into_iter().map(|session| SessionRow {
            current: own(&session.id),
            id: session.id,
            role: session.role,
            created: session.created,
            last_used: session.last_used,
            address: session.address.to_string(),
            browser: session.browser,
        });
        Ok(Response::json(StatusCode::OK, &rows.collect::<Vec<_>>()))
    })
}

/// `DELETE /api/sessions/{id}`: logs somebody out.
pub(super) fn end_session(context: &Context, request: &Request) -> Response {
    with_door(context, |door| Ok(gone(door.end_session(request.param("id"))?)))
}

#[derive(Serialize)]
struct TokenRow {
    id: String,
    name: String,
    scope: Scope,
    created: u64,
    last_used: Option<u64>,
}

/// `GET /api/tokens`: which programs have access.
pub(super) fn tokens(context: &Context, _: &Request) -> Response {
    with_door(context, |door| {
        let rows = door.tokens().into_iter().map(|token| TokenRow {
            id: token.id,
            name: token.name,
            scope: token.scope,
            created: token.created,
            last_used: token.last_used,
        });
        Ok(Response::json(StatusCode::OK, &rows.collect::<Vec<_>>()))
    })
}

#[derive(Deserialize)]
struct NewToken {
    name: String,
    #[serde(default = "view")]
    scope: Scope,
}

const fn view() -> Scope {
    Scope::View
}

/// `POST /api/tokens`: makes one; the answer is the only place where it ever stands.
pub(super) fn add_token(context: &Context, request: &Request) -> Response {
    with_body(context, request, |door, NewToken { name, scope }| {
        let (token, id) = door.add_token(&name, scope)?;
        Ok(Response::json(StatusCode::CREATED, &json!({ "id": id, "token": token })))
    })
}

/// `DELETE /api/tokens/{id}`: takes one back.
pub(super) fn revoke_token(context: &Context, request: &Request) -> Response {
    with_door(context, |door| Ok(gone(door.revoke_token(request.param("id"))?)))
}

#[derive(Deserialize)]
struct NewPassword {
    password: String,
}

/// `PUT /api/accounts/{role}`: sets the password of `owner` or `viewer`.
pub(super) fn set_password(context: &Context, request: &Request) -> Response {
    let role = match request.param("role") {
        "owner" => Role::Owner,
        "viewer" => Role::Viewer,
        _ => return gone(false),
    };
    with_body(context, request, |door, NewPassword { password }| {
        door.set_password(role, &password)?;
        Ok(gone(true))
    })
}

/// `DELETE /api/accounts/{role}`: takes the viewer's account away; an owner there must be.
pub(super) fn remove_account(context: &Context, request: &Request) -> Response {
    match request.param("role") {
        "viewer" => with_door(context, |door| {
            door.remove_viewer()?;
            Ok(gone(true))
        }),
        _ => gone(false),
    }
}

fn gone(was_there: bool) -> Response {
    match was_there {
        true => Response::empty(StatusCode::NO_CONTENT),
        false => Response::error(StatusCode::NOT_FOUND, "there is no such thing"),
    }
}
