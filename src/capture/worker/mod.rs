//! Cameras in a child process, because what drives them may abort.
//!
//! libcamera is C++ that ends the process on some hot-plug paths, and never returns what was in flight when a
//! camera is pulled out. So it runs in a worker: perch starts itself once more, and the two share the camera's
//! buffers. Descriptors, times and settings cross a socket; pixels do not.
//!
//! ```text
//!   perch                                    perch camera-worker
//!   WorkerSource ── hello, open(settings) ──►  serve ── WorkerBackend (libcamera, the test picture)
//!        ▲       ◄─ hello, opened, buffer + dma-buf ×N ─┤
//!        │       ◄──────── frame(number, time) ─────────┤
//!   Frame dropped ─────── release(number) ─────────────►┤
//!   controls() ────────── describe, change ────────────►┤
//!             ◄────────── controls, changed ────────────┘
//! ```
//!
//! The worker ends when its socket closes, and dies with the thread that started it. Whatever happens to it is a
//! [`CaptureError`](super::CaptureError) here; opening another is the supervisor's affair.

mod channel;
mod memory;
mod message;
mod process;
mod serve;
mod source;
mod test_backend;

pub use message::{CameraInfo, Layout};
pub use process::{Backend, WorkerCommand};
pub use serve::{Captured, LendingCamera, Waker, WorkerBackend, serve};
pub use source::{WorkerSource, list};
pub use test_backend::TestBackend;

/// Is this process's whole life where it was started as `perch camera-worker --backend NAME`: serves the perch at
/// the other end of standard input until that closes.
///
/// # Errors
/// When standard input is no such socket, or what comes from it makes no sense.
pub fn run(backend: Backend) -> Result<(), String> {
    serve(|| match backend {
        Backend::Test => Ok(Box::new(TestBackend) as Box<dyn WorkerBackend>),
        Backend::Libcamera => super::libcamera_backend(),
    })
}
