//! JPEG pictures out of a stream of bytes, whatever lies between them.
//!
//! A picture tells by itself where it ends, so multipart heads, boundaries and lengths, which cameras write carelessly,
//! are not needed, and a picture is there as soon as its last byte is.

/// No picture that perch decodes is larger, in bytes.
pub const LARGEST_PICTURE: usize = 16 << 20;

/// What is known of the JPEG picture that a buffer begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// It ends after `length` bytes.
    Whole { length: usize, size: (usize, usize) },
    /// Its end has not come yet.
    Open,
    /// It is none.
    Broken,
}

/// Coded data whose end was not found yet: where they begin, and up to where they were searched.
type Searched = (usize, usize);

/// Walks the segments of a JPEG picture (ITU-T T.81, B.1.1) to its end. An end marker within a segment, as in an
/// embedded thumbnail, is not taken for the picture's. What was `searched` before is not searched again.
fn scan(bytes: &[u8], searched: &mut Searched) -> Scan {
    let mut size = None;
    let mut at = 2;
    loop {
        // Fill bytes (B.1.1.2) may stand before a marker.
        let Some(&[mark, kind]) = bytes.get(at..at + 2) else { return Scan::Open };
        match (mark, kind) {
            (0xff, 0xff) => at += 1,
            (0xff, 0xd9) => {
                return size.map_or(Scan::Broken, |size| Scan::Whole { length: at + 2, size });
            }
            // Another picture begins: this one was cut short.
            (0xff, 0xd8) => return Scan::Broken,
            // Markers without a segment.
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, 0x02..=0xfe) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return Scan::Open };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    return Scan::Broken;
                }
                // SOF0 to SOF15, without DHT, JPG and DAC.
                if matches!(kind, 0xc0..=0xcf) && !matches!(kind, 0xc4 | 0xc8 | 0xcc) {
                    let Some(&[h1, h0, w1, w0]) = bytes.get(at + 5..at + 9) else { return Scan::Open };
                    size = Some((usize::from(u16::from_be_bytes([w1, w0])), usize::from(u16::from_be_bytes([h1, h0]))));
                }
                at += 2 + length;
                if kind == 0xda {
                    // Coded data: until a marker that is neither a stuffed zero nor a restart.
                    let from = if searched.0 == at { searched.1 } else { at };
                    let Some(coded) = bytes.get(from..) else { return Scan::Open };
                    let end =
                        coded.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff));
                    let Some(end) = end else {
                        *searched = (at, bytes.len().saturating_sub(1).max(at));
                        return Scan::Open;
                    };
                    at = from + end;
                }
            }
            _ => return Scan::Broken,
        }
    }
}

/// Size in pixels of the whole JPEG picture that `file` is.
pub fn size_of(file: &[u8]) -> Option<(usize, usize)> {
    match scan(file, &mut Searched::default()) {
        Scan::Whole { size, .. } if file.starts_with(&[0xff, 0xd8]) => Some(size),
        _ => None,
    }
}

/// Cuts a stream into JPEG pictures.
#[derive(Default)]
pub struct JpegCutter {
    buffer: Vec<u8>,
    searched: Searched,
}

impl JpegCutter {
    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole picture and its size in pixels, if it is there. Drops what is none.
    pub fn next_picture(&mut self) -> Option<(Vec<u8>, (usize, usize))> {
        loop {
            let start = self.buffer.windows(3).position(|bytes| bytes == [0xff, 0xd8, 0xff]);
            self.buffer.drain(..start.unwrap_or(self.buffer.len().saturating_sub(2)));
            if start != Some(0) {
                self.searched = Searched::default();
            }
            start?;
            let scanned = scan(&self.buffer, &mut self.searched);
            if scanned == Scan::Open && self.buffer.len() <= LARGEST_PICTURE {
                return None;
            }
            self.searched = Searched::default();
            match scanned {
                Scan::Whole { length, size } => {
                    let rest = self.buffer.split_off(length);
                    return Some((std::mem::replace(&mut self.buffer, rest), size));
                }
                // No picture is that large. What is in it is not searched for others: that could take for ever.
                Scan::Open => self.buffer.clear(),
                Scan::Broken => drop(self.buffer.drain(..2)),
            }
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A picture with an end marker inside a comment, stuffed zeros and a restart marker.
    pub fn jpeg(tag: u8) -> Vec<u8> {
        let mut file = vec![0xff, 0xd8, 0xff, 0xfe, 0, 5, 0xff, 0xd9, tag];
        file.extend_from_slice(&[0xff, 0xc0, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0]);
        file.extend_from_slice(&[0xff, 0xda, 0, 4, 1, 1, 9, 0xff, 0, 9, 0xff, 0xd0, 7, 0xff, 0xd9]);
        file
    }

    fn pictures(stream: &[u8], step: usize) -> Vec<(Vec<u8>, (usize, usize))> {
        let mut cutter = JpegCutter::default();
        let pieces = stream.chunks(step.max(1));
        pieces
            .flat_map(|piece| {
                cutter.push(piece);
                std::iter::from_fn(|| cutter.next_picture()).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn pictures_are_cut_at_their_own_end_markers_however_they_arrive() {
        let stream = [b"--frame\r\n\r\n".to_vec(), jpeg(1), b"\r\n--frame\r\n".to_vec(), jpeg(2)].concat();
        for step in [1, 5, stream.len()] {
            assert_eq!(pictures(&stream, step), [(jpeg(1), (64, 48)), (jpeg(2), (64, 48))], "{step}");
        }
    }

    #[test]
    fn a_large_picture_in_small_pieces_is_searched_once() {
        let mut file = jpeg(1);
        let coded = vec![9; 4 << 20];
        file.splice(file.len() - 2..file.len() - 2, coded);
        let began = crate::base::clock::thread_cpu_time();
        assert_eq!(pictures(&file, 512).len(), 1);
        let spent = crate::base::clock::thread_cpu_time().saturating_sub(began);
        // Searched again with each piece it would be 16 GB.
        assert!(spent < std::time::Duration::from_secs(3), "{spent:?}");
    }

    #[test]
    fn what_is_no_end_of_a_picture_is_dropped_at_once() {
        let start = [0xff, 0xd8, 0xff, 0xda, 0, 2];
        let mut stream = [&[0xff, 0xd8, 0xff, 0xfe, 0xff, 0xff][..], &start.repeat(10_000)].concat();
        stream.resize(LARGEST_PICTURE + 100, 9);
        stream.extend(jpeg(3).repeat(2));
        let began = crate::base::clock::thread_cpu_time();
        assert!(!pictures(&stream, 1 << 20).is_empty(), "those that follow are found");
        let spent = crate::base::clock::thread_cpu_time().saturating_sub(began);
        assert!(spent < std::time::Duration::from_secs(10), "{spent:?}");
    }

    #[test]
    fn a_broken_picture_is_skipped_and_the_next_one_found() {
        let stream = [&[0xff, 0xd8, 0xff, 0xfe, 0, 0], &jpeg(3)[..]].concat();
        assert_eq!(pictures(&stream, 99).len(), 1);
    }

    #[test]
    fn a_picture_cut_short_anywhere_is_no_picture_and_hides_few() {
        let whole = jpeg(1);
        for length in 0..whole.len() {
            assert!(pictures(&whole[..length], 99).is_empty());
            // A length that was cut off swallows up to 64 KiB of what follows.
            let many = jpeg(2).repeat(2000);
            let stream = [&whole[..length], b"\r\n--frame\r\n\r\n", &many, &jpeg(3)].concat();
            assert!(pictures(&stream, 99_999).iter().any(|(file, _)| *file == jpeg(3)), "cut after {length}");
        }
    }
}
