//! The values that somebody gave a camera's controls: they outlive a restart and a camera that is plugged in again.
//!
//! A JSON object in the state folder, one file for each camera by its name in perch. What the values mean is
//! `capture::tuning`'s; whether they still fit is asked each time the source is opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::warn;

use crate::base::durable;
use crate::capture::tuning::{Change, Value};

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// Most values: more than cameras have controls.
const MOST_VALUES: usize = 512;

type Values = BTreeMap<String, Value>;

/// One camera's values.
#[derive(Debug, Default)]
pub struct KeptControls {
    file: Option<PathBuf>,
    values: Mutex<Values>,
    /// What is on the disk. Held while it is written.
    written: Mutex<Values>,
}

impl KeptControls {
    /// Those of the camera called `camera`, as they were left in `folder`. Without a folder they are forgotten at the
    /// end. A file that cannot be read is said in the log, and replaced by the next change.
    #[must_use]
    pub fn load(folder: Option<&Path>, camera: &str) -> Self {
        let file = folder.map(|folder| folder.join(file_name("controls", camera)));
        let values = file.as_deref().map_or_else(Values::new, |file| {
            read(file).unwrap_or_else(|error| {
                warn!("the controls of camera {camera} are as if new: {}: {error}", file.display());
                Values::new()
            })
        });
        Self { file, written: Mutex::new(values.clone()), values: Mutex::new(values) }
    }

    /// Every value, by the control's key.
    pub(super) fn values(&self) -> Values {
        locked(&self.values).clone()
    }

    /// Takes note of changes that the camera has made. They are on the disk after the next [`save`](Self::save).
    pub(super) fn note(&self, changes: &[Change]) {
        let mut values = locked(&self.values);
        for Change { key, value } in changes {
            match value {
                Some(value) if values.len() < MOST_VALUES || values.contains_key(key) => {
                    values.insert(key.clone(), value.clone());
                }
                Some(_) => {}
                None => drop(values.remove(key)),
            }
        }
    }

    /// Writes what was noted. It may take as long as the disk does, so it is not for the capture thread.
    pub(super) fn save(&self) {
        let Some(file) = &self.file else { return };
        let mut written = locked(&self.written);
        let values = self.values();
        if *written == values {
            return;
        }
        let saved =
            serde_json::to_vec_pretty(&values).map_err(io::Error::from).and_then(|text| durable::replace(file, &text));
        match saved {
            Ok(()) => *written = values,
            Err(error) => warn!("the camera's controls will not outlive a restart: {}: {error}", file.display()),
        }
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(file: &Path) -> io::Result<Values> {
    let mut text = Vec::new();
    match File::open(file) {
        Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Values::new()),
        Err(error) => return Err(error),
    };
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is longer than {MAX_BYTES} bytes")));
    }
    Ok(serde_json::from_slice(&text)?)
}

/// A name that leads nowhere else, whatever the camera is called.
pub(super) fn file_name(what: &str, camera: &str) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    format!("{what}-{}.json", camera.bytes().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("perch-controls-{:016x}", rand::random::<u64>())))
        }

        fn load(&self, camera: &str) -> KeptControls {
            KeptControls::load(Some(&self.0), camera)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn set(key: &str, value: Value) -> Change {
        Change { key: key.into(), value: Some(value) }
    }

    #[test]
    fn what_is_saved_outlives_a_restart_in_the_form_that_it_had() {
        let folder = Folder::new();
        let values = [Value::Integer(3), Value::Number(2.0), Value::Boolean(true), Value::Text("0,0,8x8".into())];
        let first = folder.load("main");
        first.note(&values.clone().map(|value| set(&format!("{value:?}"), value)));
        first.save();
        let again = folder.load("main").values();
        assert_eq!(again, values.map(|value| (format!("{value:?}"), value)).into());
    }

    #[test]
    fn a_default_is_forgotten() {
        let folder = Folder::new();
        let kept = folder.load("main");
        kept.note(&[set("gain", Value::Integer(3)), set("hue", Value::Integer(1))]);
        kept.save();
        kept.note(&[Change { key: "gain".into(), value: None }]);
        kept.save();
        assert_eq!(folder.load("main").values().into_keys().collect::<Vec<_>>(), ["hue"]);
    }

    #[test]
    fn cameras_share_nothing_and_their_names_lead_nowhere() {
        let folder = Folder::new();
        let names = ["main", "../main", "a/b", "a_b", "Küche", ""];
        for (number, name) in names.iter().enumerate() {
            let kept = folder.load(name);
            kept.note(&[set("number", Value::Integer(i64::try_from(number).unwrap()))]);
            kept.save();
        }
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), names.len());
        for (number, name) in names.iter().enumerate() {
            assert_eq!(folder.load(name).values()["number"], Value::Integer(i64::try_from(number).unwrap()), "{name}");
        }
    }

    #[test]
    fn a_file_that_makes_no_sense_is_replaced_by_the_next_change() {
        let folder = Folder::new();
        fs::create_dir_all(&folder.0).unwrap();
        let file = folder.0.join("controls-main.json");
        let long = format!("{{\"a\": 1}}{}", " ".repeat(70_000));
        for content in ["", "[1]", "{\"a\": [1]}", "{\"a\": 1", "\0\u{1}", &long] {
            fs::write(&file, content).unwrap();
            let kept = folder.load("main");
            assert_eq!(kept.values(), Values::new(), "{content}");
            kept.note(&[set("gain", Value::Integer(3))]);
            kept.save();
            assert_eq!(folder.load("main").values().len(), 1, "{content}");
        }
    }

    #[test]
    fn values_are_bounded() {
        let kept = KeptControls::load(None, "main");
        for number in 0..=MOST_VALUES {
            kept.note(&[set(&number.to_string(), Value::Integer(1))]);
        }
        kept.note(&[set("0", Value::Integer(2))]);
        assert_eq!((kept.values().len(), kept.values()["0"].clone()), (MOST_VALUES, Value::Integer(2)));
    }
}
