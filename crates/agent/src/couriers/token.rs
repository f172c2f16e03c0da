//! Tokens that name one attempt and are signed by the agent: nothing has to be kept to know them again.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;
use tombolo_core::id::AttemptId;

/// As long as the digest that it keys.
const KEY_BYTES: usize = 32;

/// Signs tokens (HMAC-SHA-256, RFC 2104).
pub(super) struct Key(hmac::Key);

impl Key {
    /// Reads the key, or makes one that only the agent's own user can read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        if !path.exists() {
            make(path).map_err(named)?;
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes))
            .map_err(named)?;
        if bytes.len() != KEY_BYTES {
            let reason = format!("{} is not a key of {KEY_BYTES} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    pub(super) fn token(&self, attempt: AttemptId) -> SecretString {
        let name = attempt.to_string();
        let signature = hmac::sign(&self.0, name.as_bytes());
        format!("{name}.{}", URL_SAFE_NO_PAD.encode(signature)).into()
    }

    /// The attempt that a token of this key is for.
    pub(super) fn check(&self, token: &str) -> Option<AttemptId> {
        let (name, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.0, name.as_bytes(), &signature).ok()?;
        name.parse().ok()
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use tombolo_core::id::{Epoch, JobId};

    use super::*;

    #[test]
    fn a_token_is_good_for_its_attempt_and_its_agent_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open(&folder.path().join("a")).unwrap();
        let other = Key::open(&folder.path().join("b")).unwrap();
        let attempt = AttemptId {
            job: JobId::from_u128(7),
            epoch: Epoch(3),
        };
        let token = key.token(attempt);
        let token = token.expose_secret();
        assert_eq!(Key::open(&folder.path().join("a")).unwrap().check(token), Some(attempt));
        assert_eq!(other.check(token), None);
        let forged = token.replacen(&attempt.to_string(), &attempt.to_string().replace('3', "4"), 1);
        assert_ne!(forged, token);
        for wrong in [forged.as_str(), "", ".", "a.b", &token[1..], &token[..token.len() - 1]] {
            assert_eq!(key.check(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_broken_key_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("courier.key");
        std::fs::write(&path, "short").unwrap();
        let error = Key::open(&path).err().unwrap();
        assert!(error.to_string().contains("courier.key"), "{error}");
    }
}
