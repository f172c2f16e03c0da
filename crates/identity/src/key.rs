//! Private keys: ECDSA on P-256, the curve that every TLS stack has.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls_pki_types::PrivateKeyDer;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretString};
use tombolo_core::digest::Digest;

use crate::private_file;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a private key in PEM, or not of the right kind.
    #[error("not a private key for ECDSA on P-256 in PEM (PKCS #8): {0}")]
    Invalid(rcgen::Error),
    /// The cryptographic library failed.
    #[error("cannot make a key or a request: {0}")]
    Generate(rcgen::Error),
    /// The key's file.
    #[error(transparent)]
    File(#[from] private_file::Error),
}

/// A private key. Its text is shown to nobody: `Debug` prints the public key's digest.
pub struct PrivateKey {
    pair: KeyPair,
    pem: SecretString,
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Error::Generate)?;
        let pem = SecretString::from(pair.serialize_pem());
        Ok(Self { pair, pem })
    }

    /// Reads a key in PEM.
    pub fn from_pem(pem: &SecretString) -> Result<Self, Error> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem.expose_secret(), &PKCS_ECDSA_P256_SHA256)
            .map_err(Error::Invalid)?;
        Ok(Self { pair, pem: pem.clone() })
    }

    /// Reads a key from a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::from_pem(&SecretString::from(private_file::read_existing(path)?))
    }

    /// Reads the key from a file, or makes one and writes it there (0600) before it is used.
    pub fn load_or_generate(path: &Path) -> Result<Self, Error> {
        if let Some(text) = private_file::read(path)? {
            return Self::from_pem(&SecretString::from(text));
        }
        let key = Self::generate()?;
        key.save(path)?;
        Ok(key)
    }

    /// Writes the key into a file (0600).
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        Ok(private_file::write(path, self.pem.expose_secret().as_bytes())?)
    }

    /// The key in PEM.
    pub fn pem(&self) -> &SecretString {
        &self.pem
    }

    /// A certificate signing request in DER. It says no names: the authority would ignore them.
    pub fn request(&self) -> Result<Vec<u8>, Error> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        let request = parameters.serialize_request(&self.pair).map_err(Error::Generate)?;
        Ok(request.der().to_vec())
    }

    /// The public key in DER (SubjectPublicKeyInfo).
    pub fn public_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The public key in PEM.
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The digest of the public key; equals [`crate::member::key_digest`] of its certificates.
    pub fn digest(&self) -> Digest {
        Digest::new(*blake3::hash(&self.public_der()).as_bytes())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    pub(crate) fn der(&self) -> PrivateKeyDer<'static> {
        let mut bytes = self.pair.serialize_der();
        let der = PrivateKeyDer::Pkcs8(bytes.clone().into());
        bytes.zeroize();
        der
    }
}

impl Clone for PrivateKey {
    fn clone(&self) -> Self {
        Self::from_pem(&self.pem).expect("the text of a key that was read is readable")
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("PrivateKey").field(&self.digest()).finish()
    }
}
