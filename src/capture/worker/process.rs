//! The worker as a process: started, named in the log when it ends, and never outliving its owner.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use log::LevelFilter;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::base::poll::{Readiness, wait_readable};
use crate::capture::CaptureError;

/// Tells a worker that it is one, so that no worker ever starts another.
pub const IS_WORKER: &str = "PERCH_IS_CAMERA_WORKER";
/// libcamera logs to standard error by itself; this says how much.
const LIBCAMERA_LEVELS: &str = "LIBCAMERA_LOG_LEVELS";
/// How long a worker that was asked to end may take before it is killed.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a killed worker may take to be gone. A driver can keep it for longer.
const FUNERAL: Duration = Duration::from_millis(500);

/// Which cameras a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The test picture, to try the worker where there is no camera.
    Test,
    /// The cameras that libcamera knows.
    Libcamera,
}

/// How to start a worker.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    /// The perch to run.
    pub program: PathBuf,
    /// The cameras that it should have.
    pub backend: Backend,
}

impl WorkerCommand {
    /// A worker that is this very program, also after its file was replaced.
    ///
    /// A program that uses perch as a library hands the arguments `camera-worker --backend NAME` to
    /// [`run`](super::run) before it does anything else, or names the installed `perch` as the program.
    #[must_use]
    pub fn this_program(backend: Backend) -> Self {
        Self { program: "/proc/self/exe".into(), backend }
    }

    /// Starts it with `socket` as its standard input.
    pub(super) fn start(&self, socket: OwnedFd) -> Result<Process, CaptureError> {
        if std::env::var_os(IS_WORKER).is_some() {
            return Err(CaptureError::Unusable("a camera worker starts no other".into()));
        }
        let backend = clap::ValueEnum::to_possible_value(&self.backend);
        let mut command = Command::new(&self.program);
        if self.backend == Backend::Libcamera && std::env::var_os(LIBCAMERA_LEVELS).is_none() {
            // Where perch itself logs nothing, it reports, and what failed is part of the report.
            command.env(LIBCAMERA_LEVELS, if log::max_level() == LevelFilter::Off { "*:FATAL" } else { "*:WARN" });
        }
        let child = command
            .args(["camera-worker", "--backend", backend.as_ref().map_or("test", |value| value.get_name())])
            .args(["--log", &log::max_level().as_str().to_lowercase()])
            .env(IS_WORKER, "1")
            .stdin(socket)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| CaptureError::Unusable(format!("the camera worker could not be started: {error}")))?;
        log::debug!("camera worker {} started", child.id());
        Ok(Process { child: Some(child), kill_at_once: false })
    }
}

/// A running worker; ended when dropped.
#[derive(Debug)]
pub struct Process {
    /// `None` once it was given away to be waited for.
    child: Option<Child>,
    /// It has shown that asking is of no use.
    pub kill_at_once: bool,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// How a worker that has gone silent ended, in words.
    pub fn epitaph(&mut self) -> String {
        match self.wait(FUNERAL) {
            Some(status) => format!("the camera worker ended: {}", words(status)),
            None => "the camera worker closed its connection".to_owned(),
        }
    }

    fn wait(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        let pid = Pid::from_child(child);
        // A process descriptor becomes readable when the process has ended.
        let ended = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|process| wait_readable(process.as_fd(), timeout));
        match ended {
            Ok(Readiness::TimedOut) | Err(_) => None,
            Ok(_) => child.try_wait().ok().flatten(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.kill_at_once && self.wait(GOODBYE).is_some() {
            return;
        }
        let Some(child) = &mut self.child else { return };
        // It may have ended this moment.
        let _ = child.kill();
        if self.wait(FUNERAL).is_some() {
            return;
        }
        log::warn!("camera worker {} was killed and is still there: a driver keeps it", self.id());
        if let Some(mut child) = self.child.take() {
            let waiter = std::thread::Builder::new().name("worker-funeral".into());
            // Without a thread, the dead process keeps its number until perch ends; nothing else is lost.
            let _ = waiter.spawn(move || child.wait());
        }
    }
}

fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(libc::SIGABRT)) => "it aborted".to_owned(),
        (None, Some(libc::SIGSEGV)) => "it crashed (SIGSEGV)".to_owned(),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
    }
}
