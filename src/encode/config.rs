//! What the owner may set about encoding.

use serde::{Deserialize, Serialize};

/// Which encoder to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The machine's own encoder if it has one that works, else OpenH264.
    #[default]
    Auto,
    /// The machine's own encoder; without one there is no picture.
    Hardware,
    /// The CPU.
    OpenH264,
}

/// The `[encoder]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which encoder to use.
    pub kind: Kind,
    /// Bitrate to aim at while every viewer's link carries it, in bit/s.
    pub bitrate_bps: u32,
    /// Bitrate to begin with for a viewer whose link is not known yet, in bit/s; `bitrate_bps` when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_bitrate_bps: Option<u32>,
    /// Lowest bitrate that a weak link may bring it down to, in bit/s.
    pub min_bitrate_bps: u32,
    /// Shortest time between two keyframes that viewers ask for, in ms.
    pub keyframe_min_interval_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::Auto,
            bitrate_bps: 2_000_000,
            start_bitrate_bps: None,
            min_bitrate_bps: 300_000,
            keyframe_min_interval_ms: 500,
        }
    }
}

impl Config {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if !(100_000..=25_000_000).contains(&self.bitrate_bps) {
            return Err(("bitrate_bps", format!("{} is out of range: 100000 to 25000000 bit/s", self.bitrate_bps)));
        }
        if !(50_000..=self.bitrate_bps).contains(&self.min_bitrate_bps) {
            return Err(("min_bitrate_bps", format!("{} is out of range: 50000 to bitrate_bps", self.min_bitrate_bps)));
        }
        if let Some(start) = self.start_bitrate_bps
            && !(self.min_bitrate_bps..=self.bitrate_bps).contains(&start)
        {
            return Err(("start_bitrate_bps", format!("{start} is out of range: min_bitrate_bps to bitrate_bps")));
        }
        if self.keyframe_min_interval_ms > 10_000 {
            return Err(("keyframe_min_interval_ms", "is out of range: 0 to 10000 ms".into()));
        }
        Ok(())
    }
}
