//! Tokens: what programs show instead of a password, such as recorders and scripts.

use serde::{Deserialize, Serialize};

use super::caller::Scope;
use super::secret;

/// How every token begins, so that it is known for one when it turns up where it should not.
const PREFIX: &str = "perch_";
/// Most tokens.
pub const MOST: usize = 64;
/// Most characters of a name.
const NAME_LENGTH: usize = 64;

/// One token. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name for perch, no secret.
    pub id: String,
    /// SHA-256 of the token.
    digest: String,
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was made.
    pub created: u64,
    /// When it was last used, if ever; kept to the hour.
    #[serde(default)]
    pub last_used: Option<u64>,
}

/// Why there is no new token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The name cannot be used.
    #[error("a token needs a name of 1 to {NAME_LENGTH} characters, so that it can be told from the others")]
    Name,
    /// There are enough.
    #[error("there are {MOST} tokens: revoke one first")]
    Full,
}

/// All tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Makes one; returns the token, which is kept nowhere, and its id.
    ///
    /// # Errors
    /// When the name is empty or long, or there are [`MOST`].
    pub fn add(&mut self, name: &str, scope: Scope, now: u64) -> Result<(String, String), TokenError> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > NAME_LENGTH || name.chars().any(char::is_control) {
            return Err(TokenError::Name);
        }
        if self.0.len() >= MOST {
            return Err(TokenError::Full);
        }
        let (token, id) = (format!("{PREFIX}{}", secret::new()), secret::new_id());
        let digest = secret::digest(&token);
        self.0.push(Token { id: id.clone(), digest, name: name.into(), scope, created: now, last_used: None });
        Ok((token, id))
    }

    /// The one that was shown.
    pub fn find(&mut self, token: &str) -> Option<&mut Token> {
        let digest = secret::digest(token);
        self.0.iter_mut().find(|known| secret::same(&known.digest, &digest))
    }

    /// Whether there is one of that id.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|token| token.id == id)
    }

    /// Takes one back; returns whether it was there.
    pub fn revoke(&mut self, id: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|token| token.id != id);
        self.0.len() < before
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_known_and_it_is_not_kept() {
        let mut tokens = Tokens::default();
        let (token, id) = tokens.add(" recorder ", Scope::View, 7).unwrap();
        let found = tokens.find(&token).unwrap();
        assert_eq!(
            (&*found.id, &*found.name, found.scope, found.created, found.last_used),
            (&*id, "recorder", Scope::View, 7, None)
        );
        for other in [id.as_str(), "", "perch_", &token[..token.len() - 1]] {
            assert!(tokens.find(other).is_none(), "{other}");
        }
        assert!(!serde_json::to_string(&tokens).unwrap().contains(&token));
        assert!(tokens.revoke(&id) && tokens.find(&token).is_none() && !tokens.revoke(&id));
    }

    #[test]
    fn tokens_have_names_and_are_bounded() {
        let mut tokens = Tokens::default();
        for name in ["", "  ", "a\nb", &"x".repeat(65)] {
            assert_eq!(tokens.add(name, Scope::View, 0), Err(TokenError::Name), "{name:?}");
        }
        for _ in 0..MOST {
            tokens.add("x", Scope::Admin, 0).unwrap();
        }
        assert_eq!(tokens.add("x", Scope::Admin, 0), Err(TokenError::Full));
    }
}
