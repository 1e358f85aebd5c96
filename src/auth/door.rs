//! The door: the rules, the state on disk and the clocks, put together for `http` and the command line.
//!
//! What another process changes (`perch auth …` beside a running perch) counts at once: before each answer the file
//! is looked at, and read again when it is another one.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::attempts::Attempts;
use super::caller::{Caller, Role, Scope, Who};
use super::claim::{self, Window};
use super::password::{self, HashError, Hasher, Weak};
use super::session::Session;
use super::state::State;
use super::store::{Stamp, Store};
use super::token::{Token, TokenError};
use crate::base::clock::Timestamp;

/// Whether the door can be opened, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is an owner.
    Claimed,
    /// There is none; it can be claimed for as long as this says.
    Unclaimed(Option<Duration>),
    /// Who the owner is cannot be read.
    Broken,
}

/// Why somebody was not let in, or something was not changed. The message is for whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Wrong password, or no such account.
    #[error("the password is wrong")]
    Wrong,
    /// Too many tries; the time is how long to wait.
    #[error("too many wrong passwords: try again in {} s", seconds(*.0))]
    TooOften(Duration),
    /// There is an owner already.
    #[error("this camera has an owner already: log in instead")]
    Claimed,
    /// There is no owner yet.
    #[error("this camera has no owner yet: claim it first")]
    Unclaimed,
    /// The time for claiming is over.
    #[error("the time for claiming is over: restart perch or press its button, or run `perch auth set-password`")]
    WindowClosed,
    /// Who wants to claim is not near.
    #[error("this camera can only be claimed from its own network")]
    TooFar,
    /// The password is not good enough.
    #[error(transparent)]
    Weak(#[from] Weak),
    /// The token cannot be made.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Not now.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The state cannot be read.
    #[error("who the owner is cannot be read; perch's log says why")]
    Broken,
    /// The state cannot be written.
    #[error("it could not be saved: {0}")]
    Unsaved(#[from] io::Error),
}

/// Whole seconds, rounded up.
#[must_use]
pub fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A session that has just begun.
pub struct Begun {
    /// The cookie's secret; kept nowhere.
    pub secret: String,
    /// Who it is.
    pub caller: Caller,
}

/// The door.
pub struct Door {
    store: Option<Store>,
    hasher: Hasher,
    inner: Mutex<Inner>,
}

struct Inner {
    state: State,
    stamp: Option<Stamp>,
    is_broken: bool,
    window: Window,
    attempts: Attempts,
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Door {
    /// With what is kept in `folder`; without a folder everything is forgotten at the end. A camera without an owner
    /// can be claimed for `claim_window` from now.
    #[must_use]
    pub fn new(folder: Option<&Path>, claim_window: Duration) -> Self {
        let window = Window::open(claim_window, Timestamp::now());
        let inner =
            Inner { state: State::default(), stamp: None, is_broken: false, window, attempts: Attempts::default() };
        let door = Self { store: folder.map(Store::new), hasher: Hasher::default(), inner: Mutex::new(inner) };
        if let Some(store) = &door.store {
            let mut inner = door.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.stamp = store.stamp();
            Self::load(store, &mut inner);
        }
        door
    }

    /// The file that everything is kept in.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.store.as_ref().map(Store::path)
    }

    /// The state, as new as the file.
    fn fresh(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &self.store {
            Self::refresh(store, &mut inner);
        }
        inner
    }

    fn refresh(store: &Store, inner: &mut Inner) {
        let stamp = store.stamp();
        // One that cannot be read is tried again: whoever mends it need not restart perch.
        if stamp != inner.stamp || inner.is_broken {
            let was_claimed = inner.state.is_claimed();
            inner.stamp = stamp;
            Self::load(store, inner);
            if was_claimed && !inner.is_broken && !inner.state.is_claimed() {
                // A reset is made by somebody who is at the machine.
                inner.window.reopen(Timestamp::now());
            }
        }
    }

    fn load(store: &Store, inner: &mut Inner) {
        match store.load() {
            Ok(state) => {
                inner.state = state;
                inner.is_broken = false;
            }
            Err(why) => {
                if !inner.is_broken {
                    log::error!("nobody is let in: {why}. `perch auth reset` begins anew");
                }
                inner.state = State::default();
                inner.is_broken = true;
            }
        }
    }

    /// Changes the state, on disk first.
    fn change<T>(
        &self,
        inner: &mut Inner,
        change: impl FnOnce(&mut State) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let lock = self.store.as_ref().map(Store::lock).transpose()?;
        if let Some(store) = &self.store {
            Self::refresh(store, inner);
        }
        if inner.is_broken {
            return Err(Refused::Broken);
        }
        let mut next = inner.state.clone();
        let changed = change(&mut next)?;
        if let Some(store) = &self.store {
            store.save(&next)?;
            inner.stamp = store.stamp();
        }
        drop(lock);
        inner.state = next;
        Ok(changed)
    }

    /// Whether there is an owner.
    pub fn standing(&self) -> Standing {
        let inner = self.fresh();
        match inner.is_broken {
            true => Standing::Broken,
            false if inner.state.is_claimed() => Standing::Claimed,
            false => Standing::Unclaimed(inner.window.left(Timestamp::now())),
        }
    }

    /// The accounts that have a password.
    pub fn accounts(&self) -> Vec<Role> {
        let inner = self.fresh();
        [Role::Owner, Role::Viewer].into_iter().filter(|role| inner.state.password(*role).is_some()).collect()
    }

    /// Somebody stands at the camera: a camera without an owner can be claimed again for a while.
    pub fn reopen_window(&self) {
        let mut inner = self.fresh();
        if !inner.state.is_claimed() {
            inner.window.reopen(Timestamp::now());
            log::info!("the camera has no owner and can be claimed again");
        }
    }

    /// Who shows this cookie or this token.
    pub fn who(&self, session: Option<&str>, token: Option<&str>) -> Option<Caller> {
        let mut inner = self.fresh();
        let (caller, is_news) = inner.state.who(session, token, unix_now())?;
        if is_news && let Some(store) = &self.store {
            // Being used is worth a write, but no refusal.
            let saved = store
                .lock()
                .and_then(|_lock| if store.stamp() == inner.stamp { store.save(&inner.state) } else { Ok(()) });
            match saved {
                Ok(()) => inner.stamp = store.stamp(),
                Err(error) => log::debug!("when {:?} was last used is not kept: {error}", caller.who),
            }
        }
        Some(caller)
    }

    /// Whether somebody who was let in would be still.
    pub fn knows(&self, who: &Who) -> bool {
        self.fresh().state.knows(who, unix_now())
    }

    /// Makes whoever asks the owner, and logs them in.
    ///
    /// # Errors
    /// When there is an owner, the window is closed, `from` is far, or the password is weak.
    pub fn claim(&self, password: &str, from: IpAddr, browser: &str) -> Result<Begun, Refused> {
        let may = |inner: &Inner| match inner.window.left(Timestamp::now()) {
            _ if inner.is_broken => Err(Refused::Broken),
            _ if inner.state.is_claimed() => Err(Refused::Claimed),
            None => Err(Refused::WindowClosed),
            Some(_) if !claim::is_near(from) => Err(Refused::TooFar),
            Some(_) => Ok(()),
        };
        may(&self.fresh())?;
        password::check(password)?;
        self.fresh().attempts.take(from, false, Timestamp::now()).map_err(Refused::TooOften)?;
        let hash = self.hasher.hash(password)?;
        let mut inner = self.fresh();
        // Somebody else may have been faster.
        may(&inner)?;
        let begun = self.change(&mut inner, |state| match state.is_claimed() {
            true => Err(Refused::Claimed),
            false => {
                state.set_password(Role::Owner, hash);
                Ok(begin(state, Role::Owner, from, browser))
            }
        })?;
        log::info!("{from} claimed this camera");
        Ok(begun)
    }

    /// Logs somebody in.
    ///
    /// # Errors
    /// When the password is wrong, was tried too often, or cannot be checked now.
    pub fn log_in(&self, role: Role, password: &str, from: IpAddr, browser: &str) -> Result<Begun, Refused> {
        let (hash, is_known) = {
            let mut inner = self.fresh();
            if inner.is_broken {
                return Err(Refused::Broken);
            }
            if !inner.state.is_claimed() {
                return Err(Refused::Unclaimed);
            }
            let is_known = inner.state.sessions.is_known(from, unix_now());
            inner.attempts.take(from, is_known, Timestamp::now()).map_err(Refused::TooOften)?;
            (inner.state.password(role).map(str::to_owned), is_known)
        };
        // An account that is not there takes no less time to be refused; then nothing tells which there are.
        let verified = match &hash {
            Some(hash) => self.hasher.verify(password, hash),
            None => self.hasher.hash("no such account").map(|_| false),
        };
        let mut inner = self.fresh();
        match verified {
            Ok(true) => {}
            Ok(false) => {
                log::warn!("{from} gave a wrong password for the {role}");
                return Err(Refused::Wrong);
            }
            Err(error) => {
                inner.attempts.give_back(from, is_known, Timestamp::now());
                return Err(error.into());
            }
        }
        inner.attempts.give_back(from, is_known, Timestamp::now());
        // The password may have changed while it was checked.
        let begun = self.change(&mut inner, |state| match state.password(role) == hash.as_deref() {
            true => Ok(begin(state, role, from, browser)),
            false => Err(Refused::Wrong),
        })?;
        log::info!("{from} logged in as the {role}");
        Ok(begun)
    }

    /// Sets an account's password; all its sessions end.
    ///
    /// # Errors
    /// When the password is weak, or cannot be saved.
    pub fn set_password(&self, role: Role, password: &str) -> Result<(), Refused> {
        password::check(password)?;
        let hash = self.hasher.hash(password)?;
        self.change(&mut self.fresh(), |state| {
            state.set_password(role, hash);
            Ok(())
        })
    }

    /// Takes the viewer's account away.
    ///
    /// # Errors
    /// When it cannot be saved.
    pub fn remove_viewer(&self) -> Result<(), Refused> {
        self.change(&mut self.fresh(), |state| {
            state.remove_account(Role::Viewer);
            Ok(())
        })
    }

    /// Everybody who is logged in.
    pub fn sessions(&self) -> Vec<Session> {
        self.fresh().state.sessions.iter(unix_now()).cloned().collect()
    }

    /// Ends a session; returns whether it was there.
    ///
    /// # Errors
    /// When it cannot be saved.
    pub fn end_session(&self, id: &str) -> Result<bool, Refused> {
        self.change(&mut self.fresh(), |state| Ok(state.sessions.end(id)))
    }

    /// All tokens.
    pub fn tokens(&self) -> Vec<Token> {
        self.fresh().state.tokens.iter().cloned().collect()
    }

    /// Makes a token; returns it, once, and its id.
    ///
    /// # Errors
    /// When the name cannot be used, there are too many, or it cannot be saved.
    pub fn add_token(&self, name: &str, scope: Scope) -> Result<(String, String), Refused> {
        self.change(&mut self.fresh(), |state| Ok(state.tokens.add(name, scope, unix_now())?))
    }

    /// Takes a token back; returns whether it was there.
    ///
    /// # Errors
    /// When it cannot be saved.
    pub fn revoke_token(&self, id: &str) -> Result<bool, Refused> {
        self.change(&mut self.fresh(), |state| Ok(state.tokens.revoke(id)))
    }

    /// Forgets owner, viewer, sessions and tokens, also when they cannot be read.
    ///
    /// # Errors
    /// When the files cannot be removed.
    pub fn reset(&self) -> Result<(), Refused> {
        let Some(store) = &self.store else { return Ok(()) };
        let lock = store.lock()?;
        store.clear()?;
        drop(lock);
        drop(self.fresh());
        Ok(())
    }
}

fn begin(state: &mut State, role: Role, from: IpAddr, browser: &str) -> Begun {
    let (secret, id) = state.sessions.begin(role, from, browser, unix_now());
    Begun { secret, caller: Caller { who: Who::Session { id, role }, scope: role.scope() } }
}

#[cfg(test)]
mod tests;
