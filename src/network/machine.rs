//! What the kernel tells of this machine and its network, in `/sys` and `/proc` below a root. What follows from it is not
//! decided here.

use std::fs;
use std::io;
use std::path::Path;

use super::name;

const HOSTNAME: &str = "proc/sys/kernel/hostname";

/// The machine's name.
pub fn hostname(root: &Path) -> String {
    text(&root.join(HOSTNAME))
}

/// Gives the machine another name, until its next start.
///
/// # Errors
/// When the kernel does not take it.
pub fn rename(root: &Path, name: &str) -> io::Result<()> {
    fs::write(root.join(HOSTNAME), name)
}

/// The interfaces that a cable is plugged into, by name.
pub fn cables(root: &Path) -> Vec<String> {
    let has_carrier = |name: &String| {
        let folder = root.join("sys/class/net").join(name);
        name != "lo" && !folder.join("phy80211").exists() && text(&folder.join("carrier")) == "1"
    };
    interfaces(root).into_iter().filter(has_carrier).collect()
}

/// The machine's own four digits: those of its first interface, once there is one.
pub fn digits(root: &Path) -> Option<String> {
    let address = |name: String| name::digits(&text(&root.join("sys/class/net").join(name).join("address")));
    let own = interfaces(root).into_iter().filter(|name| name != "lo");
    own.into_iter().find_map(address)
}

/// Whether `interface` has an IPv6 address that is good beyond its link: `/proc/net/if_inet6` has a line for each, with address,
/// index, length, scope (0: everywhere), flags and name.
pub fn has_ipv6(root: &Path, interface: &str) -> bool {
    text(&root.join("proc/net/if_inet6")).lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        matches!(columns[..], [_, _, _, "00", _, name] if name == interface)
    })
}

fn interfaces(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("sys/class/net")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).map(|text| text.trim().to_owned()).unwrap_or_default()
}
