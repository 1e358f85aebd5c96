//! One camera of libcamera, running: requests go round, each with one buffer.
//!
//! A request is with libcamera until its buffer is full, then with perch until the frame is dropped, and then goes
//! back, so that a picture is always taken into a buffer that nobody looks at. Requests that libcamera never
//! returns (it does not after an unplug) show as a stall, which is for the other process to see.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use libcamera::camera::{
    ActiveCamera, Camera, CameraConfiguration, CameraConfigurationStatus, Orientation, SensorConfiguration,
};
use libcamera::camera_manager::CameraManager;
use libcamera::color_space::ColorSpace;
use libcamera::framebuffer::{AsFrameBuffer as _, FrameMetadataStatus};
use libcamera::framebuffer_allocator::{FrameBuffer, FrameBufferAllocator};
use libcamera::geometry::Size;
use libcamera::pixel_format;
use libcamera::request::{Request, RequestStatus, ReuseFlag};
use libcamera::stream::{Stream, StreamRole};
use log::{debug, info, warn};

use super::limiter::Limiter;
use super::{description, name_of, settings};
use crate::base::clock::Timestamp;
use crate::capture::controls::Controls;
use crate::capture::tuning::{Change, Control, ControlError};
use crate::capture::worker::{Captured, Layout, LendingCamera, Waker};
use crate::capture::{CaptureError, Config};
use crate::media::frame::{PixelFormat, Plane};

/// One being filled, one waiting, one being encoded, and one to spare.
const BUFFERS: u32 = 4;
/// When every buffer is on its way, only libcamera or a message changes that.
const LONG: Duration = Duration::from_secs(60);
/// A picture whose time is further off than this has a time of another clock.
const LONGEST_TRUE_AGE: Duration = Duration::from_secs(10);
/// What perch takes, best first: what OpenH264 reads and every hardware encoder too, then what costs more.
const FORMATS: [(PixelFormat, [u8; 4]); 4] = [
    (PixelFormat::I420, *b"YU12"),
    (PixelFormat::Nv12, *b"NV12"),
    (PixelFormat::Yuyv, *b"YUYV"),
    (PixelFormat::Mjpeg, *b"MJPG"),
];

/// A running camera. Fields are dropped in this order: libcamera wants requests gone before buffers, buffers
/// before the camera, and the camera before its manager.
pub struct RunningCamera {
    waiting: Vec<Request>,
    lent: Vec<Option<Request>>,
    completed: Receiver<Request>,
    _allocator: FrameBufferAllocator,
    active: ActiveCamera<'static>,
    _manager: CameraManager,
    stream: Stream,
    name: String,
    layout: Layout,
    memory: Vec<(OwnedFd, usize)>,
    limiter: Limiter,
    ask_again_in: Duration,
    is_gone: Arc<AtomicBool>,
    /// The settings with the controls of now.
    config: Config,
    /// The controls that it began with.
    first: Controls,
    /// What the next request will tell libcamera.
    told_next: settings::Values,
}

fn unusable(words: String) -> CaptureError {
    CaptureError::Unusable(words)
}

impl RunningCamera {
    /// Takes the camera with this `id` for perch alone, and starts it as `config` wishes.
    pub fn start(manager: CameraManager, id: &str, config: &Config, waker: Waker) -> Result<Self, CaptureError> {
        // Looked up here, so that it is gone before its manager also when this fails: libcamera crashes otherwise.
        let camera: Camera<'static> = manager.get(id).ok_or_else(|| unusable(format!("{id}: it is gone")))?;
        let name = name_of(&camera);
        let refused = |what: &str, error: std::io::Error| unusable(format!("{name}: {what}: {error}"));
        let controls = settings::list(settings::at_start(&camera, &name, config)?)?;
        let mut active =
            camera.acquire().map_err(|error| refused("it is in use by another program, or cannot be opened", error))?;
        let mut configuration = active
            .generate_configuration(&[StreamRole::VideoRecording])
            .ok_or_else(|| unusable(format!("{name}: it records no video")))?;
        let (format, is_oriented) = configure(&mut configuration, &name, config)?;
        active.configure(&mut configuration).map_err(|error| refused("it cannot be configured", error))?;
        let (stream, size, stride) = {
            let chosen = configuration.get(0).ok_or_else(|| unusable(format!("{name}: it has no stream")))?;
            let stream = chosen.stream().ok_or_else(|| unusable(format!("{name}: its stream did not start")))?;
            (stream, chosen.get_size(), chosen.get_stride() as usize)
        };
        let size = (size.width as usize, size.height as usize);

        let mut allocator = FrameBufferAllocator::new(&active);
        let buffers =
            allocator.alloc(&stream).map_err(|error| refused("there is no memory for its pictures", error))?;
        let mut planes = None;
        let mut memory = Vec::with_capacity(buffers.len());
        let mut requests = Vec::with_capacity(buffers.len());
        for (index, buffer) in (0..).zip(buffers) {
            let place =
                Place::of(&buffer, format, size, stride).map_err(|words| unusable(format!("{name}: {words}")))?;
            if planes.get_or_insert_with(|| place.planes.clone()) != &place.planes {
                return Err(unusable(format!("{name}: its buffers differ from each other")));
            }
            memory.push((place.descriptor, place.length));
            let mut request =
                active.create_request(Some(index)).ok_or_else(|| unusable(format!("{name}: it takes no requests")))?;
            request.add_buffer(&stream, buffer).map_err(|error| refused("it refuses its own buffer", error))?;
            requests.push(request);
        }

        let (sender, completed) = channel();
        let request_waker = waker.clone();
        active.on_request_completed(move |request| {
            let _ = sender.send(request);
            request_waker.wake();
        });
        let is_gone = Arc::new(AtomicBool::new(false));
        let gone = Arc::clone(&is_gone);
        active.on_disconnected(move || {
            gone.store(true, Ordering::Relaxed);
            waker.wake();
        });
        active.start(Some(&controls)).map_err(|error| refused("it does not start", error))?;
        let description = format!("{name} {}×{} {format} (libcamera)", size.0, size.1);
        let running = Self {
            waiting: Vec::new(),
            lent: requests.iter().map(|_| None).collect(),
            completed,
            _allocator: allocator,
            active,
            _manager: manager,
            stream,
            name,
            layout: Layout { is_oriented, ..Layout::new(description, format, size, &planes.unwrap_or_default()) },
            memory,
            limiter: Limiter::new(config.framerate),
            ask_again_in: LONG,
            is_gone,
            first: config.controls.clone(),
            config: config.clone(),
            told_next: Vec::new(),
        };
        for request in requests {
            running.queue(request)?;
        }
        Ok(running)
    }

    fn queue(&self, request: Request) -> Result<(), CaptureError> {
        self.active
            .queue_request(request)
            .map_err(|(_, error)| CaptureError::Lost(format!("{}: it takes no more requests: {error}", self.name)))
    }

    /// Gives libcamera what has come back, no faster than pictures were asked for.
    fn queue_what_is_due(&mut self) -> Result<(), CaptureError> {
        self.ask_again_in = LONG;
        while !self.waiting.is_empty() {
            let wait = self.limiter.poll(Instant::now());
            if !wait.is_zero() {
                self.ask_again_in = wait;
                return Ok(());
            }
            let mut request = self.waiting.remove(0);
            request.reuse(ReuseFlag::REUSE_BUFFERS);
            for (id, value) in self.told_next.drain(..) {
                if let Err(error) = request.controls_mut().set_raw(id as u32, value) {
                    warn!("{}: libcamera refuses a control: {error}", self.name);
                }
            }
            self.queue(request)?;
        }
        Ok(())
    }

    /// What is in a full buffer; `None` where the picture is damaged.
    fn captured(&self, request: &Request) -> Option<Captured> {
        let buffer = request.buffer::<FrameBuffer>(&self.stream)?;
        let metadata = buffer.metadata()?;
        let index = usize::try_from(request.cookie()).ok()?;
        let (_, length) = self.memory.get(index)?;
        if metadata.status() != FrameMetadataStatus::Success {
            return None;
        }
        let bytes_used = metadata.planes().into_iter().map(|plane| plane.bytes_used as usize).sum();
        let is_compressed = self.layout.planes.is_empty();
        Some(Captured {
            index,
            captured_at_ns: true_time(metadata.timestamp()),
            bytes_used: if is_compressed { bytes_used } else { *length },
        })
    }
}

/// libcamera's time of a picture, which is on `CLOCK_MONOTONIC` unless a pipeline gets it wrong.
fn true_time(nanos: u64) -> u64 {
    let (now, time) = (Timestamp::now(), Timestamp::from_nanos(nanos));
    let off = now.saturating_since(time).max(time.saturating_since(now));
    if off < LONGEST_TRUE_AGE { nanos } else { now.as_nanos() }
}

impl LendingCamera for RunningCamera {
    fn layout(&self) -> Layout {
        self.layout.clone()
    }

    fn buffers(&self) -> Vec<(BorrowedFd<'_>, usize)> {
        use std::os::fd::AsFd as _;
        self.memory.iter().map(|(descriptor, length)| (descriptor.as_fd(), *length)).collect()
    }

    fn take(&mut self) -> Result<Option<Captured>, CaptureError> {
        if self.is_gone.load(Ordering::Relaxed) {
            return Err(CaptureError::Lost(format!("{} was unplugged", self.name)));
        }
        self.queue_what_is_due()?;
        while let Ok(request) = self.completed.try_recv() {
            if request.status() == RequestStatus::Cancelled {
                debug!("{}: a request was cancelled", self.name);
                continue;
            }
            match self.captured(&request) {
                Some(captured) => {
                    self.lent[captured.index] = Some(request);
                    return Ok(Some(captured));
                }
                None => self.waiting.push(request),
            }
        }
        Ok(None)
    }

    fn release(&mut self, index: usize) -> Result<(), CaptureError> {
        self.waiting.extend(self.lent.get_mut(index).and_then(Option::take));
        self.queue_what_is_due()
    }

    fn ask_again_in(&self) -> Duration {
        self.ask_again_in
    }

    fn controls(&self) -> Vec<Control> {
        description::describe(&self.active, &self.first, &self.config.controls)
    }

    /// libcamera is told with the next request, which is when the next picture is dropped.
    fn change_controls(&mut self, changes: &[Change]) -> Result<(), ControlError> {
        let mut controls = self.config.controls.clone();
        for Change { key, value } in changes {
            // What the owner set in the config file is the default.
            let value = value.clone().or_else(|| self.first.value(key));
            controls = controls.with(key, value.as_ref()).map_err(ControlError::Refused)?;
        }
        controls.validate().map_err(|(key, problem)| ControlError::Refused(format!("control `{key}`: {problem}")))?;
        let keys: Vec<_> = changes.iter().map(|change| change.key.clone()).collect();
        let config = Config { controls, ..self.config.clone() };
        let values =
            settings::while_running(&self.active, &self.name, &keys, &config).map_err(ControlError::Refused)?;
        self.told_next.retain(|(told, _)| !values.iter().any(|(id, _)| id == told));
        self.told_next.extend(values);
        self.config = config;
        Ok(())
    }
}

impl Drop for RunningCamera {
    fn drop(&mut self) {
        if let Err(error) = self.active.stop() {
            debug!("{}: it does not stop: {error}", self.name);
        }
    }
}

/// Writes the wishes into `configuration`; returns the format that was chosen, and whether the camera orients its pictures.
fn configure(
    configuration: &mut CameraConfiguration,
    name: &str,
    config: &Config,
) -> Result<(PixelFormat, bool), CaptureError> {
    let format = {
        let mut stream = configuration.get_mut(0).ok_or_else(|| unusable(format!("{name}: it has no stream")))?;
        let offered: Vec<_> = stream.formats().pixel_formats().into_iter().collect();
        let known = |(_, fourcc): &&(PixelFormat, [u8; 4])| offered.contains(&libcamera_format(*fourcc));
        let Some((format, fourcc)) = FORMATS.iter().find(known) else {
            return Err(unusable(format!("{name}: it offers no format that perch reads, only {offered:?}")));
        };
        stream.set_pixel_format(libcamera_format(*fourcc));
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        stream.set_size(Size::new(side(config.resolution.width), side(config.resolution.height)));
        stream.set_buffer_count(BUFFERS);
        // As all of perch's pictures are: see `encode::openh264`.
        stream.set_color_space(Some(ColorSpace::smpte170m()));
        *format
    };
    let orientation = settings::orientation(config);
    configuration.set_orientation(orientation);
    if let Some(mode) = config.sensor_mode {
        let mut sensor = SensorConfiguration::new();
        sensor.set_output_size(mode.width, mode.height);
        sensor.set_bit_depth(mode.bit_depth);
        configuration.set_sensor_configuration(sensor);
    }
    match configuration.validate() {
        CameraConfigurationStatus::Valid => {}
        CameraConfigurationStatus::Adjusted => debug!("{name}: libcamera chose {}", configuration.to_string_repr()),
        CameraConfigurationStatus::Invalid => {
            let mode = config.sensor_mode.map_or_else(String::new, |mode| format!(" in `camera.sensor_mode` {mode}"));
            return Err(unusable(format!("{name}: it cannot make pictures of {}{mode}", config.resolution)));
        }
    }
    let mut is_oriented = config.turns_by_halves();
    if is_oriented && configuration.orientation() != orientation {
        info!("{name}: it cannot be {orientation:?} itself: perch turns its pictures");
        is_oriented = false;
        configuration.set_orientation(Orientation::Rotate0);
        if matches!(configuration.validate(), CameraConfigurationStatus::Invalid) {
            return Err(unusable(format!("{name}: it cannot make pictures of {}", config.resolution)));
        }
    }
    let insists = configuration.get(0).map(|stream| stream.get_pixel_format());
    let chosen = FORMATS.iter().find(|(_, fourcc)| insists == Some(libcamera_format(*fourcc)));
    match chosen {
        Some((chosen, _)) => {
            if *chosen != format {
                warn!("{name}: asked for {format}, it insists on {chosen}");
            }
            Ok((*chosen, is_oriented))
        }
        None => Err(unusable(format!("{name}: it insists on {insists:?}, which perch does not read"))),
    }
}

const fn libcamera_format(fourcc: [u8; 4]) -> pixel_format::PixelFormat {
    pixel_format::PixelFormat::new(u32::from_le_bytes(fourcc), 0)
}

/// Where a buffer's picture lies.
struct Place {
    descriptor: OwnedFd,
    length: usize,
    planes: Vec<Plane>,
}

impl Place {
    fn of(buffer: &FrameBuffer, format: PixelFormat, size: (usize, usize), stride: usize) -> Result<Self, String> {
        let parts = buffer.planes();
        let first = parts.get(0).ok_or("its buffers have no planes")?;
        let same_memory = |fd: i32| fd == first.fd() || is_same_memory(fd, first.fd());
        if !parts.into_iter().all(|part| same_memory(part.fd())) {
            return Err("the planes of its pictures lie in separate memory, which encoders do not take".to_owned());
        }
        let ends = parts.into_iter().map(|part| part.offset().unwrap_or(0) + part.len());
        let length = ends.max().unwrap_or(0);
        // SAFETY: the descriptor belongs to `buffer`, which is borrowed, so that it is open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(first.fd()) };
        let descriptor = descriptor.try_clone_to_owned().map_err(|error| error.to_string())?;
        let mut planes = planes_of(format, size, stride);
        // Where libcamera names each plane's place, its word counts.
        if parts.len() == planes.len() {
            for (plane, part) in planes.iter_mut().zip(parts.into_iter()) {
                plane.offset = part.offset().unwrap_or(plane.offset);
            }
        }
        Ok(Self { descriptor, length, planes })
    }
}

/// Planes behind each other, none for compressed pictures.
fn planes_of(format: PixelFormat, (_, height): (usize, usize), stride: usize) -> Vec<Plane> {
    let luma = Plane { offset: 0, stride, rows: height };
    let chroma = Plane { offset: stride * height, stride, rows: height.div_ceil(2) };
    match format {
        PixelFormat::Nv12 => vec![luma, chroma],
        PixelFormat::I420 => {
            let u = Plane { stride: stride / 2, ..chroma };
            vec![luma, u, Plane { offset: u.offset + u.stride * u.rows, ..u }]
        }
        PixelFormat::Yuyv => vec![luma],
        _ => Vec::new(),
    }
}

/// Whether two descriptors are the same dma-buf.
fn is_same_memory(one: i32, other: i32) -> bool {
    let inode = |fd: i32| {
        // SAFETY: the descriptor belongs to a buffer that the caller borrows, so that it is open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok()
    };
    inode(one).is_some_and(|one| Some(one) == inode(other))
}
