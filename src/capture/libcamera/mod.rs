//! CSI cameras, and whatever else libcamera knows. Built with the `libcamera` feature, and run in a worker only: it
//! may abort (see `capture::worker`).
//!
//! This finds the camera that is meant; `camera` runs it, `settings` turns the owner's wishes into libcamera's
//! controls, `description` says what those may be. The only folder that names the `libcamera` crate.

use libcamera::camera::Camera;
use libcamera::camera_manager::CameraManager;
use libcamera::properties::Model;
use libcamera::stream::StreamRole;

use super::worker::{CameraInfo, LendingCamera, Waker, WorkerBackend};
use super::{CaptureError, Config, SourceSpec};

mod camera;
mod description;
mod limiter;
mod settings;

pub(super) const BUILT_IN: bool = true;

/// The cameras that libcamera finds.
pub(super) fn backend() -> Result<Box<dyn WorkerBackend>, CaptureError> {
    let manager = CameraManager::new()
        .map_err(|error| CaptureError::Unusable(format!("libcamera could not be started: {error}")))?;
    log::debug!("libcamera {}", manager.version());
    Ok(Box::new(Libcamera { manager }))
}

struct Libcamera {
    manager: CameraManager,
}

impl WorkerBackend for Libcamera {
    fn list(&mut self) -> Result<Vec<CameraInfo>, CaptureError> {
        Ok(self.manager.cameras().iter().map(|camera| info(&camera)).collect())
    }

    fn open(self: Box<Self>, config: &Config, waker: Waker) -> Result<Box<dyn LendingCamera>, CaptureError> {
        let ids: Vec<_> = self.manager.cameras().iter().map(|camera| camera.id().to_owned()).collect();
        let id = &ids[choose(&ids, &config.source)?];
        Ok(Box::new(camera::RunningCamera::start(self.manager, id, config, waker)?))
    }
}

/// What people call a camera: its sensor's model, or its id where it has none.
fn name_of(camera: &Camera<'_>) -> String {
    camera.properties().get::<Model>().map_or_else(|_| camera.id().to_owned(), |model| model.0)
}

fn info(camera: &Camera<'_>) -> CameraInfo {
    let formats = |role, what: &str| {
        let configuration = camera.generate_configuration(&[role]);
        let stream = configuration.as_ref().and_then(|configuration| configuration.get(0));
        stream.map_or_else(Vec::new, |stream| {
            let formats = stream.formats();
            let line = |format| {
                let sizes: Vec<_> =
                    formats.sizes(format).iter().map(|size| format!("{}x{}", size.width, size.height)).collect();
                format!("{what}{format:?}: {}", sizes.join(", "))
            };
            formats.pixel_formats().into_iter().map(line).collect()
        })
    };
    let mut lines = formats(StreamRole::VideoRecording, "");
    lines.extend(formats(StreamRole::Raw, "sensor mode "));
    CameraInfo { id: camera.id().to_owned(), model: name_of(camera), formats: lines }
}

/// Which of the cameras is meant.
fn choose(ids: &[String], source: &SourceSpec) -> Result<usize, CaptureError> {
    let none = |words: &str| CaptureError::Unusable(words.to_owned());
    match source {
        SourceSpec::Libcamera(Some(name)) => {
            let by_id = ids.iter().position(|id| id == name);
            let by_index = || name.parse().ok().filter(|index| *index < ids.len());
            by_id.or_else(by_index).ok_or_else(|| {
                let known = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
                CaptureError::Unusable(format!("libcamera has no camera `{name}`; it has: {known}"))
            })
        }
        // USB cameras are left to V4L2.
        SourceSpec::Auto => ids.iter().position(|id| !is_usb(id)).ok_or_else(|| none("no camera but on USB")),
        _ if ids.is_empty() => Err(none("libcamera sees no camera: check the cable, and that the sensor is enabled")),
        _ => Ok(0),
    }
}

/// Whether a camera hangs on USB: the UVC pipeline ends its ids with vendor and product, `…-1.2:1.0-046d:0825`.
fn is_usb(id: &str) -> bool {
    let is_hex = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let tail = id.rsplit('-').next().and_then(|tail| tail.split_once(':'));
    tail.is_some_and(|(vendor, product)| is_hex(vendor) && is_hex(product)) || id.contains("/usb")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSI: &str = "/base/soc/i2c0mux/i2c@1/imx708@1a";
    const USB: &str = "\\_SB_.PCI0.S50_.HUB1-1:1.0-046d:0825";

    fn chosen(source: &str, ids: &[&str]) -> Result<usize, String> {
        let ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
        choose(&ids, &source.parse().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn auto_leaves_usb_cameras_to_v4l2() {
        assert_eq!(chosen("auto", &[USB, CSI]), Ok(1));
        assert!(chosen("auto", &[USB]).is_err());
        assert_eq!(chosen("libcamera", &[USB, CSI]), Ok(0));
    }

    #[test]
    fn a_camera_is_named_by_id_or_index() {
        assert_eq!(chosen(&format!("libcamera:{CSI}"), &[USB, CSI]), Ok(1));
        assert_eq!(chosen("libcamera:1", &[USB, CSI]), Ok(1));
        for missing in ["libcamera:2", "libcamera:-1", "libcamera:imx"] {
            let error = chosen(missing, &[USB, CSI]).unwrap_err();
            assert!(error.contains(CSI), "{error}");
        }
        assert!(chosen("libcamera", &[]).unwrap_err().contains("cable"));
    }
}
