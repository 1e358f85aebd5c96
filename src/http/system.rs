//! The machine, for the owner who cannot log in to it: how it is doing, starting it again, forgetting everything, and a text
//! for whoever is to help.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::{StatusCode, header};
use serde::Serialize;

use super::Context;
use super::message::{Request, Response};
use crate::camera::State;
use crate::platform::state_dir;
use crate::platform::system::{self, System};
use crate::platform::wifi::WifiSetup;
use crate::platform::wishes::{Wish, Wishes};
use crate::webrtc;

/// What is done for the owner beyond the cameras.
pub struct Operations {
    /// Who starts the machine again; `None` where perch may not ask for it.
    pub wishes: Option<Wishes>,
    /// The appliance's Wi-Fi; `None` elsewhere.
    pub wifi: Option<Arc<WifiSetup>>,
    /// Makes the text for whoever is to help.
    pub support: Box<dyn Fn() -> String + Send + Sync>,
}

#[derive(Serialize)]
struct Page<'a> {
    version: &'static str,
    #[serde(flatten)]
    system: System,
    addresses: Vec<IpAddr>,
    cameras: Vec<Camera<'a>>,
    /// Whether the two routes below do anything.
    can_restart: bool,
    /// Whether a Wi-Fi can be chosen.
    has_wifi: bool,
}

#[derive(Serialize)]
struct Camera<'a> {
    name: &'a str,
    state: State,
    source: String,
    encoder: String,
}

/// `GET /api/system`: the board, its health, its network, and what is in use.
pub(super) fn system(context: &Context, _: &Request) -> Response {
    let cameras = context.cameras.iter().map(|camera| {
        let status = camera.status();
        Camera { name: camera.name(), state: status.state, source: status.source, encoder: status.encoder }
    });
    let page = Page {
        version: env!("CARGO_PKG_VERSION"),
        system: system::look(state_dir::find().as_deref()),
        addresses: webrtc::interface_addresses().into_iter().filter(|address| !address.is_loopback()).collect(),
        cameras: cameras.collect(),
        can_restart: context.operations.wishes.is_some(),
        has_wifi: context.operations.wifi.as_ref().is_some_and(|wifi| wifi.status().access_point.is_some()),
    };
    Response::json(StatusCode::OK, &page)
}

/// `POST /api/system/reboot`.
pub(super) fn reboot(context: &Context, request: &Request) -> Response {
    ask(context, request, Wish::Reboot)
}

/// `POST /api/system/factory-reset`.
pub(super) fn factory_reset(context: &Context, request: &Request) -> Response {
    ask(context, request, Wish::FactoryReset)
}

fn ask(context: &Context, request: &Request, wish: Wish) -> Response {
    let Some(wishes) = &context.operations.wishes else {
        let what =
            "perch may do this only on the appliance's own image: restart or reset this machine by its own means";
        return Response::error(StatusCode::CONFLICT, what);
    };
    let by = request.peer.map_or_else(|| "somebody".to_owned(), |peer| peer.ip().to_string());
    log::warn!("the owner asks for {wish:?}, from {by}");
    match wishes.ask(wish) {
        Ok(()) => Response::empty(StatusCode::ACCEPTED),
        Err(error) => {
            log::error!("{wish:?} cannot be asked for: {error}");
            Response::error(StatusCode::INTERNAL_SERVER_ERROR, "perch could not ask for it; its log says why")
        }
    }
}

/// `GET /api/support-bundle`: a file for whoever is to help.
pub(super) fn support_bundle(context: &Context, _: &Request) -> Response {
    Response::text((context.operations.support)())
        .with(header::CONTENT_DISPOSITION, "attachment; filename=\"perch-support.txt\"")
}
