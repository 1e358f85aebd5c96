//! A picture from a shaking camera, held still.
//!
//! Corners are followed from each picture to the next (`features`, `flow`), most of them agree on how the camera moved
//! (`similarity`), its way is smoothed (`path`), and each picture is moved to where a calm camera had shown it
//! (`warp`). This is what VidGear's stabilizer does with OpenCV's functions.
//!
//! Smoothing looks at pictures before and after: the picture is late by half of `smoothing_radius` (12 pictures, 0.4 s at
//! 30 a second; VidGear's by 24). With `causal` it looks back only, is not late, and smooths less.
//!
//! What a picture costs on one core of a 2 GHz Xeon, optimised without LTO (`scripts/bench stages` measures it again): 2.6 ms at 640×480, 4.3 ms
//! at 1280×720, 8.1 ms at 1920×1080; of the 33 ms there are at 30 a second. Larger pictures are compared at half or a
//! quarter of their size.
//!
//! A picture without anything to follow (darkness, fog) passes untouched, and so does one that needs no correction. A cut
//! begins a new way. Memory is bounded: the pictures that wait, and two to compare.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::features::Detector;
use self::path::Path;
use self::pyramid::Pyramid;
use self::similarity::{Pair, Similarity};
use self::warp::{Affine, Source, warp};
use super::convert::{ConvertError, packed_copy, require_i420, split};
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};

#[cfg(test)]
mod clip;
mod features;
mod flow;
mod path;
mod pyramid;
mod similarity;
mod warp;

/// What is shown where a moved picture leaves a gap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BorderType {
    /// Black.
    #[default]
    Black,
    /// The picture, mirrored at its edge: `cba|abc|cba`.
    Reflect,
    /// The same without the outermost pixel twice: `dcb|abcd|cba`.
    #[serde(rename = "reflect_101")]
    Reflect101,
    /// The outermost pixel.
    Replicate,
    /// The picture's other side: `abc|abc|abc`.
    Wrap,
}

impl BorderType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Black, Self::Reflect, Self::Reflect101, Self::Replicate, Self::Wrap];
}

/// How to stabilise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many pictures the camera's way is smoothed over, 1 to 60. The picture is late by half of them.
    pub smoothing_radius: usize,
    /// Pixels that are added at each side of the picture, which grows by twice as many; with `crop_n_zoom`, pixels that
    /// are cut off. Even, 0 to 400.
    pub border_size: usize,
    /// What is shown where a moved picture leaves a gap.
    pub border_type: BorderType,
    /// Cuts `border_size` pixels off each side, where the gaps are, and enlarges what is left to the picture's size.
    pub crop_n_zoom: bool,
    /// Smooths over past pictures only: the picture is not late, and less calm.
    pub causal: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { smoothing_radius: 25, border_size: 0, border_type: BorderType::Black, crop_n_zoom: false, causal: false }
    }
}

impl Settings {
    /// Checks what types cannot: `(key, what is wrong)` of the first bad value.
    ///
    /// # Errors
    /// When a value is out of range, or does not go together with another.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let wrong = |key, what: String| Err((key, what));
        if !(1..=60).contains(&self.smoothing_radius) {
            return wrong("smoothing_radius", format!("{} is out of range: 1 to 60 pictures", self.smoothing_radius));
        }
        if self.border_size > 400 {
            return wrong("border_size", format!("{} is out of range: 0 to 400 pixels", self.border_size));
        }
        if !self.border_size.is_multiple_of(2) {
            return wrong(
                "border_size",
                format!("{} is odd: colours have one sample for two pixels", self.border_size),
            );
        }
        if self.crop_n_zoom && self.border_size == 0 {
            return wrong("crop_n_zoom", "needs border_size: how many pixels to cut off each side".into());
        }
        Ok(())
    }

    /// The size of what comes out when pictures of `(width, height)` go in.
    #[must_use]
    pub const fn output_size(&self, (width, height): (usize, usize)) -> (usize, usize) {
        let added = if self.crop_n_zoom { 0 } else { 2 * self.border_size };
        (width + added, height + added)
    }
}

/// A correction that moves no pixel further than this is none.
const UNNOTICED: f64 = 1.0 / 32.0;
/// A picture is moved by at most so much of its size, whatever the way was.
const FARTHEST: f64 = 0.25;

/// Holds pictures of one camera still.
pub struct Stabilizer {
    settings: Settings,
    pool: FramePool,
    size: (usize, usize),
    /// Pictures that wait for newer ones, the oldest first.
    waiting: VecDeque<Frame>,
    path: Path,
    now: Pyramid,
    before: Pyramid,
    /// Corners of the picture before, in pixels of its pyramid's largest level.
    corners: Vec<[f32; 2]>,
    detector: Detector,
    pairs: Vec<Pair>,
}

impl Stabilizer {
    /// Stabilises as `settings` say, taking the pictures' memory from `pool`.
    #[must_use]
    pub fn new(settings: &Settings, pool: FramePool) -> Self {
        Self {
            path: Path::new(settings.smoothing_radius, settings.causal),
            settings: settings.clone(),
            pool,
            size: (0, 0),
            waiting: VecDeque::new(),
            now: Pyramid::default(),
            before: Pyramid::default(),
            corners: Vec::new(),
            detector: Detector::default(),
            pairs: Vec::new(),
        }
    }

    /// How many pictures go in before the first comes out: it is late by so many.
    #[must_use]
    pub const fn delay(&self) -> usize {
        self.path.ahead()
    }

    /// Takes the I420 `frame` and gives the one whose turn it is, if any: none until [`delay`](Self::delay) newer ones are
    /// there. A frame of another size begins anew, and those that wait are dropped.
    ///
    /// # Errors
    /// When the frame is not I420 or its planes are smaller than its size says.
    pub fn push(&mut self, frame: Frame) -> Result<Option<Frame>, ConvertError> {
        require_i420(&frame)?;
        if self.size != (frame.width(), frame.height()) {
            self.reset();
            self.size = (frame.width(), frame.height());
        }
        let moved = self.move_to(&frame);
        self.path.push(moved);
        if self.delay() == 0 {
            return self.corrected(frame, 0).map(Some);
        }
        // A camera has few buffers: those that wait are copies.
        self.waiting.push_back(self.copy_of(&frame)?);
        if self.waiting.len() <= self.delay() { Ok(None) } else { self.finish() }
    }

    /// The next of the frames that wait, when no more will come; none when there are no more.
    ///
    /// # Errors
    /// Never, for frames that [`push`](Self::push) took.
    pub fn finish(&mut self) -> Result<Option<Frame>, ConvertError> {
        let Some(frame) = self.waiting.pop_front() else { return Ok(None) };
        self.corrected(frame, self.waiting.len()).map(Some)
    }

    /// Forgets all that was seen.
    pub fn reset(&mut self) {
        self.waiting.clear();
        self.corners.clear();
        self.path = Path::new(self.settings.smoothing_radius, self.settings.causal);
    }

    /// How the picture moved since the one before; none if that cannot be seen.
    fn move_to(&mut self, frame: &Frame) -> Option<Similarity> {
        self.now.fill(frame.plane(0), frame.planes()[0].stride, self.size);
        let scale = self.now.scale as f64;
        let base = &self.now.levels[0];
        let middle = [base.width, base.height].map(|side| (side as f64 - 1.0) / 2.0);
        let centred =
            |place: [f32; 2]| [(f64::from(place[0]) - middle[0]) * scale, (f64::from(place[1]) - middle[1]) * scale];
        self.pairs.clear();
        for corner in &self.corners {
            if let Some(place) = flow::follow(&self.before, &self.now, *corner) {
                self.pairs.push((centred(*corner), centred(place)));
            }
        }
        let tracked_enough = self.pairs.len() * 4 >= self.corners.len();
        let moved = tracked_enough.then(|| similarity::agreed(&self.pairs)).flatten();
        self.find_corners();
        std::mem::swap(&mut self.now, &mut self.before);
        moved
    }

    /// The corners of the picture that is there now, sought in the copy of half the size if it is large enough.
    fn find_corners(&mut self) {
        self.corners.clear();
        let levels = &self.now.levels;
        let halved = levels.get(1).filter(|level| level.width.min(level.height) >= 100);
        self.detector.find(halved.unwrap_or(&levels[0]), &mut self.corners);
        if halved.is_some() {
            for place in self.corners.as_flattened_mut() {
                *place *= 2.0;
            }
        }
    }

    /// `frame`, which has `newer` ones after it, where a calm camera had shown it.
    fn corrected(&self, frame: Frame, newer: usize) -> Result<Frame, ConvertError> {
        let (width, height) = self.size;
        let size = self.settings.output_size(self.size);
        let mut correction = self.path.correction(newer);
        let limit = |value: f64, side: usize| value.clamp(-FARTHEST * side as f64, FARTHEST * side as f64);
        correction.right = limit(correction.right, width);
        correction.down = limit(correction.down, height);
        let corner = [width as f64 / 2.0, height as f64 / 2.0];
        let furthest = [[1.0, 1.0], [1.0, -1.0]].map(|sign| {
            let from = [corner[0] * sign[0], corner[1] * sign[1]];
            let to = correction.apply(from);
            (to[0] - from[0]).abs().max((to[1] - from[1]).abs())
        });
        if furthest.iter().all(|distance| *distance < UNNOTICED) {
            if self.settings.border_size == 0 {
                return Ok(frame);
            }
            correction = Similarity::IDENTITY;
        }
        let from = self.origin(correction);
        let mut memory = self.pool.take(packed_size(PixelFormat::I420, size));
        let sizes = [self.size, (width.div_ceil(2), height.div_ceil(2))];
        for (plane, to) in split(&mut memory, size).into_iter().enumerate() {
            let is_chroma = plane > 0;
            let (width, height) = sizes[usize::from(is_chroma)];
            let source = Source {
                bytes: frame.plane(plane),
                stride: frame.planes()[plane].stride,
                width,
                height,
                border: self.settings.border_type,
                black: if is_chroma { 128 } else { 16 },
            };
            let (from, to_width) = if is_chroma { (from.halved(), size.0.div_ceil(2)) } else { (from, size.0) };
            warp(&source, from, to, to_width);
        }
        Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(memory))?)
    }

    /// Where the result's pixels come from when the picture is moved by `correction`, and enlarged or framed.
    fn origin(&self, correction: Similarity) -> Affine {
        let back = correction.inverse();
        let sides = [self.size.0 as f64, self.size.1 as f64];
        let output = self.settings.output_size(self.size);
        let output_middle = [(output.0 as f64 - 1.0) / 2.0, (output.1 as f64 - 1.0) / 2.0];
        let middle = sides.map(|side| (side - 1.0) / 2.0);
        // A margin that would leave less than a third of the picture is cut to what does.
        let zoom = sides.map(|side| {
            let cut = if self.settings.crop_n_zoom { 2.0 * self.settings.border_size as f64 / side } else { 0.0 };
            1.0 - cut.min(2.0 / 3.0)
        });
        let line = |a: f64, b: f64, shift: f64, middle: f64| {
            let (a, b) = (a * zoom[0], b * zoom[1]);
            [a, b, middle + shift - a * output_middle[0] - b * output_middle[1]]
        };
        Affine([line(back.cos, -back.sin, back.right, middle[0]), line(back.sin, back.cos, back.down, middle[1])])
    }

    fn copy_of(&self, frame: &Frame) -> Result<Frame, ConvertError> {
        let memory = packed_copy(frame, &self.pool)?;
        Ok(Frame::packed(PixelFormat::I420, self.size, frame.captured_at(), Box::new(memory))?)
    }
}

#[cfg(test)]
mod tests;
