//! Encoding in hardware: any stateful V4L2 encoder, such as the one in Raspberry Pi 4 and older (`bcm2835-codec`).
//!
//! One picture goes in and one comes out before the next goes in: that has the least delay, and a picture in a dma-buf
//! is the camera's again at once. Each picture gets a time of its own, and what comes out is known by it, never by
//! counting, because real encoders
//!
//! - **skip pictures** when they are over their bitrate: the coded buffer is empty;
//! - **begin with garbage**, or with parameter sets alone, at time zero;
//! - **say that something is there** when nothing is;
//! - **stop answering**: after a second the encoder is closed, and whoever uses it opens another;
//! - **do not let go** when they are closed, which must not stop the program.
//!
//! The kernel's interface is in [Memory-to-Memory Stateful Video Encoder
//! Interface](https://docs.kernel.org/userspace-api/media/v4l/dev-encoder.html).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::debug;

use super::{EncodeError, Encoder};
use crate::media::access_unit::AccessUnit;
use crate::media::annex_b::ParameterSets;
use crate::media::copies::FrameCopies;
use crate::media::frame::Frame;

mod close;
mod device;
mod exchange;
mod level;
mod queue;
#[cfg(test)]
mod scripted;
mod settings;

use device::DeviceQueue;
use exchange::Outcome;
use queue::M2mQueue;
pub use settings::{CodedFormat, Input, Settings};

/// How long one picture may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long an encoder is given to close.
const CLOSING: Duration = Duration::from_millis(500);
/// Opens a device's queues; `false` asks for one that copies pictures although they could be lent.
type Opener = Box<dyn FnMut(bool) -> Result<Box<dyn M2mQueue>, String> + Send>;

/// A hardware encoder for pictures of one kind.
pub struct M2mEncoder {
    name: String,
    settings: Settings,
    open: Opener,
    /// `None` after an error.
    queue: Option<Box<dyn M2mQueue>>,
    is_streaming: bool,
    may_lend: bool,
    can_force_keyframes: bool,
    /// The time of the last picture that was given; each gets a later one.
    last_time_us: u64,
    /// The picture that the device has, until it is taken back.
    reading: Option<Arc<Frame>>,
    sets: ParameterSets,
    copies: Arc<FrameCopies>,
    deadline: Duration,
    closing: Duration,
}

impl M2mEncoder {
    /// Opens the encoder at `path`; `name` is for people. Copies of whole pictures, which are made only where the device
    /// cannot read the camera's memory, are counted in `copies`.
    ///
    /// # Errors
    /// When the device cannot be opened, is used by another program, or cannot do what `settings` ask for.
    pub fn open(path: &Path, name: &str, settings: Settings, copies: Arc<FrameCopies>) -> Result<Self, EncodeError> {
        let path: PathBuf = path.to_owned();
        let open = move |may_lend: bool| {
            DeviceQueue::open(&path, &settings, may_lend).map(|queue| Box::new(queue) as Box<dyn M2mQueue>)
        };
        Self::with(name, settings, Box::new(open), copies)
    }

    fn with(name: &str, settings: Settings, open: Opener, copies: Arc<FrameCopies>) -> Result<Self, EncodeError> {
        let mut encoder = Self {
            name: name.to_owned(),
            settings,
            open,
            queue: None,
            is_streaming: false,
            may_lend: true,
            can_force_keyframes: false,
            last_time_us: 0,
            reading: None,
            sets: ParameterSets::default(),
            copies,
            deadline: DEADLINE,
            closing: CLOSING,
        };
        encoder.reopen()?;
        Ok(encoder)
    }

    /// The same encoder, which may take `deadline` for one picture instead of a second: for machines that only pretend to
    /// be hardware.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn error(&self, problem: impl Into<String>) -> EncodeError {
        EncodeError::Device { encoder: self.name.clone(), problem: problem.into() }
    }

    fn refused(&self, doing: &str, error: &io::Error) -> EncodeError {
        self.error(format!("cannot {doing}: {error}"))
    }

    /// Closes what is open, opens the device, sets everything and starts it.
    fn reopen(&mut self) -> Result<(), EncodeError> {
        self.close();
        let mut queue = (self.open)(self.may_lend).map_err(|problem| self.error(problem))?;
        let applied = self.settings.apply(&mut *queue);
        self.can_force_keyframes = queue.control(settings::FORCE_KEY_FRAME).is_some();
        if !self.can_force_keyframes {
            debug!("{}: keyframes cannot be forced: it is started anew instead", self.name);
        }
        self.queue = Some(queue);
        applied.map_err(|problem| self.error(problem))?;
        self.start()
    }

    fn start(&mut self) -> Result<(), EncodeError> {
        let Some(queue) = &mut self.queue else { return Err(self.error("it is closed")) };
        let started = queue.start();
        self.is_streaming = started.is_ok();
        started.map_err(|error| {
            let Settings { framerate, bitrate_bps, input, .. } = self.settings;
            let (width, height) = input.size;
            self.error(format!(
                "it does not start with {width}×{height} at {framerate} fps and {bitrate_bps} bit/s ({error}): \
                 choose a smaller size or rate"
            ))
        })
    }

    /// Stops and starts the queues: the next picture is a keyframe.
    fn restart(&mut self) -> Result<(), EncodeError> {
        let Some(queue) = &mut self.queue else { return self.reopen() };
        let stopped = queue.stop();
        self.is_streaming = false;
        self.reading = None;
        stopped.map_err(|error| self.refused("be stopped", &error))?;
        self.start()
    }

    fn close(&mut self) {
        self.is_streaming = false;
        if let Some(queue) = self.queue.take() {
            close::close(&self.name, queue, self.reading.take(), self.closing);
        }
    }

    /// Makes the next picture a keyframe.
    fn force_keyframe(&mut self) -> Result<(), EncodeError> {
        if self.can_force_keyframes
            && let Some(queue) = &mut self.queue
        {
            match queue.set_control(settings::FORCE_KEY_FRAME, 1) {
                Ok(()) => return Ok(()),
                Err(problem) => debug!("{}: {problem}", self.name),
            }
        }
        self.restart()
    }

    fn try_encode(&mut self, frame: &Arc<Frame>, force_keyframe: bool) -> Result<Option<AccessUnit>, EncodeError> {
        if !self.is_streaming {
            // A start makes a keyframe by itself.
            if self.queue.is_some() { self.restart() } else { self.reopen() }?;
        } else if force_keyframe {
            self.force_keyframe()?;
        }
        let until = Instant::now() + self.deadline;
        let time_us = self.submit(frame, until)?;
        let outcome = self.outcome(frame, time_us, until)?;
        self.reclaim(until)?;
        match outcome {
            Outcome::Unit(unit) => Ok(Some(unit)),
            Outcome::Skipped => Ok(None),
        }
    }
}

impl Encoder for M2mEncoder {
    fn encode(&mut self, frame: &Arc<Frame>, force_keyframe: bool) -> Result<Option<AccessUnit>, EncodeError> {
        if !self.takes(frame) {
            let (width, height, format) = (frame.width(), frame.height(), frame.format());
            return Err(EncodeError::UnsupportedFrame { encoder: self.name.clone(), width, height, format });
        }
        let result = self.try_encode(frame, force_keyframe);
        if result.is_err() {
            self.close();
        }
        result
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncodeError> {
        self.settings.bitrate_bps = bitrate_bps;
        if let Some(queue) = &mut self.queue {
            settings::optional(&mut **queue, settings::BITRATE.0, bitrate_bps.into());
        }
        Ok(())
    }

    fn takes(&self, frame: &Frame) -> bool {
        let Some(input) = Input::of(frame) else { return false };
        let ours = self.settings.input;
        // A picture that is copied may have any stride.
        input == ours
            || (!ours.is_dma_buf && !input.is_dma_buf && (input.format, input.size) == (ours.format, ours.size))
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for M2mEncoder {
    fn drop(&mut self) {
        self.close();
    }
}
