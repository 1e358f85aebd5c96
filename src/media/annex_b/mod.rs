//! The H.264 byte stream: NAL units behind start codes, as ITU-T H.264 Annex B defines it.
//!
//! Everything here takes bytes that somebody else made (a file, a camera, an encoder), so nothing here
//! panics, allocates without bound or trusts a length. Decoding pictures does not belong here; knowing where
//! one begins, and what a decoder must be able to do, does.
//!
//! Deviations that are tolerated, because real encoders make them:
//! - bytes before the first start code are skipped;
//! - any number of zero bytes may stand before a start code and after a NAL unit (`trailing_zero_8bits`), also
//!   where B.1 allows none;
//! - empty NAL units are skipped.

mod avcc;
mod parameter_sets;
mod splitter;
mod sps;

pub use avcc::{AvcConfig, MalformedSample, avcc_to_annex_b};
pub use parameter_sets::ParameterSets;
pub use splitter::{AccessUnitSplitter, MAX_UNIT_BYTES};
pub use sps::{Sps, browser_playable};

/// What every NAL unit is put behind when perch writes one: the 4-byte form, which B.1.2 asks for before
/// parameter sets and the first NAL unit of an access unit, and allows everywhere.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a NAL unit holds: `nal_unit_type` of table 7-1, as far as perch tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalKind {
    /// A slice of a picture that needs others (1), or a part of one (2 to 4).
    Slice,
    /// A slice of a picture where decoding can begin (5).
    Idr,
    /// Supplemental enhancement information (6).
    Sei,
    /// Sequence parameter set (7).
    Sps,
    /// Picture parameter set (8).
    Pps,
    /// Access unit delimiter (9).
    Delimiter,
    /// Anything else.
    Other(u8),
}

impl NalKind {
    /// The kind of the NAL unit that begins with `nal`'s first byte; `None` for an empty one.
    #[must_use]
    pub fn of(nal: &[u8]) -> Option<Self> {
        Some(match nal.first()? & 0x1f {
            1..=4 => Self::Slice,
            5 => Self::Idr,
            6 => Self::Sei,
            7 => Self::Sps,
            8 => Self::Pps,
            9 => Self::Delimiter,
            other => Self::Other(other),
        })
    }

    /// Whether the NAL unit carries picture data (VCL).
    #[must_use]
    pub const fn is_picture(self) -> bool {
        matches!(self, Self::Slice | Self::Idr)
    }
}

/// The NAL units of `stream`, without start codes and trailing zeros.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = find_start_code(stream, 0).map(|at| &stream[at + 3..]);
    std::iter::from_fn(move || {
        loop {
            let current = rest?;
            let end = find_start_code(current, 0);
            rest = end.map(|at| &current[at + 3..]);
            let nal = trim_zeros(&current[..end.unwrap_or(current.len())]);
            if !nal.is_empty() {
                return Some(nal);
            }
        }
    })
}

/// Whether `unit` holds an IDR picture, so that a decoder that knows the parameter sets can begin with it.
#[must_use]
pub fn is_keyframe(unit: &[u8]) -> bool {
    nal_units(unit).any(|nal| NalKind::of(nal) == Some(NalKind::Idr))
}

/// Appends `nal` behind a start code.
pub fn push_nal(stream: &mut Vec<u8>, nal: &[u8]) {
    stream.extend_from_slice(&START_CODE);
    stream.extend_from_slice(nal);
}

/// Where the first `00 00 01` at or after `from` begins.
fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(&[first, second, third]) = bytes.get(at..at + 3) {
        match third {
            1 if first == 0 && second == 0 => return Some(at),
            // A zero may be the first or second byte of a start code that begins later.
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

fn trim_zeros(nal: &[u8]) -> &[u8] {
    let length = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &nal[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_start_codes_and_trailing_zeros_are_understood() {
        let stream = [9, 9, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 0, 1, 0x65, 3, 0, 0];
        let nals: Vec<&[u8]> = nal_units(&stream).collect();
        assert_eq!(nals, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
    }

    #[test]
    fn empty_nal_units_and_streams_without_a_start_code_give_nothing() {
        assert_eq!(nal_units(&[0, 0, 1, 0, 0, 1, 0, 0, 0, 1]).count(), 0);
        assert_eq!(nal_units(&[1, 2, 3]).count(), 0);
        assert_eq!(nal_units(&[]).count(), 0);
    }

    #[test]
    fn only_a_unit_with_an_idr_slice_is_a_keyframe() {
        assert!(is_keyframe(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 0x88]));
        assert!(!is_keyframe(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x41, 0x9a]));
    }

    #[test]
    fn what_was_pushed_comes_out_again() {
        let mut stream = Vec::new();
        for nal in [&[0x67, 0x42][..], &[0x68, 0xce], &[0x65, 0, 0, 3, 1]] {
            push_nal(&mut stream, nal);
        }
        assert_eq!(nal_units(&stream).map(<[u8]>::len).collect::<Vec<_>>(), [2, 2, 5]);
    }

    #[test]
    fn noise_never_panics() {
        let mut state = 1_u32;
        for _ in 0..2000 {
            let noise: Vec<u8> = (0..64)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Mostly small values, so that start codes turn up.
                    [0, 0, 0, 1, 1, 0x67, 0x65, state.to_be_bytes()[0]][(state >> 20) as usize % 8]
                })
                .collect();
            let _ = is_keyframe(&noise);
            for nal in nal_units(&noise) {
                let _ = Sps::parse(nal);
            }
            let _ = Sps::parse(&noise);
            let _ = AvcConfig::parse(&noise);
            let _ = avcc_to_annex_b(&noise, 4, &mut Vec::new());
            let mut splitter = AccessUnitSplitter::default();
            for piece in noise.chunks(5) {
                splitter.push(piece);
                while splitter.next_unit().is_some() {}
            }
            let _ = splitter.finish();
        }
    }
}
