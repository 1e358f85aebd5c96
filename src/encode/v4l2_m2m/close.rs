//! Taking leave of an encoder that may not let go.
//!
//! Stopping the Pi's encoder can hang in the kernel, where no signal reaches. So it is done on a thread of its own,
//! which is waited for only so long.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use log::warn;

use super::queue::M2mQueue;
use crate::media::frame::Frame;

/// Stops and closes `queue`, and only then drops the pictures it may still be reading. Returns whether that was done
/// within `timeout`; if not, it goes on by itself, or never.
pub(super) fn close(name: &str, queue: Box<dyn M2mQueue>, reading: Option<Arc<Frame>>, timeout: Duration) -> bool {
    let (done, is_done) = mpsc::channel();
    let work = move || {
        let mut queue = queue;
        // A device that is gone refuses, which is fine.
        let _ = queue.stop();
        drop(queue);
        drop(reading);
        let _ = done.send(());
    };
    if let Err(error) = thread::Builder::new().name("m2m-close".into()).spawn(work) {
        // The queue was dropped with the closure.
        warn!("{name}: closed without a thread of its own: {error}");
        return true;
    }
    let closed = is_done.recv_timeout(timeout).is_ok();
    if !closed {
        warn!("{name}: does not let go after {} ms: going on without it", timeout.as_millis());
    }
    closed
}
