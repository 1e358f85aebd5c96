//! Which access units one viewer is sent. Pure: time and the path's state come in as arguments.
//!
//! A unit may be skipped only up to the next keyframe, because each builds on the one before. So a viewer is in
//! one of three states: waiting for a keyframe, being sent every unit, or resting until its link has drained.

use std::time::{Duration, Instant};

/// A backlog above this would be felt: stop sending until it is gone.
const REST_ABOVE: Duration = Duration::from_millis(300);
/// The longest rest: feedback itself may have been lost.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// After a keyframe, which is a burst, the backlog is given this long to pass.
const KEYFRAME_GRACE: Duration = Duration::from_millis(250);
/// How often a keyframe that does not come is asked for again.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    WaitingForKeyframe { asked_at: Instant },
    Sending { keyframe_at: Instant },
    Resting { since: Instant },
}

/// What is known of the viewer's link.
#[derive(Clone, Copy, Debug, Default)]
pub struct PathState {
    /// How long packets wait on the way.
    pub backlog: Duration,
    /// Whether everything that was sent has been reported on.
    pub is_drained: bool,
}

/// What to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send it.
    Send,
    /// Do not send it.
    Skip,
    /// Do not send it, and ask for a keyframe.
    SkipAndAsk,
}

/// Decides for one viewer.
#[derive(Debug)]
pub struct SendPolicy {
    state: State,
}

impl SendPolicy {
    /// A viewer for whom a keyframe was asked at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { state: State::WaitingForKeyframe { asked_at: now } }
    }

    /// Units were lost before they reached this viewer: a keyframe is asked for at `now`.
    pub const fn on_lagged(&mut self, now: Instant) {
        self.state = State::WaitingForKeyframe { asked_at: now };
    }

    /// Whether the viewer rests because of its link.
    #[must_use]
    pub const fn is_resting(&self) -> bool {
        matches!(self.state, State::Resting { .. })
    }

    /// What to do with the next unit.
    pub fn on_unit(&mut self, now: Instant, is_keyframe: bool, path: PathState) -> Action {
        match self.state {
            State::WaitingForKeyframe { .. } if is_keyframe => {
                self.state = State::Sending { keyframe_at: now };
                Action::Send
            }
            State::WaitingForKeyframe { asked_at } => {
                if now.saturating_duration_since(asked_at) < ASK_INTERVAL {
                    return Action::Skip;
                }
                self.ask(now)
            }
            State::Sending { keyframe_at } => {
                let in_grace = now.saturating_duration_since(keyframe_at) < KEYFRAME_GRACE;
                let allowed = if in_grace { REST_ABOVE * 2 } else { REST_ABOVE };
                if path.backlog > allowed {
                    self.state = State::Resting { since: now };
                    return Action::Skip;
                }
                if is_keyframe {
                    self.state = State::Sending { keyframe_at: now };
                }
                Action::Send
            }
            State::Resting { since } => {
                if !path.is_drained && now.saturating_duration_since(since) < LONGEST_REST {
                    return Action::Skip;
                }
                if is_keyframe {
                    self.state = State::Sending { keyframe_at: now };
                    return Action::Send;
                }
                self.ask(now)
            }
        }
    }

    const fn ask(&mut self, now: Instant) -> Action {
        self.state = State::WaitingForKeyframe { asked_at: now };
        Action::SkipAndAsk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: PathState = PathState { backlog: Duration::ZERO, is_drained: true };
    const JAMMED: PathState = PathState { backlog: Duration::from_secs(1), is_drained: false };
    const MS: Duration = Duration::from_millis(1);

    fn sending(start: Instant) -> SendPolicy {
        let mut policy = SendPolicy::new(start);
        assert_eq!(policy.on_unit(start, true, CLEAR), Action::Send);
        policy
    }

    #[test]
    fn nothing_is_sent_before_a_keyframe() {
        let start = Instant::now();
        let mut policy = SendPolicy::new(start);
        assert_eq!(policy.on_unit(start, false, CLEAR), Action::Skip);
        assert_eq!(policy.on_unit(start, true, CLEAR), Action::Send);
        assert_eq!(policy.on_unit(start, false, CLEAR), Action::Send);
    }

    #[test]
    fn lagged_viewer_resumes_at_keyframe() {
        let start = Instant::now();
        let mut policy = sending(start);
        policy.on_lagged(start);
        assert_eq!(policy.on_unit(start, false, CLEAR), Action::Skip);
        assert_eq!(policy.on_unit(start, true, CLEAR), Action::Send);
    }

    #[test]
    fn a_keyframe_that_does_not_come_is_asked_for_again() {
        let start = Instant::now();
        let mut policy = SendPolicy::new(start);
        assert_eq!(policy.on_unit(start + 499 * MS, false, CLEAR), Action::Skip);
        assert_eq!(policy.on_unit(start + 500 * MS, false, CLEAR), Action::SkipAndAsk);
        assert_eq!(policy.on_unit(start + 600 * MS, false, CLEAR), Action::Skip);
    }

    #[test]
    fn a_jammed_link_rests_until_it_has_drained_and_then_begins_with_a_keyframe() {
        let start = Instant::now();
        let mut policy = sending(start);
        assert_eq!(policy.on_unit(start + 300 * MS, false, JAMMED), Action::Skip);
        assert!(policy.is_resting());
        assert_eq!(policy.on_unit(start + 330 * MS, true, JAMMED), Action::Skip, "a keyframe would jam it more");
        assert_eq!(policy.on_unit(start + 400 * MS, false, CLEAR), Action::SkipAndAsk);
        assert_eq!(policy.on_unit(start + 430 * MS, true, CLEAR), Action::Send);
    }

    #[test]
    fn a_rest_ends_without_feedback() {
        let start = Instant::now();
        let mut policy = sending(start);
        assert_eq!(policy.on_unit(start + 300 * MS, false, JAMMED), Action::Skip);
        assert_eq!(policy.on_unit(start + 1299 * MS, false, JAMMED), Action::Skip);
        assert_eq!(policy.on_unit(start + 1300 * MS, false, JAMMED), Action::SkipAndAsk);
    }

    #[test]
    fn the_burst_of_a_keyframe_is_given_time() {
        let start = Instant::now();
        let mut policy = sending(start);
        let burst = PathState { backlog: 400 * MS, is_drained: false };
        assert_eq!(policy.on_unit(start + 200 * MS, false, burst), Action::Send);
        assert_eq!(policy.on_unit(start + 300 * MS, false, burst), Action::Skip);
    }
}
