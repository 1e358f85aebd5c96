//! What a device offers: formats, sizes and rates.

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::ioctl::{ioctl, zeroed};
use super::node::{Node, Queue, text};

/// The most entries that are read from one of a driver's lists: some drivers never end theirs.
const MOST_ENTRIES: u32 = 256;

/// Pictures per second as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Pictures …
    pub pictures: u32,
    /// … in so many seconds.
    pub seconds: u32,
}

impl Rate {
    /// Pictures per second.
    #[must_use]
    pub fn fps(self) -> f64 {
        f64::from(self.pictures) / f64::from(self.seconds.max(1))
    }
}

/// A size that a format comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeInfo {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Rates at this size, if the driver names them.
    pub rates: Vec<Rate>,
}

/// A pixel format of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatInfo {
    /// Four characters, as in `YUYV`.
    pub fourcc: [u8; 4],
    /// The driver's words for it.
    pub description: String,
    /// The sizes it comes in. Where a driver gives a range, the common sizes within.
    pub sizes: Vec<SizeInfo>,
}

impl Node {
    /// Everything that a queue offers.
    pub(super) fn formats(&self, queue: Queue) -> Vec<FormatInfo> {
        let mut formats = Vec::new();
        for index in 0..MOST_ENTRIES {
            // SAFETY: a plain C structure of numbers and arrays.
            let mut entry: v4l2_fmtdesc = unsafe { zeroed() };
            entry.index = index;
            entry.type_ = queue.buffer_type();
            // SAFETY: the structure that VIDIOC_ENUM_FMT fills.
            if unsafe { ioctl(self.fd(), vidioc::VIDIOC_ENUM_FMT, &mut entry) }.is_err() {
                break;
            }
            let description = text(&entry.description);
            let sizes = self.sizes(entry.pixelformat);
            formats.push(FormatInfo { fourcc: entry.pixelformat.to_le_bytes(), description, sizes });
        }
        formats
    }

    fn sizes(&self, fourcc: u32) -> Vec<SizeInfo> {
        let mut sizes = Vec::new();
        for index in 0..MOST_ENTRIES {
            // SAFETY: a plain C structure of numbers and a union of such.
            let mut entry: v4l2_frmsizeenum = unsafe { zeroed() };
            entry.index = index;
            entry.pixel_format = fourcc;
            // SAFETY: the structure that VIDIOC_ENUM_FRAMESIZES fills.
            if unsafe { ioctl(self.fd(), vidioc::VIDIOC_ENUM_FRAMESIZES, &mut entry) }.is_err() {
                break;
            }
            if entry.type_ == v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
                // SAFETY: `type_` says that the driver filled this member.
                let size = unsafe { entry.__bindgen_anon_1.discrete };
                sizes.push((size.width, size.height));
            } else {
                // SAFETY: as above; both other types fill `stepwise`.
                let range = unsafe { entry.__bindgen_anon_1.stepwise };
                sizes.extend(COMMON_SIZES.into_iter().filter(|&(width, height)| {
                    fits(width, range.min_width, range.max_width, range.step_width)
                        && fits(height, range.min_height, range.max_height, range.step_height)
                }));
                break;
            }
        }
        let size = |(width, height)| SizeInfo {
            width: width as usize,
            height: height as usize,
            rates: self.rates(fourcc, width, height),
        };
        sizes.into_iter().map(size).collect()
    }

    fn rates(&self, fourcc: u32, width: u32, height: u32) -> Vec<Rate> {
        let mut rates = Vec::new();
        for index in 0..MOST_ENTRIES {
            // SAFETY: a plain C structure of numbers and a union of such.
            let mut entry: v4l2_frmivalenum = unsafe { zeroed() };
            entry.index = index;
            entry.pixel_format = fourcc;
            entry.width = width;
            entry.height = height;
            // SAFETY: the structure that VIDIOC_ENUM_FRAMEINTERVALS fills.
            if unsafe { ioctl(self.fd(), vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut entry) }.is_err() {
                break;
            }
            // An interval is seconds per picture.
            let rate = |interval: v4l2_fract| Rate { pictures: interval.denominator, seconds: interval.numerator };
            if entry.type_ == v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
                // SAFETY: `type_` says that the driver filled this member.
                rates.push(rate(unsafe { entry.__bindgen_anon_1.discrete }));
            } else {
                // SAFETY: as above; both other types fill `stepwise`.
                let range = unsafe { entry.__bindgen_anon_1.stepwise };
                let (fastest, slowest) = (rate(range.min), rate(range.max));
                let between = |fps: &u32| (slowest.fps()..=fastest.fps()).contains(&f64::from(*fps));
                let common = [5, 10, 15, 20, 24, 25, 30, 50, 60].into_iter().filter(between);
                rates.extend(common.map(|pictures| Rate { pictures, seconds: 1 }));
                rates.push(fastest);
                break;
            }
        }
        rates
    }
}

/// What is tried where a driver takes any size.
const COMMON_SIZES: [(u32, u32); 12] = [
    (160, 120),
    (320, 240),
    (640, 360),
    (640, 480),
    (800, 600),
    (1024, 768),
    (1280, 720),
    (1280, 960),
    (1640, 1232),
    (1920, 1080),
    (2560, 1440),
    (3840, 2160),
];

const fn fits(side: u32, least: u32, most: u32, step: u32) -> bool {
    side >= least && side <= most && (step < 2 || (side - least).is_multiple_of(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_within_range_and_on_the_step() {
        assert!(fits(640, 32, 1920, 32) && fits(1920, 1, 1920, 1) && fits(640, 640, 640, 0));
        assert!(!fits(641, 32, 1920, 2) && !fits(2000, 32, 1920, 2));
    }
}
