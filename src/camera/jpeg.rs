//! The newest picture as a JPEG, for readers that cannot do WebRTC.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::demand::Demand;

/// The newest JPEG picture, with a number that tells one from the next.
#[derive(Debug)]
pub struct JpegFeed {
    newest: Mutex<(u64, Bytes)>,
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
        *newest = (newest.0 + 1, picture);
        self.changed.notify_all();
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
            .wait_timeout_while(newest, timeout, |newest| newest.0 == self.seen)
            .unwrap_or_else(PoisonError::into_inner);
        (newest.0 != self.seen).then(|| {
            self.seen = newest.0;
            newest.1.clone()
        })
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
}
