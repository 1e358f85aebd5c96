//! What the light says and what the button means: pure, time comes in as an argument. Pins are `gpio`'s.

use std::time::Duration;

/// A press shorter than this is a contact that bounces.
const BOUNCE: Duration = Duration::from_millis(30);
/// A press up to this long is a short one.
const SHORT: Duration = Duration::from_secs(1);
/// A press this long asks for a factory reset.
const RESET: Duration = Duration::from_secs(10);

/// What there is to show, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Situation {
    /// The button is held: let go now, or go on for a factory reset.
    Held,
    /// perch is starting.
    Starting,
    /// The owner has switched the camera off.
    Private,
    /// There is no network: the appliance's access point is open.
    AccessPoint,
    /// There is no camera, or it gives no picture.
    NoCamera,
    /// Somebody watches.
    Watched,
    /// All is well and nobody watches.
    Idle,
    /// Picture after picture is lost between the camera and the viewers.
    Fault,
}

/// A light's pattern: on and off in turn, in ms, from the beginning again and again.
const fn pattern(situation: Situation) -> &'static [u64] {
    match situation {
        // Never the same twice: steady, dark, and six rhythms that can be told apart across a room.
        Situation::Watched => &[1000],
        Situation::Private => &[0, 1000],
        Situation::Held => &[60, 60],
        Situation::Starting => &[250, 250],
        Situation::AccessPoint => &[900, 100],
        Situation::NoCamera => &[120, 180, 120, 1580],
        Situation::Idle => &[50, 2950],
        Situation::Fault => &[120, 180, 120, 180, 120, 1280],
    }
}

/// Whether the light is on `since` the situation began, and when to look again.
#[must_use]
pub fn light(situation: Situation, since: Duration) -> (bool, Duration) {
    let pattern = pattern(situation);
    let whole: u64 = pattern.iter().sum();
    let mut at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX) % whole.max(1);
    for (index, length) in pattern.iter().enumerate() {
        if at < *length {
            return (index % 2 == 0, Duration::from_millis(length - at));
        }
        at -= length;
    }
    (false, Duration::from_millis(whole))
}

/// What a press asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Switch the camera off, or on again.
    TogglePrivacy,
    /// Forget all settings.
    FactoryReset,
}

/// A button, told of its contact as often as one likes.
#[derive(Debug, Default)]
pub struct Button {
    pressed_at: Option<Duration>,
    is_answered: bool,
}

impl Button {
    /// The contact is closed or open at `now` (since any beginning); says what is wished, once.
    pub fn contact(&mut self, now: Duration, is_closed: bool) -> Option<Wish> {
        match (self.pressed_at, is_closed) {
            (None, true) => {
                self.pressed_at = Some(now);
                self.is_answered = false;
                None
            }
            (Some(since), true) if !self.is_answered && now.saturating_sub(since) >= RESET => {
                self.is_answered = true;
                Some(Wish::FactoryReset)
            }
            (Some(since), false) => {
                self.pressed_at = None;
                let length = now.saturating_sub(since);
                (!self.is_answered && length >= BOUNCE && length <= SHORT).then_some(Wish::TogglePrivacy)
            }
            _ => None,
        }
    }

    /// Whether it has been held for longer than a short press, and nothing came of it yet.
    #[must_use]
    pub fn is_held(&self, now: Duration) -> bool {
        !self.is_answered && self.pressed_at.is_some_and(|since| now.saturating_sub(since) > SHORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Situation; 7] = [
        Situation::Held,
        Situation::Starting,
        Situation::Private,
        Situation::NoCamera,
        Situation::Watched,
        Situation::Idle,
        Situation::Fault,
    ];

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The light over four seconds, as often as it says to look.
    fn seen(situation: Situation) -> Vec<(u64, bool)> {
        let (mut at, mut seen) = (Duration::ZERO, Vec::new());
        while at < ms(4000) {
            let (is_on, wait) = light(situation, at);
            assert!(!wait.is_zero(), "{situation:?} would never sleep");
            seen.push((u64::try_from(at.as_millis()).unwrap(), is_on));
            at += wait;
        }
        seen
    }

    #[test]
    fn no_two_situations_look_alike() {
        for (index, one) in ALL.iter().enumerate() {
            for other in &ALL[index + 1..] {
                assert_ne!(seen(*one), seen(*other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_light_is_steady_while_somebody_watches_and_dark_in_privacy() {
        assert!(seen(Situation::Watched).iter().all(|(_, is_on)| *is_on));
        assert!(seen(Situation::Private).iter().all(|(_, is_on)| !is_on));
    }

    #[test]
    fn an_idle_light_flashes_once_in_three_seconds() {
        assert_eq!(seen(Situation::Idle), [(0, true), (50, false), (3000, true), (3050, false)]);
    }

    #[test]
    fn a_short_press_toggles_privacy_when_it_is_let_go() {
        let mut button = Button::default();
        assert_eq!(button.contact(ms(0), true), None);
        assert_eq!(button.contact(ms(200), true), None);
        assert_eq!(button.contact(ms(300), false), Some(Wish::TogglePrivacy));
        assert_eq!(button.contact(ms(400), false), None);
    }

    #[test]
    fn a_bouncing_contact_and_a_press_of_five_seconds_mean_nothing() {
        let mut button = Button::default();
        button.contact(ms(0), true);
        assert_eq!(button.contact(ms(5), false), None);
        button.contact(ms(100), true);
        assert!(button.is_held(ms(1200)));
        assert_eq!(button.contact(ms(5100), false), None);
    }

    #[test]
    fn ten_seconds_reset_once_while_still_held() {
        let mut button = Button::default();
        button.contact(ms(0), true);
        assert_eq!(button.contact(ms(9999), true), None);
        assert_eq!(button.contact(ms(10_000), true), Some(Wish::FactoryReset));
        assert!(!button.is_held(ms(10_500)));
        assert_eq!(button.contact(ms(11_000), true), None);
        assert_eq!(button.contact(ms(12_000), false), None, "letting go after it is no short press");
    }
}
