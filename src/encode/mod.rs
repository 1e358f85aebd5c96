//! From raw pictures to H.264 access units.
//!
//! An [`Encoder`] is used from one thread and knows nothing of viewers: whoever runs it says when a keyframe
//! is wanted and which bitrate to aim at. [`Encoders`] chooses which one to use.

use std::sync::Arc;

use crate::media::access_unit::AccessUnit;
use crate::media::frame::{Frame, PixelFormat};

mod choice;
mod config;
mod hardware;
mod openh264;
mod passthrough;
mod scene_cut;
pub mod software_budget;
pub mod v4l2_m2m;

pub use choice::Encoders;
pub use config::{Config, Kind};
pub use hardware::{Hardware, Probed, hardware, probe_all};
pub use openh264::OpenH264Encoder;
pub use passthrough::Passthrough;

/// Why a frame could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The encoder takes other frames.
    #[error("{encoder} cannot take {width}×{height} {format} frames")]
    UnsupportedFrame {
        /// The encoder's name.
        encoder: String,
        /// The frame's width in pixels.
        width: usize,
        /// The frame's height in pixels.
        height: usize,
        /// The frame's format.
        format: PixelFormat,
    },
    /// The encoder itself failed.
    #[error("OpenH264: {0}")]
    OpenH264(#[from] ::openh264::Error),
    /// An encoder in hardware failed, or cannot do what is asked.
    #[error("{encoder}: {problem}")]
    Device {
        /// The encoder's name.
        encoder: String,
        /// What is wrong, and where it helps what to do.
        problem: String,
    },
    /// An encoder in hardware was asked for and none works.
    #[error("no hardware encoder works on this machine: set encoder.kind to \"auto\" or \"openh264\"")]
    NoHardware,
    /// The picture is in memory that the CPU cannot read.
    #[error("the picture's memory cannot be read")]
    Unreadable,
    /// Setting an option failed.
    #[error("OpenH264 refused {option} (code {code})")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What the library answered.
        code: i32,
    },
}

/// Makes access units from frames, one in and at most one out.
pub trait Encoder: Send {
    /// Encodes one frame; `force_keyframe` makes it a keyframe. `Ok(None)` means that the encoder skipped it.
    ///
    /// # Errors
    /// When the frame does not fit this encoder, or the encoder fails; it is not used again then.
    fn encode(&mut self, frame: &Arc<Frame>, force_keyframe: bool) -> Result<Option<AccessUnit>, EncodeError>;

    /// Aims at another bitrate, in bit/s, from the next frame on.
    ///
    /// # Errors
    /// When the encoder refuses the value.
    fn set_bitrate(&mut self, bitrate_bps: u32) -> Result<(), EncodeError>;

    /// Whether this encoder can go on with frames like `frame`, or another is needed.
    fn takes(&self, frame: &Frame) -> bool;

    /// The encoder's name for people.
    fn name(&self) -> &str;
}
