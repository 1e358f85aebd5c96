//! Whether a thread still goes round its loop, for whoever watches over it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::clock::Timestamp;

/// A sign of life: the thread beats each time it comes round, and others see how long that was ago. A thread that has
/// ended, or is stuck in a driver, beats no more.
#[derive(Debug)]
pub struct Pulse(AtomicU64);

impl Default for Pulse {
    /// It beats once, at the start.
    fn default() -> Self {
        Self(AtomicU64::new(Timestamp::now().as_nanos()))
    }
}

impl Pulse {
    /// Says that the thread has come round.
    pub fn beat(&self) {
        self.0.store(Timestamp::now().as_nanos(), Relaxed);
    }

    /// How long ago it last came round.
    #[must_use]
    pub fn age(&self) -> Duration {
        Timestamp::now().saturating_since(Timestamp::from_nanos(self.0.load(Relaxed)))
    }
}
