//! Signed rights to read an artifact. The master signs; the cluster that has the artifact checks, without asking the master.

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;

use crate::key::PrivateKey;
use crate::member::Member;
use crate::trust::Trust;

/// What the signature covers before the grant's bytes: a signature made for something else is none for a grant.
const DOMAIN: &[u8] = b"tombolo grant v1\0";
/// The version of the layout.
const VERSION: u8 = 1;
/// Version, end, project, manifest, kind of reader.
const FIXED_BYTES: usize = 1 + 8 + 16 + 32 + 1;
/// A P-256 signature in its fixed form.
const SIGNATURE_BYTES: usize = 64;
/// The longest cluster name.
const MAX_NAME_BYTES: usize = 63;

/// Why a grant gives no right. Strangers are told no more than that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no grant.
    #[error("the grant is malformed")]
    Malformed,
    /// Not signed by a key of the master.
    #[error("the grant's signature is not the master's")]
    Signature,
    /// Its time is over.
    #[error("the grant has expired")]
    Expired,
    /// It is another member's.
    #[error("the grant is for {granted}, not for {shown_by}")]
    ForeignReader {
        /// Whom it was given to.
        granted: Member,
        /// Who showed it.
        shown_by: Member,
    },
    /// The signing key cannot be used.
    #[error("the key that signs grants cannot be used")]
    Key,
}

/// The right of one member to read one artifact for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who may read.
    pub reader: Member,
    /// The project that the artifact belongs to.
    pub project: ProjectId,
    /// The digest of the artifact's manifest.
    pub manifest: Digest,
    /// When the right ends.
    pub expires_at: Timestamp,
}

impl Grant {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + MAX_NAME_BYTES + SIGNATURE_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.expires_at.0.to_be_bytes());
        bytes.extend_from_slice(self.project.uuid().as_bytes());
        bytes.extend_from_slice(self.manifest.as_bytes());
        match &self.reader {
            Member::Master => bytes.push(0),
            Member::Cluster(name) => {
                bytes.push(1);
                bytes.extend_from_slice(name.as_str().as_bytes());
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let (project, rest) = rest.split_first_chunk::<16>()?;
        let (manifest, rest) = rest.split_first_chunk::<32>()?;
        let (kind, name) = rest.split_first()?;
        let reader = match (*version, *kind) {
            (VERSION, 0) if name.is_empty() => Member::Master,
            (VERSION, 1) => Member::Cluster(ClusterName::new(std::str::from_utf8(name).ok()?).ok()?),
            _ => return None,
        };
        Some(Self {
            reader,
            project: ProjectId::from_u128(u128::from_be_bytes(*project)),
            manifest: Digest::new(*manifest),
            expires_at: Timestamp(u64::from_be_bytes(*expires_at)),
        })
    }
}

/// Signs grants; only the master has one. Its key is kept beside the CA's.
pub struct Signer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    /// Takes the key.
    pub fn new(key: &PrivateKey) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.pair().serialized_der(), &random)
            .map_err(|_| Error::Key)?;
        Ok(Self { pair, random })
    }

    /// The public key (an uncompressed point on P-256), for the trust of the members ([`Trust::with_grant_key`]).
    pub fn public_point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The grant's bytes with their signature.
    pub fn sign(&self, grant: &Grant) -> Result<Vec<u8>, Error> {
        let mut bytes = grant.encode();
        let signature = self.pair.sign(&self.random, &message(&bytes)).map_err(|_| Error::Key)?;
        bytes.extend_from_slice(signature.as_ref());
        Ok(bytes)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signer").finish_non_exhaustive()
    }
}

/// Checks grants against the master's public keys.
#[derive(Debug, Clone)]
pub struct Verifier {
    points: Vec<Vec<u8>>,
}

impl Verifier {
    /// Takes the keys of a trust bundle.
    pub fn new(trust: &Trust) -> Self {
        Self {
            points: trust.grant_keys().to_vec(),
        }
    }

    /// The grant, if a key of ours signed it, for `reader` (as TLS proved it), and its time is not over.
    pub fn check(&self, bytes: &[u8], reader: &Member, now: Timestamp) -> Result<Grant, Error> {
        if bytes.len() > FIXED_BYTES + MAX_NAME_BYTES + SIGNATURE_BYTES {
            return Err(Error::Malformed);
        }
        let (body, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(Error::Malformed)?;
        let signed = message(body);
        let valid = |point: &Vec<u8>| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(&signed, signature)
                .is_ok()
        };
        if !self.points.iter().any(valid) {
            return Err(Error::Signature);
        }
        let grant = Grant::decode(body).ok_or(Error::Malformed)?;
        if grant.reader != *reader {
            return Err(Error::ForeignReader {
                granted: grant.reader,
                shown_by: reader.clone(),
            });
        }
        if now >= grant.expires_at {
            return Err(Error::Expired);
        }
        Ok(grant)
    }
}

fn message(body: &[u8]) -> Vec<u8> {
    [DOMAIN, body].concat()
}
