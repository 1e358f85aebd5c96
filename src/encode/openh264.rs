//! Encoding on the CPU with Cisco's OpenH264: Constrained Baseline, one slice, low latency.

use std::sync::Arc;

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder as Library, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, MatrixCoefficients,
    Profile, RateControlMode, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;

use super::scene_cut::SceneCut;
use super::{EncodeError, Encoder};
use crate::media::access_unit::AccessUnit;
use crate::media::frame::{Frame, PixelFormat};

/// What perch's pictures are, of every size: sRGB's colours by BT.601's matrix in the range of television, as JPEG and webcams
/// have it (Linux's `V4L2_COLORSPACE_SRGB`; the slate and the test picture are drawn so). A browser that is not told takes
/// BT.709, and shows greens and reds otherwise.
const COLOURS: VuiConfig = VuiConfig::bt709().matrix_coefficients(MatrixCoefficients::Smpte170M);

/// An OpenH264 encoder for I420 frames of one size.
pub struct OpenH264Encoder {
    library: Library,
    size: (usize, usize),
    scene_cut: SceneCut,
}

impl OpenH264Encoder {
    /// An encoder for pictures of `size` pixels that aims at `bitrate_bps`.
    ///
    /// Keyframes come only when forced and where the scene changes: joiners and losses ask for theirs, and a regular one
    /// would cost every viewer a burst.
    ///
    /// # Errors
    /// When the library refuses the settings.
    #[expect(clippy::cast_precision_loss, reason = "frame rates are small numbers")]
    pub fn new(size: (usize, usize), framerate: u32, bitrate_bps: u32) -> Result<Self, EncodeError> {
        let config = EncoderConfig::new()
            .profile(Profile::Baseline)
            .usage_type(UsageType::CameraVideoRealTime)
            .complexity(Complexity::Low)
            .rate_control_mode(RateControlMode::Bitrate)
            .bitrate(BitRate::from_bps(bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(framerate as f32))
            .skip_frames(false)
            .num_threads(1)
            .intra_frame_period(IntraFramePeriod::from_num_frames(0))
            // `SceneCut` does it for less.
            .scene_change_detect(false)
            // It skips what changes little, and so keeps what a moving thing left behind: specks of its colours, until a keyframe
            // comes; here none comes for hours (docs/decisions/0011).
            .background_detection(false)
            .vui(COLOURS);
        let library = Library::with_api_config(OpenH264API::from_source(), config)?;
        let mut encoder = Self { library, size, scene_cut: SceneCut::default() };
        // The library would write its warnings straight to standard error, in a form of its own.
        encoder.set_option("the trace level", openh264_sys2::ENCODER_OPTION_TRACE_LEVEL, &mut 0_i32)?;
        Ok(encoder)
    }

    fn set_option<T>(
        &mut self,
        name: &'static str,
        option: openh264_sys2::ENCODER_OPTION,
        value: &mut T,
    ) -> Result<(), EncodeError> {
        // SAFETY: each caller passes the type that the option reads through the pointer, and it outlives the call.
        let code = unsafe { self.library.raw_api().set_option(option, std::ptr::from_mut(value).cast()) };
        if code == 0 { Ok(()) } else { Err(EncodeError::Option { option: name, code }) }
    }
}

impl Encoder for OpenH264Encoder {
    fn encode(&mut self, frame: &Arc<Frame>, force_keyframe: bool) -> Result<Option<AccessUnit>, EncodeError> {
        if !self.takes(frame) {
            let (width, height, format) = (frame.width(), frame.height(), frame.format());
            return Err(EncodeError::UnsupportedFrame { encoder: self.name().to_owned(), width, height, format });
        }
        let planes = frame.planes();
        if (0..3).any(|index| frame.plane(index).len() < planes[index].stride * planes[index].rows) {
            return Err(EncodeError::Unreadable);
        }
        let is_cut = self.scene_cut.is_cut(frame.plane(0), self.size.0, planes[0].stride);
        if force_keyframe || is_cut {
            self.library.force_intra_frame();
        }
        let picture = YUVSlices::new(
            (frame.plane(0), frame.plane(1), frame.plane(2)),
            self.size,
            (planes[0].stride, planes[1].stride, planes[2].stride),
        );
        let stream = self.library.encode(&picture)?;
        let is_keyframe = matches!(stream.frame_type(), FrameType::IDR);
        let data = stream.to_vec();
        Ok((!data.is_empty()).then(|| AccessUnit::new(Bytes::from(data), frame.captured_at(), is_keyframe)))
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncodeError> {
        let mut info = openh264_sys2::SBitrateInfo {
            iLayer: openh264_sys2::SPATIAL_LAYER_ALL,
            iBitrate: i32::try_from(bitrate_bps).unwrap_or(i32::MAX),
        };
        self.set_option("the bitrate", openh264_sys2::ENCODER_OPTION_BITRATE, &mut info)
    }

    fn takes(&self, frame: &Frame) -> bool {
        frame.format() == PixelFormat::I420 && (frame.width(), frame.height()) == self.size
    }

    fn name(&self) -> &str {
        "OpenH264"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::{FramePool, packed_size};
    use crate::process::h264_decode::H264Decoder;

    const SIZE: (usize, usize) = (64, 48);

    fn frame(shade: u8, at: u64) -> Arc<Frame> {
        let bytes: Vec<u8> = (0..packed_size(PixelFormat::I420, SIZE))
            .map(|i| 100 + (i as u8).wrapping_mul(31).wrapping_add(shade) % 40)
            .collect();
        Arc::new(Frame::packed(PixelFormat::I420, SIZE, Timestamp::from_nanos(at), Box::new(bytes)).unwrap())
    }

    fn nal_types(data: &[u8]) -> Vec<u8> {
        crate::media::annex_b::nal_units(data).map(|nal| nal[0] & 31).collect()
    }

    #[test]
    fn the_first_unit_is_a_constrained_baseline_keyframe_with_its_parameter_sets() {
        let mut encoder = OpenH264Encoder::new(SIZE, 30, 500_000).unwrap();
        let unit = encoder.encode(&frame(0, 7), false).unwrap().unwrap();
        assert!(unit.is_keyframe);
        assert_eq!(nal_types(&unit.data)[..3], [7, 8, 5]);
        let sps = crate::media::annex_b::nal_units(&unit.data).next().unwrap();
        assert_eq!((sps[1], sps[2] & 0x40), (66, 0x40), "profile_idc 66 with constraint_set1_flag");
        assert_eq!(unit.pts, Timestamp::from_nanos(7));
    }

    #[test]
    fn a_keyframe_comes_only_when_forced() {
        let mut encoder = OpenH264Encoder::new(SIZE, 30, 500_000).unwrap();
        let forced = [false, false, true, false];
        let keyframes: Vec<bool> = (0..4)
            .map(|i| encoder.encode(&frame(i, u64::from(i)), forced[i as usize]).unwrap().unwrap().is_keyframe)
            .collect();
        assert_eq!(keyframes, [true, false, true, false]);
    }

    #[test]
    fn another_scene_begins_with_a_keyframe() {
        let mut encoder = OpenH264Encoder::new(SIZE, 30, 500_000).unwrap();
        let keyframes = [0, 1, 100, 101].map(|shade| {
            let bytes = vec![shade + 50; packed_size(PixelFormat::I420, SIZE)];
            let frame = Frame::packed(PixelFormat::I420, SIZE, Timestamp::from_nanos(1), Box::new(bytes)).unwrap();
            encoder.encode(&Arc::new(frame), false).unwrap().unwrap().is_keyframe
        });
        assert_eq!(keyframes, [true, false, true, false]);
    }

    /// A coloured ball with a soft edge on a dark background that grows lighter downwards: it crosses the picture, and is gone.
    fn ball(number: usize, (width, height): (usize, usize)) -> Vec<u8> {
        let (centre, radius) = ((number as f32 * 4.0, height as f32 / 2.0), height as f32 / 5.0);
        let cover = |x: usize, y: usize| {
            let distance = (x as f32 - centre.0).hypot(y as f32 - centre.1) / radius;
            ((1.0 - distance) * 8.0).clamp(0.0, 1.0)
        };
        let plane = |step: usize, slope: f32, background: f32, ball: f32| {
            let rows = (0..height).step_by(step);
            let sample = move |x, y| {
                let background = background + y as f32 / height as f32 * slope;
                (background + (ball - background) * cover(x, y)) as u8
            };
            rows.flat_map(move |y| (0..width).step_by(step).map(move |x| sample(x, y))).collect::<Vec<u8>>()
        };
        [plane(1, 12.0, 22.0, 110.0), plane(2, 4.0, 136.0, 60.0), plane(2, 4.0, 126.0, 180.0)].concat()
    }

    #[test]
    fn what_has_moved_on_leaves_nothing_behind() {
        let size = (320, 240);
        let mut encoder = OpenH264Encoder::new(size, 30, 500_000).unwrap();
        let mut decoder = H264Decoder::new(FramePool::new(2)).unwrap();
        let mut seen = None;
        for number in 0..100 {
            let at = Timestamp::from_nanos(number as u64 + 1);
            let picture = Frame::packed(PixelFormat::I420, size, at, Box::new(ball(number, size))).unwrap();
            let unit = encoder.encode(&Arc::new(picture), false).unwrap().unwrap();
            let unit = Frame::packed(PixelFormat::H264, size, at, Box::new(unit.data.to_vec())).unwrap();
            seen = decoder.decode(&unit).unwrap().or(seen);
        }
        let (seen, source) = (seen.unwrap(), ball(99, size));
        let mut source = source.as_slice();
        for plane in 0..3 {
            let shown = seen.plane(plane);
            let (expected, rest) = source.split_at(shown.len());
            source = rest;
            let worst = shown.iter().zip(expected).map(|(one, other)| one.abs_diff(*other)).max();
            assert!(worst <= Some(4), "plane {plane} is off by {worst:?}");
        }
    }

    #[test]
    fn a_lower_bitrate_makes_smaller_units() {
        let mut encoder = OpenH264Encoder::new(SIZE, 30, 2_000_000).unwrap();
        let bytes = |encoder: &mut OpenH264Encoder, range: std::ops::Range<u8>| -> usize {
            range
                .map(|i| {
                    encoder.encode(&frame(i.wrapping_mul(77), u64::from(i)), false).unwrap().map_or(0, |u| u.data.len())
                })
                .sum()
        };
        let before = bytes(&mut encoder, 0..30);
        encoder.set_bitrate(100_000).unwrap();
        let _settling = bytes(&mut encoder, 30..60);
        let after = bytes(&mut encoder, 60..90);
        assert!(after * 2 < before, "{after} bytes after, {before} before");
    }

    #[test]
    fn a_frame_of_another_size_is_refused() {
        let mut encoder = OpenH264Encoder::new((32, 32), 30, 500_000).unwrap();
        let error = encoder.encode(&frame(0, 0), false).unwrap_err();
        assert_eq!(error.to_string(), "OpenH264 cannot take 64×48 I420 frames");
    }
}
