//! JPEG pictures by HTTP: one after another in an answer that does not end (`multipart/x-mixed-replace`, as most
//! cameras call `MJPEG`), or one for each request.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::Response;
use hyper::body::Incoming;
use log::info;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{self, MissedTickBehavior};

use super::IDLE;
use super::http::Client;
use crate::base::clock::Timestamp;
use crate::capture::jpeg_cutter::{JpegCutter, LARGEST_PICTURE, size_of};
use crate::capture::{CameraSource, CaptureError};
use crate::media::frame::{Frame, PixelFormat};

/// Most single pictures that are asked for each second.
const MOST_REQUESTS: u32 = 30;
/// How long a server may take for a single picture.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(5);

/// A camera's pictures.
pub(super) struct JpegSource {
    runtime: Runtime,
    name: String,
    pictures: Pictures,
    asked_at: Instant,
    last: Timestamp,
}

enum Pictures {
    /// In an answer that does not end.
    Stream { body: Incoming, cutter: JpegCutter },
    /// By a task that asks for one after another.
    Single(Receiver<Result<Bytes, String>>),
}

impl JpegSource {
    /// Pictures in the answer that has begun to come.
    pub(super) fn stream(runtime: Runtime, name: String, response: Response<Incoming>) -> Self {
        let pictures = Pictures::Stream { body: response.into_body(), cutter: JpegCutter::default() };
        Self::new(runtime, name, pictures)
    }

    /// One picture in this answer, and one in each that `client` will get.
    pub(super) fn single(
        runtime: Runtime,
        name: String,
        client: Client,
        first: Response<Incoming>,
        framerate: u32,
    ) -> Self {
        let pictures = {
            let _within = runtime.enter();
            Pictures::Single(ask_again_and_again(client, first, framerate))
        };
        Self::new(runtime, name, pictures)
    }

    fn new(runtime: Runtime, name: String, pictures: Pictures) -> Self {
        info!("{name}: {}", words(&pictures));
        Self { runtime, name, pictures, asked_at: Instant::now(), last: Timestamp::default() }
    }

    fn frame(&mut self, picture: Vec<u8>, size: (usize, usize)) -> Result<Frame, CaptureError> {
        // The time of the capture is not told; the picture has just arrived.
        self.last = Timestamp::now().max(self.last.plus(Duration::from_nanos(1)));
        Frame::packed(PixelFormat::Mjpeg, size, self.last, Box::new(picture)).map_err(|error| self.lost(&error))
    }

    fn lost(&self, problem: &dyn std::fmt::Display) -> CaptureError {
        CaptureError::Lost(format!("{}: {problem}", self.name))
    }
}

impl CameraSource for JpegSource {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        // What waits in the connection is of the time when nobody watched.
        if std::mem::replace(&mut self.asked_at, Instant::now()).elapsed() > IDLE {
            return Err(CaptureError::Superseded);
        }
        let next = async { time::timeout(timeout, next_picture(&mut self.pictures)).await };
        let found = match self.runtime.block_on(next) {
            Ok(Ok(found)) => found,
            Ok(Err(problem)) => return Err(self.lost(&problem)),
            Err(_) => return Ok(None),
        };
        self.asked_at = Instant::now();
        self.frame(found.0, found.1).map(Some)
    }

    fn describe(&self) -> String {
        format!("{} ({})", self.name, words(&self.pictures))
    }
}

const fn words(pictures: &Pictures) -> &'static str {
    match pictures {
        Pictures::Stream { .. } => "JPEG pictures in a stream",
        Pictures::Single(_) => "single JPEG pictures",
    }
}

/// The newest picture that has arrived, once one has.
async fn next_picture(pictures: &mut Pictures) -> Result<(Vec<u8>, (usize, usize)), String> {
    match pictures {
        Pictures::Stream { body, cutter } => loop {
            let mut newest = None;
            while let Some(picture) = cutter.next_picture() {
                newest = Some(picture);
            }
            if let Some(newest) = newest {
                return Ok(newest);
            }
            match body.frame().await {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| cutter.push(data)),
                Some(Err(error)) => return Err(format!("the stream broke off: {error}")),
                None => return Err("the server has ended the stream".into()),
            }
        },
        Pictures::Single(answers) => {
            let picture = answers.recv().await.ok_or("the server is not asked any more")??;
            let size = size_of(&picture).ok_or("what it sends is no whole JPEG picture")?;
            Ok((picture.into(), size))
        }
    }
}

/// Hands out the picture of `first`, and then one for each request: the next one is sent when the last answer was taken.
fn ask_again_and_again(
    mut client: Client,
    first: Response<Incoming>,
    framerate: u32,
) -> Receiver<Result<Bytes, String>> {
    let (sender, receiver) = channel(1);
    tokio::spawn(async move {
        let mut ticks = time::interval(Duration::from_secs(1) / framerate.clamp(1, MOST_REQUESTS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut response = Some(first);
        loop {
            // First there is room, then a picture is taken: what waits is not old.
            let Ok(room) = sender.reserve().await else { return };
            ticks.tick().await;
            let picture = time::timeout(PICTURE_TIMEOUT, async {
                let response = match response.take() {
                    Some(response) => response,
                    None => client.get().await?,
                };
                let body = Limited::new(response.into_body(), LARGEST_PICTURE);
                body.collect().await.map(|whole| whole.to_bytes()).map_err(|error| error.to_string())
            });
            let picture = picture.await.unwrap_or_else(|_| Err("a picture did not come in time".into()));
            let is_over = picture.is_err();
            room.send(picture);
            if is_over {
                return;
            }
        }
    });
    receiver
}
