//! What the encoder needs of a device: so little that a scripted one can stand in for it in tests.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::media::frame::Frame;
use crate::v4l2::{Control, ControlId};

/// How a picture reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The device reads the frame's own memory: the frame must live until it is taken back.
    Lent,
    /// It was copied.
    Copied,
}

/// A coded picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Coded {
    /// Empty if the encoder skipped the picture, or has only to say that it was the last.
    pub(super) data: Bytes,
    /// The time that was given with the picture.
    pub(super) time_us: u64,
    /// The device calls it a keyframe.
    pub(super) is_keyframe: bool,
    /// The device calls it damaged.
    pub(super) is_damaged: bool,
    /// No more come.
    pub(super) is_last: bool,
}

/// An encoder's queues: pictures in, coded pictures out, each with the time that was given with it.
pub(super) trait M2mQueue: Send {
    /// One of the device's controls.
    fn control(&self, id: ControlId) -> Option<Control>;

    /// Sets a control, or says in words why not.
    fn set_control(&mut self, id: ControlId, value: i64) -> Result<(), String>;

    /// Starts both queues.
    fn start(&mut self) -> io::Result<()>;

    /// Stops both and forgets what is in them.
    fn stop(&mut self) -> io::Result<()>;

    /// Gives a picture; `WouldBlock` if the device has not given one back.
    fn submit(&mut self, frame: &Frame, time_us: u64) -> io::Result<Given>;

    /// Whether the device has read one more picture.
    fn take_back(&mut self) -> io::Result<bool>;

    /// The next coded picture, if there is one. `EPIPE` after the last.
    fn coded(&mut self) -> io::Result<Option<Coded>>;

    /// Waits for a coded picture, at most `timeout`; may return early, or with nothing there.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// Says that no more pictures come.
    fn finish(&mut self) -> io::Result<()>;
}
