//! How perch is doing: for load balancers, for the page, and for Prometheus.

use std::fs;

use hyper::StatusCode;
use serde::Serialize;

use super::Context;
use super::message::{Request, Response};
use crate::base::metrics::Exposition;
use crate::camera::{CameraMetrics, Cameras, Status};
use crate::webrtc::{IceServer, Mode};

/// `GET /healthz`: the process answers.
pub(super) fn healthz(_: &Context, _: &Request) -> Response {
    Response::text("ok")
}

#[derive(Serialize)]
struct StatusPage<'a> {
    version: &'static str,
    name: &'a str,
    camera: Status,
    cameras: Vec<Summary<'a>>,
    mode: Mode,
    viewers: usize,
    max_viewers: usize,
    mjpeg_viewers: usize,
    ice_servers: &'a [IceServer],
}

/// One camera, in the list of all.
#[derive(Serialize)]
struct Summary<'a> {
    name: &'a str,
    #[serde(flatten)]
    status: Status,
    viewers: usize,
}

/// `GET /api/status`: what the page shows of the camera of `?camera=`, and the ICE servers it should use.
pub(super) fn status(context: &Context, request: &Request) -> Response {
    let Some(camera) = context.asked_camera(request) else { return context.no_such_camera() };
    let sessions = &context.sessions;
    let cameras = context.cameras.iter().map(|camera| Summary {
        name: camera.name(),
        status: camera.status(),
        viewers: sessions.viewers_of(camera),
    });
    let page = StatusPage {
        version: env!("CARGO_PKG_VERSION"),
        name: camera.name(),
        camera: camera.status(),
        cameras: cameras.collect(),
        mode: sessions.mode(),
        viewers: sessions.viewers(),
        max_viewers: sessions.max_viewers(),
        mjpeg_viewers: context.viewers.streams(),
        ice_servers: sessions.ice_servers(),
    };
    Response::json(StatusCode::OK, &page)
}

/// `GET /metrics`: everything that is counted.
pub(super) fn metrics(context: &Context, _: &Request) -> Response {
    let mut page = Exposition::new();
    cameras(&mut page, &context.cameras);
    sessions(&mut page, context);
    process(&mut page);
    Response::new(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page.finish())
}

fn cameras(page: &mut Exposition, cameras: &Cameras) {
    let each = || cameras.iter().map(|camera| (format!("camera=\"{}\"", camera.name()), camera.metrics()));
    type Count = fn(&CameraMetrics) -> u64;
    let counters: [(&str, &str, Count); 9] = [
        ("perch_source_opens_total", "Times the source was opened.", |camera| camera.source_opens.get()),
        ("perch_source_failures_total", "Times the source failed.", |camera| camera.source_failures.get()),
        ("perch_frames_captured_total", "Frames taken from the source.", |camera| camera.frames_captured.get()),
        ("perch_frames_dropped_total", "Frames that a newer one replaced.", |camera| camera.frames_dropped.get()),
        ("perch_frames_encoded_total", "Access units made.", |camera| camera.frames_encoded.get()),
        ("perch_keyframes_requested_total", "Keyframes that readers asked for.", |camera| {
            camera.keyframes_requested.get()
        }),
        ("perch_keyframes_encoded_total", "Keyframes made.", |camera| camera.keyframes_encoded.get()),
        ("perch_encoded_bytes_total", "Bytes of access units made.", |camera| camera.encoded_bytes.get()),
        ("perch_motions_total", "Times the motion sensor saw something begin to move.", |camera| camera.motions.get()),
    ];
    for (name, help, count) in counters {
        page.counter(name, help, each().map(|(label, camera)| (label, count(camera))));
    }
    let stages = each().flat_map(|(label, camera)| {
        camera.copies.by_stage().map(|(stage, count)| (format!("{label},stage=\"{stage}\""), count))
    });
    page.counter("perch_frame_copies_total", "Whole-frame copies or conversions in user space.", stages);
    let times = each().flat_map(|(label, camera)| {
        camera.stage_times.by_stage().map(move |(stage, times)| (format!("{label},stage=\"{stage}\""), times))
    });
    page.histogram("perch_stage_seconds", "Time that a stage between camera and encoder took for a picture.", times);
    let bitrates = each().map(|(label, camera)| (label, camera.target_bitrate_bps.get()));
    page.gauge("perch_target_bitrate_bps", "The bitrate the encoder aims at.", bitrates);
    let times = each().map(|(label, camera)| (label, &camera.encode_time));
    page.histogram("perch_encode_seconds", "Time one encode took.", times);
    let help = "From capture to the access unit's being handed to readers.";
    let times = each().map(|(label, camera)| (label, &camera.capture_to_encoded));
    page.histogram("perch_capture_to_encoded_seconds", help, times);
}

fn sessions(page: &mut Exposition, context: &Context) {
    let sessions = context.sessions.metrics();
    for (name, help, counter) in [
        ("perch_offers_total", "Offers that came.", &sessions.offers),
        ("perch_offers_refused_total", "Offers that were refused.", &sessions.offers_refused),
        ("perch_sessions_opened_total", "Sessions opened.", &sessions.sessions_opened),
        ("perch_sessions_closed_total", "Sessions closed.", &sessions.sessions_closed),
        ("perch_units_sent_total", "Access units sent, over all viewers.", &sessions.units_sent),
        ("perch_units_skipped_total", "Access units that a lagging viewer skipped.", &sessions.units_skipped),
        ("perch_packets_sent_total", "RTP packets sent.", &sessions.packets_sent),
        ("perch_bytes_sent_total", "RTP bytes sent.", &sessions.bytes_sent),
    ] {
        page.counter(name, help, [("", counter.get())]);
    }
    let viewers =
        [("kind=\"webrtc\"", context.sessions.viewers() as u64), ("kind=\"mjpeg\"", context.viewers.streams() as u64)];
    page.gauge("perch_viewers", "Who watches now.", viewers);
    let help = "From capture to the access unit's being sent to a viewer.";
    page.histogram("perch_capture_to_send_seconds", help, [("", &sessions.capture_to_send)]);
}

/// What Linux says about this process; what it does not say is left out.
fn process(page: &mut Exposition) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count() as u64).ok();
    for (name, help, value) in [
        ("perch_process_resident_bytes", "Memory in use.", field("VmRSS").map(|kib| kib << 10)),
        ("perch_process_threads", "Threads.", field("Threads")),
        ("perch_process_open_fds", "Open file descriptors.", open),
    ] {
        if let Some(value) = value {
            page.gauge(name, help, [("", value)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_own_size() {
        let mut page = Exposition::new();
        process(&mut page);
        let text = page.finish();
        let value = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is missing: {text}")).parse().unwrap()
        };
        assert!(value("perch_process_resident_bytes") > 1 << 20);
        assert!(value("perch_process_threads") >= 1);
        assert!(value("perch_process_open_fds") >= 3);
    }
}
