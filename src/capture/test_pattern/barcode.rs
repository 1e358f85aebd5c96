//! The time of a picture, written into the picture.
//!
//! Whoever receives the stream can read from the strip along the top when the picture was made, and so measure
//! how late it is, without trusting any clock of the transport. The strip is a twentieth of the picture high (see
//! [`strip_height`]) and has 40 equal cells, pixel column `x` belonging to cell `x * 40 / width`; black is
//! luma 16, white 235, chroma 128:
//!
//! | cells | hold |
//! |-------|------|
//! | 4     | the sync pattern 1 0 1 0 |
//! | 32    | Unix time in milliseconds modulo 2^32, most significant bit first |
//! | 4     | the exclusive or of its eight nibbles, most significant bit first |
//!
//! Pictures less than 80 pixels wide carry a strip that nobody can read.

use std::time::{SystemTime, UNIX_EPOCH};

const CELLS: usize = 40;
const SYNC: u64 = 0b1010;
/// White and black of the sync cells must differ at least this much to count.
const LEAST_CONTRAST: u32 = 48;

/// Milliseconds since 1970, the time that the strip shows modulo 2^32.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Rows of the strip in a picture of `height` rows.
#[must_use]
pub const fn strip_height(height: usize) -> usize {
    let rows = height / 20;
    if rows < 8 { 8 } else { rows & !1 }
}

/// Draws the strip for `unix_ms` into an unpadded luma plane. Its chroma must be neutral already, and whatever its first row has
/// the rows below must have too: cells that have the right shade already are not touched.
pub(super) fn draw(luma: &mut [u8], (width, height): (usize, usize), unix_ms: u64) {
    let word = word_of(low_32_bits(unix_ms));
    let strip = &mut luma[..width * strip_height(height).min(height)];
    for cell in 0..CELLS {
        let shade = if word >> (CELLS - 1 - cell) & 1 == 1 { 235 } else { 16 };
        let columns = cell_start(cell, width)..cell_start(cell + 1, width);
        if strip.get(columns.start).is_some_and(|old| *old != shade) {
            strip.chunks_exact_mut(width).for_each(|row| row[columns.clone()].fill(shade));
        }
    }
}

/// The time in the strip of a picture's luma plane, in milliseconds modulo 2^32. `None` when there is no strip, or
/// when it does not pass its check.
#[must_use]
pub fn decode_barcode(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<u32> {
    if width < 2 * CELLS || stride < width || height == 0 {
        return None;
    }
    // The middle of a cell has the least of its neighbours' ringing and blur.
    let rows = strip_height(height).min(height);
    let rows = rows / 4..(rows - rows / 4);
    let mut levels = [0_u32; CELLS];
    for (cell, level) in levels.iter_mut().enumerate() {
        let (start, end) = (cell_start(cell, width), cell_start(cell + 1, width));
        let inset = (end - start) / 4;
        let columns = start + inset..end - inset;
        let (mut sum, mut count) = (0_u64, 0_u64);
        for row in rows.clone() {
            let pixels = luma.get(row * stride + columns.start..row * stride + columns.end)?;
            sum += pixels.iter().map(|pixel| u64::from(*pixel)).sum::<u64>();
            count += pixels.len() as u64;
        }
        *level = u32::try_from(sum / count.max(1)).ok()?;
    }
    let (white, black) = (levels[0].min(levels[2]), levels[1].max(levels[3]));
    if white < black + LEAST_CONTRAST {
        return None;
    }
    let middle = white.midpoint(black);
    let word = levels.iter().fold(0, |word, level| word << 1 | u64::from(*level > middle));
    let time = low_32_bits(word >> 4);
    (word_of(time) == word).then_some(time)
}

/// The 40 cells as the bits of a number, the leftmost cell being the most significant.
fn word_of(time: u32) -> u64 {
    let check = (0..8).fold(0, |check, nibble| check ^ (time >> (4 * nibble) & 0xf));
    SYNC << 36 | u64::from(time) << 4 | u64::from(check)
}

const fn cell_start(cell: usize, width: usize) -> usize {
    (cell * width).div_ceil(CELLS)
}

#[expect(clippy::cast_possible_truncation, reason = "the strip holds time modulo 2^32")]
const fn low_32_bits(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(size: (usize, usize), time: u64) -> Vec<u8> {
        let mut luma = vec![90; size.0 * size.1];
        draw(&mut luma, size, time);
        luma
    }

    #[test]
    fn what_is_drawn_is_read() {
        for (width, height) in [(80, 32), (82, 48), (640, 480), (1280, 720), (1366, 768), (4096, 4096)] {
            for time in [0, 1, 0xffff_ffff, 0xdead_beef, 1_760_000_000_123] {
                let luma = strip((width, height), time);
                assert_eq!(decode_barcode(&luma, width, width, height), Some(low_32_bits(time)), "{width}×{height}");
            }
        }
    }

    #[test]
    fn columns_belong_to_the_cell_that_their_position_says() {
        for width in [32, 34, 640, 1366] {
            for x in 0..width {
                let cell = x * CELLS / width;
                assert!((cell_start(cell, width)..cell_start(cell + 1, width)).contains(&x), "{x} of {width}");
            }
        }
    }

    #[test]
    fn the_strip_survives_heavy_noise_and_low_contrast() {
        let mut luma = strip((640, 480), 0x1234_5678);
        let mut state = 1_u32;
        for pixel in &mut luma {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = i32::from(state.to_be_bytes()[0]) - 128;
            *pixel = u8::try_from((i32::from(*pixel) / 2 + 60 + noise).clamp(0, 255)).unwrap();
        }
        assert_eq!(decode_barcode(&luma, 640, 640, 480), Some(0x1234_5678));
    }

    #[test]
    fn a_flipped_cell_or_a_picture_without_a_strip_is_refused() {
        let mut luma = strip((640, 480), 0x1234_5678);
        for row in luma.chunks_exact_mut(640).take(24) {
            row[10 * 16..11 * 16].iter_mut().for_each(|pixel| *pixel = 251 - *pixel);
        }
        assert_eq!(decode_barcode(&luma, 640, 640, 480), None);
        assert_eq!(decode_barcode(&vec![128; 640 * 480], 640, 640, 480), None);
        assert_eq!(decode_barcode(&[128; 100], 640, 640, 480), None);
        assert_eq!(decode_barcode(&vec![128; 64 * 64], 64, 64, 64), None);
        assert_eq!(decode_barcode(&[], 0, 0, 0), None);
    }
}
