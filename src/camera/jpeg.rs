//! The newest picture as a JPEG, for readers that cannot do WebRTC.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::demand::Demand;

/// The newest JPEG picture, with a number that tells one from the next.
#[derive(Debug)]
pub struct JpegFeed {
    /// None when it was taken back.
    newest: Mutex<(u64, Option<Bytes>)>,
    changed: Condvar,
    demand: Arc<Demand>,
}

impl JpegFeed {
    /// A feed without pictures.
    #[must_use]
    pub fn new(demand: Arc<Demand>) -> Self {
        Self { newest: Mutex::default(), changed: Condvar::new(), demand }
    }

    /// Replaces the picture.
    pub fn publish(&self, picture: Bytes) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (newest.0 + 1, Some(picture));
        self.changed.notify_all();
    }

    /// Takes back the picture: who has not got it yet does not.
    pub fn take_back(&self) {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).1 = None;
    }

    /// Adds a reader; its first picture is one made from now on.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> JpegReader {
        self.demand.add_jpeg_reader();
        let seen = self.newest.lock().unwrap_or_else(PoisonError::into_inner).0;
        JpegReader { feed: Arc::clone(self), seen }
    }
}

/// A reader of JPEG pictures; dropping it ends the reader's demand.
#[derive(Debug)]
pub struct JpegReader {
    feed: Arc<JpegFeed>,
    seen: u64,
}

impl JpegReader {
    /// Waits up to `timeout` for a picture newer than the last one; slow readers miss pictures.
    pub fn next(&mut self, timeout: Duration) -> Option<Bytes> {
        let newest = self.feed.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let (newest, _) = self
            .feed
            .changed
            .wait_timeout_while(newest, timeout, |newest| newest.0 == self.seen || newest.1.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let picture = newest.1.clone().filter(|_| newest.0 != self.seen)?;
        self.seen = newest.0;
        Some(picture)
    }

    /// The last one once more, if it is the newest and was not taken back.
    pub fn again(&self) -> Option<Bytes> {
        let newest = self.feed.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.1.clone().filter(|_| newest.0 == self.seen)
    }
}

impl Drop for JpegReader {
    fn drop(&mut self) {
        self.feed.demand.remove_jpeg_reader();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_each_picture_once_and_never_an_old_one() {
        let feed = Arc::new(JpegFeed::new(Arc::new(Demand::new(Duration::ZERO))));
        feed.publish(Bytes::from_static(b"old"));
        let mut reader = feed.subscribe();
        assert_eq!(reader.next(Duration::ZERO), None);
        feed.publish(Bytes::from_static(b"missed"));
        feed.publish(Bytes::from_static(b"new"));
        assert_eq!(reader.next(Duration::ZERO).as_deref(), Some(&b"new"[..]));
        assert_eq!(reader.next(Duration::ZERO), None);
    }

    #[test]
    fn a_picture_that_is_taken_back_is_given_to_nobody_and_not_again() {
        let feed = Arc::new(JpegFeed::new(Arc::new(Demand::new(Duration::ZERO))));
        let (mut one, mut other) = (feed.subscribe(), feed.subscribe());
        feed.publish(Bytes::from_static(b"open"));
        assert!(one.next(Duration::ZERO).is_some() && one.again().is_some());
        feed.take_back();
        assert_eq!((one.again(), one.next(Duration::ZERO), other.next(Duration::ZERO)), (None, None, None));
        feed.publish(Bytes::from_static(b"covered"));
        assert_eq!(other.next(Duration::ZERO).as_deref(), Some(&b"covered"[..]));
    }
}
