//! No more pictures than were asked for.
//!
//! A camera that can be told its rate keeps it by itself, and is never held back here. One that cannot (libcamera's
//! `virtual` pipeline makes pictures as fast as it gets buffers) is paced by when it gets its buffers back.

use std::time::{Duration, Instant};

/// How much faster than asked a camera may be before it is held back: clocks differ.
const TOLERANCE: f64 = 0.95;
/// How many intervals a camera may be behind and then catch up.
const BURST: u32 = 2;

/// When the next buffer may be queued.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    due: Option<Instant>,
}

impl Limiter {
    /// For `framerate` pictures per second (at least 1).
    pub fn new(framerate: u32) -> Self {
        Self { interval: Duration::from_secs(1).mul_f64(TOLERANCE) / framerate.max(1), due: None }
    }

    /// How long after `now` the next buffer may be queued. Zero means now, and counts as done.
    pub fn poll(&mut self, now: Instant) -> Duration {
        let earliest = now.checked_sub(self.interval * BURST).unwrap_or(now);
        let due = self.due.unwrap_or(now).max(earliest);
        let wait = due.saturating_duration_since(now);
        self.due = Some(if wait.is_zero() { due + self.interval } else { due });
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many buffers are queued in ten seconds by a camera that gives one back every `every`.
    fn queued(framerate: u32, every: Duration) -> u32 {
        let start = Instant::now();
        let (mut limiter, mut now, mut count) = (Limiter::new(framerate), start, 0);
        while now < start + Duration::from_secs(10) {
            let wait = limiter.poll(now);
            if wait.is_zero() {
                count += 1;
                now += every;
            } else {
                now += wait;
            }
        }
        count
    }

    #[test]
    fn a_camera_that_keeps_its_rate_is_not_held_back() {
        assert_eq!(queued(30, Duration::from_millis(100)), 100);
        assert!((300..=303).contains(&queued(30, Duration::from_micros(33_333))));
    }

    #[test]
    fn a_camera_without_a_rate_gets_the_one_that_was_asked_for() {
        let count = queued(30, Duration::ZERO);
        assert!((300..=320).contains(&count), "{count}");
    }
}
