//! A name server for those in the access point: every name leads to the appliance, so that phones find its page by themselves.

use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::dns;

/// How soon the thread notices that it is to end.
const LOOK: Duration = Duration::from_millis(250);

/// The running name server. It ends when it is dropped.
pub struct Captive {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Captive {
    /// Serves at `at`, which is the address that it tells as well.
    ///
    /// # Errors
    /// When the machine has no such address (yet), or no thread.
    pub fn start(at: SocketAddrV4) -> io::Result<Self> {
        let socket = UdpSocket::bind(at)?;
        socket.set_read_timeout(Some(LOOK))?;
        let ends = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ends);
        let thread = thread::Builder::new().name("captive".into()).spawn(move || {
            let mut packet = [0; dns::MOST_BYTES];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut packet) else { continue };
                if let Some(answer) = dns::captive_answer(&packet[..length], *at.ip()) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        })?;
        Ok(Self { ends, thread: Some(thread) })
    }
}

impl Drop for Captive {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("thread captive panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_until_it_is_dropped() {
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(at) = free.local_addr().unwrap() else { panic!() };
        drop(free);
        let captive = Captive::start(at).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        // What is no question first: it gets no answer.
        for packet in [&b"nonsense"[..], &dns::question("perch")] {
            client.send_to(packet, at).unwrap();
        }
        let mut answer = [0; 512];
        let length = client.recv(&mut answer).unwrap();
        assert_eq!(answer[2] & 0x80, 0x80, "{:?}", &answer[..length]);
        drop(captive);
        assert!(UdpSocket::bind(at).is_ok());
    }
}
