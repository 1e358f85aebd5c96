//! The addresses that a session's sockets are bound to, which become its host candidates.
//!
//! The crate's own wildcard leaves out IPv4 link-local addresses, the only ones there are when a camera and a laptop
//! are joined by one cable, so the interfaces are looked at here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use log::warn;
use rtc::shared::ifaces::ifaces;

/// Most addresses of one session: each costs a socket and a candidate.
const MOST: usize = 12;

/// What to bind `port` to (0: any).
pub(super) fn to_bind(loopback_only: bool, port: u16) -> Vec<SocketAddr> {
    let found = if loopback_only { Vec::new() } else { of_interfaces() };
    choose(&found).into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

/// The addresses of this machine's network interfaces that are ready.
#[must_use]
pub fn of_interfaces() -> Vec<IpAddr> {
    match ifaces() {
        Ok(found) => {
            let addresses = found.into_iter().filter_map(|interface| Some(interface.addr?.ip()));
            // An IPv6 address that is not ready yet cannot be bound.
            addresses.filter(|address| UdpSocket::bind((*address, 0)).is_ok()).collect()
        }
        Err(error) => {
            warn!("the network interfaces cannot be listed: {error}");
            vec![Ipv4Addr::UNSPECIFIED.into()]
        }
    }
}

/// Those of `found` by which a viewer may come, the likeliest first; and loopback.
fn choose(found: &[IpAddr]) -> Vec<IpAddr> {
    let rank = |address: &IpAddr| match address {
        IpAddr::V4(v4) if v4.is_loopback() => None,
        IpAddr::V4(v4) => Some(if v4.is_link_local() { 2 } else { 0 }),
        // A link-local IPv6 address means nothing without its interface, which a candidate cannot name.
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() => None,
        IpAddr::V6(v6) => (!v6.is_multicast()).then_some(1),
    };
    let mut ranked: Vec<_> = found.iter().filter_map(|address| Some((rank(address)?, *address))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut chosen: Vec<IpAddr> = Vec::new();
    for (_, address) in ranked {
        if !chosen.contains(&address) && chosen.len() + 1 < MOST {
            chosen.push(address);
        }
    }
    chosen.push(Ipv4Addr::LOCALHOST.into());
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(found: &[&str]) -> Vec<String> {
        let found: Vec<IpAddr> = found.iter().map(|address| address.parse().unwrap()).collect();
        choose(&found).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_likeliest_address_is_first_and_loopback_last() {
        let found = ["127.0.0.1", "::1", "169.254.7.7", "fe80::1", "2001:db8::7", "192.168.1.7", "192.168.1.7"];
        assert_eq!(chosen(&found), ["192.168.1.7", "2001:db8::7", "169.254.7.7", "127.0.0.1"]);
    }

    #[test]
    fn a_camera_on_a_cable_of_its_own_is_reached_by_its_link_local_address() {
        assert_eq!(chosen(&["127.0.0.1", "169.254.7.7", "fe80::1"]), ["169.254.7.7", "127.0.0.1"]);
    }

    #[test]
    fn a_machine_with_many_addresses_does_not_use_them_all() {
        let many: Vec<String> = (1..100).map(|n| format!("10.0.0.{n}")).collect();
        let chosen = chosen(&many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((chosen.len(), chosen.last().map(String::as_str)), (MOST, Some("127.0.0.1")));
    }

    #[test]
    fn loopback_alone_when_that_is_all_that_is_served() {
        assert_eq!(to_bind(true, 7), [SocketAddr::from(([127, 0, 0, 1], 7))]);
    }
}
