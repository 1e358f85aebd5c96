//! A raw picture on its way from a camera to an encoder.
//!
//! A [`Frame`] owns its memory through a lease: dropping the frame gives the memory back to where it
//! came from (a driver's queue, a [`FramePool`]). Frames are therefore moved or shared by `Arc`, never
//! cloned. Where the memory is a dma-buf, the frame says so ([`Frame::dma_buf`]), and an encoder in hardware takes
//! the descriptor instead of the bytes. Converting pixels is `process`'s work.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::dma_buf::DmaBuf;
use crate::base::clock::Timestamp;

/// How the bytes of a frame are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// Planar 4:2:0: Y, then U, then V (V4L2 `YU12`).
    I420,
    /// Semi-planar 4:2:0: Y, then interleaved UV (V4L2 `NV12`).
    Nv12,
    /// Packed 4:2:2: Y0 U Y1 V (V4L2 `YUYV`).
    Yuyv,
    /// One byte per pixel, 0 (black) to 255 (white). This and the next four are for sources of your own.
    Gray8,
    /// Three bytes per pixel: blue, green, red (OpenCV's order).
    Bgr24,
    /// Three bytes per pixel: red, green, blue.
    Rgb24,
    /// Four bytes per pixel: blue, green, red, and one that is not looked at.
    Bgra,
    /// Four bytes per pixel: red, green, blue, and one that is not looked at.
    Rgba,
    /// One JPEG picture per frame (V4L2 `MJPG`); the only plane's bytes are the file.
    Mjpeg,
    /// One H.264 access unit in Annex B form per frame (V4L2 `H264`); the only plane's bytes are the unit.
    H264,
}

impl PixelFormat {
    /// Whether frames of this format are compressed, so that strides say nothing.
    #[must_use]
    pub const fn is_compressed(self) -> bool {
        matches!(self, Self::Mjpeg | Self::H264)
    }

    /// How many channels each pixel has, where each is a byte beside the next.
    #[must_use]
    pub const fn channels(self) -> Option<usize> {
        match self {
            Self::Gray8 => Some(1),
            Self::Bgr24 | Self::Rgb24 => Some(3),
            Self::Bgra | Self::Rgba => Some(4),
            Self::I420 | Self::Nv12 | Self::Yuyv | Self::Mjpeg | Self::H264 => None,
        }
    }

    /// What pixels of so many bytes are, in the order that OpenCV has: grey; blue, green, red; or these with alpha.
    ///
    /// # Errors
    /// When it is another number: such pictures cannot be shown.
    pub const fn with_channels(channels: usize) -> Result<Self, NoSuchChannels> {
        match channels {
            1 => Ok(Self::Gray8),
            3 => Ok(Self::Bgr24),
            4 => Ok(Self::Bgra),
            _ => Err(NoSuchChannels(channels)),
        }
    }
}

/// Pixels have a number of channels that cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a picture of {0} channels cannot be shown: 1 is grey, 3 are blue, green and red, 4 are these and alpha; for other orders \
     name the format"
)]
pub struct NoSuchChannels(pub usize);

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I420 => "I420",
            Self::Nv12 => "NV12",
            Self::Yuyv => "YUYV",
            Self::Gray8 => "GRAY8",
            Self::Bgr24 => "BGR24",
            Self::Rgb24 => "RGB24",
            Self::Bgra => "BGRA",
            Self::Rgba => "RGBA",
            Self::Mjpeg => "MJPEG",
            Self::H264 => "H.264",
        })
    }
}

/// Where one plane lies in the frame's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plane {
    /// First byte, from the start of the memory.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Rows (for compressed formats: 1, the stride being the length in bytes).
    pub rows: usize,
}

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

/// Planes of a picture without padding, and how many of them count. `length` is the length in bytes of a
/// compressed picture and ignored otherwise. Odd sizes round chroma up.
#[must_use]
pub const fn packed_planes(format: PixelFormat, (width, height): (usize, usize), length: usize) -> ([Plane; 3], usize) {
    let none = Plane { offset: 0, stride: 0, rows: 0 };
    let luma = Plane { offset: 0, stride: width, rows: height };
    let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
    match format {
        PixelFormat::I420 => {
            let u = Plane { offset: width * height, stride: chroma_width, rows: chroma_height };
            let v = Plane { offset: u.offset + chroma_width * chroma_height, ..u };
            ([luma, u, v], 3)
        }
        PixelFormat::Nv12 => {
            ([luma, Plane { offset: width * height, stride: chroma_width * 2, rows: chroma_height }, none], 2)
        }
        PixelFormat::Yuyv => ([Plane { offset: 0, stride: chroma_width * 4, rows: height }, none, none], 1),
        PixelFormat::Gray8 => ([luma, none, none], 1),
        PixelFormat::Bgr24 | PixelFormat::Rgb24 => ([Plane { stride: width * 3, ..luma }, none, none], 1),
        PixelFormat::Bgra | PixelFormat::Rgba => ([Plane { stride: width * 4, ..luma }, none, none], 1),
        PixelFormat::Mjpeg | PixelFormat::H264 => ([Plane { offset: 0, stride: length, rows: 1 }, none, none], 1),
    }
}

/// Planes as V4L2 has them in one buffer: chroma follows luma, with a stride that luma's implies
/// ([Planar YUV formats](https://docs.kernel.org/userspace-api/media/v4l/pixfmt-yuv-planar.html)); and how many of them count.
#[must_use]
pub const fn strided_planes(
    format: PixelFormat,
    (width, height): (usize, usize),
    stride: usize,
) -> ([Plane; 3], usize) {
    let none = Plane { offset: 0, stride: 0, rows: 0 };
    let least = if matches!(format, PixelFormat::Yuyv) { width * 2 } else { width };
    // Some drivers leave the field 0.
    let stride = if stride < least { least } else { stride };
    let luma = Plane { offset: 0, stride, rows: height };
    let chroma = Plane { offset: stride * height, stride, rows: height.div_ceil(2) };
    match format {
        PixelFormat::Nv12 => ([luma, chroma, none], 2),
        PixelFormat::I420 => {
            let u = Plane { stride: stride / 2, ..chroma };
            ([luma, u, Plane { offset: u.offset + u.stride * u.rows, ..u }], 3)
        }
        _ => ([luma, none, none], 1),
    }
}

/// Bytes from one row to the next of the first plane that encoders in hardware take: at least the width, and a multiple
/// of what the Raspberry Pi's wants (32 for NV12, 64 for I420 and YUYV; other encoders want no more).
#[must_use]
pub const fn hardware_stride(format: PixelFormat, width: usize) -> usize {
    match format {
        PixelFormat::Yuyv => (width * 2).next_multiple_of(64),
        PixelFormat::Nv12 => width.next_multiple_of(32),
        _ => width.next_multiple_of(64),
    }
}

/// Bytes that an unpadded, uncompressed picture takes; 0 for compressed formats.
#[must_use]
pub const fn packed_size(format: PixelFormat, size: (usize, usize)) -> usize {
    let (planes, count) = packed_planes(format, size, 0);
    let last = planes[count - 1];
    last.offset + last.stride * last.rows
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

/// Buffers that are used again and again, for sources and stages that make pictures in memory.
///
/// Keeps at most `spare` unused buffers; the number in use is bounded by whoever holds the frames.
#[derive(Clone)]
pub struct FramePool(Arc<PoolShared>);

struct PoolShared {
    spare: Mutex<Vec<Vec<u8>>>,
    most_spare: usize,
}

/// A buffer from a [`FramePool`]; dropping it gives it back.
pub struct PoolBuffer {
    bytes: Vec<u8>,
    pool: Arc<PoolShared>,
}

impl FramePool {
    /// A pool that keeps at most `most_spare` unused buffers.
    #[must_use]
    pub fn new(most_spare: usize) -> Self {
        Self(Arc::new(PoolShared { spare: Mutex::new(Vec::with_capacity(most_spare)), most_spare }))
    }

    /// A buffer of exactly `length` bytes. What it holds is left over from its last use.
    #[must_use]
    pub fn take(&self, length: usize) -> PoolBuffer {
        let mut bytes = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        bytes.resize(length, 0);
        PoolBuffer { bytes, pool: Arc::clone(&self.0) }
    }
}

impl std::ops::Deref for PoolBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::DerefMut for PoolBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl FrameMemory for PoolBuffer {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.bytes)
    }
}

impl Drop for PoolBuffer {
    fn drop(&mut self) {
        let mut spare = self.pool.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.pool.most_spare {
            spare.push(std::mem::take(&mut self.bytes));
        }
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
    fn odd_sizes_round_chroma_up() {
        assert_eq!(packed_size(PixelFormat::I420, (3, 3)), 9 + 4 + 4);
        assert_eq!(packed_size(PixelFormat::Nv12, (3, 3)), 9 + 8);
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
    fn only_pixels_of_one_three_and_four_bytes_are_pictures() {
        for (channels, format) in [(1, PixelFormat::Gray8), (3, PixelFormat::Bgr24), (4, PixelFormat::Bgra)] {
            assert_eq!(PixelFormat::with_channels(channels), Ok(format));
            assert_eq!(format.channels(), Some(channels));
            assert_eq!(packed_size(format, (5, 3)), 15 * channels);
        }
        let error = PixelFormat::with_channels(5).unwrap_err().to_string();
        assert!(error.starts_with("a picture of 5 channels cannot be shown: 1 is grey, "), "{error}");
    }

    #[test]
    fn planes_of_a_padded_buffer_lie_behind_each_other() {
        let (planes, count) = strided_planes(PixelFormat::Nv12, (640, 480), 704);
        assert_eq!((count, planes[1]), (2, Plane { offset: 704 * 480, stride: 704, rows: 240 }));
        let (planes, count) = strided_planes(PixelFormat::I420, (640, 480), 0);
        assert_eq!((count, planes[2]), (3, Plane { offset: 640 * 480 * 5 / 4, stride: 320, rows: 240 }));
        let (planes, _) = strided_planes(PixelFormat::Yuyv, (640, 480), 0);
        assert_eq!(planes[0].stride, 1280);
    }

    #[test]
    fn hardware_strides_are_aligned_by_format() {
        assert_eq!((hardware_stride(PixelFormat::Nv12, 1296), hardware_stride(PixelFormat::I420, 1296)), (1312, 1344));
        assert_eq!(hardware_stride(PixelFormat::Yuyv, 1296), 2624);
        assert_eq!(hardware_stride(PixelFormat::Nv12, 1280), 1280);
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

    #[test]
    fn a_dropped_frame_gives_its_buffer_back_to_the_pool() {
        let pool = FramePool::new(2);
        let mut buffer = pool.take(24);
        buffer[0] = 7;
        let address = buffer.as_ptr();
        drop(Frame::packed(PixelFormat::I420, (4, 4), Timestamp::default(), Box::new(buffer)).unwrap());
        let again = pool.take(24);
        assert_eq!((again.as_ptr(), again[0]), (address, 7));
    }
}
