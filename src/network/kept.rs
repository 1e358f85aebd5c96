//! What the appliance keeps of its network beside the owner's settings: networks that were chosen on the page, and the access
//! point's password. A factory reset forgets it.

use std::io;
use std::path::{Path, PathBuf};

use log::error;
use rand::Rng as _;
use serde::{Deserialize, Serialize};

use crate::base::durable;
use crate::platform::device::{MOST_NETWORKS, Wifi};
use crate::platform::wifi;

/// The file's name.
pub const FILE: &str = "wifi.json";
/// What a password is made of: nothing that is taken for something else when it is read from a screen.
const LETTERS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    #[serde(skip)]
    file: PathBuf,
    password: String,
    networks: Vec<Wifi>,
}

impl Kept {
    /// What is in `folder`. The password is made the first time.
    #[must_use]
    pub fn load(folder: &Path) -> Self {
        let file = folder.join(FILE);
        let mut kept = wifi::read::<Self>(&file).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                // Not the reason: it may quote a password.
                error!("{} cannot be read: what was kept is forgotten", file.display());
            }
            Self::default()
        });
        kept.file = file;
        if kept.password.is_empty() {
            kept.password = password();
            kept.save();
        }
        kept
    }

    /// The access point's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The networks that are known: the owner's settings, and what was chosen.
    #[must_use]
    pub fn known(&self, named: &[Wifi]) -> Vec<Wifi> {
        let chosen = self.networks.iter().filter(|network| !named.contains(network));
        named.iter().chain(chosen).cloned().collect()
    }

    /// Keeps a network, in the place of what was known of it; the newest is the first, the oldest is forgotten.
    pub fn keep(&mut self, wifi: Wifi) {
        self.networks.retain(|known| known.ssid != wifi.ssid);
        self.networks.insert(0, wifi);
        self.networks.truncate(MOST_NETWORKS);
        self.save();
    }

    fn save(&self) {
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = durable::replace_private(&self.file, &text) {
            error!("{}: {error}", self.file.display());
        }
    }
}

/// Three groups of four letters: 59 bits, which nobody tries in a lifetime.
fn password() -> String {
    let mut chance = rand::rng();
    let mut group = || (0..4).map(|_| char::from(LETTERS[chance.random_range(0..LETTERS.len())])).collect::<String>();
    [group(), group(), group()].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ssid: &str, password: &str) -> Wifi {
        Wifi { ssid: ssid.into(), password: password.into() }
    }

    #[test]
    fn what_is_kept_outlives_a_start() {
        let folder = std::env::temp_dir().join(format!("perch-kept-{:016x}", rand::random::<u64>()));
        let mut kept = Kept::load(&folder);
        let password = kept.password().to_owned();
        assert!(password.len() == 14 && password.bytes().all(|byte| byte == b'-' || LETTERS.contains(&byte)));
        kept.keep(network("home", "first one"));
        kept.keep(network("home", "second one"));
        for index in 0..MOST_NETWORKS - 1 {
            kept.keep(network(&format!("other {index}"), ""));
        }
        let kept = Kept::load(&folder);
        assert_eq!(kept.password(), password);
        let known = kept.known(&[network("garden", "on the card")]);
        assert_eq!((known.len(), &known[0]), (MOST_NETWORKS + 1, &network("garden", "on the card")));
        assert_eq!(known.last(), Some(&network("home", "second one")));
        // One that is in both is there once.
        assert_eq!(kept.known(&known[1..2]).len(), MOST_NETWORKS);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn two_passwords_differ() {
        assert_ne!(password(), password());
    }
}
