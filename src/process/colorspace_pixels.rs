//! OpenCV's 8-bit colour conversions, pixel by pixel: what `cv2.cvtColor(frame, cv2.COLOR_BGR2…)` gives, within one
//! level (tested against numbers that OpenCV computed).
//!
//! The formulas are those of OpenCV's manual ("Color conversions", <https://docs.opencv.org/4.x/de/d25/imgproc_color_conversions.html>).
//! Where no table is needed a row is computed in `f32` without branches, of which the compiler makes vector instructions.

use super::colorspace::Colorspace;

/// Blue, green, red and one byte that nobody looks at.
pub(super) type Pixel = [u8; 4];

/// The white point of daylight (D65), whose Y is 1.
const WHITE_X: f32 = 0.950_456;
const WHITE_Z: f32 = 1.088_754;
/// How much red, green and blue (linear, 0 to 1) there is in X, Y and Z.
const XYZ: [[f32; 3]; 3] =
    [[0.412_453, 0.357_58, 0.180_423], [0.212_671, 0.715_16, 0.072_169], [0.019_334, 0.119_193, 0.950_227]];
/// Below this, lightness is a straight line.
const DARK: f32 = 0.008_856;

/// OpenCV counts linear light in eighths of a level here…
const EIGHTHS: usize = 8 * 255;
/// …weighs it with 12 bits after the point, and has 15 for the cube roots.
const WEIGHT_BITS: u32 = 12;
const ROOT_BITS: u32 = 15;
const ROOTS: usize = 4096;

/// One conversion, with the tables that it needs.
pub(super) enum Conversion {
    Swap,
    Hsv { hues: f32 },
    Hls { hues: f32 },
    Xyz,
    YCrCb,
    Yuv,
    Lab(Box<LabTables>),
    Luv(Box<LuvTables>),
}

impl Conversion {
    /// The conversion to `space`; none for grey, which needs no arithmetic.
    pub(super) fn new(space: Colorspace) -> Option<Self> {
        Some(match space {
            Colorspace::Gray => return None,
            Colorspace::Rgb => Self::Swap,
            Colorspace::Hsv => Self::Hsv { hues: 180.0 },
            Colorspace::HsvFull => Self::Hsv { hues: 256.0 },
            Colorspace::Hls => Self::Hls { hues: 180.0 },
            Colorspace::HlsFull => Self::Hls { hues: 256.0 },
            Colorspace::Xyz => Self::Xyz,
            Colorspace::YCrCb => Self::YCrCb,
            Colorspace::Yuv => Self::Yuv,
            Colorspace::Lab => Self::Lab(Box::default()),
            Colorspace::Luv => Self::Luv(Box::default()),
        })
    }

    /// Puts the three channels of the result where blue, green and red were.
    pub(super) fn apply(&self, pixels: &mut [Pixel]) {
        match self {
            Self::Swap => each(pixels, |[blue, green, red]| [red, green, blue]),
            Self::Hsv { hues } => each(pixels, |bgr| hsv(bgr, *hues)),
            Self::Hls { hues } => each(pixels, |bgr| hls(bgr, *hues)),
            Self::Xyz => each(pixels, |[blue, green, red]| xyz([red, green, blue])),
            Self::YCrCb => each(pixels, |[blue, green, red]| {
                let luma = luma([blue, green, red]);
                [luma, (red - luma) * 0.713 + 128.0, (blue - luma) * 0.564 + 128.0]
            }),
            Self::Yuv => each(pixels, |[blue, green, red]| {
                let luma = luma([blue, green, red]);
                [luma, (blue - luma) * 0.492 + 128.0, (red - luma) * 0.877 + 128.0]
            }),
            Self::Lab(tables) => pixels.iter_mut().for_each(|pixel| tables.convert(pixel)),
            Self::Luv(tables) => pixels.chunks_mut(RUN).for_each(|run| tables.convert(run)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "0 to 255")]
fn each(pixels: &mut [Pixel], convert: impl Fn([f32; 3]) -> [f32; 3]) {
    for pixel in pixels {
        let word = u32::from_le_bytes(*pixel);
        // Not `array::map`, which is a call in the innermost loop.
        let channels = [(word & 255) as f32, (word >> 8 & 255) as f32, (word >> 16 & 255) as f32];
        *pixel = packed(convert(channels));
    }
}

/// Adding this to a small number leaves the nearest integer in the low bits: vector units round no faster.
const ROUND: f32 = 12_582_912.0;

fn packed([first, second, third]: [f32; 3]) -> Pixel {
    (level(first) | level(second) << 8 | level(third) << 16).to_le_bytes()
}

fn level(value: f32) -> u32 {
    (value.clamp(0.0, 255.0) + ROUND).to_bits() & 255
}

fn weighed(weights: [f32; 3], [red, green, blue]: [f32; 3]) -> f32 {
    weights[0] * red + weights[1] * green + weights[2] * blue
}

fn xyz(rgb: [f32; 3]) -> [f32; 3] {
    [weighed(XYZ[0], rgb), weighed(XYZ[1], rgb), weighed(XYZ[2], rgb)]
}

fn round(value: f32) -> f32 {
    value + ROUND - ROUND
}

fn luma([blue, green, red]: [f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// The place on the circle of colours, `most - least` being one sixth of it; negative for half of the reds.
fn hue([blue, green, red]: [f32; 3], most: f32, span: f32) -> f32 {
    let near_blue = red - green + 4.0 * span;
    let near_green = blue - red + 2.0 * span;
    let not_red = if most == green { near_green } else { near_blue };
    if most == red { green - blue } else { not_red }
}

fn hsv([blue, green, red]: [f32; 3], hues: f32) -> [f32; 3] {
    let most = blue.max(green).max(red);
    let span = most - blue.min(green).min(red);
    let hue = round(hue([blue, green, red], most, span) * (hues / 6.0) / span.max(1.0));
    [if hue < 0.0 { hue + hues } else { hue }, span * 255.0 / most.max(1.0), most]
}

fn hls([blue, green, red]: [f32; 3], hues: f32) -> [f32; 3] {
    let (most, least) = (blue.max(green).max(red), blue.min(green).min(red));
    let (span, sum) = (most - least, most + least);
    let hue = hue([blue, green, red], most, span) * (hues / 6.0) / span.max(1.0);
    let room = if sum < 255.0 { sum } else { 510.0 - sum };
    [if hue < 0.0 { hue + hues } else { hue }, sum / 2.0, span * 255.0 / room.max(1.0)]
}

/// A level of red, green or blue as light, both from 0 to 1 (IEC 61966-2-1, sRGB).
fn linear(level: usize) -> f32 {
    let value = level as f32 / 255.0;
    if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// OpenCV's way to Lab is in integers, whose rounding shows: so is this one.
pub(super) struct LabTables {
    linear: [i32; 256],
    /// As many as a mask keeps: there are 2040 eighths, and a weight may be rounded up.
    root: [i32; ROOTS],
    weights: [[i32; 3]; 3],
}

impl Default for LabTables {
    fn default() -> Self {
        let root = |index: usize| {
            let value = index as f32 / EIGHTHS as f32;
            let root = if value < DARK { value * 7.787 + 16.0 / 116.0 } else { value.cbrt() };
            to_int(root * (1 << ROOT_BITS) as f32)
        };
        let whites = [WHITE_X, 1.0, WHITE_Z];
        let weight = |row: usize, column: usize| to_int(XYZ[row][column] / whites[row] * (1 << WEIGHT_BITS) as f32);
        Self {
            linear: std::array::from_fn(|level| to_int(linear(level) * EIGHTHS as f32)),
            root: std::array::from_fn(root),
            weights: std::array::from_fn(|row| std::array::from_fn(|column| weight(row, column))),
        }
    }
}

impl LabTables {
    #[expect(clippy::cast_sign_loss, reason = "light is not negative")]
    fn convert(&self, pixel: &mut Pixel) {
        let linear = |channel: usize| self.linear[usize::from(pixel[channel])];
        let (blue, green, red) = (linear(0), linear(1), linear(2));
        let root = |weights: [i32; 3]| {
            let light = descale(weights[0] * red + weights[1] * green + weights[2] * blue, WEIGHT_BITS);
            self.root[light as usize % ROOTS]
        };
        let (x, y, z) = (root(self.weights[0]), root(self.weights[1]), root(self.weights[2]));
        let lightness = descale(296 * y - (16 * 255 * (1 << ROOT_BITS) + 50) / 100, ROOT_BITS);
        let middle = 128 << ROOT_BITS;
        let (a, b) = (descale(500 * (x - y) + middle, ROOT_BITS), descale(200 * (y - z) + middle, ROOT_BITS));
        *pixel = [byte(lightness), byte(a), byte(b), 0];
    }
}

pub(super) struct LuvTables {
    linear: [f32; 256],
    /// Lightness, 0 to 100, of the share of white's light.
    lightness: [f32; SHARES + 1],
}

const SHARES: usize = 8192;

impl Default for LuvTables {
    fn default() -> Self {
        let lightness = |share: usize| {
            let light = share as f32 / SHARES as f32;
            if light > DARK { 116.0 * light.cbrt() - 16.0 } else { 903.3 * light }
        };
        Self { linear: std::array::from_fn(linear), lightness: std::array::from_fn(lightness) }
    }
}

/// Pixels that are computed side by side, between two looks into the tables.
const RUN: usize = 16;

impl LuvTables {
    fn convert(&self, pixels: &mut [Pixel]) {
        let white = WHITE_X + 15.0 + 3.0 * WHITE_Z;
        let (white_u, white_v) = (4.0 * WHITE_X / white, 9.0 / white);
        let mut rgb = [[0.0; 3]; RUN];
        for (rgb, pixel) in rgb.iter_mut().zip(pixels.iter()) {
            rgb[0] = self.linear[usize::from(pixel[2])];
            rgb[1] = self.linear[usize::from(pixel[1])];
            rgb[2] = self.linear[usize::from(pixel[0])];
        }
        let (mut shares, mut u, mut v) = ([0; RUN], [0.0; RUN], [0.0; RUN]);
        for index in 0..RUN {
            let [x, y, z] = xyz(rgb[index]);
            let sum = 1.0 / (x + 15.0 * y + 3.0 * z).max(f32::MIN_POSITIVE);
            shares[index] = (y * SHARES as f32 + ROUND).to_bits() as usize % (2 * SHARES);
            u[index] = 13.0 * (4.0 * x * sum - white_u);
            v[index] = 13.0 * (9.0 * y * sum - white_v);
        }
        let mut lightness = [0.0; RUN];
        for (lightness, share) in lightness.iter_mut().zip(shares) {
            *lightness = self.lightness[share.min(SHARES)];
        }
        for (index, pixel) in pixels.iter_mut().enumerate().take(RUN) {
            let lightness = lightness[index];
            // OpenCV's ranges of u and v: -134 to 220 and -140 to 122.
            let (u, v) = (lightness * u[index] + 134.0, lightness * v[index] + 140.0);
            *pixel = packed([lightness * 2.55, u * (255.0 / 354.0), v * (255.0 / 262.0)]);
        }
    }
}

const fn descale(value: i32, bits: u32) -> i32 {
    (value + (1 << (bits - 1))) >> bits
}

fn byte(value: i32) -> u8 {
    u8::try_from(value.clamp(0, 255)).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, reason = "table entries of at most 18 bits")]
fn to_int(value: f32) -> i32 {
    value.round() as i32
}
