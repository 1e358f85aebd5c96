//! The only place that names the `webrtc` crate (and `rtc`, whose types it uses): one peer connection that
//! answers an offer and sends one H.264 track. When to send what is `session`'s business.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{CongestionControlBuilder, NackResponderBuilder, Registry, Slot};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::{configure_rtcp_reports, configure_twcc_sender_only};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MIME_TYPE_RTX, MediaEngine};
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp::codec::h264::H264Payloader;
use rtc::rtp::packetizer::Payloader as _;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{Notify, watch};
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_local::{TrackLocal, TrackLocalEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit, RTCIceGatheringState,
    RTCIceServer, RTCPeerConnectionState, RTCSessionDescription, SettingEngine, SettingEngineBuilder,
};

use super::path::{BitrateRange, PathEstimator};
use super::{Config, PortRange};

pub(super) mod addresses;
mod burst;
mod checks;
mod feedback;
mod sockets;

/// Playout delay 0 to 0 ms: show each picture as soon as it is there
/// (<http://www.webrtc.org/experiments/rtp-hdrext/playout-delay>).
const PLAYOUT_DELAY_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
const PLAYOUT_DELAY_ZERO: &[u8] = &[0, 0, 0];
/// What an offer names whose viewer reports which packets came, and when.
const TRANSPORT_WIDE_CC: &str = "draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Bytes of one RTP payload: with headers, extensions and the SRTP tag below the 1200 bytes that pass everywhere.
const PAYLOAD_BYTES: usize = 1140;
/// Packets kept for resending: about three seconds.
const RESEND_BUFFER_PACKETS: u16 = 512;
/// How long candidates of STUN and TURN servers are waited for; host candidates are there at once.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(1);
const PAYLOAD_TYPE: u8 = 102;

/// A failure inside the crate.
pub(super) type PeerError = webrtc::error::Error;

/// Why an offer could not be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// The crate did not take the offer.
    #[error("{0}")]
    Offer(PeerError),
    /// No connection could be set up for it.
    #[error("no UDP port could be opened: {0}")]
    Port(PeerError),
}

/// One certificate for all sessions of this run.
pub(super) struct Certificate(RTCCertificate);

impl Certificate {
    /// Makes a key and a self-signed certificate.
    pub(super) fn generate() -> Result<Self, String> {
        let provider = rtc::crypto::default_provider().map_err(|error| error.to_string())?;
        let params = CertificateParams::new(vec!["perch".to_owned()]).map_err(|error| error.to_string())?;
        RTCCertificate::generate(provider.crypto(), rtc::crypto::SignatureScheme::EcdsaP256Sha256, params)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}

/// The stages of a connection that matter to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Connecting,
    Connected,
    Ended,
}

/// What to build a peer from.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) certificate: &'a Certificate,
    /// Serve on loopback only, like the page.
    pub(super) loopback_only: bool,
    pub(super) offerer_is_dtls_server: bool,
    pub(super) bitrates: BitrateRange,
}

/// The one stream of a connection.
struct Stream {
    path: feedback::SharedPath,
    ssrc: u32,
    /// Whether the viewer tells what became of each packet; what was sent is remembered for that only.
    is_reported: bool,
}

/// One viewer's connection.
pub(super) struct Peer {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    link: watch::Receiver<Link>,
    path: feedback::SharedPath,
    ssrc: u32,
}

struct Events {
    gathered: Notify,
    link: watch::Sender<Link>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Events {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let link = match state {
            RTCPeerConnectionState::Connected => Link::Connected,
            RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => Link::Ended,
            // Disconnected may heal; a timeout turns it into Failed.
            _ => return,
        };
        self.link.send_if_modified(|now| *now != Link::Ended && std::mem::replace(now, link) != link);
    }
}

fn h264(feedback: bool) -> RTCRtpCodec {
    let entry = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() };
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        // Constrained Baseline, level 3.1; browsers take higher levels than they ask for.
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        rtcp_feedback: if feedback {
            vec![entry("goog-remb", ""), entry("ccm", "fir"), entry("nack", ""), entry("nack", "pli")]
        } else {
            Vec::new()
        },
    }
}

fn media_engine() -> Result<MediaEngine, PeerError> {
    let mut engine = MediaEngine::default();
    let video = RTCRtpCodecParameters { rtp_codec: h264(true), payload_type: PAYLOAD_TYPE };
    engine.register_codec(video, RtpCodecKind::Video)?;
    let rtx = RTCRtpCodec {
        mime_type: MIME_TYPE_RTX.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: format!("apt={PAYLOAD_TYPE}"),
        rtcp_feedback: Vec::new(),
    };
    let rtx = RTCRtpCodecParameters { rtp_codec: rtx, payload_type: PAYLOAD_TYPE + 1 };
    engine.register_codec(rtx, RtpCodecKind::Video)?;
    // Only so that an audio section is answered inactive; refusing the codec would leave it without ICE credentials,
    // which some clients cannot read.
    let opus = RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        channels: 2,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    };
    engine.register_codec(RTCRtpCodecParameters { rtp_codec: opus, payload_type: 111 }, RtpCodecKind::Audio)?;
    let extension = RTCRtpHeaderExtensionCapability { uri: PLAYOUT_DELAY_URI.to_owned() };
    engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    Ok(engine)
}

fn interceptors(engine: &mut MediaEngine, stream: &Stream) -> Result<Registry, PeerError> {
    let Stream { path, ssrc, is_reported } = stream;
    let mut registry = configure_rtcp_reports(Registry::new());
    let lost = feedback::SharedLost::default();
    if *is_reported {
        let estimator = feedback::Estimator { path: Arc::clone(path), lost: Arc::clone(&lost), ssrc: *ssrc };
        let congestion = CongestionControlBuilder::new(estimator).build();
        registry = configure_twcc_sender_only(registry, engine)?.with(Slot::CongestionControl, congestion);
    }
    let responder = NackResponderBuilder::new().with_size(RESEND_BUFFER_PACKETS).build();
    Ok(registry
        .with(Slot::from(3_500), feedback::resends(Arc::clone(path), lost, *ssrc))
        .with(Slot::NackResponder, responder)
        .with(Slot::from(14_000), feedback::keyframe_requests(Arc::clone(path))))
}

fn settings(parts: &Parts<'_>, mdns: MulticastDnsMode) -> SettingEngine {
    let mut settings = SettingEngineBuilder::new()
        .with_include_loopback_candidate(true)
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_ice_connection_attempts(Some(Duration::from_millis(20)), Some(200))
        // Silent for 4 s: disconnected; for 8 s: failed. A closed tab is noticed within 10 s.
        .with_ice_timeouts(Some(Duration::from_secs(4)), Some(Duration::from_secs(4)), Some(Duration::from_secs(1)))
        .with_multicast_dns_mode(mdns);
    if !parts.offerer_is_dtls_server {
        // As a DTLS client, the first ClientHello would leave before ICE is ready and wait for its retransmission.
        settings = settings.with_answering_dtls_role(RTCDtlsRole::Server);
    }
    settings.build()
}

/// Ports to try, beginning behind the one that was tried last.
fn ports(range: Option<PortRange>) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let Some(PortRange { first, last }) = range else { return vec![0] };
    let count = last - first + 1;
    let start = NEXT.fetch_add(1, Ordering::Relaxed);
    (0..count).map(|i| first + (start.wrapping_add(i)) % count).collect()
}

/// The answer with `addresses` in the place of the machine's own in its host candidates (RFC 8839, section 5.1); as it
/// is without addresses. The crate has a setting for this, and does nothing with it.
fn advertise(answer: &str, addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return answer.to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    for line in answer.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [foundation, component, protocol, priority, _, port, "typ", "host", ..]
                if foundation.starts_with("a=candidate:") =>
            {
                for (index, address) in addresses.iter().enumerate() {
                    let line =
                        format!("{foundation}{index} {component} {protocol} {priority} {address} {port} typ host");
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\r\n") + "\r\n"
}

/// What a viewer's RTCP goes through, for a fuzz target. Not part of the interface.
#[doc(hidden)]
pub fn read_rtcp(bytes: &[u8]) {
    feedback::read(bytes);
}

impl Peer {
    /// Answers `offer_sdp`; returns the peer and the answer with all candidates.
    pub(super) async fn answer(parts: &Parts<'_>, offer_sdp: &str) -> Result<(Self, String), AnswerError> {
        let now = Instant::now();
        let stream = Stream {
            path: Arc::new(Mutex::new(PathEstimator::new(now, parts.bitrates))),
            ssrc: rand::random(),
            is_reported: offer_sdp.contains(TRANSPORT_WIDE_CC),
        };
        let (link_sender, link) = watch::channel(Link::Connecting);
        let events = Arc::new(Events { gathered: Notify::new(), link: link_sender });
        let mut failure = None;
        // Multicast DNS finds `.local` candidates; where there is no multicast, viewers are found without it.
        let wants_mdns = !parts.loopback_only && parts.config.advertise.is_empty();
        let mut mdns = if wants_mdns { MulticastDnsMode::QueryOnly } else { MulticastDnsMode::Disabled };
        for port in ports(parts.config.udp_ports) {
            let mut built = Self::build(parts, port, mdns, &stream, &events).await;
            if built.is_err() && mdns != MulticastDnsMode::Disabled {
                mdns = MulticastDnsMode::Disabled;
                built = Self::build(parts, port, mdns, &stream, &events).await;
            }
            match built {
                Ok(connection) => {
                    let answered = Self::negotiate(connection.as_ref(), &events, offer_sdp, stream.ssrc).await;
                    let (track, answer) = match answered {
                        Ok(answered) => answered,
                        Err(error) => {
                            let _ = connection.close().await;
                            return Err(AnswerError::Offer(error));
                        }
                    };
                    let answer = advertise(&answer, &parts.config.advertise);
                    let Stream { path, ssrc, .. } = stream;
                    return Ok((Self { connection, track, link, path, ssrc }, answer));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(AnswerError::Port(failure.unwrap_or_else(|| std::io::Error::other("none to try").into())))
    }

    async fn build(
        parts: &Parts<'_>,
        port: u16,
        mdns: MulticastDnsMode,
        stream: &Stream,
        events: &Arc<Events>,
    ) -> Result<Arc<dyn PeerConnection>, PeerError> {
        let mut engine = media_engine()?;
        let registry = interceptors(&mut engine, stream)?;
        let ice_servers = parts.config.ice_servers.iter().map(|server| RTCIceServer {
            urls: server.urls.clone(),
            username: server.username.clone(),
            credential: server.credential.clone(),
        });
        let configuration = RTCConfigurationBuilder::new()
            .with_certificates(vec![parts.certificate.0.clone()])
            .with_ice_servers(ice_servers.collect())
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(settings(parts, mdns))
            .with_handler(Arc::clone(events) as Arc<dyn PeerConnectionEventHandler>)
            .with_runtime(Arc::new(sockets::Runtime::new(stream.ssrc)))
            .with_udp_addrs(addresses::to_bind(parts.loopback_only, port))
            .build()
            .await?;
        Ok(Arc::new(connection))
    }

    async fn negotiate(
        connection: &dyn PeerConnection,
        events: &Events,
        offer_sdp: &str,
        ssrc: u32,
    ) -> Result<(Arc<TrackLocalStaticRTP>, String), PeerError> {
        let coding = RTCRtpCodingParameters {
            ssrc: Some(ssrc),
            rtx: Some(RTCRtpRtxParameters { ssrc: rand::random() }),
            ..Default::default()
        };
        let encoding =
            RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: h264(false), ..Default::default() };
        let name = || "perch".to_owned();
        let track = MediaStreamTrack::new(name(), "video".to_owned(), name(), RtpCodecKind::Video, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let init = RTCRtpTransceiverInit {
            // Not narrower yet: only such a transceiver is matched with a section that offers to send and receive.
            direction: RTCRtpTransceiverDirection::Sendrecv,
            streams: vec![name()],
            send_encodings: Vec::new(),
        };
        let camera =
            connection.add_transceiver_from_track(Arc::clone(&track) as Arc<dyn TrackLocal>, Some(init)).await?;
        connection.set_remote_description(RTCSessionDescription::offer(offer_sdp.to_owned())?).await?;
        camera.set_direction(RTCRtpTransceiverDirection::Sendonly).await?;
        for other in connection.get_transceivers().await.iter().filter(|other| other.id() != camera.id()) {
            // Audio, a second video: nothing will ever be sent there, nor listened to.
            other.set_direction(RTCRtpTransceiverDirection::Inactive).await?;
        }
        let answer = connection.create_answer(None).await?;
        connection.set_local_description(answer).await?;
        // What has been gathered by then is answered: a slow STUN server must not keep the picture away.
        let _ = tokio::time::timeout(GATHERING_TIMEOUT, events.gathered.notified()).await;
        let answer = connection.local_description().await.ok_or_else(|| std::io::Error::other("no answer was made"))?;
        Ok((track, answer.sdp))
    }

    /// Watches the connection's stage.
    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// The estimate of this viewer's path.
    pub(super) fn path(&self) -> std::sync::MutexGuard<'_, PathEstimator> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a keyframe request of the viewer; `false` when the connection has ended.
    pub(super) async fn keyframe_requested(&self) -> bool {
        matches!(self.track.poll().await, Some(TrackLocalEvent::OnRtcpPacket(_)))
    }

    /// Adds a candidate that the viewer trickled.
    pub(super) async fn add_candidate(&self, candidate: &str) -> Result<(), PeerError> {
        let candidate = RTCIceCandidateInit {
            candidate: candidate.to_owned(),
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
            ..Default::default()
        };
        self.connection.add_ice_candidate(candidate).await
    }

    /// Ends the connection; the viewer is told.
    pub(super) async fn close(&self) {
        if let Err(error) = self.connection.close().await {
            log::debug!("closing a peer connection: {error}");
        }
    }

    /// What was negotiated for sending.
    pub(super) async fn sender(&self) -> Result<RtpSender, PeerError> {
        let senders = self.connection.get_senders().await;
        let sender = senders.first().ok_or_else(|| std::io::Error::other("no sender was negotiated"))?;
        let parameters = sender.get_parameters().await?.rtp_parameters;
        let payload_type = parameters.codecs.first().map_or(PAYLOAD_TYPE, |codec| codec.payload_type);
        let playout_delay = parameters.header_extensions.iter().find(|extension| extension.uri == PLAYOUT_DELAY_URI);
        Ok(RtpSender {
            track: Arc::clone(&self.track),
            ssrc: self.ssrc,
            payload_type,
            playout_delay_id: playout_delay.and_then(|extension| u8::try_from(extension.id).ok()),
            sequence: rand::random(),
            timestamp_base: rand::random(),
        })
    }
}

/// Writes RTP packets to one viewer.
pub(super) struct RtpSender {
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    payload_type: u8,
    playout_delay_id: Option<u8>,
    sequence: u16,
    timestamp_base: u32,
}

impl RtpSender {
    /// Sends one access unit's payloads at `timestamp` (90 kHz).
    pub(super) async fn send(&mut self, payloads: &[Bytes], timestamp: u32) -> Result<(), PeerError> {
        for (index, payload) in payloads.iter().enumerate() {
            let mut header = rtc::rtp::header::Header {
                version: 2,
                marker: index + 1 == payloads.len(),
                payload_type: self.payload_type,
                sequence_number: self.sequence,
                timestamp: self.timestamp_base.wrapping_add(timestamp),
                ssrc: self.ssrc,
                ..Default::default()
            };
            if let Some(id) = self.playout_delay_id {
                header.set_extension(id, Bytes::from_static(PLAYOUT_DELAY_ZERO))?;
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.track.write_rtp(rtc::rtp::Packet { header, payload: payload.clone() }).await?;
        }
        Ok(())
    }
}

/// Cuts an access unit into RTP payloads (RFC 6184, packetization mode 1).
pub(super) fn payloads(unit: &Bytes) -> Box<[Bytes]> {
    match H264Payloader::default().payload(PAYLOAD_BYTES, unit) {
        Ok(payloads) => payloads.into_boxed_slice(),
        Err(error) => {
            log::warn!("an access unit of {} bytes could not be packed: {error}", unit.len());
            Box::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_is_tried_once() {
        let mut tried = ports(Some(PortRange { first: 65_530, last: 65_535 }));
        tried.sort_unstable();
        assert_eq!(tried, [65_530, 65_531, 65_532, 65_533, 65_534, 65_535]);
        assert_eq!(ports(None), [0]);
    }

    #[test]
    fn advertised_addresses_replace_the_machines_own_and_keep_the_ports() {
        let answer = "v=0\r\na=candidate:7 1 udp 99 10.0.2.15 50000 typ host\r\n\
                      a=candidate:8 1 udp 98 192.0.2.9 50001 typ srflx raddr 0.0.0.0 rport 50000\r\n";
        let changed = advertise(answer, &["127.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert!(changed.contains("a=candidate:70 1 udp 99 127.0.0.1 50000 typ host\r\n"), "{changed}");
        assert!(changed.contains("a=candidate:71 1 udp 99 2001:db8::1 50000 typ host\r\n"), "{changed}");
        assert!(!changed.contains("10.0.2.15") && changed.contains("192.0.2.9 50001 typ srflx"), "{changed}");
        assert_eq!(advertise(answer, &[]), answer);
    }

    #[test]
    fn a_keyframe_is_packed_with_its_parameter_sets_first() {
        let unit = [&[0, 0, 0, 1, 0x67, 1, 2, 3, 0, 0, 0, 1, 0x68, 4, 5, 0, 0, 0, 1, 0x65][..], &[9; 3000]].concat();
        let payloads = payloads(&Bytes::from(unit));
        assert_eq!(payloads[0][0] & 31, 24, "STAP-A");
        assert!(payloads[1..].iter().all(|payload| payload[0] & 31 == 28 && payload.len() <= PAYLOAD_BYTES), "FU-A");
    }
}
