//! The appliance's name in the network: `perch`, or `perch-1a2b` where somebody else has that already.
//!
//! `systemd-resolved` is the one that answers for the name (mDNS), and would publish `perch7` by itself where it is taken, while
//! the machine, its certificate and its page still believe to be `perch`. So it is asked for here as well, and when another machine
//! answers, this one gets its other name for all purposes; resolved follows the kernel's.
//!
//! It publishes `perch7` also when nobody has the name: it takes its own answer to somebody who asked while it had not quite
//! announced itself for another machine's (<https://github.com/systemd/systemd/issues/42072>), and who waits for a camera to start
//! does ask. So when nobody answers for the name, it is told the name anew.

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
/// How often in a row resolved is told the name anew; after that, when it is asked for again anyway.
const TOLD_ANEW: u32 = 10;
/// Most of the machine's addresses that are asked from.
const MOST_ADDRESSES: usize = 4;

/// When to ask.
#[derive(Debug)]
pub struct Schedule {
    hurry: u32,
    changed_at: Option<Timestamp>,
    asked: usize,
    asked_at: Timestamp,
    told_anew: u32,
}

impl Schedule {
    /// Everything `hurry` times as quick.
    #[must_use]
    pub const fn new(hurry: u32) -> Self {
        Self { hurry, changed_at: None, asked: 0, asked_at: Timestamp::from_nanos(0), told_anew: 0 }
    }

    /// The network is another.
    pub const fn changed(&mut self, now: Timestamp) {
        (self.changed_at, self.asked, self.told_anew) = (Some(now), 0, 0);
    }

    /// Resolved was told the name anew: it is asked for again soon, though not for ever.
    pub const fn told_anew(&mut self, now: Timestamp) {
        if self.told_anew < TOLD_ANEW {
            (self.changed_at, self.asked, self.told_anew) = (Some(now), 0, self.told_anew + 1);
        }
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

/// Who answers for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Another machine.
    Another,
    /// This one.
    Own,
    /// Nobody, or nobody can be asked.
    Nobody,
}

/// Who has `host`, for the machine with the addresses `own`, asked at the group `to`.
#[must_use]
pub fn holder(host: &str, own: &[IpAddr], to: SocketAddrV4) -> Holder {
    let from = own.iter().filter_map(|address| match address {
        IpAddr::V4(v4) if to.ip().is_multicast() != v4.is_loopback() => Some(*v4),
        _ => None,
    });
    let mut found = Holder::Nobody;
    for from in from.take(MOST_ADDRESSES) {
        match ask(host, own, from, to) {
            Ok(Holder::Another) => return Holder::Another,
            Ok(Holder::Own) => found = Holder::Own,
            Ok(Holder::Nobody) => {}
            Err(error) => log::debug!("nobody can be asked from {from}: {error}"),
        }
    }
    found
}

fn ask(host: &str, own: &[IpAddr], from: Ipv4Addr, to: SocketAddrV4) -> io::Result<Holder> {
    let socket = UdpSocket::bind((from, 0))?;
    SockRef::from(&socket).set_multicast_if_v4(&from)?;
    socket.send_to(&dns::question(host), to)?;
    let began = Instant::now();
    let mut packet = [0; dns::MOST_BYTES];
    let mut found = Holder::Nobody;
    while let Some(left) = ANSWERS.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut packet) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        };
        match told_by(&dns::addresses(&packet[..length], host), own) {
            Holder::Nobody => {}
            Holder::Own => found = Holder::Own,
            Holder::Another => return Ok(Holder::Another),
        }
    }
    Ok(found)
}

/// Whose addresses these are: with one of our own among them it is our own answer, maybe handed on by a router.
fn told_by(told: &[IpAddr], own: &[IpAddr]) -> Holder {
    if told.is_empty() {
        Holder::Nobody
    } else if told.iter().any(|address| own.contains(address)) {
        Holder::Own
    } else {
        Holder::Another
    }
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
    fn while_nobody_answers_for_the_name_it_is_asked_for_soon_again_but_not_for_ever() {
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        let mut schedule = Schedule::new(1);
        schedule.changed(at(1000));
        let mut asked = Vec::new();
        for second in 1000..2000 {
            if schedule.is_due(at(second)) {
                asked.push(second);
                schedule.told_anew(at(second));
            }
        }
        let (soon, later) = asked.split_at(TOLD_ANEW as usize + 1);
        assert!(soon.iter().zip(&soon[1..]).all(|(one, next)| next - one == 3), "{asked:?}");
        assert!(later.iter().zip(&later[1..]).all(|(one, next)| next - one >= 12) && later.len() > 1, "{asked:?}");
    }

    #[test]
    fn an_answer_with_an_own_address_is_an_own_one() {
        let [mine, mine_too, other]: [IpAddr; 3] =
            ["192.168.1.7", "fe80::7", "192.168.1.9"].map(|address| address.parse().unwrap());
        let own = [mine, mine_too];
        assert_eq!(told_by(&[other], &own), Holder::Another);
        assert_eq!((told_by(&[mine], &own), told_by(&[other, mine_too], &own)), (Holder::Own, Holder::Own));
        assert_eq!(told_by(&[], &own), Holder::Nobody);
    }
}
