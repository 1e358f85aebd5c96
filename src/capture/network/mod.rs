//! Cameras that another machine serves: video by RTSP, and JPEG pictures and MP4 by HTTP.
//!
//! H.264 and JPEG leave here as they came; decoding happens elsewhere. A source waits for the network only as long as it
//! is told, on a runtime of its own that runs nowhere but in these calls, so that dropping it ends all that it began. What
//! the other side does wrong ends in a [`CaptureError`]; everything it sends has a bound. What perch does not read
//! itself is refused together with the ffmpeg command that turns it into something it does.

mod http;
mod jpeg;
mod mp4;
mod rtsp;
mod sender_clock;
mod url;
mod yt_dlp;

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

pub use self::rtsp::RtspTransport;
pub use self::url::{NetworkUrl, NetworkUrlError, pipe};
pub use self::yt_dlp::{StreamResolution, YtDlp};
use super::{CameraSource, CaptureError, Config};

/// How long a server may take until its first picture can come: the connection, its answer, and the start.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Whoever did not ask for so long was not watching: what has come meanwhile is old, and is asked for anew.
const IDLE: Duration = Duration::from_secs(2);

/// Opens what `url` serves.
///
/// # Errors
/// When it cannot be reached, refuses, or serves nothing that perch reads.
pub fn open(url: &NetworkUrl, config: &Config) -> Result<Box<dyn CameraSource>, CaptureError> {
    match url.is_rtsp() {
        true => Ok(Box::new(rtsp::RtspSource::open(url, config.rtsp_transport)?)),
        false => open_http(url, config),
    }
}

/// Opens what the server's answer is.
fn open_http(url: &NetworkUrl, config: &Config) -> Result<Box<dyn CameraSource>, CaptureError> {
    let name = url.to_string();
    let runtime = runtime().map_err(|error| CaptureError::Unusable(format!("{name}: {error}")))?;
    let mut client = http::Client::new(url);
    let response = within_open_timeout(&runtime, url, client.get())?;
    let kind = http::content_type(&response);
    let is = |known: &[&str]| known.iter().any(|known| kind.starts_with(known));
    if is(&["multipart/"]) {
        return Ok(Box::new(jpeg::JpegSource::stream(runtime, name, response)));
    }
    if is(&["image/jpeg", "image/jpg"]) {
        return Ok(Box::new(jpeg::JpegSource::single(runtime, name, client, response, config.framerate)));
    }
    if is(&["video/mp4", "video/quicktime"]) {
        return Ok(Box::new(mp4::Mp4Source::open(runtime, url, response, config)?));
    }
    let kind = if kind.is_empty() { "something that it does not name" } else { &kind };
    let words = format!("{name}: it sends {kind}, and perch reads JPEG and MP4: pipe it in with {}", url.as_pipe());
    Err(CaptureError::Unusable(words))
}

/// A runtime that runs only while somebody waits on it.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Runs `work`, which must be done within [`OPEN_TIMEOUT`].
fn within_open_timeout<T>(
    runtime: &Runtime,
    url: &NetworkUrl,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, CaptureError> {
    let limited = async { tokio::time::timeout(OPEN_TIMEOUT, work).await };
    match runtime.block_on(limited) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(problem)) => Err(CaptureError::Unusable(format!("{url}: {problem}"))),
        Err(_) => Err(CaptureError::Unusable(format!("{url}: no answer within {} s", OPEN_TIMEOUT.as_secs()))),
    }
}
