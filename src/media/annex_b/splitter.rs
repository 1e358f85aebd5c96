//! Cuts a byte stream into access units, one per picture.

use super::{NalKind, find_start_code};

/// An access unit that grows past this is no picture: it is thrown away.
pub const MAX_UNIT_BYTES: usize = 8 << 20;

/// Takes a byte stream in pieces of any size and gives back whole access units.
///
/// A unit ends where the next one begins (ITU-T H.264, 7.4.1.2.3): at a delimiter, parameter set, SEI or a NAL
/// unit of type 14 to 18 after the picture's last slice, or at a slice whose `first_mb_in_slice` is 0. Where one
/// ends is therefore known only once the next one has begun. Redundant pictures and arbitrary slice order, which
/// no camera and no browser knows, are not told apart.
#[derive(Debug, Default)]
pub struct AccessUnitSplitter {
    /// The unit being collected, and whatever of the next ones has been pushed.
    buffer: Vec<u8>,
    /// Up to here the buffer has been searched.
    searched: usize,
    /// Whether the buffer begins with a start code.
    in_unit: bool,
    has_picture: bool,
}

impl AccessUnitSplitter {
    /// Appends a piece of the stream. Call [`next_unit`](Self::next_unit) until it gives nothing before pushing
    /// more: what does not end within [`MAX_UNIT_BYTES`] is dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next unit that is known to be whole.
    pub fn next_unit(&mut self) -> Option<Vec<u8>> {
        while let Some(code) = find_start_code(&self.buffer, self.searched) {
            let nal = &self.buffer[code + 3..];
            // The header, and the byte in which first_mb_in_slice begins.
            if nal.len() < 2 {
                self.searched = code;
                return None;
            }
            let (kind, begins) = (NalKind::of(nal), begins_unit(nal));
            let start = if code > 0 && self.buffer[code - 1] == 0 { code - 1 } else { code };
            let is_picture = kind.is_some_and(NalKind::is_picture);
            if !self.in_unit {
                self.buffer.drain(..start);
                self.in_unit = true;
                self.searched = code - start + 3;
            } else if self.has_picture && begins {
                let rest = self.buffer.split_off(start);
                let unit = std::mem::replace(&mut self.buffer, rest);
                self.searched = code - start + 3;
                self.has_picture = is_picture;
                return Some(unit);
            } else {
                self.searched = code + 3;
            }
            self.has_picture |= is_picture;
        }
        // A start code may lie across the edge of two pieces.
        self.searched = self.searched.max(self.buffer.len().saturating_sub(2));
        if self.buffer.len() > MAX_UNIT_BYTES || !self.in_unit && self.searched > 3 {
            // Keep what could be the beginning of a start code.
            self.buffer.drain(..self.buffer.len().saturating_sub(3));
            self.searched = 0;
            self.in_unit = false;
            self.has_picture = false;
        }
        None
    }

    /// What is left when the stream has ended: the last unit.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        let unit = std::mem::take(self);
        unit.has_picture.then_some(unit.buffer)
    }

    /// Bytes that wait for the rest of their unit.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.buffer.len()
    }
}

/// Whether `nal` begins an access unit if it comes after a picture's slice.
fn begins_unit(nal: &[u8]) -> bool {
    match NalKind::of(nal) {
        Some(NalKind::Slice | NalKind::Idr) => {
            // Partitions B and C (3, 4) carry a slice_id where others carry first_mb_in_slice. It is ue(v) coded, so
            // that 0 is a single one bit.
            !matches!(nal[0] & 0x1f, 3 | 4) && nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
        }
        Some(NalKind::Sei | NalKind::Sps | NalKind::Pps | NalKind::Delimiter | NalKind::Other(14..=18)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::push_nal;
    use super::*;

    const NALS: [&[u8]; 8] = [
        &[0x67, 1, 2],
        &[0x68, 3],
        &[0x65, 0x88, 4], // first slice of the first picture
        &[0x65, 0x40, 5], // second slice: first_mb_in_slice is not 0
        &[0x41, 0x9a, 6], // second picture
        &[0x06, 5, 1],    // SEI of the third
        &[0x41, 0x9a, 7],
        &[0x41, 0x9a, 8],
    ];
    const UNITS: [std::ops::Range<usize>; 4] = [0..4, 4..5, 5..7, 7..8];

    fn stream(nals: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        nals.iter().for_each(|nal| push_nal(&mut stream, nal));
        stream
    }

    #[test]
    fn units_are_cut_before_each_picture_whatever_the_size_of_the_pieces() {
        let whole = stream(&NALS);
        let wanted: Vec<_> = UNITS.iter().map(|range| stream(&NALS[range.clone()])).collect();
        for size in 1..=whole.len() {
            let mut splitter = AccessUnitSplitter::default();
            let mut units = Vec::new();
            for piece in whole.chunks(size) {
                splitter.push(piece);
                units.extend(std::iter::from_fn(|| splitter.next_unit()));
            }
            units.extend(splitter.finish());
            assert_eq!(units, wanted, "pieces of {size}");
        }
    }

    #[test]
    fn bytes_before_the_first_start_code_are_dropped() {
        let mut splitter = AccessUnitSplitter::default();
        splitter.push(&[7; 100]);
        assert_eq!(splitter.next_unit(), None);
        assert!(splitter.waiting_bytes() <= 3);
        splitter.push(&stream(&NALS[4..5]));
        assert_eq!(splitter.next_unit(), None);
        assert_eq!(splitter.finish(), Some(stream(&NALS[4..5])));
    }

    #[test]
    fn a_stream_without_an_end_does_not_grow_without_bound() {
        let mut splitter = AccessUnitSplitter::default();
        splitter.push(&stream(&NALS[..3]));
        for _ in 0..12 {
            splitter.push(&[0xff; 1 << 20]);
            assert_eq!(splitter.next_unit(), None);
            assert!(splitter.waiting_bytes() <= MAX_UNIT_BYTES);
        }
        splitter.push(&stream(&NALS[..5]));
        assert_eq!(splitter.next_unit(), Some(stream(&NALS[..4])));
    }
}
