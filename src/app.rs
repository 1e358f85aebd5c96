//! Builds the parts, starts them in order, and stops them in reverse. The only place that sees all settings.

mod machine;
pub mod notice;
mod watchdog;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tokio::runtime::Runtime;

use crate::auth::door::seconds;
use crate::auth::{Door, Standing};
use crate::base::one_or_more::OneOrMore;
use crate::base::priority;
use crate::base::shutdown::Shutdown;
use crate::camera::{self, Camera, Cameras, Kept, Privacy, SourceFactory, State};
use crate::capture;
use crate::config::Config;
use crate::encode;
use crate::http::{self, Operations, Router, Server, Tls};
use crate::platform::panel::{Situation, Wish};
use crate::platform::systemd::Notifier;
use crate::platform::wifi::{Phase, WifiSetup};
use crate::platform::wishes::Wishes;
use crate::platform::{gpio, state_dir};
use crate::support;
use crate::webrtc::{self, BitrateRange, Sessions};

pub use machine::fitted_to_machine;
use watchdog::Watchdog;

/// How long sessions are given to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long the cameras' threads are given to end; a driver may hold one for longer.
const CAMERAS_STOP: Duration = Duration::from_millis(600);

/// Why perch could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system refused a thread or a runtime.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// The HTTP server could not be started.
    #[error(transparent)]
    Http(#[from] http::StartError),
    /// No certificate could be made.
    #[error("cannot make a certificate for WebRTC: {0}")]
    Certificate(String),
}

/// What to start: the configured cameras and perch's own routes, unless told otherwise.
pub struct Builder {
    config: Config,
    cameras: OneOrMore<(capture::Config, SourceFactory)>,
    router: Router,
    wishes: Option<Wishes>,
    wifi: Option<Arc<WifiSetup>>,
}

impl Builder {
    /// Serves pictures from what `factory` opens instead of the source of the (first) configured camera. It is called
    /// on the camera's thread, and again whenever the source has failed.
    #[must_use]
    pub fn with_source(mut self, factory: SourceFactory) -> Self {
        self.cameras.first_mut().1 = factory;
        self
    }

    /// Adds routes and request wrappers.
    #[must_use]
    pub fn with_router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// Asks there for what the owner wants of the machine.
    #[must_use]
    pub fn with_wishes(mut self, wishes: Option<Wishes>) -> Self {
        self.wishes = wishes;
        self
    }

    /// Lets the owner choose a Wi-Fi there.
    #[must_use]
    pub fn with_wifi(mut self, wifi: Option<WifiSetup>) -> Self {
        self.wifi = wifi.map(Arc::new);
        self
    }

    /// Serves until SIGINT or SIGTERM, then stops everything; tells systemd of it if that wants to be told. SIGUSR1 does what a short press of the button does: it
    /// switches the camera off, or on again.
    ///
    /// # Errors
    /// As for [`Builder::start`].
    pub fn run(self) -> Result<(), StartError> {
        // Before anything is started, so that no signal is missed.
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        let app = self.start()?;
        let watchdog = Notifier::from_env()
            .map(|notifier| Watchdog::start(notifier, app.cameras.clone(), app.local_addr()))
            .transpose()?;
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => {
                    app.privacy.toggle();
                    app.door.iter().for_each(|door| door.reopen_window());
                }
                _ => break,
            }
        }
        if let Some(watchdog) = watchdog {
            watchdog.stop();
        }
        app.stop();
        Ok(())
    }

    /// Starts everything.
    ///
    /// # Errors
    /// When the port cannot be bound, routes collide, or the system lacks what is needed. A camera that is absent is
    /// no error.
    pub fn start(self) -> Result<App, StartError> {
        let Self { config, cameras, router, wishes, wifi } = self;
        let shutdown = Shutdown::new();
        let runtimes = Runtimes::start()?;
        let state_dir = state_dir::find();
        let privacy = Arc::new(Privacy::load(state_dir.as_deref()));
        let (cameras, threads) = start_cameras(cameras, &config.encoder, &privacy, state_dir.as_deref(), &shutdown)?;
        let door = door(&config.http, state_dir.as_deref());
        let loopback_only = config.http.is_for_this_machine_alone();
        let max_bps = config.encoder.bitrate_bps;
        let start_bps = config.encoder.start_bitrate_bps.unwrap_or(max_bps);
        let bitrates = BitrateRange { min_bps: config.encoder.min_bitrate_bps, start_bps, max_bps };
        let started = Sessions::new(config.webrtc.clone(), runtimes.media.handle().clone(), loopback_only, bitrates)
            .map_err(StartError::Certificate)
            .and_then(|sessions| {
                let tls = tls(&config.http, state_dir.as_deref())?;
                let (cameras, door) = (cameras.clone(), door.clone());
                let operations = operations(wishes, wifi.clone(), config.clone(), cameras.clone());
                let parts = http::Parts { cameras, sessions: sessions.clone(), router, door, tls, operations };
                Ok((sessions, Server::start(&config.http, &config.web, parts, runtimes.front.handle())?))
            });
        let (sessions, server) = match started {
            Ok(started) => started,
            Err(error) => {
                shutdown.request();
                threads.join(CAMERAS_STOP);
                return Err(error);
            }
        };
        info!("listening on http://{}/", server.local_addr());
        match server.tls_addr() {
            Some(address) => info!("listening on https://{address}/"),
            None if !loopback_only => {
                warn!("http.tls.listen is not set: passwords and cookies can be read along in the network");
            }
            None => {}
        }
        let panel = Arc::new(Panel {
            cameras: cameras.clone(),
            sessions: sessions.clone(),
            privacy: Arc::clone(&privacy),
            door: door.clone(),
            wifi,
        });
        let gpio = gpio::start(&config.gpio, panel, shutdown.clone());
        Ok(App { shutdown, cameras, threads, gpio, sessions, server, runtimes, privacy, door })
    }
}

/// Starts the cameras. When one cannot be started, those before it are stopped again.
fn start_cameras(
    cameras: OneOrMore<(capture::Config, SourceFactory)>,
    encoder: &encode::Config,
    privacy: &Arc<Privacy>,
    state_dir: Option<&Path>,
    shutdown: &Shutdown,
) -> io::Result<(Cameras, camera::Threads)> {
    let mut threads = camera::Threads::default();
    let started = cameras.try_map(|(config, source)| {
        let kept = Kept::load(state_dir, &config.name);
        let (camera, started) =
            Camera::start(source, config, encoder.clone(), Arc::clone(privacy), kept, shutdown.clone())?;
        threads.append(started);
        Ok(camera)
    });
    match started {
        Ok(cameras) => Ok((Cameras::new(cameras), threads)),
        Err(error) => {
            shutdown.request();
            threads.join(CAMERAS_STOP);
            Err(error)
        }
    }
}

/// What HTTPS is served with, where the settings ask for it.
fn tls(config: &http::Config, state_dir: Option<&Path>) -> Result<Option<Tls>, http::StartError> {
    if config.tls.listen.is_none() {
        return Ok(None);
    }
    let opened = Tls::open(&config.tls, &config.allowed_hosts, state_dir, webrtc::interface_addresses);
    opened.map(Some).map_err(http::StartError::Certificate)
}

/// What the owner may want of the machine.
fn operations(wishes: Option<Wishes>, wifi: Option<Arc<WifiSetup>>, config: Config, cameras: Cameras) -> Operations {
    let support = Box::new(move || {
        let words = cameras.iter().fold(String::new(), |mut words, camera| {
            let _ = writeln!(words, "{}: {:?}", camera.name(), camera.status());
            words
        });
        support::bundle(&config, &words)
    });
    Operations { wishes, wifi, support }
}

/// The door, where the settings ask for one, and words about it.
fn door(config: &http::Config, state_dir: Option<&Path>) -> Option<Arc<Door>> {
    if !config.is_locked() {
        if !config.is_for_this_machine_alone() {
            warn!("http.auth is \"none\": everybody who reaches {} can watch and change everything", config.listen);
        }
        return None;
    }
    if state_dir.is_none() {
        warn!("there is no folder for state ($STATE_DIRECTORY, $HOME): passwords are forgotten when perch ends");
    }
    let door = Door::new(state_dir, Duration::from_secs(config.claim_window_s));
    if let Standing::Unclaimed(left) = door.standing() {
        let how = match left {
            Some(left) => format!("open its page from its own network within {} s to claim it", seconds(left)),
            None => "`perch auth set-password` gives it one".to_owned(),
        };
        warn!("this camera has no owner yet: {how}");
    }
    Some(Arc::new(door))
}

/// Each has one thread: several would wake each other for every packet, and one carries sixteen viewers with ease. They
/// are two so that a flood of connections and handshakes at the front cannot keep pictures waiting.
struct Runtimes {
    media: Runtime,
    front: Runtime,
}

impl Runtimes {
    fn start() -> io::Result<Self> {
        let start = |name: &str, on_start: fn()| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).thread_name(name).on_thread_start(on_start).enable_all().build()
        };
        Ok(Self { media: start("perch-media", priority::raise)?, front: start("perch-front", || {})? })
    }

    fn stop(self, within: Duration) {
        self.front.shutdown_timeout(within / 2);
        self.media.shutdown_timeout(within / 2);
    }
}

/// A running perch: its cameras, their viewers, the page.
pub struct App {
    shutdown: Shutdown,
    cameras: Cameras,
    threads: camera::Threads,
    gpio: Option<JoinHandle<()>>,
    sessions: Sessions,
    server: Server,
    runtimes: Runtimes,
    privacy: Arc<Privacy>,
    door: Option<Arc<Door>>,
}

/// perch, as its light and its button see it.
struct Panel {
    cameras: Cameras,
    sessions: Sessions,
    privacy: Arc<Privacy>,
    door: Option<Arc<Door>>,
    wifi: Option<Arc<WifiSetup>>,
}

impl gpio::Device for Panel {
    /// The worst of all cameras.
    fn situation(&self) -> Situation {
        let is_any = |state| self.cameras.iter().any(|camera| camera.status().state == state);
        if self.privacy.is_on() {
            Situation::Private
        } else if self.wifi.as_ref().is_some_and(|wifi| wifi.status().phase == Phase::AccessPoint) {
            Situation::AccessPoint
        } else if self.cameras.iter().any(Camera::is_faulty) {
            Situation::Fault
        } else if is_any(State::Starting) {
            Situation::Starting
        } else if is_any(State::NoInput) {
            Situation::NoCamera
        } else if self.sessions.viewers() > 0 {
            Situation::Watched
        } else {
            Situation::Idle
        }
    }

    fn wish(&self, wish: Wish) {
        if let Some(door) = &self.door {
            door.reopen_window();
        }
        if wish == Wish::TogglePrivacy {
            self.privacy.toggle();
        }
    }

    fn motion(&self) {
        info!("the motion sensor sees something move");
        self.cameras.iter().for_each(|camera| camera.metrics().motions.increment());
    }
}

impl App {
    /// Begins with the cameras that `config` names.
    #[must_use]
    pub fn builder(config: Config) -> Builder {
        // A camera that offers several formats is asked for the one that the encoder reads in place.
        let encoder_reads =
            machine::encoder_in_hardware(&config).map(|found| found.formats.clone()).unwrap_or_default();
        let cameras = config.camera.clone().map(|mut camera| {
            camera.encoder_reads.clone_from(&encoder_reads);
            let opener = RefCell::new(capture::Opener::new(camera.clone()));
            let source: SourceFactory = Box::new(move || opener.borrow_mut().open());
            (camera, source)
        });
        Builder { config, cameras, router: Router::new(), wishes: None, wifi: None }
    }

    /// Where the page is served.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Where the page is served over HTTPS, if it is.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.server.tls_addr()
    }

    /// The switch that turns the camera off and on.
    #[must_use]
    pub fn privacy(&self) -> &Privacy {
        &self.privacy
    }

    /// Stops everything; takes under three seconds.
    pub fn stop(self) {
        info!("stopping");
        self.server.stop();
        self.sessions.close_all();
        self.sessions.wait_until_empty(GOODBYE);
        self.shutdown.request();
        self.threads.join(CAMERAS_STOP);
        if self.gpio.is_some_and(|gpio| gpio.join().is_err()) {
            log::error!("thread gpio panicked");
        }
        self.runtimes.stop(Duration::from_millis(500));
    }
}
