//! The owner's wishes as libcamera's controls, checked against what this camera allows.

use libcamera::camera::{Camera, Orientation};
use libcamera::control::{ControlInfo, ControlList};
use libcamera::control_value::ControlValue;
use libcamera::controls::ControlId;
use libcamera::geometry::Rectangle;
use libcamera::utils::UniquePtr;

use crate::capture::controls::{Autofocus, Awb, Controls, Crop, Range, Wish};
use crate::capture::{CaptureError, Config};

/// `ExposureTimeModeManual`, `AnalogueGainModeManual`.
const MANUAL: i32 = 1;
/// `ExposureTimeModeAuto`, `AnalogueGainModeAuto`.
const AUTOMATIC: i32 = 0;
/// `AfModeManual`.
const AF_MANUAL: i32 = 0;
/// `AfTriggerStart`.
const START: i32 = 0;

/// What to tell libcamera.
pub type Values = Vec<(ControlId, ControlValue)>;

/// Everything that is to be set when the camera starts.
///
/// # Errors
/// When the camera has no such control, or not such a value.
pub fn at_start(camera: &Camera<'_>, name: &str, config: &Config) -> Result<Values, CaptureError> {
    let keys = config.controls.keys();
    let mut settings = Settings { camera, values: Vec::new() };
    settings.set_keys(name, &keys, &config.controls).map_err(CaptureError::Unusable)?;
    settings.set_frame_duration(config);
    Ok(settings.values)
}

/// What is to be set so that `keys` become on a running camera what `config` says of them, or the camera's own
/// defaults where it says nothing.
///
/// # Errors
/// When the camera has no such control, or not such a value.
pub fn while_running(camera: &Camera<'_>, name: &str, keys: &[String], config: &Config) -> Result<Values, String> {
    let mut settings = Settings { camera, values: Vec::new() };
    settings.set_keys(name, keys, &config.controls)?;
    if keys.iter().any(|key| key == "exposure_us") {
        settings.set_frame_duration(config);
    }
    Ok(settings.values)
}

/// Values as libcamera takes them when it starts.
///
/// # Errors
/// When it does not.
pub fn list(values: Values) -> Result<UniquePtr<ControlList>, CaptureError> {
    let mut list = ControlList::new();
    for (id, value) in values {
        list.set_raw(id as u32, value)
            .map_err(|error| CaptureError::Unusable(format!("libcamera refuses a control: {error}")))?;
    }
    Ok(list)
}

/// Which of libcamera's controls a key is.
pub(super) fn control_of(key: &str) -> Option<ControlId> {
    Some(match key {
        "exposure_us" => ControlId::ExposureTime,
        "gain" => ControlId::AnalogueGain,
        "awb" => ControlId::AwbMode,
        "brightness" => ControlId::Brightness,
        "contrast" => ControlId::Contrast,
        "saturation" => ControlId::Saturation,
        "sharpness" => ControlId::Sharpness,
        "noise_reduction" => ControlId::NoiseReductionMode,
        "autofocus" => ControlId::AfMode,
        "lens_position" => ControlId::LensPosition,
        "crop" => ControlId::ScalerCrop,
        _ => return None,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "libcamera's numbers are single, and this one was checked")]
fn value(id: ControlId, wish: &Wish) -> ControlValue {
    match (id, wish) {
        (ControlId::ExposureTime, Wish::Number(number)) => ControlValue::from(*number as i32),
        (_, Wish::Number(number)) => ControlValue::from(*number as f32),
        (_, Wish::Choice(number, _)) => ControlValue::from(*number),
        (_, Wish::Area(Crop { x, y, width, height })) => {
            ControlValue::from(Rectangle { x: *x, y: *y, width: *width, height: *height })
        }
    }
}

struct Settings<'a, 'camera> {
    camera: &'a Camera<'camera>,
    values: Values,
}

impl Settings<'_, '_> {
    fn set(&mut self, id: ControlId, value: impl Into<ControlValue>) {
        self.values.push((id, value.into()));
    }

    fn set_if_there(&mut self, id: ControlId, value: impl Into<ControlValue>) {
        if info(self.camera, id).is_some() {
            self.set(id, value);
        }
    }

    fn set_keys(&mut self, name: &str, keys: &[String], controls: &Controls) -> Result<(), String> {
        let wishes = controls.wishes();
        for key in keys {
            let id = control_of(key);
            let wish = wishes.iter().find(|(wished, _)| wished == key).map(|(_, wish)| wish);
            if let Some(wish) = wish {
                let range = id.map_or(Range::Missing, |id| range(self.camera, id));
                range.check(name, key, wish)?;
            }
            match (id, wish) {
                (Some(id), Some(wish)) => self.set(id, value(id, wish)),
                (Some(id), None) if is_reset_by_value(key) => self.reset(id),
                _ => {}
            }
            self.set_companions(key, controls);
        }
        Ok(())
    }

    /// Puts back what the camera begins with.
    fn reset(&mut self, id: ControlId) {
        let Some(info) = info(self.camera, id) else { return };
        let default = if id == ControlId::ScalerCrop { info.max() } else { info.def() };
        if !matches!(default, ControlValue::None) {
            self.set(id, default);
        }
    }

    /// What has to be set beside a control for it to count.
    fn set_companions(&mut self, key: &str, controls: &Controls) {
        let mode = |is_set: bool| if is_set { MANUAL } else { AUTOMATIC };
        match key {
            "exposure_us" => self.set_if_there(ControlId::ExposureTimeMode, mode(controls.exposure_us.is_some())),
            "gain" => self.set_if_there(ControlId::AnalogueGainMode, mode(controls.gain.is_some())),
            "awb" => {
                self.set_if_there(ControlId::AwbEnable, controls.awb != Some(Awb::Off));
                if controls.awb.is_none() {
                    self.reset(ControlId::AwbMode);
                }
            }
            "autofocus" if controls.autofocus == Some(Autofocus::Once) => {
                self.set_if_there(ControlId::AfTrigger, START);
            }
            "lens_position" if controls.lens_position.is_some() => self.set_if_there(ControlId::AfMode, AF_MANUAL),
            "lens_position" if controls.autofocus.is_none() => self.reset(ControlId::AfMode),
            _ => {}
        }
    }

    /// The frame rate is a wish, so it is brought into the camera's range; a long exposure makes room for itself.
    fn set_frame_duration(&mut self, config: &Config) {
        let Range::Numbers(least, most) = range(self.camera, ControlId::FrameDurationLimits) else { return };
        #[expect(clippy::cast_possible_truncation, reason = "microseconds of a frame fit")]
        let bounded = |duration_us: f64| duration_us.clamp(least, most.max(least)) as i64;
        let shortest = bounded(1_000_000.0 / f64::from(config.framerate));
        let longest = bounded(config.controls.exposure_us.map_or(0.0, f64::from)).max(shortest);
        self.set(ControlId::FrameDurationLimits, [shortest, longest]);
    }
}

/// Whether the camera's own default of a key is a value: exposure and gain are its own choice, by their modes, and white
/// balance has a switch beside it.
pub(super) fn is_reset_by_value(key: &str) -> bool {
    !matches!(key, "exposure_us" | "gain" | "awb")
}

pub(super) fn info<'a>(camera: &'a Camera<'_>, id: ControlId) -> Option<&'a ControlInfo> {
    camera.controls().find(id as u32).ok()
}

fn range(camera: &Camera<'_>, id: ControlId) -> Range {
    info(camera, id).map_or(Range::Missing, range_of)
}

pub(super) fn range_of(info: &ControlInfo) -> Range {
    let choices: Vec<i32> = info.values().into_iter().filter_map(|value| i32::try_from(value).ok()).collect();
    if !choices.is_empty() {
        return Range::Choices(choices);
    }
    let (least, most) = (info.min(), info.max());
    if let Ok(most) = Rectangle::try_from(most.clone()) {
        return Range::Within(Crop { x: most.x, y: most.y, width: most.width, height: most.height });
    }
    match (number(&least), number(&most)) {
        (Some(least), Some(most)) => Range::Numbers(least, most),
        _ => Range::Missing,
    }
}

/// The first number in a value; limits come as one or, for a range of them, as two.
#[expect(clippy::cast_precision_loss, reason = "durations and exposures are far below 2^52")]
pub(super) fn number(value: &ControlValue) -> Option<f64> {
    match value {
        ControlValue::Byte(numbers) => numbers.first().map(|number| f64::from(*number)),
        ControlValue::Int32(numbers) => numbers.first().map(|number| f64::from(*number)),
        ControlValue::Int64(numbers) => numbers.first().map(|number| *number as f64),
        // By its digits: 0.1 stays 0.1.
        ControlValue::Float(numbers) => numbers.first().and_then(|number| number.to_string().parse().ok()),
        _ => None,
    }
}

/// The orientation that the owner wishes. Quarter turns are none of libcamera's: then it leaves the picture alone.
pub fn orientation(config: &Config) -> Orientation {
    if !config.turns_by_halves() {
        return Orientation::Rotate0;
    }
    // Half a turn is both mirrors.
    let half_turn = config.rotation == 180;
    match (config.hflip != half_turn, config.vflip != half_turn) {
        (false, false) => Orientation::Rotate0,
        (true, false) => Orientation::Rotate0Mirror,
        (false, true) => Orientation::Rotate180Mirror,
        (true, true) => Orientation::Rotate180,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_half_turns_add_up() {
        let with = |hflip, vflip, rotation| orientation(&Config { hflip, vflip, rotation, ..Config::default() });
        assert_eq!(with(false, false, 0), Orientation::Rotate0);
        assert_eq!(with(true, false, 0), Orientation::Rotate0Mirror);
        assert_eq!(with(true, true, 0), Orientation::Rotate180);
        assert_eq!(with(false, false, 180), Orientation::Rotate180);
        assert_eq!(with(true, false, 180), Orientation::Rotate180Mirror);
        assert_eq!(with(true, true, 180), Orientation::Rotate0);
        assert_eq!(with(true, false, 90), Orientation::Rotate0, "perch's own affair");
    }

    #[test]
    fn every_key_is_a_control_of_libcamera() {
        for key in crate::config::known_keys() {
            if let Some(key) = key.strip_prefix("camera.controls.") {
                assert!(control_of(key).is_some(), "{key}");
            }
        }
    }
}
