//! HTTPS: which certificate perch shows, and how it is kept current.
//!
//! Either the owner's own, read anew when its files change, or one that perch's own [`authority`] makes for
//! whatever names and addresses the machine has now. The bytes on the wire are rustls' and `front`'s matter.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use super::Context;
use super::message::{Request, Response};

mod authority;
mod config;
mod names;
mod owned;

use authority::{Kept, Store};
pub use config::TlsConfig;
use owned::{Files, Stamp};

/// How often names, addresses, files and the clock are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The addresses that this machine has now.
pub type Addresses = fn() -> Vec<IpAddr>;

/// HTTPS, as it is set up.
pub struct Tls {
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
    provider: Arc<CryptoProvider>,
    source: Source,
}

enum Source {
    Owned { files: Files, stamp: Mutex<Stamp> },
    Authority { store: Store, kept: Mutex<Kept>, more_names: Vec<String>, addresses: Addresses },
}

/// The certificate that is shown now, to everybody and for every name.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Tls {
    /// Reads the owner's certificate, or makes one.
    ///
    /// # Errors
    /// In words: why there is none that can be shown.
    pub fn open(
        config: &TlsConfig,
        more_names: &[String],
        state_dir: Option<&Path>,
        addresses: Addresses,
    ) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (source, certified) = match (&config.certificate, &config.key) {
            (Some(certificate), Some(key)) => {
                let files = Files { certificate: certificate.clone(), key: key.clone() };
                let stamp = files.stamp();
                let certified = files.read(&provider)?;
                (Source::Owned { files, stamp: Mutex::new(stamp) }, certified)
            }
            _ => {
                let store = Store::new(state_dir);
                let (kept, certified) = certify(&store, store.load(), more_names, addresses, &provider)?;
                log::info!("the fingerprint of its root (SHA-256) is {}", fingerprint(kept.root()));
                (
                    Source::Authority { store, kept: Mutex::new(kept), more_names: more_names.to_vec(), addresses },
                    certified,
                )
            }
        };
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { shown, config: Arc::new(config), provider, source })
    }

    /// What takes connections.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// The root of perch's own authority, in PEM.
    fn root(&self) -> Option<String> {
        match &self.source {
            Source::Authority { kept, .. } => Some(locked(kept).root().to_owned()),
            Source::Owned { .. } => None,
        }
    }

    /// Shows another certificate when this one is no longer right.
    fn refresh(&self) {
        let certified = match &self.source {
            Source::Owned { files, stamp } => {
                let now = files.stamp();
                if std::mem::replace(&mut *locked(stamp), now) == now {
                    return;
                }
                files.read(&self.provider)
            }
            Source::Authority { store, kept, more_names, addresses } => {
                let before = locked(kept).clone();
                let names = names::current(&host_name(), more_names, &addresses());
                let is_gone = store.is_gone();
                if !is_gone && before.renewed(&names, SystemTime::now()).is_none() {
                    return;
                }
                let before = (!is_gone).then_some(before);
                certify(store, before, more_names, *addresses, &self.provider).map(|(now, certified)| {
                    *locked(kept) = now;
                    certified
                })
            }
        };
        match certified {
            Ok(certified) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                log::info!("another certificate is shown from now on");
            }
            Err(problem) => log::error!("the certificate stays as it was: {problem}"),
        }
    }
}

/// A leaf of the authority that was `found`, or of a new one.
fn certify(
    store: &Store,
    found: Option<Kept>,
    more_names: &[String],
    addresses: Addresses,
    provider: &CryptoProvider,
) -> Result<(Kept, CertifiedKey), String> {
    let names = names::current(&host_name(), more_names, &addresses());
    let mut is_new = found.is_none();
    let mut kept = match found {
        Some(kept) => kept,
        None => Kept::make(&host_name(), more_names)?,
    };
    // A kept leaf whose key does not fit is replaced like an old one.
    for _ in 0..2 {
        if let Some(renewed) = kept.renewed(&names, SystemTime::now()) {
            (kept, is_new) = (renewed?, true);
        }
        let Some(leaf) = kept.leaf() else { break };
        match owned::certified(leaf.certificate.as_bytes(), leaf.key.as_bytes(), provider) {
            Ok(certified) => {
                if is_new {
                    store.save(&kept);
                    let strange = kept.strange(&names);
                    if !strange.is_empty() {
                        log::warn!(
                            "the certificate does not say {}: perch's own authority may not",
                            strange.join(", ")
                        );
                    }
                }
                return Ok((kept, certified));
            }
            Err((_, problem)) => log::warn!("the kept certificate is of no use: {problem}"),
        }
        kept = kept.without_leaf();
    }
    Err("no certificate could be made".into())
}

/// The SHA-256 of a certificate, as browsers show it.
fn fingerprint(pem: &str) -> String {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map(|der| der.to_vec()).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Looks again and again, until `tls` is gone.
pub(super) async fn keep_current(tls: Weak<Tls>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(tls) = tls.upgrade() else { return };
        // It may read files.
        let _ = tokio::task::spawn_blocking(move || tls.refresh()).await;
    }
}

/// `GET /ca.crt`: the root to install.
pub(super) fn root(context: &Context, _: &Request) -> Response {
    match context.tls.as_ref().and_then(|tls| tls.root()) {
        Some(root) => Response::new(StatusCode::OK, "application/x-x509-ca-cert", root)
            .with(hyper::header::CONTENT_DISPOSITION, "attachment; filename=\"perch-ca.crt\""),
        None => Response::error(StatusCode::NOT_FOUND, "this camera has no certificate authority of its own"),
    }
}
