//! What the network between perch and one viewer can carry, judged from the viewer's feedback.
//!
//! The browser reports when each packet arrived (transport-wide congestion control,
//! draft-holmer-rmcat-transport-wide-cc-extensions-01). How much longer packets take than the quickest one did
//! is the time they waited in queues; bytes per time of arrival are what the link carries. Pure state: time
//! comes in as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use log::debug;

/// Packets queue for longer than this: the link is overused.
const OVERUSE: Duration = Duration::from_millis(60);
/// Packets queue for less than this: the link has room.
const ROOM: Duration = Duration::from_millis(25);
/// Share of lost packets above which the link is overused; below it, resending repairs the picture.
const OVERUSE_LOSS: f64 = 0.12;
/// How much of the throughput to aim at after overuse: below it, so that the queue drains.
const BACK_OFF: f64 = 0.75;
/// Shortest time between two reductions: the effect of one must be seen first.
const REDUCE_INTERVAL: Duration = Duration::from_millis(300);
/// How long to wait after a reduction before trying more.
const HOLD: Duration = Duration::from_secs(2);
/// Growth per second while there is room, at first: where the link was full a moment ago, it may be again.
const GROWTH_PER_SECOND: f64 = 0.08;
/// Growth per second once nothing has been reduced for [`QUIET`]: what filled the link is gone, or it was no full link
/// but a machine too busy to read its packets, as while eight pages are opened at once.
const QUICK_GROWTH_PER_SECOND: f64 = 0.4;
/// How long after a reduction growth becomes quick: slow growth is past the old throughput by then (after 5.6 s).
const QUIET: Duration = Duration::from_secs(7);
/// Over how much time of arrivals the throughput is measured.
const WINDOW: Duration = Duration::from_millis(500);
/// Over how much time of arrivals a queue must stand to count: a receiver or a sender that is busy for a moment delays
/// some packets, a full link delays them all.
const STANDING: Duration = Duration::from_millis(150);
/// Most arrivals that are remembered: the times in them are the viewer's word, which may be anything.
const MOST_ARRIVALS: usize = 1024;
/// How long a quickest delay stays the measure: clocks drift, routes change.
const BASE_LIFETIME: Duration = Duration::from_secs(15);

/// Between which bitrates a viewer's target moves, in bit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitrateRange {
    /// The lowest.
    pub min_bps: u32,
    /// Where it begins.
    pub start_bps: u32,
    /// The highest.
    pub max_bps: u32,
}

/// One packet's fate.
#[derive(Clone, Copy, Debug)]
pub struct PacketFate {
    /// When it left.
    pub sent_at: Instant,
    /// When it arrived, on the viewer's own clock; `None` if it was lost.
    pub arrived_at: Option<Duration>,
    /// Bytes on the wire.
    pub bytes: usize,
}

/// A packet that arrived.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// On the viewer's clock.
    at: Duration,
    bytes: usize,
    /// How much longer than the quickest it took.
    queued: Duration,
}

/// The state of one viewer's path.
#[derive(Debug)]
pub struct PathEstimator {
    origin: Instant,
    limits_bps: (f64, f64),
    target_bps: f64,
    /// Smallest delays of the current and the previous stretch of `BASE_LIFETIME`, in µs (any origin).
    base_us: [Option<i64>; 2],
    base_since: Instant,
    queueing: Duration,
    arrivals: VecDeque<Arrival>,
    recent: VecDeque<bool>,
    last_reduction: Option<Instant>,
    last_growth: Option<Instant>,
    last_sent: Option<Instant>,
    last_reported: Option<Instant>,
    unreported_since: Option<Instant>,
    has_feedback: bool,
}

impl PathEstimator {
    /// A path of which nothing is known.
    #[must_use]
    pub fn new(now: Instant, bitrates: BitrateRange) -> Self {
        Self {
            origin: now,
            limits_bps: (f64::from(bitrates.min_bps), f64::from(bitrates.max_bps)),
            target_bps: f64::from(bitrates.start_bps),
            base_us: [None; 2],
            base_since: now,
            queueing: Duration::ZERO,
            arrivals: VecDeque::new(),
            recent: VecDeque::new(),
            last_reduction: None,
            last_growth: None,
            last_sent: None,
            last_reported: None,
            unreported_since: None,
            has_feedback: false,
        }
    }

    /// Packets left at `now`.
    pub fn on_sent(&mut self, now: Instant) {
        self.last_sent = Some(now);
        self.unreported_since.get_or_insert(now);
    }

    /// The viewer reported packets' fates.
    pub fn on_feedback(&mut self, now: Instant, fates: &[PacketFate]) {
        if fates.is_empty() {
            return;
        }
        self.has_feedback = true;
        if now.saturating_duration_since(self.base_since) > BASE_LIFETIME {
            self.base_us = [None, self.base_us[0]];
            self.base_since = now;
        }
        for fate in fates {
            self.last_reported = self.last_reported.max(Some(fate.sent_at));
            if self.recent.len() == 200 {
                self.recent.pop_front();
            }
            self.recent.push_back(fate.arrived_at.is_none());
            if let Some(arrived_at) = fate.arrived_at {
                self.on_arrival(fate, arrived_at);
            }
        }
        if let Some(last) = self.arrivals.back().map(|arrival| arrival.at) {
            let recent = self.arrivals.iter().rev().take_while(|arrival| last.saturating_sub(arrival.at) <= STANDING);
            self.queueing = recent.map(|arrival| arrival.queued).min().unwrap_or_default();
        }
        self.unreported_since = match (self.last_sent, self.last_reported) {
            (Some(sent), Some(reported)) if sent > reported => self.unreported_since.max(Some(reported)),
            _ => None,
        };
        self.adapt(now);
    }

    fn on_arrival(&mut self, fate: &PacketFate, arrived_at: Duration) {
        let sent_us =
            i64::try_from(fate.sent_at.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX);
        let arrived_us = i64::try_from(arrived_at.as_micros()).unwrap_or(i64::MAX);
        let delay_us = arrived_us.saturating_sub(sent_us);
        self.base_us[0] = Some(self.base_us[0].map_or(delay_us, |base| base.min(delay_us)));
        let base_us = self.base_us.iter().flatten().copied().min().unwrap_or(delay_us);
        let queued = Duration::from_micros((delay_us - base_us).unsigned_abs());
        self.arrivals.push_back(Arrival { at: arrived_at, bytes: fate.bytes, queued });
        while self.arrivals.len() > MOST_ARRIVALS
            || self.arrivals.front().is_some_and(|first| arrived_at.saturating_sub(first.at) > WINDOW)
        {
            self.arrivals.pop_front();
        }
    }

    fn adapt(&mut self, now: Instant) {
        let since_reduction = self.last_reduction.map(|last| now.saturating_duration_since(last));
        if self.queueing > OVERUSE || self.loss() > OVERUSE_LOSS {
            if since_reduction.is_none_or(|since| since >= REDUCE_INTERVAL)
                && let Some(throughput) = self.throughput_bps()
            {
                self.set_target(self.target_bps.min(throughput * BACK_OFF));
                let (queueing, loss, target_bps) = (self.queueing, self.loss(), self.target_bps);
                debug!(
                    "overuse: {queueing:?} of queueing, loss {loss:.2}, {throughput:.0} bit/s arrive; aiming at {target_bps:.0}"
                );
                self.last_reduction = Some(now);
                self.recent.clear();
            }
            self.last_growth = None;
        } else if self.queueing < ROOM && since_reduction.is_none_or(|since| since >= HOLD) {
            if let Some(last) = self.last_growth {
                let seconds = now.saturating_duration_since(last).as_secs_f64().min(1.0);
                let is_quiet = since_reduction.is_none_or(|since| since >= QUIET);
                let growth = if is_quiet { QUICK_GROWTH_PER_SECOND } else { GROWTH_PER_SECOND };
                self.set_target(self.target_bps * growth.mul_add(seconds, 1.0));
            }
            self.last_growth = Some(now);
        } else {
            self.last_growth = None;
        }
    }

    fn set_target(&mut self, bps: f64) {
        self.target_bps = bps.clamp(self.limits_bps.0, self.limits_bps.1);
    }

    /// Share of the recent packets that were lost, 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "at most 200 packets")]
    fn loss(&self) -> f64 {
        if self.recent.len() < 20 {
            return 0.0;
        }
        self.recent.iter().filter(|lost| **lost).count() as f64 / self.recent.len() as f64
    }

    /// What arrives, in bit/s; `None` until enough has.
    #[expect(clippy::cast_precision_loss, reason = "bytes of half a second")]
    fn throughput_bps(&self) -> Option<f64> {
        let (first, last) = (self.arrivals.front()?.at, self.arrivals.back()?.at);
        let span = last.saturating_sub(first);
        let bytes: usize = self.arrivals.iter().skip(1).map(|arrival| arrival.bytes).sum();
        (span >= WINDOW / 4).then(|| bytes as f64 * 8.0 / span.as_secs_f64())
    }

    /// The viewer says itself what it can receive (REMB); counts while it sends no better feedback.
    pub fn on_receiver_estimate(&mut self, bps: f64) {
        if !self.has_feedback {
            self.set_target(bps);
        }
    }

    /// The bitrate to aim at, in bit/s.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped between two u32 values")]
    pub fn target_bps(&self) -> u32 {
        self.target_bps as u32
    }

    /// How long packets wait on the way, as far as is known at `now`: in queues, or without any word of them.
    #[must_use]
    pub fn backlog(&self, now: Instant) -> Duration {
        if !self.has_feedback {
            return Duration::ZERO;
        }
        let unreported = self.unreported_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.queueing.max(unreported)
    }

    /// Whether packets do not wait on the way, so that one that is lost was not lost to a full queue.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.has_feedback && self.queueing < ROOM
    }

    /// Whether all that was sent has been reported on.
    #[must_use]
    pub const fn is_drained(&self) -> bool {
        self.unreported_since.is_none()
    }

    /// The queue was left to drain: what was measured of it is past.
    pub fn after_pause(&mut self) {
        self.queueing = Duration::ZERO;
        self.arrivals.clear();
        self.unreported_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITRATES: BitrateRange = BitrateRange { min_bps: 300_000, start_bps: 2_000_000, max_bps: 2_000_000 };

    /// A link of `capacity_bps` with a queue without end, one packet every `interval`.
    fn drive(estimator: &mut PathEstimator, start: Instant, capacity_bps: f64, seconds: u64) -> Vec<u32> {
        let mut free_at = Duration::ZERO;
        let mut now = Duration::ZERO;
        let mut targets = Vec::new();
        let mut batch = Vec::new();
        let mut next_report = Duration::from_millis(100);
        while now < Duration::from_secs(seconds) {
            let rate = f64::from(estimator.target_bps());
            free_at = free_at.max(now) + Duration::from_secs_f64(1200.0 * 8.0 / capacity_bps);
            estimator.on_sent(start + now);
            batch.push((
                free_at,
                PacketFate { sent_at: start + now, arrived_at: Some(free_at + Duration::from_secs(77)), bytes: 1200 },
            ));
            now += Duration::from_secs_f64(1200.0 * 8.0 / rate);
            if now >= next_report {
                let (arrived, waiting): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(at, _)| *at <= now);
                batch = waiting;
                let fates: Vec<_> = arrived.into_iter().map(|(_, fate)| fate).collect();
                estimator.on_feedback(start + now, &fates);
                next_report += Duration::from_millis(100);
                targets.push(estimator.target_bps());
            }
        }
        targets
    }

    #[test]
    fn a_link_with_half_the_bitrate_is_found_within_two_seconds_and_its_queue_drains() {
        let start = Instant::now();
        let mut estimator = PathEstimator::new(start, BITRATES);
        let targets = drive(&mut estimator, start, 1_000_000.0, 12);
        assert!(targets[20..].iter().all(|bps| *bps < 1_150_000), "{targets:?}");
        assert!(targets[40..].iter().all(|bps| *bps > 400_000), "{targets:?}");
        assert!(estimator.backlog(start + Duration::from_secs(12)) < Duration::from_millis(250));
    }

    #[test]
    fn a_link_with_room_keeps_the_highest_bitrate() {
        let start = Instant::now();
        let mut estimator = PathEstimator::new(start, BITRATES);
        let targets = drive(&mut estimator, start, 50_000_000.0, 5);
        assert!(targets.iter().all(|bps| *bps == 2_000_000), "{targets:?}");
    }

    #[test]
    fn a_viewer_begins_where_it_is_told_to_and_grows_to_the_highest() {
        let start = Instant::now();
        let mut estimator = PathEstimator::new(start, BitrateRange { start_bps: 500_000, ..BITRATES });
        let targets = drive(&mut estimator, start, 50_000_000.0, 8);
        assert_eq!((targets[0], targets.last()), (500_000, Some(&2_000_000)));
    }

    #[test]
    fn a_busy_receiver_that_delays_some_packets_is_no_full_link() {
        let start = Instant::now();
        let mut estimator = PathEstimator::new(start, BITRATES);
        for n in 0..600_u64 {
            let sent = Duration::from_millis(5 * n);
            // For 100 ms of every 200 the receiver does nothing, and then takes what has come.
            let arrived = Duration::from_millis(if (n / 20) % 2 == 0 { 5 * n } else { (n / 20 + 1) * 100 });
            let fate = PacketFate { sent_at: start + sent, arrived_at: Some(arrived), bytes: 1200 };
            estimator.on_feedback(start + arrived, &[fate]);
        }
        assert_eq!(estimator.target_bps(), 2_000_000);
    }

    #[test]
    fn a_viewer_whose_clock_stands_still_fills_no_memory() {
        let start = Instant::now();
        let mut estimator = PathEstimator::new(start, BITRATES);
        let fate = PacketFate { sent_at: start, arrived_at: Some(Duration::ZERO), bytes: 1200 };
        for _ in 0..100 {
            estimator.on_feedback(start, &[fate; 100]);
        }
        assert!(estimator.arrivals.len() <= MOST_ARRIVALS);
    }

    #[test]
    fn five_percent_loss_is_left_to_resending_and_thirty_percent_is_not() {
        for (lost_every, reduced) in [(20, false), (3, true)] {
            let start = Instant::now();
            let mut estimator = PathEstimator::new(start, BITRATES);
            for n in 0..400_u64 {
                let at = Duration::from_millis(5 * n);
                let arrived_at = (n % lost_every != 0).then_some(at);
                estimator.on_feedback(start + at, &[PacketFate { sent_at: start + at, arrived_at, bytes: 1200 }]);
            }
            assert_eq!(estimator.target_bps() < 2_000_000, reduced, "one in {lost_every} lost");
        }
    }

    #[test]
    fn packets_without_any_word_of_them_are_backlog() {
        let start = Instant::now();
        let mut estimator = PathEstimator::new(start, BITRATES);
        let ms = Duration::from_millis;
        estimator.on_sent(start);
        estimator.on_feedback(start + ms(20), &[PacketFate { sent_at: start, arrived_at: Some(ms(1)), bytes: 1200 }]);
        assert!(estimator.is_drained());
        assert_eq!(estimator.backlog(start + ms(900)), Duration::ZERO, "nothing was sent since");
        estimator.on_sent(start + ms(900));
        assert_eq!(estimator.backlog(start + ms(1300)), ms(400));
    }
}
