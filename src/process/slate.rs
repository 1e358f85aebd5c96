//! The picture that is shown while there is none: a headline, a reason, and a mark that moves.
//!
//! Viewers of a camera that is gone keep a living stream, and read why there is nothing to see. When to show it, and
//! with which words, is the supervisor's decision.

use std::sync::{Mutex, PoisonError};

use super::canvas::{Canvas, Colour, Rect, Sprite};
use super::text::{Face, advance, wrap};
use crate::base::clock::Timestamp;
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};

const DETAIL_LINES: usize = 3;
/// The mark's way there and back.
const PERIOD_MS: u64 = 3000;

/// Slates of one size.
pub struct Slate {
    size: (usize, usize),
    pool: FramePool,
    mark: Sprite,
    /// The backdrop with the words that were shown last: they rarely change.
    shown: Mutex<Words>,
}

#[derive(Default)]
struct Words {
    headline: String,
    detail: String,
    picture: Vec<u8>,
}

impl Slate {
    /// Slates of `(width, height)` pixels.
    #[must_use]
    pub fn new((width, height): (usize, usize)) -> Self {
        let side = (height / 45).max(2) & !1;
        let mark = Sprite::new((side * 3, side), Colour::from_rgb([0.95, 0.62, 0.18]), |x, y| {
            ((1.0 - (3.0 * (x.abs() - 2.0 / 3.0).max(0.0)).hypot(y)) * 3.0).clamp(0.0, 1.0)
        });
        Self { size: (width, height), pool: FramePool::new(3), mark, shown: Mutex::default() }
    }

    /// An I420 slate captured `at`: `headline` in large letters, `detail` below in small ones, on at most three
    /// lines.
    ///
    /// # Panics
    /// Never: the buffer is made for the picture.
    #[must_use]
    pub fn render(&self, headline: &str, detail: &str, at: Timestamp) -> Frame {
        let mut buffer = self.pool.take(packed_size(PixelFormat::I420, self.size));
        {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.picture.is_empty() || shown.headline != headline || shown.detail != detail {
                *shown =
                    Words { headline: headline.into(), detail: detail.into(), picture: self.draw(headline, detail) };
            }
            buffer.copy_from_slice(&shown.picture);
        }
        Canvas::new(&mut buffer, self.size).stamp(&self.mark, self.mark_place(at));
        Frame::packed(PixelFormat::I420, self.size, at, Box::new(buffer)).expect("the buffer has the picture's size")
    }

    fn draw(&self, headline: &str, detail: &str) -> Vec<u8> {
        let (width, height) = self.size;
        let mut picture = vec![0; packed_size(PixelFormat::I420, self.size)];
        let mut canvas = Canvas::new(&mut picture, self.size);
        for y in (0..height).step_by(2) {
            let light = 0.05 + 0.06 * (y as f32 / height as f32 * std::f32::consts::PI).sin();
            canvas.fill(Rect { x: 0, y, width, height: 2 }, Colour::from_rgb([light, light, light * 1.35]));
        }
        let room = width * 9 / 10;
        let large = (height / 7).min(room / headline.chars().count().clamp(7, 24)).max(8);
        let small = (height / 22).min(width / 24).max(8);
        let headlines = wrap(headline, room / advance(large), 2);
        let details = wrap(detail, (room / advance(small)).min(48), DETAIL_LINES);
        let mut y = (height / 2).saturating_sub(large * headlines.len());
        for (lines, size, luma) in [(headlines, large, 225), (details, small, 150)] {
            let face = Face::new(size, &lines.concat());
            for line in lines {
                face.draw(&mut canvas, (width.saturating_sub(face.width_of(&line)) / 2, y), &line, luma);
                y += size * 3 / 2;
            }
            y += small;
        }
        picture
    }

    /// The mark glides to and fro along the lower part of the picture.
    fn mark_place(&self, at: Timestamp) -> (usize, usize) {
        let (width, height) = self.size;
        let phase = at.as_nanos() / 1_000_000 % PERIOD_MS;
        let share = phase as f32 / PERIOD_MS as f32 * std::f32::consts::TAU;
        let way = width.saturating_sub(self.mark.rect_at((0, 0)).width);
        let x = (way as f32 * (0.5 - 0.12 * share.cos())) as usize;
        (x & !1, (height * 7 / 8) & !1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(slate: &Slate, headline: &str, detail: &str, ms: u64) -> Vec<u8> {
        let frame = slate.render(headline, detail, Timestamp::from_nanos(ms * 1_000_000));
        (0..3).flat_map(|plane| frame.plane(plane).to_vec()).collect()
    }

    #[test]
    fn different_words_give_different_slates() {
        let slate = Slate::new((640, 480));
        let no_input = picture(&slate, "No input", "/dev/video0 does not exist", 0);
        assert_ne!(no_input, picture(&slate, "The End", "/dev/video0 does not exist", 0));
        assert_ne!(no_input, picture(&slate, "No input", "/dev/video1 does not exist", 0));
        assert_eq!(no_input, picture(&slate, "No input", "/dev/video0 does not exist", 0));
    }

    #[test]
    fn the_words_are_bright_and_their_surroundings_dark() {
        let slate = Slate::new((640, 480));
        let luma = &picture(&slate, "No input", "", 0)[..640 * 480];
        let bright = luma.iter().filter(|luma| **luma > 200).count();
        assert!((2000..40_000).contains(&bright), "{bright}");
        assert!(luma[..640 * 100].iter().all(|luma| *luma < 60));
    }

    #[test]
    fn the_mark_moves() {
        let slate = Slate::new((640, 480));
        assert_ne!(picture(&slate, "No input", "", 0), picture(&slate, "No input", "", 200));
    }

    #[test]
    fn any_size_and_any_words_can_be_shown() {
        let long = "ümläute, 漢字 and a very, very long explanation of what went wrong with the camera ".repeat(9);
        for size in [(0, 0), (1, 1), (32, 32), (33, 35), (320, 240), (4096, 32), (1920, 1080)] {
            let slate = Slate::new(size);
            assert_eq!(picture(&slate, "No input", &long, 1).len(), packed_size(PixelFormat::I420, size));
            let _ = picture(&slate, "", "", 1);
        }
    }
}
