//! Which encoder in hardware this machine has, and whether it works.
//!
//! That a driver is there does not mean that it encodes: it may lack memory (`cma=`), firmware, or sense. So a few
//! pictures are encoded once, before anybody waits for them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use log::{debug, warn};

use super::Encoder;
use super::v4l2_m2m::{CodedFormat, Input, M2mEncoder, Settings};
use crate::base::clock::Timestamp;
use crate::media::copies::FrameCopies;
use crate::media::frame::{Frame, FramePool, PixelFormat, packed_size};
use crate::v4l2::{self, EncoderInfo};

/// What is encoded to see whether an encoder works.
const PROBE_SIZE: (usize, usize) = (640, 480);
/// Pictures that are encoded; the first may be garbage, and encoders skip some.
const PROBE_PICTURES: u64 = 4;
/// How long that may take. A driver that hangs is left alone.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);

/// An encoder in hardware that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// The device node.
    pub path: PathBuf,
    /// Its name for people.
    pub name: String,
    /// Pictures that it takes as they are.
    pub formats: Vec<PixelFormat>,
}

impl Hardware {
    fn of(info: &EncoderInfo) -> Self {
        let format = |fourcc: &[u8; 4]| match fourcc {
            b"NV12" => Some(PixelFormat::Nv12),
            b"YU12" => Some(PixelFormat::I420),
            b"YUYV" => Some(PixelFormat::Yuyv),
            _ => None,
        };
        let mut formats: Vec<_> = info.inputs.iter().filter_map(format).collect();
        formats.dedup();
        // The driver's name says what it is on every board, the card's only on some.
        let name = if info.card.is_empty() || info.card == info.driver {
            info.driver.clone()
        } else {
            format!("{} ({})", info.card, info.driver)
        };
        Self { path: info.path.clone(), name, formats }
    }

    /// Encodes a few pictures and says what is wrong, if anything.
    fn try_it(&self, coded: CodedFormat) -> Result<(), String> {
        let Some(&format) = self.formats.iter().find(|&&format| format != PixelFormat::Yuyv).or(self.formats.first())
        else {
            return Err("it takes no format that perch has (NV12, YU12, YUYV)".into());
        };
        let pool = FramePool::new(1);
        let picture = |number: u64| {
            let mut memory = pool.take(packed_size(format, PROBE_SIZE));
            for (at, byte) in memory.iter_mut().enumerate() {
                *byte = (at as u64 / 8 + number * 3) as u8;
            }
            let time = Timestamp::from_nanos(1 + number * 33_000_000);
            Frame::packed(format, PROBE_SIZE, time, Box::new(memory)).map(Arc::new).map_err(|error| error.to_string())
        };
        let first = picture(0)?;
        let input = Input::of(&first).ok_or("a compressed picture")?;
        let settings = Settings { coded, input, framerate: 30, bitrate_bps: 1_000_000 };
        let mut encoder = M2mEncoder::open(&self.path, &self.name, settings, Arc::new(FrameCopies::default()))
            .map_err(|error| error.to_string())?;
        let mut has_keyframe = false;
        for number in 0..PROBE_PICTURES {
            let unit = encoder.encode(&picture(number)?, number == 0).map_err(|error| error.to_string())?;
            // Some drivers do not mark keyframes of other formats than H.264.
            has_keyframe |= unit.is_some_and(|unit| unit.is_keyframe || coded != CodedFormat::H264);
        }
        if has_keyframe { Ok(()) } else { Err(format!("{PROBE_PICTURES} pictures gave no keyframe")) }
    }
}

/// An encoder and whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The encoder.
    pub hardware: Hardware,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
}

/// All encoders that make `coded`, each tried.
#[must_use]
pub fn probe_all(coded: CodedFormat) -> Vec<Probed> {
    v4l2::encoders(coded.0).iter().map(|info| probe(Hardware::of(info), coded)).collect()
}

/// Tries one, on a thread that is left behind if the driver hangs.
fn probe(hardware: Hardware, coded: CodedFormat) -> Probed {
    let (done, result) = mpsc::channel();
    let tried = hardware.clone();
    let work = move || {
        let _ = done.send(tried.try_it(coded));
    };
    let problem = match thread::Builder::new().name("encoder-probe".into()).spawn(work) {
        Err(error) => Some(error.to_string()),
        Ok(_) => match result.recv_timeout(PROBE_TIMEOUT) {
            Ok(Ok(())) => None,
            Ok(Err(problem)) => Some(problem),
            Err(_) => Some(format!("no answer for {} s", PROBE_TIMEOUT.as_secs())),
        },
    };
    Probed { hardware, problem }
}

/// The machine's own H.264 encoder, if it has one that works. It is tried once, when this is first asked.
pub fn hardware() -> Option<&'static Hardware> {
    static FOUND: OnceLock<Option<Hardware>> = OnceLock::new();
    let find = || {
        for Probed { hardware, problem } in probe_all(CodedFormat::H264) {
            match problem {
                None => return Some(hardware),
                Some(problem) => warn!("the encoder {} is not used: {problem}", hardware.name),
            }
        }
        debug!("no hardware encoder");
        None
    };
    FOUND.get_or_init(find).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_is_named_by_card_and_driver_and_knows_what_it_takes() {
        let info = EncoderInfo {
            path: "/dev/video11".into(),
            driver: "bcm2835-codec".into(),
            card: "bcm2835-codec-encode".into(),
            inputs: vec![*b"YU12", *b"YV12", *b"NV12", *b"RGB3", *b"YUYV"],
            coded: vec![*b"H264"],
        };
        let hardware = Hardware::of(&info);
        assert_eq!(hardware.name, "bcm2835-codec-encode (bcm2835-codec)");
        assert_eq!(hardware.formats, [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Yuyv]);
    }

    #[test]
    fn an_encoder_that_is_not_there_does_not_work_and_says_why() {
        let hardware =
            Hardware { path: "/dev/video-none".into(), name: "none".into(), formats: vec![PixelFormat::Nv12] };
        let problem = probe(hardware, CodedFormat::H264).problem.unwrap();
        assert!(problem.contains("/dev/video-none"), "{problem}");
    }
}
