//! MP4 and QuickTime files with H.264 (ISO/IEC 14496-12 and -15), plain and fragmented.
//!
//! Only what leads to the first video track's samples is read: `moov` and `moof` boxes are held in memory, samples
//! are read as they are played. Edit lists and composition offsets are ignored, because pictures are sent in
//! decoding order. Of the crates that do this, `re_mp4` panics on tables that do not fit each other, and others know no
//! fragments.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::Duration;

use log::warn;

use super::boxes::{Boxes, Fragment, Sample, Track};
use super::clip::{Clip, Picture, interval};
use super::h264::UnitFrames;
use super::sniff::not_played;
use crate::capture::CaptureError;
use crate::media::annex_b::{MAX_UNIT_BYTES, avcc_to_annex_b};

/// The largest `moov` or `moof` box that is read.
const LARGEST_INDEX: u64 = 64 << 20;

/// An MP4 file as a clip.
pub struct Mp4Clip {
    file: File,
    track: Track,
    next: usize,
    frames: UnitFrames,
    fallback: Duration,
}

impl Mp4Clip {
    pub fn open(file: File, framerate: u32, name: &str) -> Result<Self, CaptureError> {
        let unusable = |problem: String| CaptureError::Unusable(format!("{name}: {problem}"));
        let mut file = file;
        let track = match index(&mut file).map_err(|error| unusable(format!("cannot read it: {error}")))? {
            Indexed::Track(track) => track,
            Indexed::OtherCodec(codec) => return Err(not_played(name, &format!("MP4 with {codec} video"))),
            Indexed::NoVideo => return Err(unusable("there is no video in it".into())),
            Indexed::NoIndex => {
                return Err(unusable("its index (`moov` box) is missing: the recording was probably cut off".into()));
            }
        };
        let mut frames = UnitFrames::default();
        track.avc.parameter_sets.iter().for_each(|nal| frames.remember(nal));
        Ok(Self { file, track, next: 0, frames, fallback: interval(framerate) })
    }

    fn read(&mut self, sample: Sample) -> io::Result<Option<Vec<u8>>> {
        let length = usize::try_from(sample.size).unwrap_or(usize::MAX);
        if length > MAX_UNIT_BYTES {
            return Ok(None);
        }
        self.file.seek(SeekFrom::Start(sample.offset))?;
        let mut bytes = vec![0; length];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Clip for Mp4Clip {
    fn next_picture(&mut self) -> Result<Option<Picture>, CaptureError> {
        while let Some(&sample) = self.track.samples.get(self.next) {
            self.next += 1;
            let bytes = self.read(sample).map_err(|error| CaptureError::Lost(format!("cannot read on: {error}")))?;
            let Some(bytes) = bytes else {
                warn!("the file is cut short: {} of {} pictures are there", self.next - 1, self.track.samples.len());
                self.next = self.track.samples.len();
                return Ok(None);
            };
            let mut unit = Vec::with_capacity(bytes.len() + 64);
            if let Err(error) = avcc_to_annex_b(&bytes, self.track.avc.length_size, &mut unit) {
                warn!("picture {}: {error}", self.next);
            }
            let shown_for = match (sample.duration, self.track.timescale) {
                (0, _) | (_, 0) => self.fallback,
                (duration, timescale) => Duration::from_secs_f64(f64::from(duration) / f64::from(timescale)),
            };
            if let Some(picture) = self.frames.picture(unit, shown_for)? {
                return Ok(Some(picture));
            }
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        let (width, height) = self.frames.size();
        format!("MP4 with H.264 {width}×{height}, {} pictures", self.track.samples.len())
    }
}

enum Indexed {
    Track(Track),
    OtherCodec(String),
    NoVideo,
    NoIndex,
}

/// Finds the first video track and all of its samples.
fn index(file: &mut File) -> io::Result<Indexed> {
    let end = file.seek(SeekFrom::End(0))?;
    let (mut at, mut track) = (0_u64, None);
    while at < end {
        file.seek(SeekFrom::Start(at))?;
        let Some((kind, header, length)) = box_header(file, end - at)? else { break };
        if matches!(&kind, b"moov" | b"moof") {
            if length > LARGEST_INDEX {
                return Err(io::Error::other("its index is larger than 64 MiB"));
            }
            let mut payload = Vec::new();
            file.by_ref().take(length - header).read_to_end(&mut payload)?;
            match (&kind, &mut track) {
                (b"moof", Some(Ok(track))) => Fragment { start: at, payload: &payload }.append_to(track),
                (b"moov", track @ None) => *track = Some(Track::find(Boxes::new(&payload))),
                _ => {}
            }
        }
        at = at.saturating_add(length);
    }
    match track {
        None => Ok(Indexed::NoIndex),
        Some(Ok(mut track)) => {
            // Each takes a byte of the file at least, whatever its index promises.
            track.samples.truncate(usize::try_from(end).unwrap_or(usize::MAX));
            Ok(Indexed::Track(track))
        }
        Some(Err(Some(codec))) => Ok(Indexed::OtherCodec(codec)),
        Some(Err(None)) => Ok(Indexed::NoVideo),
    }
}

/// Kind, header length and whole length of the box that begins here; `None` if it is none.
fn box_header(file: &mut File, left: u64) -> io::Result<Option<([u8; 4], u64, u64)>> {
    let mut short = [0; 8];
    if left < 8 {
        return Ok(None);
    }
    file.read_exact(&mut short)?;
    let [a, b, c, d, kind @ ..] = short;
    let (header, length) = match u32::from_be_bytes([a, b, c, d]) {
        0 => (8, left),
        1 if left >= 16 => {
            let mut long = [0; 8];
            file.read_exact(&mut long)?;
            (16, u64::from_be_bytes(long))
        }
        length => (8, u64::from(length)),
    };
    Ok((length >= header).then_some((kind, header, length)))
}
