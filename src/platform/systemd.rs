//! What systemd wants to hear of a service (`Type=notify`, `WatchdogSec=`): sd_notify(3), sd_watchdog_enabled(3).
//!
//! The protocol is a datagram of a few words to the socket that `NOTIFY_SOCKET` names. What must hold for a sign of life is
//! not decided here but where the parts are known, in `app`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A connection to whatever started perch, if that wants to be told.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// By this process's environment; `None` when nobody wants to be told.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Self::connect(|name| std::env::var_os(name), std::process::id())
            .inspect_err(|error| log::warn!("systemd cannot be told that perch runs: {error}"))
            .ok()
            .flatten()
    }

    fn connect(variable: impl Fn(&str) -> Option<OsString>, pid: u32) -> io::Result<Option<Self>> {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = match name.as_bytes() {
            // An abstract socket, which has no file: unix(7).
            [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name)?,
            path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_nonblocking(true)?;
        let number = |name: &str| variable(name).and_then(|value| value.to_str()?.parse::<u64>().ok());
        // Meant for the process that was started, not for its children.
        let is_meant = number("WATCHDOG_PID").is_none_or(|meant| meant == u64::from(pid));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_meant && *usec > 0).map(Duration::from_micros);
        Ok(Some(Self { socket, watchdog }))
    }

    /// How long perch may stay silent before it is taken for hung, if anybody minds.
    #[must_use]
    pub const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The page is served from now on.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// A sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// perch ends because it was told to.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line about what perch does, as `systemctl status` shows it.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    fn send(&self, state: &str) {
        if let Err(error) = self.socket.send(state.as_bytes()) {
            log::debug!("systemd was not told {state}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables<'a>(all: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| all.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
    }

    fn received(socket: &UnixDatagram) -> String {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn an_abstract_socket_is_told_in_the_protocols_words() {
        let name = format!("perch-test-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::connect(variables(&[("NOTIFY_SOCKET", &format!("@{name}"))]), 1).unwrap().unwrap();
        assert_eq!(notifier.watchdog(), None);
        notifier.ready();
        notifier.status("live\n1 viewer");
        notifier.alive();
        notifier.stopping();
        for expected in ["READY=1", "STATUS=live 1 viewer", "WATCHDOG=1", "STOPPING=1"] {
            assert_eq!(received(&systemd), expected);
        }
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let path = std::env::temp_dir().join(format!("perch-notify-{}", std::process::id()));
        let _systemd = UnixDatagram::bind(&path).unwrap();
        let socket = ("NOTIFY_SOCKET", path.to_str().unwrap());
        let watchdog = |pid: &str| {
            let all = [socket, ("WATCHDOG_USEC", "20000000"), ("WATCHDOG_PID", pid)];
            Notifier::connect(variables(&all), 7).unwrap().unwrap().watchdog()
        };
        assert_eq!((watchdog("7"), watchdog("8")), (Some(Duration::from_secs(20)), None));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn without_a_socket_nobody_is_told() {
        assert!(Notifier::connect(variables(&[("WATCHDOG_USEC", "1")]), 1).unwrap().is_none());
    }
}
