//! What a libcamera camera lets its owner change while it runs, in the form that all sources share.
//!
//! Ranges and defaults are the camera's own. libcamera does not tell a control's value of now, so that is what it was
//! told last. How it is told is `settings`' affair.

use libcamera::camera::Camera;
use libcamera::control_value::ControlValue;
use libcamera::controls::ControlId;

use super::settings::{control_of, info, is_reset_by_value, number, range_of};
use crate::capture::controls::{Autofocus, Controls, Range, words};
use crate::capture::tuning::{Control, ControlKind, MenuItem, Value};

/// What can be changed while the camera runs, with what `now` says, and what it begins with by `first`.
pub fn describe(camera: &Camera<'_>, first: &Controls, now: &Controls) -> Vec<Control> {
    KEYS.iter().filter_map(|(key, name)| describe_one(camera, (key, name), first, now)).collect()
}

/// In the order in which people look for them.
const KEYS: [(&str, &str); 11] = [
    ("brightness", "Brightness"),
    ("contrast", "Contrast"),
    ("saturation", "Saturation"),
    ("sharpness", "Sharpness"),
    ("exposure_us", "Exposure (µs)"),
    ("gain", "Gain"),
    ("awb", "White balance"),
    ("noise_reduction", "Noise reduction"),
    ("autofocus", "Autofocus"),
    ("lens_position", "Lens position (dioptres)"),
    ("crop", "Part of the sensor"),
];

fn describe_one(camera: &Camera<'_>, (key, name): (&str, &str), first: &Controls, now: &Controls) -> Option<Control> {
    let id = control_of(key)?;
    let about = info(camera, id)?;
    let (kind, own) = kind_of(key, range_of(about), &about.def(), info(camera, ControlId::AwbEnable).is_some())?;
    let own = own.filter(|_| is_reset_by_value(key) || key == "awb");
    let moves = now.autofocus.is_some_and(|autofocus| autofocus != Autofocus::Manual);
    Some(Control {
        key: key.to_owned(),
        name: name.to_owned(),
        kind,
        value: now.value(key).or_else(|| own.clone()),
        default: first.value(key).or(own),
        is_read_only: false,
        is_inactive: key == "lens_position" && moves,
        is_changeable: true,
    })
}

/// The kind of control that `key` is on a camera with this range, and the camera's default.
#[expect(clippy::cast_possible_truncation, reason = "exposure times are whole microseconds, and far from the limits")]
fn kind_of(key: &str, range: Range, default: &ControlValue, has_switch: bool) -> Option<(ControlKind, Option<Value>)> {
    Some(match range {
        Range::Numbers(least, most) if key == "exposure_us" => {
            (ControlKind::Integer { minimum: least.max(1.0) as i64, maximum: most as i64, step: 1 }, None)
        }
        Range::Numbers(minimum, maximum) => {
            (ControlKind::Number { minimum, maximum }, number(default).map(Value::Number))
        }
        Range::Choices(choices) => {
            let known: Vec<_> = words(key).into_iter().filter(|(number, _)| choices.contains(number)).collect();
            let text = |word: &str| Value::Text(word.to_owned());
            let item = |word: &str| MenuItem { value: text(word), name: word.replace('_', " ") };
            let mut items: Vec<_> = known.iter().map(|(_, word)| item(word)).collect();
            if key == "awb" && has_switch {
                items.push(item("off"));
            }
            let is_default =
                |(number, _): &&(i32, &str)| i32::try_from(default.clone()).is_ok_and(|own| own == *number);
            (ControlKind::Menu { items }, known.iter().find(is_default).map(|(_, word)| text(word)))
        }
        Range::Within(within) => (ControlKind::Area { within }, Some(Value::Text(within.to_string()))),
        Range::Missing => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_settings_is_described() {
        for key in crate::config::known_keys() {
            if let Some(key) = key.strip_prefix("camera.controls.") {
                assert!(KEYS.iter().any(|(known, _)| *known == key), "{key}");
            }
        }
    }

    #[test]
    fn a_range_of_libcamera_becomes_a_control_and_its_default_a_value() {
        let gain = kind_of("brightness", Range::Numbers(-1.0, 1.0), &ControlValue::from(0.1_f32), true);
        assert_eq!(gain, Some((ControlKind::Number { minimum: -1.0, maximum: 1.0 }, Some(Value::Number(0.1)))));
        let (kind, own) = kind_of("awb", Range::Choices(vec![0, 6, 7]), &ControlValue::from(6), true).unwrap();
        let ControlKind::Menu { items } = kind else { panic!("{kind:?}") };
        let words: Vec<_> = items.into_iter().map(|item| item.value.to_string()).collect();
        assert_eq!(
            (words, own),
            (vec!["auto".into(), "cloudy".into(), "off".into()], Some(Value::Text("cloudy".into())))
        );
        let (kind, own) = kind_of("exposure_us", Range::Numbers(0.0, 66_666.0), &ControlValue::from(1), true).unwrap();
        assert_eq!((kind, own), (ControlKind::Integer { minimum: 1, maximum: 66_666, step: 1 }, None));
        assert_eq!(kind_of("gain", Range::Missing, &ControlValue::None, true), None);
    }
}
