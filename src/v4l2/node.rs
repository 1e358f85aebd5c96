//! A device node: what it is and what is said when the kernel refuses something.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::ioctl::{ioctl, zeroed};

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct DeviceError {
    pub(super) path: PathBuf,
    pub(super) problem: String,
    /// What the kernel said, if it was asked.
    pub errno: Option<i32>,
}

/// Which queue of a device, and in which of V4L2's two forms. Drivers have one or the other form; the pictures are
/// the same ([Single- and multi-planar APIs](https://docs.kernel.org/userspace-api/media/v4l/planar-apis.html)).
///
/// On a device that converts memory to memory, `Output` is what the program puts *out* to the device: an encoder's
/// **input**. `Capture` is what comes back: the coded picture. This is the only place where that is said; everywhere
/// else they are called the input and the coded queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Capture { multi_planar: bool },
    Output { multi_planar: bool },
}

impl Queue {
    /// The kernel's `enum v4l2_buf_type`.
    pub(super) const fn buffer_type(self) -> u32 {
        match self {
            Self::Capture { multi_planar: false } => v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE,
            Self::Capture { multi_planar: true } => v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE,
            Self::Output { multi_planar: false } => v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_OUTPUT,
            Self::Output { multi_planar: true } => v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE,
        }
    }

    pub(super) const fn is_multi_planar(self) -> bool {
        matches!(self, Self::Capture { multi_planar: true } | Self::Output { multi_planar: true })
    }
}

/// An open device node of whatever kind.
#[derive(Debug)]
pub(super) struct Node {
    path: PathBuf,
    file: File,
    driver: String,
    card: String,
    capabilities: u32,
}

impl Node {
    pub(super) fn open(path: &Path) -> Result<Self, DeviceError> {
        let problem = |problem: String, errno| DeviceError { path: path.to_owned(), problem, errno };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(|error| problem(explain(&error), error.raw_os_error()))?;
        // SAFETY: a plain C structure of numbers and arrays.
        let mut capability: v4l2_capability = unsafe { zeroed() };
        // SAFETY: the structure that VIDIOC_QUERYCAP fills.
        unsafe { ioctl(file.as_fd(), vidioc::VIDIOC_QUERYCAP, &mut capability) }
            .map_err(|error| problem("it is not a video device".into(), error.raw_os_error()))?;
        let capabilities = match capability.capabilities {
            // What the device can do in all, and what this node of it can.
            all if all & V4L2_CAP_DEVICE_CAPS != 0 => capability.device_caps,
            all => all,
        };
        let (driver, card) = (text(&capability.driver), text(&capability.card));
        Ok(Self { path: path.to_owned(), file, driver, card, capabilities })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn driver(&self) -> &str {
        &self.driver
    }

    pub(super) fn card(&self) -> &str {
        &self.card
    }

    pub(super) const fn can(&self, any_of: u32) -> bool {
        self.capabilities & any_of != 0
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// An error of this device, in words.
    pub(super) fn problem(&self, problem: impl Into<String>) -> DeviceError {
        DeviceError { path: self.path.clone(), problem: problem.into(), errno: None }
    }

    /// What the kernel refused.
    pub(super) fn error(&self, doing: &str, error: &io::Error) -> DeviceError {
        let problem = format!("cannot {doing}: {}", explain(error));
        DeviceError { path: self.path.clone(), problem, errno: error.raw_os_error() }
    }

    /// Starts or stops a queue.
    pub(super) fn stream(&self, queue: Queue, is_on: bool) -> io::Result<()> {
        let mut kind = queue.buffer_type();
        let request = if is_on { vidioc::VIDIOC_STREAMON } else { vidioc::VIDIOC_STREAMOFF };
        // SAFETY: both requests read one int, the buffer type.
        unsafe { ioctl(self.fd(), request, &mut kind) }
    }
}

/// A C string that may fill its array.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

/// An error of the kernel with what to do about it.
pub(super) fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            "another program is using it: stop that one first (`fuser -v` on the device names it)".into()
        }
        Some(libc::EACCES | libc::EPERM) => "no permission: add the user to the group video, then log in again".into(),
        Some(libc::ENOENT) => "there is no such device: is the camera plugged in?".into(),
        Some(libc::ENODEV | libc::ENXIO) => "the camera is gone".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_is_named_with_a_question() {
        let error = Node::open(Path::new("/dev/video-none")).unwrap_err().to_string();
        assert_eq!(error, "/dev/video-none: there is no such device: is the camera plugged in?");
    }

    #[test]
    fn a_node_that_is_no_video_device_says_so() {
        let error = Node::open(Path::new("/dev/null")).unwrap_err().to_string();
        assert_eq!(error, "/dev/null: it is not a video device");
    }

    #[test]
    fn a_busy_device_and_a_missing_right_come_with_advice() {
        assert!(explain(&io::Error::from_raw_os_error(libc::EBUSY)).contains("another program"));
        assert!(explain(&io::Error::from_raw_os_error(libc::EACCES)).contains("group video"));
    }

    #[test]
    fn driver_text_ends_at_its_zero_or_its_array() {
        assert_eq!((text(b"uvcvideo\0\0junk"), text(b"full")), ("uvcvideo".into(), "full".into()));
    }
}
