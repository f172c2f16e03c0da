//! A member's own key, certificate and trust, kept in a folder.

use std::path::Path;
use std::time::Duration;

use pem::Pem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tombolo_core::time::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::key::{self, PrivateKey};
use crate::member::{self, PeerIdentity};
use crate::private_file;
use crate::trust::{self, Trust};

const KEY_FILE: &str = "key.pem";
const CHAIN_FILE: &str = "certificate.pem";
const TRUST_FILE: &str = "trust.pem";

/// The most certificates in a chain: the member's, one intermediate and the root, with room.
const MAX_CHAIN: usize = 8;

/// Credentials that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The chain is not PEM, or empty, or too long.
    #[error("the certificate chain cannot be read: {0}")]
    Chain(String),
    /// The certificate is for another key.
    #[error("the certificate is not for this key")]
    ForeignKey,
    /// The certificate's name.
    #[error(transparent)]
    Name(#[from] member::Error),
    /// The key.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The trust bundle.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// A file of the folder.
    #[error(transparent)]
    File(#[from] private_file::Error),
}

/// A certificate chain: the member's certificate first.
#[derive(Debug, Clone)]
pub struct Chain {
    certificates: Vec<CertificateDer<'static>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Chain {
    /// Takes certificates in DER, the member's first. They are not verified here: the peer does that.
    pub fn new(certificates: Vec<Vec<u8>>) -> Result<Self, Error> {
        let certificates: Vec<_> = certificates.into_iter().map(CertificateDer::from).collect();
        let leaf = match certificates.first() {
            Some(leaf) if certificates.len() <= MAX_CHAIN => leaf,
            _ => {
                return Err(Error::Chain(format!(
                    "it has {} certificates, not 1 to {MAX_CHAIN}",
                    certificates.len()
                )));
            }
        };
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| Error::Chain(error.to_string()))?;
        let seconds = |time: i64| Timestamp(u64::try_from(time).unwrap_or_default().saturating_mul(1000));
        let not_before = seconds(parsed.validity().not_before.timestamp());
        let not_after = seconds(parsed.validity().not_after.timestamp());
        Ok(Self {
            certificates,
            not_before,
            not_after,
        })
    }

    /// Reads a chain in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|one| one.map(|one| one.to_vec()));
        Self::new(
            certificates
                .collect::<Result<_, _>>()
                .map_err(|error| Error::Chain(error.to_string()))?,
        )
    }

    /// The chain as text, to be stored.
    pub fn pem(&self) -> String {
        let sections = self
            .certificates
            .iter()
            .map(|one| Pem::new("CERTIFICATE", one.to_vec()));
        pem::encode_many(&sections.collect::<Vec<_>>())
    }

    /// The certificates, the member's first.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The member's certificate.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        self.certificates.first().expect("a chain has at least one certificate")
    }

    /// From when the certificate is good.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// When to ask for the next one: at two thirds of the life, so that a third is left for a master that is away.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.not_after.0.saturating_sub(self.not_before.0);
        Timestamp(self.not_before.0 + life / 3 * 2)
    }

    /// How long to wait, at `now`, until [`Chain::renew_at`]; zero if it is past.
    pub fn renew_in(&self, now: Timestamp) -> Duration {
        Duration::from_millis(self.renew_at().0.saturating_sub(now.0))
    }
}

/// What a member shows and believes.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its key.
    pub key: PrivateKey,
    /// Its certificate.
    pub chain: Chain,
    /// Whom it believes.
    pub trust: Trust,
    identity: PeerIdentity,
}

impl Credentials {
    /// Puts credentials together; the certificate must be for the key and of the trust's domain.
    pub fn new(key: PrivateKey, chain: Chain, trust: Trust) -> Result<Self, Error> {
        let identity = PeerIdentity::from_certificate(chain.leaf(), trust.domain())?;
        if identity.key != key.digest() {
            return Err(Error::ForeignKey);
        }
        Ok(Self {
            key,
            chain,
            trust,
            identity,
        })
    }

    /// Who one is, as peers see it.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// The same key with a new certificate (and trust), after a renewal.
    pub fn renewed(&self, chain: Chain, trust: Trust) -> Result<Self, Error> {
        Self::new(self.key.clone(), chain, trust)
    }

    /// The key of a folder; made there if there is none, before it is first shown, so that a joining that was interrupted can be
    /// repeated with the same key.
    pub fn key_in(folder: &Path) -> Result<PrivateKey, Error> {
        private_file::create_folder(folder)?;
        Ok(PrivateKey::load_or_generate(&folder.join(KEY_FILE))?)
    }

    /// Reads the credentials of a folder; `None` if the member has not joined yet.
    pub fn open(folder: &Path) -> Result<Option<Self>, Error> {
        let Some(chain) = private_file::read(&folder.join(CHAIN_FILE))? else {
            return Ok(None);
        };
        let trust = Trust::from_pem(&private_file::read_existing(&folder.join(TRUST_FILE))?)?;
        let key = PrivateKey::load(&folder.join(KEY_FILE))?;
        Self::new(key, Chain::from_pem(&chain)?, trust).map(Some)
    }

    /// Writes the credentials into a folder (files 0600, each replaced as a whole). The certificate comes last: where it is, the
    /// rest is too.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        private_file::create_folder(folder)?;
        self.key.save(&folder.join(KEY_FILE))?;
        private_file::write(&folder.join(TRUST_FILE), self.trust.pem().as_bytes())?;
        private_file::write(&folder.join(CHAIN_FILE), self.chain.pem().as_bytes())?;
        Ok(())
    }
}
