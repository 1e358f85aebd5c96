//! Memory that perch and its worker share: dma-bufs, and plain shared memory where the kernel has none.
//!
//! Who may touch a buffer when is not decided here: a buffer is the worker's until it sends a `Frame`, and perch's
//! until it sends a `Release`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags, SeekFrom, fcntl_add_seals, fcntl_get_seals, ftruncate, memfd_create, seek};

use crate::media::dma_buf::{CpuRead, DmaBuf, Mapping};

/// A buffer of the worker's, as perch has it.
#[derive(Debug)]
pub struct SharedBuffer {
    descriptor: OwnedFd,
    mapping: Mapping,
    is_dma_buf: bool,
}

impl SharedBuffer {
    /// Maps the first `length` bytes of `descriptor` for reading.
    ///
    /// # Errors
    /// When the memory is shorter than that or might become so, which would kill whoever reads it.
    pub fn map(descriptor: OwnedFd, length: usize) -> io::Result<Self> {
        // Only memory that is no device's has seals.
        let seals = fcntl_get_seals(&descriptor);
        if seals.is_ok_and(|seals| !seals.contains(SealFlags::SHRINK)) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "shared memory that is not sealed may shrink"));
        }
        let size = seek(&descriptor, SeekFrom::End(0))?;
        if length == 0 || size < length as u64 {
            let words = format!("a buffer of {size} bytes where {length} were announced");
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        let mapping = Mapping::new(descriptor.as_fd(), 0, length, false)?;
        Ok(Self { is_dma_buf: seals.is_err(), descriptor, mapping })
    }

    /// How long it is, in bytes.
    pub const fn length(&self) -> usize {
        self.mapping.length()
    }

    /// All bytes; `read` is told that the CPU reads them.
    pub fn bytes(&self, read: &CpuRead) -> &[u8] {
        if self.is_dma_buf {
            read.begin(self.descriptor.as_fd());
        }
        self.mapping.bytes()
    }

    /// Ends what [`bytes`](Self::bytes) began.
    pub fn end(&self, read: &CpuRead) {
        read.end(self.descriptor.as_fd());
    }

    /// The dma-buf that this is, for hardware; `None` for plain memory.
    pub fn dma_buf(&self) -> Option<DmaBuf<'_>> {
        self.is_dma_buf.then(|| DmaBuf { fd: self.descriptor.as_fd(), offset: 0, length: self.length() })
    }
}

/// A buffer of the worker's own making.
#[derive(Debug)]
pub struct OwnBuffer {
    descriptor: OwnedFd,
    mapping: Mapping,
}

impl OwnBuffer {
    /// A buffer of `length` bytes: a dma-buf where the kernel makes them of memory (`/dev/udmabuf`), else memory
    /// that cannot shrink.
    ///
    /// # Errors
    /// When the system is out of memory or descriptors.
    pub fn new(length: usize) -> io::Result<Self> {
        let whole_pages = length.next_multiple_of(rustix::param::page_size()) as u64;
        let memory = memfd_create("perch-buffer", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, whole_pages)?;
        fcntl_add_seals(&memory, SealFlags::SHRINK)?;
        let mapping = Mapping::new(memory.as_fd(), 0, length, true)?;
        let descriptor = udmabuf(&memory, whole_pages).unwrap_or(memory);
        Ok(Self { descriptor, mapping })
    }

    /// All bytes, to write to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.mapping.bytes_mut()
    }

    /// How long it is, in bytes.
    pub const fn length(&self) -> usize {
        self.mapping.length()
    }
}

impl AsFd for OwnBuffer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

// linux/udmabuf.h
const UDMABUF_CREATE: u64 = 0x4018_7542; // _IOW('u', 0x42, struct udmabuf_create)

#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

fn udmabuf(memory: &OwnedFd, size: u64) -> io::Result<OwnedFd> {
    const UDMABUF_FLAGS_CLOEXEC: u32 = 1;
    let device = File::options().read(true).write(true).open("/dev/udmabuf")?;
    let memfd = memory.as_raw_fd().cast_unsigned();
    let create = UdmabufCreate { memfd, flags: UDMABUF_FLAGS_CLOEXEC, offset: 0, size };
    // `as _`: the request's type differs between C libraries.
    // SAFETY: UDMABUF_CREATE reads one udmabuf_create, and both descriptors are open.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), UDMABUF_CREATE as _, &raw const create) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor for us just now, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_draws_the_other_reads() {
        let mut own = OwnBuffer::new(10_000).unwrap();
        let shared = SharedBuffer::map(own.as_fd().try_clone_to_owned().unwrap(), 10_000).unwrap();
        own.bytes_mut().fill(7);
        own.bytes_mut()[9_999] = 9;
        drop(own);
        let read = CpuRead::default();
        let bytes = shared.bytes(&read);
        assert_eq!((bytes.len(), bytes[0], bytes[9_999]), (10_000, 7, 9));
        shared.end(&read);
    }

    #[test]
    fn a_buffer_that_is_too_short_or_may_shrink_is_refused() {
        let own = OwnBuffer::new(4096).unwrap();
        let copy = || own.as_fd().try_clone_to_owned().unwrap();
        for length in [0, 4097, usize::MAX] {
            assert!(SharedBuffer::map(copy(), length).is_err(), "{length}");
        }
        let unsealed = memfd_create("x", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&unsealed, 4096).unwrap();
        assert!(SharedBuffer::map(unsealed, 4096).unwrap_err().to_string().contains("shrink"));
    }

    #[test]
    fn what_is_no_memory_is_refused() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(SharedBuffer::map(reader.into(), 1).is_err());
    }
}
