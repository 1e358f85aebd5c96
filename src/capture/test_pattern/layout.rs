//! Where everything lies in a test picture of a given size.
//!
//! From top to bottom: the timestamp strip, a drifting ribbon, the stage (words, dial, gliding orbs), another ribbon,
//! the colour bars. All edges are even, so that chroma follows luma exactly.

use super::barcode::strip_height;
use crate::process::canvas::Rect;
use crate::process::text::advance;

/// Smallest letters that survive an encoder.
const LEAST_LETTER: usize = 8;

/// The places of a picture's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) size: (usize, usize),
    pub(super) strip: Rect,
    pub(super) ribbons: [Rect; 2],
    pub(super) stage: Rect,
    pub(super) bars: Rect,
    /// Centre of the dial in pixels.
    pub(super) dial: (f32, f32),
    pub(super) dial_radius: f32,
    /// Label, clock, frame number, format: none of them where it does not fit.
    pub(super) lines: [Option<Line>; 4],
}

/// A line of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) letter: usize,
    pub(super) columns: usize,
}

impl Line {
    pub(super) const fn rect(&self) -> Rect {
        Rect { x: self.x, y: self.y, width: even_up(advance(self.letter) * self.columns), height: even_up(self.letter) }
    }
}

impl Layout {
    pub(super) fn new((width, height): (usize, usize)) -> Self {
        let band = |y: usize, height: usize| Rect { x: 0, y, width, height };
        let strip = band(0, strip_height(height));
        let ribbon = even(height / 60);
        let bars = even(height / 10);
        let stage = band(strip.height + ribbon, height - bars - strip.height - 2 * ribbon);
        let upper = band(strip.height, ribbon);
        let lower = band(stage.y + stage.height, ribbon);

        let margin = even(width / 24);
        let beside = width / 2 - margin;
        // Words stand beside the dial, or across it where half the width is too little for them.
        let is_narrow = beside < 12 * LEAST_LETTER;
        let room = if is_narrow { width - 2 * margin } else { beside };
        let centre_y = (stage.y + stage.height / 2) as f32;
        let dial_x = if is_narrow { 0.5 } else { 0.74 };
        Self {
            size: (width, height),
            strip,
            ribbons: [upper, lower],
            stage,
            bars: band(height - bars, bars),
            dial: (width as f32 * dial_x, centre_y),
            dial_radius: (stage.height as f32 * 0.38).min(width as f32 * 0.2),
            lines: lines(stage, margin, room),
        }
    }
}

fn lines(stage: Rect, x: usize, room: usize) -> [Option<Line>; 4] {
    let big = largest(room / 12).max(LEAST_LETTER).min(stage.height / 5);
    let small = (big / 2).max(LEAST_LETTER);
    let gap = even_up(small);
    let fits = |letter: usize, columns: usize| letter >= LEAST_LETTER && advance(letter) * columns <= room;
    let columns = (room / advance(small)).min(24);
    let wanted = [
        fits(small, 18).then_some((small, 18)),
        fits(big, 12).then_some((big, 12)),
        fits(small, 14).then_some((small, columns)),
        fits(small, 18).then_some((small, columns)),
    ];
    let total: usize = wanted.iter().flatten().map(|(letter, _)| even_up(*letter) + gap).sum();
    let mut y = stage.y + even(stage.height.saturating_sub(total.saturating_sub(gap)) / 2);
    let end = stage.y + stage.height;
    wanted.map(|line| {
        let (letter, columns) = line?;
        let line = Line { x, y, letter, columns };
        y += even_up(letter) + gap;
        (line.y + even_up(letter) <= end).then_some(line)
    })
}

/// Height of the largest letters that are at most `width` wide.
const fn largest(width: usize) -> usize {
    if width < 12 { width } else { width * 4 / 3 }
}

/// The even number at or below.
pub(super) const fn even(value: usize) -> usize {
    value & !1
}

/// The even number at or above.
pub(super) const fn even_up(value: usize) -> usize {
    (value + 1) & !1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bands_fill_the_picture_and_all_edges_are_even() {
        for size in [(32, 32), (34, 32), (32, 4096), (4096, 32), (640, 480), (1280, 720), (1366, 768), (4096, 4096)] {
            let layout = Layout::new(size);
            let [upper, lower] = layout.ribbons;
            let mut y = 0;
            for band in [layout.strip, upper, layout.stage, lower, layout.bars] {
                assert_eq!((band.x, band.y, band.width), (0, y, size.0), "{size:?}");
                assert_eq!(band.height % 2, 0);
                y += band.height;
            }
            assert_eq!(y, size.1);
        }
    }

    #[test]
    fn words_stay_on_the_stage_and_are_left_out_of_tiny_pictures() {
        for width in (32..2000).step_by(26) {
            for height in (32..2000).step_by(58) {
                let layout = Layout::new((width, height));
                for line in layout.lines.iter().flatten() {
                    let rect = line.rect();
                    assert!(rect.x + rect.width <= width && rect.y >= layout.stage.y);
                    assert!(rect.y + rect.height <= layout.stage.y + layout.stage.height);
                }
            }
        }
        assert!(Layout::new((32, 32)).lines.iter().all(Option::is_none));
        assert!(Layout::new((320, 240)).lines.iter().all(Option::is_some));
    }
}
