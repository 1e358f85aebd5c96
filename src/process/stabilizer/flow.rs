//! Where points of one picture are in the next: Lucas and Kanade's iteration, from small copies of the pictures to
//! large ones (Bouguet 2000, "Pyramidal implementation of the Lucas Kanade feature tracker").
//!
//! A change of brightness of the whole window (the camera's exposure, a cloud) is taken out of the comparison.

use super::pyramid::{Level, Pyramid};

/// Side of the square that is compared.
const SIDE: usize = 16;
/// The same with a pixel around it, for the gradients.
const AROUND: usize = SIDE + 2;
const MOST_STEPS: usize = 8;
/// A step so small, in pixels, is the last; in the smaller copies, whose result is only a guess, a larger one.
const LAST_STEP: f32 = 0.01;
const LAST_ROUGH_STEP: f32 = 0.05;
/// How much of what is in the window may differ in the other picture, beside a sensor's noise.
const MOST_UNLIKE: f32 = 0.35;
const NOISE: f32 = 12.0;

/// The place in `after` of what is at `point` in `before`, in pixels of their largest levels; none if it is not there.
pub(super) fn follow(before: &Pyramid, after: &Pyramid, point: [f32; 2]) -> Option<[f32; 2]> {
    let mut moved = [0.0; 2];
    for (index, (from, to)) in before.levels.iter().zip(&after.levels).enumerate().rev() {
        let shrink = (1 << index) as f32;
        // A small pixel's middle is the middle of those that it was made from.
        let place = point.map(|side| (side + 0.5) / shrink - 0.5);
        moved = moved.map(|side| side * 2.0);
        let last = if index == 0 { LAST_STEP } else { LAST_ROUGH_STEP };
        let step = Window::of(from, place).and_then(|window| window.find(to, place, moved, last));
        match step {
            Some(step) => moved = step,
            // Close to the edge the small copies have no room for the window, or what it shows is not there any more.
            None if index > 0 => {}
            None => return None,
        }
    }
    Some([point[0] + moved[0], point[1] + moved[1]])
}

/// Numbers that vector units of any kind compute with at once.
const LANES: usize = 4;
type Lanes = [f32; LANES];
type Row = [Lanes; SIDE / LANES];

// Not `array::from_fn` or `map`: those are calls in the innermost loop.
fn add(sum: &mut Lanes, one: &Lanes, other: &Lanes) {
    for ((sum, one), other) in sum.iter_mut().zip(one).zip(other) {
        *sum += one * other;
    }
}

/// What is looked for.
struct Window {
    pixels: [Row; SIDE],
    across: [Row; SIDE],
    along: [Row; SIDE],
    mean_across: f32,
    mean_along: f32,
    /// Inverse of the gradients' matrix: xx, xy, yy.
    inverse: [f32; 3],
    variance: f32,
}

impl Window {
    fn of(level: &Level, [x, y]: [f32; 2]) -> Option<Self> {
        let half = (SIDE / 2) as f32;
        let mut around = [[0.0; AROUND]; AROUND];
        sample(level, [x - half - 1.0, y - half - 1.0], &mut around)?;
        let mut window = Self {
            pixels: [[[0.0; LANES]; SIDE / LANES]; SIDE],
            across: [[[0.0; LANES]; SIDE / LANES]; SIDE],
            along: [[[0.0; LANES]; SIDE / LANES]; SIDE],
            mean_across: 0.0,
            mean_along: 0.0,
            inverse: [0.0; 3],
            variance: 0.0,
        };
        let mut sums = [[0.0; LANES]; 7];
        for row in 0..SIDE {
            let (above, middle, below) = (&around[row], &around[row + 1], &around[row + 2]);
            for first in (0..SIDE).step_by(LANES) {
                let (mut pixel, mut across, mut along) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
                for lane in 0..LANES {
                    let column = first + lane + 1;
                    pixel[lane] = middle[column];
                    across[lane] = (middle[column + 1] - middle[column - 1]) * 0.5;
                    along[lane] = (below[column] - above[column]) * 0.5;
                }
                window.pixels[row][first / LANES] = pixel;
                window.across[row][first / LANES] = across;
                window.along[row][first / LANES] = along;
                let ones = &[1.0; LANES];
                add(&mut sums[0], &pixel, ones);
                add(&mut sums[1], &pixel, &pixel);
                add(&mut sums[2], &across, ones);
                add(&mut sums[3], &along, ones);
                add(&mut sums[4], &across, &across);
                add(&mut sums[5], &across, &along);
                add(&mut sums[6], &along, &along);
            }
        }
        let [pixel, square, across, along, xx, xy, yy] = sums.map(mean);
        (window.mean_across, window.mean_along) = (across, along);
        window.variance = square - pixel * pixel;
        let (xx, xy, yy) = (xx - across * across, xy - across * along, yy - along * along);
        let determinant = xx * yy - xy * xy;
        // Along an edge, or where nothing is to be seen, there is no answer.
        if determinant < 0.25 {
            return None;
        }
        window.inverse = [yy / determinant, -xy / determinant, xx / determinant];
        Some(window)
    }

    /// Where this is in `level`, from `place`: `guess` made better.
    fn find(&self, level: &Level, place: [f32; 2], guess: [f32; 2], last: f32) -> Option<[f32; 2]> {
        let half = (SIDE / 2) as f32;
        let mut moved = guess;
        let mut unlike = f32::MAX;
        for _ in 0..MOST_STEPS {
            let mut there = [[0.0; SIDE]; SIDE];
            sample(level, [place[0] + moved[0] - half, place[1] + moved[1] - half], &mut there)?;
            let mut sums = [[0.0; LANES]; 4];
            for row in 0..SIDE {
                let there = there[row].as_chunks::<LANES>().0;
                for (index, there) in there.iter().enumerate() {
                    let mut difference = *there;
                    for (difference, pixel) in difference.iter_mut().zip(&self.pixels[row][index]) {
                        *difference -= pixel;
                    }
                    add(&mut sums[0], &difference, &[1.0; LANES]);
                    add(&mut sums[1], &difference, &difference);
                    add(&mut sums[2], &difference, &self.across[row][index]);
                    add(&mut sums[3], &difference, &self.along[row][index]);
                }
            }
            let [brighter, square, across, along] = sums.map(mean);
            unlike = square - brighter * brighter;
            let (across, along) = (across - brighter * self.mean_across, along - brighter * self.mean_along);
            let [xx, xy, yy] = self.inverse;
            let step = [xx * across + xy * along, xy * across + yy * along];
            moved = [moved[0] - step[0], moved[1] - step[1]];
            if step[0].abs().max(step[1].abs()) < last {
                break;
            }
        }
        let is_lost = [0, 1].iter().any(|side| (moved[*side] - guess[*side]).abs() > SIDE as f32);
        (!is_lost && unlike < MOST_UNLIKE * self.variance + NOISE).then_some(moved)
    }
}

fn mean(lanes: Lanes) -> f32 {
    lanes.iter().sum::<f32>() / (SIDE * SIDE) as f32
}

/// A square of `level` whose first pixel lies at `place`, between pixels; none if it reaches past the edge.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be inside")]
fn sample<const N: usize>(level: &Level, [x, y]: [f32; 2], square: &mut [[f32; N]; N]) -> Option<()> {
    let (right, bottom) = ((level.width as f32) - N as f32, (level.height as f32) - N as f32);
    if !(x >= 0.0 && y >= 0.0 && x < right && y < bottom) {
        return None;
    }
    let (column, row) = (x as usize, y as usize);
    let (across, along) = (x - column as f32, y - row as f32);
    let read = |row: usize| {
        let from = &level.pixels[row * level.width + column..][..=N];
        let mut to = [0.0; N];
        for (index, to) in to.iter_mut().enumerate() {
            let (left, right) = (f32::from(from[index]), f32::from(from[index + 1]));
            *to = left + (right - left) * across;
        }
        to
    };
    let mut above = read(row);
    for (index, to) in square.iter_mut().enumerate() {
        let below = read(row + index + 1);
        for ((to, above), below) in to.iter_mut().zip(&above).zip(&below) {
            *to = above + (below - above) * along;
        }
        above = below;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pyramid(right: f32, down: f32, light: f32) -> Pyramid {
        let mut luma = Vec::new();
        for y in 0..120 {
            for x in 0..160 {
                let (x, y) = (x as f32 - right, y as f32 - down);
                let wave = (x * 0.21).sin() + (y * 0.17 + 1.0).sin() + (x * 0.045 + y * 0.06).sin() * 2.0;
                luma.push((light + 18.0 * wave).round() as u8);
            }
        }
        let mut pyramid = Pyramid::default();
        pyramid.fill(&luma, 160, (160, 120));
        pyramid
    }

    #[test]
    fn points_are_followed_to_a_fraction_of_a_pixel() {
        let before = pyramid(0.0, 0.0, 110.0);
        for (right, down) in [(0.0, 0.0), (0.4, -0.3), (3.7, 2.2), (-9.0, 6.5)] {
            let after = pyramid(right, down, 110.0);
            for point in [[60.0, 50.0], [81.0, 64.0], [100.0, 70.0]] {
                let found = follow(&before, &after, point).unwrap();
                let miss = (found[0] - point[0] - right).hypot(found[1] - point[1] - down);
                assert!(miss < 0.08, "{right} {down}: {point:?} found at {found:?}");
            }
        }
    }

    #[test]
    fn a_change_of_light_moves_nothing() {
        let found = follow(&pyramid(0.0, 0.0, 110.0), &pyramid(1.5, 0.0, 135.0), [81.0, 64.0]).unwrap();
        assert!((found[0] - 82.5).abs() < 0.08 && (found[1] - 64.0).abs() < 0.08, "{found:?}");
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let before = pyramid(0.0, 0.0, 110.0);
        let mut flat = Pyramid::default();
        flat.fill(&[110; 160 * 120], 160, (160, 120));
        assert_eq!(follow(&before, &flat, [81.0, 64.0]), None);
        assert_eq!(follow(&flat, &before, [81.0, 64.0]), None);
        assert_eq!(follow(&before, &before, [3.0, 64.0]), None);
    }
}
