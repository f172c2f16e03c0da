//! Users' access tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};
use tombolo_core::digest::Digest;

/// What every token begins with, so that scanners for leaked secrets find it.
pub const PREFIX: &str = "tombolo_";
/// Random bytes of a token.
const SECRET_BYTES: usize = 32;
/// Length of [`SECRET_BYTES`] in base64 without padding.
const ENCODED_BYTES: usize = (SECRET_BYTES * 4).div_ceil(3);

/// A text that cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is `{PREFIX}` followed by {ENCODED_BYTES} letters, digits, `-` or `_`")]
pub struct Malformed;

/// A new token from 32 random bytes. It is shown once; only its digest is kept.
pub fn generate() -> SecretString {
    let mut secret = rand::random::<[u8; SECRET_BYTES]>();
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    secret.zeroize();
    SecretString::from(text)
}

/// The digest under which a token is kept and looked up (BLAKE3 of its text; 256 random bits need no slow hash). A lookup by
/// digest tells a guesser nothing by its timing.
pub fn digest(token: &SecretString) -> Result<Digest, Malformed> {
    let text = token.expose_secret();
    let secret = text.strip_prefix(PREFIX).ok_or(Malformed)?;
    let valid = secret.len() == ENCODED_BYTES
        && secret
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if valid {
        Ok(Digest::new(*blake3::hash(text.as_bytes()).as_bytes()))
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_well_formed() {
        let (one, two) = (generate(), generate());
        assert_ne!(digest(&one).unwrap(), digest(&two).unwrap());
        assert_eq!(digest(&one), digest(&one.clone()));
        assert!(!format!("{one:?}").contains(PREFIX));
    }

    #[test]
    fn malformed() {
        let good = generate();
        let good = good.expose_secret();
        for text in [
            "",
            PREFIX,
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}x"),
            &good.replace('_', " "),
        ] {
            assert_eq!(digest(&SecretString::from(text)), Err(Malformed), "{text}");
        }
    }
}
