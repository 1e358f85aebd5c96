//! `perch auth`: the lock, from the machine itself. Works beside a running perch, which notices at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::caller::{Role, Scope};
use super::door::{Door, Refused};
use super::terminal;
use crate::base::logging;
use crate::platform::state_dir::TLS_FILE;

/// `perch auth`.
#[derive(Clone, Debug, Args)]
pub struct AuthArgs {
    /// Folder that perch keeps its state in, such as /var/lib/perch; the one perch itself would use here otherwise
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: AuthCommand,
}

/// What to do with the lock.
#[derive(Clone, Debug, Subcommand)]
pub enum AuthCommand {
    /// Set the owner's or the viewer's password, read from the terminal or standard input; ends that account's sessions
    SetPassword {
        /// Whose password
        #[arg(value_enum, default_value = "owner")]
        role: Role,
    },
    /// Forget passwords, sessions, tokens and perch's own certificate authority: the camera has no owner then and can be
    /// claimed
    Reset,
    /// Tokens, for recorders and scripts
    #[command(subcommand)]
    Token(TokenCommand),
}

/// What to do with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, this once
    Add {
        /// What to call it
        name: String,
        /// What it may do: view, control or admin
        #[arg(long, value_enum, default_value = "view")]
        scope: Scope,
    },
    /// List tokens: id, scope, when made and last used, name
    List,
    /// Take a token back
    Revoke {
        /// Its id, as `list` shows it
        id: String,
    },
}

/// Why a command failed, in words.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no folder for state.
    #[error("there is no folder to keep it in: name one with --state-dir")]
    NoFolder,
    /// No such token.
    #[error("there is no token {0}: `perch auth token list` shows them")]
    NoToken(String),
    /// The password could not be read.
    #[error("{0}")]
    Input(#[from] std::io::Error),
    /// The door refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Does it; returns what to print. `folder` is perch's own, unless the flag names another.
///
/// # Errors
/// When the state cannot be read or written, or what was given cannot be used.
pub fn run(args: &AuthArgs, folder: Option<PathBuf>) -> Result<String, CommandError> {
    let folder = args.state_dir.clone().or(folder).ok_or(CommandError::NoFolder)?;
    let door = Door::new(Some(&folder), Duration::ZERO);
    match &args.command {
        AuthCommand::SetPassword { role } => {
            door.set_password(*role, &terminal::new_password(&role.to_string())?)?;
            Ok(format!("the {role}'s password is set, in {}", shown(&door, &folder)))
        }
        AuthCommand::Reset => {
            door.reset()?;
            // Whoever had it may have installed its root, and the next owner must not have the key to that.
            match std::fs::remove_file(folder.join(TLS_FILE)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            Ok(format!("passwords, sessions and tokens are forgotten: {}", shown(&door, &folder)))
        }
        AuthCommand::Token(TokenCommand::Add { name, scope }) => Ok(door.add_token(name, *scope)?.0),
        AuthCommand::Token(TokenCommand::List) => {
            let time = |at: u64| logging::utc_seconds(at);
            let lines = door.tokens().into_iter().map(|token| {
                let used = token.last_used.map_or_else(|| "never used          ".to_owned(), time);
                format!(
                    "{}  {:<7}  {}  {used}  {}\n",
                    token.id,
                    token.scope.to_string(),
                    time(token.created),
                    token.name
                )
            });
            Ok(lines.collect())
        }
        AuthCommand::Token(TokenCommand::Revoke { id }) => match door.revoke_token(id)? {
            true => Ok(format!("token {id} is revoked")),
            false => Err(CommandError::NoToken(id.clone())),
        },
    }
}

fn shown(door: &Door, folder: &Path) -> String {
    door.path().unwrap_or_else(|| folder.to_owned()).display().to_string()
}
