//! Log lines on standard error, and the filter that says which.
//!
//! In a terminal: `2026-11-24T12:00:00.123Z INFO  capture: message`. When standard error is systemd's
//! journal, which keeps the time itself, the line begins with the `<6>` priority that the journal
//! understands (`sd-daemon(3)`). One line is one write, so lines of different threads never mix; control
//! characters are escaped, so nothing a viewer sends can forge a line. Logging never fails and never panics:
//! a closed standard error loses lines, not the camera.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde::{Deserialize, Serialize};

/// Crates that log every packet's fate: heard only when they fail, unless the owner names them.
const NOISY: [&str; 2] = ["rtc", "webrtc"];

/// Which lines are logged: a level, or levels by module, as in `info,perch::webrtc=debug`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter {
    level: LevelFilter,
    /// Longest prefix first.
    by_target: Vec<(String, LevelFilter)>,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { level: LevelFilter::Info, by_target: Vec::new() }
    }
}

impl LogFilter {
    /// The most that any target logs.
    #[must_use]
    pub fn max_level(&self) -> LevelFilter {
        self.by_target.iter().map(|(_, level)| *level).fold(self.level, Ord::max)
    }

    /// Whether a line of `target` at `level` is logged.
    #[must_use]
    pub fn allows(&self, target: &str, level: Level) -> bool {
        let named = self.by_target.iter().find(|(prefix, _)| target.starts_with(prefix.as_str()));
        let most = match named {
            Some((_, level)) => *level,
            None if NOISY.iter().any(|prefix| target.starts_with(prefix)) => self.level.min(LevelFilter::Error),
            None => self.level,
        };
        level <= most
    }
}

impl FromStr for LogFilter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let level_of = |name: &str| {
            name.parse::<LevelFilter>().map_err(|_| {
                format!("`{name}` is not a log level: use off, error, warn, info, debug or trace, or levels by module as in `info,perch::webrtc=debug`")
            })
        };
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((target, level)) if !target.trim().is_empty() => {
                    filter.by_target.push((target.trim().to_owned(), level_of(level.trim())?));
                }
                _ => filter.level = level_of(part)?,
            }
        }
        filter.by_target.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        Ok(filter)
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.to_string()
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |level: LevelFilter| level.as_str().to_lowercase();
        f.write_str(&name(self.level))?;
        self.by_target.iter().try_for_each(|(target, level)| write!(f, ",{target}={}", name(*level)))
    }
}

static LOGGER: OnceLock<StandardError> = OnceLock::new();

/// Logs to standard error from now on. Only the first call in a process has an effect.
pub fn start(filter: LogFilter) {
    let max_level = filter.max_level();
    let logger = LOGGER.get_or_init(|| StandardError { filter, is_journal: stderr_is_journal() });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(max_level);
    }
}

/// Whether standard error is the very stream that systemd named: a child with a pipe of its own inherits
/// `JOURNAL_STREAM` as well (`systemd.exec(5)`).
fn stderr_is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().and_then(|fd| std::fs::File::from(fd).metadata());
    stderr.is_ok_and(|stderr| named == format!("{}:{}", stderr.dev(), stderr.ino()))
}

struct StandardError {
    filter: LogFilter,
    is_journal: bool,
}

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.allows(metadata.target(), metadata.level())
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let now = (!self.is_journal).then(SystemTime::now);
            // A closed standard error is no reason to stop.
            let _ = std::io::stderr().lock().write_all(line(record, now).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// One line, with the time or, without one, for the journal.
fn line(record: &Record<'_>, now: Option<SystemTime>) -> String {
    let mut line = String::with_capacity(128);
    let _ = match now {
        Some(now) => write!(line, "{} {:<5} ", utc(now), record.level()),
        None => write!(line, "<{}>", priority(record.level())),
    };
    let target = record.target().strip_prefix("perch::").unwrap_or(record.target());
    let part = target.split("::").next().unwrap_or(target);
    let _ = write!(Printable(&mut line), "{part}: {}", record.args());
    line.push('\n');
    line
}

/// The `syslog(3)` priority of a level.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Escapes what could end a line or steer a terminal.
struct Printable<'a>(&'a mut String);

impl fmt::Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            if char.is_control() { self.0.extend(char.escape_default()) } else { self.0.push(char) }
        }
        Ok(())
    }
}

/// Seconds since 1970 as RFC 3339 in UTC, such as `2026-11-24T12:00:00Z`.
#[must_use]
pub fn utc_seconds(seconds: u64) -> String {
    // Seconds are 19 characters; beyond what a system's clock can hold, any time is as good as another.
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(1 << 40))).unwrap_or(UNIX_EPOCH);
    utc(time).replace(".000", "")
}

/// A time as RFC 3339 in UTC with milliseconds.
fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to a date: https://howardhinnant.github.io/date_algorithms.html#civil_from_days
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(target: &str, level: Level, text: &str, now: Option<SystemTime>) -> String {
        line(&Record::builder().target(target).level(level).args(format_args!("{text}")).build(), now)
    }

    fn at(secs: u64, millis: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_millis(millis)
    }

    #[test]
    fn a_line_has_time_level_part_and_message() {
        let now = Some(at(1_795_521_600, 123));
        assert_eq!(
            line_of("perch::capture::open", Level::Info, "no camera found", now),
            "2026-11-24T12:00:00.123Z INFO  capture: no camera found\n"
        );
        assert_eq!(line_of("rtc_ice::agent", Level::Error, "x", now), "2026-11-24T12:00:00.123Z ERROR rtc_ice: x\n");
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        assert_eq!(line_of("perch::http", Level::Info, "serving", None), "<6>http: serving\n");
        assert_eq!(line_of("perch", Level::Warn, "x", None), "<4>perch: x\n");
    }

    #[test]
    fn dates_are_right_in_leap_years_and_at_their_ends() {
        for (secs, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(utc(at(secs, 0)), date);
        }
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        assert_eq!(line_of("perch", Level::Warn, "a\n<0>\u{1b}[31mb", None), "<4>perch: a\\n<0>\\u{1b}[31mb\n");
    }

    #[test]
    fn the_level_applies_to_all_but_the_noisy_crates() {
        let filter: LogFilter = "debug".parse().unwrap();
        assert!(filter.allows("perch::webrtc::peer", Level::Debug));
        assert!(!filter.allows("perch::webrtc::peer", Level::Trace));
        assert!(filter.allows("rtc_ice::agent", Level::Error));
        assert!(!filter.allows("rtc_ice::agent", Level::Warn));
        assert!(!filter.allows("webrtc::peer_connection", Level::Warn));
        assert!(!"off".parse::<LogFilter>().unwrap().allows("rtc", Level::Error));
    }

    #[test]
    fn the_longest_named_module_decides() {
        let filter: LogFilter = "warn, perch::webrtc=debug,rtc=info,perch::webrtc::peer=error".parse().unwrap();
        assert!(filter.allows("perch::webrtc::session", Level::Debug));
        assert!(!filter.allows("perch::webrtc::peer", Level::Warn));
        assert!(!filter.allows("perch::http", Level::Info));
        assert!(filter.allows("rtc_dtls", Level::Info));
        assert_eq!(filter.max_level(), LevelFilter::Debug);
        assert_eq!(filter.to_string().parse(), Ok(filter));
    }

    #[test]
    fn misspelt_levels_are_refused() {
        for bad in ["", "loud", "info,", "perch=loud", "=info", "a=b=info"] {
            assert!(bad.parse::<LogFilter>().is_err(), "{bad}");
        }
        assert_eq!("INFO".parse(), Ok(LogFilter::default()));
    }
}
