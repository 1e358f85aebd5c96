//! Files and pipes as sources: what plays, at which times, and what is said of what does not.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use perch::capture::file::open;
use perch::capture::{CameraSource, CaptureError, Config};
use perch::media::annex_b::{self, Sps, browser_playable};
use perch::media::frame::{Frame, FramePool, PixelFormat};
use perch::process::convert::Converter;
use perch::process::h264_decode::H264Decoder;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn once() -> Config {
    Config { repeat: false, framerate: 120, ..Config::default() }
}

/// A directory that is gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("perch-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn play(source: &mut dyn CameraSource) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        match source.next_frame(Duration::from_secs(5)) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => panic!("nothing came for 5 s"),
            Err(CaptureError::Ended) => return frames,
            Err(error) => panic!("{error}"),
        }
    }
}

fn play_file(name: &str) -> Vec<Frame> {
    play(&mut *open(&data(name), &once()).unwrap())
}

fn refusal(path: &Path) -> String {
    match open(path, &once()) {
        Ok(source) => panic!("opened as {}", source.describe()),
        Err(CaptureError::Unusable(words)) => words,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn mp4_plays_one_unit_per_frame_at_its_own_times() {
    for name in ["main.mp4", "fragmented.mp4"] {
        let frames = play_file(name);
        assert_eq!(frames.len(), 20, "{name}");
        for pair in frames.windows(2) {
            let gap = pair[1].captured_at().saturating_since(pair[0].captured_at());
            assert!(gap.abs_diff(Duration::from_millis(100)) < Duration::from_millis(1), "{name}: {gap:?}");
        }
        for (at, frame) in frames.iter().enumerate() {
            assert_eq!((frame.format(), frame.width(), frame.height()), (PixelFormat::H264, 160, 120));
            assert_eq!(annex_b::is_keyframe(frame.plane(0)), at % 10 == 0, "{name}: picture {at}");
        }
    }
}

#[test]
fn every_keyframe_carries_its_parameter_sets_and_tells_who_can_play_it() {
    for (name, playable) in
        [("main.mp4", true), ("bframes.mp4", false), ("baseline.h264", true), ("bframes.h264", false)]
    {
        let frames = play_file(name);
        assert_eq!(frames.len(), 20, "{name}");
        for frame in frames.iter().filter(|frame| annex_b::is_keyframe(frame.plane(0))) {
            let sps = annex_b::nal_units(frame.plane(0)).find_map(Sps::parse).expect("an SPS");
            assert_eq!(browser_playable(&sps), playable, "{name}");
        }
    }
}

#[test]
fn what_browsers_cannot_play_is_decoded() {
    let mut decoder = H264Decoder::new(FramePool::new(2)).unwrap();
    let pictures: Vec<_> = play_file("bframes.mp4").iter().filter_map(|unit| decoder.decode(unit).unwrap()).collect();
    assert!(pictures.len() >= 15);
    // The test picture has dark and bright parts.
    let luma = pictures[0].plane(0);
    assert!(luma.iter().any(|&sample| sample < 50) && luma.iter().any(|&sample| sample > 180));
}

#[test]
fn jpeg_streams_and_files_play_and_convert() {
    let mut converter = Converter::new(FramePool::new(2));
    let mut check = |frames: Vec<Frame>, count, size| {
        assert_eq!(frames.len(), count);
        for frame in frames {
            let at = frame.captured_at();
            let picture = converter.to_i420(frame).unwrap();
            assert_eq!((picture.format(), (picture.width(), picture.height())), (PixelFormat::I420, size));
            assert_eq!(picture.captured_at(), at);
        }
    };
    check(play_file("stream.mjpeg"), 10, (160, 120));
    check(play_file("still01.jpg"), 1, (64, 48));
    check(play_file("still%02d.jpg"), 3, (64, 48));
    check(play_file("still*.jpg"), 3, (64, 48));
    check(play_file(""), 3, (64, 48));
}

#[test]
fn a_file_that_repeats_has_times_that_grow() {
    let config = Config { repeat: true, ..once() };
    let mut source = open(&data("small.y4m"), &config).unwrap();
    let times: Vec<_> =
        (0..7).map(|_| source.next_frame(Duration::from_secs(1)).unwrap().unwrap().captured_at()).collect();
    assert!(times.windows(2).all(|pair| pair[1].saturating_since(pair[0]) == Duration::from_millis(200)));
}

#[test]
fn contents_count_for_more_than_the_name() {
    let scratch = Scratch::new("renamed");
    let renamed = scratch.0.join("video.mp4");
    fs::copy(data("small.y4m"), &renamed).unwrap();
    assert_eq!(play(&mut *open(&renamed, &once()).unwrap()).len(), 5);
}

#[test]
fn what_does_not_play_is_refused_with_the_way_round() {
    let hevc = refusal(&data("hevc.mp4"));
    assert!(
        hevc.contains("ffmpeg -re -i") && hevc.contains("-f yuv4mpegpipe -pix_fmt yuv420p - | perch --source file:-")
    );
    assert!(refusal(&data("none.mp4")).contains("No such file"));
    assert!(refusal(&data("none%02d.jpg")).contains("no .jpg files"));
    assert!(refusal(&data("README.md")).contains("ffmpeg"));
    let scratch = Scratch::new("refused");
    assert!(refusal(&scratch.0).contains("no .jpg files"));
    let empty = scratch.0.join("empty.y4m");
    File::create(&empty).unwrap();
    assert!(refusal(&empty).contains("is empty"));
}

#[test]
fn files_cut_short_or_damaged_never_panic() {
    let scratch = Scratch::new("cut");
    for name in ["main.mp4", "fragmented.mp4", "baseline.h264", "stream.mjpeg", "small.y4m"] {
        let whole = fs::read(data(name)).unwrap();
        let path = scratch.0.join(name);
        for step in 0..40 {
            let mut bytes = whole[..whole.len() * step / 40].to_vec();
            // And every other one with a byte changed near its beginning.
            if let Some(byte) = bytes.get_mut(step * 37 % 900).filter(|_| step % 2 == 1) {
                *byte ^= 0xff;
            }
            fs::write(&path, &bytes).unwrap();
            let Ok(mut source) = open(&path, &once()) else { continue };
            for _ in 0..30 {
                if source.next_frame(Duration::ZERO).is_err() {
                    break;
                }
            }
        }
    }
}

#[test]
fn an_mp4_whose_recording_broke_off_says_so() {
    let scratch = Scratch::new("no-moov");
    let path = scratch.0.join("cut.mp4");
    let whole = fs::read(data("bframes.mp4")).unwrap();
    fs::write(&path, &whole[..1000]).unwrap();
    assert!(refusal(&path).contains("moov"));
}

#[test]
fn a_fifo_never_blocks_and_plays_as_it_is_written() {
    let scratch = Scratch::new("fifo");
    let path = scratch.0.join("pipe.y4m");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let begun = Instant::now();
    let mut source = open(&path, &once()).unwrap();
    assert!(source.next_frame(Duration::from_millis(50)).unwrap().is_none());
    assert!(begun.elapsed() < Duration::from_secs(1));

    let stream = fs::read(data("small.y4m")).unwrap();
    let header = stream.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let frame_length = (stream.len() - header) / 5;
    let writer = thread::spawn(move || {
        let mut pipe = File::options().write(true).open(path).unwrap();
        pipe.write_all(&stream[..header + frame_length]).unwrap();
        thread::sleep(Duration::from_millis(150));
        pipe.write_all(&stream[header + frame_length..header + 2 * frame_length]).unwrap();
        // Long enough for the first two to be taken.
        thread::sleep(Duration::from_millis(150));
    });
    let frames = play(&mut *source);
    writer.join().unwrap();
    assert_eq!(frames.len(), 2);
    let gap = frames[1].captured_at().saturating_since(frames[0].captured_at());
    assert!(gap >= Duration::from_millis(100), "{gap:?}");
}

#[test]
fn raw_pictures_that_nobody_takes_do_not_hold_up_the_writer() {
    let scratch = Scratch::new("newest");
    let path = scratch.0.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut source = open(&path, &once()).unwrap();
    let stream = fs::read(data("small.y4m")).unwrap();
    // More than a pipe holds.
    let frames = stream[stream.iter().position(|&byte| byte == b'\n').unwrap() + 1..].to_vec();
    let (done, written) = mpsc::channel();
    thread::spawn(move || {
        let mut pipe = File::options().write(true).open(path).unwrap();
        pipe.write_all(&stream).unwrap();
        for _ in 0..20 {
            pipe.write_all(&frames).unwrap();
        }
        done.send(()).unwrap();
    });
    written.recv_timeout(Duration::from_secs(10)).expect("the writer is held up");
    // Of 105 (4.6 kB each): the two that wait, one in the reading thread's hands, and what the pipe and that thread's
    // buffer (64 KiB each) held when the writer was done.
    let played = play(&mut *source).len();
    assert!(played <= 2 + 1 + 15 + 15, "{played} of 105 were kept");
}
