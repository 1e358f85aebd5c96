//! Whether the owner has switched the camera off. It outlives a restart: a power cut must not switch it on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use log::{info, warn};

/// The file that is there while the camera is off.
const MARKER: &str = "privacy";

/// The switch.
#[derive(Debug, Default)]
pub struct Privacy {
    is_on: AtomicBool,
    marker: Option<PathBuf>,
}

impl Privacy {
    /// As it was left, by the marker in `folder`; without a folder it is off, and forgotten at the end.
    #[must_use]
    pub fn load(folder: Option<&Path>) -> Self {
        let marker = folder.map(|folder| folder.join(MARKER));
        // One that cannot be looked at counts as there: showing the picture would be the worse mistake.
        let is_there = marker.as_deref().is_some_and(|marker| {
            !fs::symlink_metadata(marker)
                .is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
        });
        Self { is_on: AtomicBool::new(is_there), marker }
    }

    /// Whether the camera is off.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Switches the camera off (`true`) or on.
    pub fn set(&self, on: bool) {
        self.is_on.store(on, Ordering::Release);
        info!("privacy is {}", if on { "on: the camera is off" } else { "off" });
        let Some(marker) = &self.marker else { return };
        let kept = if on {
            let folder = marker.parent().map_or(Ok(()), fs::create_dir_all);
            folder.and_then(|()| fs::File::create(marker)).and_then(|file| file.sync_all())
        } else {
            fs::remove_file(marker)
        };
        if let Err(error) = kept {
            warn!("privacy will not outlive a restart: {}: {error}", marker.display());
        }
    }

    /// Switches it to what it is not.
    pub fn toggle(&self) {
        self.set(!self.is_on());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_outlives_a_restart_both_ways() {
        let folder = std::env::temp_dir().join(format!("perch-privacy-{}", std::process::id()));
        let inner = folder.join("not/there/yet");
        let first = Privacy::load(Some(&inner));
        assert!(!first.is_on());
        first.toggle();
        assert!(first.is_on() && Privacy::load(Some(&inner)).is_on());
        first.toggle();
        assert!(!first.is_on() && !Privacy::load(Some(&inner)).is_on());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_folder_it_still_switches() {
        let privacy = Privacy::load(None);
        privacy.set(true);
        assert!(privacy.is_on());
    }
}
