//! What readers want from a camera: pictures at all, a keyframe, a bitrate.
//!
//! These are the only signals that run against the flow of pictures. All readers' wishes are joined here, so
//! that the capture and encode threads look at one place.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::metrics::Counter;

/// Why a keyframe is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyframeReason {
    /// A reader begins: it gets one with the next picture.
    Join,
    /// A reader lost something: at most one per `keyframe_min_interval_ms`.
    Repair,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// Each video reader's highest bitrate, in bit/s.
    video_readers: BTreeMap<u64, u32>,
    jpeg_readers: usize,
    join_pending: bool,
    repair_pending: bool,
    last_keyframe: Option<Instant>,
    joins: u64,
    is_nudged: bool,
}

/// The joined wishes of all readers of one camera.
#[derive(Debug)]
pub struct Demand {
    state: Mutex<State>,
    changed: Condvar,
    min_keyframe_interval: Duration,
    /// Counts every request, met or not.
    pub keyframes_requested: Arc<Counter>,
}

/// What the encode thread is to do with the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    /// Somebody wants video.
    pub video: bool,
    /// Somebody wants JPEG pictures.
    pub jpeg: bool,
    /// The next access unit is to be a keyframe.
    pub keyframe: bool,
    /// The lowest of the readers' bitrates, in bit/s; `u32::MAX` if none has a limit.
    pub bitrate_bps: u32,
}

impl Demand {
    /// No readers. Repairs are answered with a keyframe at most once in `min_keyframe_interval`.
    #[must_use]
    pub fn new(min_keyframe_interval: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            min_keyframe_interval,
            keyframes_requested: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a video reader in; returns its number.
    pub fn add_video_reader(&self) -> u64 {
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        state.joins += 1;
        state.video_readers.insert(id, u32::MAX);
        self.changed.notify_all();
        id
    }

    /// Counts a video reader out.
    pub fn remove_video_reader(&self, id: u64) {
        self.state().video_readers.remove(&id);
    }

    /// Says the highest bitrate that reader `id` can take, in bit/s.
    pub fn limit_bitrate(&self, id: u64, bitrate_bps: u32) {
        if let Some(limit) = self.state().video_readers.get_mut(&id) {
            *limit = bitrate_bps;
        }
    }

    /// Counts a JPEG reader in.
    pub fn add_jpeg_reader(&self) {
        let mut state = self.state();
        state.jpeg_readers += 1;
        state.joins += 1;
        self.changed.notify_all();
    }

    /// Counts a JPEG reader out.
    pub fn remove_jpeg_reader(&self) {
        self.state().jpeg_readers -= 1;
    }

    /// Asks for a keyframe. Requests made before the next frame are one.
    pub fn request_keyframe(&self, reason: KeyframeReason) {
        let mut state = self.state();
        self.keyframes_requested.increment();
        match reason {
            KeyframeReason::Join => state.join_pending = true,
            KeyframeReason::Repair => state.repair_pending = true,
        }
    }

    /// How many readers have ever come: grows when somebody new looks.
    #[must_use]
    pub fn joins(&self) -> u64 {
        self.state().joins
    }

    /// Ends the wait for readers without one: there is something else to do.
    pub fn nudge(&self) {
        self.state().is_nudged = true;
        self.changed.notify_all();
    }

    /// Waits up to `timeout` until somebody wants pictures, or until nudged; returns whether somebody wants pictures.
    pub fn wait_for_readers(&self, timeout: Duration) -> bool {
        let (mut state, _) = self
            .changed
            .wait_timeout_while(self.state(), timeout, |state| state.is_empty() && !state.is_nudged)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_nudged = false;
        !state.is_empty()
    }

    /// What to do with a frame at `now`. Looking does not use a keyframe request up; [`keyframe_made`](Self::keyframe_made) does.
    #[must_use]
    pub fn orders(&self, now: Instant) -> Orders {
        let state = self.state();
        let may_repair =
            state.last_keyframe.is_none_or(|last| now.saturating_duration_since(last) >= self.min_keyframe_interval);
        Orders {
            video: !state.video_readers.is_empty(),
            jpeg: state.jpeg_readers > 0,
            keyframe: state.join_pending || (state.repair_pending && may_repair),
            bitrate_bps: state.video_readers.values().copied().min().unwrap_or(u32::MAX),
        }
    }

    /// A keyframe was made from a frame for which orders were taken at `now`: all requests are met.
    pub fn keyframe_made(&self, now: Instant) {
        let mut state = self.state();
        state.join_pending = false;
        state.repair_pending = false;
        state.last_keyframe = Some(now);
    }
}

impl State {
    fn is_empty(&self) -> bool {
        self.video_readers.is_empty() && self.jpeg_readers == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(500);

    #[test]
    fn repairs_are_answered_at_most_once_per_interval_and_joins_at_once() {
        let demand = Demand::new(INTERVAL);
        let start = Instant::now();
        demand.request_keyframe(KeyframeReason::Repair);
        assert!(demand.orders(start).keyframe);
        demand.keyframe_made(start);

        demand.request_keyframe(KeyframeReason::Repair);
        assert!(!demand.orders(start + INTERVAL / 2).keyframe);
        assert!(demand.orders(start + INTERVAL).keyframe, "the request is kept, not dropped");

        demand.request_keyframe(KeyframeReason::Join);
        assert!(demand.orders(start + INTERVAL / 2).keyframe);
    }

    #[test]
    fn many_requests_are_met_by_one_keyframe() {
        let demand = Demand::new(INTERVAL);
        let now = Instant::now();
        for _ in 0..10 {
            demand.request_keyframe(KeyframeReason::Join);
        }
        demand.keyframe_made(now);
        assert!(!demand.orders(now + INTERVAL * 2).keyframe);
    }

    #[test]
    fn a_nudge_ends_one_wait_without_a_reader() {
        let demand = Demand::new(INTERVAL);
        demand.nudge();
        let began = Instant::now();
        assert!(!demand.wait_for_readers(Duration::from_secs(30)));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(!demand.wait_for_readers(Duration::ZERO));
    }

    #[test]
    fn the_weakest_reader_sets_the_bitrate_until_it_leaves() {
        let demand = Demand::new(INTERVAL);
        let (weak, strong) = (demand.add_video_reader(), demand.add_video_reader());
        demand.limit_bitrate(weak, 400_000);
        demand.limit_bitrate(strong, 3_000_000);
        assert_eq!(demand.orders(Instant::now()).bitrate_bps, 400_000);
        demand.remove_video_reader(weak);
        assert_eq!(demand.orders(Instant::now()).bitrate_bps, 3_000_000);
        demand.remove_video_reader(strong);
        assert!(!demand.orders(Instant::now()).video);
    }
}
