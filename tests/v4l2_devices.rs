//! V4L2 sources against the kernel's own drivers: what they deliver, and what is said when they fail.
//!
//! Run by `scripts/vm-test` in a virtual machine that has these drivers, not by `cargo test`: see docs/testing.md. Each
//! test loads the driver that it needs and unloads it, so they run one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use perch::base::clock::Timestamp;
use perch::capture::v4l2::{FORMATS, V4l2Source};
use perch::capture::{CameraSource, CaptureError, Config, Resolution};
use perch::media::frame::{Frame, PixelFormat};

const VGA: (usize, usize) = (640, 480);
const HD: (usize, usize) = (1280, 720);
/// Longer than a picture takes at the lowest rate here, on a machine that emulates its processor and is busy.
const SOON: Duration = Duration::from_secs(2);

/// The kernel's test driver with one camera, for as long as this lives.
struct Vivid {
    node: PathBuf,
}

impl Vivid {
    fn load() -> Self {
        shell("modprobe vivid n_devs=1 node_types=0x1 multiplanar=1 && udevadm settle");
        Self { node: Self::node() }
    }

    fn node() -> PathBuf {
        let node = shell("ls /sys/bus/platform/devices/vivid.0/video4linux");
        Path::new("/dev").join(node.trim())
    }

    fn open(&self) -> V4l2Source {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<V4l2Source, CaptureError> {
        V4l2Source::open(&self.node, &wish(VGA, 30))
    }

    fn set(&self, control: &str, value: u32) {
        shell(&format!("v4l2-ctl -d {} -c {control}={value}", self.node.display()));
    }
}

impl Drop for Vivid {
    fn drop(&mut self) {
        shell("modprobe -r --wait 5000 vivid");
    }
}

/// A kernel module without options, for as long as this lives.
struct Module(&'static str);

impl Module {
    fn load(name: &'static str) -> Self {
        shell(&format!("modprobe {name} && udevadm settle"));
        Self(name)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        shell(&format!("modprobe -r --wait 5000 {}", self.0));
    }
}

/// Runs a command line, which must succeed; what it printed.
fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ok = output.status.success();
    // A failed test drops its driver as it unwinds, and must not panic again then.
    assert!(ok || thread::panicking(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn wish((width, height): (usize, usize), framerate: u32) -> Config {
    Config { resolution: Resolution { width, height }, framerate, stall_timeout_ms: 1000, ..Config::default() }
}

fn next(source: &mut V4l2Source) -> Frame {
    source.next_frame(SOON).unwrap().expect("a picture in time")
}

/// The error that comes instead of a picture, before `within` is over.
fn failure(source: &mut V4l2Source, within: Duration) -> CaptureError {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Err(error) = source.next_frame(Duration::from_millis(100)) {
            return error;
        }
    }
    panic!("no error within {within:?}");
}

fn delivers(format: PixelFormat, size: (usize, usize), framerate: u32) {
    const PICTURES: u32 = 45;
    let vivid = Vivid::load();
    let mut source = V4l2Source::open_among(&vivid.node, &wish(size, framerate), &[format]).unwrap();
    // The first few come while the driver is still starting.
    next(&mut source);
    let first = next(&mut source).captured_at();
    let mut last = first;
    for _ in 0..PICTURES {
        let frame = next(&mut source);
        assert_eq!((frame.format(), frame.width(), frame.height()), (format, size.0, size.1));
        assert!(frame.captured_at() > last, "{:?} after {last:?}", frame.captured_at());
        assert!(frame.captured_at() <= Timestamp::now());
        last = frame.captured_at();
        let picture = frame.plane(0);
        assert!(picture.iter().any(|byte| *byte != picture[0]), "the picture is of one colour");
    }
    let fps = f64::from(PICTURES) / last.saturating_since(first).as_secs_f64();
    println!("{}: measured {fps:.1} fps", source.describe());
    assert!((0.7..1.1).contains(&(fps / f64::from(framerate))), "{fps} fps");
}

#[test]
fn nv12_vga_comes_at_its_rate() {
    delivers(PixelFormat::Nv12, VGA, 30);
}

#[test]
fn i420_vga_comes_at_its_rate() {
    delivers(PixelFormat::I420, VGA, 30);
}

#[test]
fn yuyv_vga_comes_at_its_rate() {
    delivers(PixelFormat::Yuyv, VGA, 30);
}

#[test]
fn nv12_720p_comes_at_its_rate() {
    delivers(PixelFormat::Nv12, HD, 15);
}

#[test]
fn i420_720p_comes_at_its_rate() {
    delivers(PixelFormat::I420, HD, 15);
}

#[test]
fn yuyv_720p_comes_at_its_rate() {
    delivers(PixelFormat::Yuyv, HD, 15);
}

#[test]
fn the_time_of_a_picture_is_the_drivers_not_that_of_its_reading() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    // All buffers are full after 4/30 s; the newest of them is old by now.
    thread::sleep(Duration::from_millis(400));
    let age = Timestamp::now().saturating_since(next(&mut source).captured_at());
    assert!(age > Duration::from_millis(150), "{age:?}");
}

#[test]
fn the_newest_picture_is_taken_and_older_ones_are_not_shown_later() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    thread::sleep(Duration::from_millis(200));
    let newest = next(&mut source).captured_at();
    let following = next(&mut source);
    assert!(following.captured_at() > newest);
    // Had older ones been kept, the second would have been there already.
    let age = Timestamp::now().saturating_since(following.captured_at());
    assert!(age < Duration::from_millis(100), "{age:?}");
}

#[test]
fn a_timestamp_that_wraps_neither_stops_the_picture_nor_the_clock() {
    let vivid = Vivid::load();
    for wrap in [1, 2] {
        vivid.set("wrap_timestamp", wrap);
        let mut source = vivid.open();
        let mut last = Timestamp::default();
        for _ in 0..60 {
            let frame = next(&mut source);
            let age = Timestamp::now().saturating_since(frame.captured_at());
            assert!(frame.captured_at() > last && frame.captured_at() <= Timestamp::now(), "{:?}", frame.captured_at());
            assert!(age < Duration::from_secs(1), "wrap {wrap}: {age:?}");
            last = frame.captured_at();
        }
    }
}

#[test]
fn a_camera_that_is_pulled_out_is_lost_and_can_be_opened_again() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    vivid.set("disconnect", 1);
    let error = failure(&mut source, SOON);
    assert!(matches!(error, CaptureError::Lost(_)), "{error:?}");
    assert!(error.to_string().starts_with(vivid.node.to_str().unwrap()), "{error}");
    assert!(error.to_string().contains("the camera is gone"), "{error}");
    drop(source);
    next(&mut vivid.open());
}

#[test]
fn a_picture_outlives_its_camera() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    let frame = next(&mut source);
    vivid.set("disconnect", 1);
    failure(&mut source, SOON);
    drop(source);
    let sum: u64 = frame.plane(0).iter().map(|byte| u64::from(*byte)).sum();
    assert!(sum > 0);
}

#[test]
fn a_driver_that_gives_up_is_an_error_and_can_be_opened_again() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    vivid.set("inject_fatal_streaming_error", 1);
    let error = failure(&mut source, SOON);
    assert!(matches!(error, CaptureError::Lost(_)), "{error:?}");
    drop(source);
    next(&mut vivid.open());
}

#[test]
fn a_damaged_picture_is_skipped_and_the_next_is_shown() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    for _ in 0..3 {
        vivid.set("inject_v4l2_buf_flag_error", 1);
        next(&mut source);
    }
    next(&mut source);
}

#[test]
fn a_camera_that_falls_silent_has_stalled() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    vivid.set("percentage_of_dropped_buffers", 100);
    let silent_since = Instant::now();
    let error = failure(&mut source, SOON * 2);
    assert!(matches!(error, CaptureError::Stalled(_)), "{error:?}");
    assert!(silent_since.elapsed() >= Duration::from_millis(900), "{:?}", silent_since.elapsed());
    vivid.set("percentage_of_dropped_buffers", 0);
    drop(source);
    next(&mut vivid.open());
}

#[test]
fn a_camera_that_loses_half_of_its_pictures_goes_on() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    vivid.set("percentage_of_dropped_buffers", 50);
    let mut last = next(&mut source).captured_at();
    for _ in 0..30 {
        let captured_at = next(&mut source).captured_at();
        assert!(captured_at > last);
        last = captured_at;
    }
}

#[test]
fn a_driver_that_refuses_to_start_is_named_with_what_it_refused_and_starts_the_next_time() {
    let vivid = Vivid::load();
    for (control, words) in [
        ("inject_vidioc_reqbufs_error", "cannot allocate buffers"),
        ("inject_vidioc_qbuf_error", "cannot queue a buffer"),
        ("inject_vidioc_streamon_error", "cannot start it"),
    ] {
        vivid.set(control, 1);
        let error = vivid.try_open().err().unwrap_or_else(|| panic!("{control} had no effect"));
        assert!(matches!(error, CaptureError::Unusable(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(vivid.node.to_str().unwrap()) && text.contains(words), "{control}: {text}");
        next(&mut vivid.open());
    }
}

/// The devices that are cameras, of all that there are.
fn cameras() -> Vec<PathBuf> {
    perch::v4l2::list().into_iter().filter_map(Result::ok).map(|device| device.path).collect()
}

#[test]
fn a_driver_that_is_taken_away_is_lost_and_found_again() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    shell("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind");
    let error = failure(&mut source, SOON);
    assert!(matches!(error, CaptureError::Lost(_)), "{error:?}");
    drop(source);
    assert_eq!(cameras(), Vec::<PathBuf>::new());
    shell("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind && udevadm settle");
    assert_eq!(cameras(), [Vivid::node()]);
    next(&mut V4l2Source::open(&Vivid::node(), &wish(VGA, 30)).unwrap());
}

#[test]
fn a_camera_that_another_program_uses_is_busy() {
    let vivid = Vivid::load();
    let mut source = vivid.open();
    next(&mut source);
    let error = vivid.try_open().err().expect("an error").to_string();
    assert!(error.starts_with(vivid.node.to_str().unwrap()), "{error}");
    assert!(error.contains("another program is using it"), "{error}");
    next(&mut source);
}

#[test]
fn a_converter_is_no_camera() {
    let _vicodec = Module::load("vicodec");
    let node = shell("ls /sys/bus/platform/devices/vicodec.0/video4linux 2>/dev/null || ls /sys/class/video4linux");
    let node = Path::new("/dev").join(node.split_whitespace().next().expect("a node"));
    let error = V4l2Source::open(&node, &wish(VGA, 30)).err().expect("an error").to_string();
    assert!(error.contains("it does not capture video"), "{error}");
    assert_eq!(cameras(), Vec::<PathBuf>::new());
}

#[test]
fn a_hundred_starts_and_stops_leave_nothing_behind() {
    fn held() -> (usize, usize) {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        (
            fs::read_dir("/proc/self/fd").unwrap().count(),
            maps.lines().filter(|line| line.contains("/dev/video")).count(),
        )
    }
    let vivid = Vivid::load();
    let before = held();
    for _ in 0..100 {
        let mut source = vivid.open();
        next(&mut source);
    }
    assert_eq!(held(), before);
}

#[test]
fn every_format_is_tried_when_none_is_named() {
    let vivid = Vivid::load();
    let mut source = V4l2Source::open_among(&vivid.node, &wish(VGA, 30), &FORMATS).unwrap();
    assert!(!next(&mut source).format().is_compressed());
}
