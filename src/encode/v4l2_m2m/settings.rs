//! What an encoder is told before it starts, and how it is told.
//!
//! Drivers differ in which controls they have. None but the level is worth failing for: what is absent is said in a
//! debug line, and what a driver takes only in steps is moved to the nearest.

use log::debug;
use v4l::v4l_sys::*;

use super::level;
use super::queue::M2mQueue;
use crate::media::frame::{Frame, PixelFormat, strided_planes};
use crate::v4l2::ControlId;

pub(super) const BITRATE: ControlId = ControlId(V4L2_CID_MPEG_VIDEO_BITRATE);
pub(super) const FORCE_KEY_FRAME: ControlId = ControlId(V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME);
pub(super) const H264_LEVEL: ControlId = ControlId(V4L2_CID_MPEG_VIDEO_H264_LEVEL);
pub(super) const H264_I_PERIOD: ControlId = ControlId(V4L2_CID_MPEG_VIDEO_H264_I_PERIOD);
pub(super) const GOP_SIZE: ControlId = ControlId(V4L2_CID_MPEG_VIDEO_GOP_SIZE);

/// Keyframes come when somebody needs one; a regular one costs every viewer a burst, so they are this far apart.
const GOP_SECONDS: u32 = 60;
/// The range of quantisers in which Raspberry Pi's encoder neither wastes bits nor smears.
const QUANTISERS: (i64, i64) = (16, 32);

/// A coded format, by its four characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodedFormat(pub [u8; 4]);

impl CodedFormat {
    /// What browsers play.
    pub const H264: Self = Self(*b"H264");
    /// The kernel's own test codec (`vicodec`), whose driver has the same API as real encoders: nobody plays it, and
    /// everything around it can be tested with it on any machine.
    pub const FWHT: Self = Self(*b"FWHT");
}

/// The kind of picture that an encoder was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its layout.
    pub format: PixelFormat,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// Bytes from one row of the first plane to the next.
    pub stride: usize,
    /// It lies in a dma-buf, plane behind plane as V4L2 has them, so that a device can read it where it is.
    pub is_dma_buf: bool,
}

impl Input {
    /// The kind of `frame`; `None` for compressed ones.
    #[must_use]
    pub fn of(frame: &Frame) -> Option<Self> {
        if frame.format().is_compressed() {
            return None;
        }
        let size = (frame.width(), frame.height());
        let stride = frame.planes()[0].stride;
        let (as_v4l2, count) = strided_planes(frame.format(), size, stride);
        let is_dma_buf =
            frame.planes() == &as_v4l2[..count] && frame.dma_buf().is_some_and(|memory| memory.offset == 0);
        Some(Self { format: frame.format(), size, stride, is_dma_buf })
    }

    /// The four characters of the layout.
    pub(super) const fn fourcc(&self) -> [u8; 4] {
        match self.format {
            PixelFormat::I420 => *b"YU12",
            PixelFormat::Nv12 => *b"NV12",
            PixelFormat::Yuyv => *b"YUYV",
            PixelFormat::Mjpeg => *b"MJPG",
            PixelFormat::H264 => *b"H264",
            PixelFormat::Gray8 => *b"GREY",
            PixelFormat::Bgr24 => *b"BGR3",
            PixelFormat::Rgb24 => *b"RGB3",
            PixelFormat::Bgra => *b"AR24",
            PixelFormat::Rgba => *b"AB24",
        }
    }
}

/// What an encoder is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What it makes.
    pub coded: CodedFormat,
    /// What it makes it of.
    pub input: Input,
    /// Pictures per second.
    pub framerate: u32,
    /// What it aims at, in bit/s.
    pub bitrate_bps: u32,
}

impl Settings {
    /// Bytes of one coded buffer: a keyframe of a busy picture must fit.
    pub(super) const fn coded_buffer_bytes(&self) -> usize {
        if self.input.size.0 * self.input.size.1 <= 1280 * 720 { 512 << 10 } else { 1 << 20 }
    }

    /// Sets everything on a device whose formats are set. The error says what cannot be had.
    pub(super) fn apply(&self, queue: &mut dyn M2mQueue) -> Result<(), String> {
        if self.coded == CodedFormat::H264 {
            self.set_level(queue)?;
            // Constrained Baseline is what every browser plays and what the answer promises.
            let profile = v4l2_mpeg_video_h264_profile_V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE;
            optional(queue, V4L2_CID_MPEG_VIDEO_H264_PROFILE, profile.into());
            optional(queue, V4L2_CID_MPEG_VIDEO_H264_MIN_QP, QUANTISERS.0);
            optional(queue, V4L2_CID_MPEG_VIDEO_H264_MAX_QP, QUANTISERS.1);
        }
        // Whoever joins begins at a keyframe, which has to bring its parameter sets along.
        optional(queue, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 1);
        optional(queue, V4L2_CID_MPEG_VIDEO_B_FRAMES, 0);
        let mode = v4l2_mpeg_video_bitrate_mode_V4L2_MPEG_VIDEO_BITRATE_MODE_VBR;
        optional(queue, V4L2_CID_MPEG_VIDEO_BITRATE_MODE, mode.into());
        optional(queue, BITRATE.0, self.bitrate_bps.into());
        let gop = i64::from(self.framerate.max(1)) * i64::from(GOP_SECONDS);
        if !optional(queue, H264_I_PERIOD.0, gop) {
            optional(queue, GOP_SIZE.0, gop);
        }
        Ok(())
    }

    fn set_level(&self, queue: &mut dyn M2mQueue) -> Result<(), String> {
        let (width, height) = self.input.size;
        let what = format!("{width}×{height} at {} fps and {} bit/s", self.framerate, self.bitrate_bps);
        let Some(level) = level::lowest(self.input.size, self.framerate, self.bitrate_bps) else {
            return Err(format!("no H.264 level is high enough for {what}"));
        };
        match queue.control(H264_LEVEL) {
            Some(control) if level.menu_value > control.maximum => {
                Err(format!("{what} needs level {level}, which is more than it can do: choose less"))
            }
            _ => {
                optional(queue, H264_LEVEL.0, level.menu_value);
                Ok(())
            }
        }
    }
}

/// Sets a control to the nearest value that the driver takes; returns whether it has it.
pub(super) fn optional(queue: &mut dyn M2mQueue, id: u32, wish: i64) -> bool {
    let id = ControlId(id);
    let Some(control) = queue.control(id) else {
        debug!("the encoder has no control {:#010x} ({wish} was wished)", id.0);
        return false;
    };
    match queue.set_control(id, control.nearest(wish)) {
        Ok(()) => true,
        Err(reason) => {
            debug!("the encoder does not take {wish} for `{}`: {reason}", control.name);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::Plane;

    #[test]
    fn frames_of_one_kind_are_told_from_others() {
        let packed =
            Frame::packed(PixelFormat::Nv12, (64, 32), Timestamp::default(), Box::new(vec![0; 64 * 48])).unwrap();
        let kind = Input::of(&packed).unwrap();
        assert_eq!(kind, Input { format: PixelFormat::Nv12, size: (64, 32), stride: 64, is_dma_buf: false });
        let planes = [Plane { offset: 0, stride: 96, rows: 32 }, Plane { offset: 96 * 32, stride: 96, rows: 16 }];
        let padded =
            Frame::new(PixelFormat::Nv12, (64, 32), Timestamp::default(), &planes, Box::new(vec![0; 96 * 48])).unwrap();
        assert_ne!(Input::of(&padded).unwrap(), kind);
        let jpeg = Frame::packed(PixelFormat::Mjpeg, (64, 32), Timestamp::default(), Box::new(vec![0; 9])).unwrap();
        assert_eq!(Input::of(&jpeg), None);
    }
}
