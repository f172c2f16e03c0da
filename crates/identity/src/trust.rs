//! What a member believes: the roots of the authority and the keys that sign grants.

use std::sync::Arc;

use pem::Pem;
use ring::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::member::{self, TrustDomain};

/// What precedes the point in the DER form (SubjectPublicKeyInfo) of a public key on P-256.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point on P-256.
const POINT_BYTES: usize = 65;

/// The most entries of one kind in a bundle: a rotation has two.
const MAX_ENTRIES: usize = 16;

/// A bundle that cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not PEM.
    #[error("the trust bundle is not valid PEM: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// No certificate, or too many entries.
    #[error(
        "the trust bundle has {certificates} certificates and {keys} public keys; 1 to {MAX_ENTRIES} and at most {MAX_ENTRIES} are expected"
    )]
    Entries {
        /// How many certificates.
        certificates: usize,
        /// How many public keys.
        keys: usize,
    },
    /// A public key is not a point on P-256.
    #[error("a key of the trust bundle is not an uncompressed point on P-256")]
    GrantKey,
    /// A certificate is no root of ours.
    #[error("certificate {index} of the trust bundle is not the root of a trust domain: {reason}")]
    Root {
        /// Counted from 1.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The roots (at least one, all of one trust domain) and the public keys that sign grants.
#[derive(Debug, Clone)]
pub struct Trust {
    domain: TrustDomain,
    roots: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
    grant_keys: Vec<Vec<u8>>,
}

impl Trust {
    /// Takes roots in DER and the public keys that sign grants, as uncompressed points on P-256.
    pub fn new(roots: Vec<Vec<u8>>, grant_keys: Vec<Vec<u8>>) -> Result<Self, Error> {
        if roots.is_empty() || roots.len() > MAX_ENTRIES || grant_keys.len() > MAX_ENTRIES {
            return Err(Error::Entries {
                certificates: roots.len(),
                keys: grant_keys.len(),
            });
        }
        if grant_keys
            .iter()
            .any(|point| point.len() != POINT_BYTES || point[0] != 4)
        {
            return Err(Error::GrantKey);
        }
        let roots: Vec<_> = roots.into_iter().map(CertificateDer::from).collect();
        let mut store = RootCertStore::empty();
        let mut domain: Option<TrustDomain> = None;
        for (index, root) in roots.iter().enumerate() {
            let refused = |reason: String| Error::Root {
                index: index + 1,
                reason,
            };
            let found = root_domain(root).map_err(refused)?;
            if domain.as_ref().is_some_and(|domain| *domain != found) {
                return Err(refused(format!("it is of another trust domain, `{found}`")));
            }
            domain = Some(found);
            store.add(root.clone()).map_err(|error| refused(error.to_string()))?;
        }
        let domain = domain.expect("there is at least one root");
        Ok(Self {
            domain,
            roots,
            store: Arc::new(store),
            grant_keys,
        })
    }

    /// Reads a bundle: `CERTIFICATE` sections are roots, `PUBLIC KEY` sections sign grants.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let roots = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|root| root.map(|root| root.to_vec()));
        let roots = roots.collect::<Result<_, _>>().map_err(Error::Pem)?;
        let keys: Vec<SubjectPublicKeyInfoDer<'_>> = SubjectPublicKeyInfoDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(Error::Pem)?;
        let points = keys.iter().map(|key| {
            key.strip_prefix(&P256_PREFIX)
                .map(<[u8]>::to_vec)
                .ok_or(Error::GrantKey)
        });
        Self::new(roots, points.collect::<Result<_, _>>()?)
    }

    /// The bundle with one more key that signs grants.
    pub fn with_grant_key(&self, point: &[u8]) -> Result<Self, Error> {
        let mut keys = self.grant_keys.clone();
        keys.push(point.to_vec());
        Self::new(self.roots.iter().map(|root| root.to_vec()).collect(), keys)
    }

    /// The bundle as text, to be stored or sent.
    pub fn pem(&self) -> String {
        let roots = self.roots.iter().map(|root| Pem::new("CERTIFICATE", root.to_vec()));
        let keys = self
            .grant_keys
            .iter()
            .map(|point| Pem::new("PUBLIC KEY", [&P256_PREFIX, point.as_slice()].concat()));
        pem::encode_many(&roots.chain(keys).collect::<Vec<_>>())
    }

    /// The trust domain of all roots.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The roots.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The public keys that sign grants, as uncompressed points on P-256.
    pub fn grant_keys(&self) -> &[Vec<u8>] {
        &self.grant_keys
    }

    pub(crate) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }
}

/// The pin of a root: the SHA-256 of its public key (SubjectPublicKeyInfo in DER), as 64 hexadecimal digits.
pub fn pin(root: &CertificateDer<'_>) -> Result<String, member::Error> {
    let (_, parsed) = X509Certificate::from_der(root).map_err(|_| member::Error::Certificate)?;
    let digest = digest(&SHA256, parsed.public_key().raw);
    Ok(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The trust domain of a root: it must be a CA, signed by itself, with the domain's SPIFFE name.
pub(crate) fn root_domain(root: &CertificateDer<'_>) -> Result<TrustDomain, String> {
    let (rest, parsed) = X509Certificate::from_der(root).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("bytes follow the certificate".to_owned());
    }
    if !parsed.is_ca() {
        return Err("it is not a CA".to_owned());
    }
    parsed
        .verify_signature(None)
        .map_err(|_| "it is not signed by itself".to_owned())?;
    let uris = member::uri_names(root).map_err(|error| error.to_string())?;
    let [uri] = uris.as_slice() else {
        return Err(format!("it has {} URI names, not one", uris.len()));
    };
    let domain = uri
        .strip_prefix("spiffe://")
        .ok_or_else(|| format!("`{uri}` is not a SPIFFE name"))?;
    TrustDomain::new(domain).map_err(|error| error.to_string())
}
