//! `perch provision`: takes the owner's settings from the appliance's card, and puts them into effect at every start.
//!
//! The card's boot partition holds a `perch.toml` that any computer can edit. It is checked, kept where only the appliance
//! reads it, and then its secrets are overwritten with stars, in place, so that no copy of them stays on the card. In
//! this order a power cut at any moment leaves the old settings or the new ones. Settings that are wrong change nothing:
//! those from before stay in force, and the page says what is wrong.
//!
//! Where a factory reset was asked for, everything that was kept is forgotten first, and the card gets the settings file that
//! it had when it was new. The mark that asks for it goes last, so a power cut repeats it.
//!
//! The files: `CARD/perch.toml`, the owner's; `STATE/perch.toml`, what is in force, secrets included; and for this
//! run, in `RUN`: `perch.toml` for perch itself, `device.toml` for `perch network`, `hostname`, `localtime`, and `notice`,
//! where something is wrong. Who starts what with these is the image's affair.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use log::{info, warn};
use toml::{Table, Value};

use crate::base::durable;
use crate::config::{Config, ConfigError};
use crate::network;

mod secrets;

use secrets::{blank, restore};

/// The settings' name in each folder.
const FILE: &str = "perch.toml";
/// The mark, among the kept settings, that asks for a factory reset.
const RESET: &str = "factory-reset";
/// Largest file that is taken from the card, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where things are.
#[derive(Args, Clone, Debug)]
pub struct Places {
    /// The card's boot partition
    #[arg(long, value_name = "DIR", default_value = "/boot")]
    pub card: PathBuf,
    /// Where settings are kept
    #[arg(long, value_name = "DIR", default_value = "/data/settings")]
    pub state: PathBuf,
    /// Where what is in force for this run is written
    #[arg(long, value_name = "DIR", default_value = "/run/perch")]
    pub run: PathBuf,
    /// What perch itself keeps; a factory reset empties it
    #[arg(long, value_name = "DIR", default_value = "/data/perch")]
    pub kept: PathBuf,
    /// What a factory reset makes of the card's settings
    #[arg(long, value_name = "FILE", default_value = "/usr/share/perch/perch.toml")]
    pub blank: PathBuf,
    /// Settings that hold where the owner's say nothing
    #[arg(long, value_name = "FILE", default_value = "/usr/share/perch/appliance.toml")]
    pub defaults: PathBuf,
}

/// What could not be done at all. Wrong settings are no such error.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct ProvisionError {
    path: PathBuf,
    error: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ProvisionError {
    let path = path.to_owned();
    move |error| ProvisionError { path, error }
}

/// Takes the card's settings, and writes what this run needs.
///
/// # Errors
/// When the folder for this run cannot be written: then nothing can be put into effect.
pub fn run(places: &Places) -> Result<(), ProvisionError> {
    let mut problems = Vec::new();
    if places.state.join(RESET).exists() {
        match forget(places) {
            Ok(()) => warn!("everything was forgotten, as was asked for"),
            Err(error) => problems.push(format!("the factory reset is not done yet: {error}")),
        }
    }
    let kept = read(&places.state.join(FILE)).ok().flatten().and_then(|text| text.parse().ok()).unwrap_or_default();
    let settings = match take(places, &kept) {
        Ok(settings) => settings,
        Err(problem) => {
            problems.push(problem);
            kept
        }
    };
    let defaults = read(&places.defaults).ok().flatten().and_then(|text| text.parse().ok()).unwrap_or_default();
    let config = put_into_effect(places, merged(defaults, settings), &mut problems)?;
    info!("this is {}", config.device.hostname.as_deref().unwrap_or("perch"));
    if !problems.is_empty() {
        problems.iter().for_each(|problem| warn!("{problem}"));
        write(&places.run.join("notice"), problems.join("\n").as_bytes())?;
    }
    Ok(())
}

/// The factory reset. What is done twice does no harm.
fn forget(places: &Places) -> io::Result<()> {
    let absent_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    // The folder itself is perch's own and stays.
    for entry in fs::read_dir(&places.kept).into_iter().flatten() {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    absent_is_fine(File::open(&places.kept).and_then(|folder| folder.sync_all()))?;
    let card = places.card.join(FILE);
    // What was written there since is not to stay either, in no corner of the card.
    if let Ok(Some(text)) = read(&card) {
        blank(&card, &text)?;
    }
    let new = fs::read(&places.blank)?;
    let mut file = File::create(&card)?;
    file.write_all(&new)?;
    file.sync_all()?;
    for kept in [FILE, network::KEPT] {
        absent_is_fine(fs::remove_file(places.state.join(kept)))?;
    }
    File::open(&places.state)?.sync_all()?;
    fs::remove_file(places.state.join(RESET))?;
    File::open(&places.state)?.sync_all()
}

/// The settings that are in force from now on; they are kept, and the card has no secrets any more.
fn take(places: &Places, kept: &Table) -> Result<Table, String> {
    let path = places.card.join(FILE);
    let text = match read(&path) {
        Ok(None) => return Ok(kept.clone()),
        Ok(Some(text)) => text,
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    Config::parse(&text, FILE).map_err(|error: ConfigError| error.to_string())?;
    let mut settings: Table = text.parse().map_err(|error: toml::de::Error| error.message().to_owned())?;
    let lost = restore(&mut settings, kept);
    if let Some(name) = lost {
        return Err(format!("{FILE}: the password of {name:?} is only stars and none is kept: write it again"));
    }
    if settings != *kept {
        let text = toml::to_string(&settings).map_err(|error| error.to_string())?;
        keep(&places.state, text.as_bytes()).map_err(|error| format!("settings cannot be kept: {error}"))?;
        info!("new settings were taken from the card");
    }
    blank(&path, &text).map_err(|error| format!("secrets are still on the card: {error}"))?;
    Ok(settings)
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("is larger than 1 MiB: these are no settings of perch"));
    }
    Ok(Some(text))
}

/// Replaces what is kept as a whole: after a power cut there is the old or the new.
fn keep(folder: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(".perch.toml.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ProvisionError> {
    fs::write(path, bytes).map_err(at(path))
}

/// `over` on top of `under`, section by section and key by key.
fn merged(mut under: Table, over: Table) -> Table {
    for (key, value) in over {
        let value = match (under.remove(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => Value::Table(merged(under, over)),
            (_, value) => value,
        };
        under.insert(key, value);
    }
    under
}

/// Writes this run's files.
fn put_into_effect(places: &Places, mut settings: Table, problems: &mut Vec<String>) -> Result<Config, ProvisionError> {
    let text = toml::to_string(&settings).unwrap_or_default();
    let config = Config::parse(&text, "the settings that were kept").unwrap_or_else(|error| {
        problems.push(error.to_string());
        Config::default()
    });
    // perch itself has no need of the Wi-Fi's password, and its group may read what is here.
    settings.remove("device");
    fs::create_dir_all(&places.run).map_err(at(&places.run))?;
    let device = places.run.join("device.toml");
    let text = toml::to_string(&config.device).unwrap_or_default();
    durable::replace_private(&device, text.as_bytes()).map_err(at(&device))?;
    write(&places.run.join(FILE), toml::to_string(&settings).unwrap_or_default().as_bytes())?;
    write(&places.run.join("hostname"), config.device.hostname.as_deref().unwrap_or("perch").as_bytes())?;
    let zone = config.device.time_zone.as_deref().unwrap_or("UTC");
    let zone = Path::new("/usr/share/zoneinfo").join(zone);
    if !zone.exists() {
        problems.push(format!("{FILE}: `device.time_zone`: there is no such time zone; UTC is used"));
    }
    let link = places.run.join("localtime");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&zone, &link).map_err(at(&link))?;
    Ok(config)
}

#[cfg(test)]
mod tests;
