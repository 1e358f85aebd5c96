//! Plays a clip at its own speed, again and again if asked to.

use std::thread;
use std::time::Duration;

use log::debug;

use super::clip::{Clip, Picture};
use crate::base::clock::Timestamp;
use crate::capture::{CameraSource, CaptureError};
use crate::media::frame::Frame;

/// Whoever asks later than this after a picture was due did not watch: the clip goes on from where it stopped,
/// instead of hurrying after the time that passed.
const LATE: Duration = Duration::from_millis(250);
/// What a picture's duration is kept within, whatever the file says.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(10);

/// When pictures are due that have no time of their own, only a duration.
#[derive(Default)]
pub struct Pace(Option<Timestamp>);

impl Pace {
    /// Waits until the next picture is due, but not longer than `timeout`: then there is none.
    pub fn wait(&self, timeout: Duration) -> Option<Timestamp> {
        let now = Timestamp::now();
        let due = self.0.filter(|due| now <= due.plus(LATE)).unwrap_or(now);
        let wait = due.saturating_since(now);
        thread::sleep(wait.min(timeout));
        (wait <= timeout).then_some(due)
    }

    /// A picture that was due then is shown for so long.
    pub fn shown(&mut self, due: Timestamp, shown_for: Duration) {
        self.0 = Some(due.plus(shown_for.clamp(SHORTEST, LONGEST)));
    }
}

/// Opens the clip at its beginning.
pub type Reopen = Box<dyn Fn() -> Result<Box<dyn Clip>, CaptureError>>;

/// A file as a source.
pub struct Playback {
    name: String,
    reopen: Reopen,
    clip: Box<dyn Clip>,
    repeat: bool,
    /// Whether this round has given a picture: an empty clip must not repeat forever.
    has_pictures: bool,
    ready: Option<Picture>,
    pace: Pace,
}

impl Playback {
    pub fn open(name: String, repeat: bool, reopen: Reopen) -> Result<Self, CaptureError> {
        let clip = reopen()?;
        let mut playback = Self { name, reopen, clip, repeat, has_pictures: false, ready: None, pace: Pace::default() };
        // A file without a picture is found out now, with words, and not by a viewer.
        match playback.load() {
            Ok(picture) => playback.ready = Some(picture),
            Err(CaptureError::Ended) => {
                return Err(CaptureError::Unusable(format!("{} holds no whole picture", playback.name)));
            }
            Err(error) => return Err(error),
        }
        Ok(playback)
    }

    fn load(&mut self) -> Result<Picture, CaptureError> {
        loop {
            if let Some(picture) = self.clip.next_picture()? {
                self.has_pictures = true;
                return Ok(picture);
            }
            if !self.repeat || !self.has_pictures {
                return Err(CaptureError::Ended);
            }
            debug!("{} begins again", self.name);
            self.clip = (self.reopen)()?;
            self.has_pictures = false;
        }
    }
}

impl CameraSource for Playback {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let picture = match self.ready.take() {
            Some(picture) => picture,
            None => self.load()?,
        };
        let Some(due) = self.pace.wait(timeout) else {
            self.ready = Some(picture);
            return Ok(None);
        };
        self.pace.shown(due, picture.shown_for);
        picture.into_frame(due).map(Some)
    }

    fn describe(&self) -> String {
        format!("{}: {}", self.name, self.clip.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frame::PixelFormat;

    struct Counted(u8, u8, Duration);

    impl Clip for Counted {
        fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
            self.0 += 1;
            let memory = Box::new(vec![self.0; 24]);
            let picture = Picture { format: PixelFormat::I420, size: (4, 4), memory, shown_for: self.2 };
            Ok((self.0 <= self.1).then_some(picture))
        }
        fn describe(&self) -> String {
            "counted".into()
        }
    }

    fn playback(pictures: u8, every_ms: u64, repeat: bool) -> Result<Playback, CaptureError> {
        let clip = move || Ok(Box::new(Counted(0, pictures, Duration::from_millis(every_ms))) as Box<dyn Clip>);
        Playback::open("clip".into(), repeat, Box::new(clip))
    }

    fn next(playback: &mut Playback) -> Frame {
        playback.next_frame(Duration::from_secs(1)).unwrap().expect("a frame")
    }

    #[test]
    fn pictures_come_at_the_clips_own_times() {
        let mut playback = playback(9, 20, false).unwrap();
        let times: Vec<_> = (0..4).map(|_| next(&mut playback).captured_at()).collect();
        assert!(times.windows(2).all(|pair| pair[1].saturating_since(pair[0]) == Duration::from_millis(20)));
        assert!(Timestamp::now() >= times[3]);
    }

    #[test]
    fn the_timeout_is_kept_and_the_picture_comes_later() {
        let mut playback = playback(2, 60, false).unwrap();
        next(&mut playback);
        let asked = Timestamp::now();
        assert!(playback.next_frame(Duration::from_millis(5)).unwrap().is_none());
        assert!(Timestamp::now().saturating_since(asked) < Duration::from_millis(50));
        assert_eq!(next(&mut playback).plane(0)[0], 2);
    }

    #[test]
    fn a_clip_ends_or_begins_again_with_times_that_grow() {
        let mut once = playback(2, 1, false).unwrap();
        next(&mut once);
        next(&mut once);
        assert!(matches!(once.next_frame(Duration::ZERO), Err(CaptureError::Ended)));

        let mut again = playback(2, 1, true).unwrap();
        let frames: Vec<_> = (0..5).map(|_| next(&mut again)).collect();
        assert_eq!(frames.iter().map(|frame| frame.plane(0)[0]).collect::<Vec<_>>(), [1, 2, 1, 2, 1]);
        assert!(frames.is_sorted_by(|a, b| a.captured_at() < b.captured_at()));
    }

    #[test]
    fn nobody_watching_for_a_while_makes_no_burst() {
        let mut playback = playback(9, 40, false).unwrap();
        let first = next(&mut playback);
        thread::sleep(Duration::from_millis(400));
        let second = next(&mut playback);
        let third = next(&mut playback);
        assert_eq!((second.plane(0)[0], third.plane(0)[0]), (2, 3));
        assert!(second.captured_at().saturating_since(first.captured_at()) >= Duration::from_millis(400));
        assert_eq!(third.captured_at().saturating_since(second.captured_at()), Duration::from_millis(40));
    }

    #[test]
    fn a_clip_without_pictures_is_refused_at_once() {
        let error = playback(0, 1, true).err().expect("an error").to_string();
        assert_eq!(error, "clip holds no whole picture");
    }
}
