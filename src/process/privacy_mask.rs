//! Parts of the picture that nobody is to see: a neighbour's window, a keypad.
//!
//! A mask is a polygon in shares of the picture, so that it stays where it is when the size changes. It covers at least
//! what it encloses: all pixels that it touches, in blocks of two by two, which share their colour. It is put on before
//! anything else sees the picture; what it is put on, and when, is [`stages`](super::stages)' affair.

use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Rect};
use super::orientation::Orientation;

/// Most masks of a camera.
const MOST_MASKS: usize = 32;
/// Corners of a mask at most.
const MOST_POINTS: usize = 64;
/// Rows of pixels are looked at in so many lines: what lies between two of them and on none is thinner than a pixel.
const LINES_PER_BLOCK: usize = 8;
/// A pixelated picture is so many blocks high.
const MOSAIC_ROWS: usize = 18;

/// What is shown instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cover {
    /// Black: nothing can be seen.
    #[default]
    Black,
    /// Large squares of the colours that are there: that something moves can be seen.
    Pixelated,
}

/// One `[[camera.privacy_mask]]` section.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyMask {
    /// The corners, each `[x, y]` as shares of the picture's width and height from its top left corner, 0 to 1.
    pub points: Vec<[f64; 2]>,
    /// What is shown instead.
    pub cover: Cover,
}

impl PrivacyMask {
    /// One that hides everything.
    #[must_use]
    pub fn whole() -> Self {
        Self { points: vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], cover: Cover::Black }
    }

    /// The same part of a picture that is turned otherwise: it was drawn on one shown as `from`, and lies on one shown
    /// as `to`.
    #[must_use]
    pub fn turned(&self, from: Orientation, to: Orientation) -> Self {
        if from == to {
            return self.clone();
        }
        let points = self.points.iter().map(|point| to.shown_at(from.source_of(*point))).collect();
        Self { points, cover: self.cover }
    }

    /// Checks all masks of a camera.
    ///
    /// # Errors
    /// When there are too many, or one of them cannot be.
    pub fn validate_all(masks: &[Self]) -> Result<(), String> {
        if masks.len() > MOST_MASKS {
            return Err(format!("there are {} masks: {MOST_MASKS} is the most", masks.len()));
        }
        let mut numbered = masks.iter().enumerate();
        numbered.try_for_each(|(index, mask)| mask.validate().map_err(|reason| format!("mask {}: {reason}", index + 1)))
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    /// When there are too few or too many corners, or one is outside the picture.
    pub fn validate(&self) -> Result<(), String> {
        let count = self.points.len();
        if !(3..=MOST_POINTS).contains(&count) {
            return Err(format!("{count} corners make no mask: 3 to {MOST_POINTS}, each `[x, y]` from 0 to 1"));
        }
        match self.points.iter().flatten().find(|share| !(0.0..=1.0).contains(*share)) {
            Some(share) => Err(format!("{share} is outside the picture: shares of it are 0 to 1")),
            None => Ok(()),
        }
    }
}

/// Masks for pictures of one size.
pub struct Masks {
    size: (usize, usize),
    masks: Vec<(Cover, Vec<Span>)>,
    mosaic: Mosaic,
}

/// A run of blocks, two by two pixels each, in one row of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    row: usize,
    from: usize,
    to: usize,
}

impl Span {
    /// Its pixels in plane `index`.
    const fn rect(self, index: usize) -> Rect {
        let pixels = if index == 0 { 2 } else { 1 };
        Rect { x: self.from * pixels, y: self.row * pixels, width: (self.to - self.from) * pixels, height: pixels }
    }
}

impl Masks {
    /// The `masks` for pictures of `size`.
    #[must_use]
    pub fn new(masks: &[PrivacyMask], size: (usize, usize)) -> Self {
        let masks = masks.iter().map(|mask| (mask.cover, spans(&mask.points, size))).collect();
        Self { size, masks, mosaic: Mosaic::new(size) }
    }

    /// The size of the pictures.
    #[must_use]
    pub const fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Puts the masks on a picture, an unpadded I420 one of this size.
    ///
    /// # Panics
    /// When `picture` is smaller.
    pub fn apply(&mut self, picture: &mut [u8]) {
        let mut canvas = Canvas::new(picture, self.size);
        if self.masks.iter().any(|(cover, _)| *cover == Cover::Pixelated) {
            self.mosaic.look(&mut canvas);
        }
        for (cover, spans) in &self.masks {
            for span in spans {
                match cover {
                    Cover::Black => black(&mut canvas, *span),
                    Cover::Pixelated => self.mosaic.show(&mut canvas, *span),
                }
            }
        }
    }
}

fn black(canvas: &mut Canvas<'_>, span: Span) {
    for (index, plane) in canvas.planes.iter_mut().enumerate() {
        let value = if index == 0 { 16 } else { 128 };
        plane.rows(span.rect(index)).for_each(|row| row.fill(value));
    }
}

/// The blocks that a polygon touches.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the picture")]
fn spans(points: &[[f64; 2]], (width, height): (usize, usize)) -> Vec<Span> {
    let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
    let corners: Vec<[f64; 2]> =
        points.iter().map(|[x, y]| [x * width as f64 / 2.0, y * height as f64 / 2.0]).collect();
    let mut spans = Vec::new();
    for row in 0..rows {
        let mut covered = vec![false; columns];
        let mut cover = |from: f64, to: f64| {
            let from = (from.floor().max(0.0) as usize).min(columns);
            let to = (to.ceil().max(0.0) as usize).clamp(from, columns);
            covered[from..to].fill(true);
        };
        for line in 0..LINES_PER_BLOCK {
            let crossings = crossings(&corners, row as f64 + line as f64 / LINES_PER_BLOCK as f64);
            crossings.chunks_exact(2).for_each(|pair| cover(pair[0], pair[1]));
        }
        // What is thinner than the lines are apart: the edges themselves.
        for (one, other) in edges(&corners) {
            if let Some((from, to)) = part_in_row(one, other, row as f64) {
                cover(from, to);
            }
        }
        let mut column = 0;
        for run in covered.chunk_by(|one, other| one == other) {
            if run[0] {
                spans.push(Span { row, from: column, to: column + run.len() });
            }
            column += run.len();
        }
    }
    spans
}

fn edges(corners: &[[f64; 2]]) -> impl Iterator<Item = ([f64; 2], [f64; 2])> + '_ {
    corners.iter().copied().zip(corners.iter().copied().cycle().skip(1))
}

/// Where the polygon's edges cross the line at `y`, from left to right: inside is between each two.
fn crossings(corners: &[[f64; 2]], y: f64) -> Vec<f64> {
    let mut crossings: Vec<f64> = edges(corners)
        .filter(|([_, one], [_, other])| (*one <= y) != (*other <= y))
        .map(|(one, other)| one[0] + (y - one[1]) / (other[1] - one[1]) * (other[0] - one[0]))
        .collect();
    crossings.sort_by(f64::total_cmp);
    crossings
}

/// The columns that an edge has in the row of blocks from `top` on, if it is there.
fn part_in_row(one: [f64; 2], other: [f64; 2], top: f64) -> Option<(f64, f64)> {
    let (upper, lower) = if one[1] <= other[1] { (one, other) } else { (other, one) };
    let (from, to) = (upper[1].max(top), lower[1].min(top + 1.0));
    // An edge that only touches the row covers none of it.
    if from > to || from >= top + 1.0 || to <= top {
        return None;
    }
    let along = |y: f64| {
        let height = lower[1] - upper[1];
        let share = if height > 0.0 { (y - upper[1]) / height } else { 0.0 };
        upper[0] + share * (lower[0] - upper[0])
    };
    let ends = if lower[1] > upper[1] { (along(from), along(to)) } else { (upper[0], lower[0]) };
    Some((ends.0.min(ends.1), ends.0.max(ends.1)))
}

/// The picture in large squares.
struct Mosaic {
    /// Side of a square, in blocks of two by two pixels.
    side: usize,
    columns: usize,
    /// Means of each plane's squares.
    means: [Vec<u8>; 3],
    /// Sum and number of the pixels in one row of squares, while it is looked at.
    sums: Vec<(u32, u32)>,
}

impl Mosaic {
    fn new((width, height): (usize, usize)) -> Self {
        let side = (height / 2).div_ceil(MOSAIC_ROWS).max(4);
        let (columns, rows) = (width.div_ceil(2).div_ceil(side), height.div_ceil(2).div_ceil(side));
        Self { side, columns, means: std::array::from_fn(|_| vec![0; columns * rows]), sums: vec![(0, 0); columns] }
    }

    fn look(&mut self, canvas: &mut Canvas<'_>) {
        for (index, (plane, means)) in canvas.planes.iter().zip(&mut self.means).enumerate() {
            let side = if index == 0 { self.side * 2 } else { self.side };
            for (row, means) in plane.bytes.chunks(plane.width.max(1) * side).zip(means.chunks_mut(self.columns)) {
                self.sums.fill((0, 0));
                for row in row.chunks(plane.width.max(1)) {
                    for ((sum, count), part) in self.sums.iter_mut().zip(row.chunks(side)) {
                        *sum += part.iter().map(|value| u32::from(*value)).sum::<u32>();
                        *count += part.len() as u32;
                    }
                }
                for (mean, &(sum, count)) in means.iter_mut().zip(&self.sums) {
                    *mean = u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX);
                }
            }
        }
    }

    /// Gives each pixel of a span its square's mean.
    fn show(&self, canvas: &mut Canvas<'_>, span: Span) {
        for (index, plane) in canvas.planes.iter_mut().enumerate() {
            let pixels = if index == 0 { 2 } else { 1 };
            let means = &self.means[index][span.row / self.side * self.columns..];
            for row in plane.rows(span.rect(index)) {
                // Up to where the next square begins, then whole squares.
                let first = ((self.side - span.from % self.side) * pixels).min(row.len());
                let (first, rest) = row.split_at_mut(first);
                let parts = std::iter::once(first).chain(rest.chunks_mut(self.side * pixels));
                for (part, mean) in parts.zip(&means[span.from / self.side..]) {
                    part.fill(*mean);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::{PixelFormat, packed_size};

    fn mask(cover: Cover, points: &[[f64; 2]]) -> PrivacyMask {
        PrivacyMask { points: points.to_vec(), cover }
    }

    /// A white picture of `size` with the masks on it: its planes.
    fn masked(masks: &[PrivacyMask], size: (usize, usize)) -> [Vec<u8>; 3] {
        let mut picture = vec![200; packed_size(PixelFormat::I420, size)];
        Masks::new(masks, size).apply(&mut picture);
        let canvas = Canvas::new(&mut picture, size);
        canvas.planes.map(|plane| plane.bytes.to_vec())
    }

    #[test]
    fn a_rectangle_is_covered_in_all_planes_and_its_surroundings_are_not() {
        let corners = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]];
        let [y, u, v] = masked(&[mask(Cover::Black, &corners)], (16, 16));
        for (index, luma) in y.iter().enumerate() {
            let inside = (4..12).contains(&(index % 16)) && (4..12).contains(&(index / 16));
            assert_eq!(*luma, if inside { 16 } else { 200 }, "{index}");
        }
        for (index, (u, v)) in u.iter().zip(&v).enumerate() {
            let inside = (2..6).contains(&(index % 8)) && (2..6).contains(&(index / 8));
            assert_eq!((*u, *v), if inside { (128, 128) } else { (200, 200) }, "{index}");
        }
    }

    #[test]
    fn every_pixel_that_a_polygon_touches_is_covered() {
        // A slim sloping one, and one that is concave.
        let shapes: [&[[f64; 2]]; 3] = [
            &[[0.05, 0.05], [0.95, 0.9], [0.94, 0.92]],
            &[[0.1, 0.1], [0.9, 0.1], [0.5, 0.5], [0.9, 0.9], [0.1, 0.9]],
            &[[0.3, 0.501], [0.7, 0.501], [0.5, 0.502]],
        ];
        for points in shapes {
            let (width, height) = (64, 48);
            let [y, ..] = masked(&[mask(Cover::Black, points)], (width, height));
            // Points all along the edges, and within.
            for (one, other) in edges(points) {
                for step in 0..=1000 {
                    let share = f64::from(step) / 1000.0;
                    let at = |axis: usize| one[axis] + share * (other[axis] - one[axis]);
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 64")]
                    let pixel = |axis: usize, side: usize| (at(axis) * side as f64 - 1e-6) as usize;
                    assert_eq!(y[pixel(1, height) * width + pixel(0, width)], 16, "{points:?} at {share}");
                }
            }
            assert!(y.contains(&200), "{points:?} covers all");
        }
        let [y, ..] = masked(&[mask(Cover::Black, shapes[1])], (64, 48));
        assert_eq!((y[24 * 64 + 20], y[24 * 64 + 60]), (16, 200), "the notch is open");
    }

    #[test]
    fn a_pixelated_part_has_large_squares_of_what_is_there() {
        let size = (72, 72);
        let mut picture: Vec<u8> =
            (0..packed_size(PixelFormat::I420, size)).map(|index| (index % 2 * 100) as u8).collect();
        let before = picture.clone();
        let all = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]];
        Masks::new(&[mask(Cover::Pixelated, &all)], size).apply(&mut picture);
        for (row, old) in picture[..72 * 72].chunks_exact(72).zip(before.chunks_exact(72)) {
            assert!(row[..36].iter().all(|luma| *luma == 50));
            assert_eq!(row[36..], old[36..]);
        }
    }

    #[test]
    fn masks_fit_any_size() {
        let whole = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        for size in [(1, 1), (2, 2), (33, 35), (640, 480)] {
            for cover in [Cover::Black, Cover::Pixelated] {
                let planes = masked(&[mask(cover, &whole)], size);
                let expected = if cover == Cover::Black { [16, 128, 128] } else { [200; 3] };
                for (plane, expected) in planes.iter().zip(expected) {
                    assert!(plane.iter().all(|value| *value == expected), "{size:?} {cover:?}");
                }
            }
        }
    }

    #[test]
    fn a_mask_turns_with_the_picture() {
        let mask = mask(Cover::Black, &[[0.0, 0.0], [0.5, 0.0], [0.5, 0.25]]);
        let upright = Orientation::default();
        // The upper left corner is the upper right one after a quarter turn clockwise.
        let quarter = mask.turned(upright, Orientation::new(false, false, 90));
        assert_eq!(quarter.points, [[1.0, 0.0], [1.0, 0.5], [0.75, 0.5]]);
        for (hflip, vflip) in [(false, false), (true, false), (false, true), (true, true)] {
            for degrees in [0, 90, 180, 270] {
                let other = Orientation::new(hflip, vflip, degrees);
                assert_eq!(mask.turned(upright, other).turned(other, upright), mask, "{other:?}");
            }
        }
    }

    #[test]
    fn what_is_no_polygon_in_the_picture_is_refused_in_words() {
        let problem = |points: &[[f64; 2]]| mask(Cover::Black, points).validate().unwrap_err();
        assert!(problem(&[[0.0, 0.0], [1.0, 1.0]]).starts_with("2 corners make no mask"));
        assert!(problem(&[[0.0, 0.0], [1.0, 1.5], [0.0, 1.0]]).starts_with("1.5 is outside the picture"));
        assert!(problem(&[[0.0, f64::NAN], [1.0, 1.0], [0.0, 1.0]]).contains("outside"));
        assert_eq!(mask(Cover::Black, &[[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).validate(), Ok(()));
    }
}
