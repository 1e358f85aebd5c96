//! How the bytes of a picture lie in memory: pixel formats, and where each plane is.

use std::fmt;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_round_chroma_up() {
        assert_eq!(packed_size(PixelFormat::I420, (3, 3)), 9 + 4 + 4);
        assert_eq!(packed_size(PixelFormat::Nv12, (3, 3)), 9 + 8);
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
}
