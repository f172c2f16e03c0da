//! Which state of an authority a certificate is of.

use std::fmt;

use rustls_pki_types::CertificateDer;
use tombolo_core::digest::Digest;
use tombolo_core::time::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::trust::Trust;

/// What precedes the digest in the organizational unit of a certificate's subject.
const PREFIX: &str = "edition:";
/// Bytes of the digest that are kept: nobody gains by finding another state with the same ones.
const BYTES: usize = 16;

/// A digest of who signs and whom members are to believe. Whoever has a certificate of an edition was given that trust with it. It says
/// nothing of who a member is and gives no right: it is compared, to see whether a certificate and the trust beside it are of today.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edition([u8; BYTES]);

impl Edition {
    /// That of an authority which signs by `root`, with members that are to believe `trust`.
    pub(crate) fn of(root: &CertificateDer<'_>, trust: &Trust) -> Self {
        let mut roots: Vec<&[u8]> = trust.roots().iter().map(AsRef::as_ref).collect();
        roots.sort_unstable();
        let mut keys: Vec<&[u8]> = trust.grant_keys().iter().map(AsRef::as_ref).collect();
        keys.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        // Lengths first: what is cut elsewhere is something else.
        for part in std::iter::once(root.as_ref()).chain(roots).chain(keys) {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..BYTES]);
        Self(bytes)
    }

    /// What a certificate says; none if it is of a version that said nothing.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let mut units = parsed.subject().iter_organizational_unit();
        units.find_map(|unit| Self::parse(unit.as_str().ok()?))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        if digits.len() != 2 * BYTES || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = u128::from_str_radix(digits, 16).ok()?;
        Some(Self(number.to_be_bytes()))
    }

    /// As certificates say it.
    pub(crate) fn unit(self) -> String {
        format!("{PREFIX}{self}")
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Edition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What a peer's certificate says beside whose it is. The caller has verified the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The name of the root that signed it ([`root_name`]).
    pub root: Digest,
    /// The edition; none if it is of a version that said nothing.
    pub edition: Option<Edition>,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Shown {
    /// Reads a certificate; none if it cannot be read.
    pub fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        Some(Self {
            root: name_digest(parsed.issuer().as_raw()),
            edition: Edition::of_certificate(certificate),
            not_after: Timestamp(seconds.saturating_mul(1000)),
        })
    }
}

/// A digest of a root's name, by which certificates say who signed them. Roots of one authority have different ones.
pub fn root_name(root: &CertificateDer<'_>) -> Option<Digest> {
    let (_, parsed) = X509Certificate::from_der(root).ok()?;
    Some(name_digest(parsed.subject().as_raw()))
}

fn name_digest(name: &[u8]) -> Digest {
    Digest::new(*blake3::hash(name).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_that_are_no_editions_are_none() {
        let good = format!("{PREFIX}{}", "0a".repeat(BYTES));
        let edition = Edition::parse(&good).unwrap();
        assert_eq!(edition.unit(), good);
        for text in [
            "",
            "edition:",
            "edition:0",
            &good[1..],
            &format!("{good}00"),
            &good.replace('a', "g"),
            &good.replacen('0', "+", 1),
        ] {
            assert_eq!(Edition::parse(text), None, "{text}");
        }
    }
}
