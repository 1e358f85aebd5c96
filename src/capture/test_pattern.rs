//! A camera for everyone who has none: a picture that moves, tells the time and needs no hardware.
//!
//! It paces itself like a camera would, so that whatever comes behind cannot tell the difference, and costs next to
//! nothing, so that measuring the rest of perch with it measures the rest of perch. The picture's timestamp strip
//! ([`barcode`]) is the last thing drawn before a frame is handed out. This is a feature for owners, not a test
//! double: it is what `--source test` shows, and what `auto` shows where there is no camera.

use std::thread;
use std::time::Duration;

use self::pacer::Pacer;
use self::scene::{Moment, Scene};
use super::{CameraSource, CaptureError, Resolution};
use crate::base::clock::Timestamp;
use crate::media::frame::{Frame, FramePool, PixelFormat};

mod backdrop;
pub mod barcode;
mod layout;
mod pacer;
mod scene;
mod words;

/// One buffer being drawn, one waiting, one being encoded.
const SPARE_BUFFERS: usize = 3;

/// The test picture as a [`CameraSource`].
pub struct TestPattern {
    resolution: Resolution,
    framerate: u32,
    scene: Scene,
    pacer: Pacer,
    pool: FramePool,
    number: u64,
    last: Timestamp,
}

impl TestPattern {
    /// A source of pictures of `resolution`, `framerate` per second (at least 1).
    #[must_use]
    pub fn new(resolution: Resolution, framerate: u32) -> Self {
        let framerate = framerate.max(1);
        Self {
            resolution,
            framerate,
            scene: Scene::new((resolution.width, resolution.height), u64::from(framerate)),
            pacer: Pacer::new(u64::from(framerate)),
            pool: FramePool::new(SPARE_BUFFERS),
            number: 0,
            last: Timestamp::default(),
        }
    }

    /// How long a buffer for [`draw_into`](Self::draw_into) is: the picture, and some bytes for the next one.
    pub(super) fn buffer_size(&self) -> usize {
        self.scene.buffer_size()
    }

    /// How long until the next picture is due. Zero means now, and counts as taken.
    pub(super) fn next_due(&mut self) -> Duration {
        self.pacer.poll(Timestamp::now())
    }

    /// Draws the next picture into a buffer that holds zeroes or an earlier picture; returns its time.
    pub(super) fn draw_into(&mut self, buffer: &mut [u8]) -> Timestamp {
        self.scene.draw(buffer, Moment { number: self.number, unix_ms: barcode::unix_ms() });
        self.number += 1;
        barcode::draw(buffer, (self.resolution.width, self.resolution.height), barcode::unix_ms());
        self.last = Timestamp::now().max(self.last.plus(Duration::from_nanos(1)));
        self.last
    }

    fn draw(&mut self) -> Result<Frame, CaptureError> {
        let size = (self.resolution.width, self.resolution.height);
        let mut buffer = self.pool.take(self.scene.buffer_size());
        let captured_at = self.draw_into(&mut buffer);
        Frame::packed(PixelFormat::I420, size, captured_at, Box::new(buffer))
            .map_err(|error| CaptureError::Unusable(error.to_string()))
    }
}

impl CameraSource for TestPattern {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let start = Timestamp::now();
        let mut now = start;
        loop {
            let wait = self.pacer.poll(now);
            if wait.is_zero() {
                return self.draw().map(Some);
            }
            let left = timeout.saturating_sub(now.saturating_since(start));
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(wait.min(left));
            now = Timestamp::now();
        }
    }

    fn describe(&self) -> String {
        format!("test pattern {}×{} at {} fps", self.resolution.width, self.resolution.height, self.framerate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(width: usize, height: usize, framerate: u32) -> TestPattern {
        TestPattern::new(Resolution { width, height }, framerate)
    }

    #[test]
    fn the_strip_tells_when_the_picture_was_made() {
        let before = barcode::unix_ms();
        let frame = pattern(640, 480, 30).next_frame(Duration::ZERO).unwrap().unwrap();
        let time = barcode::decode_barcode(frame.plane(0), 640, 640, 480).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "the strip holds time modulo 2^32")]
        let age = time.wrapping_sub(before as u32);
        assert!(age < 1000, "{age} ms");
    }

    #[test]
    fn the_first_frame_comes_at_once_and_the_second_is_not_due() {
        let mut pattern = pattern(64, 64, 1);
        assert!(pattern.next_frame(Duration::ZERO).unwrap().is_some());
        assert!(pattern.next_frame(Duration::from_millis(5)).unwrap().is_none());
    }

    #[test]
    fn capture_times_grow() {
        let mut pattern = pattern(64, 64, 120);
        let times: Vec<_> =
            (0..4).map(|_| pattern.next_frame(Duration::from_secs(1)).unwrap().unwrap().captured_at()).collect();
        assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    }

    #[test]
    fn buffers_are_used_again() {
        let mut pattern = pattern(64, 64, 120);
        let first = pattern.next_frame(Duration::from_secs(1)).unwrap().unwrap().plane(0).as_ptr();
        let second = pattern.next_frame(Duration::from_secs(1)).unwrap().unwrap().plane(0).as_ptr();
        assert_eq!(first, second);
    }

    #[test]
    fn it_says_what_it_is() {
        assert_eq!(pattern(1280, 720, 30).describe(), "test pattern 1280×720 at 30 fps");
    }
}
