//! Passwords: which are good enough, and how they are kept.
//!
//! argon2id with 19 MiB, two passes, one lane (docs/decisions/0007); each hash carries its own parameters and salt (the PHC
//! string format), so that they can be raised later. One run at a time and few that wait: memory stays bounded, and
//! most of the threads that answer requests stay free whoever knocks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};

/// Memory of one run, in KiB.
const MEMORY_KIB: u32 = 19 << 10;
/// Passes over that memory.
const PASSES: u32 = 2;
/// Fewest characters.
pub const SHORTEST: usize = 10;
/// Most bytes: more would only be work for nothing.
pub const LONGEST: usize = 256;
/// Runs that are going on or wait for their turn.
const MOST_RUNS: usize = 3;

/// The commonest passwords that are long enough otherwise, one a line, in lower case.
static COMMONEST: &str = include_str!("common_passwords.txt");

/// Why a password is not taken. The message is for whoever chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    /// Too short.
    #[error("the password is too short: it needs at least {SHORTEST} characters; a few words in a row are fine")]
    Short,
    /// Too long.
    #[error("the password is too long: at most {LONGEST} bytes")]
    Long,
    /// Everybody tries it.
    #[error("the password is one of those that are tried first: choose another")]
    Common,
    /// Holds characters that cannot be typed again, such as line breaks.
    #[error("the password holds a character that cannot be typed")]
    Unprintable,
}

/// Checks a new password.
///
/// # Errors
/// When it is too short, too long, or easily guessed.
pub fn check(password: &str) -> Result<(), Weak> {
    if password.len() > LONGEST {
        return Err(Weak::Long);
    }
    if password.chars().any(char::is_control) {
        return Err(Weak::Unprintable);
    }
    if password.chars().count() < SHORTEST {
        return Err(Weak::Short);
    }
    let lower = password.to_lowercase();
    let listed = COMMONEST.lines().any(|common| common == lower);
    if listed || is_repetition(&lower) || is_row(&lower) { Err(Weak::Common) } else { Ok(()) }
}

/// Whether it is one short piece again and again, as in `aaaaaaaaaa` or `perchperch`.
fn is_repetition(text: &str) -> bool {
    let all: Vec<char> = text.chars().collect();
    (1..=all.len() / 2).any(|length| all.iter().zip(all.iter().skip(length)).all(|(one, next)| one == next))
}

/// Whether each character follows the one before it, as in `abcdefghij` or `9876543210`.
fn is_row(text: &str) -> bool {
    let all: Vec<u32> = text.chars().map(u32::from).collect();
    let steps =
        |step: i64| all.iter().zip(all.iter().skip(1)).all(|(one, next)| i64::from(*next) - i64::from(*one) == step);
    steps(1) || steps(-1) || ["01234567890", "09876543210", "12345678901"].iter().any(|row| row.contains(text))
}

/// The run could not be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Enough others are being checked.
    #[error("other passwords are being checked: try again in a moment")]
    Busy,
    /// The machine has not enough memory.
    #[error("the password could not be hashed: is there enough memory?")]
    Failed,
}

/// Runs argon2, one at a time.
#[derive(Debug, Default)]
pub struct Hasher {
    runs: AtomicUsize,
    turn: Mutex<()>,
}

/// A place in the queue; given back when dropped.
struct Run<'a>(&'a AtomicUsize);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Hasher {
    fn in_turn<T>(&self, run: impl FnOnce() -> T) -> Result<T, HashError> {
        let more = |runs: usize| (runs < MOST_RUNS).then_some(runs + 1);
        self.runs.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).map_err(|_| HashError::Busy)?;
        let _run = Run(&self.runs);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(run())
    }

    /// What is kept of a password.
    ///
    /// # Errors
    /// When too many runs wait, or memory is short.
    pub fn hash(&self, password: &str) -> Result<String, HashError> {
        let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|_| HashError::Failed)?;
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|_| HashError::Failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hashed = self.in_turn(|| argon2.hash_password(password.as_bytes(), &salt).map(|hash| hash.to_string()))?;
        hashed.map_err(|_| HashError::Failed)
    }

    /// Whether `password` is the one that `hash` was made of. The comparison takes the same time wherever they differ.
    ///
    /// # Errors
    /// When too many runs wait.
    pub fn verify(&self, password: &str, hash: &str) -> Result<bool, HashError> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let Ok(hash) = PasswordHash::new(hash) else { return Ok(false) };
        self.in_turn(|| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_in_words() {
        for (password, why) in [
            ("", Weak::Short),
            ("ninechars", Weak::Short),
            ("äöüäöüäöü", Weak::Short),
            ("1234567890", Weak::Common),
            ("0987654321", Weak::Common),
            ("Password123", Weak::Common),
            ("QWERTYUIOP", Weak::Common),
            ("aaaaaaaaaaaa", Weak::Common),
            ("perchperch", Weak::Common),
            ("abcdefghijkl", Weak::Common),
            ("line\nbreak ten", Weak::Unprintable),
        ] {
            assert_eq!(check(password), Err(why), "{password:?}");
        }
        assert_eq!(check(&"long enough ".repeat(30)), Err(Weak::Long));
        assert_eq!(check("a heron at dusk"), Ok(()));
        assert!(Weak::Short.to_string().contains("at least 10"));
    }

    #[test]
    fn every_listed_password_is_long_enough_to_need_its_line() {
        for common in COMMONEST.lines() {
            assert!(common.chars().count() >= SHORTEST && common == common.to_lowercase(), "{common}");
            assert_eq!(check(common), Err(Weak::Common), "{common}");
        }
    }

    #[test]
    fn a_password_is_kept_as_argon2id_and_verified() {
        let hasher = Hasher::default();
        let hash = hasher.hash("a heron at dusk").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(!hash.contains("heron"));
        assert_ne!(hasher.hash("a heron at dusk").unwrap(), hash, "each hash has a salt of its own");
        assert_eq!(hasher.verify("a heron at dusk", &hash), Ok(true));
        assert_eq!(hasher.verify("a heron at dawn", &hash), Ok(false));
        assert_eq!(hasher.verify("a heron at dusk", "no hash"), Ok(false));
    }

    #[test]
    fn one_runs_two_wait_and_no_more() {
        let hasher = Hasher::default();
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (end, may_end) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(|| hasher.in_turn(move || (begun.send(()), may_end.recv())));
            has_begun.recv().unwrap();
            let waiting = [(); 2].map(|()| scope.spawn(|| hasher.in_turn(|| ())));
            while hasher.runs.load(Ordering::Acquire) < MOST_RUNS {
                std::thread::yield_now();
            }
            assert_eq!(hasher.in_turn(|| ()), Err(HashError::Busy));
            end.send(()).unwrap();
            assert!(waiting.map(|run| run.join().unwrap()).iter().all(Result::is_ok));
        });
        assert_eq!(hasher.in_turn(|| ()), Ok(()));
    }
}
