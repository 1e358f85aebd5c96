//! One stream of access units for many readers, none of which can hold up another.
//!
//! A reader that falls behind by more than the queue's length loses units and is told so; it then waits for
//! a keyframe. What is queued is shared, so a reader costs a pointer per unit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use tokio::sync::broadcast;

use super::demand::{Demand, KeyframeReason};
use super::latest_slot::LatestSlot;
use crate::media::access_unit::AccessUnit;
use crate::media::frame::Frame;

/// Units that a lagging reader may be behind: about a second of video.
const QUEUE_UNITS: usize = 32;

/// The sending end.
#[derive(Debug)]
pub struct Broadcast {
    sender: broadcast::Sender<(u64, Arc<AccessUnit>)>,
    /// Units that were sent with a lower number are not given to readers any more.
    valid_from: Arc<AtomicU64>,
    demand: Arc<Demand>,
    frames: Arc<LatestSlot<Frame>>,
}

impl Broadcast {
    /// A stream without readers, whose readers' wishes are joined in `demand`. Who takes `frames` is woken for a
    /// reader that joins.
    #[must_use]
    pub fn new(demand: Arc<Demand>, frames: Arc<LatestSlot<Frame>>) -> Self {
        Self { sender: broadcast::channel(QUEUE_UNITS).0, valid_from: Arc::default(), demand, frames }
    }

    /// Hands a unit to every reader.
    pub fn send(&self, unit: AccessUnit) {
        // An error only says that nobody is there.
        let _ = self.sender.send((self.valid_from.load(SeqCst), Arc::new(unit)));
    }

    /// Takes back what readers have not received yet. Not while a unit is sent.
    pub fn take_back(&self) {
        self.valid_from.fetch_add(1, SeqCst);
    }

    /// Adds a reader. The camera makes pictures as long as there is one.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        Subscription {
            receiver: self.sender.subscribe(),
            valid_from: Arc::clone(&self.valid_from),
            reader: self.demand.add_video_reader(),
            demand: Arc::clone(&self.demand),
            frames: Arc::clone(&self.frames),
        }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub enum Received {
    /// The next unit.
    Unit(Arc<AccessUnit>),
    /// This many units were lost because the reader was too slow, or taken back: wait for a keyframe.
    Lagged(u64),
    /// The camera is gone.
    Closed,
}

/// A reader's end; dropping it ends the reader's demand.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<(u64, Arc<AccessUnit>)>,
    valid_from: Arc<AtomicU64>,
    reader: u64,
    demand: Arc<Demand>,
    frames: Arc<LatestSlot<Frame>>,
}

impl Subscription {
    /// Waits for the next unit. Cancelling loses nothing.
    pub async fn receive(&mut self) -> Received {
        match self.receiver.recv().await {
            Ok((number, _)) if number < self.valid_from.load(SeqCst) => Received::Lagged(1),
            Ok((_, unit)) => Received::Unit(unit),
            Err(broadcast::error::RecvError::Lagged(units)) => Received::Lagged(units),
            Err(broadcast::error::RecvError::Closed) => Received::Closed,
        }
    }

    /// Forgets what is queued.
    pub fn skip_queued(&mut self) {
        self.receiver = self.receiver.resubscribe();
    }

    /// Asks the encoder for a keyframe.
    pub fn request_keyframe(&self, reason: KeyframeReason) {
        self.demand.request_keyframe(reason);
        if reason == KeyframeReason::Join {
            self.frames.nudge();
        }
    }

    /// Says the highest bitrate this reader can take, in bit/s.
    pub fn limit_bitrate(&self, bitrate_bps: u32) {
        self.demand.limit_bitrate(self.reader, bitrate_bps);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.demand.remove_video_reader(self.reader);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use std::time::{Duration, Instant};

    fn unit(n: u64) -> AccessUnit {
        AccessUnit::new(bytes::Bytes::new(), Timestamp::from_nanos(n), false)
    }

    #[tokio::test]
    async fn a_reader_that_lags_is_told_how_much_it_lost_and_others_lose_nothing() {
        let broadcast = Broadcast::new(Arc::new(Demand::new(Duration::ZERO)), Arc::default());
        let (mut slow, mut quick) = (broadcast.subscribe(), broadcast.subscribe());
        for n in 0..QUEUE_UNITS as u64 + 5 {
            broadcast.send(unit(n));
            assert!(matches!(quick.receive().await, Received::Unit(unit) if unit.pts.as_nanos() == n));
        }
        assert!(matches!(slow.receive().await, Received::Lagged(5)));
        assert!(matches!(slow.receive().await, Received::Unit(unit) if unit.pts.as_nanos() == 5));
    }

    #[tokio::test]
    async fn what_is_taken_back_reaches_nobody() {
        let broadcast = Broadcast::new(Arc::new(Demand::new(Duration::ZERO)), Arc::default());
        let mut reader = broadcast.subscribe();
        broadcast.send(unit(1));
        broadcast.take_back();
        broadcast.send(unit(2));
        assert!(matches!(reader.receive().await, Received::Lagged(1)));
        assert!(matches!(reader.receive().await, Received::Unit(unit) if unit.pts.as_nanos() == 2));
    }

    #[tokio::test]
    async fn demand_lasts_as_long_as_the_subscription() {
        let demand = Arc::new(Demand::new(Duration::ZERO));
        let broadcast = Broadcast::new(Arc::clone(&demand), Arc::default());
        let subscription = broadcast.subscribe();
        assert!(demand.orders(Instant::now()).video);
        drop(subscription);
        assert!(!demand.orders(Instant::now()).video);
    }
}
