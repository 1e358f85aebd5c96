//! The time line that pictures live on.
//!
//! A [`Timestamp`] is a point on the kernel's `CLOCK_MONOTONIC`, because that is the clock that V4L2
//! drivers and libcamera stamp their buffers with. Wall-clock time never enters the pipeline: it may
//! jump.

use std::time::Duration;

/// A point in time on `CLOCK_MONOTONIC`, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The current time.
    #[must_use]
    pub fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid, writable timespec; CLOCK_MONOTONIC always exists on Linux.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        // Neither is ever negative. Both have 32 bits on a machine of as many.
        let [seconds, nanos] = [u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec)].map(Result::unwrap_or_default);
        Self::from_nanos(seconds * 1_000_000_000 + nanos)
    }

    /// The point `nanos` nanoseconds after the clock's start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved `duration` into the future.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The point on the 90 kHz clock of RTP video (RFC 6184, section 5.1), modulo 2^32.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "RTP time is modulo 2^32")]
    pub const fn as_rtp_90khz(self) -> u32 {
        (self.0 as u128 * 9 / 100_000) as u32
    }
}

/// CPU time that this thread has used: what others do meanwhile does not count.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec; CLOCK_THREAD_CPUTIME_ID always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_is_90000_rtp_ticks() {
        let start = Timestamp::from_nanos(5_000_000_000);
        let later = start.plus(Duration::from_secs(1));
        assert_eq!(later.as_rtp_90khz().wrapping_sub(start.as_rtp_90khz()), 90_000);
    }

    #[test]
    fn rtp_time_wraps_without_a_jump() {
        let before = Timestamp::from_nanos(47_721_858_000_000_000);
        let after = before.plus(Duration::from_millis(100));
        assert_eq!(after.as_rtp_90khz().wrapping_sub(before.as_rtp_90khz()), 9_000);
    }

    #[test]
    fn time_since_a_later_point_is_zero() {
        assert_eq!(Timestamp::from_nanos(1).saturating_since(Timestamp::from_nanos(2)), Duration::ZERO);
    }
}
