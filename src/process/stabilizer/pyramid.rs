//! Luma at halving sizes: what features are found and followed in.

/// One size.
#[derive(Default)]
pub(super) struct Level {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

/// A picture's luma, the largest first. Keeps its memory from one picture to the next.
#[derive(Default)]
pub(super) struct Pyramid {
    pub(super) levels: Vec<Level>,
    /// How many pixels of the picture one of the largest level is wide.
    pub(super) scale: usize,
    halved: Level,
}

/// The longest side of the largest level: motion is measured to a fraction of a pixel, more of them tell nothing new.
const LONGEST_SIDE: usize = 800;
/// A level's shortest side at least.
const SHORTEST_SIDE: usize = 28;
const MOST_LEVELS: usize = 4;

impl Pyramid {
    /// Takes the luma of a picture, rows one `stride` apart.
    pub(super) fn fill(&mut self, luma: &[u8], stride: usize, (width, height): (usize, usize)) {
        self.levels.resize_with(MOST_LEVELS, Level::default);
        self.scale = 1;
        let base = &mut self.levels[0];
        if width.max(height) <= LONGEST_SIDE {
            base.resize(width, height);
            for (to, from) in base.pixels.chunks_exact_mut(width.max(1)).zip(luma.chunks(stride.max(1))) {
                to.copy_from_slice(&from[..width]);
            }
        } else {
            base.halve(luma, stride, (width, height));
            self.scale = 2;
        }
        while self.levels[0].width.max(self.levels[0].height) > LONGEST_SIDE {
            let base = &mut self.levels[0];
            self.halved.halve(&base.pixels, base.width, (base.width, base.height));
            std::mem::swap(base, &mut self.halved);
            self.scale *= 2;
        }
        let mut count = 1;
        while count < MOST_LEVELS {
            let (larger, smaller) = self.levels.split_at_mut(count);
            let larger = &larger[count - 1];
            if larger.width.min(larger.height) / 2 < SHORTEST_SIDE {
                break;
            }
            smaller[0].halve(&larger.pixels, larger.width, (larger.width, larger.height));
            count += 1;
        }
        self.levels.truncate(count);
    }
}

impl Level {
    fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.pixels.resize(width * height, 0);
    }

    /// Each pixel is the mean of four. An odd last row or column is left out.
    fn halve(&mut self, from: &[u8], stride: usize, (width, height): (usize, usize)) {
        self.resize(width / 2, height / 2);
        if self.pixels.is_empty() {
            return;
        }
        for (to, rows) in self.pixels.chunks_exact_mut(width / 2).zip(from.chunks(stride * 2)) {
            let (upper, lower) = rows.split_at(stride);
            let pairs = upper[..width].as_chunks::<2>().0.iter().zip(lower[..width].as_chunks::<2>().0);
            for (to, (upper, lower)) in to.iter_mut().zip(pairs) {
                let sum = u16::from(upper[0]) + u16::from(upper[1]) + u16::from(lower[0]) + u16::from(lower[1]);
                *to = ((sum + 2) / 4) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_halve_until_they_are_small() {
        let sizes = |size: (usize, usize)| {
            let mut pyramid = Pyramid::default();
            pyramid.fill(&vec![9; size.0 * size.1], size.0, size);
            let sizes: Vec<_> = pyramid.levels.iter().map(|level| (level.width, level.height)).collect();
            (sizes, pyramid.scale)
        };
        assert_eq!(sizes((640, 480)), (vec![(640, 480), (320, 240), (160, 120), (80, 60)], 1));
        assert_eq!(sizes((1280, 720)), (vec![(640, 360), (320, 180), (160, 90), (80, 45)], 2));
        assert_eq!(sizes((1920, 1080)).1, 4);
        assert_eq!(sizes((97, 63)), (vec![(97, 63), (48, 31)], 1));
        assert_eq!(sizes((1, 1)), (vec![(1, 1)], 1));
        assert_eq!(sizes((900, 1)).0, [(450, 0)]);
    }

    #[test]
    fn padding_is_left_out_and_pixels_are_means() {
        let mut pyramid = Pyramid::default();
        let mut luma = vec![255; 64 * 56];
        for row in luma.chunks_exact_mut(64) {
            for (column, pixel) in row[..60].iter_mut().enumerate() {
                *pixel = if column % 2 == 0 { 10 } else { 21 };
            }
        }
        pyramid.fill(&luma, 64, (60, 56));
        assert_eq!((pyramid.levels[1].width, pyramid.levels[1].height), (30, 28));
        assert!(pyramid.levels[1].pixels.iter().all(|pixel| *pixel == 16));
    }
}
