//! H.264 that no browser plays (B-frames, rare profiles) or that has to be scaled, decoded to I420.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::convert::split;
use crate::base::clock::Timestamp;
use crate::media::annex_b::{self, NalKind, Sps};
use crate::media::frame::{Frame, FramePool, FrameTooSmall, PixelFormat, packed_size};
use crate::media::range::{CHROMA_TO_LIMITED, LUMA_TO_LIMITED, UNCHANGED, map_row};

/// More pictures than a decoder may hold back (H.264, A.3.1: at most 16).
const MOST_WAITING: usize = 32;

/// Why a unit could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The decoder could not be made, or refused the unit.
    #[error("cannot decode the H.264 stream: {0}")]
    Decoder(#[from] openh264::Error),
    /// The frame is no H.264.
    #[error("a {0} frame is not H.264")]
    NotH264(PixelFormat),
    /// A plane is smaller than the size says.
    #[error(transparent)]
    TooSmall(#[from] FrameTooSmall),
}

/// Decodes the access units of one stream.
///
/// It begins at a keyframe, and after an error waits for the next one. Pictures come out in the order they are
/// shown in; where the stream reorders, each carries the oldest time not yet given away, so that times grow.
pub struct H264Decoder {
    decoder: Decoder,
    pool: FramePool,
    times: BinaryHeap<Reverse<Timestamp>>,
    awaits_keyframe: bool,
    is_full_range: bool,
}

impl H264Decoder {
    /// A decoder that takes its pictures' memory from `pool`.
    ///
    /// # Errors
    /// When the library cannot make one.
    pub fn new(pool: FramePool) -> Result<Self, DecodeError> {
        Ok(Self {
            decoder: new_decoder()?,
            pool,
            times: BinaryHeap::new(),
            awaits_keyframe: true,
            is_full_range: false,
        })
    }

    /// Decodes the access unit in `frame`. `Ok(None)`: it gives no picture yet.
    ///
    /// # Errors
    /// When the unit is damaged. Go on with the next one: units are skipped up to a keyframe.
    pub fn decode(&mut self, frame: &Frame) -> Result<Option<Frame>, DecodeError> {
        if frame.format() != PixelFormat::H264 {
            return Err(DecodeError::NotH264(frame.format()));
        }
        let unit = frame.plane(0);
        if annex_b::is_keyframe(unit) {
            if self.awaits_keyframe {
                self.decoder = new_decoder()?;
                self.times.clear();
                self.awaits_keyframe = false;
            }
            let sps = annex_b::nal_units(unit).find(|nal| NalKind::of(nal) == Some(NalKind::Sps)).and_then(Sps::parse);
            self.is_full_range = sps.map_or(self.is_full_range, |sps| sps.is_full_range);
        }
        if self.awaits_keyframe {
            return Ok(None);
        }
        if self.times.len() < MOST_WAITING {
            self.times.push(Reverse(frame.captured_at()));
        }
        match self.decoder.decode(unit) {
            Ok(None) => Ok(None),
            Ok(Some(picture)) => {
                let captured_at = self.times.pop().map_or_else(|| frame.captured_at(), |Reverse(time)| time);
                copy_out(&picture, &self.pool, captured_at, self.is_full_range).map(Some)
            }
            Err(error) => {
                self.awaits_keyframe = true;
                Err(error.into())
            }
        }
    }
}

fn new_decoder() -> Result<Decoder, openh264::Error> {
    // Flushing after each unit would give B-frames' pictures in the order they were sent in.
    Decoder::with_api_config(OpenH264API::from_source(), DecoderConfig::new().flush_after_decode(Flush::NoFlush))
}

/// The decoder's memory is overwritten by its next picture, so this is a copy.
fn copy_out(
    picture: &DecodedYUV<'_>,
    pool: &FramePool,
    captured_at: Timestamp,
    is_full_range: bool,
) -> Result<Frame, DecodeError> {
    let (width, height) = picture.dimensions();
    let (width, height) = (width & !1, height & !1);
    let mut memory = pool.take(packed_size(PixelFormat::I420, (width, height)));
    let strides = picture.strides();
    let sources = [(picture.y(), strides.0), (picture.u(), strides.1), (picture.v(), strides.2)];
    for (index, (to, (from, stride))) in split(&mut memory, (width, height)).into_iter().zip(sources).enumerate() {
        let row = if index == 0 { width } else { width / 2 };
        let table = match (is_full_range, index) {
            (false, _) => &UNCHANGED,
            (true, 0) => &LUMA_TO_LIMITED,
            (true, _) => &CHROMA_TO_LIMITED,
        };
        for (to, from) in to.chunks_exact_mut(row.max(1)).zip(from.chunks(stride.max(1))) {
            match (is_full_range, from.get(..row)) {
                (false, Some(from)) => to.copy_from_slice(from),
                _ => map_row(to, from.iter().copied(), table),
            }
        }
    }
    Ok(Frame::packed(PixelFormat::I420, (width, height), captured_at, Box::new(memory))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::annex_b::AccessUnitSplitter;

    const BASELINE: &[u8] = include_bytes!("../../tests/data/baseline.h264");
    const B_FRAMES: &[u8] = include_bytes!("../../tests/data/bframes.h264");

    fn units(stream: &[u8]) -> Vec<Frame> {
        let mut splitter = AccessUnitSplitter::default();
        splitter.push(stream);
        let mut units: Vec<_> = std::iter::from_fn(|| splitter.next_unit()).collect();
        units.extend(splitter.finish());
        units.into_iter().zip(1..).map(|(unit, at)| frame(unit, at)).collect()
    }

    fn frame(unit: Vec<u8>, at: u64) -> Frame {
        Frame::packed(PixelFormat::H264, (160, 120), Timestamp::from_nanos(at), Box::new(unit)).unwrap()
    }

    fn decoder() -> H264Decoder {
        H264Decoder::new(FramePool::new(2)).unwrap()
    }

    #[test]
    fn every_unit_of_a_baseline_stream_gives_its_picture_at_once() {
        let mut decoder = decoder();
        for unit in units(BASELINE) {
            let picture = decoder.decode(&unit).unwrap().expect("a picture");
            assert_eq!((picture.width(), picture.height()), (160, 120));
            assert_eq!(picture.captured_at(), unit.captured_at());
        }
    }

    #[test]
    fn times_grow_where_the_stream_reorders() {
        let mut decoder = decoder();
        let times: Vec<_> =
            units(B_FRAMES).iter().filter_map(|unit| decoder.decode(unit).unwrap()).map(|f| f.captured_at()).collect();
        assert!(times.len() >= 15, "{} of 20 pictures", times.len());
        assert!(times.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn decoding_begins_at_a_keyframe_and_again_after_damage() {
        let mut decoder = decoder();
        let units = units(BASELINE);
        assert!(decoder.decode(&units[3]).unwrap().is_none());
        assert!(decoder.decode(&units[10]).unwrap().is_some());
        let _ = decoder.decode(&frame(vec![0, 0, 0, 1, 0x41, 0xff, 0xff, 0xff], 99));
        assert!(decoder.decode(&units[10]).unwrap().is_some());
    }

    #[test]
    fn other_formats_are_refused() {
        let frame = Frame::packed(PixelFormat::Nv12, (4, 4), Timestamp::default(), Box::new(vec![0; 24])).unwrap();
        assert!(matches!(decoder().decode(&frame), Err(DecodeError::NotH264(PixelFormat::Nv12))));
    }
}
