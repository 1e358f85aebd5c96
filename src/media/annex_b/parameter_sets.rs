//! Makes every keyframe one that a decoder can begin with.

use super::{NalKind, nal_units, push_nal};

/// Encoders often send SPS and PPS only once, and a viewer that comes later never sees them. This remembers the
/// newest ones and puts them before each IDR picture that lacks them.
#[derive(Clone, Debug, Default)]
pub struct ParameterSets {
    sps: Vec<u8>,
    pps: Vec<Vec<u8>>,
}

/// More picture parameter sets than any camera uses; 7.4.2.2 would allow 256.
const MOST_PPS: usize = 16;

impl ParameterSets {
    /// Remembers a parameter set; other NAL units are ignored. A new SPS forgets the PPS of the old one.
    pub fn remember(&mut self, nal: &[u8]) {
        match NalKind::of(nal) {
            Some(NalKind::Sps) if self.sps != nal => {
                self.sps = nal.to_vec();
                self.pps.clear();
            }
            Some(NalKind::Pps) if self.pps.len() < MOST_PPS && !self.pps.iter().any(|known| known == nal) => {
                self.pps.push(nal.to_vec());
            }
            _ => {}
        }
    }

    /// The newest SPS.
    #[must_use]
    pub fn sps(&self) -> Option<&[u8]> {
        (!self.sps.is_empty()).then_some(&self.sps)
    }

    /// Whether `unit` is a keyframe without its own SPS and PPS, so that [`complete`](Self::complete) would change it.
    /// Learns from units that have them.
    pub fn lacks(&mut self, unit: &[u8]) -> bool {
        let (mut has_idr, mut has_sps, mut has_pps) = (false, false, false);
        for nal in nal_units(unit) {
            match NalKind::of(nal) {
                Some(NalKind::Idr) => has_idr = true,
                Some(NalKind::Sps) => has_sps = true,
                Some(NalKind::Pps) => has_pps = true,
                _ => {}
            }
            self.remember(nal);
        }
        has_idr && !(has_sps && has_pps)
    }

    /// Completes `unit`: a keyframe without its own SPS and PPS gets the remembered ones. Learns from units that
    /// have them.
    #[must_use]
    pub fn complete(&mut self, unit: Vec<u8>) -> Vec<u8> {
        if !self.lacks(&unit) {
            return unit;
        }
        let mut complete = Vec::with_capacity(unit.len() + self.sps.len() + 64);
        // A delimiter must stay first (7.4.1.2.3).
        let mut nals = nal_units(&unit).peekable();
        if let Some(delimiter) = nals.next_if(|nal| NalKind::of(nal) == Some(NalKind::Delimiter)) {
            push_nal(&mut complete, delimiter);
        }
        for set in std::iter::once(&self.sps).chain(&self.pps).filter(|set| !set.is_empty()) {
            push_nal(&mut complete, set);
        }
        for nal in nals.filter(|nal| !matches!(NalKind::of(nal), Some(NalKind::Sps | NalKind::Pps))) {
            push_nal(&mut complete, nal);
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(nals: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        nals.iter().for_each(|nal| push_nal(&mut stream, nal));
        stream
    }

    #[test]
    fn a_later_keyframe_gets_the_parameter_sets_of_the_first_after_the_delimiter() {
        let mut sets = ParameterSets::default();
        let first = unit(&[&[0x67, 1], &[0x68, 2], &[0x65, 3]]);
        assert_eq!(sets.complete(first.clone()), first);
        let picture = unit(&[&[0x41, 9]]);
        assert_eq!(sets.complete(picture.clone()), picture);
        let later = sets.complete(unit(&[&[9, 0x10], &[0x65, 4]]));
        assert_eq!(later, unit(&[&[9, 0x10], &[0x67, 1], &[0x68, 2], &[0x65, 4]]));
    }

    #[test]
    fn a_new_sps_forgets_the_old_picture_parameter_sets() {
        let mut sets = ParameterSets::default();
        for nal in [&[0x67, 1][..], &[0x68, 1], &[0x67, 2], &[0x68, 2]] {
            sets.remember(nal);
        }
        assert_eq!(sets.complete(unit(&[&[0x65, 4]])), unit(&[&[0x67, 2], &[0x68, 2], &[0x65, 4]]));
    }
}
