//! What every kind of file gives: one picture after another.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::capture::CaptureError;
use crate::media::frame::{Frame, FrameMemory, PixelFormat};

/// One picture of a file, not yet placed in time.
pub struct Picture {
    pub format: PixelFormat,
    pub size: (usize, usize),
    pub memory: Box<dyn FrameMemory>,
    /// Time until the next picture.
    pub shown_for: Duration,
}

impl Picture {
    pub fn into_frame(self, captured_at: Timestamp) -> Result<Frame, CaptureError> {
        Frame::packed(self.format, self.size, captured_at, self.memory)
            .map_err(|error| CaptureError::Lost(format!("the file is damaged: {error}")))
    }
}

/// Pictures in the order they are to be sent in, once from beginning to end.
pub trait Clip: Send {
    /// The next picture; `None` at the end. A file that is cut short ends where it is cut.
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError>;

    /// Format, size and rate, in a few words.
    fn describe(&self) -> String;
}

/// The time between pictures at `framerate`.
pub fn interval(framerate: u32) -> Duration {
    Duration::from_secs(1) / framerate.max(1)
}
