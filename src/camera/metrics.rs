//! Numbers that one camera counts.

use std::sync::Arc;

use crate::base::metrics::{Counter, Gauge, Histogram};
use crate::media::copies::FrameCopies;
use crate::process::stages::StageTimes;

/// A camera's counters; each name is the metric's without `perch_`.
#[derive(Debug, Default)]
pub struct CameraMetrics {
    /// Frames taken from the source.
    pub frames_captured: Counter,
    /// Frames that a newer one replaced before they were encoded.
    pub frames_dropped: Counter,
    /// Access units made.
    pub frames_encoded: Counter,
    /// Keyframes that readers asked for.
    pub keyframes_requested: Arc<Counter>,
    /// Keyframes made.
    pub keyframes_encoded: Counter,
    /// Bytes of access units made.
    pub encoded_bytes: Counter,
    /// Whole-frame copies or conversions, by stage.
    pub copies: Arc<FrameCopies>,
    /// How long what the owner wants done to a picture took, by stage.
    pub stage_times: Arc<StageTimes>,
    /// Times the source was opened.
    pub source_opens: Counter,
    /// Times the source failed.
    pub source_failures: Counter,
    /// Times the motion sensor saw something begin to move.
    pub motions: Counter,
    /// The bitrate the encoder aims at, in bit/s.
    pub target_bitrate_bps: Gauge,
    /// Time one encode took.
    pub encode_time: Histogram,
    /// From capture to the access unit's being handed to readers.
    pub capture_to_encoded: Histogram,
}
