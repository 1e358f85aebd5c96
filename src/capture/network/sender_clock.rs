//! When a picture was taken, by the clock of a sender that we do not share.
//!
//! A sender's time stamps are even, arrivals are not. The picture that was quickest on its way tells best how the two
//! clocks differ: no picture can arrive before it was taken. Clocks that drift, and senders that pause, start it anew.

use std::time::Duration;

use crate::base::clock::Timestamp;

/// Time by which a picture may be late before the clocks are compared anew: the sender has paused, or jumped.
const MOST_LATE: Duration = Duration::from_millis(500);

/// Turns a sender's times into ours.
#[derive(Debug, Default)]
pub(super) struct SenderClock {
    /// A time of the sender, and ours of the same moment.
    same: Option<(Duration, Timestamp)>,
    last: Timestamp,
}

impl SenderClock {
    /// When the picture that arrives `now` and is of the sender's time `sent` was taken. Times grow.
    pub(super) fn at(&mut self, sent: Duration, now: Timestamp) -> Timestamp {
        let expected = self.same.and_then(|(since, ours)| Some(ours.plus(sent.checked_sub(since)?)));
        let taken = match expected {
            Some(expected) if expected <= now && now.saturating_since(expected) <= MOST_LATE => expected,
            _ => {
                self.same = Some((sent, now));
                now
            }
        };
        self.last = taken.max(self.last.plus(Duration::from_nanos(1)));
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn at(clock: &mut SenderClock, sent: u64, now: u64) -> u64 {
        clock.at(ms(sent), Timestamp::from_nanos(now * 1_000_000)).as_nanos() / 1_000_000
    }

    #[test]
    fn uneven_arrivals_become_even_times() {
        let mut clock = SenderClock::default();
        let times = [(1000, 50), (1033, 90), (1066, 116), (1100, 190)].map(|(sent, now)| at(&mut clock, sent, now));
        assert_eq!(times, [50, 83, 116, 150]);
    }

    #[test]
    fn a_quicker_picture_tells_that_the_first_was_late() {
        let mut clock = SenderClock::default();
        assert_eq!(at(&mut clock, 0, 300), 300);
        assert_eq!(at(&mut clock, 100, 310), 310, "not in the future");
        assert_eq!(at(&mut clock, 200, 420), 410);
    }

    #[test]
    fn a_pause_and_a_jump_start_anew_and_times_grow() {
        let mut clock = SenderClock::default();
        assert_eq!(at(&mut clock, 5000, 100), 100);
        assert_eq!(at(&mut clock, 5100, 9000), 9000);
        assert_eq!(at(&mut clock, 20, 9100), 9100);
        let before = clock.last;
        assert!(clock.at(ms(10), Timestamp::from_nanos(0)) > before);
    }
}
