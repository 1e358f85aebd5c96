//! The encode thread: each frame is converted and encoded once, for all readers.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use log::{error, info, warn};

use super::demand::Orders;
use super::{Shared, Still};
use crate::base::clock::Timestamp;
use crate::encode::{self, Encoder, Encoders, Kind};
use crate::media::access_unit::AccessUnit;
use crate::media::annex_b;
use crate::media::frame::{Frame, FramePool, PixelFormat};
use crate::process::convert::Converter;
use crate::process::h264_decode::H264Decoder;
use crate::process::stages::Stages;

/// How long one wait lasts at most, so that a shutdown is noticed.
const TICK: Duration = Duration::from_millis(200);
/// So many pictures lost in a row are no hiccup.
const MANY_FAILURES: u32 = 100;
/// Shortest time between two JPEG pictures.
const JPEG_INTERVAL: Duration = Duration::from_millis(90);
/// Shortest time between two pictures that are encoded again for who joins.
const AGAIN_INTERVAL: Duration = Duration::from_millis(100);
/// A picture older than this is not shown again: the next one cannot be far.
const OLDEST_AGAIN: Duration = Duration::from_millis(200);

pub(super) struct EncodeLoop<'a> {
    camera: &'a Shared,
    encoders: Encoders,
    encoder: Option<Box<dyn Encoder>>,
    converter: Converter,
    decoder: Option<H264Decoder>,
    stages: Option<Stages>,
    /// Of the settings that the stages were made by.
    stages_version: Option<u64>,
    /// The number of the masks that they put on.
    masks: u64,
    /// Viewers cannot make anything of what comes before the next keyframe: what it follows was not sent to them.
    awaits_keyframe: bool,
    pool: FramePool,
    bitrate_bps: u32,
    last_jpeg: Option<Instant>,
    /// Whether browsers can play the source's H.264, by its last parameter sets.
    playable: bool,
    failures: u32,
    /// The last raw picture, for a viewer who joins before the next.
    last: Option<Arc<Frame>>,
    last_again: Option<Instant>,
}

impl<'a> EncodeLoop<'a> {
    pub(super) fn new(camera: &'a Shared) -> Self {
        let pool = FramePool::new(3);
        let kind = camera.encode_config.kind;
        let hardware = if kind == Kind::OpenH264 { None } else { encode::hardware().cloned() };
        Self {
            camera,
            encoders: Encoders::new(kind, hardware, Arc::clone(&camera.metrics.copies)),
            encoder: None,
            converter: Converter::new(pool.clone()),
            decoder: None,
            stages: None,
            stages_version: None,
            masks: 0,
            awaits_keyframe: true,
            pool,
            bitrate_bps: 0,
            last_jpeg: None,
            playable: false,
            failures: 0,
            last: None,
            last_again: None,
        }
    }

    /// Runs until shutdown.
    pub(super) fn run(mut self) {
        while !self.camera.shutdown.is_requested() {
            self.camera.pulses.encode.beat();
            let frame = self.camera.frames.take_timeout(TICK);
            let now = Instant::now();
            let orders = self.camera.demand.orders(now);
            let had_frame = frame.is_some();
            let done = match frame {
                Some(frame) => self.frame(frame, orders, now),
                None => self.again(orders, now),
            };
            match done {
                Ok(()) if !had_frame => {}
                Ok(()) => {
                    self.failures = 0;
                    self.camera.is_faulty.store(false, Relaxed);
                }
                Err(reason) => {
                    // The next frame may do better (a broken JPEG), so only the first of a row is loud.
                    self.failures += 1;
                    match self.failures {
                        1 => warn!("camera {}: a picture was lost: {reason}", self.camera.name()),
                        MANY_FAILURES => {
                            error!(
                                "camera {}: {MANY_FAILURES} pictures in a row were lost: {reason}",
                                self.camera.name()
                            );
                            self.camera.is_faulty.store(true, Relaxed);
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    fn frame(&mut self, frame: Frame, orders: Orders, now: Instant) -> Result<(), String> {
        let jpeg_due = orders.jpeg && self.last_jpeg.is_none_or(|last| now.duration_since(last) >= JPEG_INTERVAL);
        if !orders.video && !orders.jpeg {
            self.decoder = None;
            return Ok(());
        }
        self.renew_stages();
        if self.stages.is_some() && !frame.is_notice() {
            return self.staged_frame(frame, orders, jpeg_due, now);
        }
        let copies = &self.camera.metrics.copies;
        match frame.format() {
            PixelFormat::I420 => self.raw_frame(frame, orders, jpeg_due, now),
            PixelFormat::H264 => self.coded_frame(frame, orders, jpeg_due, now),
            PixelFormat::Mjpeg => {
                if jpeg_due {
                    self.last_jpeg = Some(now);
                    let picture = Bytes::copy_from_slice(frame.plane(0));
                    self.camera.picture.pass(self.masks, || self.camera.jpegs.publish(picture));
                }
                if !orders.video {
                    return Ok(());
                }
                copies.decode.increment();
                let frame = self.converter.to_i420(frame).map_err(|error| error.to_string())?;
                self.raw_frame(frame, orders, false, now)
            }
            PixelFormat::Nv12 | PixelFormat::Yuyv if self.encoders.takes(frame.format()) => {
                self.raw_frame(frame, orders, jpeg_due, now)
            }
            PixelFormat::Nv12
            | PixelFormat::Yuyv
            | PixelFormat::Gray8
            | PixelFormat::Bgr24
            | PixelFormat::Rgb24
            | PixelFormat::Bgra
            | PixelFormat::Rgba => {
                copies.convert.increment();
                let frame = self.converter.to_i420(frame).map_err(|error| error.to_string())?;
                self.raw_frame(frame, orders, jpeg_due, now)
            }
        }
    }

    fn renew_stages(&mut self) {
        let version = self.camera.picture.version();
        if self.stages_version == Some(version) {
            return;
        }
        self.stages_version = Some(version);
        let (settings, masks) = self.camera.picture.settings();
        if std::mem::replace(&mut self.masks, masks) != masks {
            // What was made with other masks is not shown again, and nothing is made out of it.
            self.last = None;
            self.awaits_keyframe = true;
        }
        let was_staged = self.stages.is_some();
        self.stages = Stages::renewed(self.stages.take(), settings, Arc::clone(&self.camera.metrics.stage_times));
        if was_staged != self.stages.is_some() {
            // It may not have been given every unit.
            self.decoder = None;
        }
    }

    /// Whatever the source makes, decoded and done to as the owner wants it. Nothing of it leaves as it came.
    fn staged_frame(&mut self, frame: Frame, orders: Orders, jpeg_due: bool, now: Instant) -> Result<(), String> {
        let copies = &self.camera.metrics.copies;
        let is_coded = frame.format() == PixelFormat::H264;
        let needs_all = is_coded || self.stages.as_ref().is_some_and(Stages::needs_all);
        if !orders.video && !jpeg_due && !needs_all {
            return Ok(());
        }
        let (is_oriented, is_ours) = (frame.is_oriented(), frame.format() != PixelFormat::I420);
        let frame = match frame.format() {
            PixelFormat::I420 => frame,
            PixelFormat::H264 => match self.decode(&frame)? {
                Some(picture) => picture,
                None => return Ok(()),
            },
            format => {
                if format == PixelFormat::Mjpeg { &copies.decode } else { &copies.convert }.increment();
                self.converter.to_i420(frame).map_err(|error| error.to_string())?
            }
        };
        let Some(stages) = &mut self.stages else { return Ok(()) };
        self.camera.metrics.copies.process.increment();
        match stages.apply(frame.oriented(is_oriented), is_ours).map_err(|error| error.to_string())? {
            Some(frame) => self.raw_frame(frame, orders, jpeg_due, now),
            None => Ok(()),
        }
    }

    /// No frame is there, but a viewer may have joined: it gets the last picture at once, as a keyframe, not the next one
    /// after up to a frame's time.
    fn again(&mut self, orders: Orders, now: Instant) -> Result<(), String> {
        self.renew_stages();
        if !orders.video {
            self.last = None;
            if !orders.jpeg
                && let Some(stages) = &mut self.stages
            {
                stages.rest();
            }
        }
        let is_due = self.last_again.is_none_or(|last| now.duration_since(last) >= AGAIN_INTERVAL);
        let Some(frame) = self.last.clone().filter(|_| orders.keyframe && is_due) else { return Ok(()) };
        if Timestamp::now().saturating_since(frame.captured_at()) > OLDEST_AGAIN {
            return Ok(());
        }
        self.last_again = Some(now);
        // A little later than itself, so that no two units share a time, and before any picture to come.
        self.encode(&frame, frame.captured_at().plus(Duration::from_millis(1)), orders, now)
    }

    fn raw_frame(&mut self, frame: Frame, orders: Orders, jpeg_due: bool, now: Instant) -> Result<(), String> {
        let frame = Arc::new(frame);
        if orders.video {
            self.encode(&frame, frame.captured_at(), orders, now)?;
            self.last = Some(Arc::clone(&frame));
        }
        if jpeg_due {
            self.last_jpeg = Some(now);
            self.camera.stills.put(Still { frame, masks: self.masks });
        }
        Ok(())
    }

    /// H.264 from the source: passed through if browsers can play it, else decoded and encoded anew.
    fn coded_frame(&mut self, frame: Frame, orders: Orders, jpeg_due: bool, now: Instant) -> Result<(), String> {
        if annex_b::is_keyframe(frame.plane(0))
            && let Some(sps) = annex_b::nal_units(frame.plane(0)).find_map(annex_b::Sps::parse)
        {
            self.playable = annex_b::browser_playable(&sps);
        }
        let decoded = if orders.jpeg || !self.playable { self.decode(&frame)? } else { None };
        if !self.playable {
            return decoded.map_or(Ok(()), |picture| self.raw_frame(picture, orders, jpeg_due, now));
        }
        if orders.video {
            let captured_at = frame.captured_at();
            self.encode(&Arc::new(frame), captured_at, orders, now)?;
        }
        match decoded {
            Some(picture) => self.raw_frame(picture, Orders { video: false, ..orders }, jpeg_due, now),
            None => Ok(()),
        }
    }

    fn decode(&mut self, frame: &Frame) -> Result<Option<Frame>, String> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(H264Decoder::new(self.pool.clone()).map_err(|error| error.to_string())?),
        };
        self.camera.metrics.copies.decode.increment();
        decoder.decode(frame).map_err(|error| error.to_string())
    }

    fn encode(&mut self, frame: &Arc<Frame>, pts: Timestamp, orders: Orders, now: Instant) -> Result<(), String> {
        let config = &self.camera.encode_config;
        let wanted_bps = orders.bitrate_bps.clamp(config.min_bitrate_bps, config.bitrate_bps);
        let encoder = match &mut self.encoder {
            Some(encoder) if encoder.takes(frame) => encoder,
            other => {
                // The old one lets go of its device before the new one takes it.
                *other = None;
                let framerate = self.camera.capture_config.framerate;
                let encoder =
                    self.encoders.for_frame(frame, framerate, wanted_bps).map_err(|error| error.to_string())?;
                info!("camera {}: encoder: {}", self.camera.name(), encoder.name());
                encoder.name().clone_into(&mut self.camera.status().encoder);
                self.bitrate_bps = wanted_bps;
                self.awaits_keyframe = true;
                other.insert(encoder)
            }
        };
        if wanted_bps != self.bitrate_bps {
            encoder.set_bitrate(wanted_bps).map_err(|error| error.to_string())?;
            self.bitrate_bps = wanted_bps;
        }
        self.camera.metrics.target_bitrate_bps.set(u64::from(wanted_bps));
        match encoder.encode(frame, orders.keyframe || self.awaits_keyframe) {
            Ok(Some(unit)) => {
                self.encoders.worked();
                self.publish(unit.at(pts), now);
            }
            Ok(None) => {}
            Err(error) => {
                // A fresh encoder is made for the next frame.
                self.encoder = None;
                self.encoders.failed(&error);
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn publish(&mut self, unit: AccessUnit, began: Instant) {
        if self.awaits_keyframe && !unit.is_keyframe {
            return;
        }
        self.awaits_keyframe = false;
        let metrics = &self.camera.metrics;
        metrics.encode_time.observe(began.elapsed());
        metrics.capture_to_encoded.observe(Timestamp::now().saturating_since(unit.pts));
        metrics.frames_encoded.increment();
        metrics.encoded_bytes.add(unit.data.len() as u64);
        if unit.is_keyframe {
            metrics.keyframes_encoded.increment();
            self.camera.demand.keyframe_made(began);
        }
        self.camera.picture.pass(self.masks, || self.camera.units.send(unit));
    }
}
