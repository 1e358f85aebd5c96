//! One buffer as the kernel sees it, in the single- and the multi-planar form.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::ioctl::{ioctl, zeroed};
use super::node::{Node, Queue};
use crate::media::dma_buf::Mapping;

/// Where a buffer's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The driver allocates it; it can be mapped and exported.
    Mmap,
    /// Somebody else's dma-buf is lent to the driver.
    DmaBuf,
}

impl Memory {
    const fn raw(self) -> u32 {
        match self {
            Self::Mmap => v4l2_memory_V4L2_MEMORY_MMAP,
            Self::DmaBuf => v4l2_memory_V4L2_MEMORY_DMABUF,
        }
    }
}

/// `struct v4l2_buffer` and its only plane.
///
/// The formats that perch uses (NV12, YU12, YUYV, MJPEG, H.264) lie in one piece of memory also where the driver speaks
/// the multi-planar form. Formats whose planes are apart (`NM12`) are refused when the format is set.
pub(super) struct Buffer {
    raw: v4l2_buffer,
    plane: v4l2_plane,
    queue: Queue,
}

impl Buffer {
    pub(super) fn new(queue: Queue, memory: Memory, index: u32) -> Self {
        // SAFETY: plain C structures of numbers and of unions of numbers and pointers; null pointers are valid.
        let (mut raw, plane): (v4l2_buffer, v4l2_plane) = unsafe { (zeroed(), zeroed()) };
        raw.index = index;
        raw.type_ = queue.buffer_type();
        raw.memory = memory.raw();
        raw.field = v4l2_field_V4L2_FIELD_NONE;
        Self { raw, plane, queue }
    }

    /// Calls one of the requests that take a `struct v4l2_buffer`.
    fn call(&mut self, fd: BorrowedFd<'_>, request: vidioc::_IOC_TYPE) -> io::Result<()> {
        if self.queue.is_multi_planar() {
            self.raw.length = 1;
            self.raw.m.planes = &raw mut self.plane;
        }
        // SAFETY: all callers pass a request for `struct v4l2_buffer`. Where the kernel follows `planes`, it points to
        // one plane, as `length` says, that lives as long as `self`.
        unsafe { ioctl(fd, request, &mut self.raw) }
    }

    /// Asks the driver where the buffer's memory lies.
    pub(super) fn query(&mut self, node: &Node) -> io::Result<()> {
        self.call(node.fd(), vidioc::VIDIOC_QUERYBUF)
    }

    /// Gives the buffer to the driver.
    pub(super) fn enqueue(&mut self, node: &Node) -> io::Result<()> {
        self.call(node.fd(), vidioc::VIDIOC_QBUF)
    }

    /// Takes a finished buffer from the driver; `None` if there is none yet.
    pub(super) fn dequeue(queue: Queue, memory: Memory, node: &Node) -> io::Result<Option<Self>> {
        let mut buffer = Self::new(queue, memory, 0);
        match buffer.call(node.fd(), vidioc::VIDIOC_DQBUF) {
            Ok(()) => Ok(Some(buffer)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) const fn index(&self) -> u32 {
        self.raw.index
    }

    pub(super) const fn has_flag(&self, flag: u32) -> bool {
        self.raw.flags & flag != 0
    }

    pub(super) const fn flags(&self) -> u32 {
        self.raw.flags
    }

    #[cfg(test)]
    pub(super) const fn set_flags(&mut self, flags: u32) {
        self.raw.flags = flags;
    }

    /// Bytes that count, from [`data_offset`](Self::data_offset) on.
    pub(super) const fn data_length(&self) -> usize {
        let used = if self.queue.is_multi_planar() { self.plane.bytesused } else { self.raw.bytesused };
        (used as usize).saturating_sub(self.data_offset())
    }

    /// Where the bytes that count begin.
    pub(super) const fn data_offset(&self) -> usize {
        if self.queue.is_multi_planar() { self.plane.data_offset as usize } else { 0 }
    }

    pub(super) const fn set_bytes_used(&mut self, bytes: u32) {
        if self.queue.is_multi_planar() {
            self.plane.bytesused = bytes;
        } else {
            self.raw.bytesused = bytes;
        }
    }

    /// Lends the driver the dma-buf `fd`, of `length` bytes.
    pub(super) fn set_dma_buf(&mut self, fd: BorrowedFd<'_>, length: u32) {
        if self.queue.is_multi_planar() {
            self.plane.m.fd = fd.as_raw_fd();
            self.plane.length = length;
        } else {
            self.raw.m.fd = fd.as_raw_fd();
            self.raw.length = length;
        }
    }

    /// The time that travels with the buffer, in microseconds.
    pub(super) const fn time_us(&self) -> Option<u64> {
        let time = self.raw.timestamp;
        if time.tv_sec < 0 || time.tv_usec < 0 {
            return None;
        }
        Some((time.tv_sec as u64).saturating_mul(1_000_000).saturating_add(time.tv_usec as u64))
    }

    pub(super) fn set_time_us(&mut self, time_us: u64) {
        self.raw.timestamp.tv_sec = libc::time_t::try_from(time_us / 1_000_000).unwrap_or(libc::time_t::MAX);
        self.raw.timestamp.tv_usec = libc::suseconds_t::try_from(time_us % 1_000_000).unwrap_or(0);
    }

    /// Offset and length for `mmap`, after a [`query`](Self::query).
    const fn place(&self) -> (u32, usize) {
        // SAFETY: `query` filled the member that belongs to the memory type MMAP, which is the only one that is mapped.
        // All members are plain numbers in any case.
        unsafe {
            if self.queue.is_multi_planar() {
                (self.plane.m.mem_offset, self.plane.length as usize)
            } else {
                (self.raw.m.offset, self.raw.length as usize)
            }
        }
    }
}

/// Asks for `count` buffers; returns how many the driver gives. 0 gives them all back.
pub(super) fn request_buffers(node: &Node, queue: Queue, memory: Memory, count: u32) -> io::Result<u32> {
    // SAFETY: a plain C structure of numbers.
    let mut request: v4l2_requestbuffers = unsafe { zeroed() };
    request.count = count;
    request.type_ = queue.buffer_type();
    request.memory = memory.raw();
    // SAFETY: the structure that VIDIOC_REQBUFS reads and fills.
    unsafe { ioctl(node.fd(), vidioc::VIDIOC_REQBUFS, &mut request) }?;
    Ok(request.count)
}

/// Maps one of the driver's buffers.
pub(super) fn map(node: &Node, queue: Queue, index: u32, writable: bool) -> io::Result<Mapping> {
    let mut buffer = Buffer::new(queue, Memory::Mmap, index);
    buffer.query(node)?;
    let (offset, length) = buffer.place();
    Mapping::new(node.fd(), offset.into(), length, writable)
}

/// One of the driver's buffers as a dma-buf (`VIDIOC_EXPBUF`).
pub(super) fn export(node: &Node, queue: Queue, index: u32) -> io::Result<OwnedFd> {
    // SAFETY: a plain C structure of numbers.
    let mut request: v4l2_exportbuffer = unsafe { zeroed() };
    request.type_ = queue.buffer_type();
    request.index = index;
    // Devices read and write; the CPU maps what it needs by itself.
    request.flags = (libc::O_CLOEXEC | libc::O_RDWR).cast_unsigned();
    // SAFETY: the structure that VIDIOC_EXPBUF reads and fills.
    unsafe { ioctl(node.fd(), vidioc::VIDIOC_EXPBUF, &mut request) }?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(request.fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTI: Queue = Queue::Output { multi_planar: true };
    const SINGLE: Queue = Queue::Output { multi_planar: false };

    #[test]
    fn both_forms_carry_length_offset_and_time() {
        for queue in [MULTI, SINGLE] {
            let mut buffer = Buffer::new(queue, Memory::DmaBuf, 3);
            buffer.set_bytes_used(100);
            buffer.set_time_us(7_000_005);
            assert_eq!((buffer.index(), buffer.data_length(), buffer.data_offset()), (3, 100, 0));
            assert_eq!(buffer.time_us(), Some(7_000_005));
        }
        let mut buffer = Buffer::new(MULTI, Memory::Mmap, 0);
        buffer.plane.bytesused = 100;
        buffer.plane.data_offset = 20;
        assert_eq!((buffer.data_offset(), buffer.data_length()), (20, 80), "the kernel counts the offset in");
    }

    #[test]
    fn a_time_before_the_clock_began_is_none() {
        let mut buffer = Buffer::new(SINGLE, Memory::Mmap, 0);
        buffer.raw.timestamp.tv_sec = -1;
        assert_eq!(buffer.time_us(), None);
    }
}
