//! A camera's controls: what there is to set, and setting it while the camera runs.
//!
//! What a value must be is the camera's own affair; here its answers become statuses.

use hyper::{StatusCode, header};
use serde::Serialize;

use super::Context;
use super::message::{Request, Response};
use crate::camera::{Camera, State, TuningError};
use crate::capture::tuning::Control;

#[derive(Serialize)]
struct ControlsPage {
    camera: String,
    source: String,
    controls: Vec<Control>,
}

/// `GET /api/cameras/{name}/controls`: all controls with the values of now.
pub(super) fn list(context: &Context, request: &Request) -> Response {
    match context.camera(request.param("name")) {
        Some(camera) => answer(camera, camera.controls()),
        None => context.no_such_camera(),
    }
}

/// `PATCH /api/cameras/{name}/controls`: changes some, or none when one of them cannot be.
pub(super) fn change(context: &Context, request: &Request) -> Response {
    let Some(camera) = context.camera(request.param("name")) else { return context.no_such_camera() };
    match serde_json::from_slice(&request.body) {
        Ok(patch) => answer(camera, camera.change_controls(patch)),
        Err(_) => {
            let what = "the body must be a JSON object of controls and their values, such as {\"brightness\": 10}";
            Response::error(StatusCode::BAD_REQUEST, what)
        }
    }
}

fn answer(camera: &Camera, answer: Result<Vec<Control>, TuningError>) -> Response {
    let (status, words) = match answer {
        Ok(controls) => {
            let source = camera.status().source;
            return Response::json(
                StatusCode::OK,
                &ControlsPage { camera: camera.name().to_owned(), source, controls },
            );
        }
        Err(TuningError::Refused(words)) => (StatusCode::UNPROCESSABLE_ENTITY, words),
        Err(TuningError::Absent) => return absent(camera),
        Err(error @ (TuningError::Late | TuningError::Busy)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    let response = Response::error(status, words);
    if status == StatusCode::SERVICE_UNAVAILABLE { response.with(header::RETRY_AFTER, "1") } else { response }
}

/// Why there is no camera to ask: its owner's wish, or what is wrong with it.
fn absent(camera: &Camera) -> Response {
    let status = camera.status();
    if status.state == State::Private {
        return Response::error(StatusCode::CONFLICT, "the camera was switched off");
    }
    let reason = if status.reason.is_empty() { "it is being opened" } else { &status.reason };
    let words = format!("the camera is not there now: {reason}");
    Response::error(StatusCode::SERVICE_UNAVAILABLE, words).with(header::RETRY_AFTER, "1")
}
