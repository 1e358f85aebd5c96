//! One camera: its threads, what they share, and how readers join.
//!
//! `capture-NAME` (see `supervisor`) keeps a source open, shows the slate while there is none, and puts the
//! newest frame into a slot; `encode-NAME` (see `encode_loop`) takes it from there, encodes it once, and hands
//! it to all readers; `jpeg-NAME` (see `jpeg_loop`) makes single pictures of some. None works while nobody watches. WebRTC and HTTP do not belong here.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::base::priority;
use crate::base::pulse::Pulse;
use crate::base::shutdown::Shutdown;
use crate::capture::tuning::{Control, Patch};
use crate::capture::{self, CaptureError, Opened};
use crate::encode;
use crate::media::annex_b;
use crate::media::frame::{Frame, PixelFormat};
use crate::process::overlay;
use crate::process::privacy_mask::PrivacyMask;

mod broadcast;
mod cameras;
mod demand;
mod encode_loop;
mod jpeg;
mod jpeg_loop;
mod kept_controls;
mod kept_picture;
mod latest_slot;
mod metrics;
mod picture;
mod privacy;
mod status;
mod supervisor;
mod tuning;

pub use broadcast::{Received, Subscription};
pub use cameras::Cameras;
pub use demand::KeyframeReason;
pub use jpeg::JpegReader;
pub use kept_controls::KeptControls;
pub use kept_picture::{Kept, KeptPicture};
pub use metrics::CameraMetrics;
pub use privacy::Privacy;
pub use status::{State, Status};
pub use tuning::TuningError;

/// Coded frames that may wait for the encode thread: half a second.
const MOST_QUEUED_UNITS: usize = 16;

/// Opens the source, on the thread that will run it.
pub type SourceFactory = Box<dyn Fn() -> Result<Opened, CaptureError> + Send>;

/// A running camera. Cheap to clone; all clones are the same camera.
#[derive(Clone)]
pub struct Camera(Arc<Shared>);

struct Shared {
    status: Mutex<Status>,
    metrics: CameraMetrics,
    demand: Arc<demand::Demand>,
    units: broadcast::Broadcast,
    jpegs: Arc<jpeg::JpegFeed>,
    frames: Arc<latest_slot::LatestSlot<Frame>>,
    /// Frames to make JPEG pictures of.
    stills: latest_slot::LatestSlot<Still>,
    /// A coded frame was left out: those that follow are of no use up to the next keyframe.
    chain_is_broken: AtomicBool,
    capture_config: capture::Config,
    picture: Arc<picture::Picture>,
    encode_config: encode::Config,
    privacy: Arc<Privacy>,
    tuning: tuning::Tuning,
    /// Picture after picture cannot be encoded.
    is_faulty: AtomicBool,
    pulses: Pulses,
    shutdown: Shutdown,
}

/// A frame to make a JPEG picture of, and the number of the masks that are on it.
struct Still {
    frame: Arc<Frame>,
    masks: u64,
}

/// Why masks or words are not in the picture, or will not stay.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// They cannot be; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// They are in the picture until perch ends.
    #[error("it is done, but will not outlive a restart: {0}")]
    NotKept(#[from] io::Error),
}

/// That the camera's threads come round.
#[derive(Default)]
struct Pulses {
    capture: Pulse,
    encode: Pulse,
    jpeg: Pulse,
}

/// The threads of some cameras.
#[derive(Default)]
pub struct Threads(Vec<Thread>);

struct Thread {
    handle: JoinHandle<()>,
    /// Disconnected once the thread has ended.
    ended: Receiver<Infallible>,
}

impl Threads {
    /// Adds another camera's.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let (alive, ended) = mpsc::channel();
        let handle = std::thread::Builder::new().name(name).spawn(move || {
            let _alive = alive;
            run();
        })?;
        self.0.push(Thread { handle, ended });
        Ok(())
    }

    /// Waits until the threads have ended, which they do soon after shutdown was requested. One that a driver holds is
    /// left behind after `timeout`: it ends with the process.
    pub fn join(self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        for Thread { handle, ended } in self.0 {
            let name = handle.thread().name().unwrap_or_default().to_owned();
            match ended.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Err(RecvTimeoutError::Timeout) => log::warn!("thread {name} does not end: it is left behind"),
                _ if handle.join().is_err() => log::error!("thread {name} panicked"),
                _ => {}
            }
        }
    }
}

impl Camera {
    /// Starts the camera of these settings, whose pictures come from what `factory` opens while `privacy` is off, with the
    /// values of `kept` for its controls and its picture.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(
        factory: SourceFactory,
        capture_config: capture::Config,
        encode_config: encode::Config,
        privacy: Arc<Privacy>,
        kept: Kept,
        shutdown: Shutdown,
    ) -> io::Result<(Self, Threads)> {
        let demand = Arc::new(demand::Demand::new(Duration::from_millis(encode_config.keyframe_min_interval_ms)));
        let frames = Arc::new(latest_slot::LatestSlot::default());
        let picture = Arc::new(picture::Picture::new(capture_config.stages(), kept.picture));
        let camera = Self(Arc::new(Shared {
            status: Mutex::new(Status::starting(&capture_config.source.to_string())),
            metrics: CameraMetrics {
                keyframes_requested: Arc::clone(&demand.keyframes_requested),
                ..CameraMetrics::default()
            },
            units: broadcast::Broadcast::new(Arc::clone(&demand), Arc::clone(&frames)),
            jpegs: Arc::new(jpeg::JpegFeed::new(Arc::clone(&demand))),
            demand,
            frames,
            stills: latest_slot::LatestSlot::default(),
            chain_is_broken: AtomicBool::new(true),
            capture_config,
            encode_config,
            privacy,
            tuning: tuning::Tuning::new(kept.controls, Arc::clone(&picture)),
            picture,
            is_faulty: AtomicBool::new(false),
            pulses: Pulses::default(),
            shutdown,
        }));
        let capture = Arc::clone(&camera.0);
        let encode = Arc::clone(&camera.0);
        let jpeg = Arc::clone(&camera.0);
        let name = |what: &str| format!("{what}-{}", camera.name());
        let mut threads = Threads::default();
        threads.spawn(name("capture"), move || supervisor::Supervisor::new(&capture, factory).run())?;
        threads.spawn(name("encode"), move || {
            priority::raise();
            encode_loop::EncodeLoop::new(&encode).run();
        })?;
        threads.spawn(name("jpeg"), move || jpeg_loop::run(&jpeg))?;
        Ok((camera, threads))
    }

    /// The camera's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// What the camera is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status().clone()
    }

    /// The camera's counters.
    #[must_use]
    pub fn metrics(&self) -> &CameraMetrics {
        &self.0.metrics
    }

    /// What can be changed while the camera runs, with the values of now. Waits for the camera, a few seconds at most.
    ///
    /// # Errors
    /// When the camera is not there or does not answer.
    pub fn controls(&self) -> Result<Vec<Control>, TuningError> {
        self.0.tuning.ask(None, &self.0.demand)
    }

    /// Makes all changes of `patch`, or none, and keeps them for when the camera is opened again; returns the controls
    /// as they are then. Waits for the camera, a few seconds at most.
    ///
    /// # Errors
    /// When the camera refuses one of them, is not there or does not answer.
    pub fn change_controls(&self, patch: Patch) -> Result<Vec<Control>, TuningError> {
        self.0.tuning.ask(Some(patch), &self.0.demand)
    }

    /// What nobody is to see, on the picture as it is shown.
    #[must_use]
    pub fn masks(&self) -> Vec<PrivacyMask> {
        self.0.picture.masks()
    }

    /// Hides this from now on, and keeps it for the next start; none: what the settings hide. Once this returns, no
    /// picture leaves that shows what is hidden now, however it was asked for.
    ///
    /// # Errors
    /// When the masks cannot be, or cannot be kept.
    pub fn set_masks(&self, masks: Option<&[PrivacyMask]>) -> Result<(), PictureError> {
        PrivacyMask::validate_all(masks.unwrap_or_default()).map_err(PictureError::Refused)?;
        let camera = &self.0;
        camera.picture.set_masks(masks, || {
            camera.units.take_back();
            camera.jpegs.take_back();
        })?;
        Ok(())
    }

    /// What is written into the picture.
    #[must_use]
    pub fn overlay(&self) -> overlay::Settings {
        self.0.picture.overlay()
    }

    /// Writes this into the picture from now on, and keeps it for the next start; none: what the settings say.
    ///
    /// # Errors
    /// When it cannot be written, or cannot be kept.
    pub fn set_overlay(&self, overlay: Option<overlay::Settings>) -> Result<(), PictureError> {
        if let Some(Err((key, problem))) = overlay.as_ref().map(overlay::Settings::validate) {
            return Err(PictureError::Refused(format!("`{key}`: {problem}")));
        }
        Ok(self.0.picture.set_overlay(overlay)?)
    }

    /// Whether picture after picture is lost between the source and the viewers.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.0.is_faulty.load(Relaxed)
    }

    /// Which of the camera's threads has not come round its loop for longer than `allowed`: it has ended, or is stuck.
    /// Opening a camera may take seconds, so less than those says little.
    #[must_use]
    pub fn stuck_thread(&self, allowed: Duration) -> Option<&'static str> {
        let Pulses { capture, encode, jpeg } = &self.0.pulses;
        let all = [("capture", capture), ("encode", encode), ("jpeg", jpeg)];
        all.into_iter().find(|(_, pulse)| pulse.age() > allowed).map(|(name, _)| name)
    }

    /// Joins as a reader of video. Pictures are made as long as the subscription lives.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.0.units.subscribe()
    }

    /// Joins as a reader of JPEG pictures.
    #[must_use]
    pub fn subscribe_jpeg(&self) -> JpegReader {
        self.0.jpegs.subscribe()
    }
}

impl Shared {
    fn name(&self) -> &str {
        &self.capture_config.name
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a frame to the encode thread. Of raw frames the newest wins. Coded ones need those before them: they
    /// queue, and once one is left out so are all up to the next keyframe.
    fn offer(&self, frame: Frame) {
        let dropped = if frame.format() == PixelFormat::H264 {
            let keyframe = annex_b::is_keyframe(frame.plane(0));
            let left_out = (self.chain_is_broken.load(Relaxed) && !keyframe)
                || self.frames.queue(frame, MOST_QUEUED_UNITS).is_some();
            self.chain_is_broken.store(left_out, Relaxed);
            usize::from(left_out)
        } else {
            self.frames.put(frame)
        };
        self.metrics.frames_dropped.add(dropped as u64);
    }

    /// Says that frames were lost before the next one that is offered.
    fn break_chain(&self) {
        self.chain_is_broken.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::capture::CameraSource;
    use crate::media::frame::PixelFormat;

    /// A camera whose every JPEG picture is broken.
    struct Broken;

    impl CameraSource for Broken {
        fn next_frame(&mut self, _: Duration) -> Result<Option<Frame>, CaptureError> {
            std::thread::sleep(Duration::from_millis(2)); // its rate
            let bytes = Box::new(b"\xff\xd8 no picture".to_vec());
            Ok(Frame::packed(PixelFormat::Mjpeg, (64, 48), Timestamp::now(), bytes).ok())
        }

        fn describe(&self) -> String {
            "broken".into()
        }
    }

    /// A camera whose driver does not come back.
    struct Hung(std::sync::mpsc::Receiver<()>);

    impl CameraSource for Hung {
        fn next_frame(&mut self, _: Duration) -> Result<Option<Frame>, CaptureError> {
            let _ = self.0.recv();
            Ok(None)
        }

        fn describe(&self) -> String {
            "hung".into()
        }
    }

    #[test]
    fn a_thread_that_is_stuck_in_its_driver_is_named() {
        let shutdown = Shutdown::new();
        let (release, hold) = std::sync::mpsc::channel();
        let hold = Mutex::new(Some(hold));
        let factory = move || match hold.lock().unwrap().take() {
            Some(hold) => Ok(Opened { source: Box::new(Hung(hold)), is_live: true }),
            None => Err(CaptureError::Ended),
        };
        let (capture, encode) = (capture::Config::default(), encode::Config::default());
        let (camera, threads) =
            Camera::start(Box::new(factory), capture, encode, Arc::default(), Kept::default(), shutdown.clone())
                .unwrap();
        let allowed = Duration::from_secs(1);
        assert_eq!(camera.stuck_thread(allowed), None);
        let _viewer = camera.subscribe();
        let until = Instant::now() + Duration::from_secs(20);
        while camera.stuck_thread(allowed) != Some("capture") && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10)); // no event tells of it
        }
        assert_eq!(camera.stuck_thread(allowed), Some("capture"));
        drop(release);
        shutdown.request();
        threads.join(Duration::from_secs(20));
    }

    #[test]
    fn a_camera_whose_pictures_are_all_lost_is_faulty_once_somebody_watches() {
        let shutdown = Shutdown::new();
        let factory = || Ok(Opened { source: Box::new(Broken), is_live: true });
        let (capture, encode) = (capture::Config::default(), encode::Config::default());
        let (camera, threads) =
            Camera::start(Box::new(factory), capture, encode, Arc::default(), Kept::default(), shutdown.clone())
                .unwrap();
        assert!(!camera.is_faulty());
        let _viewer = camera.subscribe();
        let until = Instant::now() + Duration::from_secs(20);
        while !camera.is_faulty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10)); // no event tells of it
        }
        assert!(camera.is_faulty());
        shutdown.request();
        threads.join(Duration::from_secs(20));
    }

    #[test]
    fn a_thread_that_a_driver_holds_is_left_behind() {
        let (release, held) = mpsc::channel::<Infallible>();
        let held = Mutex::new(held);
        let (reached, opening) = mpsc::channel();
        let factory = move || {
            let _ = reached.send(());
            let _ = held.lock().unwrap().recv();
            Err(CaptureError::Ended)
        };
        let shutdown = Shutdown::new();
        let (capture, encode) = (capture::Config::default(), encode::Config::default());
        let (_camera, threads) =
            Camera::start(Box::new(factory), capture, encode, Arc::default(), Kept::default(), shutdown.clone())
                .unwrap();
        opening.recv().unwrap();
        shutdown.request();
        let began = Instant::now();
        threads.join(Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_secs(10), "it was waited for");
        drop(release);
    }
}
