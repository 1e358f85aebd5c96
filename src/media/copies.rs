//! How often the pixels of a whole picture went through the CPU.
//!
//! From a camera that hands out dma-bufs to an encoder that takes them, never. Each stage that copies or converts a
//! whole picture counts here, so that a test can hold the rest at zero, and so that an owner sees why a machine is busy.
//! Coded pictures that an encoder made are no frames, and are not counted.

use crate::base::metrics::Counter;

/// Whole-frame copies or conversions in user space, by the stage that made them.
#[derive(Debug, Default)]
pub struct FrameCopies {
    /// In the source, out of the driver's buffer.
    pub capture: Counter,
    /// Pixel format conversions to what the encoder takes.
    pub convert: Counter,
    /// What the owner wants done to the picture: all of it together.
    pub process: Counter,
    /// JPEG or H.264 decodes.
    pub decode: Counter,
    /// Into the memory of an encoder that cannot read the frame's own.
    pub encode: Counter,
    /// Encoded pictures of the source that go to viewers as they are.
    pub passthrough: Counter,
    /// JPEG encodes.
    pub jpeg: Counter,
}

impl FrameCopies {
    /// Each stage's name and count.
    #[must_use]
    pub fn by_stage(&self) -> [(&'static str, u64); 7] {
        [
            ("capture", self.capture.get()),
            ("convert", self.convert.get()),
            ("process", self.process.get()),
            ("decode", self.decode.get()),
            ("encode", self.encode.get()),
            ("passthrough", self.passthrough.get()),
            ("jpeg", self.jpeg.get()),
        ]
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_stage().iter().map(|(_, count)| count).sum()
    }
}
