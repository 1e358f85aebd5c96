//! How many offers and sessions there may be, over all and from one address. Pure: a table, and who may join it.
//!
//! Whoever is let in may still not take everything: three quarters of the places are for one address, and three quarters
//! for sessions that have not come about yet, so that offers which nobody follows up leave room for those that somebody
//! does. Offers cost work even when they lead nowhere, so each address may make only so many in a while.

use std::net::IpAddr;
use std::time::Duration;

use super::Config;
use crate::base::bucket::{Buckets, network_of};
use crate::base::clock::Timestamp;

/// Up to so many sessions are nobody's share but everybody's: a family behind one address.
const FEW: usize = 8;

/// Why an offer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken.
    Everything,
    /// Too many sessions are still connecting.
    Pending,
    /// This address has its share.
    Address { limit: usize },
    /// This address makes offers too fast.
    TooFast { wait: Duration },
}

/// A session, as far as the limits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// `None` where it is not known.
    pub(super) address: Option<IpAddr>,
    /// It has not connected yet.
    pub(super) is_pending: bool,
}

/// The limits, and how fast offers came.
#[derive(Debug)]
pub(super) struct Limits {
    sessions: usize,
    of_address: usize,
    offers_per_minute: u32,
    offers: Buckets,
}

/// What one of many may have of `all`.
const fn share(all: usize) -> usize {
    let most = if all * 3 / 4 > FEW { all * 3 / 4 } else { FEW };
    if most < all { most } else { all }
}

impl Limits {
    pub(super) fn new(config: &Config) -> Self {
        let of_address = config.max_viewers_per_address.unwrap_or(share(config.max_viewers));
        Self {
            sessions: config.max_viewers,
            of_address,
            offers_per_minute: config.offers_per_minute,
            offers: Buckets::default(),
        }
    }

    /// Counts an offer that costs work.
    ///
    /// # Errors
    /// When there were too many lately.
    pub(super) fn offer(&mut self, address: IpAddr, now: Timestamp) -> Result<(), Full> {
        let refill = Duration::from_secs(60) / self.offers_per_minute.max(1);
        let taken = self.offers.of(address, now).take(self.offers_per_minute, refill, now);
        taken.map_err(|wait| Full::TooFast { wait })
    }

    /// Whether one more session from `address` may join those that are there.
    ///
    /// # Errors
    /// What is full.
    pub(super) fn join(&self, address: Option<IpAddr>, taken: impl Iterator<Item = Taken>) -> Result<(), Full> {
        let address = address.map(network_of);
        let (mut all, mut pending, mut from_there, mut pending_from_there) = (0, 0, 0, 0);
        for other in taken {
            let is_same = address.is_some() && other.address.map(network_of) == address;
            all += 1;
            from_there += usize::from(is_same);
            pending += usize::from(other.is_pending);
            pending_from_there += usize::from(is_same && other.is_pending);
        }
        if all >= self.sessions {
            Err(Full::Everything)
        } else if from_there >= self.of_address || pending_from_there >= share(self.of_address) {
            Err(Full::Address { limit: self.of_address })
        } else if pending >= share(self.sessions) {
            Err(Full::Pending)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_viewers: usize) -> Limits {
        Limits::new(&Config { max_viewers, ..Config::default() })
    }

    fn from(last: u8, is_pending: bool) -> Taken {
        Taken { address: Some(IpAddr::from([192, 168, 1, last])), is_pending }
    }

    /// As many as may join, one after the other.
    fn fill(limits: &Limits, taken: &mut Vec<Taken>, next: Taken) -> Full {
        loop {
            match limits.join(next.address, taken.iter().copied()) {
                Ok(()) => taken.push(next),
                Err(full) => return full,
            }
        }
    }

    #[test]
    fn one_address_leaves_places_for_others() {
        let (limits, mut taken) = (limits(16), Vec::new());
        assert_eq!(fill(&limits, &mut taken, from(1, false)), Full::Address { limit: 12 });
        assert_eq!(taken.len(), 12);
        assert_eq!(fill(&limits, &mut taken, from(2, false)), Full::Everything);
        assert_eq!(taken.len(), 16);
    }

    #[test]
    fn sessions_that_never_come_about_leave_places_for_those_that_do() {
        let (limits, mut taken) = (limits(16), Vec::new());
        assert_eq!(fill(&limits, &mut taken, from(1, true)), Full::Address { limit: 12 });
        assert_eq!(taken.len(), 9);
        assert_eq!(fill(&limits, &mut taken, from(2, true)), Full::Pending);
        assert_eq!(taken.len(), 12);
        taken[0].is_pending = false;
        assert_eq!(limits.join(from(3, true).address, taken.iter().copied()), Ok(()));
    }

    #[test]
    fn eight_browsers_of_one_address_may_come_at_once() {
        for max_viewers in [8, 10, 16] {
            let mut taken = Vec::new();
            fill(&limits(max_viewers), &mut taken, from(1, true));
            assert!(taken.len() >= 8, "{max_viewers}");
        }
        let mut taken = Vec::new();
        assert_eq!(fill(&limits(2), &mut taken, from(1, true)), Full::Everything);
    }

    #[test]
    fn the_owner_says_what_one_address_may_have() {
        let limits = Limits::new(&Config { max_viewers_per_address: Some(1), ..Config::default() });
        let mut taken = Vec::new();
        assert_eq!(fill(&limits, &mut taken, from(1, false)), Full::Address { limit: 1 });
        assert_eq!(taken.len(), 1);
        assert_eq!(limits.join(None, taken.iter().copied()), Ok(()), "one that is not known is not the same");
    }

    #[test]
    fn offers_may_come_only_so_fast_from_each_address() {
        let mut limits = Limits::new(&Config { offers_per_minute: 60, ..Config::default() });
        let (now, one, other) = (Timestamp::from_nanos(1), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!((0..60).all(|_| limits.offer(one, now).is_ok()));
        assert_eq!(limits.offer(one, now), Err(Full::TooFast { wait: Duration::from_secs(1) }));
        assert!(limits.offer(other, now).is_ok());
        assert!(limits.offer(one, now.plus(Duration::from_secs(1))).is_ok());
    }
}
