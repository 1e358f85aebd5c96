//! `perch.toml`: every part's settings in one file, checked before anything starts.
//!
//! Each part owns its own section (its keys, defaults and ranges); this module only puts them together,
//! reads the file and says what is wrong with it in terms of the file: name, line, key and what was
//! probably meant. [`app`](crate) is the only place that sees the whole [`Config`]; parts get their own.
//!
//! No list of keys is kept here: which keys exist, and which one a misspelt key was meant to be, is asked
//! of the sections' own `serde` definitions, so that neither can drift.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::logging::LogFilter;
use crate::base::one_or_more::OneOrMore;
use crate::capture::SourceSpec;
use crate::platform::config::GpioConfig;
use crate::platform::device::DeviceConfig;
use crate::{capture, encode, http, webrtc};

mod document;
mod known_keys;

use document::Document;
pub use known_keys::known_keys;

/// The file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "/etc/perch/perch.toml";

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Most cameras at once: each has threads and an encoder of its own.
const MOST_CAMERAS: usize = 8;

/// What stands in place of a secret when settings are shown.
const MASK: &str = "***";

/// Why the settings cannot be used. The message is meant for the owner and stands on its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// {file}: cannot be read
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file's name as it was given.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// {file}:{line}: a key or value is wrong
    #[error("{file}:{line}: {message}")]
    AtLine {
        /// The file's name as it was given.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what was probably meant.
        message: String,
    },
    /// {origin}: a value is wrong that no line of the file sets
    #[error("{origin}: {message}")]
    Value {
        /// The file, or `command line`.
        origin: String,
        /// What is wrong.
        message: String,
    },
}

impl ConfigError {
    /// The exit code for it: `EX_CONFIG` of `sysexits.h`, which systemd knows by name.
    pub const EXIT_CODE: u8 = 78;
}

/// A value that has the right form and is not allowed.
struct BadValue {
    section: &'static str,
    /// Which one, where the section is a list.
    index: usize,
    key: &'static str,
    reason: String,
}

impl BadValue {
    fn message(&self) -> String {
        document::bad_value_message(&format!("{}.{}", self.section, self.key), &self.reason)
    }
}

/// The `[log]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How much to log: a level, or levels by module as in `info,perch::webrtc=debug`.
    pub level: LogFilter,
}

/// Everything that the owner may set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The `[camera]` section, or several as `[[camera]]`.
    pub camera: OneOrMore<capture::Config>,
    /// The `[encoder]` section.
    pub encoder: encode::Config,
    /// The `[webrtc]` section.
    pub webrtc: webrtc::Config,
    /// The `[http]` section.
    pub http: http::Config,
    /// The `[web]` section.
    pub web: http::WebConfig,
    /// The `[gpio]` section.
    pub gpio: GpioConfig,
    /// The `[log]` section.
    pub log: LogConfig,
    /// The `[device]` section.
    pub device: DeviceConfig,
}

impl Config {
    /// Reads settings from `text`; `file` is its name in error messages.
    ///
    /// # Errors
    /// When the text is no TOML, names a key that does not exist, or sets a value that is not allowed.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        let document = Document::parse(text, file)?;
        let config: Self = document.read()?;
        match config.first_bad_value() {
            None => Ok(config),
            Some(bad) => Err(document.bad_value(&bad)),
        }
    }

    /// Reads settings from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than 1 MiB, or is refused by [`parse`](Self::parse).
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let unreadable = |reason: String| ConfigError::Unreadable { file: file.clone(), reason };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|opened| opened.take(MAX_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(unreadable("is larger than 1 MiB: this is no perch configuration".into()));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            ConfigError::AtLine {
                file: file.clone(),
                line: document::line_of(good, good.len()),
                message: "is not UTF-8 text".into(),
            }
        })?;
        Self::parse(&text, &file)
    }

    /// Which file to read when the owner named none: [`DEFAULT_FILE`], if it is there.
    ///
    /// One that is there and cannot be read counts as there: going on without its settings would be worse
    /// than not starting.
    #[must_use]
    pub fn default_file() -> Option<PathBuf> {
        match std::fs::symlink_metadata(DEFAULT_FILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            _ => Some(DEFAULT_FILE.into()),
        }
    }

    /// Checks what types cannot, after something else than a file changed the settings.
    ///
    /// # Errors
    /// When a value is out of range; `origin` says where it came from.
    pub fn validate(&self, origin: &str) -> Result<(), ConfigError> {
        match self.first_bad_value() {
            None => Ok(()),
            Some(bad) => Err(ConfigError::Value { origin: origin.into(), message: bad.message() }),
        }
    }

    fn first_bad_value(&self) -> Option<BadValue> {
        let mut sections = Vec::new();
        for (index, camera) in self.camera.iter().enumerate() {
            sections.push(("camera", index, camera.validate()));
            sections.push(("camera.controls", index, camera.controls.validate()));
            sections.push(("camera.stabilizer", index, camera.stabilizer.validate()));
            sections.push(("camera.overlay", index, camera.overlay.validate()));
        }
        sections.extend([
            ("encoder", 0, self.encoder.validate()),
            ("webrtc", 0, self.webrtc.validate()),
            ("http", 0, self.http.validate()),
            ("http.tls", 0, self.http.tls.validate()),
            ("gpio", 0, self.gpio.validate()),
            ("device", 0, self.device.validate()),
        ]);
        sections
            .into_iter()
            .find_map(|(section, index, result)| {
                result.err().map(|(key, reason)| BadValue { section, index, key, reason })
            })
            .or_else(|| self.first_camera_in_the_way())
    }

    /// The first camera that cannot be told from another, or would take its device.
    fn first_camera_in_the_way(&self) -> Option<BadValue> {
        let count = self.camera.len();
        let bad = |index, key, reason| Some(BadValue { section: "camera", index, key, reason });
        if count > MOST_CAMERAS {
            return bad(MOST_CAMERAS, "name", format!("there are {count} cameras; {MOST_CAMERAS} is the most"));
        }
        for (index, camera) in self.camera.iter().enumerate() {
            if self.camera.iter().take(index).any(|other| other.name == camera.name) {
                return bad(index, "name", format!("`{}` is another camera already: each needs its own", camera.name));
            }
            if count > 1 && camera.source == SourceSpec::Auto {
                return bad(index, "source", "`auto` is for one camera alone: name each one's device".into());
            }
            let is_shared = !matches!(camera.source, SourceSpec::Test | SourceSpec::File(_));
            let same = self.camera.iter().take(index).find(|other| other.source == camera.source);
            if let Some(other) = same.filter(|_| is_shared) {
                return bad(index, "source", format!("`{}` is the camera `{}` already", camera.source, other.name));
            }
        }
        None
    }

    /// What nobody else is to see: passwords and credentials.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let sources = self.camera.iter().filter_map(|camera| match &camera.source {
            SourceSpec::Network(url) => url.password(),
            _ => None,
        });
        let credentials = self.webrtc.ice_servers.iter().map(|server| &*server.credential);
        let wifi = self.device.wifi.iter().map(|wifi| &*wifi.password);
        sources.chain(credentials).chain(wifi).chain([&*self.device.setup_password])
    }

    /// All settings as TOML that [`parse`](Self::parse) reads, with secrets shown as `***`.
    ///
    /// # Errors
    /// When a value has no form in TOML.
    pub fn to_toml_masked(&self) -> Result<String, ConfigError> {
        let mut shown = self.clone();
        for camera in shown.camera.iter_mut() {
            camera.source = camera.source.masked();
        }
        for server in shown.webrtc.ice_servers.iter_mut().filter(|server| !server.credential.is_empty()) {
            server.credential = MASK.into();
        }
        for wifi in shown.device.wifi.iter_mut().filter(|wifi| !wifi.password.is_empty()) {
            wifi.password = MASK.into();
        }
        if !shown.device.setup_password.is_empty() {
            shown.device.setup_password = MASK.into();
        }
        toml::to_string(&shown).map_err(|error| ConfigError::Value {
            origin: "settings".into(),
            message: format!("cannot be shown as TOML: {error}"),
        })
    }
}

#[cfg(test)]
mod tests;
