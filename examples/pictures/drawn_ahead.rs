//! Test pictures that were drawn before anything is measured, and so cost as little as a camera's.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use perch::base::clock::Timestamp;
use perch::capture::test_pattern::TestPattern;
use perch::capture::{CameraSource, CaptureError, Resolution};
use perch::media::frame::{Frame, FrameMemory, PixelFormat};

/// Then they begin anew. 124 MB of 1280×720: no cache holds them, as none holds what a camera has just written.
const PICTURES: usize = 90;

/// A source of pictures that are handed on without a copy.
#[derive(Clone)]
pub struct DrawnAhead {
    size: (usize, usize),
    interval: Duration,
    pictures: Vec<Arc<[u8]>>,
    next: usize,
    due: Instant,
}

struct Drawn(Arc<[u8]>);

impl FrameMemory for Drawn {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl DrawnAhead {
    /// Draws them, as slowly as they will be shown.
    pub fn new(resolution: Resolution, framerate: u16) -> Result<Self, CaptureError> {
        let mut pattern = TestPattern::new(resolution, u32::from(framerate));
        let mut pictures = Vec::with_capacity(PICTURES);
        while pictures.len() < PICTURES {
            if let Some(frame) = pattern.next_frame(Duration::from_secs(1))? {
                pictures.push([frame.plane(0), frame.plane(1), frame.plane(2)].concat().into());
            }
        }
        let interval = Duration::from_secs(1) / u32::from(framerate);
        Ok(Self { size: (resolution.width, resolution.height), interval, pictures, next: 0, due: Instant::now() })
    }
}

impl CameraSource for DrawnAhead {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let wait = self.due.saturating_duration_since(Instant::now());
        thread::sleep(wait.min(timeout));
        if wait > timeout {
            return Ok(None);
        }
        // A grid, as a camera's clock; anew after a time when nobody asked.
        self.due = (self.due + self.interval).max(Instant::now());
        let picture = Drawn(Arc::clone(&self.pictures[self.next]));
        self.next = (self.next + 1) % self.pictures.len();
        Frame::packed(PixelFormat::I420, self.size, Timestamp::now(), Box::new(picture))
            .map(Some)
            .map_err(|error| CaptureError::Unusable(error.to_string()))
    }

    fn describe(&self) -> String {
        format!("test pictures drawn ahead, {}×{}", self.size.0, self.size.1)
    }
}
