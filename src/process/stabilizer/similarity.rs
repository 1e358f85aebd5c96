//! Moves of the picture: shifted, turned and scaled, and how to find the one that most tracked points agree on.
//!
//! Coordinates have their origin in the picture's middle, so that turning and shifting are nearly independent.

/// `(x, y)` goes to `(cos·x - sin·y + right, sin·x + cos·y + down)`; `cos` and `sin` include the scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Similarity {
    pub(super) cos: f64,
    pub(super) sin: f64,
    pub(super) right: f64,
    pub(super) down: f64,
}

/// A point and where it went.
pub(super) type Pair = ([f64; 2], [f64; 2]);

impl Similarity {
    pub(super) const IDENTITY: Self = Self { cos: 1.0, sin: 0.0, right: 0.0, down: 0.0 };

    /// From right, down, angle in radians and logarithm of the scale.
    pub(super) fn from_parts([right, down, angle, scale]: [f64; 4]) -> Self {
        let scale = scale.exp();
        Self { cos: scale * angle.cos(), sin: scale * angle.sin(), right, down }
    }

    /// What [`from_parts`](Self::from_parts) takes.
    pub(super) fn parts(self) -> [f64; 4] {
        [self.right, self.down, self.sin.atan2(self.cos), self.cos.hypot(self.sin).ln()]
    }

    pub(super) fn apply(self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.cos * x - self.sin * y + self.right, self.sin * x + self.cos * y + self.down]
    }

    /// First this, then `next`.
    pub(super) fn then(self, next: Self) -> Self {
        let [right, down] = next.apply([self.right, self.down]);
        let (cos, sin) = (next.cos * self.cos - next.sin * self.sin, next.sin * self.cos + next.cos * self.sin);
        Self { cos, sin, right, down }
    }

    /// What undoes it.
    pub(super) fn inverse(self) -> Self {
        let square = (self.cos * self.cos + self.sin * self.sin).max(f64::MIN_POSITIVE);
        let turned = Self { cos: self.cos / square, sin: -self.sin / square, right: 0.0, down: 0.0 };
        let [right, down] = turned.apply([-self.right, -self.down]);
        Self { right, down, ..turned }
    }

    /// The one that brings `pairs` together best, by least squares.
    fn of_all<'a>(pairs: impl Iterator<Item = &'a Pair> + Clone) -> Option<Self> {
        let count = pairs.clone().count() as f64;
        let sum = pairs
            .clone()
            .fold([0.0; 4], |sum, (from, to)| [sum[0] + from[0], sum[1] + from[1], sum[2] + to[0], sum[3] + to[1]]);
        let mean = sum.map(|sum| sum / count);
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (from, to) in pairs {
            let (x, y) = (from[0] - mean[0], from[1] - mean[1]);
            let (to_x, to_y) = (to[0] - mean[2], to[1] - mean[3]);
            along += x * to_x + y * to_y;
            across += x * to_y - y * to_x;
            spread += x * x + y * y;
        }
        if count < 2.0 || spread < 1.0 {
            return None;
        }
        let turned = Self { cos: along / spread, sin: across / spread, right: 0.0, down: 0.0 };
        let [x, y] = turned.apply([mean[0], mean[1]]);
        Some(Self { right: mean[2] - x, down: mean[3] - y, ..turned })
    }

    fn agrees_with(self, (from, to): &Pair) -> bool {
        let [x, y] = self.apply(*from);
        (x - to[0]).powi(2) + (y - to[1]).powi(2) < TOLERANCE * TOLERANCE
    }

    /// Whether a camera could have moved so from one picture to the next.
    fn is_plausible(self) -> bool {
        let [_, _, angle, scale] = self.parts();
        angle.abs() < 0.35 && scale.abs() < 0.2
    }
}

/// How far off, in pixels, a point may be that still agrees.
const TOLERANCE: f64 = 1.0;
/// Pairs of points that are tried.
const ROUNDS: usize = 80;
/// As few points as make a move believable, and their share of all.
const LEAST: usize = 6;
const LEAST_SHARE: f64 = 0.3;

/// The move that most of `pairs` agree on (RANSAC: Fischler and Bolles 1981), if enough of them do. Always the same
/// for the same pairs.
pub(super) fn agreed(pairs: &[Pair]) -> Option<Similarity> {
    let needed = LEAST.max((pairs.len() as f64 * LEAST_SHARE).ceil() as usize);
    if pairs.len() < needed {
        return None;
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut best = (0, Similarity::IDENTITY);
    for _ in 0..ROUNDS {
        let two = [pairs[random.below(pairs.len())], pairs[random.below(pairs.len())]];
        let Some(guess) = Similarity::of_all(two.iter()).filter(|guess| guess.is_plausible()) else { continue };
        let votes = pairs.iter().filter(|pair| guess.agrees_with(pair)).count();
        if votes > best.0 {
            best = (votes, guess);
            if votes * 10 > pairs.len() * 9 {
                break;
            }
        }
    }
    let mut agreed = best.1;
    for _ in 0..3 {
        let of_one_mind = pairs.iter().filter(|pair| agreed.agrees_with(pair));
        if of_one_mind.clone().count() < needed {
            return None;
        }
        agreed = Similarity::of_all(of_one_mind)?;
    }
    Some(agreed).filter(|agreed| agreed.is_plausible())
}

/// Marsaglia's xorshift: its numbers need not be good, only the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(truth: Similarity, count: usize, strays: usize) -> Vec<Pair> {
        let mut random = Random(7);
        let mut place = || [random.below(640) as f64 - 320.0, random.below(480) as f64 - 240.0];
        let mut pairs: Vec<Pair> = (0..count).map(|_| place()).map(|from| (from, truth.apply(from))).collect();
        pairs.extend((0..strays).map(|_| (place(), place())));
        pairs
    }

    fn is_near(one: Similarity, other: Similarity) -> bool {
        one.parts().iter().zip(other.parts()).all(|(one, other)| (one - other).abs() < 1e-6)
    }

    #[test]
    fn parts_inverse_and_composition_fit_together() {
        let one = Similarity::from_parts([3.0, -4.0, 0.1, 0.05]);
        let other = Similarity::from_parts([-7.0, 2.0, -0.2, 0.01]);
        assert!(is_near(one.then(one.inverse()), Similarity::IDENTITY));
        let [x, y] = other.apply(one.apply([5.0, 6.0]));
        let [both_x, both_y] = one.then(other).apply([5.0, 6.0]);
        assert!((x - both_x).abs() < 1e-9 && (y - both_y).abs() < 1e-9);
    }

    #[test]
    fn the_majority_is_found_among_strays() {
        let truth = Similarity::from_parts([5.5, -3.25, 0.03, 0.01]);
        let found = agreed(&pairs(truth, 60, 60)).unwrap();
        assert!(is_near(found, truth), "{found:?}");
        assert_eq!(agreed(&pairs(truth, 60, 60)), Some(found));
    }

    #[test]
    fn without_a_majority_there_is_no_move() {
        assert_eq!(agreed(&pairs(Similarity::IDENTITY, 0, 100)), None);
        assert_eq!(agreed(&pairs(Similarity::IDENTITY, LEAST - 1, 0)), None);
        assert_eq!(agreed(&[([1.0, 1.0], [2.0, 2.0]); 20]), None);
        assert_eq!(agreed(&[]), None);
    }

    #[test]
    fn a_move_that_no_camera_makes_is_none() {
        assert_eq!(agreed(&pairs(Similarity::from_parts([0.0, 0.0, 1.5, 0.0]), 60, 0)), None);
    }
}
