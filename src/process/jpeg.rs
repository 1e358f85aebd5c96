//! JPEG pictures to I420 and back, without going through RGB.
//!
//! JFIF samples are full range and frames in perch are limited, so both ways map the range.

use bytes::Bytes;
use jpeg_encoder::{Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::convert::split;
use crate::base::clock::Timestamp;
use crate::media::frame::{Frame, FramePool, FrameTooSmall, PixelFormat, packed_size};
use crate::media::range::{CHROMA_TO_FULL, CHROMA_TO_LIMITED, LUMA_TO_FULL, LUMA_TO_LIMITED, map_row};

/// The longest side of a JPEG that is decoded.
const LONGEST_SIDE: usize = 4096;

/// Why a JPEG could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The bytes are not a whole JPEG picture.
    #[error("{0}")]
    Damaged(String),
    /// It is, but not one that perch shows.
    #[error("{0}")]
    Unsupported(String),
    /// The encoder failed.
    #[error("cannot make a JPEG: {0}")]
    Encode(#[from] EncodingError),
    /// The frame is not I420.
    #[error("cannot make a JPEG of a {0} frame")]
    NotI420(PixelFormat),
    /// A plane is smaller than the size says.
    #[error(transparent)]
    TooSmall(#[from] FrameTooSmall),
}

/// Decodes JPEG pictures. Keeps its buffers from one to the next.
pub struct JpegDecoder {
    pool: FramePool,
    interleaved: Vec<u8>,
}

impl JpegDecoder {
    /// A decoder that takes its pictures' memory from `pool`.
    #[must_use]
    pub const fn new(pool: FramePool) -> Self {
        Self { pool, interleaved: Vec::new() }
    }

    /// The picture in `jpeg` as limited-range I420. An odd last column or row is cut off.
    ///
    /// # Errors
    /// When `jpeg` is damaged, larger than 4096×4096, or neither YCbCr nor grey.
    pub fn decode(&mut self, jpeg: &[u8], captured_at: Timestamp) -> Result<Frame, JpegError> {
        let damaged = |error: zune_jpeg::errors::DecodeErrors| JpegError::Damaged(error.to_string());
        let options = DecoderOptions::new_fast()
            .set_max_width(LONGEST_SIDE)
            .set_max_height(LONGEST_SIDE)
            .jpeg_set_out_colorspace(ColorSpace::YCbCr);
        let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
        decoder.decode_headers().map_err(damaged)?;
        let channels = match decoder.input_colorspace() {
            Some(ColorSpace::YCbCr) => 3,
            Some(ColorSpace::Luma) => {
                decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
                1
            }
            other => return Err(JpegError::Unsupported(format!("its colours are {other:?}, not YCbCr"))),
        };
        let (full_width, full_height) = decoder.dimensions().unwrap_or_default();
        let (width, height) = (full_width & !1, full_height & !1);
        if width == 0 || height == 0 {
            return Err(JpegError::Unsupported(format!("{full_width}×{full_height} pixels are too few")));
        }
        let length = decoder.output_buffer_size().unwrap_or_default();
        if length != full_width * full_height * channels {
            return Err(JpegError::Unsupported("its channels do not match its colours".into()));
        }
        self.interleaved.resize(length, 0);
        decoder.decode_into(&mut self.interleaved).map_err(damaged)?;
        let mut memory = self.pool.take(packed_size(PixelFormat::I420, (width, height)));
        let planes = split(&mut memory, (width, height));
        if channels == 3 {
            self.subsample(planes, full_width, width);
        } else {
            let [y, u, v] = planes;
            for (to, from) in y.chunks_exact_mut(width).zip(self.interleaved.chunks_exact(full_width)) {
                map_row(to, from.iter().copied(), &LUMA_TO_LIMITED);
            }
            u.fill(128);
            v.fill(128);
        }
        Ok(Frame::packed(PixelFormat::I420, (width, height), captured_at, Box::new(memory))?)
    }

    /// Interleaved 4:4:4 to planar 4:2:0: each chroma sample is the mean of four.
    fn subsample(&self, [y, u, v]: [&mut [u8]; 3], full_width: usize, width: usize) {
        let row_pairs = self.interleaved.chunks_exact(full_width * 3 * 2);
        let chroma = u.chunks_exact_mut(width / 2).zip(v.chunks_exact_mut(width / 2));
        for ((y, (u, v)), from) in y.chunks_exact_mut(width * 2).zip(chroma).zip(row_pairs) {
            let (upper, lower) = from.split_at(full_width * 3);
            let (upper_y, lower_y) = y.split_at_mut(width);
            let pixel_pairs = upper.as_chunks::<6>().0.iter().zip(lower.as_chunks::<6>().0);
            let luma_pairs = upper_y.as_chunks_mut::<2>().0.iter_mut().zip(lower_y.as_chunks_mut::<2>().0);
            for (((a, b), (upper, lower)), (u, v)) in pixel_pairs.zip(luma_pairs).zip(u.iter_mut().zip(v)) {
                *upper = [a[0], a[3]].map(|luma| LUMA_TO_LIMITED[usize::from(luma)]);
                *lower = [b[0], b[3]].map(|luma| LUMA_TO_LIMITED[usize::from(luma)]);
                let mean = |at: usize| {
                    (usize::from(a[at]) + usize::from(a[at + 3]) + usize::from(b[at]) + usize::from(b[at + 3]) + 2) / 4
                };
                *u = CHROMA_TO_LIMITED[mean(1)];
                *v = CHROMA_TO_LIMITED[mean(2)];
            }
        }
    }
}

/// An I420 `frame` as a JPEG file. `quality` is 1 to 100; values outside are moved to the nearest.
///
/// # Errors
/// When the frame is not I420 or too large for JPEG.
pub fn encode_jpeg(frame: &Frame, quality: u8) -> Result<Bytes, JpegError> {
    if frame.format() != PixelFormat::I420 {
        return Err(JpegError::NotI420(frame.format()));
    }
    let side =
        |side: usize| u16::try_from(side).map_err(|_| JpegError::Unsupported(format!("{side} pixels are too many")));
    let picture = Picture { frame, width: side(frame.width())?, height: side(frame.height())? };
    let mut file = Vec::with_capacity(frame.width() * frame.height() / 4);
    let mut encoder = Encoder::new(&mut file, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode_image(picture)?;
    Ok(file.into())
}

struct Picture<'a> {
    frame: &'a Frame,
    width: u16,
    height: u16,
}

impl ImageBuffer for Picture<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, row: u16, [y, u, v, _]: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width);
        let row_of = |plane: usize, row: usize| {
            let start = self.frame.planes()[plane].stride * row;
            self.frame.plane(plane).get(start..).unwrap_or_default()
        };
        let full = |row: &[u8], table: &[u8; 256], to: &mut Vec<u8>, repeat: usize| {
            let end = to.len() + width;
            let samples = row.iter().flat_map(|&sample| std::iter::repeat_n(table[usize::from(sample)], repeat));
            to.extend(samples.take(width));
            // A plane that is too small gives grey, not a panic in the encoder.
            to.resize(end, 128);
        };
        let row = usize::from(row);
        full(row_of(0, row), &LUMA_TO_FULL, y, 1);
        // The encoder halves chroma by leaving out every other sample: what is doubled here.
        full(row_of(1, row / 2), &CHROMA_TO_FULL, u, 2);
        full(row_of(2, row / 2), &CHROMA_TO_FULL, v, 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::ColorType;

    fn picture(width: usize, height: usize) -> Frame {
        let mut memory = vec![0; packed_size(PixelFormat::I420, (width, height))];
        let [y, u, v] = split(&mut memory, (width, height));
        for (at, luma) in y.iter_mut().enumerate() {
            *luma = u8::try_from(16 + (at % width + at / width) * 219 / (width + height)).unwrap();
        }
        for (at, (u, v)) in u.iter_mut().zip(v).enumerate() {
            *u = u8::try_from(60 + at % (width / 2)).unwrap();
            *v = u8::try_from(200 - at / (width / 2)).unwrap();
        }
        Frame::packed(PixelFormat::I420, (width, height), Timestamp::from_nanos(5), Box::new(memory)).unwrap()
    }

    fn psnr(a: &[u8], b: &[u8]) -> f64 {
        assert_eq!(a.len(), b.len());
        let error: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        10.0 * (255.0_f64.powi(2) * f64::from(u32::try_from(a.len()).unwrap()) / error.max(1e-9)).log10()
    }

    fn decode(jpeg: &[u8]) -> Result<Frame, JpegError> {
        JpegDecoder::new(FramePool::new(1)).decode(jpeg, Timestamp::from_nanos(9))
    }

    #[test]
    fn a_picture_survives_encoding_and_decoding() {
        let before = picture(96, 64);
        let after = decode(&encode_jpeg(&before, 90).unwrap()).unwrap();
        assert_eq!((after.width(), after.height(), after.captured_at()), (96, 64, Timestamp::from_nanos(9)));
        for plane in 0..3 {
            let psnr = psnr(before.plane(plane), after.plane(plane));
            assert!(psnr > 38.0, "plane {plane}: {psnr:.1} dB");
        }
    }

    #[test]
    fn every_chroma_subsampling_gives_the_same_picture() {
        let rgb = |x: usize, y: usize| [u8::try_from(x * 2).unwrap(), u8::try_from(y * 3).unwrap(), 90];
        let pixels: Vec<u8> = (0..64).flat_map(|y| (0..96).flat_map(move |x| rgb(x, y))).collect();
        let decoded = [SamplingFactor::F_1_1, SamplingFactor::F_2_1, SamplingFactor::F_2_2].map(|sampling| {
            let mut file = Vec::new();
            let mut encoder = Encoder::new(&mut file, 95);
            encoder.set_sampling_factor(sampling);
            encoder.encode(&pixels, 96, 64, ColorType::Rgb).unwrap();
            decode(&file).unwrap()
        });
        for other in &decoded[1..] {
            assert!(psnr(decoded[0].plane(0), other.plane(0)) > 38.0);
            assert!(psnr(decoded[0].plane(1), other.plane(1)) > 35.0);
        }
    }

    #[test]
    fn white_and_black_become_limited_range() {
        for (sample, limited) in [(255, 235), (0, 16)] {
            let mut file = Vec::new();
            Encoder::new(&mut file, 90).encode(&[sample; 32 * 32], 32, 32, ColorType::Luma).unwrap();
            let frame = decode(&file).unwrap();
            assert!(frame.plane(0).iter().all(|luma| luma.abs_diff(limited) <= 1));
            assert!(frame.plane(1).iter().chain(frame.plane(2)).all(|&chroma| chroma == 128));
        }
    }

    #[test]
    fn an_odd_last_row_and_column_are_cut_off() {
        let mut file = Vec::new();
        Encoder::new(&mut file, 90).encode(&[100; 35 * 33 * 3], 35, 33, ColorType::Rgb).unwrap();
        let frame = decode(&file).unwrap();
        assert_eq!((frame.width(), frame.height()), (34, 32));
    }

    #[test]
    fn a_file_cut_short_anywhere_never_panics() {
        let file = encode_jpeg(&picture(96, 64), 60).unwrap();
        for length in 0..file.len().min(700) {
            let _ = decode(&file[..length]);
        }
        assert!(decode(&file[..100]).is_err());
        assert!(decode(&[]).is_err());
    }

    #[test]
    fn only_i420_becomes_a_jpeg() {
        let frame = Frame::packed(PixelFormat::Nv12, (4, 4), Timestamp::default(), Box::new(vec![0; 24])).unwrap();
        assert!(matches!(encode_jpeg(&frame, 80), Err(JpegError::NotI420(PixelFormat::Nv12))));
    }
}
