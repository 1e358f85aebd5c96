//! Any picture a camera makes, as limited-range I420: the one layout that every software encoder takes.
//!
//! H.264 does not belong here: it has state, see [`h264_decode`](super::h264_decode).

use yuv::{BufferStoreMut, YuvPackedImage, YuvPlanarImageMut, yuyv422_to_yuv420};

use super::jpeg::{JpegDecoder, JpegError};
use super::rgb::ChannelConverter;
use crate::media::frame::{Frame, FramePool, FrameTooSmall, PixelFormat, PoolBuffer, packed_size};

/// Why a picture could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The JPEG is damaged, too large or of a kind that cameras do not make.
    #[error("cannot decode the camera's JPEG: {0}")]
    Jpeg(#[from] JpegError),
    /// The planes are smaller than the size says.
    #[error(transparent)]
    TooSmall(#[from] FrameTooSmall),
    /// The rows of a plane are shorter than its width.
    #[error("cannot convert a {0} frame: {1}")]
    Layout(PixelFormat, String),
}

/// Converts pictures to I420. Keeps its buffers from one picture to the next.
pub struct Converter {
    pool: FramePool,
    jpeg: JpegDecoder,
    channels: ChannelConverter,
}

impl Converter {
    /// A converter that takes its pictures' memory from `pool`.
    #[must_use]
    pub fn new(pool: FramePool) -> Self {
        Self { jpeg: JpegDecoder::new(pool.clone()), channels: ChannelConverter::default(), pool }
    }

    /// `frame` as I420. An I420 frame is passed through untouched; any other's memory goes back to its camera.
    ///
    /// # Errors
    /// When the picture is damaged or of a format that needs a decoder (H.264).
    pub fn to_i420(&mut self, frame: Frame) -> Result<Frame, ConvertError> {
        if frame.format() == PixelFormat::I420 { Ok(frame) } else { self.i420_of(&frame) }
    }

    /// A copy of `frame` as I420, for when the frame itself is needed as it is.
    ///
    /// # Errors
    /// When the picture is damaged, or of a format that needs no conversion (I420) or a decoder (H.264).
    pub fn i420_of(&mut self, frame: &Frame) -> Result<Frame, ConvertError> {
        match frame.format() {
            PixelFormat::Nv12 => self.nv12_to_i420(frame),
            PixelFormat::Yuyv => self.yuyv_to_i420(frame),
            PixelFormat::Gray8 | PixelFormat::Bgr24 | PixelFormat::Rgb24 | PixelFormat::Bgra | PixelFormat::Rgba => {
                self.channels.i420_of(frame, &self.pool)
            }
            PixelFormat::Mjpeg => Ok(self.jpeg.decode(frame.plane(0), frame.captured_at())?),
            PixelFormat::I420 => Err(ConvertError::Layout(PixelFormat::I420, "it is I420 already".into())),
            PixelFormat::H264 => Err(ConvertError::Layout(PixelFormat::H264, "it has to be decoded first".into())),
        }
    }

    fn nv12_to_i420(&self, frame: &Frame) -> Result<Frame, ConvertError> {
        let (width, height) = (frame.width(), frame.height());
        let (chroma_width, chroma_height) = (width.div_ceil(2), height.div_ceil(2));
        check(frame, 0, width, height)?;
        check(frame, 1, chroma_width * 2, chroma_height)?;
        let mut memory = self.take(frame);
        let [y, u, v] = split(&mut memory, (width, height));
        for (to, from) in y.chunks_exact_mut(width).zip(frame.plane(0).chunks(frame.planes()[0].stride)) {
            to.copy_from_slice(&from[..width]);
        }
        let rows = u.chunks_exact_mut(chroma_width).zip(v.chunks_exact_mut(chroma_width));
        for ((u, v), from) in rows.zip(frame.plane(1).chunks(frame.planes()[1].stride)) {
            // The compiler makes vector instructions of this.
            for ((u, v), &[from_u, from_v]) in u.iter_mut().zip(v).zip(from.as_chunks::<2>().0) {
                (*u, *v) = (from_u, from_v);
            }
        }
        Ok(Frame::packed(PixelFormat::I420, (width, height), frame.captured_at(), Box::new(memory))?)
    }

    fn yuyv_to_i420(&self, frame: &Frame) -> Result<Frame, ConvertError> {
        let (width, height) = (frame.width(), frame.height());
        check(frame, 0, width.div_ceil(2) * 4, height)?;
        let error = |error: &dyn std::fmt::Display| ConvertError::Layout(PixelFormat::Yuyv, error.to_string());
        let side = |side: usize| u32::try_from(side).map_err(|too_large| error(&too_large));
        let mut memory = self.take(frame);
        let [y, u, v] = split(&mut memory, (width, height));
        let stride = frame.planes()[0].stride;
        let packed = YuvPackedImage {
            // Not an odd last row that is left out: the library wants no more than it is told of.
            yuy: &frame.plane(0)[..stride * height],
            yuy_stride: side(stride)?,
            width: side(width)?,
            height: side(height)?,
        };
        let mut planar = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(y),
            y_stride: packed.width,
            u_plane: BufferStoreMut::Borrowed(u),
            u_stride: packed.width.div_ceil(2),
            v_plane: BufferStoreMut::Borrowed(v),
            v_stride: packed.width.div_ceil(2),
            width: packed.width,
            height: packed.height,
        };
        yuyv422_to_yuv420(&mut planar, &packed).map_err(|cause| error(&cause))?;
        Ok(Frame::packed(PixelFormat::I420, (width, height), frame.captured_at(), Box::new(memory))?)
    }

    fn take(&self, frame: &Frame) -> PoolBuffer {
        self.pool.take(packed_size(PixelFormat::I420, (frame.width(), frame.height())))
    }
}

pub(super) fn check(frame: &Frame, plane: usize, row: usize, rows: usize) -> Result<(), ConvertError> {
    let has = frame.planes()[plane];
    if row == 0 || rows == 0 || has.stride < row || has.rows < rows || frame.plane(plane).is_empty() {
        let problem = format!("plane {plane} has {} rows of {} bytes, {rows} of {row} needed", has.rows, has.stride);
        return Err(ConvertError::Layout(frame.format(), problem));
    }
    Ok(())
}

/// Checks that `frame` is I420 and has all of its pixels.
pub(super) fn require_i420(frame: &Frame) -> Result<(), ConvertError> {
    let (width, height) = (frame.width(), frame.height());
    let format = frame.format();
    if format != PixelFormat::I420 {
        return Err(ConvertError::Layout(format, "only I420 is taken here".into()));
    }
    let chroma = (width.div_ceil(2), height.div_ceil(2));
    for (plane, (row, rows)) in [(width, height), chroma, chroma].into_iter().enumerate() {
        let has = frame.planes()[plane];
        if row == 0 || has.stride < row || has.rows < rows || frame.plane(plane).len() < has.stride * rows.max(1) {
            let problem =
                format!("plane {plane} has {} rows of {} bytes, {rows} of {row} needed", has.rows, has.stride);
            return Err(ConvertError::Layout(format, problem));
        }
    }
    Ok(())
}

/// A copy of the I420 `frame` without padding, in memory from `pool`.
///
/// # Errors
/// When it is no I420, or its planes are smaller than its size says.
pub(super) fn packed_copy(frame: &Frame, pool: &FramePool) -> Result<PoolBuffer, ConvertError> {
    require_i420(frame)?;
    let size = (frame.width(), frame.height());
    let mut memory = pool.take(packed_size(PixelFormat::I420, size));
    let widths = [size.0, size.0.div_ceil(2), size.0.div_ceil(2)];
    for (plane, (to, width)) in split(&mut memory, size).into_iter().zip(widths).enumerate() {
        for (to, from) in to.chunks_exact_mut(width).zip(frame.plane(plane).chunks(frame.planes()[plane].stride)) {
            to.copy_from_slice(&from[..width]);
        }
    }
    Ok(memory)
}

/// The three planes of packed I420 memory.
pub(super) fn split(memory: &mut [u8], (width, height): (usize, usize)) -> [&mut [u8]; 3] {
    let (y, chroma) = memory.split_at_mut(width * height);
    let (u, v) = chroma.split_at_mut(width.div_ceil(2) * height.div_ceil(2));
    [y, u, v]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::Plane;

    const AT: Timestamp = Timestamp::from_nanos(77);

    fn converter() -> Converter {
        Converter::new(FramePool::new(2))
    }

    #[test]
    fn i420_is_not_copied() {
        let frame = Frame::packed(PixelFormat::I420, (4, 4), AT, Box::new(vec![1; 24])).unwrap();
        let address = frame.plane(0).as_ptr();
        assert_eq!(converter().to_i420(frame).unwrap().plane(0).as_ptr(), address);
    }

    #[test]
    fn nv12_with_padded_rows_becomes_packed_i420() {
        let mut bytes = vec![0; 8 * 4 + 8 * 2];
        for row in 0..4 {
            bytes[row * 8..row * 8 + 4].fill(u8::try_from(10 + row).unwrap());
        }
        bytes[32..36].copy_from_slice(&[1, 2, 3, 4]);
        bytes[40..44].copy_from_slice(&[5, 6, 7, 8]);
        let planes = [Plane { offset: 0, stride: 8, rows: 4 }, Plane { offset: 32, stride: 8, rows: 2 }];
        let frame = Frame::new(PixelFormat::Nv12, (4, 4), AT, &planes, Box::new(bytes)).unwrap();
        let frame = converter().to_i420(frame).unwrap();
        assert_eq!(frame.plane(0), [[10; 4], [11; 4], [12; 4], [13; 4]].concat());
        assert_eq!((frame.plane(1), frame.plane(2)), (&[1, 3, 5, 7][..], &[2, 4, 6, 8][..]));
        assert_eq!(frame.captured_at(), AT);
    }

    #[test]
    fn yuyv_with_padded_rows_becomes_i420() {
        let row = [10, 90, 20, 200, 30, 91, 40, 201, 0, 0, 0, 0];
        let planes = [Plane { offset: 0, stride: 12, rows: 4 }];
        let frame = Frame::new(PixelFormat::Yuyv, (4, 4), AT, &planes, Box::new(row.repeat(4))).unwrap();
        let frame = converter().to_i420(frame).unwrap();
        assert_eq!(frame.plane(0), [10, 20, 30, 40].repeat(4));
        assert_eq!((frame.plane(1), frame.plane(2)), (&[90, 91, 90, 91][..], &[200, 201, 200, 201][..]));
        assert_eq!(frame.captured_at(), AT);
    }

    #[test]
    fn rows_shorter_than_the_picture_are_an_error() {
        let planes = [Plane { offset: 0, stride: 4, rows: 4 }];
        let frame = Frame::new(PixelFormat::Yuyv, (4, 4), AT, &planes, Box::new(vec![0; 64])).unwrap();
        assert!(matches!(converter().to_i420(frame), Err(ConvertError::Layout(PixelFormat::Yuyv, _))));
    }

    #[test]
    fn a_damaged_jpeg_is_an_error_with_words() {
        let frame = Frame::packed(PixelFormat::Mjpeg, (4, 4), AT, Box::new(vec![0xff; 40])).unwrap();
        let error = converter().to_i420(frame).unwrap_err().to_string();
        assert!(error.starts_with("cannot decode the camera's JPEG"), "{error}");
    }
}
