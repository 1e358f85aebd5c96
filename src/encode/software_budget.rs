//! What the CPU can encode, on a machine without an encoder of its own.
//!
//! A Raspberry Pi 5 encodes 720p easily, a Zero 2 W does not, and a picture that stutters is worse than a smaller one.
//! So a few pictures are encoded and the CPU time they took is taken as the measure: not a table of boards, which would
//! be wrong for the next one.

use std::sync::Arc;
use std::time::Duration;

use super::{EncodeError, Encoder as _, OpenH264Encoder};
use crate::base::clock::{Timestamp, thread_cpu_time};
use crate::media::frame::{Frame, PixelFormat, packed_size};

/// How much of what was measured is relied on. Encoding may take 60 % of a core, the rest is for converting, sending and
/// the camera; and pictures larger than the measured ones take half as long again per pixel, as they leave the caches.
const SHARE: f64 = 0.6 / 1.5;
/// Pictures that are measured; the quickest counts, as the others were disturbed.
const PICTURES: u64 = 6;
const MEASURED_SIZE: (usize, usize) = (640, 360);

/// Size and rate, the best first.
const LADDER: [((usize, usize), u32); 7] = [
    ((1280, 720), 30),
    ((1280, 720), 20),
    ((960, 540), 30),
    ((640, 480), 30),
    ((640, 360), 25),
    ((640, 360), 15),
    ((320, 240), 15),
];

/// The best size and rate that a CPU holds that encodes `pixels_per_second` when it does nothing else.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "pixels of a picture are few")]
pub fn affordable(pixels_per_second: f64) -> ((usize, usize), u32) {
    let holds = |&&((width, height), rate): &&((usize, usize), u32)| {
        (width * height) as f64 * f64::from(rate) <= pixels_per_second * SHARE
    };
    *LADDER.iter().find(holds).unwrap_or(&LADDER[LADDER.len() - 1])
}

/// Encodes a few pictures and says how many pixels a second one core could do. Takes a tenth of a second at most on a
/// Raspberry Pi.
///
/// # Errors
/// When OpenH264 fails.
#[expect(clippy::cast_precision_loss, reason = "pixels of a picture are few")]
pub fn measure() -> Result<f64, EncodeError> {
    let (width, height) = MEASURED_SIZE;
    let mut encoder = OpenH264Encoder::new(MEASURED_SIZE, 30, 1_000_000)?;
    let mut quickest = Duration::MAX;
    for number in 0..PICTURES {
        let Ok(picture) = picture(number) else { return Err(EncodeError::Unreadable) };
        let began = thread_cpu_time();
        encoder.encode(&Arc::new(picture), false)?;
        quickest = quickest.min(thread_cpu_time().saturating_sub(began));
    }
    Ok((width * height) as f64 / quickest.as_secs_f64().max(1e-6))
}

/// A picture whose texture moves everywhere, with noise: as much work as a camera in poor light that is carried about.
fn picture(number: u64) -> Result<Frame, crate::media::frame::FrameTooSmall> {
    let (width, height) = MEASURED_SIZE;
    let mut bytes = vec![128; packed_size(PixelFormat::I420, MEASURED_SIZE)];
    let mut noise = 0x9e37_79b9_u32.wrapping_mul(number as u32 + 1);
    for (at, byte) in bytes.iter_mut().take(width * height).enumerate() {
        let (x, y) = (at % width + number as usize * 3, at / width + number as usize);
        // xorshift: quick, and never twice the same.
        noise ^= noise << 13;
        noise ^= noise >> 17;
        noise ^= noise << 5;
        *byte = 60 + (((x * 5) ^ (y * 3)) as u8 / 2) + (noise as u8 & 15);
    }
    Frame::packed(PixelFormat::I420, MEASURED_SIZE, Timestamp::from_nanos(number * 33_000_000), Box::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slower_cpu_gets_a_smaller_picture_never_none() {
        assert_eq!(affordable(100e6), ((1280, 720), 30));
        assert_eq!(affordable(50e6), ((1280, 720), 20));
        assert_eq!(affordable(24e6), ((640, 480), 30));
        assert_eq!(affordable(0.0), ((320, 240), 15));
        let pixels = |speed: f64| {
            let ((width, height), rate) = affordable(speed);
            width * height * rate as usize
        };
        assert!((1..200).map(|mega| pixels(f64::from(mega) * 1e6)).is_sorted());
    }

    #[test]
    fn this_machine_can_be_measured() {
        let speed = measure().unwrap();
        assert!((1e5..1e11).contains(&speed), "{speed} pixels per second");
    }
}
