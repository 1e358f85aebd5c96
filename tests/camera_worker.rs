//! A camera in a worker: the real binary as the child, killed, aborted, hung and started a hundred times.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::{PATIENCE, next_frame};
use perch::capture::test_pattern::barcode;
use perch::capture::tuning::{Change, ControlError, Value};
use perch::capture::worker::{Backend, WorkerCommand, WorkerSource, list};
use perch::capture::{CameraSource as _, CaptureError, Config, Resolution};
use perch::media::frame::PixelFormat;
use rustix::process::{Pid, Signal, kill_process};

/// As a capture thread asks.
const TICK: Duration = Duration::from_millis(200);

/// Tests that count what the process has open run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `PERCH_BIN` where this runs elsewhere than it was built.
fn program() -> PathBuf {
    std::env::var_os("PERCH_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_perch").into()).into()
}

fn command() -> WorkerCommand {
    WorkerCommand { program: program(), backend: Backend::Test }
}

fn config() -> Config {
    Config {
        resolution: Resolution { width: 320, height: 240 },
        framerate: 60,
        stall_timeout_ms: 1000,
        ..Config::default()
    }
}

fn open() -> WorkerSource {
    WorkerSource::open(&command(), &config()).unwrap_or_else(|error| panic!("{error}"))
}

/// Asks for pictures until there is an error; returns it and how long it took.
fn next_error(source: &mut WorkerSource) -> (CaptureError, Duration) {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Err(error) = source.next_frame(TICK) {
            return (error, started.elapsed());
        }
    }
    panic!("no error within {PATIENCE:?}");
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

fn exists(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap()
}

fn gone(pid: u32) -> bool {
    let until = Instant::now() + PATIENCE;
    while exists(pid) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5)); // a process that is not ours to wait for any more
    }
    !exists(pid)
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn pictures_come_whole_in_order_and_on_time() {
    let _alone = alone();
    let mut source = open();
    assert_eq!(source.describe(), "test pattern 320×240 at 60 fps");
    let mut last = None;
    for _ in 0..30 {
        let frame = next_frame(&mut source);
        assert_eq!((frame.format(), frame.width(), frame.height()), (PixelFormat::I420, 320, 240));
        let drawn = barcode::decode_barcode(frame.plane(0), 320, 320, 240).expect("a timestamp strip");
        #[expect(clippy::cast_possible_truncation, reason = "the strip holds time modulo 2^32")]
        let age_ms = (barcode::unix_ms() as u32).wrapping_sub(drawn);
        assert!(age_ms < 1000, "{age_ms} ms");
        assert!(last.is_none_or(|last| last < frame.captured_at()));
        last = Some(frame.captured_at());
    }
}

#[test]
fn a_worker_that_dies_is_an_error_at_once_and_the_next_one_delivers() {
    let _alone = alone();
    for (ended_by, words) in [(Signal::KILL, "killed by signal 9"), (Signal::ABORT, "it aborted")] {
        let mut source = open();
        let kept = next_frame(&mut source);
        let pid = source.worker_id();
        signal(pid, ended_by);
        let (error, took) = next_error(&mut source);
        assert!(matches!(&error, CaptureError::Lost(text) if text.contains(words)), "{error}");
        assert!(took < Duration::from_millis(900), "{took:?}");
        drop(source);
        assert!(gone(pid));
        // What was lent stays readable, and giving it back to nobody does nothing.
        assert!(barcode::decode_barcode(kept.plane(0), 320, 320, 240).is_some());
        drop(kept);
        next_frame(&mut open());
    }
}

#[test]
fn a_worker_that_hangs_is_an_error_within_the_stall_timeout_and_the_next_one_delivers() {
    let _alone = alone();
    let mut source = open();
    next_frame(&mut source);
    let pid = source.worker_id();
    signal(pid, Signal::STOP);
    let (error, took) = next_error(&mut source);
    assert!(matches!(error, CaptureError::Stalled(_)), "{error}");
    assert!(took < Duration::from_millis(1500), "{took:?}");
    let started = Instant::now();
    drop(source);
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    assert!(gone(pid));
    next_frame(&mut open());
}

#[test]
fn a_worker_ends_when_its_source_is_dropped() {
    let _alone = alone();
    let source = open();
    let pid = source.worker_id();
    drop(source);
    assert!(!exists(pid), "it was not waited for");
}

/// Not a test: the process that `a_worker_dies_with_the_process_that_started_it` starts and kills.
#[test]
#[ignore = "run by a_worker_dies_with_the_process_that_started_it"]
fn holds_a_worker_for_a_minute() {
    let mut source = open();
    let _frame = next_frame(&mut source);
    println!("worker {}", source.worker_id());
    std::thread::sleep(Duration::from_secs(60)); // it is killed long before
}

#[test]
fn a_worker_dies_with_the_process_that_started_it() {
    let _alone = alone();
    for stopped in [false, true] {
        let mut holder = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "holds_a_worker_for_a_minute", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let pid = lines.map_while(Result::ok).find_map(|line| line.split("worker ").nth(1)?.parse::<u32>().ok());
        let pid = pid.expect("it says its worker's number");
        if stopped {
            signal(pid, Signal::STOP);
        }
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert!(gone(pid), "worker {pid} lives on");
    }
}

#[test]
fn a_worker_whose_input_is_no_socket_ends_with_words() {
    let output =
        Command::new(program()).args(["camera-worker", "--backend", "test"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("socket"));
}

#[test]
fn buffers_that_are_all_lent_are_no_stall() {
    let _alone = alone();
    let mut source = open();
    let mut held = Vec::new();
    let until = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < until {
        held.extend(source.next_frame(TICK).unwrap());
    }
    assert_eq!((held.len(), source.lent()), (4, 4));
    held.clear();
    assert_eq!(source.lent(), 0);
    next_frame(&mut source);
}

#[test]
fn after_a_pause_the_picture_is_a_new_one() {
    let _alone = alone();
    let mut source = open();
    next_frame(&mut source);
    std::thread::sleep(Duration::from_millis(1500)); // nobody watches for longer than the stall timeout
    let asked = perch::base::clock::Timestamp::now();
    let frame = next_frame(&mut source);
    assert!(frame.captured_at().saturating_since(asked) < PATIENCE);
    assert!(asked.saturating_since(frame.captured_at()) < Duration::from_millis(20), "an old picture");
}

#[test]
fn nothing_is_left_after_a_hundred_starts() {
    let _alone = alone();
    let cycle = || {
        let mut source = open();
        let frame = next_frame(&mut source);
        assert_eq!(source.lent(), 1);
        drop(frame);
        assert_eq!(source.lent(), 0);
        source.worker_id()
    };
    cycle();
    let before = open_descriptors();
    let pids: Vec<_> = (0..100).map(|_| cycle()).collect();
    assert_eq!(open_descriptors(), before);
    assert!(pids.into_iter().all(|pid| !exists(pid)));
}

#[test]
fn cameras_are_named_without_opening_one() {
    let _alone = alone();
    let cameras = list(&command()).unwrap();
    assert_eq!(cameras.len(), 1);
    assert_eq!(cameras[0].id, "test");
}

#[test]
fn what_is_no_worker_is_an_error_and_not_waited_for_long() {
    let _alone = alone();
    for (program, words) in [("/no/such/perch", "could not be started"), ("true", "the camera worker ended")] {
        let command = WorkerCommand { program: program.into(), ..command() };
        let error = WorkerSource::open(&command, &config()).err().expect("an error").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn settings_that_the_worker_refuses_are_an_error_in_its_words() {
    let _alone = alone();
    let wrong = Config { framerate: 0, ..config() };
    let error = WorkerSource::open(&command(), &wrong).err().expect("an error");
    assert!(matches!(&error, CaptureError::Unusable(words) if words.contains("framerate")), "{error}");
}

#[test]
fn controls_change_between_pictures_and_no_buffer_is_lost_over_it() {
    let _alone = alone();
    let mut source = open();
    let brightness = |source: &mut WorkerSource| {
        let controls = source.controls().unwrap_or_else(|error| panic!("{error}"));
        controls.into_iter().find(|control| control.key == "brightness").unwrap().value
    };
    let mut last = None;
    for number in 0..50 {
        let value = Some(Value::Number(f64::from(number) / 50.0));
        source.change_controls(&[Change { key: "brightness".into(), value: value.clone() }]).unwrap();
        assert_eq!(brightness(&mut source), value);
        let frame = next_frame(&mut source);
        assert!(last.is_none_or(|last| last < frame.captured_at()));
        last = Some(frame.captured_at());
    }
    // At most the one that came while an answer was awaited is still held.
    assert!(source.lent() <= 1, "{} buffers are lent", source.lent());
    let unknown = Change { key: "hue".into(), value: None };
    let refusal = source.change_controls(&[Change { key: "brightness".into(), value: None }, unknown]).unwrap_err();
    assert!(matches!(&refusal, ControlError::Refused(words) if words.contains("`hue`")), "{refusal}");
    assert_eq!(brightness(&mut source), Some(Value::Number(0.98)), "all or none");
}

#[test]
fn a_worker_that_hangs_is_asked_for_its_controls_no_longer_than_for_a_picture() {
    let _alone = alone();
    let mut source = open();
    next_frame(&mut source);
    signal(source.worker_id(), Signal::STOP);
    let started = Instant::now();
    let error = source.controls().unwrap_err();
    assert!(matches!(error, CaptureError::Stalled(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
