//! What lies on a camera's picture: privacy masks and words, told and set while it runs.
//!
//! They are perch's own, so the camera need not be there. What a mask or an overlay must be is `process`'s matter; here
//! answers become statuses.

use hyper::StatusCode;
use log::error;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Context;
use super::message::{Request, Response};
use crate::camera::{Camera, PictureError};
use crate::process::overlay;
use crate::process::privacy_mask::PrivacyMask;

#[derive(Serialize)]
struct MasksPage<'a> {
    camera: &'a str,
    masks: Vec<PrivacyMask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Masks {
    masks: Vec<PrivacyMask>,
}

#[derive(Serialize)]
struct OverlayPage<'a> {
    camera: &'a str,
    #[serde(flatten)]
    overlay: overlay::Settings,
}

/// Why nothing, or not all, was done.
struct Refusal(StatusCode, String);

/// `GET /api/cameras/{name}/masks`: what is hidden.
pub(super) fn masks(context: &Context, request: &Request) -> Response {
    with_camera(context, request, |camera| Ok(masks_of(camera)))
}

/// `PUT /api/cameras/{name}/masks`: hides this and nothing else.
pub(super) fn set_masks(context: &Context, request: &Request) -> Response {
    with_camera(context, request, |camera| {
        let Masks { masks } = read(request, "{\"masks\": [{\"points\": [[0, 0], [0.5, 0], [0.5, 0.5]]}]}")?;
        done(camera.set_masks(Some(&masks)))?;
        Ok(masks_of(camera))
    })
}

/// `DELETE /api/cameras/{name}/masks`: hides what the settings say.
pub(super) fn reset_masks(context: &Context, request: &Request) -> Response {
    with_camera(context, request, |camera| done(camera.set_masks(None)).map(|()| masks_of(camera)))
}

/// `GET /api/cameras/{name}/overlay`: what is written into the picture.
pub(super) fn overlay(context: &Context, request: &Request) -> Response {
    with_camera(context, request, |camera| Ok(overlay_of(camera)))
}

/// `PUT /api/cameras/{name}/overlay`: writes this instead.
pub(super) fn set_overlay(context: &Context, request: &Request) -> Response {
    with_camera(context, request, |camera| {
        let overlay = read(request, "{\"text\": \"%H:%M\", \"position\": \"bottom\"}")?;
        done(camera.set_overlay(Some(overlay)))?;
        Ok(overlay_of(camera))
    })
}

/// `DELETE /api/cameras/{name}/overlay`: writes what the settings say.
pub(super) fn reset_overlay(context: &Context, request: &Request) -> Response {
    with_camera(context, request, |camera| done(camera.set_overlay(None)).map(|()| overlay_of(camera)))
}

fn with_camera(
    context: &Context,
    request: &Request,
    answer: impl FnOnce(&Camera) -> Result<Response, Refusal>,
) -> Response {
    match context.camera(request.param("name")) {
        Some(camera) => answer(camera).unwrap_or_else(|Refusal(status, words)| Response::error(status, words)),
        None => context.no_such_camera(),
    }
}

fn masks_of(camera: &Camera) -> Response {
    Response::json(StatusCode::OK, &MasksPage { camera: camera.name(), masks: camera.masks() })
}

fn overlay_of(camera: &Camera) -> Response {
    Response::json(StatusCode::OK, &OverlayPage { camera: camera.name(), overlay: camera.overlay() })
}

fn read<T: DeserializeOwned>(request: &Request, example: &str) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body).map_err(|error| {
        let what = format!("the body must be a JSON object such as {example}: {error}");
        Refusal(StatusCode::BAD_REQUEST, what)
    })
}

fn done(outcome: Result<(), PictureError>) -> Result<(), Refusal> {
    outcome.map_err(|problem| {
        let status = match &problem {
            PictureError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            PictureError::NotKept(_) => {
                error!("what lies on the picture: {problem}");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Refusal(status, problem.to_string())
    })
}
