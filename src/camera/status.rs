//! What a camera is doing right now, for the page and for people.

use serde::Serialize;

/// The state of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not opened yet.
    Starting,
    /// Delivering pictures (or ready to, with nobody watching).
    Live,
    /// The source failed, stalled or is absent; the slate is shown and it is retried.
    NoInput,
    /// A file reached its end and does not loop.
    Ended,
    /// The owner has switched the camera off.
    Private,
}

impl State {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Live => "live",
            Self::NoInput => "no input",
            Self::Ended => "ended",
            Self::Private => "switched off",
        }
    }
}

/// A camera's status.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// What the source is, or what it should be.
    pub source: String,
    /// Why there is no picture, in words; empty while live.
    pub reason: String,
    /// Width of the pictures in pixels, 0 before the first.
    pub width: usize,
    /// Height of the pictures in pixels, 0 before the first.
    pub height: usize,
    /// Which encoder is in use, empty before the first frame.
    pub encoder: String,
}

impl Status {
    /// A camera that has not opened `source` yet.
    #[must_use]
    pub fn starting(source: &str) -> Self {
        Self {
            state: State::Starting,
            source: source.to_owned(),
            reason: String::new(),
            width: 0,
            height: 0,
            encoder: String::new(),
        }
    }
}
