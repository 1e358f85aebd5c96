//! One encoded picture: what an encoder makes and every reader gets.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::base::clock::Timestamp;

/// One H.264 access unit in Annex B form, shared by all readers.
#[derive(Debug)]
pub struct AccessUnit {
    /// NAL units, each behind a start code. A keyframe carries SPS, PPS and IDR.
    pub data: Bytes,
    /// When the camera took the picture.
    pub pts: Timestamp,
    /// Whether decoding can begin here.
    pub is_keyframe: bool,
    rtp_payloads: OnceLock<Box<[Bytes]>>,
}

impl AccessUnit {
    /// Wraps encoded bytes.
    #[must_use]
    pub const fn new(data: Bytes, pts: Timestamp, is_keyframe: bool) -> Self {
        Self { data, pts, is_keyframe, rtp_payloads: OnceLock::new() }
    }

    /// The same unit at another time.
    #[must_use]
    pub fn at(self, pts: Timestamp) -> Self {
        Self { pts, ..self }
    }

    /// This unit cut into RTP payloads (RFC 6184): made by `cut` for the first reader that asks, shared with
    /// the others, so that the work is done once however many watch.
    pub fn rtp_payloads(&self, cut: impl FnOnce(&Bytes) -> Box<[Bytes]>) -> &[Bytes] {
        self.rtp_payloads.get_or_init(|| cut(&self.data))
    }
}
