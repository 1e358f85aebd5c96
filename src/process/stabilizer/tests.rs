use std::sync::Arc;

use super::clip::{HEIGHT, WIDTH, frame, look, measured_move, scene, shake, unrest};
use super::*;
use crate::base::clock::Timestamp;
use crate::media::frame::FrameMemory;

/// Pictures of the clip, and those of them that are measured: as in `tests/stabilizer_vidgear.py`.
const PICTURES: usize = 80;
const MEASURED: std::ops::Range<usize> = 25..55;

/// What `tests/stabilizer_vidgear.py` says of VidGear 0.3.6 with OpenCV 5.0.0 and `smoothing_radius=25`: its result
/// moves by so many pixels from one picture to the next, and the clip by so many.
const VIDGEAR: f64 = 0.283;
const CLIP: f64 = 4.666;

fn stabilizer(settings: &Settings) -> Stabilizer {
    settings.validate().unwrap();
    Stabilizer::new(settings, FramePool::new(4))
}

fn causal() -> Settings {
    Settings { causal: true, ..Settings::default() }
}

/// All frames that come out, those that wait at the end too.
fn all(stabilizer: &mut Stabilizer, frames: impl IntoIterator<Item = Frame>) -> Vec<Frame> {
    let mut out: Vec<_> = frames.into_iter().filter_map(|frame| stabilizer.push(frame).unwrap()).collect();
    while let Some(frame) = stabilizer.finish().unwrap() {
        out.push(frame);
    }
    out
}

fn luma(frames: &[Frame]) -> Vec<Vec<u8>> {
    frames.iter().map(|frame| frame.plane(0).to_vec()).collect()
}

/// The middle of a picture, away from the gaps.
fn small(scene: &[f64], place: [f64; 3], index: usize) -> Frame {
    const SIZE: (usize, usize) = (160, 120);
    let luma = look(scene, place, index);
    let rows = luma.chunks_exact(WIDTH).skip(60).take(SIZE.1);
    frame(&rows.flat_map(|row| &row[80..80 + SIZE.0]).copied().collect::<Vec<_>>(), SIZE, index)
}

#[test]
fn a_shaking_picture_is_held_stiller_than_vidgear_holds_it() {
    let scene = scene();
    let clip: Vec<_> = (0..PICTURES).map(|index| look(&scene, shake(index), index)).collect();
    let frames = || clip.iter().enumerate().map(|(index, luma)| frame(luma, (WIDTH, HEIGHT), index));
    let before = unrest(&clip[MEASURED]);
    assert!((before - CLIP).abs() < 0.01, "this is not the clip that VidGear was measured with: {before}");

    let held = all(&mut stabilizer(&Settings::default()), frames());
    let times: Vec<_> = held.iter().map(Frame::captured_at).collect();
    assert_eq!(times, frames().map(|frame| frame.captured_at()).collect::<Vec<_>>());
    let after = unrest(&luma(&held)[MEASURED]);
    println!("{before:.3} pixels become {after:.3}; VidGear's: {VIDGEAR}");
    assert!(after * 5.0 < before && after <= VIDGEAR, "{before} became {after}");

    let again = all(&mut stabilizer(&Settings::default()), frames().take(20));
    assert_eq!(luma(&again)[..7], luma(&held)[..7], "chance has a part in it");

    let mut causal = stabilizer(&causal());
    let prompt: Vec<_> = frames().map(|frame| causal.push(frame).unwrap().unwrap()).collect();
    let after = unrest(&luma(&prompt)[MEASURED]);
    println!("causal: {after:.3}");
    assert!(after * 5.0 < before, "{before} became {after}");
}

#[test]
fn frames_wait_for_as_many_as_it_says_and_no_more_are_held() {
    let scene = scene();
    let in_use = Arc::new(());
    for settings in [Settings::default(), causal(), Settings { smoothing_radius: 1, ..Settings::default() }] {
        let mut stabilizer = stabilizer(&settings);
        let delay = stabilizer.delay();
        assert_eq!(delay, if settings == Settings::default() { 12 } else { 0 });
        for index in 0..30 {
            let given = small(&scene, shake(index), index);
            let memory = Counted { bytes: given.memory_copy(), _in_use: Arc::clone(&in_use) };
            let size = (given.width(), given.height());
            let given = Frame::packed(PixelFormat::I420, size, given.captured_at(), Box::new(memory)).unwrap();
            let out = stabilizer.push(given).unwrap();
            let expected = (index >= delay).then(|| Timestamp::from_nanos((index - delay) as u64 * 33_333_333));
            assert_eq!(out.as_ref().map(Frame::captured_at), expected);
            assert!(stabilizer.waiting.len() <= delay);
            drop(out);
            assert_eq!(Arc::strong_count(&in_use), 1, "a camera's buffer is kept");
        }
    }
}

struct Counted {
    bytes: Vec<u8>,
    _in_use: Arc<()>,
}

impl FrameMemory for Counted {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

trait MemoryCopy {
    fn memory_copy(&self) -> Vec<u8>;
}

impl MemoryCopy for Frame {
    fn memory_copy(&self) -> Vec<u8> {
        (0..3).flat_map(|plane| self.plane(plane)).copied().collect()
    }
}

#[test]
fn a_picture_that_stands_still_stays_as_it_is() {
    let scene = scene();
    for settings in [Settings::default(), causal()] {
        let frames: Vec<_> = (0..20).map(|index| small(&scene, [3.0, 1.5, 0.01], index)).collect();
        let given: Vec<_> = frames.iter().map(Frame::memory_copy).collect();
        let held = all(&mut stabilizer(&settings), frames);
        // The noise alone may not move anything: that would blur.
        let untouched = held.iter().zip(&given).filter(|(held, given)| held.memory_copy() == **given).count();
        assert!(untouched >= 18, "{untouched} of 20 are untouched");
    }
}

#[test]
fn a_steady_pan_is_followed() {
    let scene = scene();
    for settings in [Settings::default(), causal()] {
        let pan = |index: usize| [index as f64 * 1.5 - 30.0, index as f64 * 0.5 - 10.0, 0.0];
        let clip: Vec<_> = (0..40).map(|index| look(&scene, pan(index), index)).collect();
        let frames = clip.iter().enumerate().map(|(index, luma)| frame(luma, (WIDTH, HEIGHT), index));
        let held = luma(&all(&mut stabilizer(&settings), frames));
        for (before, after) in clip.iter().zip(&held).skip(2) {
            let [right, down, ..] = measured_move(before, after);
            assert!(right.hypot(down) < 0.3, "a picture is {right} {down} off the camera's");
        }
    }
}

#[test]
fn a_cut_moves_nothing_out_of_place() {
    let scene = scene();
    for settings in [Settings::default(), causal()] {
        let frames: Vec<_> = (0..40)
            .map(|index| {
                let cut = if index < 20 { [-30.0, -25.0, 0.0] } else { [35.0, 25.0, 0.1] };
                let [right, down, angle] = shake(index);
                small(&scene, [cut[0] + right, cut[1] + down, cut[2] + angle], index)
            })
            .collect();
        let mut stabilizer = stabilizer(&settings);
        for frame in frames {
            stabilizer.push(frame).unwrap();
            let [right, down, angle, scale] = stabilizer.path.correction(stabilizer.delay()).parts();
            let is_sane = right.hypot(down) < 16.0 && angle.abs() < 0.04 && scale.abs() < 0.02;
            assert!(is_sane, "{right} {down} {angle} {scale}");
        }
    }
}

#[test]
fn a_picture_without_features_passes_untouched() {
    let scene = scene();
    for settings in [Settings::default(), causal(), Settings { border_type: BorderType::Wrap, ..causal() }] {
        let frames: Vec<_> = (0..40)
            .map(|index| {
                let shown = small(&scene, shake(index), index);
                if (15..25).contains(&index) {
                    // Darkness with a sensor's noise.
                    let noise = |index: usize| 17 + u8::try_from((index * 31 + index / 160 * 7) % 3).unwrap();
                    let dark: Vec<_> = (0..160 * 120).map(noise).collect();
                    return frame(&dark, (160, 120), index);
                }
                shown
            })
            .collect();
        let given: Vec<_> = frames.iter().map(Frame::memory_copy).collect();
        let held = all(&mut stabilizer(&settings), frames);
        assert_eq!(held.len(), 40);
        for index in 15..25 {
            assert!(held[index].memory_copy() == given[index], "picture {index} was touched");
        }
        assert!((5..10).any(|index| held[index].memory_copy() != given[index]));
    }
}

#[test]
fn another_size_begins_anew() {
    let scene = scene();
    let mut stabilizer = stabilizer(&Settings::default());
    let mut shown = Vec::new();
    for index in 0..60 {
        let whole = look(&scene, shake(index), index);
        let given = if index < 30 { small(&scene, shake(index), index) } else { frame(&whole, (WIDTH, HEIGHT), index) };
        shown.extend(stabilizer.push(given).unwrap().map(|frame| (frame.width(), frame.captured_at())));
    }
    let sizes: Vec<_> = shown.iter().map(|(width, _)| *width).collect();
    assert_eq!(sizes, [vec![160; 18], vec![WIDTH; 18]].concat());
    assert!(shown.windows(2).all(|pair| pair[0].1 < pair[1].1));
}

#[test]
fn borders_are_filled_as_asked() {
    let scene = scene();
    let mut edges = Vec::new();
    for border_type in BorderType::ALL {
        let mut stabilizer = stabilizer(&Settings { border_type, ..causal() });
        let held: Vec<_> =
            (0..8).map(|index| stabilizer.push(small(&scene, shake(index), index)).unwrap().unwrap()).collect();
        let mut rims: Vec<u8> = Vec::new();
        for frame in &held {
            let rows: Vec<_> = frame.plane(0).chunks_exact(160).collect();
            rims.extend(rows[0].iter().chain(rows[119]).chain(rows.iter().flat_map(|row| [&row[0], &row[159]])));
        }
        let blacks = rims.iter().filter(|level| **level == 16).count();
        assert_eq!(blacks > 100, border_type == BorderType::Black, "{border_type:?}: {blacks}");
        edges.push(rims);
    }
    for one in 1..edges.len() {
        assert!((0..one).all(|other| edges[one] != edges[other]));
    }
}

#[test]
fn a_border_makes_the_picture_larger_and_a_crop_enlarges_what_is_left() {
    let scene = scene();
    let framed = Settings { border_size: 20, ..causal() };
    let given = small(&scene, [0.0; 3], 0);
    let before = given.memory_copy();
    let out = stabilizer(&framed).push(given).unwrap().unwrap();
    assert_eq!((out.width(), out.height()), (200, 160));
    assert_eq!(framed.output_size((160, 120)), (200, 160));
    let rows: Vec<_> = out.plane(0).chunks_exact(200).collect();
    assert!(rows[19].iter().chain(&rows[50][..20]).chain(&rows[50][180..]).all(|level| *level == 16));
    assert_eq!(rows[20][20..180], before[..160]);
    assert_eq!(rows[139][20..180], before[119 * 160..120 * 160]);

    let cropped = Settings { border_size: 20, crop_n_zoom: true, ..causal() };
    let mut stabilizer = stabilizer(&cropped);
    for index in 0..12 {
        let given = small(&scene, shake(index), index);
        let before = given.memory_copy();
        let out = stabilizer.push(given).unwrap().unwrap();
        assert_eq!((out.width(), out.height()), (160, 120));
        assert!(out.plane(0).iter().all(|level| *level > 16), "a gap is seen");
        if index == 0 {
            let middle = |luma: &[u8]| luma[59 * 160 + 79].abs_diff(luma[60 * 160 + 80]);
            assert!(middle(out.plane(0)).abs_diff(middle(&before)) < 40);
            // The first pixel is about what was twenty pixels in.
            assert!(out.plane(0)[0].abs_diff(before[20 * 160 + 20]) < 12);
        }
    }
    // More than there is.
    let greedy = Settings { border_size: 400, crop_n_zoom: true, ..causal() };
    let mut stabilizer = Stabilizer::new(&greedy, FramePool::new(1));
    assert!(stabilizer.push(small(&scene, [0.0; 3], 0)).unwrap().unwrap().plane(0).iter().all(|level| *level > 16));
}

#[test]
fn any_size_and_padding_is_taken_and_only_i420() {
    for (width, height) in [(1, 1), (2, 2), (11, 13), (35, 33), (300, 2), (2, 300), (1700, 28)] {
        for settings in [causal(), Settings { border_size: 2, ..causal() }, Settings::default()] {
            let mut stabilizer = stabilizer(&settings);
            for index in 0..3 {
                let luma: Vec<_> = (0..width * height).map(|pixel| ((pixel + index) * 2_654_435 % 251) as u8).collect();
                let out = stabilizer.push(frame(&luma, (width, height), index)).unwrap();
                let sizes = out.map(|frame| (frame.width(), frame.height()));
                assert!(sizes.is_none_or(|size| size == settings.output_size((width, height))));
            }
        }
    }
    let other = Frame::packed(PixelFormat::Nv12, (4, 4), Timestamp::default(), Box::new(vec![0; 24])).unwrap();
    assert!(matches!(stabilizer(&causal()).push(other), Err(ConvertError::Layout(PixelFormat::Nv12, _))));
}

#[test]
fn settings_are_checked_in_words() {
    let settings: Settings = toml::from_str("border_type = 'reflect_101'\nsmoothing_radius = 9").unwrap();
    assert_eq!(settings, Settings { smoothing_radius: 9, border_type: BorderType::Reflect101, ..Settings::default() });
    assert_eq!(settings.validate(), Ok(()));
    assert!(toml::from_str::<Settings>("border_type = 'blue'").unwrap_err().message().contains("`replicate`"));
    for (text, key, words) in [
        ("smoothing_radius = 0", "smoothing_radius", "0 is out of range: 1 to 60 pictures"),
        ("smoothing_radius = 61", "smoothing_radius", "61 is out of range: 1 to 60 pictures"),
        ("border_size = 402", "border_size", "402 is out of range: 0 to 400 pixels"),
        ("border_size = 3", "border_size", "3 is odd: colours have one sample for two pixels"),
        ("crop_n_zoom = true", "crop_n_zoom", "needs border_size: how many pixels to cut off each side"),
    ] {
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.validate(), Err((key, words.into())), "{text}");
    }
}
