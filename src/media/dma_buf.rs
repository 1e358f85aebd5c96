//! Memory that devices share by descriptor: a dma-buf
//! (<https://docs.kernel.org/driver-api/dma-buf.html>).
//!
//! A picture in a dma-buf goes from a camera's queue to an encoder's without the CPU seeing a pixel. Where the CPU
//! does read it, caches have to be told before and after ([`CpuRead`]): without that, a picture may show stripes of
//! the one before.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::OnceLock;

/// Where a frame's memory, or one plane of it, lies in a dma-buf. Two planes may lie in the same one.
#[derive(Clone, Copy, Debug)]
pub struct DmaBuf<'a> {
    /// The descriptor, owned by the frame.
    pub fd: BorrowedFd<'a>,
    /// First byte, from the start of the dma-buf.
    pub offset: usize,
    /// Length in bytes.
    pub length: usize,
}

/// `DMA_BUF_IOCTL_SYNC`: `_IOW('b', 0, struct dma_buf_sync)`, which is one `__u64`.
const DMA_BUF_IOCTL_SYNC: u64 = (1 << 30) | (8 << 16) | ((b'b' as u64) << 8);
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 1 << 2;

/// Tells the kernel that the CPU begins to read (`is_end` is false) or has finished reading `fd`.
///
/// # Errors
/// When `fd` is no dma-buf, or its device is gone.
fn sync_read(fd: BorrowedFd<'_>, is_end: bool) -> io::Result<()> {
    let flags: u64 = SYNC_READ | if is_end { SYNC_END } else { 0 };
    loop {
        // SAFETY: DMA_BUF_IOCTL_SYNC reads one `struct dma_buf_sync`, a `__u64` of flags; `fd` is open while borrowed.
        // `as _`: the request's type differs between C libraries.
        if unsafe { libc::ioctl(fd.as_raw_fd(), DMA_BUF_IOCTL_SYNC as _, &raw const flags) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            // The kernel asks to try again for both.
            error if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
            error => return Err(error),
        }
    }
}

/// One frame's access by the CPU: begun by the first who reads, ended when the frame is dropped.
///
/// Reading a picture twice, or from two threads, is one access. A picture that nobody reads costs nothing.
#[derive(Debug, Default)]
pub struct CpuRead(OnceLock<bool>);

impl CpuRead {
    /// Call before the CPU reads.
    pub fn begin(&self, fd: BorrowedFd<'_>) {
        // A refusal means that there is nothing to synchronise with.
        self.0.get_or_init(|| sync_read(fd, false).is_ok());
    }

    /// Call when the frame is dropped.
    pub fn end(&self, fd: BorrowedFd<'_>) {
        if self.has_begun() {
            let _ = sync_read(fd, true);
        }
    }

    /// Whether the CPU has read the frame.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.0.get().copied().unwrap_or(false)
    }
}

/// Shared memory in our address space, to be read, and written only where its owner may.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is plain memory at a fixed address until it is dropped, and it is written only through `&mut`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `length` bytes of `fd` from `offset` on, writable if the descriptor allows and `writable` says so.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(fd: BorrowedFd<'_>, offset: u64, length: usize, writable: bool) -> io::Result<Self> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let offset = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: a new shared mapping at an address of the kernel's choice; nothing of ours lies there.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, length })
    }

    /// Length in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The bytes. A device must not be writing to them.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `length` bytes long and lives as long as `self`. Whoever lends it out (a queue's
        // lease) holds the device's buffer meanwhile, so that the device does not write.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The bytes to be written. The mapping must have been made writable.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; `&mut self` makes this the only reference on our side.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::FromRawFd;
    use std::os::fd::{AsFd as _, OwnedFd};

    /// Anonymous memory behind a descriptor: everything of a dma-buf but its caches.
    fn memory_of(bytes: &[u8]) -> OwnedFd {
        // SAFETY: the name is a C string; the descriptor is new and ours.
        let mut file = unsafe { File::from_raw_fd(libc::memfd_create(c"perch-test".as_ptr(), libc::MFD_CLOEXEC)) };
        file.write_all(bytes).unwrap();
        file.into()
    }

    #[test]
    fn what_is_no_dma_buf_cannot_be_synchronised_and_is_read_all_the_same() {
        let fd = memory_of(&[1; 8]);
        let read = CpuRead::default();
        read.begin(fd.as_fd());
        assert!(!read.has_begun());
        read.end(fd.as_fd());
    }
}
