//! A device that captures video.

use std::path::Path;

use v4l::v4l_sys::*;
use v4l::v4l2::vidioc;

use super::formats::{FormatInfo, Rate};
use super::ioctl::{ioctl, zeroed};
use super::node::{DeviceError, Node, Queue};

/// What a driver agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NegotiatedFormat {
    /// Four characters.
    pub fourcc: [u8; 4],
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Bytes from one row to the next, of the first plane.
    pub stride: usize,
    /// Bytes of a whole picture.
    pub size_bytes: usize,
}

/// What is asked of a driver; it may change what it cannot do.
#[derive(Clone, Copy, Debug)]
pub(super) struct WishedFormat {
    pub(super) fourcc: [u8; 4],
    pub(super) size: (usize, usize),
    /// Bytes from one row to the next; 0 leaves it to the driver.
    pub(super) stride: usize,
    /// Bytes of a buffer; 0 leaves it to the driver.
    pub(super) size_bytes: usize,
}

/// An open capture device.
#[derive(Debug)]
pub struct Device {
    node: Node,
    queue: Queue,
}

impl Device {
    /// Opens the device node and checks that it captures video into mapped buffers.
    ///
    /// # Errors
    /// When it cannot be opened or does something else. The message says what to do.
    pub fn open(path: &Path) -> Result<Self, DeviceError> {
        let node = Node::open(path)?;
        if node.can(V4L2_CAP_VIDEO_M2M | V4L2_CAP_VIDEO_M2M_MPLANE) {
            return Err(
                node.problem("it does not capture video: it converts pictures (an encoder, a decoder or a scaler)")
            );
        }
        if !node.can(V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
            return Err(node.problem("it does not capture video"));
        }
        if !node.can(V4L2_CAP_STREAMING) {
            return Err(node.problem("it cannot stream into mapped buffers"));
        }
        let queue = Queue::Capture { multi_planar: !node.can(V4L2_CAP_VIDEO_CAPTURE) };
        Ok(Self { node, queue })
    }

    /// The device node.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.node.path()
    }

    /// The device's name.
    #[must_use]
    pub fn card(&self) -> &str {
        self.node.card()
    }

    /// The driver's name.
    #[must_use]
    pub fn driver(&self) -> &str {
        self.node.driver()
    }

    pub(super) const fn node(&self) -> &Node {
        &self.node
    }

    pub(super) const fn queue(&self) -> Queue {
        self.queue
    }

    /// Everything that the device offers.
    #[must_use]
    pub fn formats(&self) -> Vec<FormatInfo> {
        self.node.formats(self.queue)
    }

    /// Sets format and size, with rows `stride` bytes apart (0: as the driver likes). The driver may change what it cannot
    /// do: look at what comes back.
    ///
    /// # Errors
    /// When the driver refuses, for instance because another program uses the device.
    pub fn set_format(
        &self,
        fourcc: [u8; 4],
        size: (usize, usize),
        stride: usize,
    ) -> Result<NegotiatedFormat, DeviceError> {
        self.node.set_format(self.queue, WishedFormat { fourcc, size, stride, size_bytes: 0 })
    }

    /// Asks for a rate and says which one the driver chose; `None` when it has no say in it.
    #[must_use]
    pub fn set_rate(&self, rate: Rate) -> Option<Rate> {
        self.node.set_rate(self.queue, rate)
    }
}

impl Node {
    pub(super) fn set_format(&self, queue: Queue, wish: WishedFormat) -> Result<NegotiatedFormat, DeviceError> {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        // SAFETY: a plain C structure of numbers and a union of such.
        let mut format: v4l2_format = unsafe { zeroed() };
        format.type_ = queue.buffer_type();
        let (width, height) = (number(wish.size.0), number(wish.size.1));
        let pixelformat = u32::from_le_bytes(wish.fourcc);
        let (bytesperline, sizeimage) = (number(wish.stride), number(wish.size_bytes));
        // What goes to an encoder is said to be as `encode::openh264`'s is, for it to write it down; of a capture queue the driver says.
        let colorspace = match queue {
            Queue::Output { .. } => v4l2_colorspace_V4L2_COLORSPACE_SMPTE170M,
            Queue::Capture { .. } => v4l2_colorspace_V4L2_COLORSPACE_DEFAULT,
        };
        if queue.is_multi_planar() {
            // SAFETY: all bytes are zero, which is valid for each member of the union.
            let mut pix = unsafe { format.fmt.pix_mp };
            (pix.width, pix.height, pix.pixelformat) = (width, height, pixelformat);
            (pix.field, pix.colorspace) = (v4l2_field_V4L2_FIELD_NONE, colorspace);
            pix.num_planes = 1;
            pix.plane_fmt[0] = v4l2_plane_pix_format { sizeimage, bytesperline, reserved: [0; 6] };
            format.fmt.pix_mp = pix;
        } else {
            // SAFETY: as above.
            let mut pix = unsafe { format.fmt.pix };
            (pix.width, pix.height, pix.pixelformat) = (width, height, pixelformat);
            (pix.field, pix.colorspace) = (v4l2_field_V4L2_FIELD_NONE, colorspace);
            (pix.sizeimage, pix.bytesperline) = (sizeimage, bytesperline);
            format.fmt.pix = pix;
        }
        // SAFETY: the structure that VIDIOC_S_FMT reads and fills.
        unsafe { ioctl(self.fd(), vidioc::VIDIOC_S_FMT, &mut format) }
            .map_err(|error| self.error("set its format", &error))?;
        let (fourcc, width, height, stride, size_bytes) = if queue.is_multi_planar() {
            // SAFETY: `pix_mp` belongs to the buffer type that was asked for.
            let pix = unsafe { format.fmt.pix_mp };
            if pix.num_planes > 1 {
                let fourcc = pix.pixelformat.to_le_bytes();
                return Err(self.problem(format!("the planes of {} are apart in memory", fourcc.escape_ascii())));
            }
            let plane = pix.plane_fmt[0];
            (pix.pixelformat, pix.width, pix.height, plane.bytesperline, plane.sizeimage)
        } else {
            // SAFETY: `pix` belongs to the buffer type that was asked for.
            let pix = unsafe { format.fmt.pix };
            (pix.pixelformat, pix.width, pix.height, pix.bytesperline, pix.sizeimage)
        };
        Ok(NegotiatedFormat {
            fourcc: fourcc.to_le_bytes(),
            width: width as usize,
            height: height as usize,
            stride: stride as usize,
            size_bytes: size_bytes as usize,
        })
    }

    pub(super) fn set_rate(&self, queue: Queue, rate: Rate) -> Option<Rate> {
        // SAFETY: a plain C structure of numbers and a union of such.
        let mut parameters: v4l2_streamparm = unsafe { zeroed() };
        parameters.type_ = queue.buffer_type();
        // `capture` and `output` begin alike: capability, mode, time per frame.
        parameters.parm.capture.timeperframe = v4l2_fract { numerator: rate.seconds, denominator: rate.pictures };
        // SAFETY: the structure that VIDIOC_S_PARM reads and fills.
        unsafe { ioctl(self.fd(), vidioc::VIDIOC_S_PARM, &mut parameters) }.ok()?;
        // SAFETY: both members are plain numbers, and the time per frame is at the same place in both.
        let interval = unsafe { parameters.parm.capture }.timeperframe;
        (interval.numerator > 0 && interval.denominator > 0)
            .then_some(Rate { pictures: interval.denominator, seconds: interval.numerator })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_lies_at_the_same_place_for_both_directions() {
        assert_eq!(
            std::mem::offset_of!(v4l2_captureparm, timeperframe),
            std::mem::offset_of!(v4l2_outputparm, timeperframe)
        );
    }

    #[test]
    fn what_is_no_camera_is_refused_by_name() {
        let error = Device::open(Path::new("/dev/null")).unwrap_err().to_string();
        assert_eq!(error, "/dev/null: it is not a video device");
    }
}
