//! What is done to a camera's pictures, and how it is changed while the camera runs.
//!
//! The capture thread changes it as it changes the camera's own controls, whoever asks for it changes masks and overlay,
//! and the encode thread asks for each picture whether it has changed. From the moment that other masks are set, nothing
//! leaves that was made with those before: pictures [pass](Picture::pass) only with the number of their masks. What the
//! stages do is `process`'s.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::kept_picture::{KeptPicture, Values};
use crate::capture::tuning::{Change, Control, ControlKind, MenuItem, Value};
use crate::process::colorspace::Colorspace;
use crate::process::orientation::Orientation;
use crate::process::overlay;
use crate::process::privacy_mask::PrivacyMask;
use crate::process::stages::Settings;

/// The settings of now.
#[derive(Debug, Default)]
pub(super) struct Picture {
    now: Mutex<Now>,
    /// Those that it began with: what is put back.
    first: Settings,
    kept: KeptPicture,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Now {
    settings: Settings,
    /// What was set in the place of the first settings; its masks lie on the picture as the camera takes it.
    set: Values,
    /// Another number whenever other masks were set.
    masks: u64,
}

impl Now {
    /// Masks that lie on the picture as it is taken become those of the picture as it is shown.
    fn put_on(&mut self, masks: &[PrivacyMask], orientation: Orientation) {
        let shown = self.settings.orientation();
        self.settings.privacy_masks = masks.iter().map(|mask| mask.turned(orientation, shown)).collect();
    }

    /// Changes how the picture is turned; masks turn with it.
    fn turn(&mut self, change: impl FnOnce(&mut Settings)) -> bool {
        let before = self.settings.orientation();
        change(&mut self.settings);
        let masks = std::mem::take(&mut self.settings.privacy_masks);
        self.put_on(&masks, before);
        true
    }
}

impl Picture {
    /// What `settings` say, with what is `kept` in their place.
    pub(super) fn new(settings: Settings, kept: KeptPicture) -> Self {
        let mut now = Now { settings: settings.clone(), set: kept.values(), masks: 0 };
        if let Some(masks) = now.set.masks.clone() {
            now.put_on(&masks, Orientation::default());
        }
        if let Some(overlay) = &now.set.overlay {
            now.settings.overlay.clone_from(overlay);
        }
        Self { now: Mutex::new(now), first: settings, kept, version: AtomicU64::new(0) }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of them, and the number of their masks.
    pub(super) fn settings(&self) -> (Settings, u64) {
        let now = self.now();
        (now.settings.clone(), now.masks)
    }

    /// Another number whenever they have changed.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    /// Lets a picture out that was made with the masks of this number, unless there are others by now.
    pub(super) fn pass(&self, masks: u64, send: impl FnOnce()) {
        let now = self.now();
        if now.masks == masks {
            send();
        }
        drop(now);
    }

    /// The size in which a picture of `size` comes out.
    pub(super) fn output_size(&self, size: (usize, usize), is_oriented: bool) -> (usize, usize) {
        self.now().settings.output_size(size, is_oriented)
    }

    /// What nobody is to see, on the picture as it is shown.
    pub(super) fn masks(&self) -> Vec<PrivacyMask> {
        self.now().settings.privacy_masks.clone()
    }

    /// Hides this from now on; none: what was hidden at first. `take_back` takes back all that is on its way. The masks
    /// have to be [valid](PrivacyMask::validate_all).
    ///
    /// # Errors
    /// When they are on, but cannot be kept.
    pub(super) fn set_masks(&self, masks: Option<&[PrivacyMask]>, take_back: impl FnOnce()) -> io::Result<()> {
        let mut now = self.now();
        let shown = now.settings.orientation();
        match masks {
            Some(masks) => now.settings.privacy_masks = masks.to_vec(),
            None => now.put_on(&self.first.privacy_masks, self.first.orientation()),
        }
        let as_taken = |mask: &PrivacyMask| mask.turned(shown, Orientation::default());
        now.set.masks = masks.map(|masks| masks.iter().map(as_taken).collect());
        now.masks += 1;
        self.version.fetch_add(1, Release);
        take_back();
        drop(now);
        self.kept.save(|| self.now().set.clone())
    }

    /// What is written into the picture.
    pub(super) fn overlay(&self) -> overlay::Settings {
        self.now().settings.overlay.clone()
    }

    /// Writes this from now on; none: what was written at first. It has to be [valid](overlay::Settings::validate).
    ///
    /// # Errors
    /// When it is on, but cannot be kept.
    pub(super) fn set_overlay(&self, overlay: Option<overlay::Settings>) -> io::Result<()> {
        let mut now = self.now();
        now.settings.overlay.clone_from(overlay.as_ref().unwrap_or(&self.first.overlay));
        now.set.overlay = overlay;
        self.version.fetch_add(1, Release);
        drop(now);
        self.kept.save(|| self.now().set.clone())
    }

    /// What can be changed while the camera runs; `orients` if it turns its pictures itself, when it is opened.
    pub(super) fn controls(&self, orients: bool) -> Vec<Control> {
        let (guard, first) = (self.now(), &self.first);
        let now = &guard.settings;
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
        let (mut guard, first) = (self.now(), &self.first);
        let now = &mut *guard;
        let is_ours = match (key.as_str(), value) {
            ("hflip", Some(Value::Boolean(wish))) => now.turn(|settings| settings.hflip = *wish),
            ("vflip", Some(Value::Boolean(wish))) => now.turn(|settings| settings.vflip = *wish),
            ("rotation", Some(Value::Integer(wish))) => now.turn(|settings| settings.rotation = small(*wish)),
            ("frame_size_reduction", Some(Value::Integer(wish))) => {
                set(&mut now.settings.frame_size_reduction, small(*wish))
            }
            ("stabilize", Some(Value::Boolean(wish))) => set(&mut now.settings.stabilize, *wish),
            ("colorspace", Some(Value::Text(wish))) => set(&mut now.settings.colorspace, wish.parse().ok()),
            ("hflip", _) => now.turn(|settings| settings.hflip = first.hflip),
            ("vflip", _) => now.turn(|settings| settings.vflip = first.vflip),
            ("rotation", _) => now.turn(|settings| settings.rotation = first.rotation),
            ("stabilize", _) => set(&mut now.settings.stabilize, first.stabilize),
            ("colorspace", _) => set(&mut now.settings.colorspace, first.colorspace),
            ("frame_size_reduction", _) => set(&mut now.settings.frame_size_reduction, first.frame_size_reduction),
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
        let picture = Picture::new(first.clone(), KeptPicture::default());
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
            let (before, version) = (picture.settings().0, picture.version());
            let control = picture.controls(false).into_iter().find(|control| control.key == key).unwrap();
            assert_eq!(control.accept(&wish), Ok(wish.clone()), "{key}");
            assert!(picture.change(&change(key, Some(wish.clone()))));
            assert_eq!(value(&picture, key), Some(wish), "{key}");
            assert!(picture.settings().0 != before && picture.version() != version, "{key}");
            assert!(picture.change(&change(key, None)));
            assert_eq!(picture.settings().0, first, "{key}");
        }
    }

    #[test]
    fn what_is_the_camera_s_own_is_left_alone() {
        let picture = Picture::default();
        assert!(!picture.change(&change("brightness", Some(Value::Integer(1)))));
        assert_eq!((picture.settings().0, picture.version()), (Settings::default(), 0));
        let keys: Vec<_> = picture.controls(true).into_iter().map(|control| control.key).collect();
        assert_eq!(
            keys,
            ["frame_size_reduction", "stabilize", "colorspace"],
            "a camera that turns its pictures does so from the start"
        );
    }

    fn upper_left() -> PrivacyMask {
        PrivacyMask { points: vec![[0.0, 0.0], [0.5, 0.0], [0.5, 0.25]], ..PrivacyMask::default() }
    }

    #[test]
    fn no_picture_passes_that_was_made_before_other_masks_were_set() {
        let picture = Picture::default();
        let (_, masks) = picture.settings();
        let sent = std::cell::Cell::new(0);
        picture.pass(masks, || sent.set(sent.get() + 1));
        let mut is_taken_back = false;
        picture.set_masks(Some(&[upper_left()]), || is_taken_back = true).unwrap();
        picture.pass(masks, || sent.set(sent.get() + 10));
        picture.set_overlay(None).unwrap();
        let (settings, now) = picture.settings();
        picture.pass(now, || sent.set(sent.get() + 100));
        assert_eq!((sent.get(), is_taken_back, settings.privacy_masks), (101, true, vec![upper_left()]));
    }

    #[test]
    fn masks_turn_with_the_picture_and_those_of_the_settings_can_be_put_back() {
        let first = Settings { rotation: 90, privacy_masks: vec![upper_left()], ..Settings::default() };
        let picture = Picture::new(first, KeptPicture::default());
        assert!(picture.change(&change("rotation", Some(Value::Integer(180)))));
        let turned = [[1.0, 0.0], [1.0, 0.5], [0.75, 0.5]];
        assert_eq!(picture.masks()[0].points, turned, "a quarter turn further");
        picture.set_masks(Some(&[]), || ()).unwrap();
        assert!(picture.masks().is_empty());
        picture.set_masks(None, || ()).unwrap();
        assert_eq!(picture.masks()[0].points, turned);
        assert!(picture.change(&change("rotation", None)));
        assert_eq!(picture.masks(), [upper_left()]);
    }

    #[test]
    fn masks_that_are_kept_stay_where_they_belong_when_the_picture_is_turned_otherwise() {
        let folder = std::env::temp_dir().join(format!("perch-masks-{:016x}", rand::random::<u64>()));
        let started = |rotation| {
            let settings = Settings { rotation, ..Settings::default() };
            Picture::new(settings, KeptPicture::load(Some(&folder), "main"))
        };
        started(90).set_masks(Some(&[upper_left()]), || ()).unwrap();
        assert_eq!(started(90).masks(), [upper_left()]);
        assert_eq!(started(180).masks()[0].points, [[1.0, 0.0], [1.0, 0.5], [0.75, 0.5]]);
        started(0).set_masks(None, || ()).unwrap();
        assert!(started(90).masks().is_empty());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
