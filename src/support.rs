//! What somebody needs who is to find out why a camera does not work: one text, without secrets.
//!
//! `perch support-bundle` prints it, and the owner gets it from `/api/support-bundle`, because nobody can log in to the
//! appliance. Passwords, tokens and keys are not in it: settings are those of `perch config show`, of the state only names
//! and sizes are told, and what the settings hold secret is struck out of the logs as well.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::base::logging::utc_seconds;
use crate::config::Config;
use crate::platform::{state_dir, system};

/// Most lines of each log.
const LINES: &str = "2000";
/// Most bytes of each log: a unit that fails again and again has long lines.
const MOST_BYTES: usize = 1 << 20;
/// Shorter secrets would be struck out of innocent words.
const SHORTEST_SECRET: usize = 6;
/// The units whose words are wanted.
const UNITS: [&str; 7] = [
    "--unit=perch.service",
    "--unit=perch-provision.service",
    "--unit=perch-wish.service",
    "--unit=perch-wifi.service",
    "--unit=perch-network.service",
    "--unit=systemd-networkd.service",
    "--unit=data.mount",
];

/// The text. `cameras` says what they do, in words. What cannot be had is said in its place.
#[must_use]
pub fn bundle(config: &Config, cameras: &str) -> String {
    let state = state_dir::find();
    let mut text = format!("perch {}, {}\n", env!("CARGO_PKG_VERSION"), utc_seconds(now()));
    let system = system::look(state.as_deref());
    section(&mut text, "machine", &serde_json::to_string_pretty(&system).unwrap_or_default());
    section(&mut text, "settings", &config.to_toml_masked().unwrap_or_else(|error| error.to_string()));
    section(&mut text, "cameras", cameras);
    section(&mut text, "state, without content", &state.as_deref().map_or_else(|| "none is kept".into(), listing));
    section(&mut text, "log of perch", &journal(&UNITS));
    section(&mut text, "log of the kernel", &journal(&["--dmesg"]));
    for secret in config.secrets().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        text = text.replace(secret, "***");
    }
    text
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn section(text: &mut String, title: &str, content: &str) {
    let _ = writeln!(text, "\n== {title}\n{}", content.trim_end());
}

/// Names and sizes of what is kept.
fn listing(folder: &Path) -> String {
    let mut entries: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().collect(),
        Err(error) => return format!("{}: {error}", folder.display()),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    let line = |entry: &fs::DirEntry| {
        let size = entry.metadata().map_or_else(|error| error.to_string(), |about| about.len().to_string());
        format!("{size:>8} {}", entry.file_name().to_string_lossy())
    };
    entries.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Of this start of the machine. Whoever may not read it, or has none, sees why.
fn journal(arguments: &[&str]) -> String {
    let run = Command::new("journalctl")
        .args(["--boot", "--no-pager", "--output=short-iso", "--lines", LINES])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    match run {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            tail(&text, MOST_BYTES).to_owned()
        }
        Err(error) => format!("there is no journal to ask: {error}"),
    }
}

/// The last lines of `text` that have no more than `most` bytes.
fn tail(text: &str, most: usize) -> &str {
    let from = text.len().saturating_sub(most);
    match (from, text.as_bytes()[from..].iter().position(|byte| *byte == b'\n')) {
        (0, _) => text,
        (_, Some(end)) => &text[from + end + 1..],
        (_, None) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_set_but_no_secret() {
        let config = "[device]\nhostname = 'garden'\nwifi = [{ssid = 'home', password = 'correct horse'}]\n
            [[webrtc.ice_servers]]\nurls = ['turn:a:1']\nusername = 'me'\ncredential = 'well hidden'\n
            [camera]\nsource = 'rtsp://me:battery%20staple@camera/1'";
        // As if a driver had logged them.
        let cameras = "joined home with correct horse, and a with well hidden, and battery%20staple";
        let text = bundle(&Config::parse(config, "test").unwrap(), cameras);
        for title in ["machine", "settings", "cameras", "state, without content", "log of perch", "log of the kernel"] {
            assert!(text.contains(&format!("\n== {title}\n")), "{title} is missing: {text}");
        }
        assert!(text.contains("garden") && text.contains("joined home with ***, and a with ***"), "{text}");
        for secret in ["correct horse", "well hidden", "battery"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }

    #[test]
    fn of_the_state_names_and_sizes_are_told_alone() {
        let folder = std::env::temp_dir().join(format!("perch-support-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("auth.json"), "secret").unwrap();
        assert_eq!(listing(&folder), "       6 auth.json");
        fs::remove_dir_all(&folder).unwrap();
        assert!(listing(&folder).contains("No such file"));
    }

    #[test]
    fn of_a_long_log_the_end_is_told() {
        assert_eq!(
            (tail("a\nb\nc\n", 4), tail("a\nb\n", 4), tail("abcdef", 3), tail("", 3)),
            ("c\n", "a\nb\n", "", "")
        );
        assert_eq!(tail("ää\nü\n", 5), "ü\n");
    }
}
