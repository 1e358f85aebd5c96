//! How the machine is doing that perch runs on, as far as Linux says it: what it does not say is left out.
//!
//! Everything is read anew when asked for, from a few small files of `/proc` and `/sys`; nothing is measured meanwhile. What
//! perch itself does is not here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A machine, as `/api/system` shows it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct System {
    /// The board's name, where there is a device tree.
    pub board: Option<String>,
    /// Its name in the network.
    pub hostname: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// The distribution's name for people.
    pub system: Option<String>,
    /// Seconds since it was switched on.
    pub uptime_s: Option<u64>,
    /// Load of the last minute: how many threads wanted a processor.
    pub load: Option<f32>,
    /// The processor's temperature.
    pub temperature_c: Option<f32>,
    /// What holds the processor back now; empty when nothing does, none where nobody says.
    pub throttled: Option<Vec<&'static str>>,
    /// Main memory.
    pub memory: Option<Space>,
    /// What holds perch's state.
    pub disk: Option<Space>,
    /// Network interfaces but the loopback.
    pub network: Vec<Interface>,
}

/// How much there is of something, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// In all.
    pub total_bytes: u64,
    /// Still to be had.
    pub available_bytes: u64,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Such as `eth0`.
    pub name: String,
    /// `up`, `down`, or what else the kernel says.
    pub state: String,
    /// How well Wi-Fi is received.
    pub signal_dbm: Option<i32>,
}

/// Bits of the firmware's `get_throttled` that are about now:
/// <https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>.
const THROTTLED: [(u32, &str); 4] =
    [(0, "undervoltage"), (1, "frequency capped"), (2, "throttled"), (3, "soft temperature limit")];

/// Looks at this machine; `state` is the folder whose disk is meant.
#[must_use]
pub fn look(state: Option<&Path>) -> System {
    let mut system = read(Path::new("/"));
    system.disk = state.and_then(disk);
    system
}

/// What the files below `root` say.
fn read(root: &Path) -> System {
    let text = |path: &str| text(&root.join(path));
    let first = |path: &str| text(path)?.split_whitespace().next().map(str::to_owned);
    System {
        board: text("proc/device-tree/model"),
        hostname: text("proc/sys/kernel/hostname"),
        kernel: text("proc/sys/kernel/osrelease"),
        system: text("etc/os-release").as_deref().and_then(pretty_name),
        uptime_s: first("proc/uptime").as_deref().and_then(whole_seconds),
        load: first("proc/loadavg").and_then(|load| load.parse().ok()),
        temperature_c: text("sys/class/thermal/thermal_zone0/temp").as_deref().and_then(celsius),
        throttled: firmware_says(root).or_else(|| monitor_says(root)),
        memory: text("proc/meminfo").as_deref().and_then(memory),
        disk: None,
        network: network(&root.join("sys/class/net"), &text("proc/net/wireless").unwrap_or_default()),
    }
}

/// A file's text, if it has any.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end_matches(['\0', '\n']).to_owned()).filter(|text| !text.is_empty())
}

/// What is in a folder, in the order of names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

fn pretty_name(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

fn whole_seconds(seconds: &str) -> Option<u64> {
    seconds.split('.').next()?.parse().ok()
}

fn celsius(thousandths: &str) -> Option<f32> {
    Some(thousandths.parse::<f32>().ok()? / 1000.0)
}

/// Raspberry Pi's kernel hands on what the firmware says, below a device whose name differs between the boards.
fn firmware_says(root: &Path) -> Option<Vec<&'static str>> {
    let below = |folder: PathBuf| entries(&folder).into_iter();
    let firmware = below(root.join("sys/devices/platform")).flat_map(below).find_map(|device| {
        let is_firmware = device.file_name()?.to_str()?.ends_with(":firmware");
        text(&device.join("get_throttled")).filter(|_| is_firmware)
    });
    throttled(&firmware?)
}

fn throttled(hexadecimal: &str) -> Option<Vec<&'static str>> {
    let bits = u32::from_str_radix(hexadecimal.trim_start_matches("0x"), 16).ok()?;
    Some(THROTTLED.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect())
}

/// Linux's own driver knows of the voltage alone: <https://docs.kernel.org/hwmon/raspberrypi-hwmon.html>.
fn monitor_says(root: &Path) -> Option<Vec<&'static str>> {
    let monitors = entries(&root.join("sys/class/hwmon"));
    let monitor = monitors.into_iter().find(|path| text(&path.join("name")).as_deref() == Some("rpi_volt"))?;
    let is_low = text(&monitor.join("in0_lcrit_alarm"))? == "1";
    Some(if is_low { vec!["undervoltage"] } else { Vec::new() })
}

fn memory(meminfo: &str) -> Option<Space> {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some(Space { total_bytes: bytes("MemTotal")?, available_bytes: bytes("MemAvailable")? })
}

/// The state's folder may not be there yet: then that of whatever will hold it.
fn disk(state: &Path) -> Option<Space> {
    let space = state.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    Some(Space { total_bytes: bytes(space.f_blocks), available_bytes: bytes(space.f_bavail) })
}

fn network(folder: &Path, wireless: &str) -> Vec<Interface> {
    let interfaces = entries(folder).into_iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let state = text(&path.join("operstate"))?;
        let signal_dbm = signal(wireless, &name);
        (name != "lo").then_some(Interface { name, state, signal_dbm })
    });
    interfaces.collect()
}

/// The level in `/proc/net/wireless`, whose columns are name, status, link, level and more. Below zero it is in dBm.
fn signal(wireless: &str, name: &str) -> Option<i32> {
    let line = wireless.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    let level = line.split_whitespace().nth(2)?.trim_end_matches('.').parse().ok()?;
    (level < 0).then_some(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("perch-system-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            for (path, text) in files {
                fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
                fs::write(root.join(path), text).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_pi_tells_everything() {
        let root = Root::new(
            "pi",
            &[
                ("proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2\0"),
                ("proc/sys/kernel/hostname", "garden\n"),
                ("proc/sys/kernel/osrelease", "6.12.1-arm64\n"),
                ("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"),
                ("proc/uptime", "93.70 101.20\n"),
                ("proc/loadavg", "0.50 0.10 0.00 1/80 300\n"),
                ("proc/meminfo", "MemTotal:         900000 kB\nMemFree: 1 kB\nMemAvailable:     800000 kB\n"),
                ("proc/net/wireless", "Inter-| sta\n face | tus\n wlan0: 0000   53.  -57.  -256        0\n"),
                ("sys/class/thermal/thermal_zone0/temp", "47250\n"),
                ("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n"),
                ("sys/class/net/wlan0/operstate", "down\n"),
                ("sys/class/net/eth0/operstate", "up\n"),
                ("sys/class/net/lo/operstate", "unknown\n"),
            ],
        );
        let interface =
            |name: &str, state: &str, signal_dbm| Interface { name: name.into(), state: state.into(), signal_dbm };
        let expected = System {
            board: Some("Raspberry Pi 3 Model B Rev 1.2".into()),
            hostname: Some("garden".into()),
            kernel: Some("6.12.1-arm64".into()),
            system: Some("Debian GNU/Linux 13 (trixie)".into()),
            uptime_s: Some(93),
            load: Some(0.5),
            temperature_c: Some(47.25),
            throttled: Some(vec!["undervoltage", "throttled"]),
            memory: Some(Space { total_bytes: 900_000 << 10, available_bytes: 800_000 << 10 }),
            disk: None,
            network: vec![interface("eth0", "up", None), interface("wlan0", "down", Some(-57))],
        };
        assert_eq!(read(&root.0), expected);
    }

    #[test]
    fn linuxs_own_driver_tells_of_the_voltage() {
        for (alarm, expected) in [("1\n", vec!["undervoltage"]), ("0\n", vec![])] {
            let files = [
                ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
                ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", alarm),
            ];
            assert_eq!(read(&Root::new("hwmon", &files).0).throttled, Some(expected));
        }
    }

    #[test]
    fn a_machine_that_tells_nothing_is_no_error() {
        assert_eq!(read(Path::new("/nowhere/at/all")), System::default());
    }

    #[test]
    fn nonsense_is_left_out() {
        assert_eq!((celsius("warm"), throttled("hot"), whole_seconds("")), (None, None, None));
        assert_eq!((memory("MemTotal: many kB\n"), memory("MemTotal: 1 kB\n")), (None, None));
        let level = |columns: &str| signal(&format!(" wlan0: {columns}\n"), "wlan0");
        // A driver that tells a share instead of dBm.
        assert_eq!((level("0000 53. 40. 0"), level("0000"), signal("", "wlan0")), (None, None, None));
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_on_the_disk_that_it_will_be_on() {
        let disk = disk(&std::env::temp_dir().join("not/there/yet")).unwrap();
        assert!(disk.total_bytes >= disk.available_bytes && disk.total_bytes > 0);
    }
}
