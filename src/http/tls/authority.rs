//! perch's own certificate authority: made once, kept in `tls.json`, for this one camera.
//!
//! The root is what people install once; the leaf is what perch shows. A leaf follows the machine's names and addresses
//! and is kept too, because browsers that were told to trust it without the root remember exactly that one.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use serde::{Deserialize, Serialize};

use super::names;
use crate::base::durable;
use crate::platform::state_dir::TLS_FILE as FILE;

/// Larger files are not read.
const MAX_BYTES: u64 = 1 << 20;
const DAY_S: u64 = 24 * 3600;
/// How long a leaf lasts: clients take up to 398 days.
const LEAF_S: u64 = 397 * DAY_S;
/// A leaf is made anew so long before it ends.
const RENEW_S: u64 = 30 * DAY_S;
/// A leaf is valid from so long before it was made: clocks differ.
const EARLY_S: u64 = 2 * DAY_S;
/// No clock of a client is before this: 1 January 2020. A machine without a battery may think it is 1970.
const EARLIEST_S: u64 = 1_577_836_800;

/// What was made before, or not at all. Without `Debug`, so that no key gets into a log.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    authority: Authority,
    leaf: Option<Leaf>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Authority {
    name: String,
    /// What it may vouch for, beside addresses.
    domains: Vec<String>,
    certificate: String,
    key: String,
}

/// A certificate for this machine, and its key; both in PEM.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Leaf {
    names: Vec<String>,
    /// Seconds since 1970.
    begins: u64,
    ends: u64,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Where it is kept, if it is.
#[derive(Clone, Debug)]
pub(super) struct Store(Option<PathBuf>);

impl Store {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self(folder.map(|folder| folder.join(FILE)))
    }

    /// Whether what is kept was taken away: a camera that is given away forgets its authority.
    pub(super) fn is_gone(&self) -> bool {
        let kept = |path: &PathBuf| std::fs::symlink_metadata(path);
        self.0.as_ref().is_some_and(|path| kept(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound))
    }

    /// What is kept. Something broken is set aside, because without an authority nobody could get in over HTTPS.
    pub(super) fn load(&self) -> Option<Kept> {
        let path = self.0.as_ref()?;
        let text = match durable::read(path, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                log::error!("{} cannot be read: {error}; another certificate is used meanwhile", path.display());
                return None;
            }
        };
        let found: Result<Kept, String> = serde_json::from_slice(&text).map_err(|error| error.to_string());
        // A key that does not fit is as good as none.
        match found.and_then(|kept| kept.authority.issuer().map(|_| kept)) {
            Ok(kept) => Some(kept),
            Err(error) => {
                let aside = path.with_extension("json.broken");
                log::error!(
                    "{} is broken ({error}): a new authority is made, whose root must be installed anew",
                    path.display()
                );
                if let Err(error) = std::fs::rename(path, &aside) {
                    log::warn!("{} cannot be set aside: {error}", path.display());
                }
                None
            }
        }
    }

    /// Keeps it, if there is a place for it. Without one, the next start makes another.
    pub(super) fn save(&self, kept: &Kept) {
        let Some(path) = &self.0 else { return };
        let written = serde_json::to_vec_pretty(kept)
            .map_err(std::io::Error::other)
            .and_then(|bytes| durable::replace_private(path, &bytes));
        if let Err(error) = written {
            log::warn!(
                "the certificate cannot be kept in {}: {error}; browsers will not know the next one",
                path.display()
            );
        }
    }
}

impl Kept {
    /// A new authority for a machine of this name.
    pub(super) fn make(host_name: &str, more: &[String]) -> Result<Self, String> {
        Ok(Self { authority: Authority::make(host_name, more)?, leaf: None })
    }

    /// The root, in PEM.
    pub(super) fn root(&self) -> &str {
        &self.authority.certificate
    }

    /// The leaf, if there is one.
    pub(super) fn leaf(&self) -> Option<&Leaf> {
        self.leaf.as_ref()
    }

    /// Forgets the leaf.
    pub(super) fn without_leaf(self) -> Self {
        Self { leaf: None, ..self }
    }

    /// The same with a new leaf, when that is needed: the present one lacks one of `names`, or is out of date.
    pub(super) fn renewed(&self, names: &[String], now: SystemTime) -> Option<Result<Self, String>> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let names: Vec<String> =
            names.iter().filter(|name| names::may_vouch(&self.authority.domains, name)).cloned().collect();
        let is_good = self.leaf.as_ref().is_some_and(|leaf| {
            let covers = names.iter().all(|name| leaf.names.contains(name));
            // A clock that was wrong at the start is right later, in either direction.
            covers && leaf.begins <= now.max(EARLIEST_S) && now < leaf.ends.saturating_sub(RENEW_S)
        });
        if is_good {
            return None;
        }
        let leaf = self.authority.issue(names, now);
        Some(leaf.map(|leaf| Self { authority: self.authority.clone(), leaf: Some(leaf) }))
    }

    /// Those of `names` that the authority was not made for. Public addresses are not told: a machine has them whether its
    /// owner wants or not.
    pub(super) fn strange<'a>(&self, names: &'a [String]) -> Vec<&'a str> {
        let strange = names
            .iter()
            .filter(|name| name.parse::<IpAddr>().is_err() && !names::may_vouch(&self.authority.domains, name));
        strange.map(String::as_str).collect()
    }
}

impl Authority {
    fn make(host_name: &str, more: &[String]) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(in_words)?;
        // Several cameras' roots are told apart by it.
        let name = format!("perch {host_name} {:08x}", rand::random::<u32>());
        let domains = names::domains(host_name, more);
        let mut params = root_params(&name);
        let of_names = domains.iter().cloned().map(GeneralSubtree::DnsName);
        let of_addresses = names::HOME_NETWORKS
            .iter()
            .map(|(network, prefix)| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*network, *prefix)));
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: of_names.chain(of_addresses).collect(),
            excluded_subtrees: Vec::new(),
        });
        let certificate = params.self_signed(&key).map_err(in_words)?.pem();
        Ok(Self { name, domains, certificate, key: key.serialize_pem() })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, String> {
        let key = KeyPair::from_pem(&self.key).map_err(in_words)?;
        Ok(Issuer::new(root_params(&self.name), key))
    }

    fn issue(&self, names: Vec<String>, now: u64) -> Result<Leaf, String> {
        let key = KeyPair::generate().map_err(in_words)?;
        let begins = now.saturating_sub(EARLY_S).max(EARLIEST_S);
        let ends = begins + LEAF_S;
        let mut params = CertificateParams::new(names.clone()).map_err(in_words)?;
        params.distinguished_name = distinguished("perch camera");
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(1970, 1, 1), rcgen::date_time_ymd(1970, 1, 1));
        params.not_before += Duration::from_secs(begins);
        params.not_after += Duration::from_secs(ends);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer()?).map_err(in_words)?.pem();
        Ok(Leaf { names, begins, ends, certificate, key: key.serialize_pem() })
    }
}

fn root_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2070, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn in_words(error: rcgen::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const NOW_S: u64 = 1_790_000_000;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn some(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn made() -> Kept {
        Kept::make("perch", &[]).unwrap().renewed(&some(&["perch.local", "10.0.0.1"]), at(NOW_S)).unwrap().unwrap()
    }

    #[test]
    fn a_leaf_stays_as_long_as_it_is_enough() {
        let kept = made();
        assert!(kept.renewed(&some(&["perch.local", "10.0.0.1"]), at(NOW_S + 300 * DAY_S)).is_none());
        assert!(kept.renewed(&some(&["perch.local"]), at(NOW_S)).is_none(), "it may say more");
        assert!(kept.renewed(&some(&["perch.local", "8.8.8.8"]), at(NOW_S)).is_none(), "that one is not ours");
        for (names, when) in [
            (["perch.local", "10.0.0.2"], NOW_S),
            (["perch.local", "10.0.0.1"], NOW_S + 366 * DAY_S),
            (["perch.local", "10.0.0.1"], NOW_S - 3 * DAY_S),
        ] {
            let renewed = kept.renewed(&some(&names), at(when)).expect("a new one is needed").unwrap();
            assert_eq!(renewed.root(), kept.root());
            assert_ne!(renewed.leaf().unwrap().certificate, kept.leaf().unwrap().certificate);
        }
    }

    #[test]
    fn a_machine_that_does_not_know_the_time_has_a_leaf_all_the_same() {
        let kept = Kept::make("perch", &[]).unwrap().renewed(&some(&["perch"]), at(0)).unwrap().unwrap();
        assert_eq!(kept.leaf().unwrap().begins, EARLIEST_S);
        assert!(kept.renewed(&some(&["perch"]), at(0)).is_none());
        assert!(kept.renewed(&some(&["perch"]), at(NOW_S)).is_some(), "when the time is known");
    }

    #[test]
    fn it_is_kept_for_nobody_else_to_read_and_something_broken_is_set_aside() {
        let folder = std::env::temp_dir().join(format!("perch-tls-{:016x}", rand::random::<u64>()));
        let store = Store::new(Some(&folder));
        assert!(store.load().is_none() && store.is_gone());
        let kept = made();
        store.save(&kept);
        let file = folder.join(FILE);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let loaded = store.load().unwrap();
        assert_eq!(loaded.root(), kept.root());
        assert!(loaded.renewed(&some(&["perch.local"]), at(NOW_S)).is_none() && !store.is_gone());
        for broken in [&b"{"[..], br#"{"authority":{"name":"","domains":[],"certificate":"","key":""},"leaf":null}"#] {
            std::fs::write(&file, broken).unwrap();
            assert!(store.load().is_none() && store.is_gone());
            assert_eq!(std::fs::read(folder.join("tls.json.broken")).unwrap(), broken);
        }
        std::fs::remove_dir_all(folder).unwrap();
        Store::new(None).save(&kept);
        assert!(Store::new(None).load().is_none() && !Store::new(None).is_gone());
    }
}
