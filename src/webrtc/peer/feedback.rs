//! What the viewer's RTCP says, on its way to perch.
//!
//! The crate's chain of interceptors keeps RTCP to itself. Two links are added: [`keyframe_requests`] lets PLI and
//! FIR (RFC 4585, RFC 5104) through to the application, and [`resend_limit`] thins NACKs before the crate's
//! responder, which would resend whatever is asked as often as it is asked. [`Estimator`] hands the packet
//! reports to perch's own path estimate.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rtc::interceptor::{Attribute, BandwidthEstimator, Interceptor, Packet, PacketReport, StreamInfo, TaggedPacket};
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    NackPair, TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

use crate::webrtc::path::{PacketFate, PathEstimator};

/// Packets that may be resent in a burst.
const RESEND_BURST: f64 = 64.0;
/// Packets that may be resent per second in the long run: about a quarter of a 2 Mbit/s stream.
const RESENDS_PER_SECOND: f64 = 60.0;
/// A packet is not sent again sooner than this: the first copy may still be on its way.
const RESEND_INTERVAL: Duration = Duration::from_millis(20);
/// Packets waiting longer than this on the way: nothing is resent.
const NO_RESENDS_ABOVE: Duration = Duration::from_millis(250);
/// Sequence numbers whose last resend is remembered.
const REMEMBERED: usize = 128;

/// The path estimate, shared by the interceptors and the session.
pub(super) type SharedPath = Arc<Mutex<PathEstimator>>;

/// Looks at inbound packets: may change one, and says whether it goes on.
trait InboundFilter: Send + Sync {
    fn passes(&mut self, message: &mut TaggedPacket) -> bool;
}

/// A link of the chain that filters what comes in and leaves alone what goes out.
pub(super) struct Link<F> {
    filter: F,
    read: VecDeque<TaggedPacket>,
    write: VecDeque<TaggedPacket>,
}

impl<F> Link<F> {
    const fn new(filter: F) -> Self {
        Self { filter, read: VecDeque::new(), write: VecDeque::new() }
    }
}

impl<F: InboundFilter> Protocol<TaggedPacket, TaggedPacket, ()> for Link<F> {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut message: TaggedPacket) -> Result<(), Error> {
        if self.filter.passes(&mut message) {
            self.read.push_back(message);
        }
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.read.pop_front()
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Error> {
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl<F: InboundFilter> Interceptor for Link<F> {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

/// Lets only what the session acts on through to the application.
pub(super) struct KeyframeRequests(SharedPath);

/// The link that lets keyframe requests through.
pub(super) fn keyframe_requests(path: SharedPath) -> Link<KeyframeRequests> {
    Link::new(KeyframeRequests(path))
}

impl InboundFilter for KeyframeRequests {
    fn passes(&mut self, message: &mut TaggedPacket) -> bool {
        let Packet::Rtcp(packets) = &mut message.message.packet else { return true };
        for packet in packets.iter() {
            if let Some(remb) = packet.as_any().downcast_ref::<ReceiverEstimatedMaximumBitrate>() {
                lock(&self.0).on_receiver_estimate(f64::from(remb.bitrate));
            }
        }
        packets
            .retain(|packet| packet.as_any().is::<PictureLossIndication>() || packet.as_any().is::<FullIntraRequest>());
        let any = !packets.is_empty();
        if any {
            message.message.add(Attribute::DeliverToApplication);
        }
        any
    }
}

fn lock(path: &SharedPath) -> MutexGuard<'_, PathEstimator> {
    path.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which packets may be resent: a budget, and a pause per packet. Pure.
struct ResendBudget {
    tokens: f64,
    filled_at: Option<Instant>,
    resent: VecDeque<(u16, Instant)>,
}

impl ResendBudget {
    const fn new() -> Self {
        Self { tokens: RESEND_BURST, filled_at: None, resent: VecDeque::new() }
    }

    fn allows(&mut self, now: Instant, sequence: u16) -> bool {
        let last = self.filled_at.replace(now).unwrap_or(now);
        let seconds = now.saturating_duration_since(last).as_secs_f64();
        self.tokens = seconds.mul_add(RESENDS_PER_SECOND, self.tokens).min(RESEND_BURST);
        while self.resent.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= RESEND_INTERVAL) {
            self.resent.pop_front();
        }
        let too_soon = self.resent.iter().any(|(resent, _)| *resent == sequence);
        if too_soon || self.tokens < 1.0 || self.resent.len() == REMEMBERED {
            return false;
        }
        self.tokens -= 1.0;
        self.resent.push_back((sequence, now));
        true
    }
}

/// Thins NACKs so that resending cannot fill a weak link.
pub(super) struct ResendLimit {
    budget: ResendBudget,
    path: SharedPath,
}

/// The link that thins NACKs; it belongs before the crate's responder.
pub(super) fn resend_limit(path: SharedPath) -> Link<ResendLimit> {
    Link::new(ResendLimit { budget: ResendBudget::new(), path })
}

impl ResendLimit {
    fn thin(&mut self, now: Instant, nack: &TransportLayerNack) -> Vec<NackPair> {
        // On a jammed link resends come too late and jam it more.
        if lock(&self.path).backlog(now) > NO_RESENDS_ABOVE {
            return Vec::new();
        }
        let asked = nack.nacks.iter().flat_map(|pair| {
            let following = (0..16_u16).filter(|bit| pair.lost_packets & (1 << bit) != 0);
            std::iter::once(pair.packet_id).chain(following.map(|bit| pair.packet_id.wrapping_add(bit + 1)))
        });
        let allowed: Vec<u16> = asked.filter(|sequence| self.budget.allows(now, *sequence)).collect();
        nack_pairs_from_sequence_numbers(&allowed)
    }
}

impl InboundFilter for ResendLimit {
    fn passes(&mut self, message: &mut TaggedPacket) -> bool {
        let now = message.now;
        if let Packet::Rtcp(packets) = &mut message.message.packet {
            for packet in packets.iter_mut() {
                if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
                    let nacks = self.thin(now, nack);
                    let (sender_ssrc, media_ssrc) = (nack.sender_ssrc, nack.media_ssrc);
                    *packet = Box::new(TransportLayerNack { sender_ssrc, media_ssrc, nacks });
                }
            }
        }
        true
    }
}

/// Feeds the crate's packet reports to the path estimate.
pub(super) struct Estimator(pub(super) SharedPath);

impl BandwidthEstimator for Estimator {
    fn on_reports(&mut self, now: Instant, reports: &[PacketReport]) {
        let fates: Vec<_> = reports
            .iter()
            .map(|report| PacketFate {
                sent_at: report.departure,
                arrived_at: report.arrival.filter(|_| report.arrived),
                bytes: report.size,
            })
            .collect();
        lock(&self.0).on_feedback(now, &fates);
    }

    fn target_bitrate(&self) -> f64 {
        f64::from(lock(&self.0).target_bps())
    }
}

/// What a viewer's RTCP goes through, for a fuzz target.
pub(super) fn read(bytes: &[u8]) {
    let Ok(packets) = rtc::rtcp::packet::unmarshal(&mut &*bytes) else { return };
    let now = Instant::now();
    let bitrates = crate::webrtc::BitrateRange { min_bps: 300_000, start_bps: 2_000_000, max_bps: 2_000_000 };
    let path = Arc::new(Mutex::new(PathEstimator::new(now, bitrates)));
    let message = rtc::interceptor::AttributedPacket::new(Packet::Rtcp(packets));
    let mut message = TaggedPacket { now, transport: rtc::shared::TransportContext::default(), message };
    let _ = ResendLimit { budget: ResendBudget::new(), path: Arc::clone(&path) }.passes(&mut message);
    let _ = KeyframeRequests(path).passes(&mut message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_not_resent_twice_at_once() {
        let mut budget = ResendBudget::new();
        let now = Instant::now();
        assert!(budget.allows(now, 7));
        assert!(!budget.allows(now + RESEND_INTERVAL / 2, 7));
        assert!(budget.allows(now + RESEND_INTERVAL, 7));
    }

    #[test]
    fn asking_for_thousands_gives_a_burst_and_then_the_rate() {
        let mut budget = ResendBudget::new();
        let start = Instant::now();
        let allowed = |budget: &mut ResendBudget, at| (0..5000_u16).filter(|n| budget.allows(at, *n)).count();
        assert_eq!(allowed(&mut budget, start), 64);
        assert_eq!(allowed(&mut budget, start + Duration::from_millis(500)), 30);
    }
}
