//! A clip with a known shake, and how much its pictures move. `tests/stabilizer_vidgear.py` makes the same clip and measures
//! in the same way: whoever changes one changes both.

use super::similarity::Similarity;
use crate::base::clock::Timestamp;
use crate::media::frame::{Frame, PixelFormat, packed_size};

pub(super) const WIDTH: usize = 320;
pub(super) const HEIGHT: usize = 240;

const SCENE_WIDTH: usize = 448;
const SCENE_HEIGHT: usize = 352;

/// Noise from 0 to 1 that looks random and is the same everywhere.
pub(super) fn noise(x: usize, y: usize, seed: usize) -> f64 {
    let number = |value: usize| u32::try_from(value).unwrap();
    let mut mixed = number(x)
        .wrapping_mul(0x85eb_ca6b)
        .wrapping_add(number(y).wrapping_mul(0xc2b2_ae35))
        .wrapping_add(number(seed).wrapping_mul(0x27d4_eb2f));
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
    }
    f64::from(mixed >> 16) / 65535.0
}

/// What the camera looks at: clouds of three sizes.
pub(super) fn scene() -> Vec<f64> {
    let mut scene = Vec::with_capacity(SCENE_WIDTH * SCENE_HEIGHT);
    for y in 0..SCENE_HEIGHT {
        for x in 0..SCENE_WIDTH {
            let mut light = 30.0;
            for (seed, (cell, strength)) in [(4, 45.0), (10, 60.0), (25, 80.0)].into_iter().enumerate() {
                let (column, row) = (x / cell, y / cell);
                let (right, down) = ((x % cell) as f64 / cell as f64, (y % cell) as f64 / cell as f64);
                let mix = |row| noise(column, row, seed) * (1.0 - right) + noise(column + 1, row, seed) * right;
                light += strength * (mix(row) * (1.0 - down) + mix(row + 1) * down);
            }
            scene.push(light);
        }
    }
    scene
}

/// Where the camera stands at picture `index`: right, down, angle.
pub(super) fn shake(index: usize) -> [f64; 3] {
    let time = index as f64;
    let wave = |period: f64, phase: f64| (time * std::f64::consts::TAU / period + phase).sin();
    let jolt = |axis: usize| noise(index, axis, 99) - 0.5;
    [
        4.0 * wave(7.3, 0.0) + 2.0 * wave(3.1, 1.0) + 2.0 * jolt(0),
        3.0 * wave(9.1, 2.0) + 1.5 * wave(2.7, 0.5) + 2.0 * jolt(1),
        0.010 * wave(5.7, 0.3) + 0.004 * jolt(2),
    ]
}

/// Luma that the camera sees from `place`, with a sensor's noise.
pub(super) fn look(scene: &[f64], [right, down, angle]: [f64; 3], index: usize) -> Vec<u8> {
    let (sin, cos) = angle.sin_cos();
    let mut luma = Vec::with_capacity(WIDTH * HEIGHT);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (from_x, from_y) = (x as f64 - 159.5, y as f64 - 119.5);
            let scene_x = cos * from_x - sin * from_y + right + 223.5;
            let scene_y = sin * from_x + cos * from_y + down + 175.5;
            let (column, row) = (scene_x as usize, scene_y as usize);
            let (across, along) = (scene_x - column as f64, scene_y - row as f64);
            let mix = |row: usize| {
                let at = row * SCENE_WIDTH + column;
                scene[at] * (1.0 - across) + scene[at + 1] * across
            };
            let light = mix(row) * (1.0 - along) + mix(row + 1) * along;
            luma.push((light + 4.0 * noise(x, y, 1000 + index) - 2.0 + 0.5) as u8);
        }
    }
    luma
}

/// Luma as a grey frame, the `index`-th at 30 a second.
pub(super) fn frame(luma: &[u8], (width, height): (usize, usize), index: usize) -> Frame {
    let mut memory = vec![128; packed_size(PixelFormat::I420, (width, height))];
    memory[..luma.len()].copy_from_slice(luma);
    let at = Timestamp::from_nanos(index as u64 * 33_333_333);
    Frame::packed(PixelFormat::I420, (width, height), at, Box::new(memory)).unwrap()
}

fn halved(luma: &[f64], (width, height): (usize, usize)) -> Vec<f64> {
    let mean = |index: usize| {
        let at = index / (width / 2) * 2 * width + index % (width / 2) * 2;
        (luma[at] + luma[at + 1] + luma[at + width] + luma[at + width + 1]) / 4.0
    };
    (0..width / 2 * (height / 2)).map(mean).collect()
}

/// How the middle of a picture (three fifths of each side) moved to the next: a quarter of its pixels are brought
/// together (Gauss and Newton's method on copies of a quarter, half and full size), no single points.
pub(super) fn measured_move(before: &[u8], after: &[u8]) -> [f64; 4] {
    let float = |luma: &[u8]| luma.iter().map(|level| f64::from(*level)).collect::<Vec<_>>();
    let mut copies = vec![(float(before), float(after), (WIDTH, HEIGHT))];
    for _ in 0..2 {
        let (before, after, size) = copies.last().unwrap();
        copies.push((halved(before, *size), halved(after, *size), (size.0 / 2, size.1 / 2)));
    }
    let mut moved = Similarity::IDENTITY;
    for (before, after, (width, height)) in copies.iter().rev() {
        moved = Similarity { right: moved.right * 2.0, down: moved.down * 2.0, ..moved };
        for _ in 0..6 {
            moved = better(before, after, (*width, *height), moved);
        }
    }
    moved.parts()
}

fn better(before: &[f64], after: &[f64], (width, height): (usize, usize), moved: Similarity) -> Similarity {
    let middle = [(width as f64 - 1.0) / 2.0, (height as f64 - 1.0) / 2.0];
    let mut normal = [[0.0; 5]; 4];
    for y in (height / 5..height * 4 / 5).step_by(2) {
        for x in (width / 5..width * 4 / 5).step_by(2) {
            let from = [x as f64 - middle[0], y as f64 - middle[1]];
            let [to_x, to_y] = moved.apply(from);
            let (to_x, to_y) = (to_x + middle[0], to_y + middle[1]);
            let (column, row) = (to_x.max(0.0) as usize, to_y.max(0.0) as usize);
            if column + 1 >= width || row + 1 >= height {
                continue;
            }
            let (across, along) = (to_x - column as f64, to_y - row as f64);
            let (four, at) = (after, row * width + column);
            let upper = four[at] * (1.0 - across) + four[at + 1] * across;
            let lower = four[at + width] * (1.0 - across) + four[at + width + 1] * across;
            let miss = before[y * width + x] - (upper * (1.0 - along) + lower * along);
            let at = y * width + x;
            let slope = [(before[at + 1] - before[at - 1]) / 2.0, (before[at + width] - before[at - width]) / 2.0];
            // Right, down, sine and cosine.
            let terms =
                [slope[0], slope[1], slope[1] * from[0] - slope[0] * from[1], slope[0] * from[0] + slope[1] * from[1]];
            for (row, term) in normal.iter_mut().zip(terms) {
                for (sum, other) in row.iter_mut().zip(terms) {
                    *sum += term * other;
                }
                row[4] += term * miss;
            }
        }
    }
    let [right, down, sin, cos] = solved(normal);
    Similarity { right: moved.right + right, down: moved.down + down, sin: moved.sin + sin, cos: moved.cos + cos }
}

/// Four equations, by elimination.
fn solved(mut rows: [[f64; 5]; 4]) -> [f64; 4] {
    for pivot in 0..4 {
        let scale = rows[pivot][pivot];
        rows[pivot] = rows[pivot].map(|value| value / scale);
        let pivot_row = rows[pivot];
        for (_, row) in rows.iter_mut().enumerate().filter(|(index, _)| *index != pivot) {
            let factor = row[pivot];
            for (value, from) in row.iter_mut().zip(pivot_row) {
                *value -= factor * from;
            }
        }
    }
    rows.map(|row| row[4])
}

/// How far the pixels of a picture move to the next, in pixels (root of the mean square over pixels and pictures).
pub(super) fn unrest(pictures: &[Vec<u8>]) -> f64 {
    let moves = pictures.windows(2).map(|pair| {
        let [right, down, angle, scale] = measured_move(&pair[0], &pair[1]);
        let spread = (WIDTH * WIDTH + HEIGHT * HEIGHT) as f64 / 12.0;
        right * right + down * down + (angle * angle + scale * scale) * spread
    });
    (moves.sum::<f64>() / (pictures.len() - 1) as f64).sqrt()
}
