//! Smaller pictures.
//!
//! Cameras that can take smaller pictures do it without cost; this is for when they cannot, or the owner wants less.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::convert::{ConvertError, check, split};
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};

/// Shortest side of a picture that was made smaller, in pixels.
const LEAST_SIDE: usize = 16;

/// The size of a picture of `(width, height)` that is made smaller by `percent`, 0 to 90: both sides even, and none
/// below 16 pixels unless it was.
#[must_use]
pub fn reduced((width, height): (usize, usize), percent: u32) -> (usize, usize) {
    let side = |side: usize| {
        let wanted = side * (100 - percent.min(90) as usize) / 100;
        wanted.max(LEAST_SIDE.min(side)).max(2) & !1
    };
    (side(width), side(height))
}

/// Makes I420 pictures smaller (or larger). Keeps its tables from one picture to the next.
pub struct Scaler {
    resizer: Resizer,
}

impl Default for Scaler {
    fn default() -> Self {
        Self { resizer: Resizer::new() }
    }
}

impl Scaler {
    /// The I420 picture `frame` in another size, whose sides are even, in memory from `pool`.
    ///
    /// # Errors
    /// When its planes are smaller than its size says, or it is no I420.
    pub fn apply(&mut self, frame: &Frame, size: (usize, usize), pool: &FramePool) -> Result<Frame, ConvertError> {
        if frame.format() != PixelFormat::I420 {
            return Err(ConvertError::Layout(frame.format(), "it has to be I420 to be made smaller".into()));
        }
        let mut memory = pool.take(packed_size(PixelFormat::I420, size));
        for (index, to) in split(&mut memory, size).into_iter().enumerate() {
            let half = |side: usize| if index == 0 { side } else { side.div_ceil(2) };
            let from = (half(frame.width()), half(frame.height()));
            check(frame, index, from.0, from.1)?;
            let (stride, size) = (frame.planes()[index].stride, (half(size.0), half(size.1)));
            if from == (size.0 * 2, size.1 * 2) {
                halve(frame.plane(index), stride, size, to);
                continue;
            }
            self.plane(frame.plane(index), stride, from, to, size)
                .map_err(|problem| ConvertError::Layout(PixelFormat::I420, problem))?;
        }
        Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(memory))?)
    }

    fn plane(
        &mut self,
        from: &[u8],
        stride: usize,
        (width, height): (usize, usize),
        to: &mut [u8],
        size: (usize, usize),
    ) -> Result<(), String> {
        let side = |side: usize| u32::try_from(side).map_err(|error| error.to_string());
        let source = TypedImageRef::<U8>::from_buffer(side(stride)?, side(height)?, from);
        let target = TypedImage::<U8>::from_buffer(side(size.0)?, side(size.1)?, to);
        let (source, mut target) = (source.map_err(|e| e.to_string())?, target.map_err(|e| e.to_string())?);
        // Without the padding at the end of each row.
        let source = TypedCroppedImage::from_ref(&source, 0, 0, side(width)?, side(height)?)
            .map_err(|error| error.to_string())?;
        // Every pixel counts, so that nothing flickers; and no ringing at hard edges.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())
    }
}

/// Exactly half of each side, which is most asked for: the mean of each two by two pixels.
fn halve(from: &[u8], stride: usize, (width, height): (usize, usize), to: &mut [u8]) {
    for (rows, to) in from.chunks(stride * 2).zip(to.chunks_exact_mut(width)).take(height) {
        let (upper, lower) = rows.split_at(stride.min(rows.len()));
        for ((to, upper), lower) in to.iter_mut().zip(upper.as_chunks::<2>().0).zip(lower.as_chunks::<2>().0) {
            // The two pixels of a row as the halves of one number.
            let (upper, lower) = (u16::from_le_bytes(*upper), u16::from_le_bytes(*lower));
            let sum = (upper & 0xff) + (upper >> 8) + (lower & 0xff) + (lower >> 8);
            *to = ((sum + 2) >> 2) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::Plane;

    const AT: Timestamp = Timestamp::from_nanos(77);

    #[test]
    fn sides_stay_even_and_are_never_nothing() {
        assert_eq!(reduced((1280, 720), 0), (1280, 720));
        assert_eq!(reduced((1280, 720), 20), (1024, 576));
        assert_eq!(reduced((1280, 720), 90), (128, 72));
        assert_eq!(reduced((641, 479), 0), (640, 478));
        assert_eq!(reduced((641, 479), 33), (428, 320));
        assert_eq!(reduced((64, 32), 90), (16, 16));
        assert_eq!(reduced((8, 3), 90), (8, 2));
        assert_eq!(reduced((1280, 720), 4000), (128, 72));
    }

    #[test]
    fn areas_keep_their_brightness_and_colour_and_padding_does_not_bleed_in() {
        let (width, height, stride) = (64, 32, 96);
        let mut bytes = vec![255; stride * 48];
        for row in bytes.chunks_exact_mut(stride).take(height) {
            row[..32].fill(40);
            row[32..width].fill(200);
        }
        for row in bytes[stride * height..].chunks_exact_mut(48) {
            row[..32].fill(90);
        }
        let planes = [
            Plane { offset: 0, stride, rows: 32 },
            Plane { offset: stride * 32, stride: 48, rows: 16 },
            Plane { offset: stride * 40, stride: 48, rows: 16 },
        ];
        let frame = Frame::new(PixelFormat::I420, (width, height), AT, &planes, Box::new(bytes)).unwrap();
        let small = Scaler::default().apply(&frame, (32, 16), &FramePool::new(1)).unwrap();
        assert_eq!((small.width(), small.height(), small.captured_at()), (32, 16, AT));
        for row in small.plane(0).chunks_exact(32) {
            assert_eq!((row[0], row[14], row[17], row[31]), (40, 40, 200, 200));
        }
        assert!(small.plane(1).iter().chain(small.plane(2)).all(|chroma| *chroma == 90));
    }

    #[test]
    fn fine_patterns_become_their_mean() {
        let luma = (0..64 * 64).map(|index| if (index + index / 64) % 2 == 0 { 0 } else { 200 });
        let bytes: Vec<u8> = luma.chain([128; 64 * 32]).collect();
        let frame = Frame::packed(PixelFormat::I420, (64, 64), AT, Box::new(bytes)).unwrap();
        for side in [16, 32] {
            let small = Scaler::default().apply(&frame, (side, side), &FramePool::new(1)).unwrap();
            assert!(small.plane(0).iter().all(|luma| luma.abs_diff(100) <= 3), "{side}: {:?}", small.plane(0));
        }
    }
}
