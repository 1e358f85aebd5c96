//! Where pictures come from.
//!
//! A [`CameraSource`] hands out one [`Frame`] after another and is used from a single thread: the one that
//! built it (some cameras' objects cannot change threads). Whoever runs it decides what to do with errors;
//! a source never retries by itself, never sleeps past the timeout it was given, and knows nothing of
//! encoders or viewers.

use std::time::Duration;

use self::tuning::{Change, Control, ControlError};
use crate::media::frame::Frame;

mod arrivals;
mod config;
pub mod controls;
pub mod file;
mod jpeg_cutter;
pub mod network;
mod open;
pub mod test_pattern;
pub mod tuning;
pub mod v4l2;
pub mod worker;

#[cfg(feature = "libcamera")]
mod libcamera;
/// Stands in where libcamera is not built in. The only place that asks whether it is.
#[cfg(not(feature = "libcamera"))]
mod libcamera {
    use super::CaptureError;
    use super::worker::WorkerBackend;

    pub(super) const BUILT_IN: bool = false;

    pub(super) fn backend() -> Result<Box<dyn WorkerBackend>, CaptureError> {
        Err(CaptureError::Unusable(
            "this perch was built without libcamera: build it with `--features libcamera`, or use a USB camera".into(),
        ))
    }
}

use libcamera::backend as libcamera_backend;
/// Whether this perch was built with libcamera.
pub const HAS_LIBCAMERA: bool = libcamera::BUILT_IN;

pub use arrivals::Arrivals;
pub use config::{Config, Resolution, SourceSpec, SourceSpecError};
pub use open::{Opened, Opener};

/// Cuts a stream that arrives in pieces into JPEG pictures, for a fuzz target; how many there were, and their bytes. Not
/// part of the interface.
#[doc(hidden)]
#[must_use]
pub fn cut_jpeg_pictures<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    let mut cutter = jpeg_cutter::JpegCutter::default();
    let mut found = (0, 0);
    for piece in pieces {
        cutter.push(piece);
        while let Some((picture, _)) = cutter.next_picture() {
            found = (found.0 + 1, found.1 + picture.len());
        }
    }
    found
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The source cannot be used as asked, and trying again will not help until something changes.
    #[error("{0}")]
    Unusable(String),
    /// The source was there and is gone, or failed while running.
    #[error("{0}")]
    Lost(String),
    /// The source delivered nothing for longer than the stall timeout.
    #[error("no picture for {} ms", .0.as_millis())]
    Stalled(Duration),
    /// A source with an end reached it.
    #[error("the source has ended")]
    Ended,
    /// A better source may be there: open again at once.
    #[error("another source may be there")]
    Superseded,
}

/// A camera, a file, or anything else that makes pictures.
///
/// Implement it to stream pictures of your own: see `examples/custom_source.rs`.
pub trait CameraSource {
    /// Waits up to `timeout` for the next picture. `Ok(None)` means that none came in time, which is not an
    /// error. Frames must carry growing [`captured_at`](Frame::captured_at) times.
    ///
    /// # Errors
    /// When the source is lost or has ended. It is not used again after an error.
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError>;

    /// What this source is, in a few words for people: `test pattern 1280×720 at 30 fps`.
    fn describe(&self) -> String;

    /// Whether it mirrors and turns its pictures itself as [`Config`] says.
    fn orients(&self) -> bool {
        false
    }

    /// What can be changed while it runs, with the values of now. Nothing, unless a source says so.
    ///
    /// # Errors
    /// When the source is lost.
    fn controls(&mut self) -> Result<Vec<Control>, CaptureError> {
        Ok(Vec::new())
    }

    /// Makes changes, each of which [`tuning::changes`] has checked against [`controls`](Self::controls): in this
    /// order, and all or none of them. It is called between two pictures, so it must not take long.
    ///
    /// # Errors
    /// When the source refuses one all the same, or is lost.
    fn change_controls(&mut self, changes: &[Change]) -> Result<(), ControlError> {
        match changes {
            [] => Ok(()),
            _ => Err(ControlError::Refused(format!("{} has no controls", self.describe()))),
        }
    }
}
