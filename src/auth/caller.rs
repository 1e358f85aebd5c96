//! Who asks, and how much they may do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much somebody may do; each includes what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Watch, take snapshots, read how perch is doing.
    View,
    /// Also steer: camera controls, closing other people's sessions.
    Control,
    /// Also decide who may.
    Admin,
}

/// The two accounts that have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May everything.
    Owner,
    /// May watch.
    Viewer,
}

impl Role {
    /// What the account may do.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Owner => Scope::Admin,
            Self::Viewer => Scope::View,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Viewer => "viewer",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::Control => "control",
            Self::Admin => "admin",
        })
    }
}

/// How a caller is known. The ids are public names, not secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// Nobody has been asked who it is.
    #[default]
    Anyone,
    /// Logged in with a password: the session of that id.
    Session {
        /// The session's id.
        id: String,
        /// The account.
        role: Role,
    },
    /// Has a token: the one of that id.
    Token {
        /// The token's id.
        id: String,
    },
}

/// Somebody who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// How they are known.
    pub who: Who,
    /// What they may do.
    pub scope: Scope,
}

impl Caller {
    /// Whoever asks where nothing is locked.
    pub const ANYONE: Self = Self { who: Who::Anyone, scope: Scope::Admin };

    /// Whether they may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scope >= scope
    }
}

impl Default for Caller {
    /// Somebody unknown, who may no more than watch.
    fn default() -> Self {
        Self { who: Who::Anyone, scope: Scope::View }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_may_everything_and_a_viewer_only_watch() {
        let caller = |role: Role| Caller { who: Who::Session { id: String::new(), role }, scope: role.scope() };
        for scope in [Scope::View, Scope::Control, Scope::Admin] {
            assert!(caller(Role::Owner).may(scope));
            assert_eq!(caller(Role::Viewer).may(scope), scope == Scope::View);
        }
    }

    #[test]
    fn control_is_more_than_view_and_less_than_admin() {
        let caller = Caller { who: Who::Anyone, scope: Scope::Control };
        assert!(caller.may(Scope::View) && caller.may(Scope::Control) && !caller.may(Scope::Admin));
    }
}
