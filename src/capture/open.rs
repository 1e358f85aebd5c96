//! From a [`SourceSpec`] to a running source, again and again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use log::{info, warn};

use super::arrivals::Arrivals;
use super::controls::Controls;
use super::network::YtDlp;
use super::test_pattern::TestPattern;
use super::v4l2::V4l2Source;
use super::worker::{Backend, WorkerCommand, WorkerSource};
use super::{CameraSource, CaptureError, Config, HAS_LIBCAMERA, SourceSpec, file, network, v4l2};
use crate::media::frame::Frame;

/// How often the test picture looks for a camera.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A source that runs.
pub struct Opened {
    /// The source.
    pub source: Box<dyn CameraSource>,
    /// Whether frames arrive when the world makes them (a camera), so that old ones are worthless.
    pub is_live: bool,
}

impl Opened {
    fn live(source: impl CameraSource + 'static) -> Self {
        Self { source: Box::new(source), is_live: true }
    }
}

/// Opens what the settings name, as often as it is lost, and knows a camera again that comes back elsewhere.
pub struct Opener {
    config: Config,
    camera: Option<Known>,
    /// Whether `auto` has found a camera of libcamera: then that is the one, also when it is lost.
    is_libcamera: bool,
    skipped: Vec<String>,
    yt_dlp: YtDlp,
}

/// A camera that was opened.
struct Known {
    card: String,
    /// Devices that were there beside it: they are not it.
    others: Vec<PathBuf>,
}

impl Opener {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        if !matches!(config.source, SourceSpec::Auto | SourceSpec::Libcamera(_)) {
            say_what_is_ignored(&config);
        }
        Self { config, camera: None, is_libcamera: false, skipped: Vec::new(), yt_dlp: YtDlp::default() }
    }

    /// Opens what the settings name. `auto` is the first camera; the test picture until there has been one.
    ///
    /// # Errors
    /// When the named source, or the camera that `auto` had found, cannot be opened.
    pub fn open(&mut self) -> Result<Opened, CaptureError> {
        match &self.config.source {
            SourceSpec::Auto => self.open_auto(),
            SourceSpec::Test => Ok(Opened::live(self.test_pattern())),
            SourceSpec::Libcamera(_) => self.open_libcamera().map(Opened::live),
            SourceSpec::V4l2(path) => {
                let path = path.clone();
                let path = self.moved(&path).unwrap_or(path);
                self.open_camera(&path).map(Opened::live)
            }
            SourceSpec::Network(url) => {
                let Config { stream_mode, stream_resolution, stream_params, .. } = &self.config;
                let found = match stream_mode {
                    true if !url.is_http() => {
                        let words =
                            format!("{url}: `stream_mode` is for pages with a video, at `http://…` or `https://…`");
                        return Err(CaptureError::Unusable(words));
                    }
                    true => Some(self.yt_dlp.find(url, *stream_resolution, stream_params)?),
                    false => None,
                };
                let source = network::open(found.as_ref().unwrap_or(url), &self.config)?;
                Ok(Opened { source, is_live: true })
            }
            SourceSpec::File(path) => Ok(Opened { source: file::open(path, &self.config)?, is_live: false }),
        }
    }

    fn test_pattern(&self) -> TestPattern {
        TestPattern::new(self.config.resolution, self.config.framerate)
    }

    fn open_camera(&mut self, path: &Path) -> Result<V4l2Source, CaptureError> {
        let others = Arrivals::new().paths().filter(|other| *other != path).map(Path::to_owned).collect();
        let source = V4l2Source::open(path, &self.config)?;
        self.camera = Some(Known { card: source.card().to_owned(), others });
        Ok(source)
    }

    /// Where the camera that was at `path` has come back, if it is not there: one of its name that was not beside it.
    fn moved(&self, path: &Path) -> Option<PathBuf> {
        let known = self.camera.as_ref()?;
        let is_it = |path: &Path| v4l2::card(path).is_some_and(|card| card == known.card);
        if is_it(path) {
            return None;
        }
        let nodes = Arrivals::new();
        nodes.paths().find(|node| !known.others.iter().any(|other| other == node) && is_it(node)).map(Path::to_owned)
    }

    /// A camera of libcamera, in a worker. Without libcamera no worker is started to find out.
    fn open_libcamera(&self) -> Result<WorkerSource, CaptureError> {
        if !HAS_LIBCAMERA {
            super::libcamera_backend()?;
        }
        WorkerSource::open(&WorkerCommand::this_program(Backend::Libcamera), &self.config)
    }

    /// libcamera's cameras first, without its USB ones: docs/decisions/0006 says why.
    fn open_auto(&mut self) -> Result<Opened, CaptureError> {
        if HAS_LIBCAMERA && self.camera.is_none() {
            match self.open_libcamera() {
                Ok(source) => {
                    self.is_libcamera = true;
                    return Ok(Opened::live(source));
                }
                Err(error) if self.is_libcamera => return Err(error),
                Err(CaptureError::Unusable(words)) => info!("libcamera: {words}"),
                Err(error) => warn!("libcamera: {error}"),
            }
        }
        let arrivals = Arrivals::new();
        let mut skipped = Vec::new();
        // What cannot be opened or captures nothing is none of ours.
        for path in arrivals.paths().filter(|path| v4l2::card(path).is_some()) {
            match self.open_camera(path) {
                Ok(source) => {
                    say_what_is_ignored(&self.config);
                    return Ok(Opened::live(source));
                }
                Err(error) => skipped.push(format!("skipping {}: {error}", path.display())),
            }
        }
        // Tried every second: what is known need not be said again.
        if skipped != self.skipped {
            skipped.iter().for_each(|line| warn!("{line}"));
            self.skipped = skipped;
        }
        if let Some(known) = &self.camera {
            return Err(CaptureError::Unusable(format!("no camera: {} is not there any more", known.card)));
        }
        say_what_is_ignored(&self.config);
        info!("no camera found: showing the test picture until there is one");
        Ok(Opened::live(UntilCamera { picture: self.test_pattern(), arrivals, looked_at: Instant::now() }))
    }
}

/// The test picture, which makes way for a camera.
struct UntilCamera {
    picture: TestPattern,
    arrivals: Arrivals,
    looked_at: Instant,
}

impl CameraSource for UntilCamera {
    fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
        if self.looked_at.elapsed() >= LOOK_INTERVAL {
            self.looked_at = Instant::now();
            if self.arrivals.changed() {
                return Err(CaptureError::Superseded);
            }
        }
        self.picture.next_frame(timeout)
    }

    fn describe(&self) -> String {
        self.picture.describe()
    }
}

/// A setting that has no effect is said once per opening, so that nobody looks for it in the picture.
fn say_what_is_ignored(config: &Config) {
    let Config { source, sensor_mode, controls, .. } = config;
    let is_set = sensor_mode.is_some() || *controls != Controls::default();
    if is_set && !matches!(source, SourceSpec::Libcamera(_)) {
        warn!("sensor_mode and controls have no effect: this is no camera of libcamera");
    }
    if config.stream_mode && !matches!(source, SourceSpec::Network(_)) {
        warn!("stream_mode has no effect: this is no page with a video");
    }
}
