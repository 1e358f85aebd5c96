//! A raw picture on its way from a camera to an encoder.
//!
//! A [`Frame`] owns its memory through a lease: dropping the frame gives the memory back to where it
//! came from (a driver's queue, a [`FramePool`]). Frames are therefore moved or shared by `Arc`, never
//! cloned. Where the memory is a dma-buf, the frame says so ([`Frame::dma_buf`]), and an encoder in hardware takes
//! the descriptor instead of the bytes. Converting pixels is `process`'s work.

use std::fmt;

use bytes::Bytes;

use super::dma_buf::DmaBuf;
use crate::base::clock::Timestamp;

mod layout;
mod pool;

pub use layout::{NoSuchChannels, PixelFormat, Plane, hardware_stride, packed_planes, packed_size, strided_planes};
pub use pool::{FramePool, PoolBuffer};

/// Memory that a frame leases. Dropping it gives the memory back.
pub trait FrameMemory: Send + Sync {
    /// All bytes of the buffer, for the CPU to read. Memory that is a dma-buf synchronises here and when it is
    /// dropped; asking for the bytes and not reading them is a waste.
    fn bytes(&self) -> &[u8];

    /// How many bytes the buffer has, without touching them.
    fn length(&self) -> usize {
        self.bytes().len()
    }

    /// All bytes, to be changed. None where they belong to a device, or to somebody else too.
    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        None
    }

    /// The dma-buf that the buffer is, if devices can share it. All planes lie in it.
    fn dma_buf(&self) -> Option<DmaBuf<'_>> {
        None
    }

    /// The bytes to be kept for longer than the frame, if that needs no copy.
    fn shared(&self) -> Option<Bytes> {
        None
    }
}

/// The memory could not hold the picture that was described.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a {width}×{height} {format} frame needs {needed} bytes, the buffer has {available}")]
pub struct FrameTooSmall {
    width: usize,
    height: usize,
    format: PixelFormat,
    needed: usize,
    available: usize,
}

/// One raw picture.
pub struct Frame {
    format: PixelFormat,
    width: usize,
    height: usize,
    captured_at: Timestamp,
    planes: [Plane; 3],
    plane_count: usize,
    memory: Box<dyn FrameMemory>,
    copies: u8,
    is_notice: bool,
    is_oriented: bool,
}

impl Frame {
    /// A frame over `memory`, whose planes lie as `planes` says (1 to 3 of them).
    ///
    /// # Errors
    /// When a plane reaches past the end of the memory, or the number of planes does not fit the format.
    pub fn new(
        format: PixelFormat,
        (width, height): (usize, usize),
        captured_at: Timestamp,
        planes: &[Plane],
        memory: Box<dyn FrameMemory>,
    ) -> Result<Self, FrameTooSmall> {
        let wanted = match format {
            PixelFormat::I420 => 3,
            PixelFormat::Nv12 => 2,
            PixelFormat::Yuyv
            | PixelFormat::Gray8
            | PixelFormat::Bgr24
            | PixelFormat::Rgb24
            | PixelFormat::Bgra
            | PixelFormat::Rgba
            | PixelFormat::Mjpeg
            | PixelFormat::H264 => 1,
        };
        let needed = planes
            .iter()
            .map(|plane| plane.stride.saturating_mul(plane.rows).saturating_add(plane.offset))
            .max()
            .unwrap_or(usize::MAX);
        let available = memory.length();
        if planes.len() != wanted || needed > available {
            return Err(FrameTooSmall { width, height, format, needed, available });
        }
        let mut own = [Plane::default(); 3];
        own[..wanted].copy_from_slice(planes);
        Ok(Self {
            format,
            width,
            height,
            captured_at,
            planes: own,
            plane_count: wanted,
            memory,
            copies: 0,
            is_notice: false,
            is_oriented: false,
        })
    }

    /// A frame whose planes follow each other without padding, as most software makes them.
    ///
    /// # Errors
    /// When the memory is too small for the size and format.
    pub fn packed(
        format: PixelFormat,
        size: (usize, usize),
        captured_at: Timestamp,
        memory: Box<dyn FrameMemory>,
    ) -> Result<Self, FrameTooSmall> {
        let length = memory.length();
        let (planes, count) = packed_planes(format, size, length);
        Self::new(format, size, captured_at, &planes[..count], memory)
    }

    /// The same frame, whose source copied the whole picture once more to make it: [`copies`](Self::copies).
    #[must_use]
    pub fn copied(self) -> Self {
        Self { copies: self.copies.saturating_add(1), ..self }
    }

    /// The same frame, which is no picture of the camera but says something about it: it is shown as it is.
    #[must_use]
    pub fn as_notice(self) -> Self {
        Self { is_notice: true, ..self }
    }

    /// Whether this is no picture of the camera, but says something about it.
    #[must_use]
    pub const fn is_notice(&self) -> bool {
        self.is_notice
    }

    /// The same frame, mirrored and turned already as the owner wants it if `is_oriented`.
    #[must_use]
    pub fn oriented(self, is_oriented: bool) -> Self {
        Self { is_oriented, ..self }
    }

    /// The same picture without an odd last column or row: encoders take none. Nothing is copied.
    #[must_use]
    pub fn even(self) -> Self {
        if self.format.is_compressed() {
            return self;
        }
        Self { width: self.width & !1, height: self.height & !1, ..self }
    }

    /// Whether the camera has mirrored and turned the picture as the owner wants it.
    #[must_use]
    pub const fn is_oriented(&self) -> bool {
        self.is_oriented
    }

    /// How often the source copied the whole picture out of the camera's memory.
    #[must_use]
    pub const fn copies(&self) -> u8 {
        self.copies
    }

    /// The layout of the bytes.
    #[must_use]
    pub const fn format(&self) -> PixelFormat {
        self.format
    }

    /// Width in pixels.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub const fn height(&self) -> usize {
        self.height
    }

    /// When the camera took the picture.
    #[must_use]
    pub const fn captured_at(&self) -> Timestamp {
        self.captured_at
    }

    /// The planes' places: 3 for I420, 2 for NV12, 1 otherwise.
    #[must_use]
    pub fn planes(&self) -> &[Plane] {
        &self.planes[..self.plane_count]
    }

    /// The bytes of plane `index`, rows one stride apart. None of them if the memory is a dma-buf that the kernel does
    /// not let the CPU read.
    ///
    /// # Panics
    /// When the format has no such plane.
    #[must_use]
    pub fn plane(&self, index: usize) -> &[u8] {
        let plane = self.planes()[index];
        self.memory.bytes().get(plane.offset..plane.offset + plane.stride * plane.rows).unwrap_or_default()
    }

    /// The bytes of the whole picture, to be changed: its planes follow each other without padding. None where they
    /// do not, or the memory is not the frame's alone.
    #[must_use]
    pub fn packed_mut(&mut self) -> Option<&mut [u8]> {
        let size = (self.width, self.height);
        let (packed, count) = packed_planes(self.format, size, 0);
        if self.format.is_compressed() || packed[..count] != self.planes[..self.plane_count] {
            return None;
        }
        self.memory.bytes_mut()?.get_mut(..packed_size(self.format, size))
    }

    /// The bytes of plane `index` to be kept for longer than the frame, if that needs no copy.
    ///
    /// # Panics
    /// When the format has no such plane.
    #[must_use]
    pub fn shared_plane(&self, index: usize) -> Option<Bytes> {
        let plane = self.planes()[index];
        let bytes = self.memory.shared()?;
        let end = plane.offset + plane.stride * plane.rows;
        (end <= bytes.len()).then(|| bytes.slice(plane.offset..end))
    }

    /// The dma-buf that holds the whole picture, if it is in one: what a device takes without the CPU's reading it.
    #[must_use]
    pub fn dma_buf(&self) -> Option<DmaBuf<'_>> {
        self.memory.dma_buf()
    }

    /// Where plane `index` lies in the dma-buf, if the picture is in one. Planes share the descriptor.
    ///
    /// # Panics
    /// When the format has no such plane.
    #[must_use]
    pub fn dma_buf_of_plane(&self, index: usize) -> Option<DmaBuf<'_>> {
        let plane = self.planes()[index];
        let whole = self.memory.dma_buf()?;
        Some(DmaBuf { offset: whole.offset + plane.offset, length: plane.stride * plane.rows, ..whole })
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}×{} {} at {:?})", self.width, self.height, self.format, self.captured_at)
    }
}

impl FrameMemory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl FrameMemory for Bytes {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn shared(&self) -> Option<Bytes> {
        Some(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_an_i420_frame_follow_each_other() {
        let bytes: Vec<u8> = (0..24).collect();
        let frame = Frame::packed(PixelFormat::I420, (4, 4), Timestamp::default(), Box::new(bytes)).unwrap();
        assert_eq!(frame.plane(0).len(), 16);
        assert_eq!(frame.plane(1), [16, 17, 18, 19]);
        assert_eq!(frame.plane(2), [20, 21, 22, 23]);
    }

    #[test]
    fn an_odd_last_column_and_row_are_left_out_without_a_copy() {
        let bytes = vec![7; packed_size(PixelFormat::I420, (33, 35))];
        let address = bytes.as_ptr();
        let mut frame =
            Frame::packed(PixelFormat::I420, (33, 35), Timestamp::default(), Box::new(bytes)).unwrap().even();
        assert_eq!((frame.width(), frame.height(), frame.plane(0).as_ptr()), (32, 34, address));
        assert!(frame.packed_mut().is_none(), "its rows are padded now");
        let jpeg = Frame::packed(PixelFormat::Mjpeg, (33, 35), Timestamp::default(), Box::new(vec![0; 9])).unwrap();
        assert_eq!(jpeg.even().width(), 33);
    }

    #[test]
    fn bytes_that_can_be_shared_are_kept_without_a_copy() {
        let bytes = Bytes::from(vec![7; 9]);
        let address = bytes.as_ptr();
        let unit = Frame::packed(PixelFormat::H264, (4, 4), Timestamp::default(), Box::new(bytes)).unwrap();
        let kept = unit.shared_plane(0).unwrap();
        drop(unit);
        assert_eq!((kept.as_ptr(), kept.len()), (address, 9));
        let owned = Frame::packed(PixelFormat::H264, (4, 4), Timestamp::default(), Box::new(vec![7; 9])).unwrap();
        assert_eq!(owned.shared_plane(0), None);
    }

    #[test]
    fn only_packed_memory_of_a_pool_can_be_changed() {
        let pool = FramePool::new(1);
        let mut frame =
            Frame::packed(PixelFormat::I420, (4, 4), Timestamp::default(), Box::new(pool.take(99))).unwrap();
        assert_eq!(frame.packed_mut().map(|bytes| bytes.len()), Some(24));
        let planes = [0, 64, 80].map(|offset| Plane { offset, stride: 8, rows: if offset == 0 { 4 } else { 2 } });
        let memory = Box::new(pool.take(99));
        let mut padded = Frame::new(PixelFormat::I420, (4, 4), Timestamp::default(), &planes, memory).unwrap();
        assert!(padded.packed_mut().is_none());
        let memory = Box::new(vec![0; 24]);
        let mut foreign = Frame::packed(PixelFormat::I420, (4, 4), Timestamp::default(), memory).unwrap();
        assert!(foreign.packed_mut().is_none());
    }

    #[test]
    fn memory_that_is_too_small_is_refused_with_both_sizes() {
        let error = Frame::packed(PixelFormat::I420, (4, 4), Timestamp::default(), Box::new(vec![0; 23])).unwrap_err();
        assert_eq!(error.to_string(), "a 4×4 I420 frame needs 24 bytes, the buffer has 23");
    }
}
