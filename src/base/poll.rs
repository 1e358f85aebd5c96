//! Waiting for a file descriptor with a deadline, which the standard library cannot.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// What a file descriptor has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing happened in time.
    TimedOut,
    /// Reading (or dequeuing a buffer) will not block.
    Readable,
    /// The other side is gone, and nothing is left to read.
    HungUp,
    /// The device reports an error.
    Failed,
}

/// Waits until `fd` can be read, for `timeout` at most (in whole milliseconds, rounded up).
///
/// # Errors
/// When the kernel refuses to wait. An interrupting signal counts as a timeout.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<Readiness> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout_ms = i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
    // SAFETY: `entry` is one valid, writable pollfd, and `fd` is open for as long as it is borrowed.
    let count = unsafe { libc::poll(&raw mut entry, 1, timeout_ms) };
    match count {
        0 => Ok(Readiness::TimedOut),
        1.. if entry.revents & libc::POLLIN != 0 => Ok(Readiness::Readable),
        1.. if entry.revents & libc::POLLHUP != 0 => Ok(Readiness::HungUp),
        1.. => Ok(Readiness::Failed),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Readiness::TimedOut),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_is_silent_then_readable_then_hung_up() {
        let (reader, mut writer) = io::pipe().unwrap();
        let wait = || wait_readable(reader.as_fd(), Duration::from_millis(5)).unwrap();
        assert_eq!(wait(), Readiness::TimedOut);
        writer.write_all(b"x").unwrap();
        assert_eq!(wait(), Readiness::Readable);
        let mut byte = [0];
        io::Read::read_exact(&mut &reader, &mut byte).unwrap();
        drop(writer);
        assert_eq!(wait(), Readiness::HungUp);
    }
}
