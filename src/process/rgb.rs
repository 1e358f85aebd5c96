//! Grey, RGB and BGR pictures, with and without alpha, as I420: what OpenCV and other libraries make.
//!
//! All but grey go through rows of BGRA, for which the conversion is at hand ([`colorspace`](super::colorspace) needs it
//! too), in stripes that stay in the cache. Alpha is not looked at: there is nothing behind the picture.

use yuv::{BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix, bgra_to_yuv420};

use super::convert::{ConvertError, check, split};
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};
use crate::media::range::{LUMA_TO_LIMITED, map_row};

/// Rows that are converted at a time.
const STRIPE: usize = 16;
/// Bytes of a pixel of BGRA.
const BGRA: usize = 4;

/// Converts pictures of one to four channels. Keeps its buffer from one picture to the next.
#[derive(Default)]
pub(super) struct ChannelConverter {
    stripe: Vec<u8>,
}

impl ChannelConverter {
    /// `frame`, of one of the formats with [channels](PixelFormat::channels), as I420 in memory from `pool`.
    pub(super) fn i420_of(&mut self, frame: &Frame, pool: &FramePool) -> Result<Frame, ConvertError> {
        let format = frame.format();
        let error = |problem: String| ConvertError::Layout(format, problem);
        let channels = format.channels().ok_or_else(|| error("it has no channels".into()))?;
        let size = (frame.width(), frame.height());
        check(frame, 0, size.0 * channels, size.1)?;
        let stride = frame.planes()[0].stride;
        let mut memory = pool.take(packed_size(PixelFormat::I420, size));
        let [y, u, v] = split(&mut memory, size);
        if channels == 1 {
            for (to, from) in y.chunks_exact_mut(size.0).zip(frame.plane(0).chunks(stride)) {
                map_row(to, from.iter().copied(), &LUMA_TO_LIMITED);
            }
            u.fill(128);
            v.fill(128);
            return Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(memory))?);
        }
        let (width, half_width) = (size.0, size.0.div_ceil(2));
        let side = |side: usize| u32::try_from(side).map_err(|too_large| error(too_large.to_string()));
        let stripes = frame.plane(0).chunks(stride * STRIPE);
        let chroma = u.chunks_mut(half_width * STRIPE / 2).zip(v.chunks_mut(half_width * STRIPE / 2));
        for ((y, (u, v)), from) in y.chunks_mut(width * STRIPE).zip(chroma).zip(stripes) {
            let rows = y.len() / width;
            let (pixels, pixels_stride) = if format == PixelFormat::Bgra {
                (from, stride)
            } else {
                self.stripe.resize(width * rows * BGRA, 0);
                for (to, from) in self.stripe.chunks_exact_mut(width * BGRA).zip(from.chunks(stride)) {
                    to_bgra(format, &from[..width * channels], to);
                }
                (&self.stripe[..], width * BGRA)
            };
            let mut planes = YuvPlanarImageMut {
                y_plane: BufferStoreMut::Borrowed(y),
                y_stride: side(width)?,
                u_plane: BufferStoreMut::Borrowed(u),
                u_stride: side(half_width)?,
                v_plane: BufferStoreMut::Borrowed(v),
                v_stride: side(half_width)?,
                width: side(width)?,
                height: side(rows)?,
            };
            let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
            bgra_to_yuv420(&mut planes, pixels, side(pixels_stride)?, range, matrix, YuvConversionMode::Balanced)
                .map_err(|problem| error(problem.to_string()))?;
        }
        Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(memory))?)
    }
}

/// One row of another order of channels. The compiler makes vector instructions of each.
fn to_bgra(format: PixelFormat, from: &[u8], to: &mut [u8]) {
    let to = to.as_chunks_mut::<BGRA>().0;
    match format {
        PixelFormat::Bgr24 => {
            for (to, &[b, g, r]) in to.iter_mut().zip(from.as_chunks::<3>().0) {
                *to = [b, g, r, u8::MAX];
            }
        }
        PixelFormat::Rgb24 => {
            for (to, &[r, g, b]) in to.iter_mut().zip(from.as_chunks::<3>().0) {
                *to = [b, g, r, u8::MAX];
            }
        }
        _ => {
            for (to, &[r, g, b, a]) in to.iter_mut().zip(from.as_chunks::<4>().0) {
                *to = [b, g, r, a];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::Plane;

    const AT: Timestamp = Timestamp::from_nanos(77);

    /// Red, green, blue, and what BT.601 with limited range makes of it (ITU-R BT.601-7, 2.5).
    const COLOURS: [([u8; 3], [u8; 3]); 6] = [
        ([255, 0, 0], [81, 90, 240]),
        ([0, 255, 0], [145, 54, 34]),
        ([0, 0, 255], [41, 240, 110]),
        ([255, 255, 255], [235, 128, 128]),
        ([0, 0, 0], [16, 128, 128]),
        ([200, 100, 50], [123, 91, 175]),
    ];

    fn pixel(format: PixelFormat, [r, g, b]: [u8; 3]) -> Vec<u8> {
        match format {
            PixelFormat::Bgr24 => vec![b, g, r],
            PixelFormat::Rgb24 => vec![r, g, b],
            PixelFormat::Bgra => vec![b, g, r, 0],
            _ => vec![r, g, b, 99],
        }
    }

    #[test]
    fn colours_are_those_of_the_standard_in_every_order_of_channels_and_size() {
        for format in [PixelFormat::Bgr24, PixelFormat::Rgb24, PixelFormat::Bgra, PixelFormat::Rgba] {
            for size in [(2, 2), (33, 35), (64, 16)] {
                for (colour, expected) in COLOURS {
                    let pixel = pixel(format, colour);
                    // Rows are padded, with what is not to be seen.
                    let row = [pixel.repeat(size.0), vec![7; 5]].concat();
                    let planes = [Plane { offset: 3, stride: row.len(), rows: size.1 }];
                    let memory = [vec![7; 3], row.repeat(size.1)].concat();
                    let frame = Frame::new(format, size, AT, &planes, Box::new(memory)).unwrap();
                    let frame = ChannelConverter::default().i420_of(&frame, &FramePool::new(1)).unwrap();
                    assert_eq!((frame.width(), frame.height(), frame.captured_at()), (size.0, size.1, AT));
                    for (plane, expected) in expected.into_iter().enumerate() {
                        let far = frame.plane(plane).iter().find(|value| value.abs_diff(expected) > 1);
                        assert_eq!(far, None, "{format} {size:?} {colour:?}, plane {plane}: {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn grey_is_luma_in_the_range_of_video() {
        let planes = [Plane { offset: 0, stride: 4, rows: 3 }];
        let memory = vec![0, 128, 255, 9, 0, 128, 255, 9, 0, 128, 255, 9];
        let frame = Frame::new(PixelFormat::Gray8, (3, 3), AT, &planes, Box::new(memory)).unwrap();
        let frame = ChannelConverter::default().i420_of(&frame, &FramePool::new(1)).unwrap();
        assert_eq!(frame.plane(0), [16, 126, 235].repeat(3));
        assert!(frame.plane(1).iter().chain(frame.plane(2)).all(|chroma| *chroma == 128));
    }

    #[test]
    fn rows_that_are_too_short_are_an_error_in_words() {
        let planes = [Plane { offset: 0, stride: 11, rows: 4 }];
        let frame = Frame::new(PixelFormat::Rgb24, (4, 4), AT, &planes, Box::new(vec![0; 44])).unwrap();
        let error = ChannelConverter::default().i420_of(&frame, &FramePool::new(1)).unwrap_err().to_string();
        assert_eq!(error, "cannot convert a RGB24 frame: plane 0 has 4 rows of 11 bytes, 4 of 12 needed");
    }
}
