//! When the access point is open: a pure state machine, time comes in as an argument. What the radio is told is
//! `supplicant`'s.
//!
//! One radio is in one mode at a time, so that it works with every driver: to try a network the access point is closed, and
//! it is opened again when that has failed. A cable is a network too, and closes it.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::platform::device::Wifi;
use crate::platform::wifi::{Attempt, Phase, Problem};

/// How long each thing takes.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// At the start, for a cable.
    pub cable: Duration,
    /// At the start, for known networks as well.
    pub known: Duration,
    /// Once there was a network and it is lost.
    pub lost: Duration,
    /// With the access point open and nobody in it, until known networks are looked for again.
    pub lonely: Duration,
    /// For them to be found then.
    pub retry: Duration,
    /// From a wish until the access point is closed: the answer is to reach the page.
    pub goodbye: Duration,
    /// For a network that is tried.
    pub attempt: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            cable: seconds(20),
            known: seconds(60),
            lost: seconds(300),
            lonely: seconds(300),
            retry: seconds(45),
            goodbye: seconds(2),
            attempt: seconds(45),
        }
    }
}

impl Patience {
    /// What has to pass in any case passes so many times as quick.
    #[must_use]
    pub fn hurried(self, times: u32) -> Self {
        let [cable, known, lost, lonely, goodbye] =
            [self.cable, self.known, self.lost, self.lonely, self.goodbye].map(|time| time / times.max(1));
        Self { cable, known, lost, lonely, goodbye, ..self }
    }
}

/// What is seen of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A cable is plugged in.
    pub has_cable: bool,
    /// The Wi-Fi that was joined.
    pub joined: Option<String>,
    /// That Wi-Fi has given an address.
    pub has_address: bool,
    /// Somebody is in the access point.
    pub has_guests: bool,
    /// There are known networks.
    pub knows_some: bool,
}

impl Seen {
    /// Whether there is any network.
    #[must_use]
    pub const fn has_network(&self) -> bool {
        self.has_cable || self.joined.is_some() && self.has_address
    }
}

/// What the radio is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Radio {
    /// Join any known network.
    Join,
    /// Join this one.
    Try(Wifi),
    /// Be the access point.
    AccessPoint,
}

#[derive(Clone, Debug)]
enum State {
    /// `patience` from the moment when there is no network.
    Joining {
        patience: Option<Duration>,
    },
    Open,
    /// The wish was taken; the radio is as before.
    Leaving {
        wifi: Wifi,
        was_open: bool,
    },
    Trying {
        wifi: Wifi,
        was_open: bool,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Setup {
    patience: Patience,
    state: State,
    /// When the state began; with the access point open, when somebody was last in it.
    since: Timestamp,
    alone_since: Option<Timestamp>,
    trouble: Option<Problem>,
    result: Option<Attempt>,
}

impl Setup {
    /// Begins by looking for known networks.
    #[must_use]
    pub const fn new(patience: Patience, now: Timestamp) -> Self {
        let state = State::Joining { patience: None };
        Self { patience, state, since: now, alone_since: None, trouble: None, result: None }
    }

    /// What the radio is to do now.
    #[must_use]
    pub fn radio(&self) -> Radio {
        match &self.state {
            State::Open | State::Leaving { was_open: true, .. } => Radio::AccessPoint,
            State::Joining { .. } | State::Leaving { .. } => Radio::Join,
            State::Trying { wifi, .. } => Radio::Try(wifi.clone()),
        }
    }

    /// In a word.
    #[must_use]
    pub fn phase(&self, seen: &Seen) -> Phase {
        match &self.state {
            State::Open => Phase::AccessPoint,
            State::Leaving { .. } | State::Trying { .. } => Phase::Trying,
            State::Joining { .. } if seen.has_network() => Phase::Online,
            State::Joining { .. } => Phase::Searching,
        }
    }

    /// The network that is tried.
    #[must_use]
    pub fn tried(&self) -> Option<&str> {
        match &self.state {
            State::Leaving { wifi, .. } | State::Trying { wifi, .. } => Some(&wifi.ssid),
            _ => None,
        }
    }

    /// What became of the last one.
    #[must_use]
    pub const fn result(&self) -> Option<&Attempt> {
        self.result.as_ref()
    }

    /// Somebody asks for a network. While another is tried, nobody can.
    pub fn wish(&mut self, wifi: Wifi, now: Timestamp) {
        let was_open = matches!(self.state, State::Open);
        if self.tried().is_none() {
            self.result = None;
            self.enter(State::Leaving { wifi, was_open }, now);
        }
    }

    /// The radio says why a network is not joined.
    pub fn trouble(&mut self, problem: Problem) {
        // That one is not seen in one search says less than a wrong password.
        if self.trouble != Some(Problem::WrongPassword) {
            self.trouble = Some(problem);
        }
    }

    /// Goes on by what is seen. A network that was asked for and joined is returned: it is to be kept.
    pub fn step(&mut self, seen: &Seen, now: Timestamp) -> Option<Wifi> {
        let lasted = now.saturating_since(self.since);
        match self.state.clone() {
            State::Joining { .. } if seen.has_network() => {
                self.alone_since = None;
                self.state = State::Joining { patience: Some(self.patience.lost) };
            }
            State::Joining { patience } => {
                let at_start = if seen.knows_some { self.patience.known } else { self.patience.cable };
                let alone = now.saturating_since(*self.alone_since.get_or_insert(now));
                if alone >= patience.unwrap_or(at_start) {
                    self.enter(State::Open, now);
                }
            }
            State::Open if seen.has_cable => self.look(self.patience.lost, now),
            State::Open if seen.has_guests => self.since = now,
            State::Open if seen.knows_some && lasted >= self.patience.lonely => self.look(self.patience.retry, now),
            State::Open => {}
            State::Leaving { wifi, was_open } => {
                if lasted >= self.patience.goodbye {
                    self.enter(State::Trying { wifi, was_open }, now);
                }
            }
            State::Trying { wifi, was_open } => {
                let is_joined = seen.joined.as_ref() == Some(&wifi.ssid);
                if is_joined && seen.has_address {
                    self.result = Some(Attempt { ssid: wifi.ssid.clone(), problem: None });
                    self.look(self.patience.lost, now);
                    return Some(wifi);
                }
                let is_wrong = self.trouble == Some(Problem::WrongPassword);
                if is_wrong || lasted >= self.patience.attempt {
                    let problem = match self.trouble {
                        _ if is_joined => Problem::NoAddress,
                        known => known.unwrap_or(Problem::NotJoined),
                    };
                    self.result = Some(Attempt { ssid: wifi.ssid, problem: Some(problem) });
                    if was_open && !seen.has_cable {
                        self.enter(State::Open, now);
                    } else {
                        self.look(self.patience.lost, now);
                    }
                }
            }
        }
        None
    }

    fn look(&mut self, patience: Duration, now: Timestamp) {
        self.enter(State::Joining { patience: Some(patience) }, now);
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        (self.state, self.since, self.alone_since, self.trouble) = (state, now, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine and its clock, in seconds.
    struct Run(Setup, u64);

    impl Run {
        fn new() -> Self {
            Self(Setup::new(Patience::default(), Timestamp::from_nanos(0)), 0)
        }

        fn at(seconds: u64) -> Timestamp {
            Timestamp::from_nanos(seconds * 1_000_000_000)
        }

        /// Steps once a second while `seen` holds, and gives the phase and what was to be kept.
        fn wait(&mut self, seconds: u64, seen: &Seen) -> (Phase, Option<Wifi>) {
            let mut kept = None;
            for _ in 0..seconds {
                self.1 += 1;
                kept = kept.or(self.0.step(seen, Self::at(self.1)));
            }
            (self.0.phase(seen), kept)
        }

        fn phase(&mut self, seconds: u64, seen: &Seen) -> Phase {
            self.wait(seconds, seen).0
        }

        fn wish(&mut self) {
            self.0.wish(home(), Self::at(self.1));
        }

        fn problem(&self) -> Option<Option<Problem>> {
            self.0.result().map(|result| result.problem)
        }
    }

    fn home() -> Wifi {
        Wifi { ssid: "home".into(), password: "correct horse".into() }
    }

    fn nothing() -> Seen {
        Seen::default()
    }

    fn known() -> Seen {
        Seen { knows_some: true, ..Seen::default() }
    }

    fn cable() -> Seen {
        Seen { has_cable: true, ..Seen::default() }
    }

    fn at_home() -> Seen {
        Seen { joined: Some("home".into()), has_address: true, knows_some: true, ..Seen::default() }
    }

    #[test]
    fn without_any_network_the_access_point_is_opened_after_a_while() {
        let mut run = Run::new();
        assert_eq!((run.phase(20, &nothing()), run.0.radio()), (Phase::Searching, Radio::Join));
        assert_eq!((run.phase(1, &nothing()), run.0.radio()), (Phase::AccessPoint, Radio::AccessPoint));
        assert_eq!(run.phase(3600, &nothing()), Phase::AccessPoint, "there is nothing else to try");
    }

    #[test]
    fn known_networks_are_given_more_time() {
        let mut run = Run::new();
        assert_eq!(run.phase(60, &known()), Phase::Searching);
        assert_eq!(run.phase(1, &known()), Phase::AccessPoint);
    }

    #[test]
    fn with_a_cable_it_is_never_opened_and_five_minutes_after_it_is_gone_it_is() {
        let mut run = Run::new();
        assert_eq!(run.phase(3600, &cable()), Phase::Online);
        assert_eq!(run.phase(300, &nothing()), Phase::Searching);
        assert_eq!(run.phase(1, &nothing()), Phase::AccessPoint);
        assert_eq!(run.phase(1, &cable()), Phase::Online, "a cable closes it");
    }

    #[test]
    fn a_network_that_comes_and_goes_is_not_lost() {
        let mut run = Run::new();
        run.phase(10, &at_home());
        for _ in 0..5 {
            assert_eq!(run.phase(299, &known()), Phase::Searching);
            assert_eq!(run.phase(1, &at_home()), Phase::Online);
        }
        assert_eq!(run.phase(301, &known()), Phase::AccessPoint);
    }

    #[test]
    fn a_network_without_an_address_is_none() {
        let mut run = Run::new();
        let joined = Seen { has_address: false, ..at_home() };
        assert_eq!(run.phase(61, &joined), Phase::AccessPoint);
    }

    #[test]
    fn while_nobody_is_in_it_known_networks_are_looked_for_again() {
        let mut run = Run::new();
        run.phase(61, &known());
        assert_eq!(run.phase(299, &known()), Phase::AccessPoint);
        assert_eq!((run.phase(1, &known()), run.0.radio()), (Phase::Searching, Radio::Join));
        assert_eq!(run.phase(46, &known()), Phase::AccessPoint, "none is there yet");
        assert_eq!(run.phase(300, &known()), Phase::Searching);
        assert_eq!(run.phase(10, &at_home()), Phase::Online, "the router is back");
        // Somebody in it is not thrown out.
        let mut run = Run::new();
        run.phase(61, &known());
        assert_eq!(run.phase(3600, &Seen { has_guests: true, ..known() }), Phase::AccessPoint);
    }

    #[test]
    fn a_network_that_is_asked_for_is_tried_and_kept() {
        let mut run = Run::new();
        run.phase(21, &nothing());
        run.wish();
        assert_eq!(
            (run.phase(1, &nothing()), run.0.radio()),
            (Phase::Trying, Radio::AccessPoint),
            "the page gets its answer"
        );
        assert_eq!((run.phase(1, &nothing()), run.0.radio()), (Phase::Trying, Radio::Try(home())));
        assert_eq!(run.0.tried(), Some("home"));
        assert_eq!(run.wait(5, &at_home()), (Phase::Online, Some(home())));
        assert_eq!((run.problem(), run.0.radio()), (Some(None), Radio::Join));
    }

    #[test]
    fn a_wrong_password_opens_it_again_at_once_and_says_so() {
        let mut run = Run::new();
        run.phase(21, &nothing());
        run.wish();
        run.phase(5, &nothing());
        run.0.trouble(Problem::WrongPassword);
        run.0.trouble(Problem::NotFound);
        assert_eq!(run.wait(1, &nothing()), (Phase::AccessPoint, None));
        assert_eq!(run.problem(), Some(Some(Problem::WrongPassword)));
        // The next try begins anew.
        run.wish();
        assert_eq!(run.problem(), None);
        assert_eq!(run.wait(5, &at_home()), (Phase::Online, Some(home())));
    }

    #[test]
    fn what_fails_for_other_reasons_is_given_time_and_told() {
        for (trouble, seen, expected) in [
            (None, nothing(), Problem::NotJoined),
            (Some(Problem::NotFound), nothing(), Problem::NotFound),
            (None, Seen { has_address: false, ..at_home() }, Problem::NoAddress),
            (None, Seen { joined: Some("other".into()), ..at_home() }, Problem::NotJoined),
        ] {
            let mut run = Run::new();
            run.phase(21, &nothing());
            run.wish();
            run.phase(2, &nothing());
            trouble.into_iter().for_each(|problem| run.0.trouble(problem));
            assert_eq!(run.wait(44, &seen), (Phase::Trying, None));
            assert_eq!(run.wait(1, &seen), (Phase::AccessPoint, None));
            assert_eq!(run.problem(), Some(Some(expected)));
        }
    }

    #[test]
    fn with_a_cable_a_network_can_be_tried_too() {
        let mut run = Run::new();
        run.phase(10, &cable());
        run.wish();
        assert_eq!((run.phase(1, &cable()), run.0.radio()), (Phase::Trying, Radio::Join));
        run.phase(46, &cable());
        assert_eq!((run.problem(), run.0.radio()), (Some(Some(Problem::NotJoined)), Radio::Join));
        assert_eq!(run.phase(1, &cable()), Phase::Online, "no access point while there is a cable");
    }

    #[test]
    fn while_one_is_tried_nobody_asks_for_another() {
        let mut run = Run::new();
        run.phase(21, &nothing());
        run.wish();
        run.0.wish(Wifi { ssid: "other".into(), password: String::new() }, Run::at(run.1));
        assert_eq!(run.0.tried(), Some("home"));
    }
}
