//! A device that does what a script says, to see what the encoder makes of it: hardware has these oddities, and no
//! machine that runs the tests has the hardware.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::queue::{Coded, Given, M2mQueue};
use super::settings::{BITRATE, FORCE_KEY_FRAME, GOP_SIZE, H264_I_PERIOD, H264_LEVEL};
use super::{CodedFormat, Input, M2mEncoder, Settings};
use crate::base::clock::Timestamp;
use crate::encode::{EncodeError, Encoder as _};
use crate::media::annex_b::nal_units;
use crate::media::copies::FrameCopies;
use crate::media::dma_buf::DmaBuf;
use crate::media::frame::{Frame, FrameMemory, PixelFormat, packed_size};
use crate::v4l2::{Control, ControlId, ControlKind};

const SIZE: (usize, usize) = (64, 48);
const KEYFRAME: &[u8] = &[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 3];
const BARE_IDR: &[u8] = &[0, 0, 0, 1, 0x65, 3];
const SETS: &[u8] = &[0, 0, 0, 1, 0x67, 7, 0, 0, 0, 1, 0x68, 8];
const PICTURE: &[u8] = &[0, 0, 0, 1, 0x41, 9];
/// Far longer than anything here may take.
const AGES: Duration = Duration::from_secs(20);

/// The time on a coded buffer.
#[derive(Clone, Copy)]
enum At {
    Own,
    Zero,
    Before,
}

/// One coded buffer, made when a picture was submitted.
type Answer = (At, &'static [u8]);

#[derive(Default)]
struct Device {
    /// What comes of each picture; a plain one when the script is over.
    script: VecDeque<Vec<Answer>>,
    controls: Vec<Control>,
    set: Vec<(ControlId, i64)>,
    times: Vec<u64>,
    ready: VecDeque<Coded>,
    /// Pictures that have not been taken back.
    held: usize,
    opens: Vec<bool>,
    starts: u32,
    refuses_to_start: Option<i32>,
    refuses_lent: bool,
    hangs_on_stop: bool,
    /// How often it says that nothing is there although something is.
    stalls: u32,
    last_is_empty: bool,
    is_finished: bool,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Device>>);

impl Scripted {
    fn with(script: &[&[Answer]]) -> Self {
        let device = Self::default();
        device.get().script = script.iter().map(|answers| answers.to_vec()).collect();
        device
    }

    fn get(&self) -> std::sync::MutexGuard<'_, Device> {
        self.0.lock().unwrap()
    }

    fn has(self, id: ControlId, range: (i64, i64), step: u64) -> Self {
        let control = Control {
            id,
            name: "a control".into(),
            kind: ControlKind::Integer,
            minimum: range.0,
            maximum: range.1,
            step,
            default: 0,
            is_read_only: false,
            is_inactive: false,
            is_grabbed: false,
        };
        self.get().controls.push(control);
        self
    }

    fn open(&self, format: CodedFormat, frame: &Frame) -> Result<M2mEncoder, EncodeError> {
        let device = self.clone();
        let input = Input::of(frame).unwrap();
        let settings = Settings { coded: format, input, framerate: 30, bitrate_bps: 500_000 };
        let open = move |may_lend: bool| {
            device.get().opens.push(may_lend);
            Ok(Box::new(Queue { device: device.clone(), may_lend }) as Box<dyn M2mQueue>)
        };
        let mut encoder = M2mEncoder::with("scripted", settings, Box::new(open), Arc::new(FrameCopies::default()))?;
        encoder.deadline = Duration::from_millis(60);
        encoder.closing = Duration::from_millis(60);
        Ok(encoder)
    }

    fn encoder(&self) -> M2mEncoder {
        self.open(CodedFormat::H264, &frame(0)).unwrap()
    }
}

struct Queue {
    device: Scripted,
    may_lend: bool,
}

impl M2mQueue for Queue {
    fn control(&self, id: ControlId) -> Option<Control> {
        self.device.get().controls.iter().find(|control| control.id == id).cloned()
    }

    fn set_control(&mut self, id: ControlId, value: i64) -> Result<(), String> {
        self.device.get().set.push((id, value));
        Ok(())
    }

    fn start(&mut self) -> io::Result<()> {
        let mut device = self.device.get();
        device.starts += 1;
        device.refuses_to_start.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn stop(&mut self) -> io::Result<()> {
        if self.device.get().hangs_on_stop {
            thread::sleep(AGES);
        }
        let mut device = self.device.get();
        (device.held, device.is_finished) = (0, false);
        device.ready.clear();
        Ok(())
    }

    fn submit(&mut self, frame: &Frame, time_us: u64) -> io::Result<Given> {
        let mut device = self.device.get();
        let is_lent = self.may_lend && frame.dma_buf().is_some();
        if is_lent && device.refuses_lent {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let answers = device.script.pop_front().unwrap_or_else(|| vec![(At::Own, PICTURE)]);
        for (at, data) in answers {
            let time_us = match at {
                At::Own => time_us,
                At::Zero => 0,
                At::Before => device.times.last().copied().unwrap_or(0),
            };
            device.ready.push_back(Coded { data: Bytes::from_static(data), time_us, ..Coded::default() });
        }
        device.times.push(time_us);
        device.held += 1;
        Ok(if is_lent { Given::Lent } else { Given::Copied })
    }

    fn take_back(&mut self) -> io::Result<bool> {
        let mut device = self.device.get();
        let has_one = device.held > 0;
        device.held -= usize::from(has_one);
        Ok(has_one)
    }

    fn coded(&mut self) -> io::Result<Option<Coded>> {
        let mut device = self.device.get();
        if device.stalls > 0 {
            device.stalls -= 1;
            return Ok(None);
        }
        match device.ready.pop_front() {
            None if device.is_finished => Err(io::Error::from_raw_os_error(libc::EPIPE)),
            coded => Ok(coded),
        }
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        thread::sleep(timeout.min(Duration::from_millis(1)));
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut device = self.device.get();
        device.is_finished = true;
        if device.last_is_empty {
            device.ready.push_back(Coded { is_last: true, ..Coded::default() });
        } else if let Some(last) = device.ready.back_mut() {
            last.is_last = true;
        }
        Ok(())
    }
}

fn frame(at_ms: u64) -> Arc<Frame> {
    let bytes = vec![0; packed_size(PixelFormat::Nv12, SIZE)];
    let time = Timestamp::from_nanos(at_ms * 1_000_000);
    Arc::new(Frame::packed(PixelFormat::Nv12, SIZE, time, Box::new(bytes)).unwrap())
}

/// Memory that says it is a dma-buf, and that the CPU cannot read.
struct Lendable(std::fs::File);

impl FrameMemory for Lendable {
    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn length(&self) -> usize {
        packed_size(PixelFormat::Nv12, SIZE)
    }

    fn dma_buf(&self) -> Option<DmaBuf<'_>> {
        Some(DmaBuf { fd: self.0.as_fd(), offset: 0, length: self.length() })
    }
}

/// A frame that a device could read where it is.
fn lendable(at_ms: u64) -> Arc<Frame> {
    let memory = Lendable(std::fs::File::open("/dev/null").unwrap());
    let time = Timestamp::from_nanos(at_ms * 1_000_000);
    Arc::new(Frame::packed(PixelFormat::Nv12, SIZE, time, Box::new(memory)).unwrap())
}

/// `(bytes, time in ms, keyframe)` of what came of a frame.
fn encode(encoder: &mut M2mEncoder, at_ms: u64) -> Option<(Bytes, u64, bool)> {
    let unit = encoder.encode(&frame(at_ms), false).unwrap()?;
    Some((unit.data, unit.pts.as_nanos() / 1_000_000, unit.is_keyframe))
}

#[test]
fn an_empty_buffer_is_a_skipped_frame_and_the_next_keeps_its_own_time() {
    let device = Scripted::with(&[&[(At::Own, KEYFRAME)], &[(At::Own, b"")], &[(At::Own, PICTURE)]]);
    let mut encoder = device.encoder();
    assert_eq!(encode(&mut encoder, 10), Some((Bytes::from_static(KEYFRAME), 10, true)));
    assert_eq!(encode(&mut encoder, 20), None);
    assert_eq!(encode(&mut encoder, 30), Some((Bytes::from_static(PICTURE), 30, false)));
    assert_eq!(device.get().opens.len(), 1, "a skipped frame is no failure");
}

#[test]
fn garbage_with_time_zero_before_the_first_picture_is_passed_over() {
    let device = Scripted::with(&[&[(At::Zero, &[1, 2, 3]), (At::Zero, b""), (At::Own, KEYFRAME)]]);
    assert_eq!(encode(&mut device.encoder(), 10), Some((Bytes::from_static(KEYFRAME), 10, true)));
}

#[test]
fn parameter_sets_that_come_alone_are_kept_for_keyframes_that_lack_them() {
    let device = Scripted::with(&[&[(At::Zero, SETS), (At::Own, BARE_IDR)], &[], &[(At::Own, BARE_IDR)]]);
    let (data, ..) = encode(&mut device.encoder(), 10).unwrap();
    let kinds: Vec<_> = nal_units(&data).map(|nal| nal[0] & 31).collect();
    assert_eq!(kinds, [7, 8, 5]);
}

#[test]
fn a_second_buffer_of_a_frame_is_not_taken_for_the_next_frames() {
    let device = Scripted::with(&[&[(At::Own, KEYFRAME)], &[(At::Before, &[0, 0, 0, 1, 0x41, 1]), (At::Own, PICTURE)]]);
    let mut encoder = device.encoder();
    encode(&mut encoder, 10).unwrap();
    assert_eq!(encode(&mut encoder, 20), Some((Bytes::from_static(PICTURE), 20, false)));
}

#[test]
fn frames_of_one_time_are_told_apart() {
    let device = Scripted::with(&[]);
    let mut encoder = device.encoder();
    for _ in 0..3 {
        assert_eq!(encode(&mut encoder, 10).unwrap().1, 10, "viewers see the camera's time");
    }
    assert_eq!(device.get().times, [10_000, 10_001, 10_002], "the device sees a time for each");
}

#[test]
fn a_device_that_has_nothing_yet_is_asked_again() {
    let device = Scripted::with(&[]);
    device.get().stalls = 5;
    assert!(encode(&mut device.encoder(), 10).is_some());
}

#[test]
fn a_device_that_never_answers_is_an_error_and_is_opened_anew_for_the_next_frame() {
    let device = Scripted::with(&[&[], &[(At::Own, KEYFRAME)]]);
    let mut encoder = device.encoder();
    let began = Instant::now();
    let error = encoder.encode(&frame(10), false).unwrap_err();
    assert!(began.elapsed() < AGES / 4);
    assert_eq!(error.to_string(), "scripted: no answer for 60 ms");
    assert_eq!(encode(&mut encoder, 20), Some((Bytes::from_static(KEYFRAME), 20, true)));
    assert_eq!(device.get().opens.len(), 2);
}

#[test]
fn a_device_that_refuses_to_start_is_an_error_that_names_what_was_asked_for() {
    let device = Scripted::with(&[]);
    device.get().refuses_to_start = Some(libc::EINVAL);
    let error = device.open(CodedFormat::H264, &frame(0)).err().unwrap().to_string();
    assert!(error.contains("does not start with 64×48 at 30 fps") && error.contains("Invalid argument"), "{error}");
}

#[test]
fn a_size_that_needs_a_higher_level_than_the_device_has_is_refused_before_it_starts() {
    let device = Scripted::with(&[]).has(H264_LEVEL, (0, 4), 1);
    let error = device.open(CodedFormat::H264, &frame(0)).err().unwrap().to_string();
    assert!(error.contains("needs level 2.0, which is more than it can do"), "{error}");
    assert_eq!(device.get().starts, 0);
}

#[test]
fn a_device_that_hangs_when_it_is_stopped_does_not_hang_the_program() {
    let device = Scripted::with(&[]);
    let encoder = device.encoder();
    device.get().hangs_on_stop = true;
    let began = Instant::now();
    drop(encoder);
    assert!(began.elapsed() < AGES / 4, "{:?}", began.elapsed());
}

#[test]
fn the_stream_ends_with_an_empty_buffer_or_with_the_last_coded_one() {
    for last_is_empty in [true, false] {
        let device = Scripted::with(&[]);
        device.get().last_is_empty = last_is_empty;
        let mut encoder = device.encoder();
        encode(&mut encoder, 10).unwrap();
        let rest = encoder.finish(Some(&frame(20))).unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(rest[0].pts, Timestamp::from_nanos(20_000_000));
        let nothing_more = encoder.finish(None).unwrap();
        assert!(nothing_more.is_empty(), "the device says EPIPE");
        assert!(encode(&mut encoder, 30).is_some(), "a new stream begins");
        assert_eq!(device.get().starts, 2);
    }
}

#[test]
fn a_keyframe_is_forced_by_the_control_and_where_there_is_none_by_starting_anew() {
    let device = Scripted::with(&[]).has(FORCE_KEY_FRAME, (0, 0), 0);
    let mut encoder = device.encoder();
    encoder.encode(&frame(10), true).unwrap();
    assert!(device.get().set.contains(&(FORCE_KEY_FRAME, 1)));
    assert_eq!(device.get().starts, 1);

    let without = Scripted::with(&[]);
    let mut encoder = without.encoder();
    encoder.encode(&frame(10), true).unwrap();
    encoder.encode(&frame(20), false).unwrap();
    assert_eq!(without.get().starts, 2);
}

#[test]
fn settings_are_moved_to_what_the_device_takes_and_absent_ones_left_out() {
    let device = Scripted::with(&[]).has(BITRATE, (25_000, 25_000_000), 25_000).has(H264_I_PERIOD, (0, 600), 1).has(
        H264_LEVEL,
        (0, 13),
        1,
    );
    let mut encoder = device.encoder();
    encoder.set_bitrate(333_333).unwrap();
    assert_eq!(device.get().set, [(H264_LEVEL, 5), (BITRATE, 500_000), (H264_I_PERIOD, 600), (BITRATE, 325_000)]);

    let other = Scripted::with(&[]).has(GOP_SIZE, (1, 16), 1);
    drop(other.open(CodedFormat::FWHT, &frame(0)).unwrap());
    assert_eq!(other.get().set, [(GOP_SIZE, 16)]);
}

#[test]
fn a_bitrate_that_was_set_live_holds_after_the_device_was_opened_anew() {
    let device = Scripted::with(&[&[]]).has(BITRATE, (25_000, 25_000_000), 25_000);
    let mut encoder = device.encoder();
    encoder.set_bitrate(1_000_000).unwrap();
    assert!(encoder.encode(&frame(10), false).is_err());
    assert!(encode(&mut encoder, 20).is_some());
    assert_eq!(device.get().set.last(), Some(&(BITRATE, 1_000_000)));
}

#[test]
fn lent_memory_is_held_while_the_device_reads_and_not_longer_and_nothing_is_copied() {
    let device = Scripted::with(&[]);
    let first = lendable(10);
    let mut encoder = device.open(CodedFormat::H264, &first).unwrap();
    encoder.encode(&first, false).unwrap().unwrap();
    assert_eq!(Arc::strong_count(&first), 1);
    assert_eq!(encoder.copies.total(), 0);
    assert_eq!(device.get().opens, [true]);
}

#[test]
fn memory_that_the_device_cannot_read_is_copied_from_then_on_and_counted() {
    let device = Scripted::with(&[]);
    device.get().refuses_lent = true;
    let mut encoder = device.open(CodedFormat::H264, &lendable(0)).unwrap();
    for at_ms in [10, 20] {
        assert!(encoder.encode(&lendable(at_ms), false).unwrap().is_some());
    }
    assert_eq!(device.get().opens, [true, false]);
    assert_eq!(encoder.copies.encode.get(), 2);
}

#[test]
fn frames_of_another_kind_need_another_encoder() {
    let device = Scripted::with(&[]);
    let mut lent = device.open(CodedFormat::H264, &lendable(0)).unwrap();
    assert!(lent.takes(&lendable(10)) && !lent.takes(&frame(10)));
    let error = lent.encode(&frame(10), false).unwrap_err().to_string();
    assert_eq!(error, "scripted cannot take 64×48 NV12 frames");
    assert!(device.encoder().takes(&frame(10)));
}
