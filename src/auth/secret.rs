//! Random secrets and what is kept of them.

use ring::digest;
use subtle::ConstantTimeEq as _;

/// A new secret: 256 bits from the thread's generator, which the system seeds, as 64 hex digits.
pub fn new() -> String {
    hex(&rand::random::<[u8; 32]>())
}

/// A new name for something that is no secret: 64 bits as 16 hex digits.
pub fn new_id() -> String {
    hex(&rand::random::<[u8; 8]>())
}

/// What is kept of a secret: its SHA-256 as hex. Enough without salt or stretching, because 256 random bits cannot be
/// guessed; a password could, and is `password`'s.
pub fn digest(secret: &str) -> String {
    hex(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref())
}

/// Whether two digests are equal, in a time that does not tell where they differ.
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_long_and_never_the_same() {
        let (one, other) = (new(), new());
        assert!(one.len() == 64 && one != other && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn the_digest_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(same(&digest("a"), &digest("a")) && !same(&digest("a"), &digest("b")) && !same("", "a"));
    }
}
