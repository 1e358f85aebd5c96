//! One viewer, from the answer to the end: waits for the connection, then sends what the policy lets through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use log::{debug, info};
use tokio::sync::Notify;

use super::metrics::SessionMetrics;
use super::peer::{self, Link, Peer, PeerError, RtpSender};
use super::send_policy::{Action, PathState, SendPolicy};
use crate::base::clock::Timestamp;
use crate::camera::{KeyframeReason, Received, Subscription};
use crate::media::access_unit::AccessUnit;

/// An offer that has not become a connection by then is forgotten.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Session {
    pub(super) name: String,
    pub(super) peer: Arc<Peer>,
    pub(super) units: Subscription,
    pub(super) metrics: Arc<SessionMetrics>,
    /// Somebody wants this session to end.
    pub(super) close: Arc<Notify>,
    /// Whether it is more than an offer by now.
    pub(super) connected: Arc<AtomicBool>,
}

impl Session {
    /// Runs until the connection ends or is ended; the peer is closed by then.
    pub(super) async fn run(mut self) {
        let close = Arc::clone(&self.close);
        let why = tokio::select! {
            why = self.serve() => why,
            () = close.notified() => "closed on request",
        };
        self.peer.close().await;
        info!("viewer {} left: {why}", self.name);
    }

    async fn serve(&mut self) -> &'static str {
        let mut link = self.peer.link();
        let settled = async { link.wait_for(|link| *link != Link::Connecting).await.map(|link| *link) };
        match tokio::time::timeout(CONNECT_TIMEOUT, settled).await {
            Err(_) => return "its connection never came",
            Ok(Ok(Link::Connected)) => {}
            Ok(_) => return "its connection failed",
        }
        let mut sender = match self.peer.sender().await {
            Ok(sender) => sender,
            Err(error) => {
                debug!("viewer {}: {error}", self.name);
                return "nothing could be negotiated";
            }
        };
        self.connected.store(true, Relaxed);
        info!("viewer {} is connected", self.name);
        self.units.skip_queued();
        self.units.request_keyframe(KeyframeReason::Join);
        let mut policy = SendPolicy::new(Instant::now());
        let peer = Arc::clone(&self.peer);
        loop {
            tokio::select! {
                () = ended(&mut link) => return "its connection ended",
                alive = peer.keyframe_requested() => {
                    if !alive {
                        return "its connection ended";
                    }
                    self.units.request_keyframe(KeyframeReason::Repair);
                }
                received = self.units.receive() => match received {
                    Received::Closed => return "the camera was stopped",
                    Received::Lagged(count) => {
                        self.metrics.units_skipped.add(count);
                        policy.on_lagged(Instant::now());
                        self.units.request_keyframe(KeyframeReason::Repair);
                    }
                    Received::Unit(unit) => if self.on_unit(&unit, &mut policy, &mut sender).await.is_err() {
                        return "its connection ended";
                    }
                },
            }
        }
    }

    async fn on_unit(
        &self,
        unit: &AccessUnit,
        policy: &mut SendPolicy,
        sender: &mut RtpSender,
    ) -> Result<(), PeerError> {
        let now = Instant::now();
        let (path, target_bps) = {
            let path = self.peer.path();
            (PathState { backlog: path.backlog(now), is_drained: path.is_drained() }, path.target_bps())
        };
        self.units.limit_bitrate(target_bps);
        let was_resting = policy.is_resting();
        let action = policy.on_unit(now, unit.is_keyframe, path);
        if was_resting && !policy.is_resting() {
            self.peer.path().after_pause();
        }
        match action {
            Action::Send => {}
            Action::Skip | Action::SkipAndAsk => {
                self.metrics.units_skipped.increment();
                if action == Action::SkipAndAsk {
                    self.units.request_keyframe(KeyframeReason::Repair);
                }
                return Ok(());
            }
        }
        let payloads = unit.rtp_payloads(peer::payloads);
        self.peer.path().on_sent(now);
        sender.send(payloads, unit.pts.as_rtp_90khz()).await?;
        self.metrics.units_sent.increment();
        self.metrics.packets_sent.add(payloads.len() as u64);
        self.metrics.bytes_sent.add(payloads.iter().map(|payload| payload.len() as u64).sum());
        self.metrics.capture_to_send.observe(Timestamp::now().saturating_since(unit.pts));
        Ok(())
    }
}

/// Waits until the connection has ended.
async fn ended(link: &mut tokio::sync::watch::Receiver<Link>) {
    // An error says that the connection's events have ended with it.
    let _ = link.wait_for(|link| *link == Link::Ended).await;
}
