//! A device that encodes: pictures go into its input queue, coded pictures come out of its coded queue
//! ([Memory-to-Memory Stateful Video Encoder Interface](https://docs.kernel.org/userspace-api/media/v4l/dev-encoder.html)).
//!
//! Here it is set up; `m2m_queues` moves the buffers. When to give which picture, how long to wait and what an encoder's oddities mean is
//! [`encode`](crate::encode)'s.

use std::io;
use std::path::Path;

use v4l::v4l_sys::*;

use super::buffer::{Memory, map, request_buffers};
use super::controls::Controls;
use super::device::{NegotiatedFormat, WishedFormat};
use super::formats::Rate;
use super::m2m_queues::M2mQueues;
use super::node::{DeviceError, Node, Queue};
use crate::media::dma_buf::Mapping;

/// An open encoder that has not been started.
#[derive(Debug)]
pub struct M2mDevice {
    node: Node,
    multi_planar: bool,
}

/// Where pictures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputMemory {
    /// They are lent as dma-bufs.
    DmaBuf,
    /// They are copied into the encoder's own buffers.
    Copied,
}

impl M2mDevice {
    /// Opens the device node and checks that it converts memory to memory.
    ///
    /// # Errors
    /// When it cannot be opened or does something else. The message says what to do.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let node = Node::open(path)?;
        if !node.can(V4L2_CAP_VIDEO_M2M | V4L2_CAP_VIDEO_M2M_MPLANE) || !node.can(V4L2_CAP_STREAMING) {
            return Err(node.problem("it does not encode"));
        }
        let multi_planar = !node.can(V4L2_CAP_VIDEO_M2M);
        Ok(Self { node, multi_planar })
    }

    pub(super) const fn node(&self) -> &Node {
        &self.node
    }

    pub(super) const fn input(&self) -> Queue {
        Queue::Output { multi_planar: self.multi_planar }
    }

    pub(super) const fn coded(&self) -> Queue {
        Queue::Capture { multi_planar: self.multi_planar }
    }

    /// The device node.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.node.path()
    }

    /// The device's name.
    #[must_use]
    pub fn card(&self) -> &str {
        self.node.card()
    }

    /// The driver's name.
    #[must_use]
    pub fn driver(&self) -> &str {
        self.node.driver()
    }

    /// Whether its driver speaks the multi-planar form.
    #[must_use]
    pub const fn is_multi_planar(&self) -> bool {
        self.multi_planar
    }

    /// Formats of pictures that it takes.
    #[must_use]
    pub fn input_formats(&self) -> Vec<[u8; 4]> {
        self.node.formats(self.input()).into_iter().map(|format| format.fourcc).collect()
    }

    /// Formats that it makes.
    #[must_use]
    pub fn coded_formats(&self) -> Vec<[u8; 4]> {
        self.node.formats(self.coded()).into_iter().map(|format| format.fourcc).collect()
    }

    /// What can be set on it.
    #[must_use]
    pub const fn controls(&self) -> Controls<'_> {
        Controls::new(&self.node)
    }

    /// Sets the format of what comes out, of `size` pixels, into buffers of at least `buffer_bytes`. To be done before
    /// the input's: the driver may reset that.
    ///
    /// # Errors
    /// When the driver refuses, for instance because another program uses the device.
    pub fn set_coded_format(
        &self,
        fourcc: [u8; 4],
        size: (usize, usize),
        buffer_bytes: usize,
    ) -> Result<NegotiatedFormat, DeviceError> {
        self.node.set_format(self.coded(), WishedFormat { fourcc, size, stride: 0, size_bytes: buffer_bytes })
    }

    /// Sets the format of the pictures, whose rows are `stride` bytes apart and which take `size_bytes`. The driver may
    /// change what it cannot do: look at what comes back.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn set_input_format(
        &self,
        fourcc: [u8; 4],
        size: (usize, usize),
        stride: usize,
        size_bytes: usize,
    ) -> Result<NegotiatedFormat, DeviceError> {
        self.node.set_format(self.input(), WishedFormat { fourcc, size, stride, size_bytes })
    }

    /// Says how often pictures come; `None` if the driver does not want to know.
    #[must_use]
    pub fn set_rate(&self, rate: Rate) -> Option<Rate> {
        self.node.set_rate(self.input(), rate)
    }

    /// Allocates buffers. `input_count` and `coded_count` are wishes; the driver may give more.
    ///
    /// # Errors
    /// When the driver refuses the kind of memory or is out of it.
    pub fn allocate(self, memory: InputMemory, input_count: u32, coded_count: u32) -> Result<M2mQueues, DeviceError> {
        let (input_count, inputs, coded) = self.buffers(memory, input_count, coded_count)?;
        Ok(M2mQueues::new(self, memory, input_count, inputs, coded))
    }

    fn buffers(
        &self,
        memory: InputMemory,
        input_count: u32,
        coded_count: u32,
    ) -> Result<(u32, Vec<Mapping>, Vec<Mapping>), DeviceError> {
        let node = &self.node;
        let failed = |error| node.error("allocate buffers", &error);
        let (input_count, inputs) = match memory {
            InputMemory::DmaBuf => {
                (request_buffers(node, self.input(), Memory::DmaBuf, input_count).map_err(failed)?, Vec::new())
            }
            InputMemory::Copied => {
                let count = request_buffers(node, self.input(), Memory::Mmap, input_count).map_err(failed)?;
                let maps: io::Result<Vec<_>> = (0..count).map(|index| map(node, self.input(), index, true)).collect();
                (count, maps.map_err(failed)?)
            }
        };
        let coded_count = request_buffers(node, self.coded(), Memory::Mmap, coded_count).map_err(failed)?;
        let coded: io::Result<Vec<_>> = (0..coded_count).map(|index| map(node, self.coded(), index, false)).collect();
        if input_count == 0 || coded_count == 0 {
            return Err(node.problem("it gives no buffers"));
        }
        Ok((input_count, inputs, coded.map_err(failed)?))
    }
}
