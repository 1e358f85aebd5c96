//! libcamera's `virtual` cameras through a worker: for a machine that has them and dma-bufs, which is the lab's guest
//! (`scripts/vm-test --libcamera`).

mod common;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{PATIENCE, next_frame};
use perch::base::clock::Timestamp;
use perch::capture::controls::{Controls, SensorMode};
use perch::capture::tuning::{Change, ControlError, Value};
use perch::capture::worker::{Backend, WorkerCommand, WorkerSource, list};
use perch::capture::{CameraSource as _, CaptureError, Config, Resolution, SourceSpec};
use perch::encode::Encoder as _;
use perch::encode::v4l2_m2m::{CodedFormat, Input, M2mEncoder, Settings};
use perch::media::copies::FrameCopies;
use perch::media::frame::PixelFormat;
use perch::v4l2::encoders;
use rustix::process::{Pid, Signal, kill_process};

const TICK: Duration = Duration::from_millis(200);
const NEEDS: &str = "libcamera's virtual cameras are not there";

fn command() -> WorkerCommand {
    let program = std::env::var_os("PERCH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_perch").into());
    WorkerCommand { program: program.into(), backend: Backend::Libcamera }
}

fn config() -> Config {
    Config {
        source: SourceSpec::Libcamera(None),
        resolution: Resolution { width: 640, height: 480 },
        framerate: 30,
        ..Config::default()
    }
}

fn open() -> WorkerSource {
    WorkerSource::open(&command(), &config()).unwrap_or_else(|error| panic!("{NEEDS}: {error}"))
}

fn refusal(config: &Config) -> String {
    match WorkerSource::open(&command(), config) {
        Ok(source) => panic!("opened as {}", source.describe()),
        Err(CaptureError::Unusable(words)) => words,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn the_worker_names_the_cameras() {
    let cameras = list(&command()).unwrap();
    assert!(cameras.iter().any(|camera| camera.model.contains("irtual")), "{cameras:?}");
    assert!(cameras.iter().any(|camera| camera.formats.iter().any(|line| line.contains("NV12"))), "{cameras:?}");
}

#[test]
fn pictures_come_in_dma_bufs_on_the_kernels_clock_and_no_faster_than_asked() {
    let mut source = open();
    // The first few come at once: the camera fills what it has.
    for _ in 0..5 {
        next_frame(&mut source);
    }
    let (started, mut last) = (Instant::now(), Timestamp::default());
    let mut frames = 0;
    while started.elapsed() < Duration::from_secs(3) {
        let frame = next_frame(&mut source);
        assert_eq!((frame.format(), frame.width(), frame.height()), (PixelFormat::Nv12, 640, 480));
        let (luma, chroma) = (frame.dma_buf_of_plane(0).unwrap(), frame.dma_buf_of_plane(1).unwrap());
        assert_eq!((luma.length, chroma.offset, chroma.length), (640 * 480, 640 * 480, 640 * 240));
        assert!(frame.captured_at() > last);
        last = frame.captured_at();
        let age = Timestamp::now().saturating_since(frame.captured_at());
        assert!(age < Duration::from_secs(1), "{age:?}");
        frames += 1;
    }
    let fps = f64::from(frames) / started.elapsed().as_secs_f64();
    println!("{fps:.1} fps");
    assert!(fps < 33.0, "{fps:.1} fps"); // how slow it may be is the machine's affair
}

#[test]
fn the_cpu_reads_what_the_camera_drew() {
    let mut source = open();
    let frame = next_frame(&mut source);
    let row = &frame.plane(0)[..640];
    assert!(row.iter().max().unwrap() - row.iter().min().unwrap() > 50, "no bars in {row:?}");
}

#[test]
fn a_worker_that_dies_or_hangs_is_an_error_and_the_next_one_delivers() {
    for signal in [Signal::KILL, Signal::ABORT, Signal::STOP] {
        let mut source = open();
        let kept = next_frame(&mut source);
        let pid = i32::try_from(source.worker_id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        let started = Instant::now();
        let error = loop {
            match source.next_frame(TICK) {
                Err(error) => break error,
                Ok(_) => assert!(started.elapsed() < PATIENCE, "no error after {signal:?}"),
            }
        };
        println!("{signal:?}: {error} after {:?}", started.elapsed());
        drop(source);
        assert_eq!(kept.plane(0).len(), 640 * 480);
        drop(kept);
        next_frame(&mut open());
    }
}

#[test]
fn what_the_camera_cannot_do_is_refused_by_key() {
    let gain = Controls { gain: Some(1000.0), ..Controls::default() };
    let words = refusal(&Config { controls: gain, ..config() });
    assert!(words.contains("`camera.controls.gain`"), "{words}");
    let words = refusal(&Config { source: SourceSpec::Libcamera(Some("none such".into())), ..config() });
    assert!(words.contains("none such"), "{words}");
    // The virtual pipeline looks neither at mirrors nor at sensor modes; they must not end the worker.
    let mode = SensorMode { width: 640, height: 480, bit_depth: 10 };
    next_frame(
        &mut WorkerSource::open(&command(), &Config { sensor_mode: Some(mode), hflip: true, ..config() }).unwrap(),
    );
}

#[test]
fn nothing_is_left_after_many_starts() {
    let cycle = || {
        let mut source = open();
        let frame = next_frame(&mut source);
        assert_eq!(source.lent(), 1);
        drop(frame);
        assert_eq!(source.lent(), 0);
    };
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    cycle();
    let before = descriptors();
    for _ in 0..20 {
        cycle();
    }
    assert_eq!(descriptors(), before);
}

/// Runs a command line, which must succeed.
fn shell(command: &str) {
    assert!(Command::new("sh").args(["-c", command]).status().unwrap().success(), "{command}");
}

#[test]
fn its_pictures_reach_an_encoder_in_hardware_and_none_is_copied() {
    shell("modprobe vicodec multiplanar=1 && udevadm settle");
    let copies = Arc::new(FrameCopies::default());
    {
        let mut source = open();
        let input = Input::of(&next_frame(&mut source)).unwrap();
        let settings = Settings { coded: CodedFormat::FWHT, input, framerate: 30, bitrate_bps: 1_000_000 };
        let node = &encoders(CodedFormat::FWHT.0)[0].path;
        let opened = M2mEncoder::open(node, "vicodec", settings, Arc::clone(&copies)).unwrap();
        let mut encoder = opened.with_deadline(PATIENCE);
        for _ in 0..100 {
            let frame = next_frame(&mut source);
            assert_eq!(frame.copies(), 0);
            let captured_at = frame.captured_at();
            let unit = encoder.encode(&Arc::new(frame), false).unwrap().expect("a coded picture");
            assert_eq!(unit.pts, captured_at);
        }
    }
    assert_eq!(copies.total(), 0, "{copies:?}");
    shell("modprobe -r vicodec");
}

#[test]
fn controls_are_told_and_refused_while_pictures_come() {
    let mut source = open();
    next_frame(&mut source);
    // A virtual camera has none that perch knows; that it answers, and goes on, is what counts.
    assert_eq!(source.controls().unwrap(), []);
    let change = Change { key: "brightness".into(), value: Some(Value::Number(0.5)) };
    let Err(ControlError::Refused(words)) = source.change_controls(&[change]) else { panic!("not refused") };
    assert!(words.contains("`camera.controls.brightness`") && words.contains("no such control"), "{words}");
    let change = Change { key: "hue".into(), value: Some(Value::Integer(1)) };
    assert!(matches!(source.change_controls(&[change]), Err(ControlError::Refused(words)) if words.contains("`hue`")));
    next_frame(&mut source);
}
