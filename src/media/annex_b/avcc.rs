//! From the form that MP4 files keep H.264 in (ISO/IEC 14496-15: lengths before NAL units, parameter sets kept
//! apart) to the byte stream of Annex B.

use super::{NalKind, push_nal};

/// A sample whose NAL unit lengths do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a NAL unit reaches past the end of its sample")]
pub struct MalformedSample;

/// The `AVCDecoderConfigurationRecord` (14496-15, 5.3.3.1) of an `avcC` box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvcConfig {
    /// Bytes that each length takes: 1, 2 or 4.
    pub length_size: usize,
    /// Sequence and picture parameter sets, in this order.
    pub parameter_sets: Vec<Vec<u8>>,
}

impl AvcConfig {
    /// Reads the contents of an `avcC` box; `None` when it is not one, or is cut short.
    #[must_use]
    pub fn parse(record: &[u8]) -> Option<Self> {
        let (&[1, _, _, _, lengths, sps_count], mut rest) = record.split_first_chunk::<6>()? else { return None };
        let length_size = usize::from(lengths & 3) + 1;
        if length_size == 3 {
            return None;
        }
        let mut parameter_sets = Vec::new();
        take_sets(&mut rest, sps_count & 0x1f, &mut parameter_sets)?;
        let (&pps_count, mut rest) = rest.split_first()?;
        take_sets(&mut rest, pps_count, &mut parameter_sets)?;
        // What follows for high profiles (chroma format, bit depth) is in the SPS, too.
        Some(Self { length_size, parameter_sets })
    }

    /// The first sequence parameter set.
    #[must_use]
    pub fn sps(&self) -> Option<&[u8]> {
        self.parameter_sets.iter().map(Vec::as_slice).find(|nal| NalKind::of(nal) == Some(NalKind::Sps))
    }
}

fn take_sets(rest: &mut &[u8], count: u8, sets: &mut Vec<Vec<u8>>) -> Option<()> {
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        sets.push(set.to_vec());
        *rest = after;
    }
    Some(())
}

/// Appends the NAL units of an MP4 `sample` to `stream`, each behind a start code.
///
/// # Errors
/// When a length reaches past the sample's end; what came before it has been appended.
pub fn avcc_to_annex_b(sample: &[u8], length_size: usize, stream: &mut Vec<u8>) -> Result<(), MalformedSample> {
    let mut rest = sample;
    while !rest.is_empty() {
        let (length, after) = rest.split_at_checked(length_size.clamp(1, 4)).ok_or(MalformedSample)?;
        let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let (nal, after) = after.split_at_checked(length).ok_or(MalformedSample)?;
        if !nal.is_empty() {
            push_nal(stream, nal);
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_become_start_codes() {
        let mut stream = Vec::new();
        avcc_to_annex_b(&[0, 2, 0x65, 7, 0, 1, 0x41], 2, &mut stream).unwrap();
        assert_eq!(stream, [0, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 0x41]);
    }

    #[test]
    fn a_length_past_the_end_is_an_error() {
        assert_eq!(avcc_to_annex_b(&[0, 0, 0, 9, 0x65], 4, &mut Vec::new()), Err(MalformedSample));
        assert_eq!(avcc_to_annex_b(&[0, 0], 4, &mut Vec::new()), Err(MalformedSample));
    }

    #[test]
    fn a_configuration_record_gives_both_parameter_sets() {
        let record = [1, 0x42, 0, 0x1e, 0xff, 0xe1, 0, 2, 0x67, 0x42, 1, 0, 1, 0x68];
        let config = AvcConfig::parse(&record).unwrap();
        assert_eq!((config.length_size, config.sps()), (4, Some(&[0x67, 0x42][..])));
        assert_eq!(config.parameter_sets.len(), 2);
        assert!((0..record.len()).all(|length| AvcConfig::parse(&record[..length]).is_none()));
    }
}
