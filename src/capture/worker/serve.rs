//! The worker's side: runs a camera, says when a buffer is full, and ends when perch does.
//!
//! Nothing here knows which camera it is: that is a [`Backend`](WorkerBackend)'s affair. One thread reads the
//! socket; everything else happens on the main thread, because libcamera's objects stay where they were made.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::channel::Channel;
use super::message::{CameraInfo, FromWorker, Layout, MAX_BUFFERS, MAX_CONTROLS, ToWorker, VERSION, decode, encode};
use crate::capture::tuning::{Change, Control, ControlError};
use crate::capture::{CaptureError, Config};

/// Cameras of one kind.
pub trait WorkerBackend {
    /// The cameras that are there.
    ///
    /// # Errors
    /// When they cannot be asked for.
    fn list(&mut self) -> Result<Vec<CameraInfo>, CaptureError>;

    /// Opens and starts the camera that `config` names. `waker` is for whoever notices that there is something to
    /// [`take`](LendingCamera::take).
    ///
    /// # Errors
    /// When it cannot be used.
    fn open(self: Box<Self>, config: &Config, waker: Waker) -> Result<Box<dyn LendingCamera>, CaptureError>;
}

/// A running camera that fills a fixed set of buffers.
pub trait LendingCamera {
    /// What its pictures are like. The number of buffers is filled in by the caller.
    fn layout(&self) -> Layout;

    /// All buffers and their lengths, in the order of their numbers.
    fn buffers(&self) -> Vec<(BorrowedFd<'_>, usize)>;

    /// A buffer that was filled, if there is one. It is not touched until it is released.
    ///
    /// # Errors
    /// When the camera is lost.
    fn take(&mut self) -> Result<Option<Captured>, CaptureError>;

    /// Buffer `index`, which was taken before, may be filled again.
    ///
    /// # Errors
    /// When the camera is lost.
    fn release(&mut self, index: usize) -> Result<(), CaptureError>;

    /// How long to wait for a [`Waker`] before asking again.
    fn ask_again_in(&self) -> Duration;

    /// What can be changed while it runs, with the values of now.
    fn controls(&self) -> Vec<Control> {
        Vec::new()
    }

    /// Makes all of these changes, or none.
    ///
    /// # Errors
    /// When the camera refuses one, or is lost.
    fn change_controls(&mut self, _changes: &[Change]) -> Result<(), ControlError> {
        Err(ControlError::Refused("the camera has no controls".to_owned()))
    }
}

/// A full buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Which one.
    pub index: usize,
    /// When the picture was taken, on `CLOCK_MONOTONIC`.
    pub captured_at_ns: u64,
    /// Bytes in use.
    pub bytes_used: usize,
}

/// Wakes the worker from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Sender<Event>);

impl Waker {
    /// There may be something to take.
    pub fn wake(&self) {
        // Nobody waits any more when the worker ends.
        let _ = self.0.send(Event::Woken);
    }
}

#[derive(Debug)]
enum Event {
    Woken,
    Message(ToWorker),
    Closed,
    Nonsense(String),
}

/// Serves the perch at the other end of standard input until it closes. Returns why, if not for that.
///
/// # Errors
/// When standard input is no socket, or perch talks nonsense.
pub fn serve(make: impl FnOnce() -> Result<Box<dyn WorkerBackend>, CaptureError>) -> Result<(), String> {
    // Neither Ctrl-C nor systemd's SIGTERM to the whole service is for the worker: perch says when it ends.
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ignored)).map_err(|error| error.to_string())?;
    }
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| error.to_string())?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?;
    let link = Arc::new(Channel::from_descriptor(socket));
    let (sender, events) = channel();
    let reader = (Arc::clone(&link), sender.clone());
    std::thread::Builder::new()
        .name("worker-socket".into())
        .spawn(move || read(&reader.0, &reader.1))
        .map_err(|error| error.to_string())?;
    Server { link, events, waker: Waker(sender) }.run(make)
}

/// Passes on what perch says, to the end.
fn read(link: &Channel, events: &Sender<Event>) {
    loop {
        let event = match link.receive() {
            Ok(None) => Event::Closed,
            Ok(Some(packet)) => decode(&packet.bytes).map_or_else(|error| Event::Nonsense(error.0), Event::Message),
            Err(error) => Event::Nonsense(error.to_string()),
        };
        let is_last = !matches!(event, Event::Message(_));
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

struct Server {
    link: Arc<Channel>,
    events: Receiver<Event>,
    waker: Waker,
}

impl Server {
    fn run(self, make: impl FnOnce() -> Result<Box<dyn WorkerBackend>, CaptureError>) -> Result<(), String> {
        self.say(&FromWorker::Hello { version: VERSION }, None)?;
        match self.next_message()? {
            None => return Ok(()),
            Some(ToWorker::Hello { version: VERSION }) => {}
            Some(other) => return Err(format!("perch began with {other:?}")),
        }
        // After the greeting, so that a slow start is not taken for none.
        let mut backend = match make() {
            Ok(backend) => backend,
            Err(error) => return self.fail(error),
        };
        loop {
            match self.next_message()? {
                None => return Ok(()),
                Some(ToWorker::List) => match backend.list() {
                    Ok(cameras) => self.say(&FromWorker::Cameras(cameras), None)?,
                    Err(error) => return self.fail(error),
                },
                Some(ToWorker::Open(config)) => {
                    let opened = backend.open(&config, self.waker.clone()).and_then(|mut camera| {
                        let result = self.stream(&mut *camera);
                        drop(camera);
                        result
                    });
                    return opened.or_else(|error| self.fail(error));
                }
                Some(other) => return Err(format!("perch said {other:?} and no camera is open")),
            }
        }
    }

    fn stream(&self, camera: &mut dyn LendingCamera) -> Result<(), CaptureError> {
        let lost = CaptureError::Lost;
        let mut lent = {
            let buffers = camera.buffers();
            if buffers.is_empty() || buffers.len() > MAX_BUFFERS {
                return Err(CaptureError::Unusable(format!("a camera with {} buffers", buffers.len())));
            }
            let layout = Layout { buffers: buffers.len(), ..camera.layout() };
            self.say(&FromWorker::Opened(layout), None).map_err(lost)?;
            for (index, &(descriptor, length)) in buffers.iter().enumerate() {
                self.say(&FromWorker::Buffer { index, length }, Some(descriptor)).map_err(lost)?;
            }
            vec![false; buffers.len()]
        };
        loop {
            while let Some(Captured { index, captured_at_ns, bytes_used }) = camera.take()? {
                if let Some(flag) = lent.get_mut(index) {
                    *flag = true;
                    self.say(&FromWorker::Frame { index, captured_at_ns, bytes_used }, None).map_err(lost)?;
                }
            }
            match self.events.recv_timeout(camera.ask_again_in()) {
                Ok(Event::Message(ToWorker::Release { index })) => {
                    if !lent.get_mut(index).is_some_and(std::mem::take) {
                        return Err(CaptureError::Lost(format!("perch gave back buffer {index}, which it had not")));
                    }
                    camera.release(index)?;
                }
                Ok(Event::Message(ToWorker::DescribeControls)) => {
                    let mut controls = camera.controls();
                    controls.truncate(MAX_CONTROLS);
                    self.say(&FromWorker::Controls(controls), None).map_err(lost)?;
                }
                Ok(Event::Message(ToWorker::ChangeControls(changes))) => {
                    let refused = match camera.change_controls(&changes) {
                        Ok(()) => None,
                        Err(ControlError::Refused(words)) => Some(words),
                        Err(ControlError::Source(error)) => return Err(error),
                    };
                    self.say(&FromWorker::Changed { refused }, None).map_err(lost)?;
                }
                Ok(Event::Woken) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Closed) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Event::Message(other)) => {
                    return Err(CaptureError::Lost(format!("perch said {other:?} to a camera")));
                }
                Ok(Event::Nonsense(words)) => return Err(CaptureError::Lost(words)),
            }
        }
    }

    fn next_message(&self) -> Result<Option<ToWorker>, String> {
        loop {
            match self.events.recv() {
                Ok(Event::Message(message)) => return Ok(Some(message)),
                Ok(Event::Woken) => {}
                Ok(Event::Closed) | Err(_) => return Ok(None),
                Ok(Event::Nonsense(words)) => return Err(words),
            }
        }
    }

    fn say(&self, message: &FromWorker, descriptor: Option<BorrowedFd<'_>>) -> Result<(), String> {
        let bytes = encode(message).map_err(|error| error.0)?;
        self.link.send(&bytes, descriptor).map_err(|error| format!("perch does not listen: {error}"))
    }

    /// Tells perch why this is over. If it is there to be told, it says the rest.
    fn fail(&self, error: CaptureError) -> Result<(), String> {
        log::debug!("camera worker gives up: {error}");
        let _ = self.say(&FromWorker::Failed(error.into()), None);
        Ok(())
    }
}
