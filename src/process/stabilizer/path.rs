//! The camera's way from picture to picture, and how far a picture is off the way it was meant to go.
//!
//! Where a picture could not be brought together with the one before it (a cut, darkness), a new way begins: what is
//! on the other side does not count.

use std::collections::VecDeque;

use super::similarity::Similarity;

/// How pictures moved, the newest last. Remembers as many as the smoothing looks at.
pub(super) struct Path {
    moves: VecDeque<Option<Similarity>>,
    radius: usize,
    causal: bool,
}

impl Path {
    pub(super) fn new(radius: usize, causal: bool) -> Self {
        Self { moves: VecDeque::new(), radius: radius.max(1), causal }
    }

    /// How many newer pictures the correction of one looks at.
    pub(super) const fn ahead(&self) -> usize {
        if self.causal { 0 } else { self.radius / 2 }
    }

    /// How many older ones.
    const fn back(&self) -> usize {
        if self.causal { self.radius - 1 } else { self.radius / 2 }
    }

    /// One more picture, and how it moved since the one before, if that is known.
    pub(super) fn push(&mut self, moved: Option<Similarity>) {
        if self.moves.len() > self.ahead() + self.back() {
            self.moves.pop_front();
        }
        self.moves.push_back(moved);
    }

    /// What to do to the picture that has `newer` ones after it, to have it where a calm camera had shown it.
    pub(super) fn correction(&self, newer: usize) -> Similarity {
        let Some(index) = self.moves.len().checked_sub(newer + 1) else { return Similarity::IDENTITY };
        // Where each of the others saw what this picture shows: the nearest first.
        let older =
            self.moves.range(..=index).rev().take(self.back()).map_while(|moved| moved.map(Similarity::inverse));
        let older = places(older);
        if self.causal {
            return end_of_line(&older);
        }
        let newer = places(self.moves.range(index + 1..).take(self.ahead()).map_while(|moved| *moved));
        // As many on either side: a camera that turns steadily is followed, and at both ends of a way nothing jumps.
        let count = older.len().min(newer.len());
        let mut sum = [0.0; 4];
        for place in older[..count].iter().chain(&newer[..count]) {
            sum = std::array::from_fn(|part| sum[part] + place[part]);
        }
        Similarity::from_parts(sum.map(|sum| sum / (2 * count + 1) as f64))
    }
}

fn places(moves: impl Iterator<Item = Similarity>) -> Vec<[f64; 4]> {
    let steps = moves.scan(Similarity::IDENTITY, |all, moved| {
        *all = all.then(moved);
        Some(all.parts())
    });
    steps.collect()
}

/// Where the straight line through all places (least squares), this picture's and the `older`, ends: unlike their mean,
/// it does not lag behind a camera that turns steadily.
fn end_of_line(older: &[[f64; 4]]) -> Similarity {
    let count = (older.len() + 1) as f64;
    let weight = |age: usize| (4.0 * count - 2.0 - 6.0 * age as f64) / (count * (count + 1.0));
    let mut sum = [0.0; 4];
    for (age, place) in (1..).zip(older) {
        sum = std::array::from_fn(|part| sum[part] + weight(age) * place[part]);
    }
    Similarity::from_parts(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(right: f64) -> Option<Similarity> {
        Some(Similarity::from_parts([right, 0.0, 0.0, 0.0]))
    }

    fn path(causal: bool, moves: &[Option<Similarity>]) -> Path {
        let mut path = Path::new(5, causal);
        moves.iter().for_each(|moved| path.push(*moved));
        path
    }

    #[test]
    fn a_picture_goes_to_the_mean_place_of_its_neighbours() {
        // Places 0, 0, 10, 0, 0: the third is 10 to the right of where four of five are.
        let path = path(false, &[None, step(0.0), step(10.0), step(-10.0), step(0.0)]);
        assert!((path.correction(2).right - -8.0).abs() < 1e-9);
    }

    #[test]
    fn a_steady_turn_is_left_alone() {
        for causal in [false, true] {
            let path = path(causal, &[step(7.0); 9]);
            assert!(path.correction(path.ahead()).right.abs() < 1e-9);
        }
    }

    #[test]
    fn beyond_a_cut_nothing_counts() {
        let wild = path(false, &[step(3.0), step(-8.0), None, step(4.0), step(9.0)]);
        assert_eq!(wild.correction(2), Similarity::IDENTITY);
        let wild = path(true, &[step(3.0), step(-8.0), None]);
        assert_eq!(wild.correction(0), Similarity::IDENTITY);
        assert_eq!(wild.correction(9), Similarity::IDENTITY);
    }

    #[test]
    fn without_newer_pictures_the_older_ones_are_smoothed() {
        let moves: Vec<_> = (0..40).map(|index| step(if index % 2 == 0 { 4.0 } else { -4.0 })).collect();
        let mut path = Path::new(25, true);
        let (mut shown, mut place): (Vec<f64>, f64) = (Vec::new(), 0.0);
        for moved in moves {
            place += moved.unwrap().right;
            path.push(moved);
            shown.push(place + path.correction(0).right);
        }
        assert!(shown[30..].windows(2).all(|pair| (pair[1] - pair[0]).abs() < 4.0 / 5.0), "{shown:?}");
    }

    #[test]
    fn as_much_is_remembered_as_is_looked_at() {
        assert_eq!(path(false, &[step(1.0); 99]).moves.len(), 5);
        assert_eq!(path(true, &[step(1.0); 99]).moves.len(), 5);
    }
}
