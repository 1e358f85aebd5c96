//! How many connections there may be: over all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::bucket::network_of;

/// Most connections at once; more are closed at once.
const CONNECTIONS: usize = 512;
/// Most of them from one address, so that one client alone keeps nobody out. A page needs six, a reverse proxy
/// many.
const PER_ADDRESS: usize = 256;
/// Places beyond those for this machine itself: whoever takes all the others must not keep the watchdog out, which would
/// start perch anew.
const OWN_CONNECTIONS: usize = 8;

/// All connections, over HTTP and HTTPS together.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    own: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    /// `None` for one of this machine's own.
    address: Option<IpAddr>,
}

impl Places {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for `peer`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn take(&self, peer: SocketAddr) -> Result<Place, String> {
        let address = network_of(peer.ip());
        let mut taken = self.taken();
        let from_there = taken.by_address.get(&address).copied().unwrap_or(0);
        if taken.all < CONNECTIONS && from_there < PER_ADDRESS {
            taken.all += 1;
            taken.by_address.insert(address, from_there + 1);
            return Ok(Place { places: self.clone(), address: Some(address) });
        }
        // Of all loopback addresses those two by which a machine calls itself; the others can stand for anybody.
        let is_own = peer.ip().to_canonical() == Ipv4Addr::LOCALHOST || peer.ip() == Ipv6Addr::LOCALHOST;
        if is_own && taken.own < OWN_CONNECTIONS {
            taken.own += 1;
            return Ok(Place { places: self.clone(), address: None });
        }
        Err(match from_there {
            PER_ADDRESS.. => format!("{from_there} connections from there are open"),
            _ => format!("{CONNECTIONS} connections are open"),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        let Some(address) = self.address else {
            taken.own -= 1;
            return;
        };
        taken.all -= 1;
        match taken.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.by_address.remove(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn fill(places: &Places, address: &str) -> Vec<Place> {
        std::iter::from_fn(|| places.take(peer(address)).ok()).collect()
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let places = Places::default();
        let held = fill(&places, "192.168.1.2:9");
        assert_eq!(held.len(), PER_ADDRESS);
        assert!(places.take(peer("192.168.1.2:10")).unwrap_err().contains("from there"));
        assert!(places.take(peer("192.168.1.3:9")).is_ok());
        drop(held);
        assert!(places.take(peer("192.168.1.2:9")).is_ok());
        assert!(places.taken().by_address.is_empty() && places.taken().all == 0);
    }

    #[test]
    fn this_machine_itself_has_places_that_nobody_else_can_take() {
        let places = Places::default();
        let mut held: Vec<Place> = (1..=4).flat_map(|last| fill(&places, &format!("192.168.1.{last}:9"))).collect();
        assert_eq!(held.len(), CONNECTIONS);
        for other in ["[fe80::1]:9", "127.0.0.2:9"] {
            assert!(places.take(peer(other)).unwrap_err().contains("512"));
        }
        held.push(places.take(peer("[::ffff:127.0.0.1]:9")).unwrap());
        held.extend(fill(&places, "[::1]:9"));
        assert_eq!(held.len(), CONNECTIONS + OWN_CONNECTIONS);
        held.truncate(CONNECTIONS);
        assert!(places.take(peer("[::1]:9")).is_ok());
    }
}
