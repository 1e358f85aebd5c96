//! The appliance's name in the network: `perch`, or `perch-1a2b` where somebody else has that already.
//!
//! `systemd-resolved` is the one that answers for the name (mDNS), and would publish `perch7` by itself where it is taken, while
//! the machine, its certificate and its page still believe to be `perch`. So it is asked for here as well, and when another machine
//! answers, this one gets its other name for all purposes; resolved follows the kernel's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::dns;
use crate::base::clock::Timestamp;

/// For answers to come.
const ANSWERS: Duration = Duration::from_millis(500);
/// When the name is asked for after the network has changed: resolved has announced it by then, and once more for what was lost.
const AFTER: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(15)];
/// And from then on: another machine may come later.
const EVERY: Duration = Duration::from_secs(300);
/// Most of the machine's addresses that are asked from.
const MOST_ADDRESSES: usize = 4;

/// When to ask.
#[derive(Debug)]
pub struct Schedule {
    hurry: u32,
    changed_at: Option<Timestamp>,
    asked: usize,
    asked_at: Timestamp,
}

impl Schedule {
    /// Everything `hurry` times as quick.
    #[must_use]
    pub const fn new(hurry: u32) -> Self {
        Self { hurry, changed_at: None, asked: 0, asked_at: Timestamp::from_nanos(0) }
    }

    /// The network is another.
    pub const fn changed(&mut self, now: Timestamp) {
        (self.changed_at, self.asked) = (Some(now), 0);
    }

    /// Whether to ask now; then it counts as asked.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        let Some(changed_at) = self.changed_at else { return false };
        let is_due = match AFTER.get(self.asked) {
            Some(after) => now.saturating_since(changed_at) * self.hurry >= *after,
            None => now.saturating_since(self.asked_at) * self.hurry >= EVERY,
        };
        if is_due {
            (self.asked, self.asked_at) = (self.asked + 1, now);
        }
        is_due
    }
}

/// Whether another machine than the one with the addresses `own` has `host`, asked at the group `to`.
#[must_use]
pub fn is_taken(host: &str, own: &[IpAddr], to: SocketAddrV4) -> bool {
    let from = own.iter().filter_map(|address| match address {
        IpAddr::V4(v4) if to.ip().is_multicast() != v4.is_loopback() => Some(*v4),
        _ => None,
    });
    from.take(MOST_ADDRESSES).any(|from| match ask(host, own, from, to) {
        Ok(is_taken) => is_taken,
        Err(error) => {
            log::debug!("nobody can be asked from {from}: {error}");
            false
        }
    })
}

fn ask(host: &str, own: &[IpAddr], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<bool> {
    let socket = UdpSocket::bind((from, 0))?;
    SockRef::from(&socket).set_multicast_if_v4(&from)?;
    socket.send_to(&dns::question(host), to)?;
    let began = Instant::now();
    let mut packet = [0; dns::MOST_BYTES];
    while let Some(left) = ANSWERS.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut packet) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        if is_anothers(&dns::addresses(&packet[..length], host), own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether these are addresses of another machine: one of our own among them is our own answer, maybe handed on by a router.
fn is_anothers(told: &[IpAddr], own: &[IpAddr]) -> bool {
    !told.is_empty() && !told.iter().any(|address| own.contains(address))
}

/// The four digits that tell this machine from others of its kind: the last of its hardware address.
#[must_use]
pub fn digits(hardware_address: &str) -> Option<String> {
    let digits: String = hardware_address.chars().filter(char::is_ascii_hexdigit).collect();
    (digits.len() == 12).then(|| digits[8..].to_ascii_lowercase())
}

/// The other name; a label has 63 letters at most.
#[must_use]
pub fn other(host: &str, digits: &str) -> String {
    let longest = 63 - 1 - digits.len().min(8);
    format!("{}-{digits}", &host[..host.floor_char_boundary(longest)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_name_has_the_last_digits_of_the_hardware_address() {
        assert_eq!(digits("B8:27:EB:12:34:Ab\n").as_deref(), Some("34ab"));
        assert_eq!((digits(""), digits("b8:27")), (None, None));
        assert_eq!(other("perch", "34ab"), "perch-34ab");
        assert_eq!(other(&"a".repeat(63), "34ab").len(), 63);
    }

    #[test]
    fn the_name_is_asked_for_after_each_change_and_now_and_then() {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let mut schedule = Schedule::new(1);
        assert!(!schedule.is_due(at(1000)), "there was no network yet");
        schedule.changed(at(1000));
        let asked: Vec<u64> = (1000..2000).filter(|second| schedule.is_due(at(*second))).collect();
        assert_eq!(asked, [1003, 1015, 1315, 1615, 1915]);
        schedule.changed(at(2000));
        assert!(!schedule.is_due(at(2002)) && schedule.is_due(at(2003)));
    }

    #[test]
    fn an_answer_with_an_own_address_is_an_own_one() {
        let [mine, mine_too, other]: [IpAddr; 3] =
            ["192.168.1.7", "fe80::7", "192.168.1.9"].map(|address| address.parse().unwrap());
        let own = [mine, mine_too];
        assert!(is_anothers(&[other], &own));
        assert!(!is_anothers(&[mine], &own) && !is_anothers(&[other, mine_too], &own) && !is_anothers(&[], &own));
    }
}
