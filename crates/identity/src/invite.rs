//! The text that lets a cluster join, once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde::{Deserialize, Serialize};
use tombolo_core::digest::Digest;
use tombolo_core::name::ClusterName;

use crate::member::TrustDomain;

/// The version of the text form.
const PREFIX: &str = "tmb1.";
/// Random bytes of an invite.
pub const SECRET_BYTES: usize = 32;
/// The longest text that is read.
const MAX_TEXT_BYTES: usize = 4096;
/// The most addresses of a master.
const MAX_ADDRESSES: usize = 8;
/// Bytes of the check sum at the end (BLAKE3, cut): tells a text that was cut off or mistyped from a wrong one.
const CHECKSUM_BYTES: usize = 4;

/// A text that is not an invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin like one.
    #[error("this is not an invite: an invite begins with `{PREFIX}` (`tombolo cluster invite NAME` makes one)")]
    Prefix,
    /// It is from another version.
    #[error(
        "this invite has format `{0}`, which this version of tombolo does not know: make one with a master of the same version"
    )]
    Version(String),
    /// It is too long.
    #[error("the invite is longer than {MAX_TEXT_BYTES} bytes")]
    TooLong,
    /// A character that cannot occur.
    #[error("the invite is damaged: it has a character that no invite has; copy it again, whole")]
    Encoding,
    /// The check sum is wrong.
    #[error("the invite is damaged or cut off: its check sum is wrong; copy it again, whole")]
    Checksum,
    /// What it says cannot be.
    #[error("the invite is invalid: {0}")]
    Content(String),
}

/// What an invite says.
#[derive(Debug, Clone)]
pub struct Invite {
    /// Where the master is reached: `host:port`, in the order to try.
    pub addresses: Vec<String>,
    /// The trust domain of the master.
    pub domain: TrustDomain,
    /// The SHA-256 of the public key of the master's CA ([`crate::trust::pin`]).
    pub pin: String,
    /// The secret that the master takes once.
    pub secret: SecretSlice<u8>,
    /// The name that the cluster will have.
    pub cluster: ClusterName,
}

#[derive(Serialize, Deserialize)]
struct Content {
    a: Vec<String>,
    d: String,
    p: String,
    s: String,
    c: ClusterName,
}

impl Invite {
    /// A new invite with a fresh secret of 32 random bytes.
    pub fn generate(
        addresses: Vec<String>,
        domain: TrustDomain,
        pin: String,
        cluster: ClusterName,
    ) -> Result<Self, Error> {
        let secret = SecretSlice::from(rand::random::<[u8; SECRET_BYTES]>().to_vec());
        let invite = Self {
            addresses,
            domain,
            pin,
            secret,
            cluster,
        };
        invite.check()?;
        Ok(invite)
    }

    /// The digest of the secret, which is all that the master keeps.
    pub fn secret_digest(&self) -> Digest {
        secret_digest(self.secret.expose_secret())
    }

    /// The text form: `tmb1.` and base64.
    pub fn to_text(&self) -> SecretString {
        let content = Content {
            a: self.addresses.clone(),
            d: self.domain.as_str().to_owned(),
            p: self.pin.clone(),
            s: URL_SAFE_NO_PAD.encode(self.secret.expose_secret()),
            c: self.cluster.clone(),
        };
        let mut bytes = serde_json::to_vec(&content).expect("texts are always JSON");
        bytes.extend_from_slice(&checksum(&bytes));
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
        bytes.zeroize();
        SecretString::from(text)
    }

    /// Reads the text form. White space around it is ignored.
    pub fn parse(text: &SecretString) -> Result<Self, Error> {
        let text = text.expose_secret().trim();
        if text.len() > MAX_TEXT_BYTES {
            return Err(Error::TooLong);
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(match text.split_once('.') {
                Some((version, _)) if version.starts_with("tmb") && version.len() < 10 => {
                    Error::Version(version.to_owned())
                }
                _ => Error::Prefix,
            });
        };
        // A length that no encoding has is a text that was cut off, not a wrong character.
        let mut bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|error| match error {
            base64::DecodeError::InvalidByte(..) => Error::Encoding,
            _ => Error::Checksum,
        })?;
        let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(Error::Checksum)?;
        let (content, sum) = bytes.split_at(split);
        if checksum(content) != sum {
            return Err(Error::Checksum);
        }
        let content: Content = serde_json::from_slice(content).map_err(|error| Error::Content(error.to_string()))?;
        bytes.zeroize();
        let domain = TrustDomain::new(&content.d).map_err(|error| Error::Content(error.to_string()))?;
        let wrong_secret = || Error::Content(format!("its secret does not have {SECRET_BYTES} bytes"));
        let secret = URL_SAFE_NO_PAD
            .decode(&content.s)
            .ok()
            .filter(|secret| secret.len() == SECRET_BYTES);
        let secret = SecretSlice::from(secret.ok_or_else(wrong_secret)?);
        let invite = Self {
            addresses: content.a,
            domain,
            pin: content.p,
            secret,
            cluster: content.c,
        };
        invite.check()?;
        Ok(invite)
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Content(reason.to_owned()));
        if self.addresses.is_empty() || self.addresses.len() > MAX_ADDRESSES {
            return refuse("it names no address of the master, or too many");
        }
        for address in &self.addresses {
            if let Err(error) = crate::transport::Address::parse(address) {
                return Err(Error::Content(error.to_string()));
            }
        }
        if self.pin.len() != 64 || !self.pin.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return refuse("its pin is not 64 lower-case hexadecimal digits");
        }
        Ok(())
    }
}

/// The digest of an invite's secret as it is shown at joining ([`tombolo_core::control::record::Invite::secret`]).
pub fn secret_digest(secret: &[u8]) -> Digest {
    Digest::new(*blake3::hash(secret).as_bytes())
}

fn checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = blake3::hash(content);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&digest.as_bytes()[..CHECKSUM_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        let cluster = ClusterName::new("east").unwrap();
        let addresses = vec!["127.0.0.1:7443".to_owned(), "master.example:7443".to_owned()];
        Invite::generate(addresses, TrustDomain::default(), "ab".repeat(32), cluster).unwrap()
    }

    #[test]
    fn round_trip() {
        let invite = invite();
        let read = Invite::parse(&SecretString::from(format!(" {}\n", invite.to_text().expose_secret()))).unwrap();
        assert_eq!(read.secret_digest(), invite.secret_digest());
        assert_eq!(
            (read.addresses, read.cluster, read.pin),
            (invite.addresses, invite.cluster, invite.pin)
        );
    }

    #[test]
    fn every_cut_and_every_changed_character_is_found() {
        let text = invite().to_text();
        let text = text.expose_secret();
        for length in 0..text.len() {
            let cut = Invite::parse(&SecretString::from(&text[..length]));
            assert!(
                matches!(cut, Err(Error::Prefix | Error::Checksum)),
                "cut at {length}: {cut:?}"
            );
        }
        for index in PREFIX.len()..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                Invite::parse(&SecretString::from(changed)).is_err(),
                "changed at {index}"
            );
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let made = |content: serde_json::Value| {
            let mut bytes = serde_json::to_vec(&content).unwrap();
            bytes.extend_from_slice(&checksum(&bytes));
            format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes))
        };
        let content = |address: &str, pin: &str, secret: &str, cluster: &str| {
            made(serde_json::json!({"a": [address], "d": "a.b", "p": pin, "s": secret, "c": cluster}))
        };
        let (address, pin, secret) = ("h:1", "0".repeat(64), "A".repeat(43));
        assert!(Invite::parse(&SecretString::from(content(address, &pin, &secret, "east"))).is_ok());
        for (text, expected) in [
            ("hello".to_owned(), "not an invite"),
            ("tmb2.AAAA".to_owned(), "tmb2"),
            ("tmb1.!!!!".to_owned(), "character"),
            ("x".repeat(5000), "longer"),
            (content("no-port", &pin, &secret, "east"), "no-port"),
            (content(address, "00", &secret, "east"), "pin"),
            (content(address, &pin, "short", "east"), "secret"),
            (content(address, &pin, &secret, "East"), "East"),
            (made(serde_json::json!({"a": []})), "missing"),
        ] {
            let error = Invite::parse(&SecretString::from(text.clone()))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
