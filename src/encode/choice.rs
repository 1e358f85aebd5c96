//! Which encoder a frame gets: the machine's own while it works, else OpenH264.

use std::sync::Arc;

use log::warn;

use super::v4l2_m2m::{CodedFormat, Input, M2mEncoder, Settings};
use super::{EncodeError, Encoder, Hardware, Kind, OpenH264Encoder, Passthrough};
use crate::media::copies::FrameCopies;
use crate::media::frame::{Frame, PixelFormat};

/// How often in a row the hardware may fail before it is given up: once can be a hiccup, after which it is opened anew.
const MOST_FAILURES: u32 = 2;

/// Makes encoders for one camera, and remembers what became of them.
pub struct Encoders {
    kind: Kind,
    hardware: Option<Hardware>,
    copies: Arc<FrameCopies>,
    failures: u32,
}

impl Encoders {
    /// Encoders of `kind`, with the machine's own being `hardware` if it has one that works. Copies of frames are counted
    /// in `copies`.
    #[must_use]
    pub fn new(kind: Kind, hardware: Option<Hardware>, copies: Arc<FrameCopies>) -> Self {
        let hardware = hardware.filter(|_| kind != Kind::OpenH264);
        Self { kind, hardware, copies, failures: 0 }
    }

    /// The encoder in hardware that is in use, if one is.
    #[must_use]
    pub const fn hardware(&self) -> Option<&Hardware> {
        self.hardware.as_ref()
    }

    /// Whether frames of `format` can be encoded as they are.
    #[must_use]
    pub fn takes(&self, format: PixelFormat) -> bool {
        match format {
            PixelFormat::H264 => true,
            PixelFormat::Mjpeg
            | PixelFormat::Gray8
            | PixelFormat::Bgr24
            | PixelFormat::Rgb24
            | PixelFormat::Bgra
            | PixelFormat::Rgba => false,
            // Everything can be made into I420, and the hardware may not take that.
            PixelFormat::I420 => true,
            PixelFormat::Nv12 | PixelFormat::Yuyv => {
                self.hardware.as_ref().is_some_and(|hardware| hardware.formats.contains(&format))
            }
        }
    }

    /// The encoder for frames like `frame`.
    ///
    /// # Errors
    /// When no encoder takes such frames. Another try may get another encoder.
    pub fn for_frame(
        &mut self,
        frame: &Frame,
        framerate: u32,
        bitrate_bps: u32,
    ) -> Result<Box<dyn Encoder>, EncodeError> {
        if frame.format() == PixelFormat::H264 {
            return Ok(Box::new(Passthrough::new(Arc::clone(&self.copies))));
        }
        let hardware = self.hardware.as_ref().filter(|hardware| hardware.formats.contains(&frame.format()));
        if let (Some(hardware), Some(input)) = (hardware, Input::of(frame)) {
            let settings = Settings { coded: CodedFormat::H264, input, framerate, bitrate_bps };
            return M2mEncoder::open(&hardware.path, &hardware.name, settings, Arc::clone(&self.copies))
                .map(|encoder| Box::new(encoder) as Box<dyn Encoder>)
                .inspect_err(|error| self.failed(error));
        }
        if self.kind == Kind::Hardware {
            return Err(EncodeError::NoHardware);
        }
        let size = (frame.width(), frame.height());
        if frame.format() != PixelFormat::I420 {
            let encoder = "OpenH264".to_owned();
            return Err(EncodeError::UnsupportedFrame {
                encoder,
                width: size.0,
                height: size.1,
                format: frame.format(),
            });
        }
        Ok(Box::new(OpenH264Encoder::new(size, framerate, bitrate_bps)?))
    }

    /// A frame was encoded.
    pub const fn worked(&mut self) {
        self.failures = 0;
    }

    /// An encoder failed. After two in a row, the hardware is given up unless it was insisted on.
    pub fn failed(&mut self, error: &EncodeError) {
        if !matches!(error, EncodeError::Device { .. }) {
            return;
        }
        self.failures += 1;
        if self.failures >= MOST_FAILURES && self.kind == Kind::Auto && self.hardware.take().is_some() {
            warn!("{error}; encoding on the CPU with OpenH264 from now on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::packed_size;

    /// An encoder whose device is not there.
    fn broken() -> Hardware {
        let formats = vec![PixelFormat::Nv12, PixelFormat::I420];
        Hardware { path: "/dev/video-none".into(), name: "broken".into(), formats }
    }

    fn frame(format: PixelFormat) -> Frame {
        let bytes = vec![0; packed_size(format, (64, 48))];
        Frame::packed(format, (64, 48), Timestamp::default(), Box::new(bytes)).unwrap()
    }

    fn encoders(kind: Kind, hardware: Option<Hardware>) -> Encoders {
        Encoders::new(kind, hardware, Arc::default())
    }

    #[test]
    fn without_hardware_it_is_openh264_and_takes_i420() {
        let mut encoders = encoders(Kind::Auto, None);
        assert!(!encoders.takes(PixelFormat::Nv12));
        assert_eq!(encoders.for_frame(&frame(PixelFormat::I420), 30, 500_000).unwrap().name(), "OpenH264");
        assert!(encoders.for_frame(&frame(PixelFormat::Nv12), 30, 500_000).is_err());
    }

    #[test]
    fn hardware_that_fails_twice_is_given_up_for_openh264() {
        let mut encoders = encoders(Kind::Auto, Some(broken()));
        assert!(encoders.takes(PixelFormat::Nv12));
        for _ in 0..MOST_FAILURES {
            assert!(encoders.hardware().is_some());
            assert!(encoders.for_frame(&frame(PixelFormat::Nv12), 30, 500_000).is_err());
        }
        assert!(!encoders.takes(PixelFormat::Nv12), "frames are converted from now on");
        assert_eq!(encoders.for_frame(&frame(PixelFormat::I420), 30, 500_000).unwrap().name(), "OpenH264");
    }

    #[test]
    fn a_success_forgets_the_failure_before() {
        let mut encoders = encoders(Kind::Auto, Some(broken()));
        let failure = || EncodeError::Device { encoder: "broken".into(), problem: "no answer".into() };
        encoders.failed(&failure());
        encoders.worked();
        encoders.failed(&failure());
        assert!(encoders.hardware().is_some());
    }

    #[test]
    fn who_insists_on_hardware_is_told_and_gets_nothing_else() {
        let mut none = encoders(Kind::Hardware, None);
        let error = none.for_frame(&frame(PixelFormat::I420), 30, 500_000).err().unwrap().to_string();
        assert!(error.contains("encoder.kind"), "{error}");
        let mut insisted = encoders(Kind::Hardware, Some(broken()));
        for _ in 0..5 {
            assert!(insisted.for_frame(&frame(PixelFormat::Nv12), 30, 500_000).is_err());
        }
        assert!(insisted.hardware().is_some());
    }

    #[test]
    fn who_wants_the_cpu_gets_it_although_there_is_hardware() {
        let mut encoders = encoders(Kind::OpenH264, Some(broken()));
        assert_eq!(encoders.for_frame(&frame(PixelFormat::I420), 30, 500_000).unwrap().name(), "OpenH264");
    }
}
