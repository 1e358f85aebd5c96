//! Choosing a Wi-Fi on a page: what is to be seen, and which to join. Who may is `guard`'s, what follows `perch network`'s.
//!
//! While the access point is open, everything that those in it ask for by another name is led to that page: that is how phones
//! and computers find out that there is one (they ask a server of their maker for a page that they know).

use hyper::{StatusCode, header};
use serde::Serialize;

use super::Context;
use super::message::{Request, Response};
use crate::auth::Scope;
use crate::platform::device::Wifi;
use crate::platform::wifi::{Attempt, Network, Phase, WifiSetup};

#[derive(Serialize)]
struct Page {
    phase: Phase,
    ssid: Option<String>,
    networks: Vec<Network>,
    result: Option<Attempt>,
    /// By which name the machine is found.
    hostname: String,
    access_point: Option<AccessPoint>,
}

#[derive(Serialize)]
struct AccessPoint {
    ssid: String,
    /// For the owner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// `GET /wifi`.
pub(super) fn page(context: &Context, request: &Request) -> Response {
    match &context.operations.wifi {
        Some(_) => context.assets.named(request, "wifi.html"),
        None => context.assets.error_page(StatusCode::NOT_FOUND, "404.html"),
    }
}

/// `GET /api/wifi`.
pub(super) fn status(context: &Context, request: &Request) -> Response {
    with_wifi(context, |wifi| {
        let status = wifi.status();
        let is_owner = request.caller.may(Scope::Admin);
        let page = Page {
            phase: status.phase,
            ssid: status.ssid,
            networks: status.networks,
            result: status.result,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            access_point: status.access_point.map(|access_point| AccessPoint {
                ssid: access_point.ssid,
                password: is_owner.then_some(access_point.password),
            }),
        };
        Response::json(StatusCode::OK, &page)
    })
}

/// `POST /api/wifi`: joins a network, and keeps it when that has worked.
pub(super) fn join(context: &Context, request: &Request) -> Response {
    with_wifi(context, |wifi| {
        if request.content_type() != "application/json" {
            return Response::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the Content-Type must be application/json");
        }
        // What is wrong with it is told without quoting it: it holds a password.
        let Ok(wish) = serde_json::from_slice::<Wifi>(&request.body) else {
            return Response::error(StatusCode::BAD_REQUEST, "the body must be {\"ssid\": \"…\", \"password\": \"…\"}");
        };
        if let Err(what) = wish.validate_typed() {
            return Response::error(StatusCode::UNPROCESSABLE_ENTITY, what);
        }
        let status = wifi.status();
        if status.access_point.is_none() {
            return Response::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "this machine has no Wi-Fi, or it is not ready yet",
            );
        }
        if status.phase == Phase::Trying {
            return Response::error(StatusCode::CONFLICT, "another network is being tried: wait until that is done");
        }
        if let Err(error) = wifi.ask(&wish) {
            log::error!("a Wi-Fi cannot be asked for: {error}");
            return Response::error(StatusCode::INTERNAL_SERVER_ERROR, "perch could not ask for it; its log says why");
        }
        // Whoever may do this stands at the camera, and is to have time to claim it in the other network.
        context.door.iter().for_each(|door| door.reopen_window());
        Response::empty(StatusCode::ACCEPTED)
    })
}

fn with_wifi(context: &Context, deed: impl FnOnce(&WifiSetup) -> Response) -> Response {
    match &context.operations.wifi {
        Some(wifi) => deed(wifi),
        None => {
            let what =
                "perch may do this only on the appliance's own image: join a network by this machine's own means";
            Response::error(StatusCode::NOT_FOUND, what)
        }
    }
}

/// The way to the page, for whoever is in the access point and asks for something else.
pub(super) fn lead(context: &Context) -> Option<Response> {
    let url = context.operations.wifi.as_ref()?.status().access_point?.url;
    Some(Response::empty(StatusCode::FOUND).with(header::LOCATION, format!("{url}wifi")))
}

/// Whether the request comes from the access point, and that is open.
pub(super) fn is_at_access_point(context: &Context, request: &Request) -> bool {
    match (&context.operations.wifi, request.peer) {
        (Some(wifi), Some(peer)) => wifi.status().is_open_for(peer.ip()),
        _ => false,
    }
}
