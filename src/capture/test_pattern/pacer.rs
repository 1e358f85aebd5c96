//! When the next picture is due.
//!
//! Pictures lie on a grid that starts at an anchor, so that late wake-ups never add up to drift. Whoever comes more
//! than one interval late starts a new grid instead of catching up: after a pause the first picture is due at once,
//! and only one is. Time is an argument; nothing here sleeps.

use std::time::Duration;

use crate::base::clock::Timestamp;

/// The grid of one source.
#[derive(Debug)]
pub(super) struct Pacer {
    framerate: u64,
    anchor: Option<Timestamp>,
    /// Which point of the grid comes next, the anchor being 0.
    next: u64,
}

impl Pacer {
    /// A grid of `framerate` pictures per second (at least 1) whose anchor is the first use.
    pub(super) const fn new(framerate: u64) -> Self {
        Self { framerate: if framerate == 0 { 1 } else { framerate }, anchor: None, next: 0 }
    }

    /// How long after `now` the next picture is due. Zero means now, and counts as taken.
    pub(super) fn poll(&mut self, now: Timestamp) -> Duration {
        let anchor = match self.anchor {
            Some(anchor) if now < self.point(anchor, self.next + 1) => anchor,
            _ => {
                self.next = 0;
                *self.anchor.insert(now)
            }
        };
        let wait = self.point(anchor, self.next).saturating_since(now);
        if wait.is_zero() {
            self.next += 1;
        }
        wait
    }

    fn point(&self, anchor: Timestamp, index: u64) -> Timestamp {
        // Whole seconds apart, so that the product stays small for centuries.
        let (seconds, rest) = (index / self.framerate, index % self.framerate);
        anchor.plus(Duration::new(seconds, 0)).plus(Duration::from_nanos(rest * 1_000_000_000 / self.framerate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(123_456_789);

    /// How many pictures fall into `length` when every wake-up is `late` after what was asked for.
    fn count(framerate: u64, length: Duration, late: Duration) -> u64 {
        let (mut pacer, mut now, mut pictures) = (Pacer::new(framerate), START, 0);
        while now.saturating_since(START) < length {
            let wait = pacer.poll(now);
            if wait.is_zero() {
                pictures += 1;
            } else {
                now = now.plus(wait + late);
            }
        }
        pictures
    }

    #[test]
    fn the_rate_is_kept_for_an_hour_without_drift() {
        for framerate in [1, 15, 24, 30, 60, 120] {
            let hour = Duration::from_secs(3600);
            assert_eq!(count(framerate, hour, Duration::ZERO), framerate * 3600);
            assert_eq!(count(framerate, hour, Duration::from_micros(700)), framerate * 3600);
        }
    }

    #[test]
    fn the_first_picture_after_a_pause_is_due_at_once_and_alone() {
        let mut pacer = Pacer::new(25);
        assert_eq!(pacer.poll(START), Duration::ZERO);
        assert_eq!(pacer.poll(START), Duration::from_millis(40));
        let later = START.plus(Duration::from_secs(9));
        assert_eq!(pacer.poll(later), Duration::ZERO);
        assert_eq!(pacer.poll(later), Duration::from_millis(40));
    }

    #[test]
    fn a_picture_taken_a_little_late_does_not_delay_the_next() {
        let mut pacer = Pacer::new(25);
        pacer.poll(START);
        let late = START.plus(Duration::from_millis(70));
        assert_eq!(pacer.poll(late), Duration::ZERO);
        assert_eq!(pacer.poll(late), Duration::from_millis(10));
    }
}
