//! What perch and its camera worker say to each other.
//!
//! Each message is one packet of JSON, at most [`MAX_BYTES`] long; a buffer's descriptor travels beside its
//! [`Buffer`](FromWorker::Buffer) message. Pixels are never in a message, so being readable costs nothing that
//! counts. Both sides are the same program and begin by saying so; whatever else arrives is an error for whoever
//! reads it, never a panic.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::capture::tuning::{Change, Control};
use crate::capture::{CaptureError, Config};
use crate::media::frame::{PixelFormat, Plane};

/// Which form the messages have. Any change of theirs changes it.
pub const VERSION: u32 = 3;
/// Longest message, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most buffers that one camera may have.
pub const MAX_BUFFERS: usize = 16;
/// Most controls that one camera may have, so that their description fits a message.
pub const MAX_CONTROLS: usize = 64;

/// The other side said something that it should not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(pub String);

/// From perch to the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ToWorker {
    /// Comes first.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
    },
    /// Name your cameras. Answered by `Cameras`, or `Failed`.
    List,
    /// Open and start the camera that these settings name. Answered by `Opened` and its `Buffer`s, or `Failed`.
    Open(Box<Config>),
    /// Buffer `index` may be filled again.
    Release {
        /// Which one.
        index: usize,
    },
    /// Name the controls of the open camera, with their values. Answered by `Controls`, or `Failed`.
    DescribeControls,
    /// Make these changes, all or none. Answered by `Changed`, or `Failed`.
    ChangeControls(Vec<Change>),
}

/// From the worker to perch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromWorker {
    /// Comes first.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
    },
    /// The answer to `List`.
    Cameras(Vec<CameraInfo>),
    /// The camera runs. Its `buffers` follow.
    Opened(Layout),
    /// One buffer; its descriptor comes with the message.
    Buffer {
        /// How it is called from now on.
        index: usize,
        /// Bytes of it that a picture may take.
        length: usize,
    },
    /// Buffer `index` holds a picture. It is perch's until it is released.
    Frame {
        /// Which one.
        index: usize,
        /// When it was taken, on `CLOCK_MONOTONIC`.
        captured_at_ns: u64,
        /// Bytes that are in use, which matters for compressed pictures.
        bytes_used: usize,
    },
    /// The answer to `DescribeControls`.
    Controls(Vec<Control>),
    /// The answer to `ChangeControls`.
    Changed {
        /// Why nothing was changed, if so.
        refused: Option<String>,
    },
    /// It is over.
    Failed(Failure),
}

/// A camera that the worker sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraInfo {
    /// What to name it by.
    pub id: String,
    /// What people call it.
    pub model: String,
    /// Formats and sizes, one line each.
    pub formats: Vec<String>,
}

/// What the worker's pictures are like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// The camera, in words for people.
    pub description: String,
    /// `I420`, `NV12`, `YUYV` or `MJPEG`.
    pub format: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Offset, stride and rows of each plane; none for compressed pictures.
    pub planes: Vec<(usize, usize, usize)>,
    /// How many buffers follow.
    pub buffers: usize,
    /// Whether they are mirrored and turned as the settings say.
    pub is_oriented: bool,
}

/// Why the worker gives up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Failure {
    /// As [`CaptureError::Unusable`].
    Unusable(String),
    /// As [`CaptureError::Lost`].
    Lost(String),
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        match error {
            CaptureError::Unusable(words) => Self::Unusable(words),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<Failure> for CaptureError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unusable(words) => Self::Unusable(words),
            Failure::Lost(words) => Self::Lost(words),
        }
    }
}

impl Layout {
    /// The layout of pictures of `format` whose planes lie at `planes`.
    pub fn new(description: String, format: PixelFormat, size: (usize, usize), planes: &[Plane]) -> Self {
        let planes = planes.iter().map(|plane| (plane.offset, plane.stride, plane.rows)).collect();
        let (width, height) = size;
        Self { description, format: format.to_string(), width, height, planes, buffers: 0, is_oriented: false }
    }

    /// The format that is meant.
    ///
    /// # Errors
    /// When there is no such format, the numbers cannot be a picture, or planes are too many.
    pub fn checked(&self) -> Result<(PixelFormat, Vec<Plane>), ProtocolError> {
        let formats = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Yuyv, PixelFormat::Mjpeg];
        let known = formats.into_iter().find(|format| format.to_string() == self.format);
        let format = known.ok_or_else(|| ProtocolError(format!("`{}` is no picture format", self.format)))?;
        let sane = |side: usize| (1..=16_384).contains(&side);
        let planes: Vec<_> = self.planes.iter().map(|&(offset, stride, rows)| Plane { offset, stride, rows }).collect();
        let least_stride = match format {
            PixelFormat::I420 | PixelFormat::Nv12 => self.width,
            PixelFormat::Yuyv => self.width * 2,
            _ => 0,
        };
        let wide_enough = planes.first().is_none_or(|plane| plane.stride >= least_stride && plane.rows >= self.height);
        if !sane(self.width) || !sane(self.height) || planes.len() > 3 || !wide_enough {
            return Err(ProtocolError(format!("no picture is laid out like this: {self:?}")));
        }
        if !(1..=MAX_BUFFERS).contains(&self.buffers) {
            return Err(ProtocolError(format!("{} buffers: 1 to {MAX_BUFFERS} are possible", self.buffers)));
        }
        Ok((format, planes))
    }
}

/// A message as the bytes of a packet.
///
/// # Errors
/// When it is too long.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    let bytes = serde_json::to_vec(message).map_err(|error| ProtocolError(error.to_string()))?;
    if bytes.len() > MAX_BYTES {
        return Err(ProtocolError(format!("a message of {} bytes, at most {MAX_BYTES} can be sent", bytes.len())));
    }
    Ok(bytes)
}

/// The message in the bytes of a packet.
///
/// # Errors
/// When it is none.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProtocolError> {
    if bytes.len() > MAX_BYTES {
        return Err(ProtocolError(format!("a message of {} bytes, at most {MAX_BYTES} are read", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|error| ProtocolError(format!("not a message: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::tuning::tests::control;
    use crate::capture::tuning::{ControlKind, Value};
    use crate::media::frame::packed_planes;

    fn layout() -> Layout {
        let (planes, count) = packed_planes(PixelFormat::Nv12, (64, 32), 0);
        Layout { buffers: 4, ..Layout::new("a camera".into(), PixelFormat::Nv12, (64, 32), &planes[..count]) }
    }

    #[test]
    fn every_message_survives_the_way() {
        let config = Config { framerate: 17, ..Config::default() };
        for message in [
            ToWorker::Hello { version: VERSION },
            ToWorker::List,
            ToWorker::Open(Box::new(config)),
            ToWorker::Release { index: 3 },
            ToWorker::DescribeControls,
            ToWorker::ChangeControls(vec![Change { key: "gain".into(), value: Some(Value::Number(2.0)) }]),
        ] {
            assert_eq!(decode::<ToWorker>(&encode(&message).unwrap()), Ok(message));
        }
        let info = CameraInfo { id: "cam".into(), model: "Model 1".into(), formats: vec!["NV12: 64x32".into()] };
        for message in [
            FromWorker::Hello { version: VERSION },
            FromWorker::Cameras(vec![info]),
            FromWorker::Opened(layout()),
            FromWorker::Buffer { index: 0, length: 3072 },
            FromWorker::Frame { index: 0, captured_at_ns: u64::MAX, bytes_used: 3072 },
            FromWorker::Controls(vec![control("gain", ControlKind::Number { minimum: 1.0, maximum: 16.0 })]),
            FromWorker::Changed { refused: Some("no".into()) },
            FromWorker::Failed(Failure::Lost("unplugged".into())),
        ] {
            assert_eq!(decode::<FromWorker>(&encode(&message).unwrap()), Ok(message));
        }
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [
            &b""[..],
            b"\xff\xfe",
            b"null",
            b"{}",
            br#"{"release":{}}"#,
            br#"{"release":{"index":-1}}"#,
            br#"{"release":{"index":1,"more":2}}"#,
            br#"{"release":{"index":1}} "x""#,
            br#"{"open":{"framerate":"fast"}}"#,
        ] {
            assert!(decode::<ToWorker>(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let deep = [b'['; 10_000];
        assert!(decode::<FromWorker>(&deep).is_err());
        assert!(decode::<FromWorker>(&vec![b' '; MAX_BYTES + 1]).unwrap_err().0.contains("at most"));
    }

    #[test]
    fn messages_that_are_too_long_are_not_sent() {
        let long = FromWorker::Failed(Failure::Lost("x".repeat(MAX_BYTES)));
        assert!(encode(&long).is_err());
    }

    #[test]
    fn a_layout_is_believed_only_if_it_can_be_a_picture() {
        let (format, planes) = layout().checked().unwrap();
        assert_eq!((format, planes.len()), (PixelFormat::Nv12, 2));
        for wrong in [
            Layout { format: "RGB3".into(), ..layout() },
            Layout { format: "H.264".into(), ..layout() },
            Layout { width: 0, ..layout() },
            Layout { width: 65, ..layout() },
            Layout { height: usize::MAX, ..layout() },
            Layout { buffers: 0, ..layout() },
            Layout { buffers: MAX_BUFFERS + 1, ..layout() },
            Layout { planes: vec![(0, 64, 32); 4], ..layout() },
        ] {
            assert!(wrong.checked().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn failures_keep_their_kind() {
        let there_and_back = |error: CaptureError| CaptureError::from(Failure::from(error));
        assert!(matches!(there_and_back(CaptureError::Unusable("a".into())), CaptureError::Unusable(w) if w == "a"));
        assert!(matches!(there_and_back(CaptureError::Ended), CaptureError::Lost(_)));
    }
}
