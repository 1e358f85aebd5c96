//! What this machine can hold: the settings that follow from its encoder, or from having none.

use log::{info, warn};

use crate::capture::{self, Resolution, SourceSpec};
use crate::config::Config;
use crate::encode::{self, Hardware, Kind, software_budget};

/// The encoder that will be used, if it is in hardware.
pub(super) fn encoder_in_hardware(config: &Config) -> Option<&'static Hardware> {
    if config.encoder.kind == Kind::OpenH264 { None } else { encode::hardware() }
}

/// The settings that this machine can hold. Without an encoder of its own it encodes on the CPU, and the default size and
/// rate are more than a small one can: they are replaced by what it was measured to hold. Other sizes and rates were
/// chosen by the owner and stay, and so does everything when `encoder.kind` is not `auto`, or no camera is meant.
#[must_use]
pub fn fitted_to_machine(config: &Config) -> Config {
    let mut fitted = config.clone();
    let defaults = capture::Config::default();
    let chosen = |camera: &capture::Config| (camera.resolution, camera.framerate);
    let is_open = |camera: &capture::Config| {
        !matches!(camera.source, SourceSpec::Test | SourceSpec::File(_)) && chosen(camera) == chosen(&defaults)
    };
    if config.encoder.kind != Kind::Auto || !config.camera.iter().any(is_open) {
        return fitted;
    }
    if let Some(hardware) = encoder_in_hardware(config) {
        info!("encoder: {}", hardware.name);
        return fitted;
    }
    match software_budget::measure() {
        Ok(speed) => {
            // As if all were watched at once.
            let ((width, height), framerate) = software_budget::affordable(speed / config.camera.len() as f64);
            for camera in fitted.camera.iter_mut().filter(|camera| is_open(camera)) {
                camera.resolution = Resolution { width, height };
                camera.framerate = framerate;
            }
            info!(
                "encoder: OpenH264, which encodes {:.0} million pixels a second here: {width}×{height} at {framerate} fps",
                speed / 1e6
            );
        }
        Err(error) => warn!("cannot measure how quickly this machine encodes: {error}"),
    }
    fitted
}
