//! Pages that show a video, such as YouTube's: an installed `yt-dlp` knows where the video itself is.
//!
//! It is a program of its own, which is given the page's address and what the owner adds as separate arguments, never by
//! a shell. It takes its time, so it is waited for on a thread of its own. What it finds is opened like any address.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use log::info;
use serde::{Deserialize, Serialize};

use super::url::{NetworkUrl, pipe};
use crate::base::poll::{Readiness, wait_readable};
use crate::capture::CaptureError;

/// The program, looked for on the `PATH`.
const PROGRAM: &str = "yt-dlp";
/// How long it may take altogether. On a small machine its start alone takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one opening waits for it.
const TURN: Duration = Duration::from_secs(5);
/// The most that is read of what it prints.
const MOST_BYTES: usize = 64 << 10;

/// How large the video is to be, by the names that VidGear has for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum StreamResolution {
    /// The best there is.
    #[default]
    Best,
    /// The smallest there is.
    Worst,
    /// So many rows, or the next below.
    Rows(u32),
}

/// The numbers of rows that have a name.
const ROWS: [u32; 9] = [144, 240, 360, 480, 720, 1080, 1440, 2160, 4320];

impl fmt::Display for StreamResolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best"),
            Self::Worst => f.write_str("worst"),
            Self::Rows(rows) => write!(f, "{rows}p"),
        }
    }
}

impl FromStr for StreamResolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Best, Self::Worst].into_iter().chain(ROWS.map(Self::Rows));
        all.clone().find(|known| known.to_string() == text).ok_or_else(|| {
            let names: Vec<_> = all.map(|known| known.to_string()).collect();
            format!("`{text}` is no resolution of a stream: {}", names.join(", "))
        })
    }
}

impl From<StreamResolution> for String {
    fn from(resolution: StreamResolution) -> Self {
        resolution.to_string()
    }
}

impl TryFrom<String> for StreamResolution {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl StreamResolution {
    /// Which of a video's forms are to be taken: MP4 with H.264 over plain HTTP, if there is any.
    fn selector(self) -> String {
        let (kind, limit) = match self {
            Self::Best => ("b", String::new()),
            Self::Worst => ("w", String::new()),
            Self::Rows(rows) => ("b", format!("[height<={rows}]")),
        };
        let plain = "[ext=mp4][vcodec^=avc1][protocol~='^https?$']";
        format!("{kind}v*{limit}{plain}/{kind}{limit}")
    }
}

/// Asks `yt-dlp`, for as long as it takes, over several openings.
#[derive(Default)]
pub struct YtDlp(Option<Receiver<Result<NetworkUrl, String>>>);

impl YtDlp {
    /// Where the video is that the page at `page` shows.
    ///
    /// # Errors
    /// When that is not known yet, or `yt-dlp` is not there or finds none: each in words.
    pub fn find(
        &mut self,
        page: &NetworkUrl,
        resolution: StreamResolution,
        params: &[String],
    ) -> Result<NetworkUrl, CaptureError> {
        let unusable = |problem: String| CaptureError::Unusable(format!("{page}: {problem}"));
        let found = match self.0.take() {
            Some(found) => found,
            None => {
                let mut command = Command::new(PROGRAM);
                command.args(["--quiet", "--no-warnings", "--no-playlist", "--get-url", "--format"]);
                command.arg(resolution.selector()).args(params).args(["--", page.with_secrets()]);
                ask(command).map_err(|error| unusable(error.to_string()))?
            }
        };
        match found.recv_timeout(TURN) {
            Ok(Ok(url)) => Ok(url),
            Ok(Err(problem)) => Err(unusable(problem)),
            Err(RecvTimeoutError::Timeout) => {
                self.0 = Some(found);
                Err(unusable(format!("{PROGRAM} is still looking for the video")))
            }
            Err(RecvTimeoutError::Disconnected) => Err(unusable(format!("{PROGRAM} was not waited for"))),
        }
    }
}

fn ask(command: Command) -> io::Result<Receiver<Result<NetworkUrl, String>>> {
    let (answer, found) = sync_channel(1);
    thread::Builder::new().name("yt-dlp".into()).spawn(move || {
        // Whoever asked may be gone.
        let _ = answer.send(run(command));
    })?;
    Ok(found)
}

fn run(mut command: Command) -> Result<NetworkUrl, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("pages with videos need {PROGRAM}, which is not installed: https://github.com/yt-dlp/yt-dlp")
        }
        _ => format!("{PROGRAM} cannot be started: {error}"),
    })?;
    let end = Instant::now() + PATIENCE;
    let printed = child.stdout.take().ok_or_else(|| "its output is not there".into()).and_then(|pipe| read(pipe, end));
    if printed.is_err() {
        let _ = child.kill();
    }
    let complaint = child.stderr.take().and_then(|pipe| read(pipe, end).ok()).unwrap_or_default();
    let status = child.wait().map_err(|error| error.to_string())?;
    let printed = printed?;
    if !status.success() {
        let why = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
        return Err(format!("{PROGRAM} finds no video: {}", why.trim()));
    }
    let first = printed.lines().next().unwrap_or_default().trim();
    let url: NetworkUrl =
        first.parse().map_err(|problem| format!("{PROGRAM} found what cannot be opened: {problem}"))?;
    info!("{PROGRAM} found a video at {}", url.host());
    if url.is_list() {
        let piped = pipe("-");
        return Err(format!(
            "the video comes in pieces (HLS), which perch does not read itself: pipe it in with \
             `{PROGRAM} -o - ADDRESS | {piped} | perch --source file:-`"
        ));
    }
    Ok(url)
}

/// What comes through a pipe up to its end.
fn read(mut from: impl io::Read + AsFd, end: Instant) -> Result<String, String> {
    let (mut printed, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("{PROGRAM} has found nothing within {} s", PATIENCE.as_secs()));
        }
        match wait_readable(from.as_fd(), left).map_err(|error| error.to_string())? {
            Readiness::TimedOut => continue,
            Readiness::Readable | Readiness::HungUp | Readiness::Failed => {}
        }
        match from.read(&mut piece) {
            Ok(0) => return Ok(String::from_utf8_lossy(&printed).into_owned()),
            Ok(length) => printed.extend_from_slice(&piece[..length]),
            Err(error) => return Err(error.to_string()),
        }
        if printed.len() > MOST_BYTES {
            return Err(format!("{PROGRAM} prints more than an address"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_have_vidgears_names() {
        for name in ["best", "worst", "144p", "720p", "2160p"] {
            assert_eq!(name.parse::<StreamResolution>().unwrap().to_string(), name);
        }
        let problem = "721p".parse::<StreamResolution>().unwrap_err();
        assert!(problem.starts_with("`721p` is no resolution of a stream: best, worst, 144p, 240p, "), "{problem}");
        let selector = StreamResolution::Rows(720).selector();
        assert_eq!(selector, "bv*[height<=720][ext=mp4][vcodec^=avc1][protocol~='^https?$']/b[height<=720]");
        assert!(StreamResolution::Worst.selector().starts_with("wv*[ext=mp4]"));
    }

    #[test]
    fn what_the_program_says_becomes_an_address_or_words() {
        let said = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command)
        };
        assert_eq!(said("echo http://127.0.0.1:1/v.mp4").unwrap().to_string(), "http://127.0.0.1:1/v.mp4");
        assert_eq!(
            said("echo WARNING >&2; echo 'ERROR: private' >&2; exit 1").unwrap_err(),
            "yt-dlp finds no video: ERROR: private"
        );
        assert!(said("echo http://h/live.m3u8").unwrap_err().contains("in pieces (HLS)"));
        assert!(said("true").unwrap_err().contains("cannot be opened"));
        assert!(said("while echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; do :; done").unwrap_err().contains("more than"));
        let missing = run(Command::new("/no/such/yt-dlp")).unwrap_err();
        assert!(missing.contains("which is not installed"), "{missing}");
    }
}
