//! One place for one value, in which the newest wins; or for a few that must all be taken.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Holds the newest value until it is taken, or a short queue of values.
#[derive(Debug)]
pub struct LatestSlot<T> {
    inside: Mutex<Inside<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Inside<T> {
    values: VecDeque<T>,
    is_nudged: bool,
}

impl<T> Default for LatestSlot<T> {
    fn default() -> Self {
        Self { inside: Mutex::new(Inside { values: VecDeque::new(), is_nudged: false }), changed: Condvar::new() }
    }
}

impl<T> LatestSlot<T> {
    fn inside(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value in the place of those that nobody took; returns how many those were.
    pub fn put(&self, value: T) -> usize {
        let mut inside = self.inside();
        // Dropped after the lock: giving a buffer back asks the kernel.
        let replaced = std::mem::replace(&mut inside.values, VecDeque::from([value]));
        drop(inside);
        self.changed.notify_one();
        replaced.len()
    }

    /// Puts a value behind those that are there; gives it back if that would make more than `most`.
    pub fn queue(&self, value: T, most: usize) -> Option<T> {
        let mut inside = self.inside();
        if inside.values.len() >= most {
            return Some(value);
        }
        inside.values.push_back(value);
        drop(inside);
        self.changed.notify_one();
        None
    }

    /// Wakes the taker without a value: there is something else to do.
    pub fn nudge(&self) {
        self.inside().is_nudged = true;
        self.changed.notify_one();
    }

    /// Takes the oldest value, waiting up to `timeout` for one, or until nudged.
    pub fn take_timeout(&self, timeout: Duration) -> Option<T> {
        let guard = self.inside();
        let (mut guard, _) = self
            .changed
            .wait_timeout_while(guard, timeout, |inside| inside.values.is_empty() && !inside.is_nudged)
            .unwrap_or_else(PoisonError::into_inner);
        guard.is_nudged = false;
        guard.values.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_replaces_one_that_was_not_taken() {
        let slot = LatestSlot::default();
        assert_eq!(slot.put(1), 0);
        assert_eq!(slot.put(2), 1);
        assert_eq!(slot.take_timeout(Duration::ZERO), Some(2));
        assert_eq!(slot.take_timeout(Duration::ZERO), None);
    }

    #[test]
    fn queued_values_are_taken_in_order_and_one_too_many_is_given_back() {
        let slot = LatestSlot::default();
        assert_eq!((slot.queue(1, 2), slot.queue(2, 2), slot.queue(3, 2)), (None, None, Some(3)));
        assert_eq!((slot.take_timeout(Duration::ZERO), slot.take_timeout(Duration::ZERO)), (Some(1), Some(2)));
        slot.queue(4, 2);
        slot.queue(5, 2);
        assert_eq!(slot.put(6), 2);
        assert_eq!((slot.take_timeout(Duration::ZERO), slot.take_timeout(Duration::ZERO)), (Some(6), None));
    }

    #[test]
    fn a_nudge_ends_one_wait_without_a_value() {
        let slot = LatestSlot::<u8>::default();
        slot.nudge();
        let began = std::time::Instant::now();
        assert_eq!(slot.take_timeout(Duration::from_secs(30)), None);
        assert!(began.elapsed() < Duration::from_secs(10));
        assert_eq!(slot.take_timeout(Duration::ZERO), None);
    }

    #[test]
    fn a_taker_that_waits_is_woken() {
        let slot = std::sync::Arc::new(LatestSlot::default());
        let taker = std::sync::Arc::clone(&slot);
        let thread = std::thread::spawn(move || taker.take_timeout(Duration::from_secs(30)));
        slot.put(7);
        assert_eq!(thread.join().unwrap(), Some(7));
    }
}
