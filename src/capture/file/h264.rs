//! H.264 byte streams: `.h264` files, and what rpicam-vid and cameras put into pipes.

use std::io::Read;
use std::time::Duration;

use super::clip::{Clip, Picture, interval};
use crate::capture::CaptureError;
use crate::media::annex_b::{self, AccessUnitSplitter, ParameterSets, Sps};
use crate::media::frame::PixelFormat;

const PIECE: usize = 64 << 10;

/// Puts units into pictures: parameter sets before each keyframe, the size from the SPS, nothing before the first
/// keyframe.
#[derive(Default)]
pub struct UnitFrames {
    sets: ParameterSets,
    size: Option<(usize, usize)>,
    known_sps: Vec<u8>,
    framerate: Option<f64>,
}

impl UnitFrames {
    /// Remembers a parameter set that came apart from the stream.
    pub fn remember(&mut self, nal: &[u8]) {
        self.sets.remember(nal);
    }

    /// Pictures per second that the stream claims.
    pub const fn framerate(&self) -> Option<f64> {
        self.framerate
    }

    pub fn size(&self) -> (usize, usize) {
        self.size.unwrap_or_default()
    }

    /// `unit` as a picture; `None` for what comes before the first keyframe.
    pub fn picture(&mut self, unit: Vec<u8>, shown_for: Duration) -> Result<Option<Picture>, CaptureError> {
        let unit = self.sets.complete(unit);
        if annex_b::is_keyframe(&unit) && self.sets.sps() != Some(&self.known_sps) {
            // Without parameter sets, nothing can be decoded yet.
            let Some(nal) = self.sets.sps() else { return Ok(None) };
            let sps = Sps::parse(nal)
                .ok_or_else(|| CaptureError::Lost("the H.264 stream's sequence parameter set is damaged".into()))?;
            self.known_sps = nal.to_vec();
            self.size = Some((sps.width, sps.height));
            self.framerate = sps.framerate;
        }
        let picture = |size| Picture { format: PixelFormat::H264, size, memory: Box::new(unit), shown_for };
        Ok(self.size.map(picture))
    }
}

/// An Annex B stream as a clip. It knows nothing of time, so it plays at the rate that its SPS names, else at the
/// configured one.
pub struct H264Clip<R> {
    input: R,
    splitter: AccessUnitSplitter,
    frames: UnitFrames,
    fallback: Duration,
    has_ended: bool,
}

impl<R: Read> H264Clip<R> {
    pub fn new(input: R, framerate: u32) -> Self {
        Self {
            input,
            splitter: AccessUnitSplitter::default(),
            frames: UnitFrames::default(),
            fallback: interval(framerate),
            has_ended: false,
        }
    }

    fn shown_for(&self) -> Duration {
        let plausible = self.frames.framerate().filter(|rate| (1.0..=240.0).contains(rate));
        plausible.map_or(self.fallback, |rate| Duration::from_secs_f64(1.0 / rate))
    }

    fn next_unit(&mut self) -> Result<Option<Vec<u8>>, CaptureError> {
        let mut piece = [0; PIECE];
        loop {
            if let Some(unit) = self.splitter.next_unit() {
                return Ok(Some(unit));
            }
            if self.has_ended {
                return Ok(self.splitter.finish());
            }
            match self.input.read(&mut piece) {
                Ok(0) => self.has_ended = true,
                Ok(length) => self.splitter.push(&piece[..length]),
                Err(error) => return Err(CaptureError::Lost(format!("cannot read on: {error}"))),
            }
        }
    }
}

impl<R: Read + Send> Clip for H264Clip<R> {
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
        while let Some(unit) = self.next_unit()? {
            if let Some(mut picture) = self.frames.picture(unit, self.fallback)? {
                picture.shown_for = self.shown_for();
                return Ok(Some(picture));
            }
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        let (width, height) = self.frames.size();
        format!("H.264 {width}×{height} at {:.4} fps", 1.0 / self.shown_for().as_secs_f64().max(1e-6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASELINE: &[u8] = include_bytes!("../../../tests/data/baseline.h264");

    #[test]
    fn every_picture_is_one_unit_at_the_streams_own_rate_and_size() {
        let mut clip = H264Clip::new(BASELINE, 25);
        let pictures: Vec<_> = std::iter::from_fn(|| clip.next_picture().unwrap()).collect();
        assert_eq!(pictures.len(), 20);
        assert!(pictures.iter().all(|p| p.size == (160, 120) && p.shown_for == Duration::from_millis(100)));
        let keyframes: Vec<_> = (0..20).filter(|&at| annex_b::is_keyframe(pictures[at].memory.bytes())).collect();
        assert_eq!(keyframes, [0, 10]);
    }

    #[test]
    fn a_stream_joined_in_the_middle_begins_at_its_next_keyframe() {
        let mut clip = H264Clip::new(&BASELINE[600..], 25);
        let first = clip.next_picture().unwrap().expect("a picture");
        assert!(annex_b::is_keyframe(first.memory.bytes()));
    }

    #[test]
    fn noise_gives_no_picture() {
        assert!(H264Clip::new(&[7; 5000][..], 25).next_picture().unwrap().is_none());
    }
}
