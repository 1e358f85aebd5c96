//! RTSP: H.264 and JPEG as IP cameras serve them (RFC 2326, RFC 6184, RFC 2435), over TCP or UDP.
//!
//! The protocol is the `retina` crate's. Of a server's streams the first that perch reads is played; sound is left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use log::{debug, info};
use retina::client::{
    Credentials, Demuxed, PlayOptions, Session, SessionGroup, SessionOptions, SetupOptions, Stream, Transport,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::sender_clock::SenderClock;
use super::url::NetworkUrl;
use super::{IDLE, runtime, within_open_timeout};
use crate::base::clock::Timestamp;
use crate::capture::jpeg_cutter::size_of as size_of_jpeg;
use crate::capture::{CameraSource, CaptureError};
use crate::media::frame::{Frame, PixelFormat};

/// Largest picture that is taken, in bytes.
const MAX_BYTES: usize = 8 << 20;

/// How long a server may take to hear that nobody listens any more.
const GOODBYE: Duration = Duration::from_millis(200);

/// How a server sends its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RtspTransport {
    /// In the connection itself: works everywhere, and loses nothing.
    #[default]
    Tcp,
    /// By themselves: for servers that offer nothing else.
    Udp,
}

/// A stream that is played.
pub(super) struct RtspSource {
    runtime: Runtime,
    /// There until the end.
    streams: Option<Demuxed>,
    group: Arc<SessionGroup>,
    name: String,
    what: String,
    format: PixelFormat,
    size: (usize, usize),
    clock: SenderClock,
    /// Packets were lost: what follows cannot be shown before the next keyframe.
    is_broken: bool,
    asked_at: Instant,
}

impl RtspSource {
    pub(super) fn open(url: &NetworkUrl, transport: RtspTransport) -> Result<Self, CaptureError> {
        let runtime = runtime().map_err(|error| CaptureError::Unusable(format!("{url}: {error}")))?;
        let group = Arc::<SessionGroup>::default();
        let (streams, what, format) = within_open_timeout(&runtime, url, play(url, transport, Arc::clone(&group)))?;
        let size = streams.streams().iter().find_map(size_of).unwrap_or_default();
        let name = url.to_string();
        info!("{name}: {what} over {transport:?}");
        let (clock, asked_at) = (SenderClock::default(), Instant::now());
        Ok(Self { runtime, streams: Some(streams), group, name, what, format, size, clock, is_broken: false, asked_at })
    }

    fn frame(&mut self, picture: VideoFrame) -> Result<Option<Frame>, CaptureError> {
        if picture.has_new_parameters()
            && let Some(streams) = &self.streams
            && let Some(size) = streams.streams().get(picture.stream_id()).and_then(size_of)
        {
            self.size = size;
        }
        if self.format == PixelFormat::H264 {
            if picture.loss() > 0 {
                debug!("{}: {} packets were lost", self.name, picture.loss());
                self.is_broken = true;
            }
            self.is_broken &= !picture.is_random_access_point();
            if self.is_broken {
                return Ok(None);
            }
        }
        let time = picture.timestamp();
        let ticks = u64::try_from(time.elapsed()).unwrap_or(0);
        let sent = Duration::from_secs_f64(ticks as f64 / f64::from(time.clock_rate().get()));
        let captured_at = self.clock.at(sent, Timestamp::now());
        let data = picture.into_data();
        if self.format == PixelFormat::Mjpeg {
            // Each picture says its own size. One that is not whole had packets lost.
            match size_of_jpeg(&data) {
                Some(size) => self.size = size,
                None => return Ok(None),
            }
        }
        if data.len() > MAX_BYTES {
            return Err(CaptureError::Lost(format!("{}: a picture of {} bytes", self.name, data.len())));
        }
        Frame::packed(self.format, self.size, captured_at, Box::new(Bytes::from(data)))
            .map(Some)
            .map_err(|error| CaptureError::Lost(error.to_string()))
    }
}

impl CameraSource for RtspSource {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        // Meanwhile the server may have given up, and what waits in the connection is old.
        if std::mem::replace(&mut self.asked_at, Instant::now()).elapsed() > IDLE {
            return Err(CaptureError::Superseded);
        }
        let lost = |name: &str, problem: &dyn std::fmt::Display| CaptureError::Lost(format!("{name}: {problem}"));
        let Some(streams) = &mut self.streams else { return Err(CaptureError::Ended) };
        let next = async {
            loop {
                match streams.next().await {
                    Some(Ok(CodecItem::VideoFrame(picture))) => return Ok(picture),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(lost(&self.name, &error)),
                    None => return Err(lost(&self.name, &"the server has ended the stream")),
                }
            }
        };
        let next = self.runtime.block_on(async { tokio::time::timeout(timeout, next).await });
        self.asked_at = Instant::now();
        match next {
            Ok(picture) => self.frame(picture?),
            Err(_) => Ok(None),
        }
    }

    fn describe(&self) -> String {
        format!("{} ({})", self.name, self.what)
    }
}

impl Drop for RtspSource {
    /// Tells the server, which else sends on until it notices; not for long, as it may be gone.
    fn drop(&mut self) {
        let (streams, group) = (self.streams.take(), Arc::clone(&self.group));
        self.runtime.block_on(async {
            drop(streams);
            let _ = tokio::time::timeout(GOODBYE, group.await_teardown()).await;
        });
    }
}

/// Starts the first stream of `url` that perch reads: it, what it is in words, and its format.
async fn play(
    url: &NetworkUrl,
    transport: RtspTransport,
    group: Arc<SessionGroup>,
) -> Result<(Demuxed, String, PixelFormat), String> {
    let words = |error: retina::Error| error.to_string();
    let credentials = url.credentials().map(|(username, password)| Credentials { username, password });
    let options = SessionOptions::default()
        .creds(credentials)
        .session_group(group)
        .user_agent(concat!("perch/", env!("CARGO_PKG_VERSION")).to_owned());
    let mut session = Session::describe(url.bare(), options).await.map_err(words)?;
    let offered: Vec<_> =
        session.streams().iter().map(|stream| format!("{}/{}", stream.media(), stream.encoding_name())).collect();
    let Some((index, format)) =
        session.streams().iter().enumerate().find_map(|(index, stream)| Some((index, format_of(stream)?)))
    else {
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        return Err(format!("it offers {offered}, and perch reads H.264 and JPEG: pipe it in with {}", url.as_pipe()));
    };
    let what = offered[index].trim_start_matches("video/").to_uppercase();
    let transport = match transport {
        RtspTransport::Tcp => Transport::Tcp(Default::default()),
        RtspTransport::Udp => Transport::Udp(Default::default()),
    };
    let setup = SetupOptions::default().transport(transport).frame_format(FrameFormat::SIMPLE);
    session.setup(index, setup).await.map_err(words)?;
    let playing = session.play(PlayOptions::default()).await.map_err(words)?;
    Ok((playing.demuxed().map_err(words)?, what, format))
}

fn format_of(stream: &Stream) -> Option<PixelFormat> {
    match (stream.media(), stream.encoding_name()) {
        ("video", "h264") => Some(PixelFormat::H264),
        ("video", "jpeg") => Some(PixelFormat::Mjpeg),
        _ => None,
    }
}

fn size_of(stream: &Stream) -> Option<(usize, usize)> {
    match stream.parameters() {
        Some(ParametersRef::Video(video)) => {
            let (width, height) = video.pixel_dimensions();
            Some((width as usize, height as usize))
        }
        _ => None,
    }
}
