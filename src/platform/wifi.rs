//! What `perch network`, which may change the appliance's network, and perch, which may not, say to each other about Wi-Fi.
//!
//! The one writes a file with what is, as JSON; the other leaves a wish in the folder that all its wishes go to. Neither
//! waits for the other, and each may start anew at any time.

use std::fs::{self, File, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::device::Wifi;
use crate::base::durable;

/// The wish's name in its folder.
pub const WISH: &str = "wifi";
/// Largest of the two files, in bytes.
const MOST_BYTES: u64 = 64 << 10;
/// What is may be this old: it is asked for with each request.
const FRESH: Duration = Duration::from_millis(250);

/// What Wi-Fi does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// There is no network, and known ones are looked for.
    #[default]
    Searching,
    /// There is a network: this one, or a cable.
    Online,
    /// The access point is open.
    AccessPoint,
    /// The network that was asked for is tried.
    Trying,
}

/// Why a network was not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// It says that the password is wrong.
    WrongPassword,
    /// It is not to be seen.
    NotFound,
    /// It was joined, and gives no address.
    NoAddress,
    /// Nobody says why.
    NotJoined,
}

/// What became of the last network that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its name.
    pub ssid: String,
    /// `None` when it was joined.
    pub problem: Option<Problem>,
}

/// A network that is to be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub ssid: String,
    /// How well it is received.
    pub signal_dbm: i32,
    /// Whether it wants a password.
    pub is_protected: bool,
}

/// The access point, open or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPoint {
    /// Its name.
    pub ssid: String,
    /// Its password.
    pub password: String,
    /// Where the page is for those who are in it.
    pub url: String,
    /// Its own network: first address and length of the prefix.
    pub network: (Ipv4Addr, u8),
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What Wi-Fi does.
    pub phase: Phase,
    /// The network that it is in, or is tried.
    pub ssid: Option<String>,
    /// The networks that were to be seen, the strongest first.
    pub networks: Vec<Network>,
    /// What became of the last one that was asked for.
    pub result: Option<Attempt>,
    /// The access point; none without Wi-Fi.
    pub access_point: Option<AccessPoint>,
}

impl Status {
    /// Whether `peer` is in the access point's network, and that is open. Nobody else can be: answers to such an address
    /// go out at the access point alone.
    #[must_use]
    pub fn is_open_for(&self, peer: IpAddr) -> bool {
        match (self.phase, &self.access_point, peer.to_canonical()) {
            (Phase::AccessPoint, Some(AccessPoint { network: (first, length), .. }), IpAddr::V4(peer)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*length).min(32)).unwrap_or(0);
                first.to_bits() & mask == peer.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Wi-Fi, as perch sees it.
#[derive(Debug)]
pub struct WifiSetup {
    status: PathBuf,
    wishes: PathBuf,
    seen: Mutex<Option<(Instant, Status)>>,
}

impl WifiSetup {
    /// `status` is the file that says what is, `wishes` the folder that wishes go to.
    #[must_use]
    pub fn new(status: PathBuf, wishes: PathBuf) -> Self {
        Self { status, wishes, seen: Mutex::new(None) }
    }

    /// What is; nothing is known while `perch network` is not there.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, status)) = &*seen
            && at.elapsed() < FRESH
        {
            return status.clone();
        }
        let status = read::<Status>(&self.status).unwrap_or_default();
        *seen = Some((Instant::now(), status.clone()));
        status
    }

    /// Asks for a network to be joined and kept.
    ///
    /// # Errors
    /// When nobody can be asked.
    pub fn ask(&self, wifi: &Wifi) -> io::Result<()> {
        // One at a time: all of them write the same file.
        let _one = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let file = self.wishes.join(WISH);
        let new = self.wishes.join(".wifi.new");
        fs::write(&new, serde_json::to_vec(wifi)?)?;
        // For the group that `perch network` is in, whatever the mask says.
        fs::set_permissions(&new, Permissions::from_mode(0o640))?;
        fs::rename(new, file)
    }
}

/// What the file says, if it can be read.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    read_from(File::open(file)?)
}

/// The same of an open one.
pub(crate) fn read_from<T: DeserializeOwned>(file: File) -> io::Result<T> {
    Ok(serde_json::from_slice(&durable::read_from(file, MOST_BYTES)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(network: (Ipv4Addr, u8)) -> Status {
        let access_point = AccessPoint { ssid: String::new(), password: String::new(), url: String::new(), network };
        Status { phase: Phase::AccessPoint, access_point: Some(access_point), ..Status::default() }
    }

    #[test]
    fn only_peers_of_the_access_points_network_are_in_it_and_only_while_it_is_open() {
        let mut status = open((Ipv4Addr::new(10, 83, 0, 1), 24));
        let is_in = |status: &Status, peer: &str| status.is_open_for(peer.parse().unwrap());
        for (peer, expected) in [
            ("10.83.0.7", true),
            ("::ffff:10.83.0.7", true),
            ("10.83.1.7", false),
            ("192.168.0.7", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_in(&status, peer), expected, "{peer}");
        }
        status.phase = Phase::Online;
        assert!(!is_in(&status, "10.83.0.7"));
        assert!(is_in(&open((Ipv4Addr::new(127, 0, 0, 0), 8)), "127.0.0.1"));
        assert!(is_in(&open((Ipv4Addr::UNSPECIFIED, 0)), "10.1.2.3") && !is_in(&Status::default(), "10.1.2.3"));
    }

    #[test]
    fn a_wish_is_a_whole_file_that_its_group_may_read() {
        let folder = std::env::temp_dir().join(format!("perch-wifi-{:016x}", rand::random::<u64>()));
        fs::create_dir(&folder).unwrap();
        let wifi = Wifi { ssid: "home".into(), password: "correct horse".into() };
        let setup = WifiSetup::new(folder.join("none"), folder.clone());
        setup.ask(&wifi).unwrap();
        assert_eq!(read::<Wifi>(&folder.join(WISH)).ok(), Some(wifi));
        assert_eq!(fs::metadata(folder.join(WISH)).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert_eq!(setup.status(), Status::default());
        fs::remove_dir_all(folder).unwrap();
    }
}
