//! `perch network`: looks after the appliance's network, which perch itself may not change.
//!
//! It joins the Wi-Fi that the owner named on the card or chose on the page, opens the access point where there is no network
//! (docs/decisions/0010), and gives the machine its other name where somebody has it already. It runs as root with hardly a
//! right, and is told by perch nothing but a network's name and password. Addresses and DHCP are `systemd-networkd`'s, which
//! tells an access point from a station by itself; the radio is `wpa_supplicant`'s.

mod captive;
#[doc(hidden)]
pub mod dns;
mod kept;
mod machine;
mod name;
mod setup;
mod supplicant;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddrV4;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use log::{debug, info, warn};

use crate::base::clock::Timestamp;
use crate::platform::device::{DeviceConfig, Wifi};
use crate::platform::wifi::{self, AccessPoint, Network, Phase, Status};
use crate::webrtc::interface_addresses;
use captive::Captive;
use kept::Kept;
use name::{Holder, Schedule};
use setup::{Patience, Radio, Seen, Setup};
use supplicant::Supplicant;

pub use kept::FILE as KEPT;

/// The radio.
const INTERFACE: &str = "wlan0";
/// How often is looked at everything.
const PACE: Duration = Duration::from_secs(1);
/// How often networks are searched for while none is joined: more than once before the access point opens, in which they can be
/// searched for no more, because one search may miss some.
const SEARCH: Duration = Duration::from_secs(8);
/// How long a radio may take to be there after the start.
const NO_RADIO: Duration = Duration::from_secs(30);
/// The machine's name when the owner gives none.
const NAME: &str = "perch";

/// Where things are.
#[derive(Args, Clone, Debug)]
pub struct Places {
    /// Where `sys`, `proc` and `dev` are
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Where it is written what is
    #[arg(long, value_name = "DIR", default_value = "/run/perch-network")]
    run: PathBuf,
    /// Where networks are kept that the owner chose on the page
    #[arg(long, value_name = "DIR", default_value = "/data/settings")]
    kept: PathBuf,
    /// Where perch leaves its wishes
    #[arg(long, value_name = "DIR", default_value = "/run/perch-wishes")]
    wishes: PathBuf,
    /// The owner's settings of the appliance
    #[arg(long, value_name = "FILE", default_value = "/run/perch/device.toml")]
    device: PathBuf,
    /// Where `wpa_supplicant` listens
    #[arg(long, value_name = "DIR", default_value = "/run/wpa_supplicant")]
    control: PathBuf,
    /// Where names are asked for by mDNS
    #[arg(long, value_name = "IP:PORT", default_value = "224.0.0.251:5353")]
    mdns: SocketAddrV4,
    /// Where names are answered for those in the access point
    #[arg(long, value_name = "IP:PORT", default_value = "10.83.0.1:53")]
    dns: SocketAddrV4,
    /// Where the page is for them
    #[arg(long, value_name = "URL", default_value = "http://10.83.0.1/")]
    page: String,
    /// How many times as quick everything goes: for tests
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    hurry: u32,
}

/// Looks after the network until the process is ended.
///
/// # Errors
/// When the folder for what is cannot be written.
pub fn run(places: &Places) -> io::Result<()> {
    fs::create_dir_all(&places.run)?;
    let mut appliance = Appliance::new(places.clone());
    loop {
        appliance.look();
        appliance.wait();
    }
}

struct Appliance {
    places: Places,
    device: DeviceConfig,
    kept: Kept,
    setup: Setup,
    supplicant: Option<Supplicant>,
    /// What is wrong with it, and was said; it is asked again and again.
    complaint: String,
    /// How long it was looked for before there was one; `None` once that does not matter.
    missed_since: Option<Timestamp>,
    /// The machine's own digits, once they are known: they stay, though the adapter that has them may be pulled out.
    digits: Option<String>,
    /// What the radio was told last.
    told: Option<Radio>,
    captive: Option<Captive>,
    networks: Vec<Network>,
    searched_at: Option<Instant>,
    status: Option<Status>,
    console: String,
    schedule: Schedule,
    /// By which ways there was a network.
    ways: Vec<String>,
}

impl Appliance {
    fn new(places: Places) -> Self {
        let patience = Patience::default().hurried(places.hurry);
        Self {
            device: device(&places.device),
            kept: Kept::load(&places.kept),
            setup: Setup::new(patience, Timestamp::now()),
            supplicant: None,
            complaint: String::new(),
            missed_since: Some(Timestamp::now()),
            digits: None,
            told: None,
            captive: None,
            networks: Vec::new(),
            searched_at: None,
            status: None,
            console: String::new(),
            schedule: Schedule::new(places.hurry),
            ways: Vec::new(),
            places,
        }
    }

    /// Looks at everything once, and does what follows.
    fn look(&mut self) {
        if self.digits.is_none() {
            self.digits = machine::digits(&self.places.root);
        }
        self.take_wish();
        if self.supplicant.is_none() {
            self.connect();
        }
        let mut seen = Seen { has_cable: !machine::cables(&self.places.root).is_empty(), ..Seen::default() };
        match self.ask_and_tell(&mut seen) {
            Ok(()) if self.supplicant.is_some() => self.complaint.clear(),
            Ok(()) => {}
            Err(error) => {
                self.complain(format!("wpa_supplicant does not do what it is told: {error}"));
                self.supplicant = None;
            }
        }
        self.lead_here();
        self.say(&seen);
        self.mind_the_name(&seen);
    }

    /// Waits for the next look, and listens to the radio meanwhile.
    fn wait(&mut self) {
        let (began, pace) = (Instant::now(), PACE / self.places.hurry);
        while let Some(left) = pace.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            match self.supplicant.as_mut().map(|supplicant| supplicant.event(left)) {
                Some(Ok(Some(event))) => {
                    if let Some(problem) = supplicant::problem(&event) {
                        self.setup.trouble(problem);
                    }
                }
                Some(Ok(None)) => {}
                Some(Err(error)) => {
                    warn!("wpa_supplicant is gone: {error}");
                    self.supplicant = None;
                }
                None => std::thread::sleep(left),
            }
        }
    }

    fn take_wish(&mut self) {
        let file = self.places.wishes.join(wifi::WISH);
        // A link would lead to somebody else's file, and a pipe would be waited for.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let Ok(opened) = OpenOptions::new().read(true).custom_flags(flags).open(&file) else { return };
        if !opened.metadata().is_ok_and(|about| about.is_file()) {
            return;
        }
        let wish = wifi::read_from::<Wifi>(opened);
        if let Err(error) = fs::remove_file(&file) {
            warn!("{} cannot be taken away: {error}", file.display());
            return;
        }
        match wish {
            Ok(wish) if wish.validate_typed().is_ok() && self.supplicant.is_some() => {
                info!("the network {:?} is to be joined", wish.ssid);
                self.setup.wish(wish, Timestamp::now());
            }
            _ => warn!("there was a wish that nobody can grant"),
        }
    }

    fn connect(&mut self) {
        let control = self.places.control.join(INTERFACE);
        if !control.exists() {
            let is_late = |since| Timestamp::now().saturating_since(since) >= NO_RADIO / self.places.hurry;
            if self.missed_since.is_some_and(is_late) {
                info!("there is no Wi-Fi ({INTERFACE}) to look after; a cable does without");
                self.missed_since = None;
            }
            return;
        }
        match Supplicant::connect(&control, &self.places.run.join("control")) {
            Ok(supplicant) => {
                (self.supplicant, self.told, self.searched_at) = (Some(supplicant), None, None);
                self.missed_since = None;
            }
            Err(error) => self.complain(format!("{}: {error}", control.display())),
        }
    }

    /// Says what is wrong, once.
    fn complain(&mut self, words: String) {
        if self.complaint != words {
            warn!("{words}");
            self.complaint = words;
        }
    }

    /// Completes what is seen, goes on by it, and tells the radio what follows.
    fn ask_and_tell(&mut self, seen: &mut Seen) -> io::Result<()> {
        let known = self.kept.known(&self.device.wifi);
        let Some(supplicant) = &mut self.supplicant else { return Ok(()) };
        let country = self.device.country.as_deref();
        seen.knows_some = !known.is_empty();
        if self.told == Some(Radio::AccessPoint) {
            seen.has_guests = supplicant.has_guests()?;
        } else if self.told.is_some() {
            let link = supplicant.link()?;
            seen.has_address = link.has_address || machine::has_ipv6(&self.places.root, INTERFACE);
            seen.joined = link.ssid;
            self.networks = supplicant.networks()?;
            let is_time = self.searched_at.is_none_or(|at| at.elapsed() >= SEARCH / self.places.hurry);
            if seen.joined.is_none() && is_time {
                supplicant.search()?;
                self.searched_at = Some(Instant::now());
            }
        }
        let joined = self.setup.step(seen, Timestamp::now());
        let radio = self.setup.radio();
        if let Some(wifi) = joined {
            info!("{:?} was joined", wifi.ssid);
            // It stays as it is; the others join it for later.
            let others: Vec<_> = known.iter().filter(|known| known.ssid != wifi.ssid).cloned().collect();
            self.kept.keep(wifi);
            supplicant.know(&others)?;
            self.told = Some(Radio::Join);
        }
        if self.told.as_ref() != Some(&radio) {
            match &radio {
                Radio::Join => supplicant.join(&known, country)?,
                Radio::Try(wifi) => supplicant.join(std::slice::from_ref(wifi), country)?,
                Radio::AccessPoint => {
                    let (ssid, password) = access_point(self.digits.as_deref(), &self.device, &self.kept);
                    info!("there is no network: the access point {ssid} is open");
                    supplicant.open(&Wifi { ssid, password }, country)?;
                }
            }
            self.told = Some(radio);
        }
        Ok(())
    }

    /// Every name leads here for those in the access point, and for nobody else.
    fn lead_here(&mut self) {
        if self.told != Some(Radio::AccessPoint) || self.supplicant.is_none() {
            self.captive = None;
        } else if self.captive.is_none() {
            // networkd gives the address in a moment.
            match Captive::start(self.places.dns) {
                Ok(captive) => self.captive = Some(captive),
                Err(error) => debug!("no names are answered yet at {}: {error}", self.places.dns),
            }
        }
    }

    /// Says what is: to perch, and on the screen.
    fn say(&mut self, seen: &Seen) {
        let access_point = self.supplicant.is_some().then(|| {
            let (ssid, password) = access_point(self.digits.as_deref(), &self.device, &self.kept);
            AccessPoint { ssid, password, url: self.places.page.clone(), network: (*self.places.dns.ip(), 24) }
        });
        let ssid = self.setup.tried().map(str::to_owned).or_else(|| seen.joined.clone());
        let status = Status {
            phase: if self.supplicant.is_some() { self.setup.phase(seen) } else { without_radio(seen) },
            ssid,
            networks: self.networks.clone(),
            result: self.setup.result().cloned(),
            access_point,
        };
        let console = words(&status, seen, &machine::hostname(&self.places.root));
        if !console.is_empty() && console != self.console {
            // Where no screen is, nobody reads it; one that was stopped by a key is not waited for.
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let mut options = OpenOptions::new();
            let screen = options.write(true).create(true).truncate(true).custom_flags(flags);
            let screen = screen.open(self.places.root.join("dev/tty1"));
            let _ = screen.and_then(|mut screen| screen.write_all(console.as_bytes()));
            self.console = console;
        }
        if self.status.as_ref() == Some(&status) {
            return;
        }
        let (file, new) = (self.places.run.join("wifi.json"), self.places.run.join(".wifi.json.new"));
        let written = serde_json::to_vec(&status).map_err(io::Error::from).and_then(|text| {
            fs::write(&new, text)?;
            fs::rename(&new, &file)
        });
        match written {
            Ok(()) => self.status = Some(status),
            Err(error) => warn!("{}: {error}", file.display()),
        }
    }

    fn mind_the_name(&mut self, seen: &Seen) {
        let mut ways = machine::cables(&self.places.root);
        ways.extend(seen.joined.clone().filter(|_| seen.has_address));
        let now = Timestamp::now();
        if ways != self.ways {
            self.ways = ways;
            self.schedule.changed(now);
        }
        if self.ways.is_empty() || !self.schedule.is_due(now) {
            return;
        }
        let first = self.device.hostname.as_deref().unwrap_or(NAME);
        let other = other(first, self.digits.as_deref());
        let current = machine::hostname(&self.places.root);
        if current != first && current != other {
            return;
        }
        let new = match name::holder(&current, &interface_addresses(), self.places.mdns) {
            Holder::Another if current == first => {
                warn!("another machine is {first}.local already: this one is {other}.local");
                other
            }
            Holder::Nobody => {
                debug!("nobody answers for {current}.local");
                self.schedule.told_anew(now);
                current
            }
            Holder::Own | Holder::Another => return,
        };
        if let Err(error) = machine::rename(&self.places.root, &new) {
            warn!("the machine cannot be named {new}: {error}");
        }
    }
}

/// The owner's settings of the appliance, which `perch provision` has checked.
fn device(file: &Path) -> DeviceConfig {
    let text = fs::read_to_string(file).unwrap_or_default();
    toml::from_str(&text).unwrap_or_else(|_| {
        // Not more of it: it holds passwords.
        warn!("{} cannot be read", file.display());
        DeviceConfig::default()
    })
}

const fn without_radio(seen: &Seen) -> Phase {
    if seen.has_cable { Phase::Online } else { Phase::Searching }
}

/// The name that this machine has beside `name`.
fn other(name: &str, digits: Option<&str>) -> String {
    name::other(name, digits.unwrap_or("0000"))
}

/// Its name and password.
fn access_point(digits: Option<&str>, device: &DeviceConfig, kept: &Kept) -> (String, String) {
    let password = if device.setup_password.is_empty() { kept.password() } else { &device.setup_password };
    (other(NAME, digits), password.to_owned())
}

/// What the screen shows.
fn words(status: &Status, seen: &Seen, hostname: &str) -> String {
    match (status.phase, &status.access_point) {
        (Phase::AccessPoint, Some(AccessPoint { ssid, password, url, .. })) => format!(
            "\r\n  perch has no network. Join its own on a phone or a computer:\r\n\r\n      Wi-Fi     {ssid}\r\n      \
             Password  {password}\r\n\r\n  and open {url}\r\n"
        ),
        (Phase::Online, _) if seen.has_network() => {
            format!("\r\n  perch: open http://{hostname}.local/ in a browser in the same network\r\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_files_and_this_program_mean_the_same_address() {
        let file = include_str!("../../image/overlay/etc/systemd/network/15-access-point.network");
        let places = <Places as clap::FromArgMatches>::from_arg_matches(
            &Places::augment_args(clap::Command::new("network")).get_matches_from(["network"]),
        )
        .unwrap();
        let address = places.dns.ip();
        for line in [format!("Address={address}/24"), format!("DNS={address}"), "WLANInterfaceType=ap".into()] {
            assert!(file.lines().any(|known| known == line), "{line}");
        }
        assert_eq!(places.page, format!("http://{address}/"));
    }
}
