//! What must survive a restart: accounts, tokens, sessions, as one document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::caller::{Caller, Role, Who};
use super::session::Sessions;
use super::token::Tokens;

/// The document's form. A later perch may read an older form; an older perch refuses a later one.
const VERSION: u32 = 1;
/// How old `last_used` may be on disk, in seconds: one write an hour does a memory card no harm.
const USED_EVERY_S: u64 = 3600;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// Each account's password, hashed.
    accounts: BTreeMap<Role, String>,
    /// Programs.
    #[serde(default)]
    pub tokens: Tokens,
    /// Browsers.
    #[serde(default)]
    pub sessions: Sessions,
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, accounts: BTreeMap::new(), tokens: Tokens::default(), sessions: Sessions::default() }
    }
}

impl State {
    /// Reads the document.
    ///
    /// # Errors
    /// What is wrong with it; never what is in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let state: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("not in the form expected (line {}, column {})", error.line(), error.column()))?;
        match state.version {
            VERSION => Ok(state),
            other => Err(format!("written in form {other}, and this perch knows form {VERSION}")),
        }
    }

    /// The document's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether there is an owner.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        self.accounts.contains_key(&Role::Owner)
    }

    /// An account's hashed password.
    #[must_use]
    pub fn password(&self, role: Role) -> Option<&str> {
        self.accounts.get(&role).map(String::as_str)
    }

    /// Sets an account's password, hashed already, and ends all of its sessions.
    pub fn set_password(&mut self, role: Role, hash: String) {
        self.accounts.insert(role, hash);
        self.sessions.end_all(role);
    }

    /// Takes an account away, and ends all of its sessions.
    pub fn remove_account(&mut self, role: Role) {
        self.accounts.remove(&role);
        self.sessions.end_all(role);
    }

    /// Who shows this cookie or this token, and whether that is worth writing down.
    pub fn who(&mut self, session: Option<&str>, token: Option<&str>, now: u64) -> Option<(Caller, bool)> {
        // A token is shown on purpose, a cookie by every request.
        if let Some(token) = token {
            let found = self.tokens.find(token)?;
            let stale = found.last_used.is_none_or(|last| now.saturating_sub(last) >= USED_EVERY_S);
            if stale {
                found.last_used = Some(now);
            }
            return Some((Caller { who: Who::Token { id: found.id.clone() }, scope: found.scope }, stale));
        }
        let found = self.sessions.find(session?, now)?;
        let stale = now.saturating_sub(found.last_used) >= USED_EVERY_S;
        if stale {
            found.last_used = now;
        }
        let who = Who::Session { id: found.id.clone(), role: found.role };
        Some((Caller { who, scope: found.role.scope() }, stale))
    }

    /// Whether somebody who was let in once would be let in still.
    #[must_use]
    pub fn knows(&self, who: &Who, now: u64) -> bool {
        match who {
            Who::Anyone => false,
            Who::Session { id, .. } => self.sessions.contains(id, now),
            Who::Token { id } => self.tokens.contains(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scope;

    const NOW: u64 = 1_800_000_000;

    fn owned() -> State {
        let mut state = State::default();
        state.set_password(Role::Owner, "hash".into());
        state
    }

    #[test]
    fn the_document_is_read_as_it_was_written() {
        let mut state = owned();
        state.tokens.add("recorder", Scope::Control, NOW).unwrap();
        state.sessions.begin(Role::Owner, "::1".parse().unwrap(), "browser", NOW);
        assert_eq!(State::parse(&state.to_bytes()), Ok(state));
    }

    #[test]
    fn a_document_that_is_broken_is_refused_without_being_quoted() {
        let good = owned().to_bytes();
        let cut = &good[..good.len() / 2];
        let more = String::from_utf8(good.clone()).unwrap().replace("\"version\"", "\"secret-thing\": 1, \"version\"");
        for broken in [&b""[..], b"{}", b"[]", b"null", cut, more.as_bytes()] {
            let error = State::parse(broken).unwrap_err();
            assert!(error.contains("line") && !error.contains("secret"), "{error}");
        }
        let later = String::from_utf8(good).unwrap().replace("\"version\": 1", "\"version\": 2");
        assert!(State::parse(later.as_bytes()).unwrap_err().contains("form 2"));
    }

    #[test]
    fn a_new_password_ends_the_accounts_sessions() {
        let mut state = owned();
        let (secret, _) = state.sessions.begin(Role::Owner, "::1".parse().unwrap(), "", NOW);
        assert!(state.who(Some(&secret), None, NOW).is_some());
        state.set_password(Role::Owner, "other".into());
        assert!(state.who(Some(&secret), None, NOW).is_none());
    }

    #[test]
    fn a_wrong_token_is_not_made_good_by_a_right_cookie() {
        let mut state = owned();
        let (secret, _) = state.sessions.begin(Role::Owner, "::1".parse().unwrap(), "", NOW);
        assert!(state.who(Some(&secret), Some("perch_wrong"), NOW).is_none());
        assert!(state.who(None, None, NOW).is_none());
    }

    #[test]
    fn use_is_written_down_once_an_hour() {
        let mut state = owned();
        let (secret, _) = state.sessions.begin(Role::Viewer, "::1".parse().unwrap(), "", NOW);
        let (token, id) = state.tokens.add("x", Scope::View, NOW).unwrap();
        let mut stale =
            |now: u64| [state.who(Some(&secret), None, now).unwrap().1, state.who(None, Some(&token), now).unwrap().1];
        assert_eq!(
            [stale(NOW + 1), stale(NOW + 2), stale(NOW + 3601), stale(NOW + 3602)],
            [[false, true], [false, false], [true, true], [false, false]]
        );
        assert!(state.knows(&Who::Token { id: id.clone() }, NOW));
        state.tokens.revoke(&id);
        assert!(!state.knows(&Who::Token { id }, NOW));
    }
}
