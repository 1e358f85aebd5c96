//! `wpa_supplicant`'s control socket: <https://w1.fi/wpa_supplicant/devel/ctrl_iface_page.html>.
//!
//! One datagram asks, one answers; what happens comes by itself, with its weight in front (`<3>CTRL-EVENT-…`). Each change of what
//! the radio does begins with no network at all, so it does not matter what was before, or that `wpa_supplicant` began anew. When
//! which change is made is `setup`'s matter.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::platform::device::Wifi;
use crate::platform::wifi::{Network, Problem};

/// For an answer: a driver may be slow.
const ANSWER: Duration = Duration::from_secs(5);
/// Most events that wait.
const MOST_EVENTS: usize = 64;
/// Most networks that are shown.
const MOST_NETWORKS: usize = 32;
/// Where the access point is: channel 6, which every country allows.
const FREQUENCY: &str = "2437";

/// The connection.
pub struct Supplicant {
    socket: UnixDatagram,
    own: PathBuf,
    events: VecDeque<String>,
}

/// What the radio is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The network that was joined, or the access point's own name.
    pub ssid: Option<String>,
    /// Whether it gave an IPv4 address.
    pub has_address: bool,
}

impl Supplicant {
    /// Connects to the socket `control`, by one of its own, which is made at `own`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(control: &Path, own: &Path) -> io::Result<Self> {
        let _ = fs::remove_file(own);
        let mut supplicant = Self { socket: UnixDatagram::bind(own)?, own: own.to_owned(), events: VecDeque::new() };
        supplicant.socket.connect(control)?;
        supplicant.socket.set_write_timeout(Some(ANSWER))?;
        supplicant.order("ATTACH")?;
        Ok(supplicant)
    }

    /// The next event, if one comes within `timeout`.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn event(&mut self, timeout: Duration) -> io::Result<Option<String>> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        Ok(self.receive(timeout)?.filter(|text| text.starts_with('<')))
    }

    /// Joins any of these networks. Names may be hidden.
    ///
    /// # Errors
    /// When it is refused.
    pub fn join(&mut self, networks: &[Wifi], country: Option<&str>) -> io::Result<()> {
        self.begin(country)?;
        self.know(networks)?;
        self.order("REASSOCIATE").map(drop)
    }

    /// May join these as well, when there is nothing better.
    ///
    /// # Errors
    /// When it is refused.
    pub fn know(&mut self, networks: &[Wifi]) -> io::Result<()> {
        for wifi in networks {
            let id = self.add(wifi, &station(wifi))?;
            self.order(&format!("ENABLE_NETWORK {id}"))?;
        }
        Ok(())
    }

    /// Is the access point.
    ///
    /// # Errors
    /// When it is refused.
    pub fn open(&mut self, access_point: &Wifi, country: Option<&str>) -> io::Result<()> {
        self.begin(country)?;
        let id = self.add(access_point, &ACCESS_POINT.map(|(key, value)| (key, value.to_owned())))?;
        self.order(&format!("SELECT_NETWORK {id}")).map(drop)
    }

    fn begin(&mut self, country: Option<&str>) -> io::Result<()> {
        self.order("REMOVE_NETWORK all")?;
        self.events.clear();
        // A driver may not want to be told.
        country.map_or(Ok(()), |country| self.ask(&format!("SET country {country}")).map(drop))
    }

    fn add(&mut self, wifi: &Wifi, settings: &[(&'static str, String)]) -> io::Result<u32> {
        let id = self.order("ADD_NETWORK")?;
        let id = id.trim().parse().map_err(|_| io::Error::other(format!("{id:?} is no number of a network")))?;
        for (key, value) in identity(wifi).iter().chain(settings) {
            self.order(&format!("SET_NETWORK {id} {key} {value}"))?;
        }
        Ok(id)
    }

    /// Looks for networks; they are there later.
    ///
    /// # Errors
    /// When the connection is broken. That it is too busy is no error.
    pub fn search(&mut self) -> io::Result<()> {
        self.ask("SCAN").map(drop)
    }

    /// The networks that were to be seen, the strongest first.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn networks(&mut self) -> io::Result<Vec<Network>> {
        self.ask("SCAN_RESULTS").map(|text| networks(&text))
    }

    /// What the radio is in.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn link(&mut self) -> io::Result<Link> {
        self.ask("STATUS").map(|text| link(&text))
    }

    /// Whether somebody is in the access point.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn has_guests(&mut self) -> io::Result<bool> {
        // The first line is an address, or FAIL.
        self.ask("STA-FIRST").map(|text| text.lines().next().is_some_and(|line| line.contains(':')))
    }

    /// Asks, and takes FAIL for an error.
    fn order(&mut self, command: &str) -> io::Result<String> {
        let answer = self.ask(command)?;
        if answer.starts_with("FAIL") || answer.starts_with("UNKNOWN") {
            // No more of it: it may hold a password.
            let what: Vec<_> = command.split(' ').take(3).collect();
            return Err(io::Error::other(format!("wpa_supplicant refuses {}", what.join(" "))));
        }
        Ok(answer)
    }

    fn ask(&mut self, command: &str) -> io::Result<String> {
        self.socket.send(command.as_bytes())?;
        let began = Instant::now();
        while let Some(left) = ANSWER.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            match self.receive(left)? {
                Some(event) if event.starts_with('<') => {
                    self.events.push_back(event);
                    if self.events.len() > MOST_EVENTS {
                        self.events.pop_front();
                    }
                }
                Some(answer) => return Ok(answer),
                None => {}
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    fn receive(&self, timeout: Duration) -> io::Result<Option<String>> {
        let mut buffer = [0; 8192];
        self.socket.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        match self.socket.recv(&mut buffer) {
            Ok(length) => Ok(Some(String::from_utf8_lossy(&buffer[..length]).into_owned())),
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Supplicant {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.own);
    }
}

/// Name and password. A name in hexadecimal needs no quoting; a password counts up to the last quotation mark, whatever
/// stands between.
fn identity(wifi: &Wifi) -> Vec<(&'static str, String)> {
    let ssid = wifi.ssid.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let psk = (!wifi.password.is_empty()).then(|| ("psk", format!("\"{}\"", wifi.password)));
    [("ssid", ssid)].into_iter().chain(psk).collect()
}

fn station(wifi: &Wifi) -> Vec<(&'static str, String)> {
    let hidden = ("scan_ssid", "1".to_owned());
    match wifi.password.is_empty() {
        true => vec![hidden, ("key_mgmt", "NONE".into())],
        false => vec![hidden, ("key_mgmt", "WPA-PSK SAE".into()), ("ieee80211w", "1".into())],
    }
}

/// `mode=2` is an access point. WPA2 alone: every phone knows it, and the Pi's radio can be no other.
const ACCESS_POINT: [(&str, &str); 6] = [
    ("mode", "2"),
    ("frequency", FREQUENCY),
    ("key_mgmt", "WPA-PSK"),
    ("proto", "RSN"),
    ("pairwise", "CCMP"),
    ("group", "CCMP"),
];

/// Why a network is not joined, when an event says so.
#[must_use]
pub fn problem(event: &str) -> Option<Problem> {
    let is_about = |what: &str| event.contains(what);
    // WPA2 learns it by the handshake, WPA3 by the authentication (type 3, SAE; status 1).
    if is_about("reason=WRONG_KEY") || is_about("CTRL-EVENT-AUTH-REJECT") && is_about("auth_type=3") {
        Some(Problem::WrongPassword)
    } else if is_about("CTRL-EVENT-NETWORK-NOT-FOUND") {
        Some(Problem::NotFound)
    } else {
        None
    }
}

/// The answer to STATUS: a line for each key.
fn link(text: &str) -> Link {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if value("wpa_state") != Some("COMPLETED") {
        return Link::default();
    }
    Link { ssid: value("ssid").and_then(unescape), has_address: value("ip_address").is_some() }
}

/// The answer to SCAN_RESULTS: a line of names, and one for each station: address, frequency, signal, flags and name.
fn networks(text: &str) -> Vec<Network> {
    let mut found: Vec<Network> = Vec::new();
    for line in text.lines().skip(1) {
        let mut columns = line.splitn(5, '\t').skip(2);
        let (Some(Ok(signal_dbm)), Some(flags), Some(Some(ssid))) =
            (columns.next().map(str::parse), columns.next(), columns.next().map(unescape))
        else {
            continue;
        };
        // Hidden ones have no name, or one of zeros.
        if ssid.chars().all(|letter| letter == '\0') {
            continue;
        }
        let is_protected = ["WPA", "RSN", "WEP", "SAE", "OWE"].iter().any(|kind| flags.contains(kind));
        match found.iter_mut().find(|known| known.ssid == ssid) {
            Some(known) => known.signal_dbm = known.signal_dbm.max(signal_dbm),
            None => found.push(Network { ssid, signal_dbm, is_protected }),
        }
    }
    found.sort_by_key(|network| std::cmp::Reverse(network.signal_dbm));
    found.truncate(MOST_NETWORKS);
    found
}

/// A name as `wpa_supplicant` prints it (`printf_encode`), if it is one that can be shown.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'e' => 0x1b,
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                other => other,
            },
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_password_with_quotes_stays_one() {
        let wifi = Wifi { ssid: "a\"\n}".into(), password: "pass\" word".into() };
        let text = String::from;
        assert_eq!(identity(&wifi), [("ssid", text("61220a7d")), ("psk", text("\"pass\" word\""))]);
        let open = Wifi { ssid: "é".into(), password: String::new() };
        assert_eq!(identity(&open), [("ssid", text("c3a9"))]);
        assert!(station(&open).contains(&("key_mgmt", "NONE".into())));
    }

    #[test]
    fn networks_are_told_once_by_their_strongest_station() {
        let text = "bssid / frequency / signal level / flags / ssid\n\
                    02:00:00:00:01:00\t2437\t-70\t[WPA2-PSK-CCMP][ESS]\thome\n\
                    02:00:00:00:02:00\t5180\t-40\t[WPA2-PSK-CCMP][ESS]\tcaf\\xc3\\xa9\\\\ \\\"x\\\"\n\
                    02:00:00:00:03:00\t2412\t-50\t[WPA2-PSK-CCMP][ESS]\thome\n\
                    02:00:00:00:04:00\t2412\t-80\t[ESS]\topen\n\
                    02:00:00:00:05:00\t2412\t-20\t[ESS]\t\n\
                    02:00:00:00:06:00\t2412\t-20\t[ESS]\t\\x00\\x00\n\
                    02:00:00:00:07:00\t2412\t-20\t[ESS]\t\\xff\n\
                    nonsense\n";
        let network = |ssid: &str, signal_dbm, is_protected| Network { ssid: ssid.into(), signal_dbm, is_protected };
        let expected = [network("café\\ \"x\"", -40, true), network("home", -50, true), network("open", -80, false)];
        assert_eq!(networks(text), expected);
    }

    #[test]
    fn a_link_is_one_when_it_is_complete() {
        let text = "bssid=02:00:00:00:01:00\nfreq=2437\nssid=home\nmode=station\nwpa_state=COMPLETED\nip_address=192.168.1.7\n";
        assert_eq!(link(text), Link { ssid: Some("home".into()), has_address: true });
        assert_eq!(
            link(&text.replace("ip_address=192.168.1.7\n", "")),
            Link { ssid: Some("home".into()), has_address: false }
        );
        assert_eq!(link("wpa_state=SCANNING\nssid=home\n"), Link::default());
    }

    #[test]
    fn events_tell_why_a_network_is_not_joined() {
        for (event, expected) in [
            (
                "<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"home\" auth_failures=1 duration=10 reason=WRONG_KEY",
                Some(Problem::WrongPassword),
            ),
            (
                "<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid=\"home\" auth_failures=1 duration=10 reason=CONN_FAILED",
                None,
            ),
            (
                "<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=3 auth_transaction=2 status_code=1",
                Some(Problem::WrongPassword),
            ),
            ("<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=0 auth_transaction=2 status_code=17", None),
            ("<3>CTRL-EVENT-NETWORK-NOT-FOUND ", Some(Problem::NotFound)),
            ("<3>CTRL-EVENT-SCAN-RESULTS ", None),
        ] {
            assert_eq!(problem(event), expected, "{event}");
        }
    }

    #[test]
    fn a_name_that_is_cut_off_is_none() {
        for text in ["a\\", "a\\x", "a\\x0", "a\\xzz", "\\xff"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
