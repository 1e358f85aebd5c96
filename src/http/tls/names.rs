//! By which names and addresses a certificate is asked for, and which of them perch's own authority may vouch for.
//!
//! Whoever installs the authority's root trusts whatever it signs. So the root says itself (X.509 name constraints) that it
//! vouches for names and addresses of a home alone: with a stolen key nobody can pretend to be a bank.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Domains that no public name server leads anywhere (RFC 6761, 6762, 8375; `internal` by ICANN's decision of 2024), and
/// `lan`, which routers use.
const HOME_DOMAINS: [&str; 5] = ["localhost", "local", "home.arpa", "internal", "lan"];

/// Networks whose addresses belong to nobody (RFC 1918, 3927, 4193, 4291, 6598).
pub(super) const HOME_NETWORKS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
];

/// Most names in one certificate.
const MOST: usize = 64;

/// The domains that an authority made now may vouch for: the home's, and the machine's own names.
pub(super) fn domains(host_name: &str, more: &[String]) -> Vec<String> {
    let own = [host_name.to_ascii_lowercase()].into_iter().chain(more.iter().cloned()).filter(|name| is_name(name));
    let all: BTreeSet<String> = HOME_DOMAINS.iter().map(|&domain| domain.to_owned()).chain(own).collect();
    all.into_iter().collect()
}

/// What this machine is called by now: names, then addresses.
pub(super) fn current(host_name: &str, more: &[String], addresses: &[IpAddr]) -> Vec<String> {
    let host_name = host_name.to_ascii_lowercase();
    let own = ["localhost".to_owned(), host_name.clone(), format!("{host_name}.local")];
    let names = own.into_iter().chain(more.iter().cloned()).filter(|name| is_name(name));
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addresses: BTreeSet<IpAddr> = loopback.into_iter().chain(addresses.iter().copied()).collect();
    let mut found: Vec<String> = Vec::new();
    for name in names.chain(addresses.iter().map(IpAddr::to_string)) {
        if !found.contains(&name) && found.len() < MOST {
            found.push(name);
        }
    }
    found
}

/// Whether an authority for `domains` may vouch for `name`.
pub(super) fn may_vouch(domains: &[String], name: &str) -> bool {
    if let Ok(address) = name.parse::<IpAddr>() {
        return HOME_NETWORKS.iter().any(|(network, prefix)| is_in(address, *network, *prefix));
    }
    domains.iter().any(|domain| match name.strip_suffix(domain.as_str()) {
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => false,
    })
}

fn is_in(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let shift = 32_u32.saturating_sub(prefix);
            (u32::from(address) ^ u32::from(network)).checked_shr(shift).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let shift = 128_u32.saturating_sub(prefix);
            (u128::from(address) ^ u128::from(network)).checked_shr(shift).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Whether `name` can stand in a certificate as it is.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_called_by_its_names_and_addresses_each_once() {
        let found = current(
            "Perch",
            &["cam.home.example".into()],
            &["192.168.1.7".parse().unwrap(), Ipv4Addr::LOCALHOST.into()],
        );
        assert_eq!(found, ["localhost", "perch", "perch.local", "cam.home.example", "127.0.0.1", "192.168.1.7", "::1"]);
        assert_eq!(current("", &[], &[]), ["localhost", "127.0.0.1", "::1"]);
        let many: Vec<IpAddr> = (0..200_u32).map(|n| Ipv4Addr::from(n).into()).collect();
        assert_eq!(current("perch", &[], &many).len(), MOST);
    }

    #[test]
    fn an_authority_vouches_for_a_home_and_for_nothing_else() {
        let domains = domains("Perch", &["cam.home.example".into()]);
        for name in [
            "perch",
            "perch.local",
            "other.local",
            "cam.home.example",
            "localhost",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.1.1",
            "100.127.0.1",
            "127.0.0.1",
            "::1",
            "fd00::1",
        ] {
            assert!(may_vouch(&domains, name), "{name}");
        }
        for name in [
            "example",
            "home.example",
            "xperch",
            "notlocal",
            "bank.example",
            "203.0.113.7",
            "172.32.0.1",
            "100.128.0.1",
            "2001:db8::1",
            "fe80::1",
            "::2",
            "",
        ] {
            assert!(!may_vouch(&domains, name), "{name}");
        }
    }
}
