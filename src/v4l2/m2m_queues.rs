//! An encoder's two queues: pictures are put into one, and coded pictures taken from the other.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::buffer::{Buffer, Memory};
use super::events::Event;
use super::ioctl::{ioctl, zeroed};
use super::m2m::{InputMemory, M2mDevice};
use crate::base::poll::{Readiness, wait_readable};
use crate::media::dma_buf::{DmaBuf, Mapping};

/// A coded picture as it came from the driver.
#[derive(Clone, Copy, Debug)]
pub struct Coded<'a> {
    /// The bytes; none if the encoder skipped a picture, or says with the last buffer that there is no more.
    pub data: &'a [u8],
    /// The time that was given with the picture, in microseconds.
    pub time_us: u64,
    /// The driver calls it a keyframe.
    pub is_keyframe: bool,
    /// The driver calls its contents damaged.
    pub is_damaged: bool,
    /// No more come until the queues are started again.
    pub is_last: bool,
}

/// A place in the input queue that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputPlace(u32);

/// An encoder's two queues and their buffers.
pub struct M2mQueues {
    device: M2mDevice,
    memory: InputMemory,
    /// The driver's input buffers, where pictures are copied.
    inputs: Vec<Mapping>,
    coded: Vec<Mapping>,
    places: Vec<Place>,
}

/// One index of the input queue.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The descriptor that was last queued here.
    fd: i32,
    /// Whether the driver has it.
    is_lent: bool,
}

impl M2mQueues {
    pub(super) fn new(
        device: M2mDevice,
        memory: InputMemory,
        input_count: u32,
        inputs: Vec<Mapping>,
        coded: Vec<Mapping>,
    ) -> Self {
        let places = vec![Place { fd: -1, is_lent: false }; input_count as usize];
        Self { device, memory, inputs, coded, places }
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &M2mDevice {
        &self.device
    }

    /// Where pictures come from.
    #[must_use]
    pub const fn memory(&self) -> InputMemory {
        self.memory
    }

    /// Gives the driver all coded buffers and starts both queues.
    ///
    /// # Errors
    /// When the driver refuses, for instance because the level is too low for size and rate.
    pub fn start(&mut self) -> io::Result<()> {
        for index in 0..self.coded.len() {
            self.enqueue_coded(u32::try_from(index).unwrap_or(u32::MAX))?;
        }
        self.device.node().stream(self.device.input(), true)?;
        self.device.node().stream(self.device.coded(), true)
    }

    /// Stops both queues; what is in them is forgotten, and the next picture after a start is a keyframe.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn stop(&mut self) -> io::Result<()> {
        self.places.iter_mut().for_each(|place| place.is_lent = false);
        let input = self.device.node().stream(self.device.input(), false);
        self.device.node().stream(self.device.coded(), false).and(input)
    }

    fn enqueue_coded(&self, index: u32) -> io::Result<()> {
        Buffer::new(self.device.coded(), Memory::Mmap, index).enqueue(self.device.node())
    }

    /// A place for the next picture, if the driver has given one back. For a picture in a dma-buf, the place where it
    /// was before: the driver keeps what it knows of a dma-buf by place, and looking at another one takes time.
    #[must_use]
    pub fn free_place(&self, picture: Option<DmaBuf<'_>>) -> Option<InputPlace> {
        let fd = picture.map_or(-1, |picture| picture.fd.as_raw_fd());
        let free = |wanted: i32| self.places.iter().position(|place| !place.is_lent && place.fd == wanted);
        let any = || self.places.iter().position(|place| !place.is_lent);
        let index = free(fd).or_else(|| free(-1)).or_else(any)?;
        u32::try_from(index).ok().map(InputPlace)
    }

    /// Lends the driver a picture of `used` bytes in a dma-buf of at least `picture.length`, which must not be less than
    /// the driver's own idea of a picture. The picture must stay as it is until its place is given back.
    ///
    /// # Errors
    /// When the dma-buf is too small or the driver cannot read such memory.
    pub fn enqueue_dma_buf(
        &mut self,
        place: InputPlace,
        picture: DmaBuf<'_>,
        used: usize,
        time_us: u64,
    ) -> io::Result<()> {
        let number = |bytes: usize| u32::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput);
        let mut buffer = Buffer::new(self.device.input(), Memory::DmaBuf, place.0);
        buffer.set_dma_buf(picture.fd, number(picture.length)?);
        buffer.set_bytes_used(number(used)?);
        self.enqueue_input(place, buffer, time_us, picture.fd.as_raw_fd())
    }

    /// Has `fill` write a picture of `length` bytes into the driver's own buffer, and gives it to the driver.
    ///
    /// # Errors
    /// When the buffer is too small, or the driver refuses.
    pub fn enqueue_copy(
        &mut self,
        place: InputPlace,
        length: usize,
        time_us: u64,
        fill: impl FnOnce(&mut [u8]),
    ) -> io::Result<()> {
        let mapping = self.inputs.get_mut(place.0 as usize).ok_or(io::ErrorKind::InvalidInput)?;
        fill(mapping.bytes_mut().get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?);
        let mut buffer = Buffer::new(self.device.input(), Memory::Mmap, place.0);
        buffer.set_bytes_used(u32::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?);
        self.enqueue_input(place, buffer, time_us, -1)
    }

    fn enqueue_input(&mut self, place: InputPlace, mut buffer: Buffer, time_us: u64, fd: i32) -> io::Result<()> {
        buffer.set_time_us(time_us);
        buffer.enqueue(self.device.node())?;
        if let Some(entry) = self.places.get_mut(place.0 as usize) {
            *entry = Place { fd, is_lent: true };
        }
        Ok(())
    }

    /// Takes back one place whose picture the encoder has read; `false` if there is none yet.
    ///
    /// # Errors
    /// When the device is gone or failed.
    pub fn dequeue_input(&mut self) -> io::Result<bool> {
        let memory = match self.memory {
            InputMemory::DmaBuf => Memory::DmaBuf,
            InputMemory::Copied => Memory::Mmap,
        };
        let Some(buffer) = Buffer::dequeue(self.device.input(), memory, self.device.node())? else { return Ok(false) };
        if let Some(place) = self.places.get_mut(buffer.index() as usize) {
            place.is_lent = false;
        }
        Ok(true)
    }

    /// Takes one coded picture, lets `read` look at it, and gives its buffer back; `None` if there is none yet. After
    /// the last one the kernel says `EPIPE`.
    ///
    /// # Errors
    /// When the device is gone or failed, or the stream has ended.
    pub fn dequeue_coded<T>(&mut self, read: impl FnOnce(Coded<'_>) -> T) -> io::Result<Option<T>> {
        let Some(buffer) = Buffer::dequeue(self.device.coded(), Memory::Mmap, self.device.node())? else {
            return Ok(None);
        };
        let mapping = self.coded.get(buffer.index() as usize).ok_or(io::ErrorKind::InvalidData)?;
        let start = buffer.data_offset();
        let data = mapping.bytes().get(start..start.saturating_add(buffer.data_length())).unwrap_or_default();
        let is_last = buffer.has_flag(V4L2_BUF_FLAG_LAST);
        let result = read(Coded {
            data,
            time_us: buffer.time_us().unwrap_or(0),
            is_keyframe: buffer.has_flag(V4L2_BUF_FLAG_KEYFRAME),
            is_damaged: buffer.has_flag(V4L2_BUF_FLAG_ERROR),
            is_last,
        });
        if !is_last {
            self.enqueue_coded(buffer.index())?;
        }
        Ok(Some(result))
    }

    /// Waits up to `timeout` for a coded picture. Drivers may say that there is something when there is not.
    ///
    /// # Errors
    /// When the device is gone.
    pub fn wait(&self, timeout: Duration) -> io::Result<Readiness> {
        wait_readable(self.device.node().fd(), timeout)
    }

    /// Says that no more pictures come (`V4L2_ENC_CMD_STOP`): what was given is still encoded, and then one coded
    /// buffer is the last, empty or not.
    ///
    /// # Errors
    /// When the driver does not know the command.
    pub fn finish(&mut self) -> io::Result<()> {
        // SAFETY: a plain C structure of numbers and a union of such.
        let mut command: v4l2_encoder_cmd = unsafe { zeroed() };
        command.cmd = V4L2_ENC_CMD_STOP;
        // SAFETY: the structure that VIDIOC_ENCODER_CMD reads and fills.
        unsafe { ioctl(self.device.node().fd(), vidioc::VIDIOC_ENCODER_CMD, &mut command) }
    }

    /// Asks to be told of `event`; `false` if this driver never tells.
    #[must_use]
    pub fn subscribe(&self, event: Event) -> bool {
        self.device.node().subscribe(event)
    }

    /// The next event that has not been read yet, if there is one.
    #[must_use]
    pub fn next_event(&self) -> Option<Event> {
        self.device.node().next_event()
    }
}
