//! What is done to each picture between camera and encoder, where the owner asks for it.
//!
//! In this order: orientation, size, colour space, stabiliser, privacy masks, overlay. Masks come after what moves the
//! picture, so that they stay where the owner sees them, and the overlay last, so that it can always be read. A stage
//! exists only if it is configured; with none, pictures are not even looked at here, and go to the encoder as they came.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use log::info;

use super::colorspace::{Colorspace, Recolour};
use super::convert::{ConvertError, packed_copy};
use super::orientation::Orientation;
use super::overlay::{self, Overlay};
use super::privacy_mask::{Masks, PrivacyMask};
use super::scale::{Scaler, reduced};
use super::stabilizer::{self, Stabilizer};
use crate::base::clock::Timestamp;
use crate::base::metrics::Histogram;
use crate::media::frame::{Frame, FramePool, PixelFormat};

/// Buffers kept for the next pictures: one is being made, one encoded, one made a JPEG of.
const SPARE_BUFFERS: usize = 3;
/// After so many pictures the log says what each stage costs.
const TRIAL: u32 = 100;

/// What the owner asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Whether pictures are mirrored left to right. This and the next two are for those that the camera has not turned.
    pub hflip: bool,
    /// Whether they are mirrored top to bottom.
    pub vflip: bool,
    /// By how many degrees they are turned clockwise after that: 0, 90, 180 or 270.
    pub rotation: u32,
    /// By how many percent both sides shrink, 0 to 90.
    pub frame_size_reduction: u32,
    /// The colour space whose channels are shown.
    pub colorspace: Option<Colorspace>,
    /// Whether a shaking picture is held still.
    pub stabilize: bool,
    /// How that is done.
    pub stabilizer: stabilizer::Settings,
    /// What nobody is to see.
    pub privacy_masks: Vec<PrivacyMask>,
    /// What is written into the picture.
    pub overlay: overlay::Settings,
    /// The camera's name, for the overlay.
    pub camera: String,
}

impl Settings {
    /// How pictures are turned.
    #[must_use]
    pub const fn orientation(&self) -> Orientation {
        Orientation::new(self.hflip, self.vflip, self.rotation)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.orientation().is_none()
            && self.frame_size_reduction == 0
            && self.colorspace.is_none()
            && !self.stabilize
            && self.privacy_masks.is_empty()
            && self.overlay.text.is_empty()
    }

    /// The same without masks and words.
    fn below_what_lies_on_it(&self) -> Self {
        Self { privacy_masks: Vec::new(), overlay: overlay::Settings::default(), ..self.clone() }
    }

    /// The size in which a picture of `size` comes out; `is_oriented` if the camera has turned it already.
    #[must_use]
    pub fn output_size(&self, size: (usize, usize), is_oriented: bool) -> (usize, usize) {
        let turned = if is_oriented { size } else { self.orientation().size_of(size) };
        let small = if self.frame_size_reduction == 0 { turned } else { reduced(turned, self.frame_size_reduction) };
        if self.stabilize { self.stabilizer.output_size(small) } else { small }
    }
}

/// The stages, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stage {
    Orientation,
    Scale,
    Colorspace,
    Stabilizer,
    PrivacyMask,
    Overlay,
}

impl Stage {
    const ALL: [Self; 6] =
        [Self::Orientation, Self::Scale, Self::Colorspace, Self::Stabilizer, Self::PrivacyMask, Self::Overlay];

    /// The name in metrics and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Orientation => "orientation",
            Self::Scale => "scale",
            Self::Colorspace => "colorspace",
            Self::Stabilizer => "stabilizer",
            Self::PrivacyMask => "privacy_mask",
            Self::Overlay => "overlay",
        }
    }
}

/// How long each stage took for each picture.
#[derive(Debug, Default)]
pub struct StageTimes([Histogram; Stage::ALL.len()]);

impl StageTimes {
    /// Name and times of the stages that have seen a picture.
    pub fn by_stage(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        Stage::ALL.map(Stage::name).into_iter().zip(&self.0).filter(|(_, times)| times.count() > 0)
    }
}

/// The stages of one camera.
pub struct Stages {
    settings: Settings,
    pool: FramePool,
    scaler: Scaler,
    recolour: Option<Recolour>,
    stabilizer: Option<Stabilizer>,
    masks: Option<Masks>,
    overlay: Option<Overlay>,
    times: Arc<StageTimes>,
    trial: [Duration; Stage::ALL.len()],
    pictures: u32,
}

impl Stages {
    /// The stages that `settings` ask for, whose times go into `times`. None if they ask for nothing.
    #[must_use]
    pub fn new(settings: Settings, times: Arc<StageTimes>) -> Option<Self> {
        if settings.is_empty() {
            return None;
        }
        let pool = FramePool::new(SPARE_BUFFERS);
        Some(Self {
            recolour: settings.colorspace.map(|space| Recolour::new(space, pool.clone())),
            stabilizer: settings.stabilize.then(|| Stabilizer::new(&settings.stabilizer, pool.clone())),
            settings,
            pool,
            scaler: Scaler::default(),
            masks: None,
            overlay: None,
            times,
            trial: Default::default(),
            pictures: 0,
        })
    }

    /// What `stages` become when `settings` are asked for. Where only what lies on the picture is another, what moves it
    /// goes on: a stabiliser keeps what it has seen.
    #[must_use]
    pub fn renewed(stages: Option<Self>, settings: Settings, times: Arc<StageTimes>) -> Option<Self> {
        let mut new = Self::new(settings, times)?;
        if let Some(old) = stages
            && new.settings.below_what_lies_on_it() == old.settings.below_what_lies_on_it()
        {
            (new.stabilizer, new.recolour, new.scaler, new.pool) = (old.stabilizer, old.recolour, old.scaler, old.pool);
        }
        Some(new)
    }

    /// Whether pictures must not be left out between two that are shown.
    #[must_use]
    pub const fn needs_all(&self) -> bool {
        self.stabilizer.is_some()
    }

    /// Nobody watches for a while: what waits here is too old to be shown.
    pub fn rest(&mut self) {
        if let Some(stabilizer) = &mut self.stabilizer {
            stabilizer.reset();
        }
    }

    /// An I420 picture as the owner wants it; none while the stabiliser waits for newer ones. `is_ours` says that nobody else uses its memory, so that it can be changed
    /// in place; that of a source may come back with its next picture.
    ///
    /// # Errors
    /// When the picture is damaged: smaller than it says.
    pub fn apply(&mut self, frame: Frame, is_ours: bool) -> Result<Option<Frame>, ConvertError> {
        let (mut frame, mut is_ours) = (frame, is_ours);
        let orientation = self.settings.orientation();
        if !frame.is_oriented() && !orientation.is_none() {
            frame = self.timed(Stage::Orientation, |stages| orientation.apply(&frame, &stages.pool))?;
            is_ours = true;
        }
        if self.settings.frame_size_reduction > 0 {
            let size = reduced((frame.width(), frame.height()), self.settings.frame_size_reduction);
            frame = self.timed(Stage::Scale, |stages| stages.scaler.apply(&frame, size, &stages.pool))?;
            is_ours = true;
        }
        if let Some(mut recolour) = self.recolour.take() {
            let recoloured = self.timed(Stage::Colorspace, |_| recolour.apply(frame));
            self.recolour = Some(recolour);
            frame = recoloured?;
            is_ours = true;
        }
        if let Some(mut stabilizer) = self.stabilizer.take() {
            let stabilized = self.timed(Stage::Stabilizer, |_| stabilizer.push(frame));
            self.stabilizer = Some(stabilizer);
            let Some(calm) = stabilized? else { return Ok(None) };
            frame = calm;
            // Without a delay, one that needs no correction is passed on as it came.
            is_ours |= !self.settings.stabilizer.causal;
        }
        if !self.settings.privacy_masks.is_empty() {
            frame = self.timed(Stage::PrivacyMask, |stages| stages.mask(frame, is_ours))?;
            is_ours = true;
        }
        if !self.settings.overlay.text.is_empty() {
            frame = self.timed(Stage::Overlay, |stages| stages.write(frame, is_ours))?;
        }
        self.say_what_it_costs();
        Ok(Some(frame))
    }

    fn mask(&mut self, frame: Frame, is_ours: bool) -> Result<Frame, ConvertError> {
        let size = (frame.width(), frame.height());
        let masks = match self.masks.take().filter(|masks| masks.size() == size) {
            Some(masks) => masks,
            None => Masks::new(&self.settings.privacy_masks, size),
        };
        let masks = self.masks.insert(masks);
        changed(frame, is_ours, &self.pool, |picture| masks.apply(picture))
    }

    fn write(&mut self, frame: Frame, is_ours: bool) -> Result<Frame, ConvertError> {
        let size = (frame.width(), frame.height());
        let overlay = match self.overlay.take().filter(|overlay| overlay.size() == size) {
            Some(overlay) => overlay,
            None => Overlay::new(&self.settings.overlay, &self.settings.camera, size),
        };
        let overlay = self.overlay.insert(overlay);
        let age = Timestamp::now().saturating_since(frame.captured_at());
        let taken_at = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        changed(frame, is_ours, &self.pool, |picture| overlay.apply(picture, taken_at))
    }

    fn timed<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let done = work(self);
        let took = began.elapsed();
        self.times.0[stage as usize].observe(took);
        self.trial[stage as usize] += took;
        done
    }

    fn say_what_it_costs(&mut self) {
        self.pictures = self.pictures.saturating_add(1);
        if self.pictures != TRIAL {
            return;
        }
        let costs = Stage::ALL.into_iter().zip(self.trial).filter(|(_, total)| !total.is_zero());
        let words: Vec<_> = costs
            .map(|(stage, total)| format!("{} {:.2} ms", stage.name(), (total / TRIAL).as_secs_f64() * 1000.0))
            .collect();
        info!("camera {}: each picture costs: {}", self.settings.camera, words.join(", "));
    }
}

/// The picture, changed in place if it may be, else a copy of it.
fn changed(
    mut frame: Frame,
    is_ours: bool,
    pool: &FramePool,
    change: impl FnOnce(&mut [u8]),
) -> Result<Frame, ConvertError> {
    if is_ours && let Some(picture) = frame.packed_mut() {
        change(picture);
        return Ok(frame);
    }
    let size = (frame.width(), frame.height());
    let mut copy = packed_copy(&frame, pool)?;
    change(&mut copy);
    Ok(Frame::packed(PixelFormat::I420, size, frame.captured_at(), Box::new(copy))?)
}

#[cfg(test)]
mod tests {
    use super::super::privacy_mask::Cover;
    use super::*;
    use crate::media::frame::packed_size;

    const AT: Timestamp = Timestamp::from_nanos(77);

    fn stages(settings: Settings) -> Stages {
        Stages::new(settings, Arc::default()).unwrap()
    }

    /// A bright picture whose left half is brighter.
    fn picture(pool: &FramePool) -> Frame {
        let mut memory = pool.take(packed_size(PixelFormat::I420, (64, 32)));
        for row in memory[..64 * 32].chunks_exact_mut(64) {
            row[..32].fill(200);
            row[32..].fill(100);
        }
        memory[64 * 32..].fill(128);
        Frame::packed(PixelFormat::I420, (64, 32), AT, Box::new(memory)).unwrap()
    }

    fn upper_left() -> PrivacyMask {
        PrivacyMask { points: vec![[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]], cover: Cover::Black }
    }

    #[test]
    fn with_nothing_to_do_there_are_no_stages() {
        assert!(Stages::new(Settings { camera: "main".into(), ..Settings::default() }, Arc::default()).is_none());
    }

    #[test]
    fn masks_lie_on_the_picture_as_it_is_shown() {
        let mut stages = stages(Settings {
            rotation: 90,
            frame_size_reduction: 50,
            privacy_masks: vec![upper_left()],
            ..Settings::default()
        });
        let frame = stages.apply(picture(&FramePool::new(1)), false).unwrap().unwrap();
        assert_eq!((frame.width(), frame.height(), frame.captured_at()), (16, 32, AT));
        let luma = |x: usize, y: usize| frame.plane(0)[y * 16 + x];
        // Turned clockwise, the bright left half is on top.
        assert_eq!((luma(2, 2), luma(12, 2), luma(2, 28)), (16, 200, 100));
        let seen: Vec<_> = stages.times.by_stage().map(|(stage, times)| (stage, times.count())).collect();
        assert_eq!(seen, [("orientation", 1), ("scale", 1), ("privacy_mask", 1)]);
    }

    #[test]
    fn what_the_camera_has_turned_is_not_turned_again() {
        let settings = Settings { rotation: 180, ..Settings::default() };
        assert_eq!(settings.output_size((64, 32), false), (64, 32));
        let quarter = Settings { rotation: 90, ..settings.clone() };
        assert_eq!((quarter.output_size((64, 32), false), quarter.output_size((64, 32), true)), ((32, 64), (64, 32)));
        let frame = picture(&FramePool::new(1)).oriented(true);
        let address = frame.plane(0).as_ptr();
        assert_eq!(stages(settings).apply(frame, false).unwrap().unwrap().plane(0).as_ptr(), address);
    }

    #[test]
    fn a_source_s_memory_is_left_as_it_is_and_ours_is_changed_in_place() {
        let pool = FramePool::new(1);
        let mut stages = stages(Settings { privacy_masks: vec![upper_left()], ..Settings::default() });
        let frame = picture(&pool);
        let address = frame.plane(0).as_ptr();
        let masked = stages.apply(frame, false).unwrap().unwrap();
        assert_eq!((masked.plane(0)[0], masked.plane(0)[63]), (16, 100));
        assert_ne!(masked.plane(0).as_ptr(), address);
        assert_eq!(pool.take(64)[0], 200, "the source's picture");
        let frame = picture(&FramePool::new(1));
        let address = frame.plane(0).as_ptr();
        assert_eq!(stages.apply(frame, true).unwrap().unwrap().plane(0).as_ptr(), address);
    }

    #[test]
    fn the_stabiliser_waits_for_newer_pictures_and_what_waits_is_forgotten_at_rest() {
        let mut stages = stages(Settings { stabilize: true, ..Settings::default() });
        let pool = FramePool::new(3);
        let waits = |stages: &mut Stages| {
            (0..30).take_while(|_| stages.apply(picture(&pool), false).unwrap().is_none()).count()
        };
        let delay = waits(&mut stages);
        assert!(delay > 5 && stages.needs_all());
        assert_eq!(waits(&mut stages), 0);
        stages.rest();
        assert_eq!(waits(&mut stages), delay);
    }

    #[test]
    fn another_mask_makes_nobody_wait_for_the_stabiliser() {
        let settings = Settings { stabilize: true, ..Settings::default() };
        let mut calm = stages(settings.clone());
        let pool = FramePool::new(3);
        while calm.apply(picture(&pool), false).unwrap().is_none() {}
        let masked = Settings { privacy_masks: vec![upper_left()], ..settings.clone() };
        let mut calm = Stages::renewed(Some(calm), masked.clone(), Arc::default()).unwrap();
        let frame = calm.apply(picture(&pool), false).unwrap().expect("a picture at once");
        assert_eq!((frame.plane(0)[0], frame.plane(0)[63]), (16, 100));
        let turned = Settings { rotation: 180, ..masked };
        let mut calm = Stages::renewed(Some(calm), turned, Arc::default()).unwrap();
        assert!(calm.apply(picture(&pool), false).unwrap().is_none(), "others have to be waited for");
        assert!(Stages::renewed(Some(calm), Settings::default(), Arc::default()).is_none());
    }

    #[test]
    fn a_colour_space_leaves_masks_black() {
        let mut stages = stages(Settings {
            colorspace: Some(Colorspace::Hsv),
            privacy_masks: vec![upper_left()],
            ..Settings::default()
        });
        let frame = stages.apply(picture(&FramePool::new(1)), false).unwrap().unwrap();
        assert_eq!((frame.plane(0)[0], frame.plane(1)[0], frame.plane(2)[0]), (16, 128, 128));
        assert_ne!(frame.plane(1)[31], 128);
    }

    #[test]
    fn pictures_may_change_their_size() {
        let mut stages = stages(Settings {
            privacy_masks: vec![upper_left()],
            overlay: overlay::Settings { text: "%H".into(), ..overlay::Settings::default() },
            ..Settings::default()
        });
        for (width, height) in [(64, 32), (640, 480), (64, 32)] {
            let bytes = vec![200; packed_size(PixelFormat::I420, (width, height))];
            let frame = Frame::packed(PixelFormat::I420, (width, height), AT, Box::new(bytes)).unwrap();
            let frame = stages.apply(frame, true).unwrap().unwrap();
            let luma = frame.plane(0);
            assert_eq!((luma[(height / 2 - 1) * width], luma[(height / 2) * width]), (16, 200));
        }
    }
}
