//! What the owner may set about the HTTP server and the page.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::origin;
use super::router::{RouteError, Router};
use super::tls::TlsConfig;

/// Most allowed origins, and most allowed hosts.
const MOST_ORIGINS: usize = 32;
/// Longest time for claiming, in seconds.
const LONGEST_CLAIM_WINDOW_S: u64 = 3600;

/// How pictures are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As video over WebRTC; single pictures are the fallback.
    #[default]
    Webrtc,
    /// As single JPEG pictures only.
    Mjpeg,
}

/// Who is asked for a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Everybody, unless perch listens on this machine alone.
    #[default]
    Auto,
    /// Everybody.
    Required,
    /// Nobody.
    None,
}

/// The `[http]` section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to serve on.
    pub listen: SocketAddr,
    /// How pictures are served.
    pub mode: Mode,
    /// Most `/stream.mjpg` readers at once, 0 to 64.
    pub max_mjpeg_viewers: usize,
    /// Other sites whose pages may use this camera, each as a browser writes it in `Origin`.
    pub allowed_origins: Vec<String>,
    /// Who is asked for a login.
    pub auth: AuthMode,
    /// For how long after its start a camera without an owner can be claimed, in seconds, 0 to 3600.
    pub claim_window_s: u64,
    /// Names that perch answers to beside its own.
    pub allowed_hosts: Vec<String>,
    /// Folders to serve beside the page.
    pub mounts: Vec<Mount>,
    /// The `[http.tls]` section.
    pub tls: TlsConfig,
}

/// A folder that is served: one entry of `[[http.mounts]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where it is served, such as `/files`.
    pub path: String,
    /// The folder.
    pub folder: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            mode: Mode::Webrtc,
            max_mjpeg_viewers: 4,
            allowed_origins: Vec::new(),
            auth: AuthMode::Auto,
            claim_window_s: 900,
            allowed_hosts: Vec::new(),
            mounts: Vec::new(),
            tls: TlsConfig::default(),
        }
    }
}

impl Config {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.max_mjpeg_viewers > 64 {
            return Err(("max_mjpeg_viewers", format!("{} is out of range: 0 to 64", self.max_mjpeg_viewers)));
        }
        if self.allowed_origins.len() > MOST_ORIGINS {
            return Err(("allowed_origins", format!("there are more than {MOST_ORIGINS}")));
        }
        for origin in &self.allowed_origins {
            origin::check_origin(origin).map_err(|problem| ("allowed_origins", problem))?;
        }
        if self.claim_window_s > LONGEST_CLAIM_WINDOW_S {
            return Err((
                "claim_window_s",
                format!("{} is out of range: 0 to {LONGEST_CLAIM_WINDOW_S}", self.claim_window_s),
            ));
        }
        if self.allowed_hosts.len() > MOST_ORIGINS {
            return Err(("allowed_hosts", format!("there are more than {MOST_ORIGINS}")));
        }
        for host in &self.allowed_hosts {
            origin::check_host(host).map_err(|problem| ("allowed_hosts", problem))?;
        }
        self.router().map(drop).map_err(|error| ("mounts", error.to_string()))
    }

    /// Whether nobody beyond this machine can ask.
    #[must_use]
    pub fn is_for_this_machine_alone(&self) -> bool {
        let mut addresses = [Some(self.listen), self.tls.listen].into_iter().flatten();
        addresses.all(|address| address.ip().is_loopback())
    }

    /// Whether whoever asks must log in.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match self.auth {
            AuthMode::Auto => !self.is_for_this_machine_alone(),
            AuthMode::Required => true,
            AuthMode::None => false,
        }
    }

    /// The routes of the mounts.
    ///
    /// # Errors
    /// When a path is not one, or is taken, or a folder is not there.
    pub(super) fn router(&self) -> Result<Router, RouteError> {
        self.mounts.iter().try_fold(Router::new(), |router, mount| router.mount(&mount.path, &mount.folder))
    }
}

/// The `[web]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebConfig {
    /// A folder whose files replace the page's own, file by file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
}
