//! What a device says by itself: its source changed, or it has come to its end
//! ([`VIDIOC_DQEVENT`](https://docs.kernel.org/userspace-api/media/v4l/vidioc-dqevent.html)).

use std::io;

use v4l::v4l_sys::*;

use super::device::Device;
use super::ioctl::{VIDIOC_DQEVENT, VIDIOC_SUBSCRIBE_EVENT, ioctl, zeroed};
use super::node::Node;

/// Something that happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The source's size or format changed: what was negotiated no longer holds.
    SourceChange,
    /// The last picture of a stream has been dequeued or is about to be.
    EndOfStream,
    /// Something else, by its number.
    Other(u32),
}

impl Event {
    const fn raw(self) -> u32 {
        match self {
            Self::SourceChange => V4L2_EVENT_SOURCE_CHANGE,
            Self::EndOfStream => V4L2_EVENT_EOS,
            Self::Other(number) => number,
        }
    }
}

impl From<u32> for Event {
    fn from(number: u32) -> Self {
        match number {
            V4L2_EVENT_SOURCE_CHANGE => Self::SourceChange,
            V4L2_EVENT_EOS => Self::EndOfStream,
            other => Self::Other(other),
        }
    }
}

impl Device {
    /// Asks to be told of `event`; `false` if this driver never tells.
    #[must_use]
    pub fn subscribe(&self, event: Event) -> bool {
        self.node().subscribe(event)
    }

    /// The next event that has not been read yet, if there is one.
    #[must_use]
    pub fn next_event(&self) -> Option<Event> {
        self.node().next_event()
    }
}

impl Node {
    pub(super) fn subscribe(&self, event: Event) -> bool {
        // SAFETY: a plain C structure of numbers.
        let mut subscription: v4l2_event_subscription = unsafe { zeroed() };
        subscription.type_ = event.raw();
        // SAFETY: the structure that VIDIOC_SUBSCRIBE_EVENT reads.
        unsafe { ioctl(self.fd(), VIDIOC_SUBSCRIBE_EVENT, &mut subscription) }.is_ok()
    }

    pub(super) fn next_event(&self) -> Option<Event> {
        // SAFETY: a plain C structure of numbers and a union of such.
        let mut event: v4l2_event = unsafe { zeroed() };
        // SAFETY: the structure that VIDIOC_DQEVENT fills; the device is opened non-blocking, so it does not wait.
        let result: io::Result<()> = unsafe { ioctl(self.fd(), VIDIOC_DQEVENT, &mut event) };
        result.is_ok().then(|| event.type_.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_their_numbers() {
        for event in [Event::SourceChange, Event::EndOfStream, Event::Other(3)] {
            assert_eq!(Event::from(event.raw()), event);
        }
    }
}
