//! The privacy masks and the overlay that somebody has set while the camera ran: they outlive a restart.
//!
//! A JSON object in the state folder, one file for each camera by its name in perch. Masks are kept as they lie on the
//! picture that the camera takes, so that they stay where they belong however it is turned later.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use log::{error, warn};
use serde::{Deserialize, Serialize};

use super::kept_controls::{KeptControls, file_name, locked};
use crate::base::durable;
use crate::process::overlay;
use crate::process::privacy_mask::PrivacyMask;

/// Longest file that is read, in bytes: more than all masks take.
const MAX_BYTES: u64 = 256 * 1024;

/// What was set, each in the place of what the settings file says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Values {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) masks: Option<Vec<PrivacyMask>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) overlay: Option<overlay::Settings>,
}

/// One camera's file.
#[derive(Debug, Default)]
pub struct KeptPicture {
    file: Option<PathBuf>,
    /// What is on the disk. Held while it is written.
    written: Mutex<Values>,
}

impl KeptPicture {
    /// That of the camera called `camera`, as it was left in `folder`. Without a folder everything is forgotten at the
    /// end. Masks that cannot be read hide the whole picture: showing what was hidden would be the worse mistake.
    #[must_use]
    pub fn load(folder: Option<&Path>, camera: &str) -> Self {
        let file = folder.map(|folder| folder.join(file_name("picture", camera)));
        let values = file.as_deref().map_or_else(Values::default, |file| {
            read(file).unwrap_or_else(|problem| {
                error!("camera {camera} is all hidden until its masks are set: {}: {problem}", file.display());
                Values { masks: Some(vec![PrivacyMask::whole()]), overlay: None }
            })
        });
        Self { file, written: Mutex::new(values) }
    }

    /// What is on the disk.
    pub(super) fn values(&self) -> Values {
        locked(&self.written).clone()
    }

    /// Writes what `newest` gives. It may take as long as the disk does.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, newest: impl FnOnce() -> Values) -> io::Result<()> {
        let mut written = locked(&self.written);
        let values = newest();
        if let Some(file) = self.file.as_ref().filter(|_| *written != values) {
            durable::replace(file, &serde_json::to_vec_pretty(&values)?)?;
        }
        *written = values;
        Ok(())
    }
}

fn read(file: &Path) -> io::Result<Values> {
    let text = match durable::read(file, MAX_BYTES) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Values::default());
        }
        Err(error) => return Err(error),
    };
    let mut values: Values = serde_json::from_slice(&text)?;
    PrivacyMask::validate_all(values.masks.as_deref().unwrap_or_default()).map_err(io::Error::other)?;
    if let Some(Err((key, problem))) = values.overlay.as_ref().map(overlay::Settings::validate) {
        warn!("an overlay that was kept is left out: {}: `{key}`: {problem}", file.display());
        values.overlay = None;
    }
    Ok(values)
}

/// All that is kept of one camera.
#[derive(Debug, Default)]
pub struct Kept {
    pub(super) controls: KeptControls,
    pub(super) picture: KeptPicture,
}

impl Kept {
    /// That of the camera called `camera`, as it was left in `folder`.
    #[must_use]
    pub fn load(folder: Option<&Path>, camera: &str) -> Self {
        Self { controls: KeptControls::load(folder, camera), picture: KeptPicture::load(folder, camera) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_was_set_outlives_a_restart_and_what_cannot_be_read_hides_everything() {
        let folder = std::env::temp_dir().join(format!("perch-picture-{:016x}", rand::random::<u64>()));
        let load = || KeptPicture::load(Some(&folder), "main");
        assert_eq!(load().values(), Values::default());
        let overlay = overlay::Settings { text: "%H".into(), ..overlay::Settings::default() };
        let values = Values { masks: Some(Vec::new()), overlay: Some(overlay) };
        load().save(|| values.clone()).unwrap();
        assert_eq!(load().values(), values);

        let file = folder.join("picture-main.json");
        for text in ["", "{", "{\"masks\": 1}", "{\"masks\": [{\"points\": [[0, 2], [1, 1], [0, 1]]}]}"] {
            fs::write(&file, text).unwrap();
            assert_eq!(load().values().masks, Some(vec![PrivacyMask::whole()]), "{text}");
        }
        fs::write(&file, "{\"masks\": [], \"overlay\": {\"size_percent\": 90}}").unwrap();
        assert_eq!(load().values(), Values { masks: Some(Vec::new()), overlay: None });
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(load().values().masks, Some(vec![PrivacyMask::whole()]));
        assert!(load().save(|| values).is_err(), "a folder is in its place");
        fs::remove_dir_all(folder).unwrap();
    }
}
