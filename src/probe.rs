//! What `perch probe` says: the board, its cameras, its encoders.

use std::fmt::Write as _;

use crate::capture;
use crate::capture::worker::{self, Backend, CameraInfo, WorkerCommand};
use crate::encode::v4l2_m2m::CodedFormat;
use crate::encode::{self, Probed, software_budget};
use crate::platform::board;
use crate::v4l2::{self, DeviceInfo, FormatInfo};

/// A report for people.
#[must_use]
pub fn report() -> String {
    let mut text = format!("board: {}\n", board::model().unwrap_or_else(|| "unknown (no device tree)".to_owned()));
    let by_libcamera = if capture::HAS_LIBCAMERA { libcamera_cameras() } else { String::new() };
    let devices = v4l2::list();
    let is_empty = devices.is_empty() && by_libcamera.is_empty();
    text += if is_empty { "cameras: none; perch shows the test picture\n" } else { "cameras:\n" };
    text += &by_libcamera;
    for device in devices {
        match device {
            Ok(device) => describe(&mut text, &device),
            Err(error) => {
                let _ = writeln!(text, "  {error}");
            }
        }
    }
    text += "encoders:\n";
    for Probed { hardware, problem } in encode::probe_all(CodedFormat::H264) {
        let formats: Vec<_> = hardware.formats.iter().map(ToString::to_string).collect();
        let state = problem.map_or_else(|| "works".to_owned(), |problem| format!("does not work: {problem}"));
        let _ =
            writeln!(text, "  {}: {}, takes {}; {state}", hardware.path.display(), hardware.name, formats.join(", "));
    }
    let _ = writeln!(text, "  OpenH264, {}", openh264_speed());
    if let Ok(speed) = software_budget::measure() {
        let ((width, height), framerate) = software_budget::affordable(speed);
        let _ = writeln!(text, "    one core holds {width}x{height} at {framerate} fps");
    }
    text
}

/// What libcamera sees. A worker is asked, because libcamera may abort.
fn libcamera_cameras() -> String {
    let mut text = String::new();
    match worker::list(&WorkerCommand::this_program(Backend::Libcamera)) {
        Ok(cameras) => {
            for (index, CameraInfo { id, model, formats }) in cameras.iter().enumerate() {
                let _ = writeln!(text, "  libcamera:{index}: {model} ({id})");
                for format in formats {
                    let _ = writeln!(text, "    {format}");
                }
            }
        }
        Err(error) => {
            let _ = writeln!(text, "  libcamera: {error}");
        }
    }
    text
}

/// How OpenH264 was built; without its assembly it encodes several times slower.
const fn openh264_speed() -> &'static str {
    match (cfg!(target_arch = "x86_64"), cfg!(perch_nasm)) {
        (true, true) => "with SIMD",
        (true, false) => "without SIMD, because nasm was missing when perch was built",
        (false, _) => "with the SIMD of this architecture, where it has any",
    }
}

fn describe(text: &mut String, device: &DeviceInfo) {
    let _ = writeln!(text, "  {}: {} (driver {})", device.path.display(), device.card, device.driver);
    for format in &device.formats {
        let _ = writeln!(
            text,
            "    {} ({}): {}",
            String::from_utf8_lossy(&format.fourcc),
            format.description,
            sizes(format)
        );
    }
}

fn sizes(format: &FormatInfo) -> String {
    let size = |size: &v4l2::SizeInfo| {
        let fastest = size.rates.iter().map(|rate| rate.fps()).fold(0.0, f64::max);
        let rate = if fastest > 0.0 { format!(" at up to {fastest:.0} fps") } else { String::new() };
        format!("{}x{}{rate}", size.width, size.height)
    };
    format.sizes.iter().map(size).collect::<Vec<_>>().join(", ")
}
