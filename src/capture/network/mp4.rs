//! MP4 with H.264 by HTTP, played at its own speed while it arrives.
//!
//! What is not played yet is not read either, so that it waits at the server. At its end the video is asked for again,
//! where it is to begin again.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;
use log::info;
use tokio::runtime::Runtime;
use tokio::time;

use super::url::NetworkUrl;
use super::within_open_timeout;
use crate::capture::file::{Mp4Stream, Pace, Picture};
use crate::capture::{CameraSource, CaptureError, Config};
use crate::media::frame::Frame;

/// A video that is over sooner is not asked for again at once.
const SHORTEST: Duration = Duration::from_secs(1);

/// A video that a server sends.
pub(super) struct Mp4Source {
    runtime: Runtime,
    name: String,
    video: Video,
    ready: Option<Picture>,
    pace: Pace,
    repeat: bool,
    opened_at: Instant,
}

struct Video {
    body: Incoming,
    stream: Mp4Stream,
}

impl Video {
    /// The next picture, once it has arrived; none at the end.
    async fn next_picture(&mut self) -> Result<Option<Picture>, String> {
        loop {
            if let Some(picture) = self.stream.next_picture()? {
                return Ok(Some(picture));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| self.stream.push(data)),
                Some(Err(error)) => return Err(format!("the video broke off: {error}")),
                None => return Ok(None),
            }
        }
    }
}

impl Mp4Source {
    /// The video in the answer that has begun to come.
    pub(super) fn open(
        runtime: Runtime,
        url: &NetworkUrl,
        response: Response<Incoming>,
        config: &Config,
    ) -> Result<Self, CaptureError> {
        let mut video = Video { body: response.into_body(), stream: Mp4Stream::new(config.framerate) };
        // What cannot be played is found out now, with words.
        let ready = within_open_timeout(&runtime, url, async {
            let first = video
                .next_picture()
                .await
                .map_err(|problem| format!("{problem}: pipe it in with {}", url.as_pipe()))?;
            first.map(Some).ok_or_else(|| "there is no whole picture in it".into())
        })?;
        let name = url.to_string();
        info!("{name}: {}", video.stream.describe());
        let (pace, repeat) = (Pace::default(), config.repeat);
        Ok(Self { runtime, name, video, ready, pace, repeat, opened_at: Instant::now() })
    }

    fn lost(&self, problem: &str) -> CaptureError {
        CaptureError::Lost(format!("{}: {problem}", self.name))
    }
}

impl CameraSource for Mp4Source {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        let picture = if let Some(picture) = self.ready.take() {
            picture
        } else {
            let video = &mut self.video;
            match self.runtime.block_on(async { time::timeout(timeout, video.next_picture()).await }) {
                Ok(Ok(Some(picture))) => picture,
                Ok(Ok(None)) if !self.repeat => return Err(CaptureError::Ended),
                Ok(Ok(None)) if self.opened_at.elapsed() < SHORTEST => {
                    return Err(self.lost("the video is over at once"));
                }
                Ok(Ok(None)) => return Err(CaptureError::Superseded),
                Ok(Err(problem)) => return Err(self.lost(&problem)),
                Err(_) => return Ok(None),
            }
        };
        let Some(due) = self.pace.wait(timeout) else {
            self.ready = Some(picture);
            return Ok(None);
        };
        self.pace.shown(due, picture.shown_for);
        picture.into_frame(due).map(Some)
    }

    fn describe(&self) -> String {
        format!("{}: {}", self.name, self.video.stream.describe())
    }
}
