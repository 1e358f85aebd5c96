//! The JPEG thread: single pictures, made beside the video and never in its way.
//!
//! How often one is due is `encode_loop`'s matter, who gets it that of `jpeg`.

use std::time::Duration;

use bytes::Bytes;
use log::debug;

use super::{Shared, Still};
use crate::media::copies::FrameCopies;
use crate::media::frame::{Frame, FramePool, PixelFormat};
use crate::process::convert::Converter;
use crate::process::jpeg::encode_jpeg;

/// How long one wait lasts at most, so that a shutdown is noticed.
const TICK: Duration = Duration::from_millis(200);
/// JPEG quality, 1 to 100.
const QUALITY: u8 = 80;

/// Runs until shutdown.
pub(super) fn run(camera: &Shared) {
    let mut converter = Converter::new(FramePool::new(2));
    while !camera.shutdown.is_requested() {
        camera.pulses.jpeg.beat();
        let Some(Still { frame, masks }) = camera.stills.take_timeout(TICK) else { continue };
        match still(&frame, &mut converter, &camera.metrics.copies) {
            Ok(picture) => camera.picture.pass(masks, || camera.jpegs.publish(picture)),
            Err(error) => debug!("camera {}: a JPEG picture was lost: {error}", camera.name()),
        }
    }
}

fn still(frame: &Frame, converter: &mut Converter, copies: &FrameCopies) -> Result<Bytes, String> {
    copies.jpeg.increment();
    if frame.format() == PixelFormat::I420 {
        return encode_jpeg(frame, QUALITY).map_err(|error| error.to_string());
    }
    copies.convert.increment();
    let converted = converter.i420_of(frame).map_err(|error| error.to_string())?;
    encode_jpeg(&converted, QUALITY).map_err(|error| error.to_string())
}
