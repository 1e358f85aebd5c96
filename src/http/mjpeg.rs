//! Pictures without WebRTC: `/snapshot.jpg` and `/stream.mjpg`.
//!
//! Each reader has its own demand on the camera's JPEG pictures, which lasts as long as the reader. How
//! many may read at once is limited here; a reader that has gone or reads nothing is the front's to end.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::{Method, StatusCode, header};

use super::Context;
use super::message::{Request, Response};
use super::stream::Parts;
use super::watching::Pass;

/// For the first picture.
const FIRST_PICTURE: Duration = Duration::from_secs(5);
/// The last picture is sent again after this long without a new one: so it shows that the reader is there.
const REPEAT: Duration = Duration::from_secs(5);
/// How often a waiting stream looks whether the server stops.
const TICK: Duration = Duration::from_millis(200);
/// Snapshots that may wait for a picture at once; each holds a worker.
const SNAPSHOTS: usize = 4;

/// How many read pictures.
pub(super) struct Viewers {
    streams: Places,
    snapshots: Places,
}

impl Viewers {
    pub(super) fn new(max_streams: usize) -> Self {
        Self { streams: Places::new(max_streams), snapshots: Places::new(SNAPSHOTS) }
    }

    /// Readers of `/stream.mjpg` now.
    pub(super) fn streams(&self) -> usize {
        self.streams.limit - self.streams.free.load(Relaxed)
    }
}

struct Places {
    limit: usize,
    free: Arc<AtomicUsize>,
}

/// One taken place; given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Places {
    fn new(limit: usize) -> Self {
        Self { limit, free: Arc::new(AtomicUsize::new(limit)) }
    }

    fn take(&self) -> Option<Place> {
        self.free.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(1)).ok()?;
        Some(Place(self.free.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn busy(what: &str) -> Response {
    Response::error(StatusCode::SERVICE_UNAVAILABLE, what).with(header::RETRY_AFTER, "5")
}

/// `GET /snapshot.jpg`: the next picture of the camera of `?camera=`.
pub(super) fn snapshot(context: &Context, request: &Request) -> Response {
    let Some(camera) = context.asked_camera(request) else { return context.no_such_camera() };
    if request.method == Method::HEAD {
        return Response::new(StatusCode::OK, "image/jpeg", ""); // Without disturbing the camera.
    }
    let Some(_place) = context.viewers.snapshots.take() else {
        return busy("too many snapshots are being taken");
    };
    match camera.subscribe_jpeg().next(FIRST_PICTURE) {
        Some(picture) => Response::new(StatusCode::OK, "image/jpeg", picture),
        None => busy("the camera gives no picture"),
    }
}

/// `GET /stream.mjpg`: pictures of the camera of `?camera=` until the reader goes.
pub(super) fn stream(context: &Context, request: &Request) -> Response {
    let Some(camera) = context.asked_camera(request) else { return context.no_such_camera() };
    let content_type = "multipart/x-mixed-replace; boundary=frame";
    if request.method == Method::HEAD {
        return Response::new(StatusCode::OK, content_type, "");
    }
    let Some(place) = context.viewers.streams.take() else {
        let what = format!("all {} places are taken", context.viewers.streams.limit);
        return busy(&what);
    };
    let camera = camera.clone();
    let mut pass = Pass::new(context.door.clone(), &request.caller);
    Response::stream(
        content_type,
        Box::new(move |parts| {
            let _place = place;
            let reader = RefCell::new(camera.subscribe_jpeg());
            pictures(parts, || pass.is_valid(), |timeout| reader.borrow_mut().next(timeout), || reader.borrow().again())
        }),
    )
}

/// Sends pictures until the server stops, the reader goes or may no longer watch, or none comes at all.
fn pictures(
    parts: &mut Parts<'_>,
    mut may_watch: impl FnMut() -> bool,
    mut next: impl FnMut(Duration) -> Option<Bytes>,
    again: impl Fn() -> Option<Bytes>,
) -> io::Result<()> {
    let mut is_first = true;
    let mut sent = Instant::now();
    while !parts.stopping() && may_watch() {
        let started = Instant::now();
        let picture = match next(TICK) {
            Some(picture) => picture,
            // A camera that has gone answers at once; do not spin.
            None if started.elapsed() < TICK / 2 && parts.pause(TICK) => break,
            None if is_first && sent.elapsed() >= FIRST_PICTURE => break,
            None if is_first || sent.elapsed() < REPEAT => continue,
            None => match again() {
                Some(last) => last,
                None => continue,
            },
        };
        let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
        parts.send(&[head.as_bytes(), &picture, b"\r\n"])?;
        sent = Instant::now();
        is_first = false;
    }
    parts.send(&[b"--frame--\r\n"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shutdown::Shutdown;
    use hyper::header::HeaderMap;

    #[test]
    fn places_are_limited_and_come_back() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        assert!(places.take().is_none());
        drop(place);
        assert!(places.take().is_some());
        assert!(Places::new(0).take().is_none());
    }

    #[test]
    fn each_picture_is_a_part_with_its_length() {
        let (mut out, stop) = (Vec::new(), Shutdown::new());
        let stopper = stop.clone();
        let mut left = 2;
        let mut parts = Parts::begin(&mut out, &HeaderMap::new(), &stop).unwrap();
        pictures(
            &mut parts,
            || true,
            |_| {
                left -= 1;
                if left == 0 {
                    stopper.request();
                }
                Some(Bytes::from_static(b"jpeg!"))
            },
            || None,
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        let part = "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\njpeg!\r\n";
        assert_eq!(text.matches(part).count(), 2, "{text}");
        assert!(text.ends_with("--frame--\r\n\r\n"), "{text}");
    }
}
