//! MP4 with H.264 as it arrives, from its beginning: what a web server sends, plain or fragmented.
//!
//! Nothing can be looked up further on, so the index (`moov`) has to come before the pictures, and these in the order
//! that they are played in. Held are the index and the picture that arrives; what belongs to other tracks goes by.

use std::time::Duration;

use bytes::BytesMut;
use log::warn;

use super::boxes::{Boxes, Fragment, Track};
use super::clip::{Picture, interval};
use super::h264::UnitFrames;
use crate::media::annex_b::{MAX_UNIT_BYTES, avcc_to_annex_b};

/// The largest `moov` or `moof` box that is read: twelve hours of pictures.
const LARGEST_INDEX: u64 = 16 << 20;

/// Takes a stream apart into pictures.
pub struct Mp4Stream {
    /// What has arrived and was not looked at yet.
    buffer: BytesMut,
    /// Where in the stream the buffer begins.
    at: u64,
    /// Bytes from there on that nobody needs.
    skip: u64,
    track: Option<Track>,
    /// The next of the track's samples.
    next: usize,
    /// Where the box with data ends, within one.
    data_end: Option<u64>,
    frames: UnitFrames,
    fallback: Duration,
}

impl Mp4Stream {
    /// Nothing has arrived. Pictures without a duration are shown at `framerate`.
    pub fn new(framerate: u32) -> Self {
        Self {
            buffer: BytesMut::new(),
            at: 0,
            skip: 0,
            track: None,
            next: 0,
            data_end: None,
            frames: UnitFrames::default(),
            fallback: interval(framerate),
        }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next picture, if it is there.
    ///
    /// # Errors
    /// In words: when there is no H.264 in it, or none that can be played as it arrives.
    pub fn next_picture(&mut self) -> Result<Option<Picture>, String> {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.buffer.len());
            self.take(skipped);
            self.skip -= skipped as u64;
            if self.skip > 0 {
                return Ok(None);
            }
            let found = match self.data_end {
                Some(end) => self.sample(end)?,
                None => self.boxed()?,
            };
            match found {
                Found::Picture(picture) => return Ok(Some(picture)),
                Found::Something => {}
                Found::Nothing => return Ok(None),
            }
        }
    }

    /// What it is, in a few words.
    pub fn describe(&self) -> String {
        let (width, height) = self.frames.size();
        format!("MP4 with H.264 {width}×{height}")
    }

    fn take(&mut self, length: usize) -> BytesMut {
        self.at += length as u64;
        self.buffer.split_to(length)
    }

    /// Looks at the box that begins here.
    fn boxed(&mut self) -> Result<Found, String> {
        let Some(&[a, b, c, d, ref kind @ ..]) = self.buffer.first_chunk::<8>() else { return Ok(Found::Nothing) };
        let kind: [u8; 4] = *kind;
        let (header, length) = match u32::from_be_bytes([a, b, c, d]) {
            // It goes on to the end.
            0 => (8, u64::MAX - self.at),
            1 => match self.buffer.get(8..).and_then(<[u8]>::first_chunk) {
                Some(long) => (16, u64::from_be_bytes(*long)),
                None => return Ok(Found::Nothing),
            },
            length => (8, u64::from(length)),
        };
        if length < header {
            return Err("it is damaged: a box is shorter than its header".into());
        }
        match (&kind, &mut self.track) {
            (b"moov", None) | (b"moof", Some(_)) => {
                let whole = usize::try_from(length).unwrap_or(usize::MAX);
                if length > LARGEST_INDEX {
                    return Err("its index is larger than 16 MiB".into());
                }
                if self.buffer.len() < whole {
                    return Ok(Found::Nothing);
                }
                let start = self.at;
                let bytes = self.take(whole);
                let payload = bytes.get(usize::try_from(header).unwrap_or(whole)..).unwrap_or_default();
                self.index(start, payload)?;
            }
            (b"mdat", None) => return Err("its index (`moov`) comes behind its pictures".into()),
            (b"mdat", Some(_)) => {
                self.data_end = Some(self.at.saturating_add(length));
                self.skip = header;
            }
            _ => self.skip = length,
        }
        Ok(Found::Something)
    }

    fn index(&mut self, start: u64, payload: &[u8]) -> Result<(), String> {
        if let Some(track) = &mut self.track {
            // Those that were played are not needed any more, and a stream may have no end.
            track.samples.drain(..self.next);
            self.next = 0;
            Fragment { start, payload }.append_to(track);
            return Ok(());
        }
        let track = Track::find(Boxes::new(payload)).map_err(|codec| match codec {
            Some(codec) => format!("it is MP4 with {codec} video, and perch reads H.264"),
            None => "there is no video in it".into(),
        })?;
        track.avc.parameter_sets.iter().for_each(|nal| self.frames.remember(nal));
        self.track = Some(track);
        Ok(())
    }

    /// Looks at the next sample, in data that end at `end`.
    fn sample(&mut self, end: u64) -> Result<Found, String> {
        let Some(track) = &self.track else { return Ok(Found::Nothing) };
        let next = track.samples.get(self.next).filter(|sample| sample.offset < end);
        let Some(&sample) = next else {
            self.data_end = None;
            self.skip = end.saturating_sub(self.at);
            return Ok(Found::Something);
        };
        if sample.offset < self.at {
            return Err("its pictures do not lie in the order that they are played in".into());
        }
        if sample.offset > self.at {
            self.skip = sample.offset - self.at;
            return Ok(Found::Something);
        }
        let length = usize::try_from(sample.size).unwrap_or(usize::MAX);
        if length > MAX_UNIT_BYTES {
            self.next += 1;
            self.skip = sample.size.into();
            return Ok(Found::Something);
        }
        if self.buffer.len() < length {
            return Ok(Found::Nothing);
        }
        self.next += 1;
        let (length_size, timescale) = (track.avc.length_size, track.timescale);
        let bytes = self.take(length);
        let mut unit = Vec::with_capacity(bytes.len() + 64);
        if let Err(error) = avcc_to_annex_b(&bytes, length_size, &mut unit) {
            warn!("a picture of the video is damaged: {error}");
        }
        let shown_for = match (sample.duration, timescale) {
            (0, _) | (_, 0) => self.fallback,
            (duration, timescale) => Duration::from_secs_f64(f64::from(duration) / f64::from(timescale)),
        };
        let picture = self.frames.picture(unit, shown_for).map_err(|error| error.to_string())?;
        Ok(picture.map_or(Found::Something, Found::Picture))
    }
}

enum Found {
    Picture(Picture),
    /// It goes on from here.
    Something,
    /// More has to arrive.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::super::clip::Clip as _;
    use super::super::mp4::Mp4Clip;
    use super::*;

    /// With their index first.
    const STREAMS: [&str; 2] = ["main.mp4", "fragmented.mp4"];

    fn data(name: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    /// All pictures of what arrives in pieces of this size.
    fn pictures(bytes: &[u8], piece: usize) -> Result<Vec<Picture>, String> {
        let mut stream = Mp4Stream::new(30);
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            stream.push(piece);
            while let Some(picture) = stream.next_picture()? {
                all.push(picture);
            }
        }
        Ok(all)
    }

    #[test]
    fn pictures_are_those_of_the_file_however_they_arrive() {
        for name in STREAMS {
            let mut clip = Mp4Clip::open(std::fs::File::open(data(name)).unwrap(), 30, name).unwrap();
            let expected: Vec<_> = std::iter::from_fn(|| clip.next_picture().unwrap()).collect();
            let bytes = std::fs::read(data(name)).unwrap();
            for piece in [1, 777, bytes.len()] {
                let found = pictures(&bytes, piece).unwrap();
                assert_eq!(found.len(), expected.len(), "{name} in pieces of {piece}");
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(found.memory.bytes() == expected.memory.bytes() && found.shown_for == expected.shown_for);
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_played_as_it_arrives_is_told() {
        let refused = |bytes: &[u8]| pictures(bytes, 4096).map(|_| ()).unwrap_err();
        let mdat = [&[0, 0, 0, 16][..], b"mdat", &[0; 8]].concat();
        assert!(refused(&mdat).contains("comes behind its pictures"));
        assert!(refused(&[&[0, 0, 0, 4][..], b"free"].concat()).contains("damaged"));
        assert!(refused(&[&[0, 0, 0, 8][..], b"moov"].concat()).contains("no video"));
        assert!(refused(&[&[0xff, 0, 0, 0][..], b"moov"].concat()).contains("larger than 16 MiB"));
    }

    #[test]
    fn a_stream_that_is_cut_short_or_damaged_never_panics() {
        for name in STREAMS {
            let bytes = std::fs::read(data(name)).unwrap();
            for cut in (0..bytes.len()).step_by(97) {
                let _ = pictures(&bytes[..cut], 4096);
                let mut damaged = bytes.clone();
                damaged[cut] ^= 0x81;
                let _ = pictures(&damaged, 4096);
            }
        }
    }
}
