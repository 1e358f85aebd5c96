//! USB webcams and everything else with a V4L2 capture node.
//!
//! Chooses the format that comes closest to the owner's wish, and tells a camera that is silent from one that is
//! gone. The ioctls are `crate::v4l2`'s.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use log::{debug, info};

use super::tuning::{Change, Control, ControlError};
use super::{CameraSource, CaptureError, Config};
use crate::base::clock::Timestamp;
use crate::media::annex_b::ParameterSets;
use crate::media::frame::{Frame, FrameMemory, PixelFormat, hardware_stride, strided_planes};
use crate::v4l2::{CaptureQueue, Dequeued, Device, Event, FormatInfo, Lease, NegotiatedFormat, Rate};

mod controls;

/// One being filled, one waiting, one being encoded, and one to spare.
const BUFFERS: u32 = 4;
/// Where an encoder reads them in place: also the last picture, which is kept for who joins, and one more to be filled.
const LENT_BUFFERS: u32 = 6;
/// Whoever did not ask for so long was not watching.
const PAUSE: Duration = Duration::from_millis(500);
/// Nothing waits in a queue for so long.
const OLDEST: Duration = Duration::from_secs(10);
/// Stands for the rate where a driver names none.
const UNKNOWN_FPS: f64 = 30.0;

/// The name of the device at `path`, if it captures video.
#[must_use]
pub fn card(path: &Path) -> Option<String> {
    Device::open(path).ok().map(|device| device.card().to_owned())
}

/// What perch reads.
pub const FORMATS: [PixelFormat; 5] =
    [PixelFormat::Nv12, PixelFormat::I420, PixelFormat::Yuyv, PixelFormat::Mjpeg, PixelFormat::H264];

/// A running camera.
pub struct V4l2Source {
    queue: CaptureQueue,
    format: PixelFormat,
    negotiated: NegotiatedFormat,
    rate: Option<Rate>,
    /// Whether the driver says when what it reads changes: one for HDMI does, a webcam has nothing that changes.
    tells_of_changes: bool,
    stall_timeout: Duration,
    heard_at: Instant,
    returned_at: Instant,
    last: Timestamp,
    sets: ParameterSets,
}

impl V4l2Source {
    /// Opens the camera at `path` with the format that is closest to the wish in `config`, and starts it.
    ///
    /// # Errors
    /// When there is no usable camera, or another program uses it. The message says what to do.
    pub fn open(path: &Path, config: &Config) -> Result<Self, CaptureError> {
        Self::open_among(path, config, &FORMATS)
    }

    /// As [`open`](Self::open), in one of `formats`.
    ///
    /// # Errors
    /// As for [`open`](Self::open), and when the camera offers none of them.
    pub fn open_among(path: &Path, config: &Config, formats: &[PixelFormat]) -> Result<Self, CaptureError> {
        let unusable = |error: &dyn std::fmt::Display| CaptureError::Unusable(error.to_string());
        let device = Device::open(path).map_err(|error| unusable(&error))?;
        let offers = device.formats();
        let Some(choice) = choose(&offers, config, formats) else {
            let names: Vec<_> = offers.iter().map(|offer| offer.fourcc.escape_ascii().to_string()).collect();
            return Err(CaptureError::Unusable(format!(
                "{}: it offers no format that perch reads (NV12, YU12, YUYV, MJPG, H264), only: {}",
                path.display(),
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )));
        };
        let wished = pixel_format(choice.fourcc).filter(|format| config.encoder_reads.contains(format));
        let stride = wished.map_or(0, |format| hardware_stride(format, choice.width));
        let negotiated = device
            .set_format(choice.fourcc, (choice.width, choice.height), stride)
            .map_err(|error| unusable(&error))?;
        let Some(format) = pixel_format(negotiated.fourcc) else {
            return Err(CaptureError::Unusable(format!(
                "{}: asked for {}, the driver insists on {}",
                path.display(),
                choice.fourcc.escape_ascii(),
                negotiated.fourcc.escape_ascii()
            )));
        };
        let rate = device.set_rate(choice.rate.unwrap_or(Rate { pictures: config.framerate, seconds: 1 }));
        let tells_of_changes = device.subscribe(Event::SourceChange);
        let is_lent = config.encoder_reads.contains(&format);
        let buffers = if is_lent { LENT_BUFFERS } else { BUFFERS };
        let queue = CaptureQueue::start(device, buffers, is_lent).map_err(|error| unusable(&error))?;
        let source = Self {
            queue,
            format,
            negotiated,
            rate,
            tells_of_changes,
            stall_timeout: config.stall_timeout(),
            heard_at: Instant::now(),
            returned_at: Instant::now(),
            last: Timestamp::default(),
            sets: ParameterSets::default(),
        };
        info!("{}", source.describe());
        Ok(source)
    }

    /// The device's name.
    #[must_use]
    pub fn card(&self) -> &str {
        self.queue.device().card()
    }

    /// How many of the camera's buffers are lent out as frames.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.queue.lent()
    }

    /// The newest picture that is there: older ones go back at once. H.264 units depend on each other, so of those
    /// the oldest.
    fn newest(&self, timeout: Duration) -> Result<Dequeued, CaptureError> {
        let dequeue = |timeout| self.queue.dequeue(timeout).map_err(|error| CaptureError::Lost(error.to_string()));
        let mut newest = dequeue(timeout)?;
        while self.format != PixelFormat::H264 && matches!(newest, Dequeued::Filled(_)) {
            match dequeue(Duration::ZERO)? {
                Dequeued::TimedOut => break,
                Dequeued::Damaged => {}
                Dequeued::Filled(newer) => newest = Dequeued::Filled(newer),
            }
        }
        Ok(newest)
    }

    /// After a pause, what is queued is as old as the pause: it goes back.
    fn drop_old(&self) -> Result<(), CaptureError> {
        for _ in 0..=LENT_BUFFERS {
            match self.queue.dequeue(Duration::ZERO).map_err(|error| CaptureError::Lost(error.to_string()))? {
                Dequeued::TimedOut => break,
                Dequeued::Damaged | Dequeued::Filled(_) => {}
            }
        }
        Ok(())
    }

    /// What was negotiated does not hold any more once the driver has said so.
    fn check_source(&self) -> Result<(), CaptureError> {
        let device = self.queue.device();
        while self.tells_of_changes
            && let Some(event) = device.next_event()
        {
            if event == Event::SourceChange {
                return Err(CaptureError::Lost(format!("{}: its signal has changed", device.path().display())));
            }
        }
        Ok(())
    }

    fn wait(&mut self, deadline: Instant) -> Result<Option<Frame>, CaptureError> {
        loop {
            if let Dequeued::Filled(lease) = self.newest(deadline.saturating_duration_since(Instant::now()))? {
                self.heard_at = Instant::now();
                if let Some(frame) = self.frame(lease) {
                    return Ok(Some(frame));
                }
            }
            // Pictures that are all damaged are as good as none.
            if self.heard_at.elapsed() >= self.stall_timeout {
                return Err(CaptureError::Stalled(self.stall_timeout));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    fn frame(&mut self, lease: Lease) -> Option<Frame> {
        let captured_at =
            believable(lease.captured_at(), Timestamp::now()).max(self.last.plus(Duration::from_nanos(1)));
        self.last = captured_at;
        let size = (self.negotiated.width, self.negotiated.height);
        let frame = if self.format == PixelFormat::H264 {
            // Units wait for each other and viewers keep them, for longer than a camera can do without its buffers.
            let unit = Bytes::from(self.sets.complete(lease.bytes().to_vec()));
            Frame::packed(self.format, size, captured_at, Box::new(unit)).map(Frame::copied)
        } else if self.format.is_compressed() {
            Frame::packed(self.format, size, captured_at, Box::new(lease))
        } else {
            let (planes, count) = strided_planes(self.format, size, self.negotiated.stride);
            Frame::new(self.format, size, captured_at, &planes[..count], Box::new(lease))
        };
        // UVC cameras cut pictures short when the bus is busy.
        frame.inspect_err(|error| debug!("skipped a picture: {error}")).ok()
    }
}

impl CameraSource for V4l2Source {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let now = Instant::now();
        if now.saturating_duration_since(self.returned_at) > PAUSE {
            self.drop_old()?;
            self.heard_at = now;
        }
        self.check_source()?;
        let result = self.wait(now + timeout);
        self.returned_at = Instant::now();
        result
    }

    fn describe(&self) -> String {
        let device = self.queue.device();
        let NegotiatedFormat { width, height, .. } = self.negotiated;
        let rate = self.rate.map_or_else(|| "its own rate".to_owned(), |rate| format!("{:.4} fps", rate.fps()));
        let lent = if self.queue.has_dma_bufs() { ", read in place by the encoder" } else { "" };
        format!("{} ({}): {} {width}×{height} at {rate}{lent}", device.path().display(), device.card(), self.format)
    }

    fn controls(&mut self) -> Result<Vec<Control>, CaptureError> {
        Ok(controls::list(self.queue.device()))
    }

    fn change_controls(&mut self, changes: &[Change]) -> Result<(), ControlError> {
        controls::change(self.queue.device(), changes)
    }
}

/// The driver's time for a picture, or now if that cannot be: its clock may wrap or be another one.
fn believable(captured_at: Timestamp, now: Timestamp) -> Timestamp {
    if captured_at > now || now.saturating_since(captured_at) > OLDEST { now } else { captured_at }
}

/// What a V4L2 code stands for, if perch reads it.
fn pixel_format(fourcc: [u8; 4]) -> Option<PixelFormat> {
    Some(match &fourcc {
        b"YU12" => PixelFormat::I420,
        b"NV12" => PixelFormat::Nv12,
        b"YUYV" => PixelFormat::Yuyv,
        b"MJPG" | b"JPEG" => PixelFormat::Mjpeg,
        b"H264" => PixelFormat::H264,
        _ => return None,
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Choice {
    fourcc: [u8; 4],
    width: usize,
    height: usize,
    rate: Option<Rate>,
}

/// The offer in one of `formats` that is closest to the wish: in size first, then in rate, then by how little work its
/// format makes.
fn choose(offers: &[FormatInfo], config: &Config, formats: &[PixelFormat]) -> Option<Choice> {
    let mut best: Option<((usize, u64, u8), Choice)> = None;
    for offer in offers {
        let Some(format) = pixel_format(offer.fourcc).filter(|format| formats.contains(format)) else { continue };
        // Where a driver names no sizes, the wish is as good as any.
        let wished = (config.resolution.width, config.resolution.height, &[][..]);
        let named = offer.sizes.iter().map(|size| (size.width, size.height, &size.rates[..]));
        for (width, height, rates) in named.chain(offer.sizes.is_empty().then_some(wished)) {
            if !(32..=4096).contains(&width) || !(32..=4096).contains(&height) || width % 2 != 0 || height % 2 != 0 {
                continue;
            }
            let (rate_cost, rate) = closest_rate(rates, config.framerate);
            let size_cost = width.abs_diff(config.resolution.width) + height.abs_diff(config.resolution.height);
            let cost = (size_cost, rate_cost, work(format, &config.encoder_reads));
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, Choice { fourcc: offer.fourcc, width, height, rate }));
            }
        }
    }
    best.map(|(_, choice)| choice)
}

/// How far the best of `rates` is from the wish, in thousandths of a picture per second. Too slow counts double.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are small and not negative")]
fn closest_rate(rates: &[Rate], wish: u32) -> (u64, Option<Rate>) {
    let cost = |fps: f64| {
        let off = ((fps - f64::from(wish)) * 1000.0).round();
        // 29.97 is 30.
        if off.abs() <= 50.0 {
            0
        } else if off < 0.0 {
            (-off * 2.0) as u64
        } else {
            off as u64
        }
    };
    let known = rates.iter().map(|&rate| (cost(rate.fps()), Some(rate)));
    known.min_by_key(|&(cost, _)| cost).unwrap_or_else(|| (cost(UNKNOWN_FPS), None))
}

/// How much work a picture of `format` makes, least first.
fn work(format: PixelFormat, encoder_reads: &[PixelFormat]) -> u8 {
    match format {
        _ if encoder_reads.contains(&format) => 0,
        // Nothing is encoded at all.
        PixelFormat::H264 => 1,
        PixelFormat::Nv12 | PixelFormat::I420 => 2,
        PixelFormat::Yuyv => 3,
        PixelFormat::Mjpeg => 4,
        // Cameras are not asked for these.
        PixelFormat::Gray8 | PixelFormat::Bgr24 | PixelFormat::Rgb24 | PixelFormat::Bgra | PixelFormat::Rgba => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Resolution;
    use crate::v4l2::SizeInfo;

    fn offer(fourcc: &[u8; 4], sizes: &[(usize, usize, u32)]) -> FormatInfo {
        let size = |&(width, height, fps): &(usize, usize, u32)| SizeInfo {
            width,
            height,
            rates: vec![Rate { pictures: fps, seconds: 1 }],
        };
        FormatInfo { fourcc: *fourcc, description: String::new(), sizes: sizes.iter().map(size).collect() }
    }

    fn chosen(offers: &[FormatInfo], width: usize, height: usize, framerate: u32) -> Option<(String, usize, usize)> {
        let config = Config { resolution: Resolution { width, height }, framerate, ..Config::default() };
        choose(offers, &config, &FORMATS).map(|c| (c.fourcc.escape_ascii().to_string(), c.width, c.height))
    }

    /// What a common webcam offers.
    fn webcam() -> Vec<FormatInfo> {
        vec![
            offer(b"MJPG", &[(640, 480, 30), (1280, 720, 30), (1920, 1080, 30)]),
            offer(b"YUYV", &[(640, 480, 30), (1280, 720, 10), (1920, 1080, 5)]),
        ]
    }

    #[test]
    fn raw_is_taken_where_it_reaches_the_rate_and_jpeg_where_not() {
        assert_eq!(chosen(&webcam(), 640, 480, 30), Some(("YUYV".into(), 640, 480)));
        assert_eq!(chosen(&webcam(), 1280, 720, 30), Some(("MJPG".into(), 1280, 720)));
        assert_eq!(chosen(&webcam(), 1280, 720, 10), Some(("YUYV".into(), 1280, 720)));
    }

    #[test]
    fn the_closest_size_is_taken() {
        assert_eq!(chosen(&webcam(), 1280, 960, 30), Some(("MJPG".into(), 1280, 720)));
        assert_eq!(chosen(&webcam(), 32, 32, 30), Some(("YUYV".into(), 640, 480)));
    }

    /// All formats of a camera that has each at the same size and rate, in the order in which they are taken.
    fn order(encoder_reads: &[PixelFormat]) -> Vec<String> {
        let config = Config { encoder_reads: encoder_reads.to_vec(), ..Config::default() };
        let mut offers: Vec<_> =
            [b"MJPG", b"YUYV", b"H264", b"NV12"].into_iter().map(|fourcc| offer(fourcc, &[(1280, 720, 30)])).collect();
        std::iter::from_fn(|| {
            let fourcc = choose(&offers, &config, &FORMATS)?.fourcc;
            offers.retain(|offer| offer.fourcc != fourcc);
            Some(fourcc.escape_ascii().to_string())
        })
        .collect()
    }

    #[test]
    fn formats_that_need_less_work_go_first() {
        assert_eq!(order(&[]), ["H264", "NV12", "YUYV", "MJPG"]);
    }

    #[test]
    fn what_the_encoder_reads_in_place_goes_before_all() {
        assert_eq!(order(&[PixelFormat::Yuyv]), ["YUYV", "H264", "NV12", "MJPG"]);
        assert_eq!(order(&[PixelFormat::Nv12, PixelFormat::I420])[..2], ["NV12", "H264"]);
    }

    #[test]
    fn formats_and_sizes_that_cannot_be_used_are_passed_over() {
        assert_eq!(chosen(&[offer(b"BA81", &[(640, 480, 30)])], 640, 480, 30), None);
        assert_eq!(chosen(&[offer(b"YUYV", &[(5000, 4000, 30), (641, 480, 30)])], 640, 480, 30), None);
        assert_eq!(chosen(&[offer(b"YUYV", &[])], 640, 480, 30), Some(("YUYV".into(), 640, 480)));
    }

    #[test]
    fn ntsc_rates_count_as_whole_ones() {
        let ntsc = Rate { pictures: 30000, seconds: 1001 };
        assert_eq!(closest_rate(&[ntsc, Rate { pictures: 60, seconds: 1 }], 30), (0, Some(ntsc)));
    }

    #[test]
    fn only_the_formats_that_are_asked_for_are_taken() {
        let chosen = choose(&webcam(), &Config::default(), &[PixelFormat::Yuyv]).unwrap();
        assert_eq!(&chosen.fourcc, b"YUYV");
        assert_eq!(choose(&webcam(), &Config::default(), &[PixelFormat::Nv12]), None);
    }

    #[test]
    fn a_time_that_cannot_be_is_replaced() {
        let now = Timestamp::from_nanos(60_000_000_000);
        for (nanos, kept) in [(59_900_000_000, true), (60_000_000_001, false), (1, false), (u64::MAX, false)] {
            let time = Timestamp::from_nanos(nanos);
            assert_eq!(believable(time, now), if kept { time } else { now }, "{nanos}");
        }
    }

    #[test]
    fn what_is_no_camera_is_refused_with_its_name() {
        for (path, words) in [("/dev/null", "not a video device"), ("/dev/video-none", "plugged in")] {
            let error = V4l2Source::open(Path::new(path), &Config::default()).err().expect("an error").to_string();
            assert!(error.starts_with(path) && error.contains(words), "{error}");
        }
    }
}
