//! What the owner may set about a source.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::controls::{Controls, SensorMode};
use super::network::{NetworkUrl, NetworkUrlError, RtspTransport, StreamResolution};
use crate::media::frame::PixelFormat;
use crate::process::colorspace::Colorspace;
use crate::process::privacy_mask::PrivacyMask;
use crate::process::{overlay, stabilizer, stages};

/// Most arguments for `yt-dlp`.
const MOST_PARAMS: usize = 64;

/// A size in pixels, written `1280x720`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Resolution {
    /// Width in pixels: even, 32 to 4096.
    pub width: usize,
    /// Height in pixels: even, 32 to 4096.
    pub height: usize,
}

impl FromStr for Resolution {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let error =
            || format!("`{text}` is not a resolution: write WIDTHxHEIGHT, both even, 32 to 4096, as in `1280x720`");
        let (width, height) = text.split_once('x').ok_or_else(error)?;
        let side = |text: &str| {
            text.parse::<usize>().ok().filter(|side| (32..=4096).contains(side) && side % 2 == 0).ok_or_else(error)
        };
        Ok(Self { width: side(width)?, height: side(height)? })
    }
}

impl TryFrom<String> for Resolution {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Resolution> for String {
    fn from(resolution: Resolution) -> Self {
        resolution.to_string()
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Which source to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SourceSpec {
    /// The first camera found, else the test pattern.
    Auto,
    /// The test pattern.
    Test,
    /// A V4L2 device node.
    V4l2(PathBuf),
    /// A camera of libcamera: its first, or the one with this id or index.
    Libcamera(Option<String>),
    /// A file, a FIFO, or `-` for standard input.
    File(PathBuf),
    /// A camera that another machine serves.
    Network(NetworkUrl),
}

/// Why a source cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceSpecError(String);

impl FromStr for SourceSpec {
    type Err = SourceSpecError;
    fn from_str(text: &str) -> Result<Self, SourceSpecError> {
        let forms = "auto, test, libcamera, libcamera:ID, 0, /dev/video0, file:PATH, rtsp://…, http://…";
        match text {
            "auto" => return Ok(Self::Auto),
            "test" => return Ok(Self::Test),
            "libcamera" => return Ok(Self::Libcamera(None)),
            "" => return Err(SourceSpecError(format!("the source is empty: use one of {forms}"))),
            _ => {}
        }
        if text.contains(" ! ") {
            return Err(SourceSpecError(
                "GStreamer's pipelines are not run: pipe it in with `gst-launch-1.0 -q … ! videoconvert ! \
                 video/x-raw,format=I420 ! y4menc ! fdsink | perch --source file:-`"
                    .into(),
            ));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::V4l2(format!("/dev/video{text}").into()));
        }
        if text.starts_with("/dev/") {
            return Ok(Self::V4l2(text.into()));
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some((_, rest)) if rest.starts_with("//") => {
                text.parse().map(Self::Network).map_err(|error: NetworkUrlError| SourceSpecError(error.to_string()))
            }
            Some(("libcamera", id)) if !id.is_empty() => Ok(Self::Libcamera(Some(id.into()))),
            _ => Err(SourceSpecError(format!("`{text}` is not a source: use one of {forms}"))),
        }
    }
}

impl TryFrom<String> for SourceSpec {
    type Error = SourceSpecError;
    fn try_from(text: String) -> Result<Self, SourceSpecError> {
        text.parse()
    }
}

impl From<SourceSpec> for String {
    fn from(spec: SourceSpec) -> Self {
        match spec {
            SourceSpec::Network(url) => url.with_secrets().to_owned(),
            spec => spec.to_string(),
        }
    }
}

impl SourceSpec {
    /// The same without its password, to be shown.
    #[must_use]
    pub fn masked(&self) -> Self {
        match self {
            Self::Network(url) => Self::Network(url.masked()),
            spec => spec.clone(),
        }
    }
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Test => f.write_str("test"),
            Self::V4l2(path) => write!(f, "{}", path.display()),
            Self::Libcamera(None) => f.write_str("libcamera"),
            Self::Libcamera(Some(id)) => write!(f, "libcamera:{id}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Network(url) => url.fmt(f),
        }
    }
}

/// The `[camera]` section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the camera is called, in addresses and in the log: letters, digits, `-` and `_`, 1 to 32 of them.
    pub name: String,
    /// Which source to open.
    pub source: SourceSpec,
    /// Wished size; files keep their own.
    pub resolution: Resolution,
    /// Wished frames per second, 1 to 120; files keep their own.
    pub framerate: u32,
    /// How an RTSP server sends its packets.
    pub rtsp_transport: RtspTransport,
    /// Whether the address is that of a page with a video, where `yt-dlp` finds it.
    pub stream_mode: bool,
    /// How large that video is to be.
    pub stream_resolution: StreamResolution,
    /// Arguments for `yt-dlp`.
    pub stream_params: Vec<String>,
    /// Whether a source that is lost is opened again and again, with a card meanwhile. Else its end is shown, and it is
    /// opened for the next viewer.
    pub enable_infinite_frames: bool,
    /// Whether a file begins again at its end.
    #[serde(rename = "loop")]
    pub repeat: bool,
    /// How long a camera that was opened warms up before its pictures are shown, 0 to 60 s.
    pub time_delay_s: u32,
    /// How long a running camera may deliver nothing before it is restarted, 1000 to 10000 ms.
    pub stall_timeout_ms: u64,
    /// Formats that the encoder at hand reads from the camera's own memory. Not a setting: whoever starts the camera
    /// knows the encoder. None: it is the CPU.
    #[serde(skip)]
    pub encoder_reads: Vec<PixelFormat>,
    /// Whether the picture is mirrored left to right.
    pub hflip: bool,
    /// Whether the picture is mirrored top to bottom.
    pub vflip: bool,
    /// By how many degrees the picture is turned clockwise after that: 0, 90, 180 or 270.
    pub rotation: u32,
    /// By how many percent both sides of the picture shrink, 0 to 90.
    pub frame_size_reduction: u32,
    /// The colour space whose channels are shown as the picture's; its own colours when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colorspace: Option<Colorspace>,
    /// Whether a shaking picture is held still.
    pub stabilize: bool,
    /// How the sensor is read; the camera's choice when not set. This and the controls are for cameras of libcamera.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensor_mode: Option<SensorMode>,
    /// The picture's controls.
    pub controls: Controls,
    /// How a shaking picture is held still.
    pub stabilizer: stabilizer::Settings,
    /// What is written into the picture.
    pub overlay: overlay::Settings,
    /// What nobody is to see.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub privacy_mask: Vec<PrivacyMask>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "main".into(),
            source: SourceSpec::Auto,
            resolution: Resolution { width: 1280, height: 720 },
            framerate: 30,
            rtsp_transport: RtspTransport::default(),
            stream_mode: false,
            stream_resolution: StreamResolution::default(),
            stream_params: Vec::new(),
            enable_infinite_frames: true,
            repeat: true,
            time_delay_s: 0,
            stall_timeout_ms: 2000,
            encoder_reads: Vec::new(),
            hflip: false,
            vflip: false,
            rotation: 0,
            frame_size_reduction: 0,
            colorspace: None,
            stabilize: false,
            sensor_mode: None,
            controls: Controls::default(),
            stabilizer: stabilizer::Settings::default(),
            overlay: overlay::Settings::default(),
            privacy_mask: Vec::new(),
        }
    }
}

impl Config {
    /// The stall timeout.
    #[must_use]
    pub const fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }

    /// Whether pictures are turned by nothing or half a turn, which sensors do themselves.
    #[must_use]
    pub const fn turns_by_halves(&self) -> bool {
        self.rotation.is_multiple_of(180)
    }

    /// What is done to the pictures.
    #[must_use]
    pub fn stages(&self) -> stages::Settings {
        stages::Settings {
            hflip: self.hflip,
            vflip: self.vflip,
            rotation: self.rotation,
            frame_size_reduction: self.frame_size_reduction,
            colorspace: self.colorspace,
            stabilize: self.stabilize,
            stabilizer: self.stabilizer.clone(),
            privacy_masks: self.privacy_mask.clone(),
            overlay: self.overlay.clone(),
            camera: self.name.clone(),
        }
    }

    /// Checks what types cannot: `(key, what is wrong)` of the first bad value. Controls and overlay are apart, because
    /// they are sections of their own.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(is_plain) {
            return Err(("name", format!("`{}` is no name: 1 to 32 letters, digits, `-` or `_`", self.name)));
        }
        if !(1..=120).contains(&self.framerate) {
            return Err(("framerate", format!("{} is out of range: 1 to 120 frames per second", self.framerate)));
        }
        if self.stream_params.len() > MOST_PARAMS || self.stream_params.iter().any(|param| param.contains('\0')) {
            return Err(("stream_params", format!("up to {MOST_PARAMS} arguments are possible, without zero bytes")));
        }
        if self.time_delay_s > 60 {
            return Err(("time_delay_s", format!("{} is out of range: 0 to 60 s", self.time_delay_s)));
        }
        if !(1000..=10_000).contains(&self.stall_timeout_ms) {
            return Err(("stall_timeout_ms", format!("{} is out of range: 1000 to 10000 ms", self.stall_timeout_ms)));
        }
        if ![0, 90, 180, 270].contains(&self.rotation) {
            return Err(("rotation", format!("{} is not possible: 0, 90, 180 or 270 degrees", self.rotation)));
        }
        if self.frame_size_reduction > 90 {
            let reason = format!("{} is out of range: 0 to 90 percent", self.frame_size_reduction);
            return Err(("frame_size_reduction", reason));
        }
        PrivacyMask::validate_all(&self.privacy_mask).map_err(|reason| ("privacy_mask", reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_form() {
        assert_eq!("0".parse(), Ok(SourceSpec::V4l2("/dev/video0".into())));
        assert_eq!("/dev/video2".parse(), Ok(SourceSpec::V4l2("/dev/video2".into())));
        assert_eq!("file:-".parse(), Ok(SourceSpec::File("-".into())));
        assert_eq!("file:a b.mp4".parse(), Ok(SourceSpec::File("a b.mp4".into())));
        assert_eq!("auto".parse(), Ok(SourceSpec::Auto));
        assert_eq!("libcamera".parse(), Ok(SourceSpec::Libcamera(None)));
        let id = "/base/soc/i2c0mux/i2c@1/imx708@1a";
        assert_eq!(format!("libcamera:{id}").parse(), Ok(SourceSpec::Libcamera(Some(id.into()))));
        assert!("libcamera:".parse::<SourceSpec>().is_err());
    }

    #[test]
    fn what_is_not_supported_names_the_way_round() {
        let error = "rtmp://cam/1".parse::<SourceSpec>().unwrap_err().to_string();
        assert!(error.contains("ffmpeg -i rtmp://"), "{error}");
        let error = "v4l2src ! videoconvert ! appsink".parse::<SourceSpec>().unwrap_err().to_string();
        assert!(error.contains("gst-launch-1.0 -q … ! videoconvert"), "{error}");
        assert!("webcam".parse::<SourceSpec>().unwrap_err().to_string().contains("file:PATH"));
    }

    #[test]
    fn odd_and_huge_resolutions_are_refused() {
        assert!("1280x720".parse::<Resolution>().is_ok());
        for bad in ["1281x720", "1280", "0x0", "9999x720", "1280X720", "-2x720"] {
            assert!(bad.parse::<Resolution>().is_err(), "{bad}");
        }
    }
}
