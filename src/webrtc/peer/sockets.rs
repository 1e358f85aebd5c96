//! The sockets of a session, which do six things that the crate's do not.
//!
//! They answer a viewer's first nomination at once. A browser nominates the pair with its very first connectivity check. The crate's agent does not answer such a check
//! before a check of its own has come back, and then waits for the viewer to repeat it, which takes a browser another
//! 50 ms. It may answer as soon as its own check has come back (RFC 8445, section 7.3.1.5). So the sockets here keep
//! the latest nominating check, and deliver it once more right behind the answer to the agent's own check. The agent
//! verifies what is delivered as it does any packet; a check is never delivered more than twice.
//!
//! And one that is bound to loopback sends nothing elsewhere: the system refuses that, and the crate, which pairs every
//! local with every remote candidate, would report each check as an error.
//!
//! And they hold back checks to those who did not ask for them: see [`checks`](super::checks).
//!
//! And a packet that the system cannot send now is lost, as one on the way is: the crate would report each one as an error,
//! a hundred in a second for as long as a cable is out.
//!
//! And they send a picture's packets in one system call: see [`burst`](super::burst).
//!
//! And their packets may be split on the way (IPv4): the crate's library forbids it, for QUIC, which looks for the longest packet that
//! arrives. Through a tunnel that takes less than a packet's 1,200 bytes nothing would ever arrive.

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use log::debug;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, TokioRuntime, Transmit,
};

use super::burst::{Burst, Step};
use super::checks::Checks;

/// Longest check that is kept; browsers send about 120 bytes.
const LONGEST_CHECK: usize = 512;
/// Bytes of a STUN header (RFC 8489, section 5).
const STUN_HEADER: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
/// USE-CANDIDATE (RFC 8445, section 16.1).
const USE_CANDIDATE: u16 = 0x0025;

/// Tokio, with these sockets. One for each session.
#[derive(Debug)]
pub(super) struct Runtime {
    checks: Arc<Mutex<Checks>>,
    ssrc: u32,
}

impl Runtime {
    /// For a session whose pictures are the RTP stream `ssrc`.
    pub(super) fn new(ssrc: u32) -> Self {
        Self { checks: Arc::default(), ssrc }
    }
}

impl webrtc::runtime::Runtime for Runtime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn spawn_reactor(&self, size: usize, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn_reactor(size, future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let address = socket.local_addr()?;
        let same = socket.try_clone()?;
        let socket = TokioRuntime.wrap_udp_socket(socket)?;
        if address.is_ipv4() {
            set_ip_mtu_discover(&same, Ipv4PathMtuDiscovery::DONT)?;
        }
        let checks = Arc::clone(&self.checks);
        let is_cut_off = AtomicBool::new(false);
        let burst = Mutex::new(Burst::new(self.ssrc));
        Ok(Arc::new(Socket { socket, address, checks, nomination: Mutex::default(), burst, is_cut_off }))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(address)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        TokioRuntime.name()
    }
}

#[derive(Debug)]
struct Socket {
    socket: Arc<dyn AsyncUdpSocket>,
    address: SocketAddr,
    checks: Arc<Mutex<Checks>>,
    nomination: Mutex<Nomination>,
    burst: Mutex<Burst>,
    is_cut_off: AtomicBool,
}

impl Socket {
    fn nomination(&self) -> MutexGuard<'_, Nomination> {
        self.nomination.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checks(&self) -> MutexGuard<'_, Checks> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_send_now(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        match self.socket.poll_send(context, transmit) {
            Poll::Ready(Err(error)) if is_passing(&error) => {
                if !self.is_cut_off.swap(true, Ordering::Relaxed) {
                    debug!("{} cannot be reached now: {error}", transmit.destination);
                }
                Poll::Ready(Ok(transmit.contents.len()))
            }
            Poll::Ready(Ok(sent)) => {
                self.is_cut_off.store(false, Ordering::Relaxed);
                Poll::Ready(Ok(sent))
            }
            other => other,
        }
    }

    /// Sends what was gathered. Where the way there does not take it as a whole, each packet is tried once.
    fn poll_send_burst(&self, context: &mut Context<'_>, burst: &mut Burst) -> Poll<()> {
        if let Some((contents, segment, destination)) = burst.gathered() {
            let segment_size = (contents.len() > segment).then_some(segment);
            let transmit = Transmit { destination, ecn: None, contents, segment_size, src_ip: None };
            if let Err(error) = ready!(self.poll_send_now(context, &transmit)) {
                debug!("{destination} does not take {} bytes at once: {error}", contents.len());
                for contents in contents.chunks(segment) {
                    let transmit = Transmit { contents, segment_size: None, ..transmit };
                    let _ = self.poll_send_now(context, &transmit);
                }
            }
        }
        burst.clear();
        Poll::Ready(())
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let is_elsewhere = self.address.ip().is_loopback() && !transmit.destination.ip().is_loopback();
        let is_held_back = is_stun(transmit.contents, BINDING_REQUEST)
            && !self.checks().may_send(self.address, transmit.destination, Instant::now());
        if is_elsewhere || is_held_back {
            return Poll::Ready(Ok(transmit.contents.len()));
        }
        if self.socket.max_gso_segments() == 1 || transmit.segment_size.is_some() {
            return self.poll_send_now(context, transmit);
        }
        let mut burst = self.burst.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match burst.offer(transmit.contents, transmit.destination) {
                Step::Alone => return self.poll_send_now(context, transmit),
                Step::Gathered => return Poll::Ready(Ok(transmit.contents.len())),
                Step::InTheWay => ready!(self.poll_send_burst(context, &mut burst)),
                Step::Complete => {
                    if self.poll_send_burst(context, &mut burst).is_pending() {
                        burst.take_back(transmit.contents.len());
                        return Poll::Pending;
                    }
                    return Poll::Ready(Ok(transmit.contents.len()));
                }
            }
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if let (Some(buffer), Some(meta)) = (buffers.first_mut(), metas.first_mut())
            && let Some((check, delivered)) = self.nomination().take_due(buffer.len())
        {
            buffer[..check.len()].copy_from_slice(&check);
            *meta = delivered;
            return Poll::Ready(Ok(1));
        }
        let received = self.socket.poll_recv(context, buffers, metas);
        if let Poll::Ready(Ok(count)) = received {
            for (buffer, meta) in buffers.iter().zip(&*metas).take(count) {
                let bytes = &buffer[..meta.len.min(buffer.len())];
                for packet in bytes.chunks(meta.stride.max(1)) {
                    if packet.first().is_some_and(|byte| *byte < 2) && packet.len() <= LONGEST_CHECK {
                        self.checks().on_received(meta.addr);
                        self.nomination().on_stun(packet, meta);
                    }
                }
            }
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

/// Whether a packet could not be sent only because of how the network is just now.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), NetworkUnreachable | NetworkDown | HostUnreachable | ConnectionRefused)
        || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// The latest nominating check, and whether it is time to deliver it again. Pure.
#[derive(Debug, Default)]
struct Nomination {
    check: Option<(Vec<u8>, RecvMeta)>,
    is_due: bool,
}

impl Nomination {
    fn on_stun(&mut self, packet: &[u8], meta: &RecvMeta) {
        if is_nomination(packet) {
            let mut meta = *meta;
            (meta.len, meta.stride) = (packet.len(), packet.len());
            self.check = Some((packet.to_vec(), meta));
            self.is_due = false;
        } else if is_stun(packet, BINDING_SUCCESS)
            && self.check.as_ref().is_some_and(|(_, check)| check.addr == meta.addr)
        {
            self.is_due = true;
        }
    }

    fn take_due(&mut self, room: usize) -> Option<(Vec<u8>, RecvMeta)> {
        if !std::mem::take(&mut self.is_due) {
            return None;
        }
        self.check.take().filter(|(check, _)| check.len() <= room)
    }
}

fn is_stun(packet: &[u8], kind: [u8; 2]) -> bool {
    packet.len() >= STUN_HEADER && packet[..2] == kind && packet[4..8] == MAGIC_COOKIE
}

/// Whether `packet` is a binding request with USE-CANDIDATE.
fn is_nomination(packet: &[u8]) -> bool {
    if !is_stun(packet, BINDING_REQUEST) {
        return false;
    }
    let mut attributes = &packet[STUN_HEADER..];
    while let [kind_high, kind_low, length_high, length_low, rest @ ..] = attributes {
        if u16::from_be_bytes([*kind_high, *kind_low]) == USE_CANDIDATE {
            return true;
        }
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low])).next_multiple_of(4);
        attributes = rest.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: [u8; 2], attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&kind[..], &length, &MAGIC_COOKIE, &[7; 12], attributes].concat()
    }

    fn from(port: u16) -> RecvMeta {
        let mut meta = RecvMeta::default();
        meta.addr = SocketAddr::from(([127, 0, 0, 1], port));
        meta
    }

    /// USERNAME of five bytes (padded), then USE-CANDIDATE.
    const NOMINATING: &[u8] = &[0, 6, 0, 5, b'a', b':', b'b', b'c', b'd', 0, 0, 0, 0, 0x25, 0, 0];

    #[test]
    fn a_nomination_is_delivered_again_behind_the_answer_and_only_once() {
        let mut nomination = Nomination::default();
        let check = packet(BINDING_REQUEST, NOMINATING);
        nomination.on_stun(&check, &from(1));
        assert!(nomination.take_due(1500).is_none(), "the agent's own check has not come back");
        nomination.on_stun(&packet(BINDING_SUCCESS, &[]), &from(1));
        let (again, meta) = nomination.take_due(1500).unwrap();
        assert_eq!((again, meta.addr.port(), meta.len), (check.clone(), 1, check.len()));
        nomination.on_stun(&packet(BINDING_SUCCESS, &[]), &from(1));
        assert!(nomination.take_due(1500).is_none());
    }

    #[test]
    fn an_answer_from_elsewhere_delivers_nothing() {
        let mut nomination = Nomination::default();
        nomination.on_stun(&packet(BINDING_REQUEST, NOMINATING), &from(1));
        nomination.on_stun(&packet(BINDING_SUCCESS, &[]), &from(2));
        assert!(nomination.take_due(1500).is_none());
    }

    #[test]
    fn only_nominating_requests_are_kept() {
        assert!(is_nomination(&packet(BINDING_REQUEST, NOMINATING)));
        assert!(!is_nomination(&packet(BINDING_REQUEST, &NOMINATING[..12])));
        assert!(!is_nomination(&packet(BINDING_SUCCESS, NOMINATING)));
        assert!(!is_nomination(&packet(BINDING_REQUEST, &[0, 6, 0xff, 0xff, 1])), "a length beyond the end");
        assert!(!is_nomination(&[0, 1]));
    }

    #[test]
    fn a_loopback_socket_swallows_what_would_leave_the_machine() {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
            let own = bound.local_addr().unwrap();
            let socket = webrtc::runtime::Runtime::wrap_udp_socket(&Runtime::new(1), bound).unwrap();
            for destination in [SocketAddr::from(([192, 0, 2, 1], 9)), own] {
                let transmit =
                    Transmit { destination, ecn: None, contents: b"check", segment_size: None, src_ip: None };
                let sent = std::future::poll_fn(|context| socket.poll_send(context, &transmit)).await;
                assert_eq!(sent.unwrap(), 5, "{destination}");
            }
        });
    }

    #[test]
    fn a_pictures_packets_leave_together_and_arrive_one_by_one() {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let viewer = UdpSocket::bind("127.0.0.1:0").unwrap();
            viewer.set_nonblocking(true).unwrap();
            let destination = viewer.local_addr().unwrap();
            let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
            let socket = webrtc::runtime::Runtime::wrap_udp_socket(&Runtime::new(1), bound).unwrap();
            if socket.max_gso_segments() == 1 {
                return; // a kernel older than 4.18 sends each for itself
            }
            let packet = |sequence: u8, marker: u8, length: usize| {
                let mut packet = vec![0x80, marker | 102, 0, sequence, 0, 0, 0, 0, 0, 0, 0, 1];
                packet.resize(length, sequence);
                packet
            };
            let mut received = [0; 2000];
            for first in [0, 5] {
                let picture = [
                    packet(first, 0, 900),
                    packet(first + 1, 0, 900),
                    packet(first + 2, 0, 900),
                    packet(first + 3, 0, 40),
                    packet(first + 4, 0x80, 700),
                ];
                for contents in &picture {
                    let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
                    let sent = std::future::poll_fn(|context| socket.poll_send(context, &transmit)).await;
                    assert_eq!(sent.unwrap(), contents.len());
                    if contents.len() == 900 {
                        assert!(viewer.recv(&mut received).is_err(), "the picture is not complete");
                    }
                }
                for expected in &picture {
                    let length = viewer.recv(&mut received).unwrap();
                    assert_eq!(&received[..length], &expected[..]);
                }
            }
        });
    }
}
