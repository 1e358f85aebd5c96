//! The viewers: who may join, what they are sent, when they are forgotten.
//!
//! [`Sessions`] answers offers and keeps count; `session` runs one viewer; `send_policy`, `path` and `sdp` are
//! pure; `peer` alone names the `webrtc` crate. HTTP does not belong here.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::base::clock::Timestamp;
use crate::camera::Camera;
use limits::{Full, Limits, Taken};

mod config;
mod limits;
mod metrics;
mod path;
mod peer;
pub mod sdp;
mod send_policy;
mod session;

pub use config::{Config, IceServer, Mode, PortRange};
pub use metrics::SessionMetrics;
pub use path::BitrateRange;
pub use peer::addresses::of_interfaces as interface_addresses;
#[doc(hidden)]
pub use peer::read_rtcp;

/// How long making an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Names one session. Not guessable: whoever knows it may end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let well_formed = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| well_formed).map(Self).ok_or(())
    }
}

/// The answer to an offer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Names the new session.
    pub id: SessionId,
    /// The answer, with all candidates.
    pub sdp: String,
}

/// Why an offer was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is not an offer.
    #[error("{0}")]
    Malformed(String),
    /// It is an offer, but no picture can come of it.
    #[error("{0}")]
    Unusable(String),
    /// As many watch as may.
    #[error("too many viewers: {limit} are watching already")]
    TooManyViewers {
        /// The limit.
        limit: usize,
    },
    /// Too many that offered have not connected yet.
    #[error("too many viewers are just connecting")]
    TooManyConnecting,
    /// As many watch from this address as may.
    #[error("too many viewers at your address: {limit} is the most, fewer while they connect")]
    TooManyFromThere {
        /// The limit.
        limit: usize,
    },
    /// This address makes offers too fast.
    #[error("too many offers from your address: try again in {} s", wait.as_secs() + 1)]
    TooFast {
        /// How long until one is taken.
        wait: Duration,
    },
    /// Something failed here.
    #[error("the answer could not be made: {0}")]
    Internal(String),
}

/// Why a trickled candidate was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CandidateError {
    /// There is no such session (any more).
    #[error("no such session")]
    UnknownSession,
    /// It is not a candidate.
    #[error("{0}")]
    Malformed(String),
}

impl From<sdp::SdpError> for OfferError {
    fn from(error: sdp::SdpError) -> Self {
        match error {
            sdp::SdpError::Malformed(_) => Self::Malformed(error.to_string()),
            sdp::SdpError::Unusable(_) => Self::Unusable(error.to_string()),
        }
    }
}

struct Entry {
    /// The name of the camera that is watched.
    camera: String,
    /// `None` while the answer is being made.
    peer: Option<Arc<peer::Peer>>,
    close: Arc<Notify>,
    candidates: usize,
    /// Who offered.
    address: Option<IpAddr>,
    connected: Arc<AtomicBool>,
}

/// All sessions. Cheap to clone; all clones are the same sessions.
#[derive(Clone)]
pub struct Sessions(Arc<Shared>);

struct Shared {
    config: Config,
    runtime: Handle,
    certificate: peer::Certificate,
    loopback_only: bool,
    bitrates: BitrateRange,
    entries: Mutex<HashMap<SessionId, Entry>>,
    limits: Mutex<Limits>,
    metrics: Arc<SessionMetrics>,
}

/// A place among the sessions, given back when dropped.
struct Place {
    shared: Arc<Shared>,
    id: SessionId,
    close: Arc<Notify>,
    connected: Arc<AtomicBool>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.entries().remove(&self.id);
    }
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    /// No sessions yet. `loopback_only` keeps media on this machine; `bitrates` are those that a
    /// viewer may ask of the encoder.
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn new(config: Config, runtime: Handle, loopback_only: bool, bitrates: BitrateRange) -> Result<Self, String> {
        let certificate = peer::Certificate::generate()?;
        let (entries, metrics, limits) = (Mutex::default(), Arc::default(), Mutex::new(Limits::new(&config)));
        Ok(Self(Arc::new(Shared { config, runtime, certificate, loopback_only, bitrates, entries, limits, metrics })))
    }

    /// Answers an offer of `address` to watch `camera` and starts the session. Blocks until the answer is there: not for the runtime's threads.
    ///
    /// # Errors
    /// When the offer is refused; nothing is kept of it then.
    pub fn answer(&self, camera: &Camera, offer_sdp: &str, address: Option<IpAddr>) -> Result<Answer, OfferError> {
        self.0.metrics.offers.increment();
        let answer = self.try_answer(camera, offer_sdp, address);
        if answer.is_err() {
            self.0.metrics.offers_refused.increment();
        }
        answer
    }

    fn try_answer(&self, camera: &Camera, offer_sdp: &str, address: Option<IpAddr>) -> Result<Answer, OfferError> {
        let summary = sdp::inspect_offer(offer_sdp)?;
        let place = self.take_place(camera, summary.candidates, address)?;
        let offer_sdp = &*sdp::without_unusable_candidates(offer_sdp);
        // From here on pictures are made, so that one is ready when the connection is.
        let units = camera.subscribe();
        let parts = peer::Parts {
            config: &self.0.config,
            certificate: &self.0.certificate,
            loopback_only: self.0.loopback_only,
            offerer_is_dtls_server: summary.offerer_is_dtls_server,
            bitrates: self.0.bitrates,
        };
        let answered = self
            .0
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_TIMEOUT, peer::Peer::answer(&parts, offer_sdp)).await });
        let (peer, sdp) = match answered {
            Err(_) => return Err(OfferError::Internal("it took too long".to_owned())),
            // The offer passed inspection, but the crate's own parser or its codec match did not take it.
            Ok(Err(error @ peer::AnswerError::Port(_))) => return Err(OfferError::Internal(error.to_string())),
            Ok(Err(error)) => return Err(OfferError::Unusable(format!("the offer cannot be used: {error}"))),
            Ok(Ok(answered)) => answered,
        };
        let peer = Arc::new(peer);
        let id = place.id;
        if let Some(entry) = self.0.entries().get_mut(&id) {
            entry.peer = Some(Arc::clone(&peer));
        }
        if self.0.config.mode == Mode::Single {
            self.close_others(camera, id);
        }
        self.0.metrics.sessions_opened.increment();
        let metrics = Arc::clone(&self.0.metrics);
        let (close, connected) = (Arc::clone(&place.close), Arc::clone(&place.connected));
        let name = format!("{id}").split_off(26);
        self.0.runtime.spawn(async move {
            session::Session { name, peer, units, metrics: Arc::clone(&metrics), close, connected }.run().await;
            metrics.sessions_closed.increment();
            drop(place);
        });
        Ok(Answer { id, sdp })
    }

    fn take_place(&self, camera: &Camera, candidates: usize, address: Option<IpAddr>) -> Result<Place, OfferError> {
        let id = SessionId(rand::random());
        let (close, connected) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let mut limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.0.entries();
        let taken =
            entries.values().map(|entry| Taken { address: entry.address, is_pending: !entry.connected.load(Relaxed) });
        let limit = self.0.config.max_viewers;
        // Whoever finds no place may ask again as often as they like: that costs nothing.
        limits
            .join(address, taken)
            .and_then(|()| address.map_or(Ok(()), |address| limits.offer(address, Timestamp::now())))
            .map_err(|full| match full {
                Full::Everything => OfferError::TooManyViewers { limit },
                Full::Pending => OfferError::TooManyConnecting,
                Full::Address { limit } => OfferError::TooManyFromThere { limit },
                Full::TooFast { wait } => OfferError::TooFast { wait },
            })?;
        let camera = camera.name().to_owned();
        let entry = Entry {
            camera,
            peer: None,
            close: Arc::clone(&close),
            candidates,
            address,
            connected: Arc::clone(&connected),
        };
        entries.insert(id, entry);
        Ok(Place { shared: Arc::clone(&self.0), id, close, connected })
    }

    /// Ends the sessions of a camera but for one.
    fn close_others(&self, camera: &Camera, id: SessionId) {
        for (other, entry) in self.0.entries().iter() {
            if entry.camera == camera.name() && *other != id {
                entry.close.notify_one();
            }
        }
    }

    /// Ends one session; `false` if there is none of that name.
    #[must_use]
    pub fn close(&self, id: &SessionId) -> bool {
        self.0.entries().get(id).map(|entry| entry.close.notify_one()).is_some()
    }

    /// Ends all sessions; returns how many.
    pub fn close_all(&self) -> usize {
        let entries = self.0.entries();
        entries.values().for_each(|entry| entry.close.notify_one());
        entries.len()
    }

    /// Waits up to `timeout` until no session is left; for shutdown.
    pub fn wait_until_empty(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        while self.viewers() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Adds a candidate that a client trickled.
    ///
    /// # Errors
    /// When it is malformed, there are too many, or the session is unknown.
    pub fn add_candidate(&self, id: &SessionId, candidate: &str) -> Result<(), CandidateError> {
        let malformed = |reason: String| CandidateError::Malformed(reason);
        let peer = {
            let mut entries = self.0.entries();
            let entry = entries.get_mut(id).ok_or(CandidateError::UnknownSession)?;
            sdp::check_candidate_line(candidate).map_err(|error| malformed(error.to_string()))?;
            if entry.candidates >= sdp::MOST_CANDIDATES {
                return Err(malformed(format!("more than {} candidates", sdp::MOST_CANDIDATES)));
            }
            entry.candidates += 1;
            if !sdp::is_usable_candidate(candidate) {
                return Ok(());
            }
            entry.peer.clone().ok_or(CandidateError::UnknownSession)?
        };
        self.0.runtime.block_on(peer.add_candidate(candidate)).map_err(|error| malformed(error.to_string()))
    }

    /// Whether there is such a session.
    #[must_use]
    pub fn contains(&self, id: &SessionId) -> bool {
        self.0.entries().contains_key(id)
    }

    /// How many sessions there are, those that still connect included.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.0.entries().len()
    }

    /// How many of them watch `camera`.
    #[must_use]
    pub fn viewers_of(&self, camera: &Camera) -> usize {
        self.0.entries().values().filter(|entry| entry.camera == camera.name()).count()
    }

    /// Whether any picture was sent to anybody since the start.
    #[must_use]
    pub fn has_streamed(&self) -> bool {
        self.0.metrics.units_sent.get() > 0
    }

    /// Who may watch at the same time.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.config.mode
    }

    /// Most sessions at once.
    #[must_use]
    pub fn max_viewers(&self) -> usize {
        self.0.config.max_viewers
    }

    /// STUN and TURN servers that viewers are to use too.
    #[must_use]
    pub fn ice_servers(&self) -> &[IceServer] {
        &self.0.config.ice_servers
    }

    /// The sessions' counters.
    #[must_use]
    pub fn metrics(&self) -> &SessionMetrics {
        &self.0.metrics
    }
}
