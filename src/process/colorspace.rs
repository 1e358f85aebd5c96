//! Pictures in the channels of another colour space, shown as if those were blue, green and red.
//!
//! That is what VidGear's `colorspace="COLOR_BGR2HSV"` does: it hands the result of OpenCV's `cvtColor` on as a picture.
//! It is not a correction of colours: skin in HSV looks like neon. Grey is the one that people want.
//!
//! What a 1280×720 picture costs on one core of a 2 GHz Xeon, optimised without LTO (`scripts/bench stages` measures it again), and OpenCV's way
//! there and back on one thread:
//!
//! | | gray | hsv | hls | lab | luv | ycrcb, yuv | xyz | rgb |
//! |---|---|---|---|---|---|---|---|---|
//! | here, ms | 0.2 | 3.2 | 3.5 | 8.6 | 9.7 | 2.3 | 2.2 | 1.5 |
//! | OpenCV 5.0, ms | | 2.8 | 3.7 | 7.2 | 10.2 | 2.6 | 4.0 | 1.9 |
//!
//! The way is I420 → BGR → channels → I420, in stripes that stay in the cache. Grey needs no arithmetic: luma is copied,
//! chroma made neutral.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPlanarImage, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
    bgra_to_yuv420, yuv420_to_bgra,
};

use super::colorspace_pixels::{Conversion, Pixel};
use super::convert::{ConvertError, require_i420, split};
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};

/// What a picture's channels mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Colorspace {
    /// Brightness alone.
    Gray,
    /// Hue (0 to 179), saturation, value.
    Hsv,
    /// The same with hues of 0 to 255.
    HsvFull,
    /// Hue (0 to 179), lightness, saturation.
    Hls,
    /// The same with hues of 0 to 255.
    HlsFull,
    /// CIE L\*a\*b\*.
    Lab,
    /// CIE L\*u\*v\*.
    Luv,
    /// Luma, red difference, blue difference.
    YCrCb,
    /// Luma, U, V (of analogue PAL).
    Yuv,
    /// CIE XYZ (of the levels as they are, as OpenCV computes it).
    Xyz,
    /// Red and blue change places.
    Rgb,
}

/// A name that is no colour space's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no colorspace{}; there are {}", hint(given), names())]
pub struct UnknownColorspace {
    given: String,
}

impl Colorspace {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Gray,
        Self::Hsv,
        Self::HsvFull,
        Self::Hls,
        Self::HlsFull,
        Self::Lab,
        Self::Luv,
        Self::YCrCb,
        Self::Yuv,
        Self::Xyz,
        Self::Rgb,
    ];

    /// The name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gray => "gray",
            Self::Hsv => "hsv",
            Self::HsvFull => "hsv_full",
            Self::Hls => "hls",
            Self::HlsFull => "hls_full",
            Self::Lab => "lab",
            Self::Luv => "luv",
            Self::YCrCb => "ycrcb",
            Self::Yuv => "yuv",
            Self::Xyz => "xyz",
            Self::Rgb => "rgb",
        }
    }
}

impl fmt::Display for Colorspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Colorspace> for &'static str {
    fn from(space: Colorspace) -> Self {
        space.name()
    }
}

impl TryFrom<String> for Colorspace {
    type Error = UnknownColorspace;
    fn try_from(given: String) -> Result<Self, Self::Error> {
        given.parse()
    }
}

impl FromStr for Colorspace {
    type Err = UnknownColorspace;

    /// A name such as `hsv`, or as VidGear's users write it: `COLOR_BGR2HSV`. Case does not matter.
    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let plain = plain(given);
        // OpenCV spells one of them in two ways.
        let plain = if plain == "ycr_cb" { "ycrcb" } else { &plain };
        let known = Self::ALL.into_iter().find(|space| space.name() == plain);
        known.ok_or_else(|| UnknownColorspace { given: given.into() })
    }
}

fn plain(given: &str) -> String {
    let lower = given.trim().to_lowercase();
    let name = lower.strip_prefix("color_").unwrap_or(&lower);
    name.strip_prefix("bgr2").unwrap_or(name).into()
}

fn names() -> String {
    Colorspace::ALL.map(Colorspace::name).join(", ")
}

/// Which of the names was probably meant.
fn hint(given: &str) -> String {
    let alike = |space: &Colorspace| strsim::jaro_winkler(&plain(given), space.name());
    let nearest = Colorspace::ALL.into_iter().max_by(|one, other| alike(one).total_cmp(&alike(other)));
    nearest.filter(|space| alike(space) >= 0.75).map(|space| format!(" (is it {space}?)")).unwrap_or_default()
}

/// Rows that are converted at a time.
const STRIPE: usize = 16;

/// Shows pictures in another colour space. Keeps its tables and its buffer from one picture to the next.
pub struct Recolour {
    conversion: Option<Conversion>,
    pool: FramePool,
    stripe: Vec<u8>,
}

impl Recolour {
    /// Recolours to `space`, taking the pictures' memory from `pool`.
    #[must_use]
    pub fn new(space: Colorspace, pool: FramePool) -> Self {
        Self { conversion: Conversion::new(space), pool, stripe: Vec::new() }
    }

    /// The I420 `frame` in the other colour space; its own memory goes back to where it came from.
    ///
    /// # Errors
    /// When the frame is not I420 or its planes are smaller than its size says.
    pub fn apply(&mut self, frame: Frame) -> Result<Frame, ConvertError> {
        require_i420(&frame)?;
        let size = (frame.width(), frame.height());
        let mut memory = self.pool.take(packed_size(PixelFormat::I420, size));
        let planes = split(&mut memory, size);
        if let Some(conversion) = &self.conversion {
            recolour(conversion, &frame, planes, &mut self.stripe)
                .map_err(|error| ConvertError::Layout(PixelFormat::I420, error.to_string()))?;
        } else {
            let [y, u, v] = planes;
            for (to, from) in y.chunks_exact_mut(size.0).zip(frame.plane(0).chunks(frame.planes()[0].stride)) {
                to.copy_from_slice(&from[..size.0]);
            }
            u.fill(128);
            v.fill(128);
        }
        Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(memory))?)
    }
}

fn recolour(
    conversion: &Conversion,
    frame: &Frame,
    [y, u, v]: [&mut [u8]; 3],
    stripe: &mut Vec<u8>,
) -> Result<(), YuvError> {
    let (width, half_width) = (frame.width(), frame.width().div_ceil(2));
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let bytes = [0, 1, 2].map(|plane| frame.plane(plane));
    let strides = [0, 1, 2].map(|plane: usize| frame.planes()[plane].stride);
    stripe.resize(width * STRIPE * size_of::<Pixel>(), 0);
    let chroma = u.chunks_mut(half_width * STRIPE / 2).zip(v.chunks_mut(half_width * STRIPE / 2));
    for (index, (y, (u, v))) in y.chunks_mut(width * STRIPE).zip(chroma).enumerate() {
        let rows = y.len() / width;
        let from = |plane: usize, rows: usize| {
            let (stride, first) = (strides[plane], index * if plane == 0 { STRIPE } else { STRIPE / 2 });
            &bytes[plane][first * stride..(first + rows) * stride]
        };
        let source = YuvPlanarImage {
            y_plane: from(0, rows),
            y_stride: side(strides[0]),
            u_plane: from(1, rows.div_ceil(2)),
            u_stride: side(strides[1]),
            v_plane: from(2, rows.div_ceil(2)),
            v_stride: side(strides[2]),
            width: side(width),
            height: side(rows),
        };
        let mut target = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(y),
            y_stride: side(width),
            u_plane: BufferStoreMut::Borrowed(u),
            u_stride: side(half_width),
            v_plane: BufferStoreMut::Borrowed(v),
            v_stride: side(half_width),
            width: side(width),
            height: side(rows),
        };
        let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt601);
        let pixels = &mut stripe[..rows * width * size_of::<Pixel>()];
        let stride = side(width * size_of::<Pixel>());
        yuv420_to_bgra(&source, pixels, stride, range, matrix)?;
        conversion.apply(pixels.as_chunks_mut().0);
        bgra_to_yuv420(&mut target, pixels, stride, range, matrix, YuvConversionMode::Balanced)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "colorspace_tests.rs"]
mod tests;
