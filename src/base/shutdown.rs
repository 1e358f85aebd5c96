//! One flag that says "stop", which threads can wait on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tells every holder that the process is ending. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<(Mutex<bool>, Condvar)>);

impl Shutdown {
    /// A signal that has not been given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn flag(&self) -> MutexGuard<'_, bool> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the signal; wakes all who wait.
    pub fn request(&self) {
        *self.flag() = true;
        self.0.1.notify_all();
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.flag()
    }

    /// Waits until the signal is given or `timeout` has passed; returns whether it was given.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut flag = self.flag();
        while !*flag {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            flag = self.0.1.wait_timeout(flag, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits until the signal is given.
    pub fn wait(&self) {
        let mut flag = self.flag();
        while !*flag {
            flag = self.0.1.wait(flag).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_whoever_waits() {
        let shutdown = Shutdown::new();
        let waiter = shutdown.clone();
        let thread = std::thread::spawn(move || waiter.wait_timeout(Duration::from_secs(30)));
        shutdown.request();
        assert!(thread.join().unwrap());
        assert!(shutdown.is_requested());
    }

    #[test]
    fn waiting_ends_without_a_request() {
        assert!(!Shutdown::new().wait_timeout(Duration::from_millis(1)));
    }
}
