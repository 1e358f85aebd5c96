//! How often something may be done: buckets that fill again by themselves, and what counts as one address.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::clock::Timestamp;

/// Addresses that are remembered; with more, the one that was quiet longest is forgotten.
const ADDRESSES: usize = 256;

/// A bucket as the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Timestamp,
}

impl Bucket {
    /// Takes one of `size`, of which one comes back each `refill`.
    ///
    /// # Errors
    /// How long until there is one, when there is none.
    pub fn take(&mut self, size: u32, refill: Duration, now: Timestamp) -> Result<(), Duration> {
        let missing = self.full_at.saturating_since(now);
        let room = refill * size.saturating_sub(1);
        if missing > room {
            return Err(missing.saturating_sub(room));
        }
        self.full_at = self.full_at.max(now).plus(refill);
        Ok(())
    }

    /// Puts one back.
    pub fn give_back(&mut self, refill: Duration) {
        let nanos = u64::try_from(refill.as_nanos()).unwrap_or(u64::MAX);
        self.full_at = Timestamp::from_nanos(self.full_at.as_nanos().saturating_sub(nanos));
    }
}

/// A bucket for each address.
#[derive(Debug, Default)]
pub struct Buckets(Vec<(IpAddr, Bucket)>);

impl Buckets {
    /// The bucket of `address`.
    pub fn of(&mut self, address: IpAddr, now: Timestamp) -> &mut Bucket {
        let address = network_of(address);
        let index = match self.0.iter().position(|(known, _)| *known == address) {
            Some(index) => index,
            None => {
                // A full bucket is as good as none.
                self.0.retain(|(_, bucket)| bucket.full_at > now);
                if self.0.len() >= ADDRESSES {
                    let quiet = self.0.iter().enumerate().min_by_key(|(_, (_, bucket))| bucket.full_at);
                    if let Some((quiet, _)) = quiet {
                        self.0.swap_remove(quiet);
                    }
                }
                self.0.push((address, Bucket::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[index].1
    }
}

/// What counts as one address: of IPv6 the /64, which one customer has whole (RFC 6177).
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_as_much_as_comes_back() {
        let mut bucket = Bucket::default();
        assert!((0..3).all(|_| bucket.take(3, SECOND, START).is_ok()));
        assert_eq!(bucket.take(3, SECOND, START), Err(SECOND));
        assert_eq!(bucket.take(3, SECOND, START.plus(SECOND / 4)), Err(SECOND * 3 / 4));
        assert_eq!(bucket.take(3, SECOND, START.plus(SECOND)), Ok(()));
        bucket.give_back(SECOND);
        assert_eq!(bucket.take(3, SECOND, START.plus(SECOND)), Ok(()));
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let network = |address: &str| network_of(address.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:6"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut buckets = Buckets::default();
        for n in 0..2000_u64 {
            let from = Ipv6Addr::from(u128::from(n) << 64).into();
            assert!(buckets.of(from, START).take(5, SECOND, START).is_ok());
        }
        assert_eq!(buckets.0.len(), ADDRESSES);
    }
}
