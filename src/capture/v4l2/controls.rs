//! A V4L2 camera's controls in the form that all sources share. The ioctls are `crate::v4l2`'s.

use crate::capture::tuning::{Change, Control, ControlError, ControlKind, MenuItem, Value};
use crate::v4l2::{self, Device};

/// All controls with the values of now.
pub(super) fn list(device: &Device) -> Vec<Control> {
    let driver = device.controls();
    let described = |(key, control): (String, v4l2::Control)| {
        let value = driver.get(control.id).ok();
        describe(key, control, value)
    };
    keyed(driver.list()).into_iter().map(described).collect()
}

/// Makes `changes` in their order. When the driver refuses one, those before it are taken back.
///
/// # Errors
/// When the driver refuses.
pub(super) fn change(device: &Device, changes: &[Change]) -> Result<(), ControlError> {
    let driver = device.controls();
    let known = keyed(driver.list());
    let mut done = Vec::new();
    for change in changes {
        let Some((_, control)) = known.iter().find(|(key, _)| *key == change.key) else {
            return Err(ControlError::Refused(format!("control `{}`: there is no such control", change.key)));
        };
        let before = driver.get(control.id);
        let value = change.value.as_ref().map_or(control.default, number);
        match driver.set(control.id, value) {
            Ok(()) => done.extend(before.ok().map(|before| (control.id, before))),
            // An automatic mode that has just been put back has it now.
            Err(_) if change.value.is_none() && driver.find(control.id).is_some_and(|now| now.is_inactive) => {}
            Err(error) => {
                for (id, before) in done.into_iter().rev() {
                    // What cannot be taken back shows in the list.
                    let _ = driver.set(id, before);
                }
                return Err(ControlError::Refused(error.to_string()));
            }
        }
    }
    Ok(())
}

/// A value as V4L2 has it; `tuning` has made sure that it is a number or a switch.
const fn number(value: &Value) -> i64 {
    match value {
        Value::Integer(value) => *value,
        Value::Boolean(value) => *value as i64,
        Value::Number(_) | Value::Text(_) => 0,
    }
}

/// Each control with a key of its own: the driver's name in small letters, as `v4l2-ctl` has it.
fn keyed(controls: Vec<v4l2::Control>) -> Vec<(String, v4l2::Control)> {
    let mut keyed: Vec<(String, v4l2::Control)> = Vec::with_capacity(controls.len());
    for control in controls {
        let name = key_of(&control.name);
        let mut key = name.clone();
        // There are at most as many others as the list is long.
        for number in 2..=keyed.len() + 1 {
            if !keyed.iter().any(|(taken, _)| *taken == key) {
                break;
            }
            key = format!("{name}_{number}");
        }
        keyed.push((key, control));
    }
    keyed
}

/// `White Balance, Automatic` is `white_balance_automatic`.
fn key_of(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let key = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_");
    if key.is_empty() { "unnamed".to_owned() } else { key }
}

fn describe(key: String, control: v4l2::Control, value: Option<i64>) -> Control {
    let v4l2::Control { name, minimum, maximum, step, default, is_read_only, is_inactive, is_grabbed, .. } = control;
    let (kind, to_value): (_, fn(i64) -> Value) = match control.kind {
        v4l2::ControlKind::Integer => (ControlKind::Integer { minimum, maximum, step }, Value::Integer),
        v4l2::ControlKind::Boolean => (ControlKind::Boolean, |value| Value::Boolean(value != 0)),
        v4l2::ControlKind::Menu(items) => {
            let item = |item: v4l2::MenuItem| MenuItem { value: Value::Integer(item.value), name: item.name };
            (ControlKind::Menu { items: items.into_iter().map(item).collect() }, Value::Integer)
        }
        v4l2::ControlKind::Button => (ControlKind::Button, Value::Integer),
        v4l2::ControlKind::Bitmask | v4l2::ControlKind::Other => (ControlKind::Other, Value::Integer),
    };
    let has_value = !matches!(kind, ControlKind::Button | ControlKind::Other);
    Control {
        is_changeable: !is_read_only && !is_grabbed && kind != ControlKind::Other,
        key,
        name,
        kind,
        value: value.filter(|_| has_value).map(to_value),
        default: has_value.then(|| to_value(default)),
        is_read_only,
        is_inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4l2::ControlId;

    fn driver(name: &str, kind: v4l2::ControlKind) -> v4l2::Control {
        v4l2::Control {
            id: ControlId(1),
            name: name.into(),
            kind,
            minimum: 0,
            maximum: 10,
            step: 1,
            default: 1,
            is_read_only: false,
            is_inactive: false,
            is_grabbed: false,
        }
    }

    #[test]
    fn keys_are_the_drivers_names_in_small_letters_and_never_twice() {
        let names = ["White Balance, Automatic", "Gain", "Gain", "gain", "  ", "Gain 2"];
        let keys: Vec<_> = keyed(names.map(|name| driver(name, v4l2::ControlKind::Integer)).into())
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, ["white_balance_automatic", "gain", "gain_2", "gain_3", "unnamed", "gain_2_2"]);
    }

    #[test]
    fn values_have_the_controls_own_form() {
        let shown = |kind| describe("key".into(), driver("Name", kind), Some(1));
        assert_eq!(shown(v4l2::ControlKind::Boolean).value, Some(Value::Boolean(true)));
        assert_eq!(shown(v4l2::ControlKind::Integer).default, Some(Value::Integer(1)));
        let button = shown(v4l2::ControlKind::Button);
        assert_eq!((button.value, button.default, button.is_changeable), (None, None, true));
        assert!(!shown(v4l2::ControlKind::Bitmask).is_changeable);
        let busy = v4l2::Control { is_grabbed: true, ..driver("Name", v4l2::ControlKind::Integer) };
        assert!(!describe("key".into(), busy, None).is_changeable);
    }
}
