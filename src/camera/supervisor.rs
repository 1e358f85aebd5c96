//! The capture thread: a source that is allowed to be absent, to vanish and to come back.
//!
//! [`Supervisor::run`] never gives up: it opens the source, takes frames while somebody watches, and when that
//! fails shows the slate, waits a little longer each time, and tries again. Viewers stay connected.

use std::time::{Duration, Instant};

use log::{info, warn};

use super::status::State;
use super::{Shared, SourceFactory};
use crate::base::backoff::Backoff;
use crate::base::clock::Timestamp;
use crate::capture::{Arrivals, CaptureError, Opened};
use crate::media::frame::Frame;
use crate::process::slate::Slate;

/// How long one wait lasts at most, so that a shutdown is noticed.
const TICK: Duration = Duration::from_millis(200);
/// Time between two pictures of the slate.
const SLATE_INTERVAL: Duration = Duration::from_millis(200);
/// Longest time between two tries: a camera that can be used again is to be seen again within two seconds.
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// A live picture older than this was taken before anybody watched.
const OLDEST_LIVE: Duration = Duration::from_millis(500);

pub(super) struct Supervisor<'a> {
    camera: &'a Shared,
    factory: SourceFactory,
    backoff: Backoff,
    /// A camera that is plugged in is not left waiting.
    arrivals: Arrivals,
    /// Size of the last pictures, which the slate keeps so that the encoder need not start anew.
    size: (usize, usize),
    /// Whether the source that is open, or was last, has given a picture.
    has_shown: bool,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(camera: &'a Shared, factory: SourceFactory) -> Self {
        let resolution = camera.capture_config.resolution;
        let size = camera.picture.output_size((resolution.width, resolution.height), false);
        Self {
            camera,
            factory,
            backoff: Backoff::new(Duration::from_millis(250), LONGEST_DELAY),
            arrivals: Arrivals::new(),
            size,
            has_shown: false,
        }
    }

    /// Runs until shutdown.
    pub(super) fn run(mut self) {
        while !self.stopping() {
            self.camera.pulses.capture.beat();
            if self.camera.privacy.is_on() {
                self.show_privacy();
                continue;
            }
            let asked = self.camera.tuning.open();
            let outcome = self.run_once();
            drop(asked);
            match outcome {
                Ok(()) | Err(CaptureError::Superseded) => {}
                // A file that loops does not end; a pipe does, and its next writer is waited for.
                Err(CaptureError::Ended) if !self.camera.capture_config.repeat => self.show_the_end(),
                Err(error) if self.has_shown && !self.camera.capture_config.enable_infinite_frames => {
                    self.camera.metrics.source_failures.increment();
                    warn!("camera {}: the source is lost: {error}", self.camera.name());
                    self.show_the_end();
                }
                Err(error) => self.show_no_input(&error),
            }
        }
    }

    fn stopping(&self) -> bool {
        self.camera.shutdown.is_requested()
    }

    /// Opens the source and runs it. `Ok` means shutdown, or that the owner switched the camera off.
    fn run_once(&mut self) -> Result<(), CaptureError> {
        self.camera.metrics.source_opens.increment();
        self.has_shown = false;
        // What changes from here on may be why it will work the next time.
        self.arrivals.changed();
        let mut opened = (self.factory)()?;
        let description = opened.source.describe();
        let is_oriented = opened.source.orients();
        info!("camera {}: {description}", self.camera.name());
        {
            let mut status = self.camera.status();
            status.source.clone_from(&description);
            // A source that failed before is live again only when it has shown a picture.
            if status.state == State::Starting {
                status.state = State::Live;
            }
        }
        self.camera.tuning.restore(&mut *opened.source)?;
        self.warm_up();
        let mut idle = true;
        let mut last_picture = Instant::now();
        while !self.stopping() && !self.camera.privacy.is_on() {
            self.camera.pulses.capture.beat();
            if self.camera.tuning.answer(&mut *opened.source)? {
                self.camera.demand.nudge();
            }
            if !self.camera.demand.wait_for_readers(TICK) {
                idle = true;
                continue;
            }
            if std::mem::take(&mut idle) {
                last_picture = Instant::now();
                if opened.is_live {
                    // Meanwhile it went on without us.
                    self.camera.break_chain();
                }
            }
            match opened.source.next_frame(TICK)? {
                Some(frame) => {
                    self.camera.metrics.frames_captured.increment();
                    self.camera.metrics.copies.capture.add(frame.copies().into());
                    if opened.is_live && is_old(&frame) {
                        self.camera.break_chain();
                        continue;
                    }
                    last_picture = Instant::now();
                    let frame = frame.oriented(is_oriented).even();
                    self.picture_came(&frame);
                    self.camera.offer(frame);
                }
                None => self.picture_is_late(&opened, last_picture.elapsed())?,
            }
        }
        Ok(())
    }

    /// Gives a camera the time that its owner wants it to have.
    fn warm_up(&self) {
        let delay = Duration::from_secs(self.camera.capture_config.time_delay_s.into());
        let until = Instant::now() + delay;
        if !delay.is_zero() {
            let privacy = &self.camera.privacy;
            self.show_slate("Starting", "The camera warms up", || Instant::now() >= until || privacy.is_on());
        }
    }

    fn picture_came(&mut self, frame: &Frame) {
        self.has_shown = true;
        let size = self.camera.picture.output_size((frame.width(), frame.height()), frame.is_oriented());
        let mut status = self.camera.status();
        if status.state != State::Live {
            info!("camera {}: picture is back", self.camera.name());
            status.state = State::Live;
            status.reason.clear();
        }
        if (status.width, status.height) != size {
            (status.width, status.height) = size;
            self.size = size;
        }
        self.backoff.reset();
    }

    /// A camera that is late is started anew; a pipe whose writer rests is kept, and the slate shown meanwhile.
    fn picture_is_late(&mut self, opened: &Opened, late: Duration) -> Result<(), CaptureError> {
        let timeout = self.camera.capture_config.stall_timeout();
        if late < timeout {
            return Ok(());
        }
        if opened.is_live {
            return Err(CaptureError::Stalled(timeout));
        }
        let reason = CaptureError::Stalled(timeout).to_string();
        self.set_state(State::NoInput, &reason);
        self.camera.offer(Slate::new(self.size).render("No input", &reason, Timestamp::now()).as_notice());
        Ok(())
    }

    fn set_state(&self, state: State, reason: &str) {
        let mut status = self.camera.status();
        if status.state != state {
            match state {
                State::NoInput => warn!("camera {}: no input: {reason}", self.camera.name()),
                _ => info!("camera {}: {reason}", self.camera.name()),
            }
        }
        status.state = state;
        reason.clone_into(&mut status.reason);
    }

    fn show_no_input(&mut self, error: &CaptureError) {
        self.camera.metrics.source_failures.increment();
        let delay = self.backoff.next_delay();
        let reason = error.to_string();
        self.set_state(State::NoInput, &reason);
        let until = Instant::now() + delay;
        let privacy = &self.camera.privacy;
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut something_came = false;
        self.show_slate("No input", &reason, || {
            something_came = arrivals.changed();
            something_came || Instant::now() >= until || privacy.is_on()
        });
        self.arrivals = arrivals;
        if something_came {
            self.backoff.reset();
        }
    }

    /// Shows that the camera is off until it is switched on. The source is closed by now.
    fn show_privacy(&mut self) {
        self.set_state(State::Private, "the camera was switched off");
        self.camera.tuning.close();
        let privacy = &self.camera.privacy;
        self.show_slate("Privacy", "The camera is switched off", || !privacy.is_on());
        self.set_state(State::Starting, "the camera was switched on");
    }

    /// Shows the last card until somebody new comes to watch.
    fn show_the_end(&mut self) {
        self.set_state(State::Ended, "the source has ended; it is opened again for the next viewer");
        let joins = self.camera.demand.joins();
        let demand = &self.camera.demand;
        let privacy = &self.camera.privacy;
        self.show_slate("The End", "", || demand.joins() != joins || privacy.is_on());
        self.set_state(State::Starting, "opened again");
    }

    fn show_slate(&self, headline: &str, detail: &str, mut over: impl FnMut() -> bool) {
        let slate = Slate::new(self.size);
        while !over() && !self.stopping() {
            self.camera.pulses.capture.beat();
            if self.camera.demand.wait_for_readers(SLATE_INTERVAL) {
                self.camera.offer(slate.render(headline, detail, Timestamp::now()).as_notice());
                if self.camera.shutdown.wait_timeout(SLATE_INTERVAL) {
                    return;
                }
            }
        }
    }
}

fn is_old(frame: &Frame) -> bool {
    Timestamp::now().saturating_since(frame.captured_at()) > OLDEST_LIVE
}
