//! TLS for users: browsers and the command line, which know hosts and not members. No client certificate is asked for.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Error, provider, setup};
use crate::private_file;

/// The certificate of a port for users. Clones share it; [`Website::replace`] reaches all configurations made from it.
#[derive(Debug, Clone)]
pub struct Website {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct WebsiteCertificate(Arc<CertifiedKey>);

impl WebsiteCertificate {
    /// Takes a chain (the server's certificate first) and its private key.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Error> {
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(setup)?;
        Ok(Self(Arc::new(certified)))
    }

    /// Reads a chain and a key of any kind that TLS knows from files in PEM.
    pub fn open(chain: &Path, key: &Path) -> Result<Self, Error> {
        let unusable = |path: &Path, reason: String| Error::Setup(format!("`{}`: {reason}", path.display()));
        let read = |path: &Path| private_file::read_existing(path).map_err(setup);
        let certificates = CertificateDer::pem_slice_iter(read(chain)?.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unusable(chain, error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable(chain, "there is no certificate in PEM in it".to_owned()));
        }
        let private =
            PrivateKeyDer::from_pem_slice(read(key)?.as_bytes()).map_err(|error| unusable(key, error.to_string()))?;
        Self::new(certificates, private).map_err(|error| unusable(chain, error.to_string()))
    }
}

impl Website {
    /// Takes the first certificate.
    pub fn new(certificate: WebsiteCertificate) -> Self {
        Self {
            current: Arc::new(RwLock::new(certificate.0)),
        }
    }

    /// Uses this certificate from now on.
    pub fn replace(&self, certificate: WebsiteCertificate) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate.0;
    }

    /// The configuration of a server: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Website {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
