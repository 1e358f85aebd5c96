//! A source of your own: a square that bounces through a grey picture.
//!
//! Everything behind the source (encoder, sessions, web page) works as it does for a camera:
//! `cargo run --example custom_source`, then browse to the address that is logged.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use perch::app::App;
use perch::base::clock::Timestamp;
use perch::capture::{CameraSource, CaptureError, Opened};
use perch::config::Config;
use perch::media::frame::{Frame, FramePool, PixelFormat, packed_size};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const SIDE: usize = 64;
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);

struct BouncingSquare {
    pool: FramePool,
    number: usize,
    due: Instant,
}

impl BouncingSquare {
    fn new() -> Self {
        // The encoder holds one frame and one may wait: more are never in use at once.
        Self { pool: FramePool::new(3), number: 0, due: Instant::now() }
    }

    /// Draws limited-range I420: luma 16 (black) to 235 (white), chroma around 128.
    fn draw(&self, picture: &mut [u8]) {
        let (luma, chroma) = picture.split_at_mut(WIDTH * HEIGHT);
        luma.fill(90);
        chroma.fill(128);
        let (left, top) = (bounce(self.number * 4, WIDTH - SIDE), bounce(self.number * 3, HEIGHT - SIDE));
        for row in luma.chunks_exact_mut(WIDTH).skip(top).take(SIDE) {
            row[left..left + SIDE].fill(220);
        }
    }
}

/// Runs from 0 to `end` and back.
const fn bounce(way: usize, end: usize) -> usize {
    let way = way % (2 * end);
    if way < end { way } else { 2 * end - way }
}

impl CameraSource for BouncingSquare {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        // Pace yourself, but never wait past the timeout: the caller has other things to look after.
        let wait = self.due.saturating_duration_since(Instant::now());
        thread::sleep(wait.min(timeout));
        if wait > timeout {
            return Ok(None);
        }
        // From now, not from when it was due: nobody may have asked for a while.
        self.due = Instant::now() + INTERVAL;
        let mut picture = self.pool.take(packed_size(PixelFormat::I420, (WIDTH, HEIGHT)));
        self.draw(&mut picture);
        self.number += 1;
        Frame::packed(PixelFormat::I420, (WIDTH, HEIGHT), Timestamp::now(), Box::new(picture))
            .map(Some)
            .map_err(|error| CaptureError::Lost(error.to_string()))
    }

    fn describe(&self) -> String {
        format!("a bouncing square, {WIDTH}×{HEIGHT} at 30 fps")
    }
}

fn main() -> ExitCode {
    // The factory is called on the thread that runs the source, and again whenever the source is lost.
    let factory = || Ok(Opened { source: Box::new(BouncingSquare::new()), is_live: true });
    match App::builder(Config::default()).with_source(Box::new(factory)).run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
