//! H.264 that the source has encoded already goes on as it is.

use std::sync::Arc;

use bytes::Bytes;

use super::{EncodeError, Encoder};
use crate::media::access_unit::AccessUnit;
use crate::media::annex_b;
use crate::media::copies::FrameCopies;
use crate::media::frame::{Frame, PixelFormat};

/// Hands on access units. Keyframes and the bitrate are the source's to choose.
///
/// Viewers keep a unit for longer than a frame lives, so it is copied where its memory cannot be shared.
pub struct Passthrough {
    copies: Arc<FrameCopies>,
}

impl Passthrough {
    /// One that counts in `copies`.
    #[must_use]
    pub const fn new(copies: Arc<FrameCopies>) -> Self {
        Self { copies }
    }
}

impl Encoder for Passthrough {
    fn encode(&mut self, frame: &Arc<Frame>, _force_keyframe: bool) -> Result<Option<AccessUnit>, EncodeError> {
        let data = frame.shared_plane(0).unwrap_or_else(|| {
            self.copies.passthrough.increment();
            Bytes::copy_from_slice(frame.plane(0))
        });
        let is_keyframe = annex_b::is_keyframe(&data);
        Ok(Some(AccessUnit::new(data, frame.captured_at(), is_keyframe)))
    }

    fn set_bitrate(&mut self, _bitrate_bps: u32) -> Result<(), EncodeError> {
        Ok(())
    }

    fn takes(&self, frame: &Frame) -> bool {
        frame.format() == PixelFormat::H264
    }

    fn name(&self) -> &str {
        "passed through"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    #[test]
    fn a_unit_is_copied_only_where_its_memory_cannot_be_shared_and_that_is_counted() {
        let copies = Arc::new(FrameCopies::default());
        let mut encoder = Passthrough::new(Arc::clone(&copies));
        let unit = vec![0, 0, 0, 1, 0x65, 3];
        let mut pass = |memory: Box<dyn crate::media::frame::FrameMemory>| {
            let frame = Frame::packed(PixelFormat::H264, (64, 48), Timestamp::from_nanos(5), memory).unwrap();
            encoder.encode(&Arc::new(frame), false).unwrap().unwrap()
        };
        let shared = pass(Box::new(Bytes::from(unit.clone())));
        assert_eq!(copies.total(), 0);
        let copied = pass(Box::new(unit.clone()));
        assert_eq!(copies.passthrough.get(), 1);
        assert_eq!((&shared.data[..], &copied.data[..]), (&unit[..], &unit[..]));
        assert!(shared.is_keyframe);
    }
}
