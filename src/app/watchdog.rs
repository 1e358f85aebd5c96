//! Tells systemd that perch runs, and goes on telling it only while that is true.
//!
//! A sign of life is given when perch's own page answers over HTTP *and* the threads of at least one camera have come round
//! within the time that systemd allows. Otherwise perch stays silent, and systemd starts it anew.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use log::error;

use crate::base::shutdown::Shutdown;
use crate::camera::{Camera, Cameras};
use crate::platform::systemd::Notifier;

/// How often the status line is renewed when no watchdog sets the pace.
const PACE: Duration = Duration::from_secs(10);

/// Longest that the page may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread that gives signs of life.
pub(super) struct Watchdog {
    thread: JoinHandle<()>,
    end: Shutdown,
}

impl Watchdog {
    /// Says that perch is ready, and from now on that it is well while it is.
    pub(super) fn start(notifier: Notifier, cameras: Cameras, served_on: SocketAddr) -> io::Result<Self> {
        let end = Shutdown::new();
        let ended = end.clone();
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            notifier.ready();
            // Three tries in the time allowed.
            let pace = notifier.watchdog().map_or(PACE, |allowed| allowed / 3);
            loop {
                if notifier.watchdog().is_some_and(|allowed| is_well(&cameras, served_on, allowed, pace.min(PATIENCE)))
                {
                    notifier.alive();
                }
                let words: Vec<_> = cameras.iter().map(words).collect();
                notifier.status(&words.join(", "));
                if ended.wait_timeout(pace) {
                    notifier.stopping();
                    return;
                }
            }
        })?;
        Ok(Self { thread, end })
    }

    /// Says that perch ends.
    pub(super) fn stop(self) {
        self.end.request();
        if self.thread.join().is_err() {
            error!("thread watchdog panicked");
        }
    }
}

/// What a camera does, by its name.
fn words(camera: &Camera) -> String {
    format!("{}: {}", camera.name(), camera.status().state.words())
}

fn is_well(cameras: &Cameras, served_on: SocketAddr, allowed: Duration, patience: Duration) -> bool {
    // One camera's driver must not end the others, so it takes all of them.
    let stuck: Vec<_> =
        cameras.iter().filter_map(|camera| Some((camera.name(), camera.stuck_thread(allowed)?))).collect();
    for (camera, thread) in &stuck {
        error!("camera {camera}: the thread {thread} has not come round for {} s", allowed.as_secs());
    }
    if stuck.len() == cameras.iter().count() {
        error!("no camera is well: no sign of life for systemd");
        return false;
    }
    answers(served_on, patience)
        .inspect_err(|reason| error!("the page does not answer ({reason}): no sign of life for systemd"))
        .is_ok()
}

/// Whether the server on `address` answers a request within `patience`.
fn answers(address: SocketAddr, patience: Duration) -> io::Result<()> {
    let mut connection = TcpStream::connect_timeout(&reachable(address), patience)?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut begin = [0; 8];
    connection.read_exact(&mut begin)?;
    if &begin == b"HTTP/1.1" { Ok(()) } else { Err(io::Error::other("what answers is no HTTP server")) }
}

/// Where this machine itself reaches what listens on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_takes_connections_and_says_nothing_does_not_answer() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(answers(silent.local_addr().unwrap(), Duration::from_millis(50)).is_err());
    }

    #[test]
    fn an_address_of_all_networks_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()).to_string(), "[::1]:80");
        assert_eq!(reachable("192.0.2.1:80".parse().unwrap()).to_string(), "192.0.2.1:80");
    }
}
