//! A source of your own: an orange square that bounces through a blue picture.
//!
//! Everything behind the source (encoder, sessions, web page) works as it does for a camera. It takes the flags of perch:
//! `cargo run --example custom_source -- --listen 127.0.0.1:8000`, then browse to the address that is logged.
//!
//! Pixels may have 1 channel (grey), 3 (blue, green, red) or 4 (with alpha), as OpenCV makes them: `CHANNELS=1 cargo run …`.
//! Whatever they are, perch converts each picture once, to what its encoder takes. Sources that have I420, NV12, YUYV, JPEG
//! or H.264 hand on those: I420 and H.264 are not converted at all.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser as _;
use perch::app::App;
use perch::base::clock::Timestamp;
use perch::base::logging;
use perch::capture::{CameraSource, CaptureError, Opened};
use perch::cli::Cli;
use perch::media::frame::{Frame, FramePool, NoSuchChannels, PixelFormat, packed_size};

const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const SIDE: usize = 64;
const INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Blue, green, red, alpha.
const GROUND: [u8; 4] = [160, 60, 20, 255];
const SQUARE: [u8; 4] = [0, 140, 255, 255];

struct BouncingSquare {
    format: PixelFormat,
    channels: usize,
    pool: FramePool,
    number: usize,
    due: Instant,
}

impl BouncingSquare {
    /// Pictures of so many channels. What perch cannot show is an error here, and not when somebody watches.
    fn new(channels: usize) -> Result<Self, NoSuchChannels> {
        let format = PixelFormat::with_channels(channels)?;
        // The encoder holds one frame and one may wait: more are never in use at once.
        Ok(Self { format, channels, pool: FramePool::new(3), number: 0, due: Instant::now() })
    }

    fn draw(&self, picture: &mut [u8]) {
        let (left, top) = (bounce(self.number * 4, WIDTH - SIDE), bounce(self.number * 3, HEIGHT - SIDE));
        for (index, pixel) in picture.chunks_exact_mut(self.channels).enumerate() {
            let (x, y) = (index % WIDTH, index / WIDTH);
            let is_square = (left..left + SIDE).contains(&x) && (top..top + SIDE).contains(&y);
            let colour = if is_square { SQUARE } else { GROUND };
            match pixel {
                [grey] => *grey = if is_square { 220 } else { 60 },
                pixel => pixel.copy_from_slice(&colour[..self.channels]),
            }
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
        let mut picture = self.pool.take(packed_size(self.format, (WIDTH, HEIGHT)));
        self.draw(&mut picture);
        self.number += 1;
        Frame::packed(self.format, (WIDTH, HEIGHT), Timestamp::now(), Box::new(picture))
            .map(Some)
            .map_err(|error| CaptureError::Lost(error.to_string()))
    }

    fn describe(&self) -> String {
        format!("a bouncing square, {WIDTH}×{HEIGHT} {} at 30 fps", self.format)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let config = Cli::parse().load_config().map_err(|error| error.to_string())?;
    logging::start(config.log.level.clone());
    let channels = std::env::var("CHANNELS").ok().and_then(|channels| channels.parse().ok()).unwrap_or(3);
    // Once on trial: a source that cannot be made is told at once.
    BouncingSquare::new(channels).map_err(|error| error.to_string())?;
    // The factory is called on the thread that runs the source, and again whenever the source is lost.
    let factory = move || {
        let source = BouncingSquare::new(channels).map_err(|error| CaptureError::Unusable(error.to_string()))?;
        Ok(Opened { source: Box::new(source), is_live: true })
    };
    App::builder(config).with_source(Box::new(factory)).run().map_err(|error| error.to_string())
}
