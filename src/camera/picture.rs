//! What is done to a camera's pictures, and how it is changed while the camera runs.
//!
//! The capture thread changes it as it changes the camera's own controls; the encode thread asks for each picture whether
//! it has changed. What the stages do is `process`'s.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::capture::tuning::{Change, Control, ControlKind, MenuItem, Value};
use crate::process::colorspace::Colorspace;
use crate::process::stages::Settings;

/// The settings of now.
#[derive(Debug, Default)]
pub(super) struct Picture {
    now: Mutex<Settings>,
    /// Those that it began with: what is put back.
    first: Settings,
    version: AtomicU64,
}

impl Picture {
    pub(super) fn new(settings: Settings) -> Self {
        Self { now: Mutex::new(settings.clone()), first: settings, version: AtomicU64::new(0) }
    }

    fn now(&self) -> MutexGuard<'_, Settings> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of them.
    pub(super) fn settings(&self) -> Settings {
        self.now().clone()
    }

    /// Another number whenever they have changed.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// The size in which a picture of `size` comes out.
    pub(super) fn output_size(&self, size: (usize, usize), is_oriented: bool) -> (usize, usize) {
        self.now().output_size(size, is_oriented)
    }

    /// What can be changed while the camera runs; `orients` if it turns its pictures itself, when it is opened.
    pub(super) fn controls(&self, orients: bool) -> Vec<Control> {
        let (now, first) = (self.now(), &self.first);
        let boolean = |key, name, now, default| {
            control(key, name, ControlKind::Boolean, Value::Boolean(now), Value::Boolean(default))
        };
        let turns =
            [0, 90, 180, 270].map(|degrees| MenuItem { value: Value::Integer(degrees), name: format!("{degrees}°") });
        let percent = ControlKind::Integer { minimum: 0, maximum: 90, step: 1 };
        let mut controls = vec![
            boolean("hflip", "Mirror left to right", now.hflip, first.hflip),
            boolean("vflip", "Mirror top to bottom", now.vflip, first.vflip),
            control(
                "rotation",
                "Turn clockwise",
                ControlKind::Menu { items: turns.into() },
                integer(now.rotation),
                integer(first.rotation),
            ),
        ];
        if orients {
            controls.clear();
        }
        let (shrunk, whole) = (now.frame_size_reduction, first.frame_size_reduction);
        controls.push(control("frame_size_reduction", "Smaller by (%)", percent, integer(shrunk), integer(whole)));
        controls.push(boolean("stabilize", "Hold still", now.stabilize, first.stabilize));
        controls.push(control("colorspace", "Colours", spaces(), space(now.colorspace), space(first.colorspace)));
        controls
    }

    /// Makes a change if it is one of these [`controls`](Self::controls), against which it was checked; whether it was.
    pub(super) fn change(&self, Change { key, value }: &Change) -> bool {
        let (mut now, first) = (self.now(), &self.first);
        let is_ours = match (key.as_str(), value) {
            ("hflip", Some(Value::Boolean(wish))) => set(&mut now.hflip, *wish),
            ("vflip", Some(Value::Boolean(wish))) => set(&mut now.vflip, *wish),
            ("rotation", Some(Value::Integer(wish))) => set(&mut now.rotation, small(*wish)),
            ("frame_size_reduction", Some(Value::Integer(wish))) => set(&mut now.frame_size_reduction, small(*wish)),
            ("stabilize", Some(Value::Boolean(wish))) => set(&mut now.stabilize, *wish),
            ("colorspace", Some(Value::Text(wish))) => set(&mut now.colorspace, wish.parse().ok()),
            ("hflip", _) => set(&mut now.hflip, first.hflip),
            ("vflip", _) => set(&mut now.vflip, first.vflip),
            ("rotation", _) => set(&mut now.rotation, first.rotation),
            ("stabilize", _) => set(&mut now.stabilize, first.stabilize),
            ("colorspace", _) => set(&mut now.colorspace, first.colorspace),
            ("frame_size_reduction", _) => set(&mut now.frame_size_reduction, first.frame_size_reduction),
            _ => false,
        };
        if is_ours {
            self.version.fetch_add(1, Release);
        }
        is_ours
    }
}

/// The picture's own colours, in the menu of colour spaces.
const OWN_COLOURS: &str = "none";

fn spaces() -> ControlKind {
    let own = MenuItem { value: Value::Text(OWN_COLOURS.into()), name: "its own".into() };
    let spaces =
        Colorspace::ALL.map(|space| MenuItem { value: Value::Text(space.to_string()), name: space.to_string() });
    ControlKind::Menu { items: [own].into_iter().chain(spaces).collect() }
}

fn space(space: Option<Colorspace>) -> Value {
    Value::Text(space.map_or_else(|| OWN_COLOURS.to_owned(), |space| space.to_string()))
}

fn set<T>(value: &mut T, wish: T) -> bool {
    *value = wish;
    true
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn integer(value: u32) -> Value {
    Value::Integer(value.into())
}

fn control(key: &str, name: &str, kind: ControlKind, value: Value, default: Value) -> Control {
    Control {
        key: key.to_owned(),
        name: name.to_owned(),
        kind,
        value: Some(value),
        default: Some(default),
        is_read_only: false,
        is_inactive: false,
        is_changeable: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<Value>) -> Change {
        Change { key: key.to_owned(), value }
    }

    fn value(picture: &Picture, key: &str) -> Option<Value> {
        picture.controls(false).into_iter().find(|control| control.key == key)?.value
    }

    #[test]
    fn every_control_can_be_changed_and_put_back() {
        let first = Settings { rotation: 180, frame_size_reduction: 20, ..Settings::default() };
        let picture = Picture::new(first.clone());
        let wishes = [
            ("hflip", Value::Boolean(true)),
            ("vflip", Value::Boolean(true)),
            ("rotation", Value::Integer(90)),
            ("frame_size_reduction", Value::Integer(50)),
            ("stabilize", Value::Boolean(true)),
            ("colorspace", Value::Text("gray".into())),
        ];
        assert_eq!(picture.controls(false).len(), wishes.len());
        for (key, wish) in wishes {
            let (before, version) = (picture.settings(), picture.version());
            let control = picture.controls(false).into_iter().find(|control| control.key == key).unwrap();
            assert_eq!(control.accept(&wish), Ok(wish.clone()), "{key}");
            assert!(picture.change(&change(key, Some(wish.clone()))));
            assert_eq!(value(&picture, key), Some(wish), "{key}");
            assert!(picture.settings() != before && picture.version() != version, "{key}");
            assert!(picture.change(&change(key, None)));
            assert_eq!(picture.settings(), first, "{key}");
        }
    }

    #[test]
    fn what_is_the_camera_s_own_is_left_alone() {
        let picture = Picture::default();
        assert!(!picture.change(&change("brightness", Some(Value::Integer(1)))));
        assert_eq!((picture.settings(), picture.version()), (Settings::default(), 0));
        let keys: Vec<_> = picture.controls(true).into_iter().map(|control| control.key).collect();
        assert_eq!(
            keys,
            ["frame_size_reduction", "stabilize", "colorspace"],
            "a camera that turns its pictures does so from the start"
        );
    }
}
