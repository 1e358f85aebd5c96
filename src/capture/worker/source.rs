//! perch's side: a worker's pictures as a [`CameraSource`].
//!
//! A frame is a loan: dropping it sends the buffer's number back. What the worker does wrong (it dies, it hangs,
//! it talks nonsense) ends in a [`CaptureError`], and whoever runs the source opens a new one. Buffers that are
//! still lent out then stay readable, and giving them back does nothing.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::{debug, info};

use super::channel::{Channel, Packet};
use super::memory::SharedBuffer;
use super::message::{CameraInfo, FromWorker, Layout, ProtocolError, ToWorker, VERSION, decode, encode};
use super::process::{Process, WorkerCommand};
use crate::base::clock::Timestamp;
use crate::base::poll::{Readiness, wait_readable};
use crate::capture::tuning::{Change, Control, ControlError};
use crate::capture::{CameraSource, CaptureError, Config};
use crate::media::dma_buf::{CpuRead, DmaBuf};
use crate::media::frame::{Frame, FrameMemory, PixelFormat, Plane};

/// How long a worker may take for its first word, and to open a camera: a slow card is read, libcamera reads tuning
/// files and starts the sensor.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever did not ask for so long was not watching.
const PAUSE: Duration = Duration::from_millis(500);

/// A camera that another process runs.
pub struct WorkerSource {
    talk: Talk,
    lent: Arc<Lent>,
    buffers: Vec<Arc<SharedBuffer>>,
    layout: Layout,
    format: PixelFormat,
    planes: Vec<Plane>,
    stall_timeout: Duration,
    heard_at: Instant,
    returned_at: Instant,
    last: Timestamp,
    /// The newest picture that came while something else was awaited.
    ready: Option<Frame>,
}

/// The way back to the worker, and which buffers are not there.
#[derive(Debug)]
struct Lent {
    channel: Arc<Channel>,
    flags: Vec<AtomicBool>,
}

impl Lent {
    fn count(&self) -> usize {
        self.flags.iter().filter(|flag| flag.load(Ordering::Acquire)).count()
    }

    fn give_back(&self, index: usize) {
        self.flags[index].store(false, Ordering::Release);
        let message = ToWorker::Release { index };
        if let Ok(bytes) = encode(&message)
            && let Err(error) = self.channel.send(&bytes, None)
        {
            debug!("buffer {index} comes back to nobody: {error}");
        }
    }
}

impl WorkerSource {
    /// Starts a worker and has it open the camera that `config` names.
    ///
    /// # Errors
    /// When the worker cannot be started, cannot open the camera, or is not done in time.
    pub fn open(command: &WorkerCommand, config: &Config) -> Result<Self, CaptureError> {
        let mut talk = Talk::start(command)?;
        talk.say(&ToWorker::Open(Box::new(config.clone())))?;
        let layout = match talk.hear_within(OPEN_TIMEOUT, "open the camera")?.0 {
            FromWorker::Opened(layout) => layout,
            other => return Err(talk.unexpected(&other)),
        };
        let (format, planes) = layout.checked().map_err(|error| talk.nonsense(&error))?;
        let mut buffers = Vec::with_capacity(layout.buffers);
        for number in 0..layout.buffers {
            let (index, length, descriptor) = match talk.hear_within(OPEN_TIMEOUT, "share its buffers")? {
                (FromWorker::Buffer { index, length }, Some(descriptor)) => (index, length, descriptor),
                (other, _) => return Err(talk.unexpected(&other)),
            };
            if index != number {
                return Err(talk.nonsense(&ProtocolError(format!("buffer {index} where {number} was due"))));
            }
            let buffer = SharedBuffer::map(descriptor, length)
                .map_err(|error| talk.nonsense(&ProtocolError(format!("buffer {index}: {error}"))))?;
            buffers.push(Arc::new(buffer));
        }
        let flags = buffers.iter().map(|_| AtomicBool::new(false)).collect();
        let lent = Arc::new(Lent { channel: Arc::clone(&talk.channel), flags });
        let source = Self {
            talk,
            lent,
            buffers,
            layout,
            format,
            planes,
            stall_timeout: config.stall_timeout(),
            heard_at: Instant::now(),
            returned_at: Instant::now(),
            last: Timestamp::default(),
            ready: None,
        };
        info!("{}, by worker {}", source.layout.description, source.worker_id());
        Ok(source)
    }

    /// The worker's process id.
    #[must_use]
    pub fn worker_id(&self) -> u32 {
        self.talk.process.id()
    }

    /// How many buffers are lent out: frames that were handed out and not dropped yet.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.lent.count()
    }

    /// The picture that comes next, if one comes in time.
    fn receive(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        if let Some(frame) = self.ready.take() {
            return Ok(Some(frame));
        }
        match self.talk.hear(timeout)? {
            Some((FromWorker::Frame { index, captured_at_ns, bytes_used }, _)) => {
                self.frame(index, captured_at_ns, bytes_used).map(Some)
            }
            Some((message, _)) => Err(self.talk.unexpected(&message)),
            None => Ok(None),
        }
    }

    /// The picture in buffer `index`.
    fn frame(&mut self, index: usize, captured_at_ns: u64, bytes_used: usize) -> Result<Frame, CaptureError> {
        let fits = self.buffers.get(index).is_some_and(|buffer| bytes_used <= buffer.length());
        if !fits || self.lent.flags[index].swap(true, Ordering::AcqRel) {
            return Err(self.talk.nonsense(&ProtocolError(format!("a picture in buffer {index}, which cannot be"))));
        }
        self.heard_at = Instant::now();
        let loan = Loan {
            lent: Arc::clone(&self.lent),
            index,
            buffer: Arc::clone(&self.buffers[index]),
            read: CpuRead::default(),
        };
        let captured_at = Timestamp::from_nanos(captured_at_ns).max(self.last.plus(Duration::from_nanos(1)));
        self.last = captured_at;
        let size = (self.layout.width, self.layout.height);
        let whole = [Plane { offset: 0, stride: bytes_used, rows: 1 }];
        let planes = if self.format.is_compressed() { &whole[..] } else { &self.planes[..] };
        Frame::new(self.format, size, captured_at, planes, Box::new(loan))
            .map_err(|error| self.talk.nonsense(&ProtocolError(error.to_string())))
    }

    /// What the worker answers to `message`. Pictures that come before it are not lost: the newest comes next.
    fn ask(&mut self, message: &ToWorker) -> Result<FromWorker, CaptureError> {
        self.talk.say(message)?;
        let deadline = Instant::now() + self.stall_timeout;
        loop {
            match self.talk.hear(deadline.saturating_duration_since(Instant::now()))? {
                Some((FromWorker::Frame { index, captured_at_ns, bytes_used }, _)) => {
                    self.ready = Some(self.frame(index, captured_at_ns, bytes_used)?);
                }
                Some((answer, _)) => return Ok(answer),
                None if Instant::now() >= deadline => {
                    self.talk.process.kill_at_once = true;
                    return Err(CaptureError::Stalled(self.stall_timeout));
                }
                None => {}
            }
        }
    }

    /// The newest picture that is there: older ones go back at once.
    fn newest(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let mut newest = self.receive(timeout)?;
        while newest.is_some() {
            match self.receive(Duration::ZERO)? {
                None => break,
                newer => newest = newer,
            }
        }
        Ok(newest)
    }

    fn wait(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let deadline = Instant::now() + timeout;
        if self.returned_at.elapsed() > PAUSE {
            // What is there is as old as the pause, and the worker had no buffers left to fill.
            self.newest(Duration::ZERO)?;
            self.heard_at = Instant::now();
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let stalls_in = (self.heard_at + self.stall_timeout).saturating_duration_since(Instant::now());
            if let Some(frame) = self.newest(left.min(stalls_in))? {
                return Ok(Some(frame));
            }
            if self.lent.count() == self.buffers.len() {
                // It is not the worker who is slow.
                self.heard_at = Instant::now();
            }
            if self.heard_at.elapsed() >= self.stall_timeout {
                self.talk.process.kill_at_once = true;
                return Err(CaptureError::Stalled(self.stall_timeout));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }
}

impl CameraSource for WorkerSource {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let result = self.wait(timeout);
        self.returned_at = Instant::now();
        result
    }

    fn describe(&self) -> String {
        self.layout.description.clone()
    }

    fn orients(&self) -> bool {
        self.layout.is_oriented
    }

    fn controls(&mut self) -> Result<Vec<Control>, CaptureError> {
        match self.ask(&ToWorker::DescribeControls)? {
            FromWorker::Controls(controls) => Ok(controls),
            other => Err(self.talk.unexpected(&other)),
        }
    }

    fn change_controls(&mut self, changes: &[Change]) -> Result<(), ControlError> {
        match self.ask(&ToWorker::ChangeControls(changes.to_vec()))? {
            FromWorker::Changed { refused: None } => Ok(()),
            FromWorker::Changed { refused: Some(words) } => Err(ControlError::Refused(words)),
            other => Err(self.talk.unexpected(&other).into()),
        }
    }
}

/// The cameras that a worker sees.
///
/// # Errors
/// When the worker cannot be started, fails, or is not done in time.
pub fn list(command: &WorkerCommand) -> Result<Vec<CameraInfo>, CaptureError> {
    let mut talk = Talk::start(command)?;
    talk.say(&ToWorker::List)?;
    match talk.hear_within(OPEN_TIMEOUT, "name its cameras")?.0 {
        FromWorker::Cameras(cameras) => Ok(cameras),
        other => Err(talk.unexpected(&other)),
    }
}

/// A conversation with a worker. Ends the worker when dropped.
struct Talk {
    channel: Arc<Channel>,
    process: Process,
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The process, which is dropped after this, ends when it hears of it.
        self.channel.close();
    }
}

impl Talk {
    fn start(command: &WorkerCommand) -> Result<Self, CaptureError> {
        let (ours, theirs) =
            Channel::pair().map_err(|error| CaptureError::Unusable(format!("no socket for a worker: {error}")))?;
        let process = command.start(theirs.into_descriptor())?;
        let mut talk = Self { channel: Arc::new(ours), process };
        talk.say(&ToWorker::Hello { version: VERSION })?;
        match talk.hear_within(OPEN_TIMEOUT, "say hello")?.0 {
            FromWorker::Hello { version: VERSION } => Ok(talk),
            FromWorker::Hello { version } => Err(talk.nonsense(&ProtocolError(format!("it speaks version {version}")))),
            other => Err(talk.unexpected(&other)),
        }
    }

    fn say(&mut self, message: &ToWorker) -> Result<(), CaptureError> {
        let bytes = encode(message).map_err(|error| self.nonsense(&error))?;
        self.channel.send(&bytes, None).map_err(|_| CaptureError::Lost(self.process.epitaph()))
    }

    /// What the worker says next; `None` when it says nothing in time.
    fn hear(&mut self, timeout: Duration) -> Result<Option<(FromWorker, Option<OwnedFd>)>, CaptureError> {
        match wait_readable(self.channel.as_fd(), timeout) {
            Ok(Readiness::TimedOut) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(CaptureError::Lost(format!("the camera worker cannot be heard: {error}"))),
        }
        let packet = self.channel.receive().map_err(|error| self.nonsense(&ProtocolError(error.to_string())))?;
        let Some(Packet { bytes, descriptor }) = packet else {
            return Err(CaptureError::Lost(self.process.epitaph()));
        };
        match decode(&bytes).map_err(|error| self.nonsense(&error))? {
            FromWorker::Failed(failure) => Err(failure.into()),
            message => Ok(Some((message, descriptor))),
        }
    }

    fn hear_within(&mut self, timeout: Duration, what: &str) -> Result<(FromWorker, Option<OwnedFd>), CaptureError> {
        self.hear(timeout)?.ok_or_else(|| {
            self.process.kill_at_once = true;
            CaptureError::Unusable(format!("the camera worker did not {what} within {} ms", timeout.as_millis()))
        })
    }

    fn unexpected(&mut self, message: &FromWorker) -> CaptureError {
        self.nonsense(&ProtocolError(format!("unexpected {message:?}")))
    }

    fn nonsense(&mut self, error: &ProtocolError) -> CaptureError {
        self.process.kill_at_once = true;
        CaptureError::Lost(format!("the camera worker talks nonsense: {error}"))
    }
}

/// A buffer on loan from the worker.
struct Loan {
    lent: Arc<Lent>,
    index: usize,
    buffer: Arc<SharedBuffer>,
    read: CpuRead,
}

impl FrameMemory for Loan {
    fn bytes(&self) -> &[u8] {
        self.buffer.bytes(&self.read)
    }

    fn length(&self) -> usize {
        self.buffer.length()
    }

    fn dma_buf(&self) -> Option<DmaBuf<'_>> {
        self.buffer.dma_buf()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.buffer.end(&self.read);
        self.lent.give_back(self.index);
    }
}
