//! What the encoder alone costs: the test pattern through OpenH264, paced as a camera, and nothing else.
//!
//! `scripts/bench` holds the server's CPU against this. `bare_encoder [SECONDS [WIDTHxHEIGHT [FPS [BIT/S [ahead]]]]]`
//! prints one JSON object; `ahead`: the pictures are drawn before it begins. It uses the `openh264` crate directly, so
//! that a change in perch's own encoder shows up as a difference instead of moving both figures.

#[path = "pictures/drawn_ahead.rs"]
mod pictures;

use std::error::Error;
use std::time::{Duration, Instant};

use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, Profile, RateControlMode, UsageType,
};
use openh264::formats::YUVSlices;
use perch::capture::test_pattern::TestPattern;
use perch::capture::{CameraSource, Resolution};
use pictures::DrawnAhead;

/// CPU time that `clock` has counted.
fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec, and both clocks used here always exist on Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let resolution: Resolution = arguments.next().unwrap_or_else(|| "1280x720".into()).parse()?;
    let framerate: u16 = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let bitrate_bps: u32 = arguments.next().map_or(Ok(2_000_000), |text| text.parse())?;

    let config = EncoderConfig::new()
        .profile(Profile::Baseline)
        .usage_type(UsageType::CameraVideoRealTime)
        .complexity(Complexity::Low)
        .rate_control_mode(RateControlMode::Bitrate)
        .bitrate(BitRate::from_bps(bitrate_bps))
        .max_frame_rate(FrameRate::from_hz(f32::from(framerate)))
        .skip_frames(false)
        .num_threads(1)
        .background_detection(false)
        .intra_frame_period(IntraFramePeriod::from_num_frames(0));
    let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)?;
    let mut source: Box<dyn CameraSource> = match arguments.next().as_deref() {
        Some("ahead") => Box::new(DrawnAhead::new(resolution, framerate)?),
        _ => Box::new(TestPattern::new(resolution, u32::from(framerate))),
    };

    let (mut frames, mut bytes, mut encoding) = (0_u32, 0, Duration::ZERO);
    let (start, cpu_start) = (Instant::now(), cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID));
    while start.elapsed() < Duration::from_secs(seconds) {
        let Some(frame) = source.next_frame(Duration::from_secs(1))? else { continue };
        let planes = frame.planes();
        let picture = YUVSlices::new(
            (frame.plane(0), frame.plane(1), frame.plane(2)),
            (frame.width(), frame.height()),
            (planes[0].stride, planes[1].stride, planes[2].stride),
        );
        let before = cpu_time(libc::CLOCK_THREAD_CPUTIME_ID);
        bytes += encoder.encode(&picture)?.to_vec().len();
        encoding += cpu_time(libc::CLOCK_THREAD_CPUTIME_ID) - before;
        frames += 1;
    }
    let wall = start.elapsed().as_secs_f64();
    let process = (cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID) - cpu_start).as_secs_f64();
    let per_frame = 1000.0 * encoding.as_secs_f64() / f64::from(frames.max(1));
    println!(
        "{{\"frames\":{frames},\"seconds\":{wall:.3},\"bytes\":{bytes},\"encode_cpu_ms_per_frame\":{per_frame:.3},\
         \"encode_cpu_share\":{:.5},\"process_cpu_share\":{:.5}}}",
        encoding.as_secs_f64() / wall,
        process / wall
    );
    Ok(())
}
