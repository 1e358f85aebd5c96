//! What the viewer's RTCP says, on its way to perch.
//!
//! The crate's chain of interceptors keeps RTCP to itself. Two links are added: [`keyframe_requests`] lets PLI and
//! FIR (RFC 4585, RFC 5104) through to the application, and [`resends`] decides what the crate's responder resends,
//! which would resend whatever is asked as often as it is asked. [`Estimator`] hands the packet reports to perch's own path
//! estimate, and what they call lost to [`resends`].

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
/// A packet that is asked for is not sent again sooner than this: the first copy may still be on its way.
const RESEND_INTERVAL: Duration = Duration::from_millis(20);
/// One that is reported lost is sent again as soon as that: where packets are lost, so are requests and copies, and a browser
/// asks for the second time after 100 ms only.
const REPORTED_INTERVAL: Duration = Duration::from_millis(5);
/// Packets waiting longer than this on the way: nothing is resent.
const NO_RESENDS_ABOVE: Duration = Duration::from_millis(250);
/// Sequence numbers whose last resend is remembered.
const REMEMBERED: usize = 128;

/// Most packets that are remembered as lost: more would not be resent.
const MOST_LOST: usize = 64;

/// The path estimate, shared by the interceptors and the session.
pub(super) type SharedPath = Arc<Mutex<PathEstimator>>;

/// Sequence numbers that the viewer's last report calls lost, shared by the interceptors.
pub(super) type SharedLost = Arc<Mutex<Vec<u16>>>;

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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether a packet may be resent that was not for `interval`, which is at most [`RESEND_INTERVAL`]. It counts as resent then.
    fn allows(&mut self, now: Instant, sequence: u16, interval: Duration) -> bool {
        let last = self.filled_at.replace(now).unwrap_or(now);
        let seconds = now.saturating_duration_since(last).as_secs_f64();
        self.tokens = seconds.mul_add(RESENDS_PER_SECOND, self.tokens).min(RESEND_BURST);
        while self.resent.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) >= RESEND_INTERVAL) {
            self.resent.pop_front();
        }
        let is_too_soon = |at: Instant| now.saturating_duration_since(at) < interval;
        let too_soon = self.resent.iter().any(|(resent, at)| *resent == sequence && is_too_soon(*at));
        if too_soon || self.tokens < 1.0 || self.resent.len() == REMEMBERED {
            return false;
        }
        self.tokens -= 1.0;
        self.resent.push_back((sequence, now));
        true
    }
}

/// Thins NACKs so that resending cannot fill a weak link, and adds what is known to be lost without one.
pub(super) struct Resends {
    budget: ResendBudget,
    path: SharedPath,
    lost: SharedLost,
    ssrc: u32,
}

/// The link that decides what is resent of the stream `ssrc`; it belongs before the crate's responder.
pub(super) fn resends(path: SharedPath, lost: SharedLost, ssrc: u32) -> Link<Resends> {
    Link::new(Resends { budget: ResendBudget::new(), path, lost, ssrc })
}

impl Resends {
    fn thin(&mut self, now: Instant, nack: &TransportLayerNack) -> Vec<NackPair> {
        // On a jammed link resends come too late and jam it more.
        if lock(&self.path).backlog(now) > NO_RESENDS_ABOVE {
            return Vec::new();
        }
        let asked = nack.nacks.iter().flat_map(|pair| {
            let following = (0..16_u16).filter(|bit| pair.lost_packets & (1 << bit) != 0);
            std::iter::once(pair.packet_id).chain(following.map(|bit| pair.packet_id.wrapping_add(bit + 1)))
        });
        let allowed: Vec<u16> = asked.filter(|sequence| self.budget.allows(now, *sequence, RESEND_INTERVAL)).collect();
        nack_pairs_from_sequence_numbers(&allowed)
    }

    /// What nobody asked for but is lost, as a NACK, unless a queue on the way may be why.
    fn reported(&mut self, now: Instant) -> Option<TransportLayerNack> {
        let lost = std::mem::take(&mut *lock(&self.lost));
        if lost.is_empty() || !lock(&self.path).has_room() {
            return None;
        }
        let allowed: Vec<u16> =
            lost.into_iter().filter(|sequence| self.budget.allows(now, *sequence, REPORTED_INTERVAL)).collect();
        let nacks = nack_pairs_from_sequence_numbers(&allowed);
        (!nacks.is_empty()).then_some(TransportLayerNack { sender_ssrc: 0, media_ssrc: self.ssrc, nacks })
    }
}

impl InboundFilter for Resends {
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
            if let Some(nack) = self.reported(now) {
                packets.push(Box::new(nack));
            }
        }
        true
    }
}

/// Feeds the crate's packet reports to the path estimate, and tells what they call lost of the stream `ssrc`.
pub(super) struct Estimator {
    pub(super) path: SharedPath,
    pub(super) lost: SharedLost,
    pub(super) ssrc: u32,
}

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
        lock(&self.path).on_feedback(now, &fates);
        let mut lost = lock(&self.lost);
        let room = MOST_LOST - lost.len();
        let missing = reports.iter().filter(|report| !report.arrived && report.ssrc == self.ssrc);
        lost.extend(missing.map(|report| report.rtp_sequence_number).take(room));
    }

    fn target_bitrate(&self) -> f64 {
        f64::from(lock(&self.path).target_bps())
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
    let lost = Arc::new(Mutex::new(vec![7, 8]));
    let _ = Resends { budget: ResendBudget::new(), path: Arc::clone(&path), lost, ssrc: 1 }.passes(&mut message);
    let _ = KeyframeRequests(path).passes(&mut message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_not_resent_twice_at_once() {
        let mut budget = ResendBudget::new();
        let now = Instant::now();
        assert!(budget.allows(now, 7, RESEND_INTERVAL));
        assert!(!budget.allows(now + RESEND_INTERVAL / 2, 7, RESEND_INTERVAL));
        assert!(!budget.allows(now + REPORTED_INTERVAL / 2, 7, REPORTED_INTERVAL));
        assert!(budget.allows(now + RESEND_INTERVAL, 7, RESEND_INTERVAL));
        assert!(
            budget.allows(now + RESEND_INTERVAL + REPORTED_INTERVAL, 7, REPORTED_INTERVAL),
            "it is known to be lost"
        );
    }

    #[test]
    fn asking_for_thousands_gives_a_burst_and_then_the_rate() {
        let mut budget = ResendBudget::new();
        let start = Instant::now();
        let allowed =
            |budget: &mut ResendBudget, at| (0..5000_u16).filter(|n| budget.allows(at, *n, RESEND_INTERVAL)).count();
        assert_eq!(allowed(&mut budget, start), 64);
        assert_eq!(allowed(&mut budget, start + Duration::from_millis(500)), 30);
    }

    fn report(sequence: u16, ssrc: u32, sent_at: Instant, delay: Option<Duration>) -> PacketReport {
        PacketReport {
            ssrc,
            id: u64::from(sequence),
            rtp_sequence_number: sequence,
            is_twcc: true,
            twcc_sequence_number: sequence,
            size: 1200,
            arrived: delay.is_some(),
            departure: sent_at,
            arrival: delay.map(|delay| Duration::from_millis(5 * u64::from(sequence)) + delay),
            ecn: rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn::NotEct,
        }
    }

    /// What is resent when an RTCP packet comes in with which nothing was asked for.
    fn resent(resends: &mut Resends, now: Instant) -> Vec<u16> {
        let message = rtc::interceptor::AttributedPacket::new(Packet::Rtcp(Vec::new()));
        let mut message = TaggedPacket { now, transport: rtc::shared::TransportContext::default(), message };
        assert!(resends.passes(&mut message));
        let Packet::Rtcp(packets) = &message.message.packet else { panic!() };
        let nacks = packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<TransportLayerNack>());
        nacks.flat_map(|nack| nack.nacks.iter().flat_map(NackPair::packet_list)).collect()
    }

    #[test]
    fn what_a_report_calls_lost_is_resent_though_no_request_for_it_came_through() {
        let start = Instant::now();
        let bitrates = crate::webrtc::BitrateRange { min_bps: 300_000, start_bps: 2_000_000, max_bps: 2_000_000 };
        for (queued, expected) in [(0, vec![103]), (200, vec![])] {
            let path = Arc::new(Mutex::new(PathEstimator::new(start, bitrates)));
            let lost = SharedLost::default();
            let mut estimator = Estimator { path: Arc::clone(&path), lost: Arc::clone(&lost), ssrc: 1 };
            let mut resends = Resends { budget: ResendBudget::new(), path, lost, ssrc: 1 };
            let mut now = start;
            for sequence in 0..100 {
                now += Duration::from_millis(5);
                // Packets come to stand in a queue, or not.
                let delay = Duration::from_millis(if sequence < 40 { 0 } else { queued });
                estimator.on_reports(now, &[report(sequence, 1, now, Some(delay))]);
            }
            assert!(resent(&mut resends, now).is_empty(), "nothing is lost");
            // The second is a copy, whose number means nothing to the stream.
            estimator.on_reports(now, &[report(103, 1, now, None), report(104, 2, now, None)]);
            assert_eq!(resent(&mut resends, now), expected, "{queued} ms of queue");
            assert!(resent(&mut resends, now).is_empty(), "once");
        }
    }

    #[test]
    fn a_report_of_thousands_lost_is_not_remembered_as_a_whole() {
        let now = Instant::now();
        let bitrates = crate::webrtc::BitrateRange { min_bps: 300_000, start_bps: 2_000_000, max_bps: 2_000_000 };
        let path = Arc::new(Mutex::new(PathEstimator::new(now, bitrates)));
        let mut estimator = Estimator { path, lost: SharedLost::default(), ssrc: 1 };
        let reports: Vec<_> = (0..5000).map(|sequence| report(sequence, 1, now, None)).collect();
        estimator.on_reports(now, &reports);
        estimator.on_reports(now, &reports);
        assert_eq!(lock(&estimator.lost).len(), MOST_LOST);
    }
}
