//! From a camera to an encoder in hardware without the CPU touching a pixel, on the kernel's own drivers: `vivid` is the
//! camera, `vicodec` the encoder. It makes FWHT, which nobody plays; its interface is that of the Raspberry Pi's.
//!
//! These drivers are in the lab's virtual machine, where `PERCH_VM` is set; anywhere else each test says so and does
//! nothing. Each loads the drivers that it needs and unloads them, so they run one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use perch::base::clock::Timestamp;
use perch::capture::v4l2::V4l2Source;
use perch::capture::{CameraSource, Config, Resolution};
use perch::encode::v4l2_m2m::{CodedFormat, Input, M2mEncoder, Settings};
use perch::encode::{EncodeError, Encoder as _, probe_all};
use perch::media::access_unit::AccessUnit;
use perch::media::copies::FrameCopies;
use perch::media::frame::{Frame, FramePool, PixelFormat, packed_size};
use perch::process::convert::Converter;
use perch::v4l2::{ControlId, ControlKind, Device, Event, InputMemory, M2mDevice, encoders};

const VGA: (usize, usize) = (640, 480);
/// Longer than a picture takes at the lowest rate here, on a machine that emulates its processor and is busy.
const SOON: Duration = Duration::from_secs(10);
/// Instead of the second that hardware gets.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether this is the lab. Names the test that is left out elsewhere.
fn is_lab(test: &str) -> bool {
    let is_lab = std::env::var_os("PERCH_VM").is_some();
    if is_lab {
        perch::base::logging::start("debug".parse().unwrap());
    } else {
        eprintln!("{test}: left out, because this is not the lab (PERCH_VM is not set)");
    }
    is_lab
}

/// `vivid` as a camera and `vicodec` as an encoder, in the single- or multi-planar form, while this lives.
struct Lab {
    camera: PathBuf,
    encoder: PathBuf,
}

impl Lab {
    fn load(camera_multi: bool, encoder_multi: bool) -> Self {
        unload();
        let planes = if camera_multi { 2 } else { 1 };
        shell(&format!("modprobe vivid n_devs=1 node_types=0x1 multiplanar={planes} && udevadm settle"));
        shell(&format!("modprobe vicodec multiplanar={} && udevadm settle", u8::from(encoder_multi)));
        let node = shell("ls /sys/bus/platform/devices/vivid.0/video4linux");
        let found = encoders(CodedFormat::FWHT.0);
        assert_eq!(found.len(), 1, "one encoder, and the decoders are none: {found:?}");
        assert_eq!(found[0].driver, "vicodec");
        Self { camera: Path::new("/dev").join(node.trim()), encoder: found[0].path.clone() }
    }

    fn source(&self, format: PixelFormat) -> V4l2Source {
        let config = Config {
            resolution: Resolution { width: VGA.0, height: VGA.1 },
            framerate: 30,
            encoder_reads: vec![format],
            ..Config::default()
        };
        V4l2Source::open(&self.camera, &config).unwrap()
    }

    fn encoder_for(&self, frame: &Frame, copies: &Arc<FrameCopies>) -> Result<M2mEncoder, EncodeError> {
        let input = Input::of(frame).unwrap();
        let settings = Settings { coded: CodedFormat::FWHT, input, framerate: 30, bitrate_bps: 1_000_000 };
        M2mEncoder::open(&self.encoder, "vicodec", settings, Arc::clone(copies))
            .map(|encoder| encoder.with_deadline(DEADLINE))
    }

    fn set(&self, control: &str, value: u32) {
        shell(&format!("v4l2-ctl -d {} -c {control}={value}", self.camera.display()));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        unload();
    }
}

fn unload() {
    // udev looks into new devices for a moment, and they are in use then.
    shell(
        "for driver in vivid vicodec; do \
             tries=0; \
             while grep -q \"^$driver \" /proc/modules && ! modprobe -r $driver; do \
                 tries=$((tries + 1)); \
                 if [ $tries = 50 ]; then grep -l video /proc/*/maps; ls -l /proc/*/fd | grep video; exit 1; fi; \
                 sleep 0.2; \
             done; \
         done",
    );
}

/// Runs a command line, which must succeed; what it printed.
fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // A failed test drops its drivers as it unwinds, and must not panic again then.
    let is_ok = output.status.success() || thread::panicking();
    assert!(is_ok, "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn next(source: &mut V4l2Source) -> Arc<Frame> {
    Arc::new(source.next_frame(SOON).unwrap().expect("a picture"))
}

/// A picture in memory of the CPU's own: noise, of which one row changes, so that the codec finds most of it in the last.
fn drawn(format: PixelFormat, number: u64) -> Arc<Frame> {
    let mut noise = 1_u32;
    let mut bytes: Vec<u8> = (0..packed_size(format, VGA))
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 17;
            noise ^= noise << 5;
            noise as u8
        })
        .collect();
    bytes[..VGA.0].fill((number * 7) as u8);
    let time = Timestamp::from_nanos(number * 33_000_000);
    Arc::new(Frame::packed(format, VGA, time, Box::new(bytes)).unwrap())
}

/// Encodes `count` pictures of a camera; each gives a unit of its own time, and its memory goes back at once.
fn stream(source: &mut V4l2Source, encoder: &mut M2mEncoder, count: usize) -> Vec<AccessUnit> {
    let units: Vec<_> = (0..count)
        .map(|_| {
            let frame = next(source);
            let unit = encoder.encode(&frame, false).unwrap().expect("vicodec skips nothing");
            assert_eq!(unit.pts, frame.captured_at());
            assert!(!unit.data.is_empty());
            assert_eq!(Arc::strong_count(&frame), 1, "the encoder has let go of the picture");
            unit
        })
        .collect();
    assert!(units.is_sorted_by(|a, b| a.pts < b.pts));
    assert_eq!(source.lent(), 0, "buffers that are not back");
    units
}

/// 600 pictures of each form: the count of copies stays 0.
fn six_hundred(camera_multi: bool, encoder_multi: bool) {
    let lab = Lab::load(camera_multi, encoder_multi);
    let copies = Arc::new(FrameCopies::default());
    let mut source = lab.source(PixelFormat::Nv12);
    let first = next(&mut source);
    assert!(Input::of(&first).unwrap().is_dma_buf, "{first:?}");
    let mut encoder = lab.encoder_for(&first, &copies).unwrap();
    drop(first);
    let began = Instant::now();
    stream(&mut source, &mut encoder, 600);
    println!("600 pictures in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(copies.total(), 0, "{copies:?}");
}

#[test]
fn six_hundred_pictures_reach_a_single_planar_encoder_without_a_copy() {
    if is_lab("six_hundred_pictures_reach_a_single_planar_encoder_without_a_copy") {
        six_hundred(false, false);
    }
}

#[test]
fn six_hundred_pictures_reach_a_multi_planar_encoder_without_a_copy() {
    if is_lab("six_hundred_pictures_reach_a_multi_planar_encoder_without_a_copy") {
        six_hundred(true, true);
    }
}

#[test]
fn every_raw_format_goes_through_also_where_the_two_forms_meet() {
    if !is_lab("every_raw_format_goes_through_also_where_the_two_forms_meet") {
        return;
    }
    for (camera_multi, encoder_multi) in [(false, true), (true, false)] {
        let lab = Lab::load(camera_multi, encoder_multi);
        for format in [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv] {
            let copies = Arc::new(FrameCopies::default());
            let mut source = lab.source(format);
            let first = next(&mut source);
            assert_eq!(first.format(), format);
            let mut encoder = lab.encoder_for(&first, &copies).unwrap();
            drop(first);
            stream(&mut source, &mut encoder, 30);
            // vivid's multi-planar YUYV begins at an offset, which encoders do not know: it is copied, and counted.
            let has_offset = camera_multi && format == PixelFormat::Yuyv;
            assert_eq!(copies.total(), if has_offset { 30 } else { 0 }, "{format}: {copies:?}");
        }
    }
}

#[test]
fn pictures_of_the_cpus_own_are_copied_and_counted() {
    if !is_lab("pictures_of_the_cpus_own_are_copied_and_counted") {
        return;
    }
    for is_multi in [false, true] {
        let lab = Lab::load(false, is_multi);
        let copies = Arc::new(FrameCopies::default());
        let mut encoder = lab.encoder_for(&drawn(PixelFormat::I420, 0), &copies).unwrap();
        for number in 1..=10 {
            assert!(encoder.encode(&drawn(PixelFormat::I420, number), false).unwrap().is_some());
        }
        assert_eq!((copies.encode.get(), copies.total()), (10, 10));
    }
}

#[test]
fn the_cpu_reads_a_picture_that_is_in_a_dma_buf() {
    if !is_lab("the_cpu_reads_a_picture_that_is_in_a_dma_buf") {
        return;
    }
    let lab = Lab::load(true, false);
    let mut source = lab.source(PixelFormat::Nv12);
    let frame = next(&mut source);
    assert!(frame.dma_buf().is_some());
    let picture = Converter::new(FramePool::new(1)).i420_of(&frame).unwrap();
    let (least, most) = (picture.plane(0).iter().min().unwrap(), picture.plane(0).iter().max().unwrap());
    assert!(most - least > 100, "colour bars have bright and dark ones: {least} to {most}");
    drop(frame);
    assert_eq!(source.lent(), 0);
}

#[test]
fn keyframes_come_when_they_are_forced() {
    if !is_lab("keyframes_come_when_they_are_forced") {
        return;
    }
    let lab = Lab::load(false, false);
    let copies = Arc::new(FrameCopies::default());
    let mut encoder = lab.encoder_for(&drawn(PixelFormat::Nv12, 0), &copies).unwrap();
    let mut keyframes = Vec::new();
    for number in 1..=40 {
        // The test codec makes one by itself every 16 pictures at most.
        let unit = encoder.encode(&drawn(PixelFormat::Nv12, number), number == 6 || number == 10).unwrap().unwrap();
        if unit.is_keyframe {
            keyframes.push(number);
        }
    }
    println!("keyframes: {keyframes:?}");
    assert_eq!(keyframes[..3], [1, 6, 10]);
    assert!(keyframes.len() < 8, "and not all of them: {keyframes:?}");
}

#[test]
fn the_bitrate_can_be_set_while_it_runs_or_its_absence_is_no_failure() {
    if !is_lab("the_bitrate_can_be_set_while_it_runs_or_its_absence_is_no_failure") {
        return;
    }
    let lab = Lab::load(false, true);
    let copies = Arc::new(FrameCopies::default());
    let mut encoder = lab.encoder_for(&drawn(PixelFormat::Nv12, 0), &copies).unwrap();
    for (number, bitrate_bps) in (1..).zip([300_000, 25_000_000, 1, u32::MAX]) {
        encoder.set_bitrate(bitrate_bps).unwrap();
        assert!(encoder.encode(&drawn(PixelFormat::Nv12, number), false).unwrap().is_some());
    }
}

#[test]
fn a_stream_ends_both_ways_and_another_begins() {
    if !is_lab("a_stream_ends_both_ways_and_another_begins") {
        return;
    }
    for is_multi in [false, true] {
        let lab = Lab::load(false, is_multi);
        let copies = Arc::new(FrameCopies::default());
        let mut encoder = lab.encoder_for(&drawn(PixelFormat::Nv12, 0), &copies).unwrap();
        for round in 0..3 {
            for number in 1..=3 {
                let unit = encoder.encode(&drawn(PixelFormat::Nv12, round * 10 + number), false).unwrap().unwrap();
                assert!(number > 1 || unit.is_keyframe, "a stream begins with a keyframe");
            }
            assert!(encoder.finish(None).unwrap().is_empty(), "ends with an empty buffer");
            assert!(encoder.encode(&drawn(PixelFormat::Nv12, round * 10 + 4), false).unwrap().unwrap().is_keyframe);
            let last = drawn(PixelFormat::Nv12, round * 10 + 5);
            let rest = encoder.finish(Some(&last)).unwrap();
            assert_eq!(rest.iter().map(|unit| unit.pts).collect::<Vec<_>>(), [last.captured_at()]);
        }
    }
}

#[test]
fn a_camera_that_fails_is_opened_again_beside_the_same_encoder() {
    if !is_lab("a_camera_that_fails_is_opened_again_beside_the_same_encoder") {
        return;
    }
    let lab = Lab::load(true, true);
    let copies = Arc::new(FrameCopies::default());
    let mut source = lab.source(PixelFormat::Nv12);
    let mut encoder = lab.encoder_for(&next(&mut source), &copies).unwrap();
    stream(&mut source, &mut encoder, 10);
    lab.set("inject_fatal_streaming_error", 1);
    let end = Instant::now() + SOON;
    let error = loop {
        match source.next_frame(Duration::from_millis(200)) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < end, "no error came"),
        }
    };
    println!("the camera says: {error}");
    drop(source);
    let mut source = lab.source(PixelFormat::Nv12);
    stream(&mut source, &mut encoder, 10);
    assert_eq!(copies.total(), 0);
}

#[test]
fn an_encoder_that_is_taken_away_is_an_error_and_works_when_it_is_back() {
    if !is_lab("an_encoder_that_is_taken_away_is_an_error_and_works_when_it_is_back") {
        return;
    }
    let lab = Lab::load(false, false);
    let copies = Arc::new(FrameCopies::default());
    let mut encoder = lab.encoder_for(&drawn(PixelFormat::Nv12, 0), &copies).unwrap();
    assert!(encoder.encode(&drawn(PixelFormat::Nv12, 1), false).unwrap().is_some());
    shell("echo vicodec.0 > /sys/bus/platform/drivers/vicodec/unbind");
    let error = encoder.encode(&drawn(PixelFormat::Nv12, 2), false).unwrap_err();
    println!("the encoder says: {error}");
    assert!(matches!(error, EncodeError::Device { .. }));
    assert!(encoder.encode(&drawn(PixelFormat::Nv12, 3), false).is_err(), "and stays away");
    shell("echo vicodec.0 > /sys/bus/platform/drivers/vicodec/bind && udevadm settle");
    assert!(encoder.encode(&drawn(PixelFormat::Nv12, 4), false).unwrap().unwrap().is_keyframe);
}

#[test]
fn a_hundred_starts_and_stops_leave_nothing_behind() {
    if !is_lab("a_hundred_starts_and_stops_leave_nothing_behind") {
        return;
    }
    let lab = Lab::load(true, true);
    let copies = Arc::new(FrameCopies::default());
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let mapped =
        || fs::read_to_string("/proc/self/maps").unwrap().lines().filter(|line| line.contains("video")).count();
    let cycle = || {
        let mut source = lab.source(PixelFormat::Nv12);
        let frame = next(&mut source);
        let mut encoder = lab.encoder_for(&frame, &copies).unwrap();
        encoder.encode(&frame, false).unwrap().unwrap();
        // In either order: a picture may outlive its camera and its encoder.
        drop((source, encoder, frame));
    };
    cycle();
    let before = (open(), mapped());
    (0..100).for_each(|_| cycle());
    assert_eq!((open(), mapped()), before);
    assert_eq!(copies.total(), 0);
}

#[test]
fn controls_have_ranges_menus_and_flags_and_refuse_with_words() {
    if !is_lab("controls_have_ranges_menus_and_flags_and_refuse_with_words") {
        return;
    }
    let lab = Lab::load(false, false);
    let device = Device::open(&lab.camera).unwrap();
    let controls = device.controls();
    let brightness = controls.find_named("Brightness").unwrap();
    assert_eq!((brightness.minimum, brightness.maximum, &brightness.kind), (0, 255, &ControlKind::Integer));
    controls.set(brightness.id, 200).unwrap();
    assert_eq!(controls.get(brightness.id), Ok(200));
    let error = controls.set(brightness.id, 256).unwrap_err().to_string();
    assert_eq!(error, format!("{}: control `Brightness`: 256 is out of range: 0 to 255", lab.camera.display()));
    let fixed = controls.list().into_iter().find(|control| control.is_read_only).expect("vivid has one");
    assert!(controls.set(fixed.id, fixed.default).unwrap_err().to_string().contains("read-only"));
    let menu = controls.find_named("Test Pattern").unwrap();
    let ControlKind::Menu(items) = &menu.kind else { panic!("{menu:?}") };
    assert!(items.len() > 10 && items[0].name.contains("75%"), "{items:?}");
    assert!(controls.set(ControlId(0x0098_f0ff), 0).unwrap_err().is_absent);
    controls.set(brightness.id, brightness.default).unwrap();
}

#[test]
fn an_encoder_is_no_camera_and_a_camera_no_encoder() {
    if !is_lab("an_encoder_is_no_camera_and_a_camera_no_encoder") {
        return;
    }
    let lab = Lab::load(false, false);
    assert!(Device::open(&lab.encoder).unwrap_err().to_string().contains("it does not capture video"));
    assert!(M2mDevice::open(&lab.camera).unwrap_err().to_string().contains("does not encode"));
}

#[test]
fn an_encoder_that_works_is_found_by_encoding_with_it() {
    if !is_lab("an_encoder_that_works_is_found_by_encoding_with_it") {
        return;
    }
    let lab = Lab::load(false, true);
    let found = probe_all(CodedFormat::FWHT);
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].hardware.path, &found[0].problem), (&lab.encoder, &None));
    assert!(found[0].hardware.formats.contains(&PixelFormat::Nv12), "{found:?}");
    assert!(probe_all(CodedFormat::H264).is_empty(), "nobody makes H.264 here");
}

#[test]
fn a_device_says_that_it_has_come_to_its_end() {
    if !is_lab("a_device_says_that_it_has_come_to_its_end") {
        return;
    }
    let lab = Lab::load(false, false);
    let device = M2mDevice::open(&lab.encoder).unwrap();
    device.set_coded_format(CodedFormat::FWHT.0, VGA, 1 << 19).unwrap();
    device.set_input_format(*b"NV12", VGA, VGA.0, 0).unwrap();
    let mut queues = device.allocate(InputMemory::Copied, 2, 2).unwrap();
    assert!(queues.subscribe(Event::EndOfStream), "vicodec tells of its end");
    queues.start().unwrap();
    let place = queues.free_place(None).unwrap();
    queues.enqueue_copy(place, packed_size(PixelFormat::Nv12, VGA), 7, |to| to.fill(90)).unwrap();
    queues.finish().unwrap();
    let end = Instant::now() + SOON;
    let mut times = Vec::new();
    let mut has_ended = false;
    while !has_ended {
        assert!(Instant::now() < end, "no last buffer");
        queues.wait(Duration::from_millis(100)).unwrap();
        if let Some((time, is_last)) = queues.dequeue_coded(|coded| (coded.time_us, coded.is_last)).unwrap() {
            times.push(time);
            has_ended = is_last;
        }
    }
    assert_eq!(times[0], 7);
    assert_eq!(queues.next_event(), Some(Event::EndOfStream));
    let error = queues.dequeue_coded(|_| ()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
}
