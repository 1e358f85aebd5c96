//! A queue of mapped capture buffers, lent out one by one.
//!
//! A [`Lease`] is a filled buffer. Dropping it, on whatever thread, gives the buffer back to the driver. The mappings
//! live as long as the last lease, also when the camera has been unplugged or the queue dropped: then giving back
//! does nothing. Buffers can be exported as dma-bufs, for devices that take pictures by descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use v4l::v4l_sys::*;

use super::buffer::{Buffer, Memory, export, map, request_buffers};
use super::controls::Controls;
use super::device::Device;
use super::node::DeviceError;
use crate::base::clock::Timestamp;
use crate::base::poll::{Readiness, wait_readable};
use crate::media::dma_buf::{CpuRead, DmaBuf, Mapping};
use crate::media::frame::FrameMemory;

/// How long a buffer that is lent out is given to come back.
const LENT_OUT: Duration = Duration::from_millis(5);

/// What became of waiting for a buffer.
pub enum Dequeued {
    /// A picture.
    Filled(Lease),
    /// A buffer whose contents the driver calls damaged; it has gone back.
    Damaged,
    /// None in time.
    TimedOut,
}

/// Why no more buffers come.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct QueueError(#[from] DeviceError);

/// A running capture queue.
pub struct CaptureQueue(Arc<Shared>);

struct Shared {
    device: Device,
    mappings: Vec<Mapping>,
    /// One per buffer, or none at all.
    exported: Vec<OwnedFd>,
    is_streaming: AtomicBool,
    lent: AtomicUsize,
}

impl CaptureQueue {
    /// Allocates `count` buffers (the driver may change the number), maps them, and starts the camera. With
    /// `as_dma_bufs` they are exported too, if the driver can: [`has_dma_bufs`](Self::has_dma_bufs) tells.
    ///
    /// # Errors
    /// When the driver refuses, for instance because another program streams.
    pub fn start(device: Device, count: u32, as_dma_bufs: bool) -> Result<Self, QueueError> {
        let (node, queue) = (device.node(), device.queue());
        let count = request_buffers(node, queue, Memory::Mmap, count)
            .map_err(|error| node.error("allocate buffers", &error))?;
        let mappings: io::Result<Vec<_>> = (0..count).map(|index| map(node, queue, index, true)).collect();
        let mappings = mappings.map_err(|error| node.error("map its buffers", &error))?;
        let exported = if as_dma_bufs {
            let exported: io::Result<Vec<_>> = (0..count).map(|index| export(node, queue, index)).collect();
            exported.inspect_err(|error| log::debug!("{}", node.error("export its buffers", error))).unwrap_or_default()
        } else {
            Vec::new()
        };
        let shared = Arc::new(Shared {
            device,
            mappings,
            exported,
            is_streaming: AtomicBool::new(true),
            lent: AtomicUsize::new(0),
        });
        let node = shared.device.node();
        for index in 0..count {
            shared.enqueue(index).map_err(|error| node.error("queue a buffer", &error))?;
        }
        node.stream(queue, true).map_err(|error| node.error("start it", &error))?;
        Ok(Self(shared))
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Whether buffers are exported as dma-bufs.
    #[must_use]
    pub fn has_dma_bufs(&self) -> bool {
        !self.0.exported.is_empty()
    }

    /// How many buffers are lent out now.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.0.lent.load(Ordering::Relaxed)
    }

    /// What can be set on the camera.
    #[must_use]
    pub fn controls(&self) -> Controls<'_> {
        self.0.device.controls()
    }

    /// Waits up to `timeout` for a filled buffer.
    ///
    /// # Errors
    /// When the camera is gone or failed.
    pub fn dequeue(&self, timeout: Duration) -> Result<Dequeued, QueueError> {
        let node = self.0.device.node();
        let gone = |errno| node.error("get a picture", &io::Error::from_raw_os_error(errno));
        let readiness = wait_readable(node.fd(), timeout).map_err(|error| node.error("wait for a picture", &error))?;
        match readiness {
            Readiness::TimedOut => return Ok(Dequeued::TimedOut),
            Readiness::HungUp => return Err(gone(libc::ENODEV).into()),
            // POLLERR: the driver gave up, or all buffers are lent out. Trying tells which.
            Readiness::Failed | Readiness::Readable => {}
        }
        let buffer = match Buffer::dequeue(self.0.device.queue(), Memory::Mmap, node) {
            Ok(Some(buffer)) => buffer,
            Ok(None) => {
                if readiness == Readiness::Failed {
                    // Waiting does not wait then.
                    thread::sleep(timeout.min(LENT_OUT));
                }
                return Ok(Dequeued::TimedOut);
            }
            Err(error) => return Err(node.error("get a picture", &error).into()),
        };
        let Some(mapping) = self.0.mappings.get(buffer.index() as usize) else {
            return Err(gone(libc::EIO).into());
        };
        let start = buffer.data_offset().min(mapping.length());
        let length = buffer.data_length().min(mapping.length() - start);
        self.0.lent.fetch_add(1, Ordering::Relaxed);
        let lease = Lease {
            shared: Arc::clone(&self.0),
            index: buffer.index(),
            start,
            length,
            captured_at: captured_at(&buffer),
            read: CpuRead::default(),
        };
        if buffer.has_flag(V4L2_BUF_FLAG_ERROR) || length == 0 {
            return Ok(Dequeued::Damaged);
        }
        Ok(Dequeued::Filled(lease))
    }
}

impl Drop for CaptureQueue {
    fn drop(&mut self) {
        self.0.is_streaming.store(false, Ordering::Release);
        let (node, queue) = (self.0.device.node(), self.0.device.queue());
        // A device that is gone refuses both, which is fine.
        let _ = node.stream(queue, false);
        // The memory of buffers that are still lent out stays, but the device is free for whoever opens it next.
        let _ = request_buffers(node, queue, Memory::Mmap, 0);
    }
}

impl Shared {
    fn enqueue(&self, index: u32) -> io::Result<()> {
        Buffer::new(self.device.queue(), Memory::Mmap, index).enqueue(self.device.node())
    }
}

/// A filled buffer.
pub struct Lease {
    shared: Arc<Shared>,
    index: u32,
    start: usize,
    length: usize,
    captured_at: Timestamp,
    read: CpuRead,
}

impl Lease {
    /// When the driver says that the picture was taken; now, if it uses another clock.
    #[must_use]
    pub const fn captured_at(&self) -> Timestamp {
        self.captured_at
    }

    fn exported(&self) -> Option<&OwnedFd> {
        self.shared.exported.get(self.index as usize)
    }
}

impl FrameMemory for Lease {
    fn bytes(&self) -> &[u8] {
        if let Some(fd) = self.exported() {
            self.read.begin(fd.as_fd());
        }
        &self.shared.mappings[self.index as usize].bytes()[self.start..self.start + self.length]
    }

    fn length(&self) -> usize {
        self.length
    }

    fn dma_buf(&self) -> Option<DmaBuf<'_>> {
        Some(DmaBuf { fd: self.exported()?.as_fd(), offset: self.start, length: self.length })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(fd) = self.exported() {
            self.read.end(fd.as_fd());
        }
        if self.shared.is_streaming.load(Ordering::Acquire) {
            // A device that is gone refuses; whoever dequeues next is told.
            let _ = self.shared.enqueue(self.index);
        }
        self.shared.lent.fetch_sub(1, Ordering::Relaxed);
    }
}

fn captured_at(buffer: &Buffer) -> Timestamp {
    let is_our_clock = buffer.flags() & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    match buffer.time_us() {
        Some(time_us) if is_our_clock && time_us != 0 => Timestamp::from_nanos(time_us.saturating_mul(1000)),
        _ => Timestamp::now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v4l2::node::Queue;

    #[test]
    fn the_drivers_time_is_taken_if_it_is_of_our_clock() {
        let mut filled = Buffer::new(Queue::Capture { multi_planar: false }, Memory::Mmap, 0);
        filled.set_time_us(7_000_005);
        filled.set_flags(V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC);
        assert_eq!(captured_at(&filled), Timestamp::from_nanos(7_000_005_000));
        filled.set_flags(0);
        assert!(captured_at(&filled).saturating_since(Timestamp::now()) < Duration::from_secs(1));
        assert_ne!(captured_at(&filled), Timestamp::from_nanos(7_000_005_000));
    }
}
