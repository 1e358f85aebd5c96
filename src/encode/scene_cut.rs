//! Whether a picture shows another scene than the one before: a light was switched, a cover was taken off.
//!
//! Such a picture is best encoded as a keyframe: predicted from the one before it takes several times the bytes, which no
//! viewer's link has room for. OpenH264 has a look at each pixel for that, a twelfth of what it costs. Here some hundred
//! short runs of luma all over the picture tell as much. Where each picture shows another scene (a lamp that flickers),
//! keyframes are no remedy, and come seldom.

/// Runs of luma in a row of them, and rows of runs.
const RUNS: usize = 24;
/// Pixels of a run: what a CPU compares at once.
const RUN_PIXELS: usize = 16;
/// A run has changed if its pixels differ by more than this on average, in steps of luma: OpenH264's threshold.
const CHANGED: u32 = 5;
/// So many of a hundred runs have changed in another scene: OpenH264's share.
const CHANGED_PERCENT: usize = 85;

/// Pictures between two cuts.
const LEAST_PICTURES: u32 = 15;

/// Compares each picture with the one before.
#[derive(Debug, Default)]
pub(super) struct SceneCut {
    runs: Vec<[u8; RUN_PIXELS]>,
    since_cut: Option<u32>,
}

impl SceneCut {
    /// Whether the picture `luma` of `width` pixels, rows `stride` bytes apart, shows another scene than the last one did.
    pub(super) fn is_cut(&mut self, luma: &[u8], width: usize, stride: usize) -> bool {
        let rows = luma.len() / stride.max(1);
        let (right, down) = ((width / RUNS).max(RUN_PIXELS), (rows / RUNS).max(1));
        let lines = luma.chunks_exact(stride.max(1)).skip(down / 2).step_by(down);
        let runs = lines.flat_map(|line| line[..width.min(line.len())].chunks(right)).filter_map(<[u8]>::first_chunk);
        let (mut count, mut changed) = (0, 0);
        for run in runs {
            match self.runs.get_mut(count) {
                Some(before) => {
                    let difference = before.iter().zip(run).map(|(one, other)| u32::from(one.abs_diff(*other)));
                    changed += usize::from(difference.sum::<u32>() > CHANGED * RUN_PIXELS as u32);
                    *before = *run;
                }
                None => self.runs.push(*run),
            }
            count += 1;
        }
        self.since_cut = self.since_cut.map(|pictures| pictures + 1).filter(|pictures| *pictures < LEAST_PICTURES);
        let is_cut = changed * 100 > count * CHANGED_PERCENT && self.since_cut.is_none();
        if is_cut {
            self.since_cut = Some(0);
        }
        is_cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (640, 480);

    fn picture(shade: impl Fn(usize, usize) -> usize) -> Vec<u8> {
        (0..SIZE.0 * SIZE.1).map(|at| shade(at % SIZE.0, at / SIZE.0).min(255) as u8).collect()
    }

    fn is_cut(one: &[u8], other: &[u8]) -> bool {
        let mut cut = SceneCut::default();
        assert!(!cut.is_cut(one, SIZE.0, SIZE.0), "there is nothing before the first");
        cut.is_cut(other, SIZE.0, SIZE.0)
    }

    #[test]
    fn a_light_that_is_switched_and_another_scene_are_cuts() {
        let dark = picture(|x, y| 16 + (x / 40 + y / 40) % 4);
        let lit = picture(|x, y| 60 + (x / 40 + y / 40) % 4 * 30);
        assert!(is_cut(&dark, &lit) && is_cut(&lit, &dark));
        assert!(is_cut(&lit, &picture(|x, y| (x * y / 700) % 200)));
    }

    #[test]
    fn somebody_who_walks_by_and_noise_are_none() {
        let room = |x: usize, y: usize| 90 + (x / 30 + y / 50) % 5 * 20;
        assert!(!is_cut(&picture(room), &picture(room)));
        let somebody = |x: usize, y: usize| if (100..400).contains(&x) && y > 100 { 230 } else { room(x, y) };
        assert!(!is_cut(&picture(room), &picture(somebody)));
        assert!(!is_cut(&picture(room), &picture(|x, y| room(x, y) + (x * 7 + y * 13) % 9)));
    }

    #[test]
    fn of_a_lamp_that_flickers_few_pictures_are_cuts() {
        let mut cut = SceneCut::default();
        let shades = [picture(|_, _| 30), picture(|_, _| 200)];
        let cuts = (0..32).filter(|number| cut.is_cut(&shades[number % 2], SIZE.0, SIZE.0));
        assert_eq!(cuts.collect::<Vec<_>>(), [1, 16, 31]);
    }

    #[test]
    fn any_size_can_be_compared() {
        for (width, stride, rows) in [(2, 2, 2), (15, 64, 3), (16, 16, 1), (33, 40, 50), (4096, 4096, 9)] {
            let mut cut = SceneCut::default();
            for shade in [0, 255, 255, 0] {
                cut.is_cut(&vec![shade; stride * rows], width, stride);
            }
        }
        assert!(!SceneCut::default().is_cut(&[], 0, 0));
    }
}
