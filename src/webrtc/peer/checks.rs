//! To whom connectivity checks may go, and how many. Pure.
//!
//! A candidate is an address that a client names, and ICE sends checks to it. So whoever may offer could have perch knock at
//! somebody else's door, again and again. Here whoever has not sent anything to this session gets a few checks, then
//! two a second (enough to open the way through a NAT, RFC 8445, section 14), and all such addresses together a bounded
//! number. Whoever has sent something asked for it, and gets what ICE wants to send.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Checks that go at once to an address that did not ask, from each socket.
const AT_ONCE: u32 = 10;
/// One more goes after each such time.
const THEN_EACH: Duration = Duration::from_millis(500);
/// Such checks of a whole session.
const IN_ALL: u32 = 300;
/// Addresses that did not ask, from each socket, and addresses that did; further ones get nothing.
const MOST: usize = 64;

#[derive(Debug)]
pub(super) struct Checks {
    asked: Vec<SocketAddr>,
    unasked: Vec<Unasked>,
    left: u32,
}

#[derive(Debug)]
struct Unasked {
    from: SocketAddr,
    to: SocketAddr,
    since: Instant,
    sent: u32,
}

impl Default for Checks {
    fn default() -> Self {
        Self { asked: Vec::new(), unasked: Vec::new(), left: IN_ALL }
    }
}

impl Checks {
    /// Something came from there.
    pub(super) fn on_received(&mut self, from: SocketAddr) {
        if self.asked.len() < MOST && !self.asked.contains(&from) {
            self.asked.push(from);
            self.unasked.retain(|unasked| unasked.to != from);
        }
    }

    /// Whether a check may go from one of our sockets to there now. It counts as sent then.
    pub(super) fn may_send(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) -> bool {
        if self.asked.contains(&to) {
            return true;
        }
        let Some(left) = self.left.checked_sub(1) else { return false };
        let has_room = self.unasked.len() < MOST;
        let known = self.unasked.iter_mut().find(|unasked| unasked.from == from && unasked.to == to);
        match known {
            Some(unasked) => {
                let more = now.saturating_duration_since(unasked.since).as_millis() / THEN_EACH.as_millis();
                if u128::from(unasked.sent) >= u128::from(AT_ONCE) + more {
                    return false;
                }
                unasked.sent += 1;
            }
            None if has_room => self.unasked.push(Unasked { from, to, since: now, sent: 1 }),
            None => return false,
        }
        self.left = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// Checks that go to `to` when ICE tries every 20 ms.
    fn sent(checks: &mut Checks, to: SocketAddr, start: Instant, lasts: Duration) -> usize {
        let times = lasts.as_millis() / 20;
        (0..times)
            .filter(|n| checks.may_send(address(1), to, start + Duration::from_millis(20) * u32::try_from(*n).unwrap()))
            .count()
    }

    #[test]
    fn who_did_not_ask_gets_a_few_and_then_two_a_second() {
        let (mut checks, start) = (Checks::default(), Instant::now());
        assert_eq!(sent(&mut checks, address(2), start, Duration::from_millis(480)), 10);
        assert_eq!(sent(&mut checks, address(3), start, Duration::from_secs(10)), 10 + 19);
        assert!(checks.may_send(address(4), address(2), start), "another socket's");
    }

    #[test]
    fn who_asked_gets_all_of_them() {
        let (mut checks, start) = (Checks::default(), Instant::now());
        sent(&mut checks, address(2), start, Duration::from_secs(1));
        checks.on_received(address(2));
        assert_eq!(sent(&mut checks, address(2), start, Duration::from_secs(20)), 1000);
        assert_eq!(sent(&mut checks, address(3), start, Duration::from_millis(480)), 10, "and nobody else");
    }

    #[test]
    fn a_session_sends_a_bounded_number_to_those_who_did_not_ask() {
        let (mut checks, start) = (Checks::default(), Instant::now());
        let all: usize = (2..200).map(|port| sent(&mut checks, address(port), start, Duration::from_secs(15))).sum();
        assert_eq!(all, IN_ALL as usize);
        let mut checks = Checks::default();
        assert_eq!((2..200).filter(|port| checks.may_send(address(1), address(*port), start)).count(), MOST);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut checks = Checks::default();
        (1..1000).for_each(|port| checks.on_received(address(port)));
        assert_eq!(checks.asked.len(), MOST);
    }
}
