//! Viewers that receive and throw away: what `scripts/bench` loads a server with, since decoding sixteen
//! pictures would measure the viewers.
//!
//! `sink_viewers HTTP_ADDRESS COUNT` connects COUNT viewers to a perch on loopback, prints `receiving COUNT`
//! when packets have come to each, and on the end of its standard input prints what came as one JSON object.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rtc::peer_connection::configuration::interceptor_registry::{configure_nack, configure_rtcp_reports};
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MediaEngine};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::Notify;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState, RTCSessionDescription,
    Registry, SettingEngineBuilder,
};

type AnyError = Box<dyn Error + Send + Sync>;

const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

#[derive(Default)]
struct Sink {
    gathered: Notify,
    packets: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Sink {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let (packets, bytes) = (Arc::clone(&self.packets), Arc::clone(&self.bytes));
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    packets.fetch_add(1, Relaxed);
                    bytes.fetch_add(packet.payload.len() as u64, Relaxed);
                }
            }
        });
    }
}

fn media_engine() -> Result<MediaEngine, AnyError> {
    let feedback = |typ: &str, parameter: &str| RTCPFeedback { typ: typ.into(), parameter: parameter.into() };
    let codec = RTCRtpCodec {
        mime_type: MIME_TYPE_H264.into(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".into(),
        rtcp_feedback: vec![feedback("nack", ""), feedback("nack", "pli"), feedback("ccm", "fir")],
    };
    let mut engine = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: codec, payload_type: 102 };
    engine.register_codec(parameters, RtpCodecKind::Video)?;
    let extension = RTCRtpHeaderExtensionCapability { uri: PLAYOUT_DELAY.into() };
    engine.register_header_extension(extension, RtpCodecKind::Video, None)?;
    Ok(engine)
}

/// Asks perch for an answer, over a connection of its own.
fn post_offer(address: &str, sdp: &str) -> Result<String, AnyError> {
    let body = serde_json::json!({ "type": "offer", "sdp": sdp }).to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "POST /offer HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or("the response has no end of headers")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("the offer was refused: {head}\n{body}").into());
    }
    let answer: serde_json::Value = serde_json::from_str(body)?;
    Ok(answer["sdp"].as_str().ok_or("the answer has no sdp")?.to_owned())
}

async fn watch(address: &str, sink: Arc<Sink>) -> Result<Arc<dyn PeerConnection>, AnyError> {
    let mut engine = media_engine()?;
    let registry = configure_rtcp_reports(configure_nack(Registry::new(), &mut engine));
    let connection: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new()
            .with_media_engine(engine)
            .with_interceptor_registry(registry)
            .with_setting_engine(SettingEngineBuilder::new().with_include_loopback_candidate(true).build())
            .with_handler(Arc::clone(&sink) as Arc<dyn PeerConnectionEventHandler>)
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await?,
    );
    let init = RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
    connection.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).await?;
    let offer = connection.create_offer(None).await?;
    connection.set_local_description(offer).await?;
    tokio::time::timeout(Duration::from_secs(5), sink.gathered.notified()).await?;
    let sdp = connection.local_description().await.ok_or("there is no local description")?.sdp;
    let address = address.to_owned();
    let answer = tokio::task::spawn_blocking(move || post_offer(&address, &sdp)).await??;
    connection.set_remote_description(RTCSessionDescription::answer(answer)?).await?;
    Ok(connection)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(address), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: sink_viewers HTTP_ADDRESS COUNT".into());
    };
    let count: usize = count.parse()?;
    let sinks: Vec<Arc<Sink>> = (0..count).map(|_| Arc::default()).collect();
    let mut connections = Vec::new();
    for sink in &sinks {
        connections.push(watch(&address, Arc::clone(sink)).await?);
    }
    let deadline = Instant::now() + Duration::from_secs(15);
    while sinks.iter().any(|sink| sink.packets.load(Relaxed) == 0) {
        if Instant::now() > deadline {
            let silent = sinks.iter().filter(|sink| sink.packets.load(Relaxed) == 0).count();
            return Err(format!("{silent} of {count} viewers got nothing in 15 s").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("receiving {count}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    let total = |number: fn(&Sink) -> &AtomicU64| sinks.iter().map(|sink| number(sink).load(Relaxed)).sum::<u64>();
    println!("{{\"packets\":{},\"bytes\":{}}}", total(|sink| sink.packets.as_ref()), total(|sink| sink.bytes.as_ref()));
    for connection in connections {
        connection.close().await?;
    }
    Ok(())
}
