//! The page, signalling and everything else that is asked for over HTTP.
//!
//! ```text
//!  client ── front (deadlines, limits) ── upstream (few private connections) ── tiny_http
//!                                                     dispatch (threads) ── routes ── handlers
//! ```
//!
//! What a session is and how an offer is answered is `webrtc`'s; pictures are `camera`'s.

mod access;
mod assets;
mod config;
mod controls;
mod cookie;
mod dispatch;
mod files;
mod front;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod login;
mod message;
mod mjpeg;
mod offer;
mod origin;
mod path;
mod patience;
mod picture;
mod places;
mod router;
mod routes;
mod status;
mod stream;
mod system;
mod tls;
mod upstream;
mod watching;
mod whep;
mod wifi;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

pub use assets::export;
pub use config::{AuthMode, Config, Mode, Mount, WebConfig};
/// The methods, statuses and headers that requests and answers are made of.
pub use hyper::{Method, StatusCode, header};
pub use message::{Request, Response};
pub use router::{Handler, Next, RouteError, Router, Wrapper};
pub use system::Operations;
pub use tls::{Tls, TlsConfig};

use crate::auth::Door;
use crate::base::shutdown::Shutdown;
use crate::camera::{Camera, Cameras};
use crate::webrtc::Sessions;
use assets::Assets;
use dispatch::Dispatch;
use guard::{Guard, Https};
use mjpeg::Viewers;
use places::Places;
use routes::Routes;
use upstream::Upstream;
use watching::Watching;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// Connections to `tiny_http`, besides those of streams.
const UPSTREAM: usize = 64;
/// For the threads to end.
const STOP_TIMEOUT: Duration = Duration::from_millis(800);

/// What handlers answer from.
pub(crate) struct Context {
    cameras: Cameras,
    sessions: Sessions,
    assets: Assets,
    viewers: Viewers,
    mode: Mode,
    /// `None` where nothing is locked.
    door: Option<Arc<Door>>,
    tls: Option<Arc<Tls>>,
    watching: Arc<Watching>,
    operations: Operations,
}

impl Context {
    /// The camera called `name`; the first one for an empty name.
    fn camera(&self, name: &str) -> Option<&Camera> {
        if name.is_empty() { Some(self.cameras.first()) } else { self.cameras.named(name) }
    }

    /// The camera that a request names as `?camera=`.
    fn asked_camera(&self, request: &Request) -> Option<&Camera> {
        self.camera(&request.query_value("camera"))
    }

    /// The answer when there is no camera of the name that was asked for.
    fn no_such_camera(&self) -> Response {
        let names: Vec<_> = self.cameras.iter().map(Camera::name).collect();
        let body = serde_json::json!({ "error": "there is no camera of this name", "cameras": names });
        Response::json(StatusCode::NOT_FOUND, &body)
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}. {}", advice(source))]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no certificate that could be shown.
    #[error("HTTPS cannot be served: {0}")]
    Certificate(String),
    /// The machine gives no more threads, sockets or temporary files.
    #[error("the HTTP server could not start: {0}. Is the folder for temporary files writable?")]
    Resources(#[source] io::Error),
    /// A mount or an added route collides with another.
    #[error(transparent)]
    Route(#[from] RouteError),
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => "Another program uses this port: stop it, or choose another with --listen",
        io::ErrorKind::PermissionDenied => {
            "Ports below 1024 are for privileged programs: choose a higher one with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "This machine has no such address: choose one it has with --listen, or 0.0.0.0 for all it has"
        }
        _ => "Choose another address with --listen",
    }
}

/// The running server. Dropping it stops it.
pub struct Server {
    local_addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    accepting: Vec<tokio::task::AbortHandle>,
    upstream: Arc<Upstream>,
    dispatch: Option<Dispatch>,
}

/// What is served, and who guards it.
pub struct Parts {
    /// The cameras.
    pub cameras: Cameras,
    /// Their viewers.
    pub sessions: Sessions,
    /// Routes beside perch's own.
    pub router: Router,
    /// Who is let in; without one everybody is.
    pub door: Option<Arc<Door>>,
    /// What HTTPS is served with, where the settings ask for it.
    pub tls: Option<Tls>,
    /// What is done for the owner beyond the cameras.
    pub operations: Operations,
}

impl Server {
    /// Starts serving perch's own routes, the mounts of `config` and what the router adds.
    ///
    /// # Errors
    /// When an address cannot be listened on, the machine gives no threads, or routes collide.
    pub fn start(
        config: &Config,
        web: &WebConfig,
        parts: Parts,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, StartError> {
        let Parts { cameras, sessions, router, door, tls, operations } = parts;
        let router = config.router()?.merge(router)?;
        let listener = bind(config.listen).map_err(|source| StartError::Bind { addr: config.listen, source })?;
        let local_addr = listener.local_addr().map_err(StartError::Resources)?;
        let tls = tls.map(Arc::new);
        let tls_listener = match (config.tls.listen, &tls) {
            (Some(addr), Some(tls)) => {
                Some((bind(addr).map_err(|source| StartError::Bind { addr, source })?, tls.acceptor()))
            }
            _ => None,
        };
        let tls_addr = tls_listener.as_ref().map(|(listener, _)| listener.local_addr()).transpose();
        let tls_addr = tls_addr.map_err(StartError::Resources)?;
        let https = Https {
            led_to: tls_addr.filter(|_| config.tls.redirect).map(|address| address.port()),
            hsts_s: config.tls.hsts_s,
        };
        let guard = Guard::new(config.allowed_origins.clone(), config.allowed_hosts.clone(), door.clone(), https);
        let names: Vec<_> = cameras.iter().map(Camera::name).collect();
        let assets = Assets::new(web.data_dir.clone(), sessions.ice_servers(), &names);
        let viewers = Viewers::new(config.max_mjpeg_viewers);
        let watching = Arc::new(Watching::default());
        if let Some(door) = &door {
            runtime.spawn(watching::watch(Arc::downgrade(&watching), door.clone(), sessions.clone()));
        }
        if let Some(tls) = &tls {
            runtime.spawn(tls::keep_current(Arc::downgrade(tls)));
        }
        let mode = config.mode;
        let context = Arc::new(Context { cameras, sessions, assets, viewers, mode, door, tls, watching, operations });
        let routes = Arc::new(Routes { context, router, guard });
        let dispatch = Dispatch::start(routes, Shutdown::new()).map_err(StartError::Resources)?;
        let upstream = Upstream::new(dispatch.socket(), dispatch.warm_up(), UPSTREAM + config.max_mjpeg_viewers);
        let (places, _runtime) = (Places::default(), runtime.enter());
        let listeners = [Some((listener, None)), tls_listener.map(|(listener, tls)| (listener, Some(tls)))];
        let accepting = listeners.into_iter().flatten().map(|(listener, tls)| {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Resources)?;
            Ok(tokio::spawn(front::run(listener, tls, upstream.clone(), places.clone())).abort_handle())
        });
        let accepting = accepting.collect::<Result<_, StartError>>()?;
        Ok(Self { local_addr, tls_addr, accepting, upstream, dispatch: Some(dispatch) })
    }

    /// Where the server listens for HTTPS, if it does.
    #[must_use]
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// Where the server listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops within a second; whatever is being answered breaks off.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // All connections are the accepting task's, and end with it; then writers to them fail.
        self.accepting.iter().for_each(tokio::task::AbortHandle::abort);
        self.upstream.close();
        if let Some(dispatch) = self.dispatch.take()
            && !dispatch.stop(STOP_TIMEOUT)
        {
            log::warn!("some HTTP threads are still busy; they are left behind");
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
