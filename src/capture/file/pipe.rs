//! FIFOs and standard input: read as it arrives, by a thread of its own.
//!
//! Whoever writes sets the pace. Raw and JPEG pictures that nobody takes are replaced by newer ones, so that the
//! writer is never held up and the newest picture is never old. H.264 units depend on each other, so there the
//! writer waits. The thread ends soon after the source is dropped, also while nobody writes.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use super::clip::Picture;
use super::sniff::{self, Kind};
use crate::base::clock::Timestamp;
use crate::base::poll::{Readiness, wait_readable};
use crate::capture::{CameraSource, CaptureError, Config};
use crate::media::frame::{Frame, PixelFormat};

/// Pictures that wait to be taken.
const MOST_WAITING: usize = 2;
/// How often the thread looks whether it is still wanted.
const CHECK: Duration = Duration::from_millis(100);

/// A pipe as a source.
pub struct PipeSource {
    name: String,
    shared: Arc<Shared>,
    last: Timestamp,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    is_dropped: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Picture, Timestamp)>,
    end: Option<CaptureError>,
    is_over: bool,
    description: Option<String>,
}

impl PipeSource {
    /// Begins to read `path`, or standard input if there is none. Never waits for a writer.
    pub fn open(path: Option<&Path>, config: &Config) -> Result<Self, CaptureError> {
        let name = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
        let file = match path {
            // Opening a FIFO without a writer would wait for one.
            Some(path) => OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path),
            None => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        }
        .map_err(|error| CaptureError::Unusable(format!("cannot open {name}: {error}")))?;
        let shared =
            Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), is_dropped: AtomicBool::new(false) });
        let reader = PipeReader { file, shared: Arc::clone(&shared) };
        let (framerate, thread_shared, thread_name) = (config.framerate, Arc::clone(&shared), name.clone());
        let run = move || {
            let end = read_all(reader, framerate, &thread_name, &thread_shared);
            let mut state = thread_shared.state();
            state.is_over = true;
            state.end = Some(end.err().unwrap_or(CaptureError::Ended));
            drop(state);
            thread_shared.changed.notify_all();
        };
        thread::Builder::new()
            .name("capture-pipe".into())
            .spawn(run)
            .map_err(|error| CaptureError::Lost(format!("cannot start a thread: {error}")))?;
        Ok(Self { name, shared, last: Timestamp::default() })
    }
}

impl CameraSource for PipeSource {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let deadline = Instant::now() + timeout;
        let mut state = self.shared.state();
        loop {
            if let Some((picture, captured_at)) = state.waiting.pop_front() {
                drop(state);
                self.shared.changed.notify_all();
                let captured_at = captured_at.max(self.last.plus(Duration::from_nanos(1)));
                self.last = captured_at;
                return picture.into_frame(captured_at).map(Some);
            }
            if state.is_over {
                return Err(state.end.take().unwrap_or(CaptureError::Ended));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn describe(&self) -> String {
        let what = self.shared.state().description.clone();
        format!("{}: {}", self.name, what.unwrap_or_else(|| "nothing has come yet".into()))
    }
}

impl Drop for PipeSource {
    fn drop(&mut self) {
        self.shared.is_dropped.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Relaxed)
    }

    fn put(&self, picture: Picture) {
        let captured_at = Timestamp::now();
        let mut state = self.state();
        while state.waiting.len() >= MOST_WAITING && !self.is_dropped() {
            if picture.format == PixelFormat::H264 {
                state = self.changed.wait_timeout(state, CHECK).unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state.waiting.pop_front();
            }
        }
        state.waiting.push_back((picture, captured_at));
        drop(state);
        self.changed.notify_all();
    }
}

/// Reads until the writer is gone or the source is dropped.
fn read_all(mut reader: PipeReader, framerate: u32, name: &str, shared: &Shared) -> Result<(), CaptureError> {
    let head = sniff::head(&mut reader).map_err(|error| CaptureError::Lost(format!("cannot read {name}: {error}")))?;
    if head.is_empty() {
        return Ok(());
    }
    let kind = match Kind::of(&head) {
        Ok(Some(kind)) => kind,
        Ok(None) => {
            let problem = format!("{name} carries neither YUV4MPEG2, MJPEG nor H.264: use ffmpeg's `-f yuv4mpegpipe`");
            return Err(CaptureError::Unusable(problem));
        }
        Err(what) => {
            let problem =
                format!("{name} carries {what}: have ffmpeg write `-f yuv4mpegpipe -pix_fmt yuv420p` instead");
            return Err(CaptureError::Unusable(problem));
        }
    };
    let mut clip = kind.clip(io::Cursor::new(head).chain(reader), framerate, name)?;
    while let Some(picture) = clip.next_picture()? {
        if shared.is_dropped() {
            break;
        }
        shared.state().description.get_or_insert_with(|| clip.describe());
        shared.put(picture);
    }
    debug!("{name} has ended");
    Ok(())
}

/// Reads a pipe without being stuck in it.
pub struct PipeReader {
    file: File,
    shared: Arc<Shared>,
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.shared.is_dropped() {
            match wait_readable(self.file.as_fd(), CHECK)? {
                Readiness::TimedOut => {}
                Readiness::HungUp => return Ok(0),
                Readiness::Readable | Readiness::Failed => match self.file.read(buffer) {
                    Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                    result => return result,
                },
            }
        }
        Ok(0)
    }
}
