//! The keys that values are encrypted with before they are kept: AES-256-GCM, bound to the project and the name that a value
//! belongs to, so that nobody who can write to the database can give one project another's value.
//!
//! The file of the keys has one a line, 32 bytes in base64 (`openssl rand -base64 32`). The first seals; the others only open what
//! they have sealed before. A key is named by its digest, so that it is known which one a value needs.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tombolo_core::id::ProjectId;
use tombolo_core::name::SecretName;
use tombolo_core::secret::SealedValue;

use crate::private_file;

/// How long a key is.
const KEY_BYTES: usize = 32;

/// The most keys of a file.
const KEYS_MAX: usize = 100;

/// How many bytes of a key's digest name it.
const ID_BYTES: usize = 8;

/// What a key's digest is made for, so that it tells nothing that another one would.
const ID_CONTEXT: &str = "tombolo 2026-07 name of a key that seals secrets";

/// Why keys cannot be used, or a value not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of the keys.
    #[error(transparent)]
    File(#[from] private_file::Error),
    /// The file holds something else.
    #[error(
        "`{}`, line {line}: not a key for secrets, which is 32 bytes in base64; one is made by `openssl rand -base64 32`",
        path.display()
    )]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// The file holds nothing, or too much.
    #[error("`{}` has {count} keys for secrets; 1 to {KEYS_MAX} are allowed", path.display())]
    Count {
        /// Which file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The key is not there.
    #[error("the key `{0}` for secrets is not there")]
    UnknownKey(String),
    /// It was sealed for another secret, or was changed since.
    #[error("the value of the secret `{0}` cannot be opened: what is kept of it was damaged, or is not its own")]
    Damaged(SecretName),
    /// The cryptographic library failed.
    #[error("a value cannot be encrypted")]
    Seal,
}

struct Key {
    id: String,
    key: LessSafeKey,
}

/// The keys that values are sealed with. They are shown to nobody.
pub struct Keys {
    /// The first one seals. Never empty.
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.ids()).finish()
    }
}

impl Keys {
    /// Reads the keys from a file; none if there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = private_file::read(path)?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let mut keys = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let invalid = || Error::Invalid {
                path: path.to_owned(),
                line,
            };
            let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| invalid())?);
            let bytes: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(bytes.as_slice().try_into().map_err(|_| invalid())?);
            keys.push(Key::new(&bytes)?);
        }
        if (1..=KEYS_MAX).contains(&keys.len()) {
            return Ok(Some(Self { keys }));
        }
        Err(Error::Count {
            path: path.to_owned(),
            count: keys.len(),
        })
    }

    /// Makes a key and writes it into a new file (0600).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn create(path: &Path) -> Result<Self, Error> {
        let bytes = Zeroizing::new(rand::random::<[u8; KEY_BYTES]>());
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*bytes)));
        private_file::write(path, text.as_bytes())?;
        Ok(Self {
            keys: vec![Key::new(&bytes)?],
        })
    }

    /// The names of the keys, of the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Encrypts the value of a secret.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn seal(&self, project: ProjectId, name: &SecretName, value: &SecretString) -> Result<SealedValue, Error> {
        let Key { id, key } = self.keys.first().ok_or(Error::Seal)?;
        let nonce = rand::random::<[u8; NONCE_LEN]>();
        let mut bytes = Vec::with_capacity(NONCE_LEN + value.expose_secret().len() + AES_256_GCM.tag_len());
        bytes.extend_from_slice(&nonce);
        let mut content = value.expose_secret().as_bytes().to_vec();
        let sealed = key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(binding(project, name)),
            &mut content,
        );
        sealed.map_err(|_| Error::Seal)?;
        bytes.extend_from_slice(&content);
        Ok(SealedValue { key: id.clone(), bytes })
    }

    /// Decrypts the value of a secret.
    ///
    /// # Errors
    /// [`Error::UnknownKey`]; [`Error::Damaged`].
    pub fn open(&self, project: ProjectId, name: &SecretName, sealed: &SealedValue) -> Result<SecretString, Error> {
        let key = self.keys.iter().find(|key| key.id == sealed.key);
        let key = key.ok_or_else(|| Error::UnknownKey(sealed.key.clone()))?;
        let damaged = || Error::Damaged(name.clone());
        let (nonce, content) = sealed.bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut content = Zeroizing::new(content.to_vec());
        let opened = key.key.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(binding(project, name)),
            &mut content,
        );
        let opened = opened.map_err(|_| damaged())?;
        let text = std::str::from_utf8(opened).map_err(|_| damaged())?;
        Ok(SecretString::from(text))
    }
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Result<Self, Error> {
        let digest = blake3::derive_key(ID_CONTEXT, bytes);
        let id = digest[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| Error::Seal)?;
        Ok(Self {
            id,
            key: LessSafeKey::new(key),
        })
    }
}

/// What a value is bound to.
fn binding(project: ProjectId, name: &SecretName) -> Vec<u8> {
    let mut binding = project.uuid().as_bytes().to_vec();
    binding.extend_from_slice(name.as_str().as_bytes());
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(folder: &Path, name: &str) -> Keys {
        Keys::create(&folder.join(name)).unwrap()
    }

    #[test]
    fn values_come_back_for_the_secret_that_they_were_sealed_for_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path(), "keys");
        let (home, other) = (ProjectId::from_u128(1), ProjectId::from_u128(2));
        let (name, alike) = (SecretName::new("A").unwrap(), SecretName::new("B").unwrap());
        let value = SecretString::from("hunter2 ä\n");
        let sealed = keys.seal(home, &name, &value).unwrap();
        assert!(!sealed.bytes.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(sealed, keys.seal(home, &name, &value).unwrap(), "each time anew");
        assert_eq!(keys.open(home, &name, &sealed).unwrap().expose_secret(), "hunter2 ä\n");
        for (project, name) in [(other, &name), (home, &alike)] {
            assert!(matches!(keys.open(project, name, &sealed), Err(Error::Damaged(_))));
        }
        for place in 0..sealed.bytes.len() {
            let mut damaged = sealed.clone();
            damaged.bytes[place] ^= 1;
            assert!(keys.open(home, &name, &damaged).is_err(), "byte {place}");
        }
        for length in 0..sealed.bytes.len() {
            let mut cut = sealed.clone();
            cut.bytes.truncate(length);
            assert!(keys.open(home, &name, &cut).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn earlier_keys_open_what_they_have_sealed_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (project, name) = (ProjectId::from_u128(1), SecretName::new("A").unwrap());
        let old = keys(folder.path(), "old");
        let sealed = old.seal(project, &name, &SecretString::from("value")).unwrap();
        let new = keys(folder.path(), "new");
        let error = new.open(project, &name, &sealed).unwrap_err().to_string();
        assert!(error.contains(&sealed.key), "{error}");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let both = format!("# the present one\n{}\n{}", read("new"), read("old"));
        std::fs::write(folder.path().join("both"), both).unwrap();
        let both = Keys::load(&folder.path().join("both")).unwrap().unwrap();
        assert_eq!(both.ids().collect::<Vec<_>>(), [new.ids().next().unwrap(), &sealed.key]);
        assert_eq!(both.open(project, &name, &sealed).unwrap().expose_secret(), "value");
        assert_eq!(
            both.seal(project, &name, &SecretString::from("x")).unwrap().key,
            new.ids().next().unwrap()
        );
    }

    #[test]
    fn files_without_keys_are_refused_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert!(Keys::load(&path).unwrap().is_none());
        for (text, words) in [
            ("", "0 keys"),
            ("short", "line 1"),
            ("\n\nAAAA\n", "line 3"),
            ("-----BEGIN PRIVATE KEY-----", "openssl rand -base64 32"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Keys::load(&path).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("keys"), "{error}");
            assert!(!error.contains("AAAA"), "{error}");
        }
    }
}
