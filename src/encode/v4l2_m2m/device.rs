//! A real encoder behind the queue interface.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use log::debug;

use super::queue::{Coded, Given, M2mQueue};
use super::settings::{Input, Settings};
use crate::base::poll::Readiness;
use crate::media::frame::{Frame, PixelFormat, hardware_stride, strided_planes};
use crate::v4l2::{Control, ControlId, InputMemory, M2mDevice, M2mQueues, NegotiatedFormat, Rate};

/// One for each buffer that a camera may have, so that the driver knows each dma-buf by its place.
const LENT_PLACES: u32 = 8;
/// One being read and one being filled.
const COPIED_PLACES: u32 = 2;
/// One being filled, one being read, and two for whatever the driver thinks of.
const CODED_BUFFERS: u32 = 4;
/// How long to wait where waiting does not wait.
const NAP: Duration = Duration::from_millis(1);

/// An opened encoder.
pub(super) struct DeviceQueue {
    queues: M2mQueues,
    input: Input,
    negotiated: NegotiatedFormat,
    /// The device said that something is there, and nothing has come yet.
    was_announced: bool,
}

impl DeviceQueue {
    /// Opens the encoder at `path` and sets formats and rate. Pictures are lent as dma-bufs if `may_lend`, the kind of
    /// picture allows it, and the driver agrees; else they are copied.
    pub(super) fn open(path: &Path, settings: &Settings, may_lend: bool) -> Result<Self, String> {
        let text = |error: crate::v4l2::DeviceError| error.to_string();
        if may_lend && settings.input.is_dma_buf {
            let (device, negotiated) = negotiate(path, settings, settings.input.stride)?;
            // Another layout than the camera's cannot be lent.
            if negotiated.stride == settings.input.stride {
                match device.allocate(InputMemory::DmaBuf, LENT_PLACES, CODED_BUFFERS) {
                    Ok(queues) => return Ok(Self { queues, input: settings.input, negotiated, was_announced: false }),
                    Err(error) => debug!("pictures are copied: {error}"),
                }
            } else {
                debug!(
                    "pictures are copied: the camera's rows are {} bytes apart, the encoder wants {}",
                    settings.input.stride, negotiated.stride
                );
            }
        }
        let (device, negotiated) =
            negotiate(path, settings, hardware_stride(settings.input.format, settings.input.size.0))?;
        let queues = device.allocate(InputMemory::Copied, COPIED_PLACES, CODED_BUFFERS).map_err(text)?;
        Ok(Self { queues, input: settings.input, negotiated, was_announced: false })
    }
}

/// Opens the device and sets its formats; says so if it insists on others.
fn negotiate(path: &Path, settings: &Settings, stride: usize) -> Result<(M2mDevice, NegotiatedFormat), String> {
    let text = |error: crate::v4l2::DeviceError| error.to_string();
    let Input { size, .. } = settings.input;
    let device = M2mDevice::open(path).map_err(text)?;
    let coded = device.set_coded_format(settings.coded.0, size, settings.coded_buffer_bytes()).map_err(text)?;
    if coded.fourcc != settings.coded.0 {
        return Err(format!("{}: it makes no {}", path.display(), settings.coded.0.escape_ascii()));
    }
    let fourcc = settings.input.fourcc();
    let negotiated = device.set_input_format(fourcc, size, stride, 0).map_err(text)?;
    if negotiated.fourcc != fourcc || negotiated.width != size.0 || negotiated.height < size.1 {
        return Err(format!(
            "{}: asked to take {}×{} {}, it takes {}×{} {}",
            path.display(),
            size.0,
            size.1,
            fourcc.escape_ascii(),
            negotiated.width,
            negotiated.height,
            negotiated.fourcc.escape_ascii()
        ));
    }
    if device.set_rate(Rate { pictures: settings.framerate, seconds: 1 }).is_none() {
        debug!("{}: the driver does not want to know the rate", path.display());
    }
    Ok((device, negotiated))
}

impl M2mQueue for DeviceQueue {
    fn control(&self, id: ControlId) -> Option<Control> {
        self.queues.device().controls().find(id)
    }

    fn set_control(&mut self, id: ControlId, value: i64) -> Result<(), String> {
        self.queues.device().controls().set(id, value).map_err(|error| error.to_string())
    }

    fn start(&mut self) -> io::Result<()> {
        self.queues.start()
    }

    fn stop(&mut self) -> io::Result<()> {
        self.queues.stop()
    }

    fn submit(&mut self, frame: &Frame, time_us: u64) -> io::Result<Given> {
        let lent = frame.dma_buf().filter(|_| self.queues.memory() == InputMemory::DmaBuf);
        let place = self.queues.free_place(lent).ok_or(io::ErrorKind::WouldBlock)?;
        if let Some(mut picture) = lent {
            // The memory may be longer than the picture, which the kernel checks: what is too short it refuses.
            let used = match self.negotiated.size_bytes {
                0 => picture.length,
                whole => picture.length.min(whole),
            };
            picture.length = picture.length.max(self.negotiated.size_bytes);
            self.queues.enqueue_dma_buf(place, picture, used, time_us)?;
            return Ok(Given::Lent);
        }
        let (stride, rows) = (self.negotiated.stride, self.negotiated.height);
        let input = self.input;
        self.queues.enqueue_copy(place, self.negotiated.size_bytes, time_us, |to| {
            copy_rows(frame, to, (input.size.0, rows), stride);
        })?;
        Ok(Given::Copied)
    }

    fn take_back(&mut self) -> io::Result<bool> {
        self.queues.dequeue_input()
    }

    fn coded(&mut self) -> io::Result<Option<Coded>> {
        let coded = self.queues.dequeue_coded(|coded| Coded {
            data: Bytes::copy_from_slice(coded.data),
            time_us: coded.time_us,
            is_keyframe: coded.is_keyframe,
            is_damaged: coded.is_damaged,
            is_last: coded.is_last,
        })?;
        if coded.is_some() {
            self.was_announced = false;
        }
        Ok(coded)
    }

    fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        if self.was_announced {
            // A false alarm, and the next may be one too: this must not spin.
            thread::sleep(NAP.min(timeout));
        }
        match self.queues.wait(timeout)? {
            Readiness::TimedOut => {}
            Readiness::HungUp => return Err(io::Error::from_raw_os_error(libc::ENODEV)),
            // Dequeuing tells what is there, or what is wrong.
            Readiness::Readable | Readiness::Failed => self.was_announced = true,
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.queues.finish()
    }
}

/// Copies a picture into a buffer whose first plane has rows `stride` bytes apart and `size.1` rows.
fn copy_rows(frame: &Frame, to: &mut [u8], size: (usize, usize), stride: usize) {
    let (places, count) = strided_planes(frame.format(), size, stride);
    for (index, place) in places[..count].iter().enumerate() {
        let from = frame.planes()[index];
        let row = match (frame.format(), index) {
            (PixelFormat::Yuyv, _) => frame.width() * 2,
            (PixelFormat::I420, 1 | 2) => frame.width().div_ceil(2),
            _ => frame.width(),
        };
        let row = row.min(from.stride).min(place.stride);
        let Some(plane) = to.get_mut(place.offset..) else { return };
        let rows = frame.plane(index).chunks(from.stride.max(1)).zip(plane.chunks_mut(place.stride.max(1)));
        for (from, to) in rows.take(from.rows.min(place.rows)) {
            if let (Some(from), Some(to)) = (from.get(..row), to.get_mut(..row)) {
                to.copy_from_slice(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::media::frame::packed_size;

    #[test]
    fn rows_are_copied_to_the_encoders_own_layout() {
        let size = (4, 4);
        let bytes: Vec<u8> = (1..).take(packed_size(PixelFormat::I420, size)).collect();
        let frame = Frame::packed(PixelFormat::I420, size, Timestamp::default(), Box::new(bytes)).unwrap();
        // 8 bytes from row to row, and 6 rows instead of 4.
        let mut to = vec![0; 8 * 6 + 2 * 4 * 3];
        copy_rows(&frame, &mut to, (4, 6), 8);
        assert_eq!(to[..12], [1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 7, 8]);
        assert_eq!(to[48..54], [17, 18, 0, 0, 19, 20]);
        assert_eq!(to[60..66], [21, 22, 0, 0, 23, 24]);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_filled_as_far_as_it_goes() {
        let frame = Frame::packed(PixelFormat::Yuyv, (4, 2), Timestamp::default(), Box::new(vec![9; 16])).unwrap();
        let mut to = vec![0; 12];
        copy_rows(&frame, &mut to, (4, 2), 8);
        assert_eq!(to, [9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0]);
    }
}
