//! How often a password may be tried: per address and over all, as buckets that fill again by themselves.
//!
//! Nobody is ever locked out for good: at worst the owner waits for [`REFILL`]. Whoever tries from many addresses
//! meets the limit over all, which does not hold back an address that somebody is logged in from. A session that is
//! there is asked nothing and so is never held back.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::bucket::{Bucket, Buckets};
use crate::base::clock::Timestamp;

/// Tries in a row from one address, and how long until one more.
const PER_ADDRESS: u32 = 5;
/// One more try comes back to an address after this long.
pub const REFILL: Duration = Duration::from_secs(30);
/// Tries in a row from everywhere.
const OVERALL: u32 = 30;
/// One more try comes back to everybody after this long.
const OVERALL_REFILL: Duration = Duration::from_secs(3);

/// The buckets.
#[derive(Debug, Default)]
pub struct Attempts {
    overall: Bucket,
    by_address: Buckets,
}

impl Attempts {
    /// Takes one try of `address`; `is_known` when somebody is logged in from there.
    ///
    /// # Errors
    /// How long to wait, when there is none left.
    pub fn take(&mut self, address: IpAddr, is_known: bool, now: Timestamp) -> Result<(), Duration> {
        let overall = &mut self.overall.clone();
        if !is_known {
            overall.take(OVERALL, OVERALL_REFILL, now)?;
        }
        self.by_address.of(address, now).take(PER_ADDRESS, REFILL, now)?;
        self.overall = *overall;
        Ok(())
    }

    /// Gives a try back that was right.
    pub fn give_back(&mut self, address: IpAddr, is_known: bool, now: Timestamp) {
        self.by_address.of(address, now).give_back(REFILL);
        if !is_known {
            self.overall.give_back(OVERALL_REFILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn five_tries_then_one_each_half_minute_and_never_out_for_good() {
        let mut attempts = Attempts::default();
        let from = address("192.168.1.7");
        for _ in 0..5 {
            assert_eq!(attempts.take(from, false, START), Ok(()));
        }
        assert_eq!(attempts.take(from, false, START), Err(REFILL));
        // Knocking while one has to wait does not make it longer.
        for _ in 0..1000 {
            assert!(attempts.take(from, false, START.plus(REFILL / 2)).is_err());
        }
        assert_eq!(attempts.take(from, false, START.plus(REFILL)), Ok(()));
        assert!(attempts.take(from, false, START.plus(REFILL)).is_err());
    }

    #[test]
    fn a_right_password_costs_nothing() {
        let mut attempts = Attempts::default();
        let from = address("10.0.0.1");
        for _ in 0..100 {
            assert_eq!(attempts.take(from, false, START), Ok(()));
            attempts.give_back(from, false, START);
        }
    }

    #[test]
    fn many_addresses_meet_the_limit_over_all_but_not_one_that_is_known() {
        let mut attempts = Attempts::default();
        let tried =
            (0..1000_u32).filter(|n| attempts.take(IpAddr::from((n + (10 << 24)).to_be_bytes()), false, START).is_ok());
        assert_eq!(tried.count(), 30);
        let owner = address("192.168.1.2");
        assert!(attempts.take(owner, false, START).is_err());
        assert_eq!(attempts.take(owner, true, START), Ok(()));
        assert!(attempts.take(owner, false, START.plus(OVERALL_REFILL)).is_ok());
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let mut attempts = Attempts::default();
        for last in 1..=5 {
            assert_eq!(attempts.take(address(&format!("2001:db8::{last}")), false, START), Ok(()));
        }
        assert!(attempts.take(address("2001:db8::ffff:6"), false, START).is_err());
        assert!(attempts.take(address("2001:db8:0:1::6"), false, START).is_ok());
    }
}
