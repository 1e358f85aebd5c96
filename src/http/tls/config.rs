//! What the owner may set about HTTPS.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Longest time that browsers may be told to ask over HTTPS alone: two years, as preload lists want it.
const LONGEST_HSTS_S: u64 = 63_072_000;

/// The `[http.tls]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Address and port to serve HTTPS on; none when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// File with the owner's certificate and those between it and a root, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// File with its key, in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Whether whoever asks over HTTP is led to HTTPS.
    pub redirect: bool,
    /// For how long browsers are told to ask over HTTPS alone, in seconds; 0 tells them nothing.
    pub hsts_s: u64,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { listen: None, certificate: None, key: None, redirect: true, hsts_s: 0 }
    }
}

impl TlsConfig {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a value is out of range, or half of a pair is missing.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.hsts_s > LONGEST_HSTS_S {
            return Err(("hsts_s", format!("{} is out of range: 0 to {LONGEST_HSTS_S}", self.hsts_s)));
        }
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(("certificate", "a certificate needs its `key`".into())),
            (None, Some(_)) => Err(("key", "a key needs its `certificate`".into())),
            _ => Ok(()),
        }
    }
}
