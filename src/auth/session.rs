//! Who is logged in: what is kept of a browser's cookie, and for how long it counts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::caller::Role;
use super::secret;

/// A session that is not used ends after this long, in seconds: 14 days.
pub const IDLE_S: u64 = 14 * 86_400;
/// Every session ends after this long, in seconds: 90 days.
pub const LONGEST_S: u64 = 90 * 86_400;
/// Most sessions; with more, the one that was not used longest ends.
pub const MOST: usize = 64;
/// Most characters that are kept of what a browser calls itself.
const BROWSER_LENGTH: usize = 160;

/// One login. Times are in seconds since 1970, by the wall clock: they outlive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its name, no secret.
    pub id: String,
    /// SHA-256 of the cookie's secret.
    digest: String,
    /// The account.
    pub role: Role,
    /// When the password was given.
    pub created: u64,
    /// When it was last used.
    pub last_used: u64,
    /// From where the password was given.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub browser: String,
}

impl Session {
    fn is_over(&self, now: u64) -> bool {
        // A clock that was set back ends nothing.
        now.saturating_sub(self.last_used) > IDLE_S || now.saturating_sub(self.created) > LONGEST_S
    }
}

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sessions(Vec<Session>);

impl Sessions {
    /// Begins one; returns its secret, which is kept nowhere, and its id.
    pub fn begin(&mut self, role: Role, address: IpAddr, browser: &str, now: u64) -> (String, String) {
        self.0.retain(|session| !session.is_over(now));
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().enumerate().min_by_key(|(_, session)| session.last_used)
        {
            let oldest = oldest.0;
            self.0.remove(oldest);
        }
        let (secret, id) = (secret::new(), secret::new_id());
        let browser = browser.chars().filter(|char| !char.is_control()).take(BROWSER_LENGTH).collect();
        let digest = secret::digest(&secret);
        let address = address.to_canonical();
        self.0.push(Session { id: id.clone(), digest, role, created: now, last_used: now, address, browser });
        (secret, id)
    }

    /// The session that `secret` belongs to; using it keeps it from ending.
    pub fn find(&mut self, secret: &str, now: u64) -> Option<&mut Session> {
        let digest = secret::digest(secret);
        self.0.iter_mut().find(|session| secret::same(&session.digest, &digest)).filter(|session| !session.is_over(now))
    }

    /// Whether the session of that id goes on.
    #[must_use]
    pub fn contains(&self, id: &str, now: u64) -> bool {
        self.0.iter().any(|session| session.id == id && !session.is_over(now))
    }

    /// Whether somebody is logged in from there.
    #[must_use]
    pub fn is_known(&self, address: IpAddr, now: u64) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|session| session.address == address && !session.is_over(now))
    }

    /// Ends one; returns whether it was there.
    pub fn end(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|session| session.id != id);
        self.0.len() < before
    }

    /// Ends all of an account.
    pub fn end_all(&mut self, role: Role) {
        self.0.retain(|session| session.role != role);
    }

    /// Those that go on.
    pub fn iter(&self, now: u64) -> impl Iterator<Item = &Session> {
        self.0.iter().filter(move |session| !session.is_over(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 2));

    #[test]
    fn only_the_secret_finds_a_session_and_it_is_not_kept() {
        let mut sessions = Sessions::default();
        let (secret, id) = sessions.begin(Role::Owner, HOME, "Browser\r\n1", NOW);
        assert_eq!(sessions.find(&secret, NOW).unwrap().id, id);
        for other in [id.as_str(), "", &secret[1..], &secret::digest(&secret)] {
            assert!(sessions.find(other, NOW).is_none(), "{other}");
        }
        let kept = serde_json::to_string(&sessions).unwrap();
        assert!(!kept.contains(&secret) && kept.contains("Browser1"), "{kept}");
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_at_the_latest_after_ninety_days() {
        let mut sessions = Sessions::default();
        let (secret, id) = sessions.begin(Role::Viewer, HOME, "", NOW);
        assert!(sessions.find(&secret, NOW + IDLE_S).is_some() && sessions.contains(&id, NOW + IDLE_S));
        assert!(sessions.find(&secret, NOW + IDLE_S + 1).is_none() && !sessions.contains(&id, NOW + IDLE_S + 1));
        let mut now = NOW;
        while now < NOW + LONGEST_S {
            sessions.find(&secret, now).unwrap().last_used = now;
            now += 86_400;
        }
        assert!(sessions.find(&secret, NOW + LONGEST_S + 1).is_none());
    }

    #[test]
    fn a_clock_that_is_set_back_ends_no_session() {
        let mut sessions = Sessions::default();
        let (secret, _) = sessions.begin(Role::Owner, HOME, "", NOW);
        assert!(sessions.find(&secret, NOW - LONGEST_S * 2).is_some());
    }

    #[test]
    fn sessions_are_bounded_and_the_least_used_goes_first() {
        let mut sessions = Sessions::default();
        let (first, _) = sessions.begin(Role::Owner, HOME, "", NOW);
        let (second, _) = sessions.begin(Role::Owner, HOME, "", NOW + 1);
        sessions.find(&first, NOW + 2).unwrap().last_used = NOW + 2;
        for at in 0..MOST as u64 - 1 {
            sessions.begin(Role::Viewer, HOME, "", NOW + 3 + at);
        }
        assert_eq!(sessions.iter(NOW).count(), MOST);
        assert!(sessions.find(&second, NOW).is_none() && sessions.find(&first, NOW).is_some());
    }

    #[test]
    fn ending_an_accounts_sessions_leaves_the_other_accounts() {
        let mut sessions = Sessions::default();
        let (owner, id) = sessions.begin(Role::Owner, HOME, "", NOW);
        let (viewer, _) = sessions.begin(Role::Viewer, HOME, "", NOW);
        sessions.end_all(Role::Viewer);
        assert!(sessions.find(&viewer, NOW).is_none() && sessions.find(&owner, NOW).is_some());
        assert!(sessions.end(&id) && !sessions.end(&id));
        assert!(!sessions.is_known(HOME, NOW));
    }
}
