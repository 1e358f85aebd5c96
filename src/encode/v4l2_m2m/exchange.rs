//! One picture in, one out: what is given to the device, and what that which comes out belongs to.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, info};

use super::queue::{Coded, Given};
use super::{CodedFormat, M2mEncoder};
use crate::encode::EncodeError;
use crate::media::access_unit::AccessUnit;
use crate::media::annex_b;
use crate::media::frame::Frame;

/// One wait, so that an encoder that is ready without saying so is noticed.
const WAIT: Duration = Duration::from_millis(100);
/// Between two looks whether a picture has been given back, which nothing announces.
const NAP: Duration = Duration::from_millis(1);

/// What became of a picture.
pub(super) enum Outcome {
    Unit(AccessUnit),
    Skipped,
}

impl M2mEncoder {
    /// Gives the device a picture; returns the time by which it is known.
    pub(super) fn submit(&mut self, frame: &Arc<Frame>, until: Instant) -> Result<u64, EncodeError> {
        // The camera's own time where that is later than the last one's, so that it can be followed in traces.
        let time_us = (frame.captured_at().as_nanos() / 1000).max(self.last_time_us + 1);
        self.last_time_us = time_us;
        loop {
            let Some(queue) = &mut self.queue else { return Err(self.error("it is closed")) };
            match queue.submit(frame, time_us) {
                Ok(Given::Lent) => {
                    self.reading = Some(Arc::clone(frame));
                    return Ok(time_us);
                }
                Ok(Given::Copied) => {
                    self.copies.encode.increment();
                    return Ok(time_us);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return Err(self.error("it does not give pictures back"));
                    }
                    if !self.take_back()? {
                        thread::sleep(NAP);
                    }
                }
                // Memory that this device cannot read (not in one piece, say): it gets copies from now on.
                Err(error) if self.may_lend && self.settings.input.is_dma_buf => {
                    info!("{}: cannot read the camera's memory ({error}): pictures are copied", self.name);
                    self.may_lend = false;
                    self.reopen()?;
                }
                Err(error) => return Err(self.refused("be given a picture", &error)),
            }
        }
    }

    fn take_back(&mut self) -> Result<bool, EncodeError> {
        let Some(queue) = &mut self.queue else { return Ok(false) };
        queue.take_back().map_err(|error| self.refused("give a picture back", &error))
    }

    /// Waits for what becomes of the picture with `time_us`.
    pub(super) fn outcome(&mut self, frame: &Frame, time_us: u64, until: Instant) -> Result<Outcome, EncodeError> {
        loop {
            let Some(queue) = &mut self.queue else { return Err(self.error("it is closed")) };
            let coded = match queue.coded() {
                Ok(coded) => coded,
                Err(error) => return Err(self.refused("encode", &error)),
            };
            let Some(coded) = coded else {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(self.error(format!("no answer for {} ms", self.deadline.as_millis())));
                }
                queue.wait(left.min(WAIT)).map_err(|error| self.refused("be waited for", &error))?;
                continue;
            };
            let is_last = coded.is_last;
            if let Some(outcome) = self.classify(coded, frame, time_us) {
                return Ok(outcome);
            }
            if is_last {
                return Err(self.error("it ended the stream by itself"));
            }
        }
    }

    /// What a coded buffer says of the picture with `time_us`; `None`: nothing.
    fn classify(&mut self, coded: Coded, frame: &Frame, time_us: u64) -> Option<Outcome> {
        if coded.time_us != time_us {
            // Parameter sets may come alone, before anything else.
            if self.settings.coded == CodedFormat::H264 {
                annex_b::nal_units(&coded.data).for_each(|nal| self.sets.remember(nal));
            }
            debug!("{}: {} bytes of time {} belong to no picture", self.name, coded.data.len(), coded.time_us);
            return None;
        }
        if coded.is_damaged {
            debug!("{}: a picture was damaged", self.name);
            return Some(Outcome::Skipped);
        }
        if coded.data.is_empty() {
            return Some(Outcome::Skipped);
        }
        Some(Outcome::Unit(self.unit(coded, frame)))
    }

    fn unit(&mut self, coded: Coded, frame: &Frame) -> AccessUnit {
        if self.settings.coded != CodedFormat::H264 {
            return AccessUnit::new(coded.data, frame.captured_at(), coded.is_keyframe);
        }
        let is_keyframe = annex_b::is_keyframe(&coded.data);
        let data = if is_keyframe && self.sets.lacks(&coded.data) {
            self.sets.complete(coded.data.to_vec()).into()
        } else {
            coded.data
        };
        AccessUnit::new(data, frame.captured_at(), is_keyframe)
    }

    /// Waits until the device has read its picture, so that the camera gets the memory back.
    pub(super) fn reclaim(&mut self, until: Instant) -> Result<(), EncodeError> {
        while !self.take_back()? {
            if Instant::now() >= until {
                return Err(self.error("it does not give pictures back"));
            }
            thread::sleep(NAP);
        }
        self.reading = None;
        Ok(())
    }

    /// Ends the stream: encodes `last`, if there is one, without waiting for it, says that no more come, and returns what
    /// still comes out. Drivers end with an empty buffer or with the last coded one. The next picture begins a new
    /// stream.
    ///
    /// # Errors
    /// When the driver does not know the command, or does not come to an end within a second.
    pub fn finish(&mut self, last: Option<&Arc<Frame>>) -> Result<Vec<AccessUnit>, EncodeError> {
        let until = Instant::now() + self.deadline;
        let mut units = Vec::new();
        let given = match last {
            Some(frame) => Some((frame, self.submit(frame, until)?)),
            None => None,
        };
        let Some(queue) = &mut self.queue else { return Ok(units) };
        queue.finish().map_err(|error| self.refused("be told the end", &error))?;
        loop {
            let Some(queue) = &mut self.queue else { return Ok(units) };
            match queue.coded() {
                Ok(Some(coded)) => {
                    let is_last = coded.is_last;
                    if let Some((frame, time_us)) = given
                        && let Some(Outcome::Unit(unit)) = self.classify(coded, frame, time_us)
                    {
                        units.push(unit);
                    }
                    if is_last {
                        break;
                    }
                }
                // After the last buffer; whoever missed the flag sees this.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => break,
                Err(error) => return Err(self.refused("encode", &error)),
                Ok(None) if Instant::now() >= until => return Err(self.error("it does not come to an end")),
                Ok(None) => queue.wait(WAIT).map_err(|error| self.refused("be waited for", &error))?,
            }
        }
        if given.is_some() {
            self.reclaim(until)?;
        }
        self.is_streaming = false;
        Ok(units)
    }
}
