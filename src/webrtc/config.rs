//! What the owner may set about sessions.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Who may watch at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Everybody, up to `max_viewers`.
    #[default]
    Broadcast,
    /// One: the newest viewer replaces the one before.
    Single,
}

/// A range of UDP ports, written `50000-50099`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port, not below the first.
    pub last: u16,
}

impl TryFrom<String> for PortRange {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        match parsed {
            Some((first, last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(format!("`{text}` is not a port range: write FIRST-LAST, as in `50000-50099`")),
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        format!("{}-{}", range.first, range.last)
    }
}

/// A STUN or TURN server that both ends use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// TURN password.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credential: String,
}

/// The `[webrtc]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who may watch at the same time.
    pub mode: Mode,
    /// Most sessions at once, 1 to 256.
    pub max_viewers: usize,
    /// Most of them from one address, 1 to 256; three quarters of `max_viewers`, but at least eight, when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_viewers_per_address: Option<usize>,
    /// Offers that one address may make in a minute, 1 to 100000.
    pub offers_per_minute: u32,
    /// UDP ports to use; any free ones when not set. One port per viewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp_ports: Option<PortRange>,
    /// Addresses to announce instead of the machine's own, for NAT and virtual machines.
    pub advertise: Vec<IpAddr>,
    /// STUN and TURN servers; none are needed in a local network.
    pub ice_servers: Vec<IceServer>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Broadcast,
            max_viewers: 16,
            max_viewers_per_address: None,
            offers_per_minute: 300,
            udp_ports: None,
            advertise: Vec::new(),
            ice_servers: Vec::new(),
        }
    }
}

impl Config {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if !(1..=256).contains(&self.max_viewers) {
            return Err(("max_viewers", format!("{} is out of range: 1 to 256", self.max_viewers)));
        }
        if let Some(limit) = self.max_viewers_per_address.filter(|limit| !(1..=256).contains(limit)) {
            return Err(("max_viewers_per_address", format!("{limit} is out of range: 1 to 256")));
        }
        if !(1..=100_000).contains(&self.offers_per_minute) {
            return Err(("offers_per_minute", format!("{} is out of range: 1 to 100000", self.offers_per_minute)));
        }
        for server in &self.ice_servers {
            let bad = server.urls.iter().find(|url| !["stun:", "turn:"].iter().any(|scheme| url.starts_with(scheme)));
            match bad {
                Some(url) => return Err(("ice_servers", format!("`{url}` must start with `stun:` or `turn:`"))),
                None if server.urls.is_empty() => return Err(("ice_servers", "a server needs `urls`".into())),
                None => {}
            }
        }
        Ok(())
    }
}
