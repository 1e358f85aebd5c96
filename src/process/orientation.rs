//! Pictures that were taken mirrored, upside down or on their side.
//!
//! Cameras that can do this themselves do it without cost; this is for all others, and for quarter turns. Which of the
//! two it is, the source says.

use super::convert::{ConvertError, check, split};
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};

/// How a picture is to be shown: mirrored first, then turned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// Rows and columns change places, before the mirrors.
    transpose: bool,
    /// Each row is read from its end.
    from_right: bool,
    /// The rows are read from the last one.
    from_bottom: bool,
}

/// Side of the blocks in which a picture is turned: their rows and columns fit into the fastest cache.
const BLOCK: usize = 32;
/// Bytes of a word.
const WORD: usize = 8;

impl Orientation {
    /// Mirrored left to right and top to bottom as said, then turned clockwise by `degrees`: 0, 90, 180 or 270.
    #[must_use]
    pub const fn new(hflip: bool, vflip: bool, degrees: u32) -> Self {
        let (transpose, right, bottom) = match degrees {
            90 => (true, false, true),
            180 => (false, true, true),
            270 => (true, true, false),
            _ => (false, false, false),
        };
        Self { transpose, from_right: right != hflip, from_bottom: bottom != vflip }
    }

    /// Whether pictures stay as they are.
    #[must_use]
    pub const fn is_none(self) -> bool {
        !self.transpose && !self.from_right && !self.from_bottom
    }

    /// The size of a picture of `(width, height)` once it is turned.
    #[must_use]
    pub const fn size_of(self, (width, height): (usize, usize)) -> (usize, usize) {
        if self.transpose { (height, width) } else { (width, height) }
    }

    /// Where the picture as it was taken has what is shown at a point; both in shares of the picture.
    #[must_use]
    pub const fn source_of(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [x, y] = if self.transpose { [y, x] } else { [x, y] };
        [if self.from_right { 1.0 - x } else { x }, if self.from_bottom { 1.0 - y } else { y }]
    }

    /// Where a point of the picture as it was taken is shown; both in shares of the picture.
    #[must_use]
    pub const fn shown_at(self, [x, y]: [f64; 2]) -> [f64; 2] {
        let x = if self.from_right { 1.0 - x } else { x };
        let y = if self.from_bottom { 1.0 - y } else { y };
        if self.transpose { [y, x] } else { [x, y] }
    }

    /// The I420 picture `frame`, mirrored and turned, in memory from `pool`.
    ///
    /// # Errors
    /// When its planes are smaller than its size says, or it is no I420.
    pub fn apply(self, frame: &Frame, pool: &FramePool) -> Result<Frame, ConvertError> {
        if frame.format() != PixelFormat::I420 {
            return Err(ConvertError::Layout(frame.format(), "it has to be I420 to be turned".into()));
        }
        let from = (frame.width(), frame.height());
        let size = self.size_of(from);
        let half = |(width, height): (usize, usize)| (width.div_ceil(2), height.div_ceil(2));
        let mut memory = pool.take(packed_size(PixelFormat::I420, size));
        for (index, plane) in split(&mut memory, size).into_iter().enumerate() {
            let (width, height) = if index == 0 { from } else { half(from) };
            check(frame, index, width, height)?;
            self.plane(frame.plane(index), frame.planes()[index].stride, (width, height), plane);
        }
        Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(memory))?)
    }

    fn plane(self, from: &[u8], stride: usize, (width, height): (usize, usize), to: &mut [u8]) {
        if self.transpose {
            return self.turn(from, stride, (width, height), to);
        }
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            let row = if self.from_bottom { height - 1 - row } else { row };
            let from = &from[row * stride..row * stride + width];
            if self.from_right { mirror(from, to) } else { to.copy_from_slice(from) }
        }
    }

    fn turn(self, from: &[u8], stride: usize, (width, height): (usize, usize), to: &mut [u8]) {
        // What was a row is a column now.
        for top in (0..width).step_by(BLOCK) {
            for left in (0..height).step_by(BLOCK) {
                let columns = left..(left + BLOCK).min(height);
                for y in top..(top + BLOCK).min(width) {
                    let x_from = if self.from_right { width - 1 - y } else { y };
                    for (x, to) in columns.clone().zip(&mut to[y * height + columns.start..y * height + columns.end]) {
                        let y_from = if self.from_bottom { height - 1 - x } else { x };
                        *to = from[y_from * stride + x_from];
                    }
                }
            }
        }
    }
}

/// Writes a row from its end, in words as far as it goes.
fn mirror(from: &[u8], to: &mut [u8]) {
    let (words, rest) = from.as_chunks::<WORD>();
    let (first, last) = to.split_at_mut(rest.len());
    for (to, from) in last.chunks_exact_mut(WORD).zip(words.iter().rev()) {
        to.copy_from_slice(&u64::from_le_bytes(*from).swap_bytes().to_le_bytes());
    }
    for (to, from) in first.iter_mut().zip(rest.iter().rev()) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::Plane;

    const AT: Timestamp = Timestamp::from_nanos(77);

    /// Luma of a 4×2 picture: `1 2 3 4` above `5 6 7 8`; chroma `1 2` and `3 4`.
    fn picture() -> Frame {
        let bytes = vec![1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4];
        Frame::packed(PixelFormat::I420, (4, 2), AT, Box::new(bytes)).unwrap()
    }

    fn shown(hflip: bool, vflip: bool, degrees: u32) -> ((usize, usize), Vec<u8>, Vec<u8>) {
        let frame = Orientation::new(hflip, vflip, degrees).apply(&picture(), &FramePool::new(1)).unwrap();
        assert_eq!(frame.captured_at(), AT);
        ((frame.width(), frame.height()), frame.plane(0).to_vec(), frame.plane(1).to_vec())
    }

    #[test]
    fn mirrors() {
        assert_eq!(shown(true, false, 0), ((4, 2), vec![4, 3, 2, 1, 8, 7, 6, 5], vec![2, 1]));
        assert_eq!(shown(false, true, 0), ((4, 2), vec![5, 6, 7, 8, 1, 2, 3, 4], vec![1, 2]));
    }

    #[test]
    fn rows_of_any_width_are_mirrored_whole() {
        for width in [1, 7, 8, 9, 67] {
            let from: Vec<u8> = (0..width).collect();
            let mut to = vec![0; from.len()];
            mirror(&from, &mut to);
            assert!(to.iter().rev().eq(&from), "{width}: {to:?}");
        }
    }

    #[test]
    fn turns_are_clockwise() {
        assert_eq!(shown(false, false, 90), ((2, 4), vec![5, 1, 6, 2, 7, 3, 8, 4], vec![1, 2]));
        assert_eq!(shown(false, false, 180), ((4, 2), vec![8, 7, 6, 5, 4, 3, 2, 1], vec![2, 1]));
        assert_eq!(shown(false, false, 270), ((2, 4), vec![4, 8, 3, 7, 2, 6, 1, 5], vec![2, 1]));
    }

    #[test]
    fn the_mirror_comes_before_the_turn() {
        // 4 3 2 1 above 8 7 6 5, then turned.
        assert_eq!(shown(true, false, 90).1, [8, 4, 7, 3, 6, 2, 5, 1]);
        assert_eq!(shown(true, true, 180).1, picture().plane(0));
        assert!(Orientation::new(true, true, 180).is_none());
        assert!(!Orientation::new(true, false, 180).is_none());
    }

    #[test]
    fn large_and_odd_pictures_with_padded_rows_are_turned_whole() {
        let (width, height, stride) = (67, 35, 80);
        let bytes: Vec<u8> = (0..stride * 53).map(|index| (index * 7 % 251) as u8).collect();
        let planes = [
            Plane { offset: 0, stride, rows: height },
            Plane { offset: stride * 35, stride: 40, rows: 18 },
            Plane { offset: stride * 44, stride: 40, rows: 18 },
        ];
        let frame = Frame::new(PixelFormat::I420, (width, height), AT, &planes, Box::new(bytes)).unwrap();
        let pool = FramePool::new(1);
        let turned = Orientation::new(false, false, 90).apply(&frame, &pool).unwrap();
        for (x, y) in [(0, 0), (34, 66), (3, 64), (33, 31), (17, 50)] {
            assert_eq!(turned.plane(0)[y * height + x], frame.plane(0)[(height - 1 - x) * stride + y], "{x} {y}");
        }
        let back = Orientation::new(false, false, 270).apply(&turned, &pool).unwrap();
        for (row, from) in back.plane(0).chunks_exact(width).zip(frame.plane(0).chunks(stride)) {
            assert_eq!(row, &from[..width]);
        }
        assert_eq!(back.plane(2)[..34], frame.plane(2)[..34]);
    }

    #[test]
    fn other_formats_are_an_error() {
        let frame = Frame::packed(PixelFormat::Nv12, (4, 2), AT, Box::new(vec![0; 12])).unwrap();
        assert!(Orientation::new(true, false, 0).apply(&frame, &FramePool::new(1)).is_err());
    }
}
