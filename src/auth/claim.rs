//! When a camera that has no owner may get one: for a while after perch started or its button was pressed, and only from
//! the local network (docs/decisions/0007).

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::base::clock::Timestamp;

/// The time in which claiming is possible.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    opened_at: Timestamp,
    length: Duration,
}

impl Window {
    /// Opens at `now` for `length`; a length of zero never opens.
    #[must_use]
    pub const fn open(length: Duration, now: Timestamp) -> Self {
        Self { opened_at: now, length }
    }

    /// Opens it again: somebody stands at the camera.
    pub const fn reopen(&mut self, now: Timestamp) {
        self.opened_at = now;
    }

    /// How long it stays open; `None` once it has closed.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.length.checked_sub(now.saturating_since(self.opened_at)).filter(|left| !left.is_zero())
    }
}

/// Whether `address` is in a network that is near: loopback, private (RFC 1918), link-local (RFC 3927, RFC 4291) or
/// unique local (RFC 4193). What a provider shares among customers (RFC 6598) is not.
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(7_000_000_000);
    const LENGTH: Duration = Duration::from_secs(900);

    #[test]
    fn the_window_closes_and_the_button_opens_it_again() {
        let mut window = Window::open(LENGTH, START);
        assert_eq!(window.left(START), Some(LENGTH));
        assert_eq!(window.left(START.plus(Duration::from_secs(899))), Some(Duration::from_secs(1)));
        let late = START.plus(LENGTH);
        assert_eq!(window.left(late), None);
        window.reopen(late);
        assert_eq!(window.left(late.plus(Duration::from_secs(1))), Some(Duration::from_secs(899)));
    }

    #[test]
    fn a_window_of_no_length_never_opens() {
        let mut window = Window::open(Duration::ZERO, START);
        assert_eq!(window.left(START), None);
        window.reopen(START);
        assert_eq!(window.left(START), None);
    }

    #[test]
    fn only_the_local_network_is_near() {
        for near in [
            "127.0.0.1",
            "::1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.4.4",
            "169.254.1.1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:1.1.1.1", "0.0.0.0", "::"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }
}
