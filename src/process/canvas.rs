//! Drawing on an I420 picture: filled rectangles, soft sprites, thick lines.
//!
//! For pictures that perch makes itself (the test picture, the slate). Everything is clipped to the picture, so
//! callers need not care about sizes. Sprites *lighten*: they never darken luma, so that bright marks of a
//! backdrop shine through whatever glides over them. What is drawn, and where, is the caller's business.

use crate::media::frame::{PixelFormat, packed_planes, packed_size};

/// A colour in limited range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// Luma, 16 to 235.
    pub y: u8,
    /// Blue difference, 16 to 240.
    pub u: u8,
    /// Red difference, 16 to 240.
    pub v: u8,
}

impl Colour {
    /// The colour of a BT.601 RGB triple with components from 0 to 1.
    #[must_use]
    pub fn from_rgb([red, green, blue]: [f32; 3]) -> Self {
        let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
        Self {
            y: to_byte(16.0 + 219.0 * luma),
            u: to_byte(128.0 + 224.0 * (blue - luma) / 1.772),
            v: to_byte(128.0 + 224.0 * (red - luma) / 1.402),
        }
    }
}

/// A rectangle in pixels of the luma plane. Even everywhere, or its chroma reaches one pixel further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width; nothing is drawn when 0.
    pub width: usize,
    /// Height; nothing is drawn when 0.
    pub height: usize,
}

impl Rect {
    /// Whether the two have a pixel in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    fn halved(self) -> Self {
        let (right, bottom) = ((self.x + self.width).div_ceil(2), (self.y + self.height).div_ceil(2));
        Self { x: self.x / 2, y: self.y / 2, width: right - self.x / 2, height: bottom - self.y / 2 }
    }

    fn clipped(self, width: usize, height: usize) -> Self {
        let (x, y) = (self.x.min(width), self.y.min(height));
        Self { x, y, width: self.width.min(width - x), height: self.height.min(height - y) }
    }
}

/// A small soft picture of one colour that is stamped onto a [`Canvas`].
#[derive(Clone, Debug)]
pub struct Sprite {
    width: usize,
    height: usize,
    colour: Colour,
    light: Vec<u8>,
    tint: Vec<u8>,
}

impl Sprite {
    /// A sprite whose opacity, 0 to 1, is `shape(x, y)`, with x and y running from -1 to 1.
    #[must_use]
    pub fn new((width, height): (usize, usize), colour: Colour, shape: impl Fn(f32, f32) -> f32) -> Self {
        let place = |index: usize, count: usize| (index as f32 + 0.5) * 2.0 / count as f32 - 1.0;
        let sample = |width: usize, height: usize, scale: f32| {
            let shape = &shape;
            (0..height)
                .flat_map(|y| (0..width).map(move |x| to_byte(scale * shape(place(x, width), place(y, height)))))
                .collect()
        };
        let light = sample(width, height, f32::from(colour.y));
        let tint = sample(width.div_ceil(2), height.div_ceil(2), 255.0);
        Self { width, height, colour, light, tint }
    }

    /// Where the sprite lies when its top left corner is at `x`, `y`.
    #[must_use]
    pub const fn rect_at(&self, (x, y): (usize, usize)) -> Rect {
        Rect { x, y, width: self.width, height: self.height }
    }
}

/// One plane of a picture without padding.
pub(crate) struct Raster<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) bytes: &'a mut [u8],
}

impl Raster<'_> {
    /// The part of `rect` inside the picture: its first column and row, and its rows.
    pub(crate) fn rows(&mut self, rect: Rect) -> impl Iterator<Item = &mut [u8]> {
        let rect = rect.clipped(self.width, self.height);
        let rows = self.bytes.chunks_exact_mut(self.width.max(1)).skip(rect.y).take(rect.height);
        rows.map(move |row| &mut row[rect.x..rect.x + rect.width])
    }

    /// Mixes `value` into a line with round ends.
    fn line(&mut self, from: (f32, f32), to: (f32, f32), radius: f32, value: u8) {
        let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
        let length_squared = (along_x * along_x + along_y * along_y).max(f32::MIN_POSITIVE);
        let reach = radius + 0.5;
        let (inner_squared, outer_squared) = ((radius - 0.5).max(0.0).powi(2), reach * reach);
        let top = to_index(from.1.min(to.1) - reach);
        let bottom = to_index(from.1.max(to.1) + reach + 1.0).min(self.height);
        for y in top..bottom {
            let centre_y = y as f32 + 0.5;
            // Only the part of the line that passes this row within reach bounds the columns worth looking at.
            let (first, last) = if along_y.abs() < 0.01 {
                (0.0, 1.0)
            } else {
                let (middle, slack) = ((centre_y - from.1) / along_y, reach / along_y.abs());
                ((middle - slack).clamp(0.0, 1.0), (middle + slack).clamp(0.0, 1.0))
            };
            let (one, other) = (from.0 + along_x * first, from.0 + along_x * last);
            let left = to_index(one.min(other) - reach);
            let right = to_index(one.max(other) + reach + 1.0).min(self.width);
            if left >= right {
                continue;
            }
            for (x, pixel) in (left..right).zip(&mut self.bytes[y * self.width + left..y * self.width + right]) {
                let (dx, dy) = (x as f32 + 0.5 - from.0, centre_y - from.1);
                let nearest = ((dx * along_x + dy * along_y) / length_squared).clamp(0.0, 1.0);
                let (off_x, off_y) = (dx - nearest * along_x, dy - nearest * along_y);
                let distance_squared = off_x * off_x + off_y * off_y;
                // Most pixels are wholly inside or outside; only the edge is worth a square root.
                if distance_squared < inner_squared {
                    *pixel = value;
                } else if distance_squared < outer_squared {
                    *pixel = mix(*pixel, value, to_byte((radius + 0.5 - distance_squared.sqrt()) * 255.0));
                }
            }
        }
    }
}

/// A picture to draw on.
pub struct Canvas<'a> {
    pub(crate) planes: [Raster<'a>; 3],
}

impl<'a> Canvas<'a> {
    /// A canvas over the start of `bytes`, which hold an unpadded I420 picture.
    ///
    /// # Panics
    /// When `bytes` are fewer than such a picture takes.
    #[must_use]
    pub fn new(bytes: &'a mut [u8], (width, height): (usize, usize)) -> Self {
        let bytes = &mut bytes[..packed_size(PixelFormat::I420, (width, height))];
        let (luma, chroma) = bytes.split_at_mut(width * height);
        let (u, v) = chroma.split_at_mut(chroma.len() / 2);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        Self {
            planes: [
                Raster { width, height, bytes: luma },
                Raster { width: half_width, height: half_height, bytes: u },
                Raster { width: half_width, height: half_height, bytes: v },
            ],
        }
    }

    /// Paints `rect` in one colour.
    pub fn fill(&mut self, rect: Rect, colour: Colour) {
        let halved = rect.halved();
        let values = [colour.y, colour.u, colour.v];
        for ((plane, rect), value) in self.planes.iter_mut().zip([rect, halved, halved]).zip(values) {
            plane.rows(rect).for_each(|row| row.fill(value));
        }
    }

    /// Copies `rect` from `template`, an unpadded I420 picture of the same size.
    ///
    /// # Panics
    /// When `template` is smaller than the picture.
    pub fn restore(&mut self, rect: Rect, template: &[u8]) {
        let halved = rect.halved();
        let (offsets, _) = packed_planes(PixelFormat::I420, (self.planes[0].width, self.planes[0].height), 0);
        for ((plane, rect), from) in self.planes.iter_mut().zip([rect, halved, halved]).zip(offsets) {
            let (stride, rect) = (plane.width, rect.clipped(plane.width, plane.height));
            for (index, row) in plane.rows(rect).enumerate() {
                let start = from.offset + (rect.y + index) * stride + rect.x;
                row.copy_from_slice(&template[start..start + row.len()]);
            }
        }
    }

    /// Stamps `sprite` with its top left corner at `x`, `y`, both even.
    pub fn stamp(&mut self, sprite: &Sprite, at: (usize, usize)) {
        let rect = sprite.rect_at(at);
        let [luma, u, v] = &mut self.planes;
        for (row, light) in luma.rows(rect).zip(sprite.light.chunks_exact(sprite.width.max(1))) {
            for (pixel, light) in row.iter_mut().zip(light) {
                *pixel = (*pixel).max(*light);
            }
        }
        for (plane, value) in [(u, sprite.colour.u), (v, sprite.colour.v)] {
            for (row, tint) in plane.rows(rect.halved()).zip(sprite.tint.chunks_exact(sprite.width.div_ceil(2).max(1)))
            {
                for (pixel, tint) in row.iter_mut().zip(tint) {
                    *pixel = mix(*pixel, value, *tint);
                }
            }
        }
    }

    /// Draws a line with round ends, `radius` pixels to either side of its middle.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), radius: f32, colour: Colour) {
        let [luma, u, v] = &mut self.planes;
        luma.line(from, to, radius, colour.y);
        let half = |(x, y): (f32, f32)| (x / 2.0, y / 2.0);
        u.line(half(from), half(to), radius / 2.0, colour.u);
        v.line(half(from), half(to), radius / 2.0, colour.v);
    }
}

/// Which pixels [`Canvas::line`] may touch.
#[must_use]
pub fn line_rect(from: (f32, f32), to: (f32, f32), radius: f32) -> Rect {
    // Chroma's anti-aliased edge is two luma pixels wide.
    let reach = radius + 4.0;
    let edges =
        |one: f32, other: f32| (to_index(one.min(other) - reach) & !1, to_index(one.max(other) + reach + 2.0) & !1);
    let ((left, right), (top, bottom)) = (edges(from.0, to.0), edges(from.1, to.1));
    Rect { x: left, y: top, width: right - left, height: bottom - top }
}

/// `old` with `alpha`/255 of `new` in it.
pub(crate) const fn mix(old: u8, new: u8, alpha: u8) -> u8 {
    let sum = old as u16 * (255 - alpha as u16) + new as u16 * alpha as u16 + 127;
    // Exact division by 255 for all 16-bit products, without dividing.
    ((sum + 1 + (sum >> 8)) >> 8) as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range first")]
fn to_byte(value: f32) -> u8 {
    (value + 0.5).clamp(0.0, 255.0) as u8
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturating at 0 is what clips")]
fn to_index(value: f32) -> usize {
    value.max(0.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Colour = Colour { y: 235, u: 128, v: 128 };

    #[test]
    fn drawing_beyond_the_edges_is_clipped() {
        for (width, height) in [(1, 1), (3, 5), (16, 16)] {
            let mut bytes = vec![16; packed_size(PixelFormat::I420, (width, height))];
            let template = bytes.clone();
            let mut canvas = Canvas::new(&mut bytes, (width, height));
            let far = Rect { x: 2, y: 4, width: 900, height: 900 };
            canvas.fill(far, WHITE);
            canvas.stamp(&Sprite::new((8, 8), WHITE, |_, _| 1.0), (12, 14));
            canvas.stamp(&Sprite::new((8, 8), WHITE, |_, _| 1.0), (900, 900));
            canvas.line((-50.0, -3.0), (70.0, 90.0), 3.0, WHITE);
            canvas.restore(Rect { x: 0, y: 0, width: 900, height: 900 }, &template);
            assert_eq!(bytes, template);
        }
    }

    #[test]
    fn a_line_stays_within_its_rectangle() {
        for step in 0..60 {
            let angle = step as f32 * std::f32::consts::TAU / 60.0;
            let (from, to) = ((50.0, 50.0), (50.0 + 40.0 * angle.sin(), 50.0 - 40.0 * angle.cos()));
            let mut bytes = vec![16; packed_size(PixelFormat::I420, (100, 100))];
            let template = bytes.clone();
            let mut canvas = Canvas::new(&mut bytes, (100, 100));
            canvas.line(from, to, 2.5, WHITE);
            canvas.restore(line_rect(from, to, 2.5), &template);
            assert_eq!(bytes, template, "step {step}");
        }
    }

    #[test]
    fn mixing_is_exact_at_both_ends() {
        for value in 0..=255 {
            assert_eq!((mix(value, 99, 0), mix(99, value, 255)), (value, value));
        }
        assert_eq!(mix(0, 200, 128), 100);
    }

    #[test]
    fn colours_are_limited_range() {
        assert_eq!(Colour::from_rgb([1.0, 1.0, 1.0]), WHITE);
        assert_eq!(Colour::from_rgb([0.0, 0.0, 0.0]), Colour { y: 16, u: 128, v: 128 });
        assert_eq!(Colour::from_rgb([0.0, 0.0, 1.0]), Colour { y: 41, u: 240, v: 110 });
    }
}
