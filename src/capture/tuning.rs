//! What can be changed on a camera while it runs, in the form that all sources, the HTTP interface and the page share.
//!
//! A source describes its controls as [`Control`]s; a request is a patch of keys and values, which [`changes`] checks
//! against them as a whole before any is made. How a driver is told is each source's own affair, and what the config
//! file asks of a libcamera camera is `controls`'.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::CaptureError;
use super::controls::Crop;

/// What is to be changed, by key; `null` puts back the default (a merge patch: RFC 7396).
pub type Patch = Map<String, serde_json::Value>;

/// A value of a control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Value {
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// Which values a control takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ControlKind {
    /// A whole number.
    Integer {
        /// Lowest.
        minimum: i64,
        /// Highest.
        maximum: i64,
        /// Distance between values, from `minimum` on; 0 counts as 1.
        step: u64,
    },
    /// A number.
    Number {
        /// Lowest.
        minimum: f64,
        /// Highest.
        maximum: f64,
    },
    /// On or off.
    Boolean,
    /// One of these.
    Menu {
        /// What there is to choose from.
        items: Vec<MenuItem>,
    },
    /// `true` makes something happen; there is no value to keep.
    Button,
    /// A part of the sensor, as `X,Y,WIDTHxHEIGHT`.
    Area {
        /// In which it must lie.
        within: Crop,
    },
    /// Something that perch does not set.
    Other,
}

/// An entry of a menu.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MenuItem {
    /// The control's value.
    pub value: Value,
    /// What people call it.
    pub name: String,
}

/// One control of a running camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// What requests call it: small letters, digits and `_`.
    pub key: String,
    /// What people call it.
    pub name: String,
    /// Which values it takes.
    #[serde(flatten)]
    pub kind: ControlKind,
    /// The value that it has; none where the camera chooses by itself, or does not tell.
    pub value: Option<Value>,
    /// The value that `null` puts back; none where that is the camera's own choice.
    pub default: Option<Value>,
    /// Can never be set.
    #[serde(rename = "read_only")]
    pub is_read_only: bool,
    /// Has no effect now, for instance because an automatic mode is on.
    #[serde(rename = "inactive")]
    pub is_inactive: bool,
    /// Can be set now, while the camera runs.
    #[serde(rename = "changeable")]
    pub is_changeable: bool,
}

/// One change, which was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The control's key.
    pub key: String,
    /// Its value from now on; none for the default.
    pub value: Option<Value>,
}

/// Why controls were not changed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The camera does not take it; the message says what it would.
    #[error("{0}")]
    Refused(String),
    /// The camera is lost.
    #[error(transparent)]
    Source(#[from] CaptureError),
}

impl Control {
    /// The value to set for `wish`, in the form that this control has.
    ///
    /// # Errors
    /// When the camera would not take it: says what is allowed.
    pub fn accept(&self, wish: &Value) -> Result<Value, String> {
        self.check_changeable()?;
        let wrong_type = |what: &str| Err(format!("`{wish}` is no {what}"));
        match (&self.kind, wish) {
            (ControlKind::Integer { minimum, maximum, step }, _) => {
                let Some(value) = whole(wish) else { return wrong_type("whole number") };
                if !(*minimum..=*maximum).contains(&value) {
                    return Err(format!("{value} is out of range: {minimum} to {maximum}"));
                }
                if value.abs_diff(*minimum) % (*step).max(1) != 0 {
                    return Err(format!("{value} is not a multiple of {step} from {minimum} on"));
                }
                Ok(Value::Integer(value))
            }
            (ControlKind::Number { minimum, maximum }, _) => {
                let Some(value) = number(wish) else { return wrong_type("number") };
                if (*minimum..=*maximum).contains(&value) {
                    Ok(Value::Number(value))
                } else {
                    Err(format!("{value} is out of range: {minimum} to {maximum}"))
                }
            }
            (ControlKind::Menu { items }, _) if items.iter().any(|item| item.value == *wish) => Ok(wish.clone()),
            (ControlKind::Menu { items }, _) => {
                let choices: Vec<_> = items.iter().map(|item| format!("{} ({})", item.value, item.name)).collect();
                Err(format!("`{wish}` is not one of {}", choices.join(", ")))
            }
            (ControlKind::Boolean, Value::Boolean(_)) | (ControlKind::Button, Value::Boolean(true)) => Ok(wish.clone()),
            (ControlKind::Boolean, _) => Err(format!("`{wish}` is neither `true` nor `false`")),
            (ControlKind::Button, _) => Err("it is a button: `true` presses it".to_owned()),
            (ControlKind::Area { within }, Value::Text(text)) => match text.parse::<Crop>() {
                Ok(crop) if within.holds(crop) => Ok(Value::Text(crop.to_string())),
                Ok(crop) => Err(format!("{crop} is out of range: it must lie in {within}")),
                Err(problem) => Err(problem),
            },
            (ControlKind::Area { .. }, _) => wrong_type("part of a sensor: write \"X,Y,WIDTHxHEIGHT\""),
            (ControlKind::Other, _) => Err(NOT_SET.to_owned()),
        }
    }

    fn check_changeable(&self) -> Result<(), String> {
        match self {
            Self { is_read_only: true, .. } => Err("it is read-only".to_owned()),
            Self { kind: ControlKind::Other, .. } => Err(NOT_SET.to_owned()),
            Self { is_changeable: false, .. } => Err("it cannot be changed while the camera runs".to_owned()),
            _ => Ok(()),
        }
    }

    fn change(&self, wish: &serde_json::Value) -> Result<Option<Value>, String> {
        if wish.is_null() {
            self.check_changeable()?;
            return match self.kind {
                ControlKind::Button => Err("it is a button and has no default: `true` presses it".to_owned()),
                _ => Ok(None),
            };
        }
        match Value::deserialize(wish) {
            Ok(wish) => self.accept(&wish).map(Some),
            Err(_) => Err("a value is `true`, `false`, a number or a text".to_owned()),
        }
    }
}

const NOT_SET: &str = "its values are of a kind that perch does not set";

/// The changes that `patch` asks of the camera called `device`, which has these `controls`, in the order in which
/// they are to be made.
///
/// # Errors
/// When one of them cannot be: names the control, what is allowed, and the camera.
pub fn changes(device: &str, controls: &[Control], patch: &Patch) -> Result<Vec<Change>, String> {
    let refused = |key: &str, problem: &str| Err(format!("control `{key}`: {problem}. The camera is {device}"));
    let mut found = Vec::with_capacity(patch.len());
    for (key, wish) in patch {
        let Some(control) = controls.iter().find(|control| control.key == *key) else {
            return refused(key, "there is no such control");
        };
        match control.change(wish) {
            Ok(value) => found.push((control, Change { key: key.clone(), value })),
            Err(problem) => return refused(key, &problem),
        }
    }
    // What makes another control active goes before that one.
    found.sort_by(|(one, _), (other, _)| order(one, other));
    Ok(found.into_iter().map(|(_, change)| change).collect())
}

/// Switches and menus, such as an automatic mode, before the values that they free.
fn order(one: &Control, other: &Control) -> Ordering {
    let is_value = |control: &Control| !matches!(control.kind, ControlKind::Boolean | ControlKind::Menu { .. });
    is_value(one).cmp(&is_value(other))
}

/// A whole number that was written as one, or as `2.0`.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and far from the limits")]
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(*value),
        Value::Number(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(*value as i64),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "no control has numbers as large as that")]
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Number(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A control that can be set, whose value and default are not told.
    pub(crate) fn control(key: &str, kind: ControlKind) -> Control {
        Control {
            key: key.into(),
            name: key.into(),
            kind,
            value: None,
            default: None,
            is_read_only: false,
            is_inactive: false,
            is_changeable: true,
        }
    }

    fn camera() -> Vec<Control> {
        let item = |value: Value, name: &str| MenuItem { value, name: name.into() };
        let items = vec![item(Value::Integer(1), "Manual"), item(Value::Integer(3), "Automatic")];
        vec![
            control("brightness", ControlKind::Integer { minimum: -64, maximum: 64, step: 8 }),
            control("gain", ControlKind::Number { minimum: 1.0, maximum: 16.0 }),
            control("exposure_mode", ControlKind::Menu { items }),
            control("flip", ControlKind::Boolean),
            control("reset", ControlKind::Button),
            control("crop", ControlKind::Area { within: Crop { x: 0, y: 0, width: 64, height: 48 } }),
            control("table", ControlKind::Other),
            Control { is_read_only: true, is_changeable: false, ..control("serial", ControlKind::Boolean) },
            Control { is_changeable: false, ..control("busy", ControlKind::Boolean) },
        ]
    }

    fn checked(patch: serde_json::Value) -> Result<Vec<Change>, String> {
        changes("/dev/video0 (cam)", &camera(), patch.as_object().unwrap())
    }

    #[test]
    fn values_are_taken_in_the_form_that_the_control_has() {
        let patch = json!({ "brightness": 8.0, "gain": 2, "flip": true, "exposure_mode": 3, "reset": true,
            "crop": " 0,0,8x8" });
        let found = checked(patch).unwrap();
        let value = |key: &str| found.iter().find(|change| change.key == key).unwrap().value.clone().unwrap();
        assert_eq!(value("brightness"), Value::Integer(8));
        assert_eq!(value("gain"), Value::Number(2.0));
        assert_eq!(value("exposure_mode"), Value::Integer(3));
        assert_eq!(value("crop"), Value::Text("0,0,8x8".into()));
    }

    #[test]
    fn null_is_the_default() {
        assert_eq!(checked(json!({ "brightness": null })), Ok(vec![Change { key: "brightness".into(), value: None }]));
    }

    #[test]
    fn a_refusal_names_the_camera_the_control_and_what_is_allowed() {
        assert_eq!(
            checked(json!({ "brightness": 99 })).unwrap_err(),
            "control `brightness`: 99 is out of range: -64 to 64. The camera is /dev/video0 (cam)"
        );
        for (patch, words) in [
            (json!({ "hue": 1 }), "control `hue`: there is no such control"),
            (json!({ "brightness": 3 }), "not a multiple of 8 from -64"),
            (json!({ "brightness": 0.5 }), "`0.5` is no whole number"),
            (json!({ "brightness": "8" }), "`8` is no whole number"),
            (json!({ "brightness": 1e300 }), "no whole number"),
            (json!({ "gain": 0.5 }), "out of range: 1 to 16"),
            (json!({ "gain": true }), "`true` is no number"),
            (json!({ "gain": [1] }), "`true`, `false`, a number or a text"),
            (json!({ "exposure_mode": 2 }), "`2` is not one of 1 (Manual), 3 (Automatic)"),
            (json!({ "flip": 1 }), "neither `true` nor `false`"),
            (json!({ "reset": false }), "button"),
            (json!({ "reset": null }), "has no default"),
            (json!({ "crop": "0,0,65x48" }), "must lie in 0,0,64x48"),
            (json!({ "crop": "all" }), "write X,Y,WIDTHxHEIGHT"),
            (json!({ "crop": 1 }), "write \"X,Y,WIDTHxHEIGHT\""),
            (json!({ "table": 1 }), "of a kind that perch does not set"),
            (json!({ "serial": true }), "it is read-only"),
            (json!({ "serial": null }), "it is read-only"),
            (json!({ "busy": true }), "cannot be changed while the camera runs"),
        ] {
            let refusal = checked(patch.clone()).expect_err(&patch.to_string());
            assert!(refusal.contains(words), "{patch}: {refusal}");
        }
    }

    #[test]
    fn one_bad_value_refuses_the_whole_patch() {
        assert!(checked(json!({ "flip": true, "gain": 99 })).is_err());
    }

    #[test]
    fn what_frees_a_value_is_changed_before_it() {
        let keys: Vec<_> =
            checked(json!({ "brightness": 0, "exposure_mode": 1 })).unwrap().into_iter().map(|c| c.key).collect();
        assert_eq!(keys, ["exposure_mode", "brightness"]);
    }

    #[test]
    fn any_step_and_range_of_a_driver_is_survived() {
        let odd = control("odd", ControlKind::Integer { minimum: i64::MIN, maximum: i64::MAX, step: 0 });
        assert_eq!(odd.accept(&Value::Integer(i64::MAX)), Ok(Value::Integer(i64::MAX)));
        let empty = control("empty", ControlKind::Number { minimum: f64::NAN, maximum: 1.0 });
        assert!(empty.accept(&Value::Number(0.0)).is_err());
    }

    #[test]
    fn a_control_reads_as_one_flat_object_and_back() {
        for control in camera() {
            let text = serde_json::to_string(&control).unwrap();
            assert_eq!(serde_json::from_str::<Control>(&text).unwrap(), control, "{text}");
        }
        let shown = serde_json::to_value(&camera()[0]).unwrap();
        assert_eq!(
            shown,
            json!({ "key": "brightness", "name": "brightness", "type": "integer", "minimum": -64, "maximum": 64,
                "step": 8, "value": null, "default": null, "read_only": false, "inactive": false,
                "changeable": true })
        );
    }
}
