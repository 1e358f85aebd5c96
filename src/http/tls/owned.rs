//! The owner's own certificate, from files that something else renews.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::base::durable;

/// Larger files are not read.
const MAX_BYTES: u64 = 1 << 20;

/// Where they are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// What tells one content of the files from the next.
pub(super) type Stamp = [Option<(u64, i64, i64, u64)>; 2];

impl Files {
    /// What the files are now.
    pub(super) fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
        })
    }

    /// Reads them.
    ///
    /// # Errors
    /// What is wrong, with the file's name and nothing of its content.
    pub(super) fn read(&self, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let at = |path: &Path, problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
        let chain = durable::read(&self.certificate, MAX_BYTES).map_err(|error| at(&self.certificate, &error))?;
        let key = durable::read(&self.key, MAX_BYTES).map_err(|error| at(&self.key, &error))?;
        certified(&chain, &key, provider)
            .map_err(|(is_key, problem)| at(if is_key { &self.key } else { &self.certificate }, &problem))
    }
}

/// A certificate (and what leads from it to a root) and its key, both PEM; or whether the key is at fault, and what is
/// wrong.
pub(super) fn certified(chain: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, (bool, String)> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|_| (false, "this is not PEM".to_owned()))?;
    if chain.is_empty() {
        return Err((false, "there is no `BEGIN CERTIFICATE` in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| (true, "there is no key in it that perch can read: PEM, without a password".to_owned()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => (true, "this is not the certificate's key".to_owned()),
        error => (false, error.to_string()),
    })
}
