//! One plane of a picture moved, turned and scaled, between pixels by bilinear interpolation.

use super::BorderType;

/// Where each pixel of the result comes from: `x' = x·a + y·b + c` for both coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine(pub(super) [[f64; 3]; 2]);

impl Affine {
    /// The same for a plane that has one sample for two by two pixels, in their middle.
    pub(super) fn halved(self) -> Self {
        Self(self.0.map(|[a, b, c]| [a, b, (c + (a + b) * 0.5 - 0.5) * 0.5]))
    }
}

/// A plane to read from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    /// What lies beyond the edges.
    pub(super) border: BorderType,
    pub(super) black: u8,
}

/// Bits after the point of a place.
const BITS: u32 = 16;
const ONE: i64 = 1 << BITS;
/// Pixels that are computed side by side.
const RUN: usize = 16;

/// Fills `to`, rows of `width` pixels.
pub(super) fn warp(source: &Source<'_>, from: Affine, to: &mut [u8], width: usize) {
    let [across, along] = from.0;
    let steps = [fixed(across[0]), fixed(along[0])];
    for (y, row) in to.chunks_exact_mut(width.max(1)).enumerate() {
        let start = [across, along].map(|line| fixed(line[1] * y as f64 + line[2]));
        // The columns whose four neighbours are all in the picture.
        let mut inside = 0..row.len();
        for ((start, step), side) in start.iter().zip(steps).zip([source.width, source.height]) {
            let columns = columns_inside(*start, step, (side as i64 - 1) * ONE, row.len());
            inside = inside.start.max(columns.start)..inside.end.min(columns.end);
        }
        if inside.is_empty() {
            inside = 0..0;
        }
        let at = |column: usize| [start[0] + steps[0] * column as i64, start[1] + steps[1] * column as i64];
        let (left, rest) = row.split_at_mut(inside.start);
        let (middle, right) = rest.split_at_mut(inside.len());
        for (column, pixel) in left.iter_mut().enumerate() {
            *pixel = source.near_the_edge(at(column));
        }
        for (index, run) in middle.chunks_mut(RUN).enumerate() {
            source.read(at(inside.start + index * RUN), steps, run);
        }
        for (column, pixel) in (inside.end..).zip(right) {
            *pixel = source.near_the_edge(at(column));
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn fixed(value: f64) -> i64 {
    // Places beyond all pictures are all alike.
    (value.clamp(-1e6, 1e6) * ONE as f64).round() as i64
}

/// The columns, of `count`, with `0 <= start + column × step < limit`.
fn columns_inside(start: i64, step: i64, limit: i64, count: usize) -> std::ops::Range<usize> {
    let count = count as i64;
    // The first column at which a growing line has reached `value`.
    let reaches = |value: i64, start: i64, step: i64| (value - start + step - 1).div_euclid(step);
    let (first, end) = match step {
        0 if (0..limit).contains(&start) => (0, count),
        0 => (0, 0),
        1.. => (reaches(0, start, step), reaches(limit, start, step)),
        _ => (reaches(1 - limit, -start, -step), reaches(1, -start, -step)),
    };
    let column = |value: i64| usize::try_from(value.clamp(0, count)).unwrap_or_default();
    column(first)..column(end)
}

impl Source<'_> {
    /// Pixels that lie within the picture with all their neighbours.
    fn read(&self, [x, y]: [i64; 2], steps: [i64; 2], run: &mut [u8]) {
        let last = run.len() as i64 - 1;
        let [end_x, end_y] = [x + steps[0] * last, y + steps[1] * last];
        let is_straight = y >> BITS == end_y >> BITS && (end_x >> BITS) - (x >> BITS) == last && steps[0] > 0;
        if let (true, Ok(run)) = (is_straight, <&mut [u8; RUN]>::try_from(&mut *run)) {
            // Almost always: the neighbours of all pixels lie in two rows, one after the other.
            self.read_straight([x, y], steps, run);
            return;
        }
        let (mut x, mut y) = (x, y);
        for pixel in run {
            let first = (y >> BITS) as usize * self.stride + (x >> BITS) as usize;
            let (above, below) = (&self.bytes[first..first + 2], &self.bytes[first + self.stride..][..2]);
            *pixel = blend([above[0], above[1], below[0], below[1]], [x, y]);
            (x, y) = (x + steps[0], y + steps[1]);
        }
    }

    fn read_straight(&self, [x, y]: [i64; 2], steps: [i64; 2], run: &mut [u8; RUN]) {
        let first = (y >> BITS) as usize * self.stride + (x >> BITS) as usize;
        let above = &self.bytes[first..][..=RUN];
        let below = &self.bytes[first + self.stride..][..=RUN];
        let part = |value: i64| (value & (ONE - 1)) as f32 / ONE as f32;
        // Each pixel's place is one further, but for this.
        let drift = [(steps[0] - ONE) as f32 / ONE as f32, steps[1] as f32 / ONE as f32];
        let (part_x, part_y) = (part(x), part(y));
        for (index, pixel) in run.iter_mut().enumerate() {
            let (across, along) = (part_x + drift[0] * index as f32, part_y + drift[1] * index as f32);
            // Not `array::map`, which is a call in the innermost loop.
            let (left, right) = (f32::from(above[index]), f32::from(above[index + 1]));
            let upper = left + (right - left) * across;
            let (left, right) = (f32::from(below[index]), f32::from(below[index + 1]));
            let lower = left + (right - left) * across;
            // Adding 2^23 rounds, and leaves the integer in the low bits.
            *pixel = (upper + (lower - upper) * along + 8_388_608.0).to_bits() as u8;
        }
    }

    fn near_the_edge(&self, [x, y]: [i64; 2]) -> u8 {
        let at = |x: i64, y: i64| {
            let place = self.border.place(x, self.width).zip(self.border.place(y, self.height));
            place.map_or(self.black, |(x, y)| self.bytes[y * self.stride + x])
        };
        let (column, row) = (x >> BITS, y >> BITS);
        let four = [at(column, row), at(column + 1, row), at(column, row + 1), at(column + 1, row + 1)];
        blend(four, [x, y])
    }
}

/// Four neighbours, the upper ones first, by how near `place` is to each.
fn blend(four: [u8; 4], place: [i64; 2]) -> u8 {
    let (across, along) = ((place[0] >> (BITS - 8) & 255) as u32, (place[1] >> (BITS - 8) & 255) as u32);
    let upper = u32::from(four[0]) * (256 - across) + u32::from(four[1]) * across;
    let lower = u32::from(four[2]) * (256 - across) + u32::from(four[3]) * across;
    ((upper * (256 - along) + lower * along + (1 << 15)) >> 16) as u8
}

impl BorderType {
    /// Which of `count` pixels is shown at `index`, which may lie beyond them; none where it is black.
    fn place(self, index: i64, count: usize) -> Option<usize> {
        let count = i64::try_from(count).ok()?;
        let inside = match self {
            _ if (0..count).contains(&index) => index,
            Self::Black => return None,
            Self::Replicate => index.clamp(0, count - 1),
            Self::Wrap => index.rem_euclid(count),
            Self::Reflect => {
                let place = index.rem_euclid(2 * count);
                place.min(2 * count - 1 - place)
            }
            Self::Reflect101 => {
                let period = (2 * count - 2).max(1);
                let place = index.rem_euclid(period);
                place.min(period - place).min(count - 1)
            }
        };
        usize::try_from(inside).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIFTED: fn(f64, f64) -> Affine = |x, y| Affine([[1.0, 0.0, x], [0.0, 1.0, y]]);

    fn source(bytes: &[u8], width: usize, border: BorderType) -> Source<'_> {
        Source { bytes, stride: width, width, height: bytes.len() / width, border, black: 16 }
    }

    fn ramp(width: usize, height: usize) -> Vec<u8> {
        (0..width * height).map(|index| (20 + index % width * 3 + index / width * 2) as u8).collect()
    }

    fn warped(bytes: &[u8], width: usize, border: BorderType, from: Affine) -> Vec<u8> {
        let mut to = vec![0; bytes.len()];
        warp(&source(bytes, width, border), from, &mut to, width);
        to
    }

    #[test]
    fn every_border_continues_the_picture_its_own_way() {
        let row = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5];
        for (border, expected) in [
            (BorderType::Black, [16, 16, 16, 16, 1, 2, 3, 4, 5, 16, 16, 16]),
            (BorderType::Replicate, [1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 5]),
            (BorderType::Reflect, [4, 3, 2, 1, 1, 2, 3, 4, 5, 5, 4, 3]),
            (BorderType::Reflect101, [5, 4, 3, 2, 1, 2, 3, 4, 5, 4, 3, 2]),
            (BorderType::Wrap, [2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3]),
        ] {
            let mut to = [0; 12];
            warp(&source(&row, 5, border), SHIFTED(-4.0, 0.0), &mut to, 12);
            assert_eq!(to, expected, "{border:?}");
        }
        for border in BorderType::ALL {
            for count in 1..4 {
                assert!((-9..9).all(|index| border.place(index, count).is_none_or(|place| place < count)));
            }
        }
    }

    #[test]
    fn whole_pixels_are_copied_and_parts_are_mixed() {
        let picture = ramp(48, 12);
        assert_eq!(warped(&picture, 48, BorderType::Black, SHIFTED(0.0, 0.0)), picture);
        let right = warped(&picture, 48, BorderType::Black, SHIFTED(2.0, 1.0));
        let half = warped(&picture, 48, BorderType::Black, SHIFTED(0.5, 0.25));
        for y in 0..10 {
            for x in 0..45 {
                assert_eq!(right[y * 48 + x], picture[(y + 1) * 48 + x + 2]);
                assert_eq!(half[y * 48 + x], picture[y * 48 + x] + 2, "{x} {y}");
            }
        }
    }

    #[test]
    fn what_is_turned_is_where_the_formula_puts_it() {
        let picture = ramp(48, 30);
        for angle in [0.0_f64, 0.004, -0.03, 0.8, 3.0] {
            let (sin, cos) = angle.sin_cos();
            let from = Affine([[cos, -sin, 9.3], [sin, cos, 4.6]]);
            let to = warped(&picture, 48, BorderType::Black, from);
            for (index, pixel) in to.iter().enumerate() {
                let (column, row) = ((index % 48) as f64, (index / 48) as f64);
                let [x, y] = from.0.map(|[a, b, c]| a * column + b * row + c);
                if (0.0..=46.9).contains(&x) && (0.0..=28.9).contains(&y) {
                    let expected = 20.0 + x * 3.0 + y * 2.0;
                    assert!((f64::from(*pixel) - expected).abs() <= 1.0, "{angle}: {column} {row} is {pixel}");
                } else if x < -1.0 || y < -1.0 || x > 48.0 || y > 30.0 {
                    assert_eq!(*pixel, 16, "{angle}: {column} {row}");
                }
            }
        }
    }

    #[test]
    fn columns_inside_are_counted_right() {
        for start in -9..9 {
            for step in -3..4 {
                let inside = columns_inside(start, step, 5, 7);
                let expected: Vec<_> = (0..7).filter(|column| (0..5).contains(&(start + step * column))).collect();
                assert_eq!(inside.map(|column| column as i64).collect::<Vec<_>>(), expected, "{start} {step}");
            }
        }
    }

    #[test]
    fn chroma_lies_in_the_middle_of_its_pixels() {
        // Two pixels of luma are one of chroma; turned about the picture's middle, that middle stays.
        let (sin, cos) = 0.1_f64.sin_cos();
        let about = |middle: f64| {
            Affine([[cos, -sin, middle - (cos - sin) * middle], [sin, cos, middle - (sin + cos) * middle]])
        };
        let (halved, expected) = (about(31.5).halved(), about(15.5));
        for (one, other) in halved.0.as_flattened().iter().zip(expected.0.as_flattened()) {
            assert!((one - other).abs() < 1e-9);
        }
    }
}
