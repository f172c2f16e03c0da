//! TLS 1.3 between members: what a process shows and believes can be replaced while connections live.
//!
//! There is no session resumption: a resumed session would skip the check of the certificate.

mod distrust;
pub mod verify;
mod website;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::{Resumption, WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, OtherError, ServerConfig};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::sync::watch;
use tombolo_core::time::Timestamp;

use crate::credentials::Credentials;
use crate::edition::Edition;
use crate::invite::Invite;
use crate::member::{Member, PeerIdentity};
use crate::trust::Trust;
pub use distrust::Distrust;
use verify::{ClientVerifier, ExpectedMember, Resolver, Roots};
pub use website::{Website, WebsiteCertificate};

/// The application protocol of gRPC.
const ALPN_H2: &[u8] = b"h2";
/// That of a connection whose roles are the other way round: gRPC too, and who has dialled serves.
const ALPN_REVERSE: &[u8] = b"tombolo-reverse/1";

/// TLS that cannot be set up with these credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library refuses.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
    /// Credentials that contradict themselves.
    #[error("the trust does not vouch for the certificate that came with it: {0}")]
    Unvouched(rustls::Error),
    /// The certificate, or one in its chain, is not good yet or no more at the time of the check.
    #[error("{0}: is the clock right, here and on the master's machine?")]
    Clock(rustls::Error),
}

/// Whether a client has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Without one of our CA there is no connection.
    Required,
    /// Without one there is a connection without a peer identity, for the call that joins. A wrong one is refused all the same.
    Optional,
}

/// What this process shows and believes. Clones share it; [`Identity::replace`] reaches all configurations made from it: new
/// handshakes use the new certificate, streams that are open go on.
#[derive(Debug, Clone)]
pub struct Identity {
    current: Arc<RwLock<Arc<Material>>>,
    /// The edition that the master was seen to have last.
    master_edition: watch::Sender<Option<Edition>>,
}

/// One state of an [`Identity`].
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) credentials: Credentials,
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) servers: Arc<WebPkiServerVerifier>,
    pub(crate) clients: Arc<dyn ClientCertVerifier>,
}

/// How to dial somebody: the configuration and the name to ask for.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// The configuration; its verifier accepts exactly the expected member.
    pub config: Arc<ClientConfig>,
    /// The expected member's name.
    pub server_name: ServerName<'static>,
    /// Where the edition of a master is noted that has proved to be it.
    pub(crate) master_edition: Option<watch::Sender<Option<Edition>>>,
}

impl Identity {
    /// Takes the first credentials.
    pub fn new(credentials: Credentials) -> Result<Self, Error> {
        Ok(Self {
            current: Arc::new(RwLock::new(Arc::new(Material::new(credentials)?))),
            master_edition: watch::Sender::new(None),
        })
    }

    /// Uses these credentials from now on.
    pub fn replace(&self, credentials: Credentials) -> Result<(), Error> {
        let material = Arc::new(Material::new(credentials)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = material;
        Ok(())
    }

    /// Whether credentials, before they are used, are of use to somebody who believes the same: the trust vouches for the certificate. `now` is
    /// the own clock's time. Where that lies outside of the certificate's life it is the clock that is wrong, since the certificate was just
    /// made: the middle of its life is taken then, as others do not ask this clock.
    pub fn check(credentials: &Credentials, now: Timestamp) -> Result<(), Error> {
        let material = Material::new(credentials.clone())?;
        let chain = &credentials.chain;
        let (from, to) = (chain.not_before().0, chain.not_after().0);
        let now = if (from..=to).contains(&now.0) {
            now.0
        } else {
            from + to.saturating_sub(from) / 2
        };
        let at = UnixTime::since_unix_epoch(Duration::from_millis(now));
        let intermediates = chain.certificates().get(1..).unwrap_or_default();
        match material.clients.verify_client_cert(chain.leaf(), intermediates, at) {
            Ok(_) => Ok(()),
            Err(error) if is_of_time(&error) => Err(Error::Clock(error)),
            Err(error) => Err(Error::Unvouched(error)),
        }
    }

    /// The edition in the certificate of the master that was connected to last. None before, and if the master is of a version that has none.
    pub fn master_edition(&self) -> watch::Receiver<Option<Edition>> {
        self.master_edition.subscribe()
    }

    /// The present credentials.
    pub fn credentials(&self) -> Credentials {
        self.material().credentials.clone()
    }

    /// Who this process is.
    pub fn peer_identity(&self) -> PeerIdentity {
        self.material().credentials.identity().clone()
    }

    /// The present trust.
    pub fn trust(&self) -> Trust {
        self.material().credentials.trust.clone()
    }

    /// The configuration of a server.
    pub fn server_config(&self, client_certificate: ClientCertificate) -> Result<Arc<ServerConfig>, Error> {
        let verifier = ClientVerifier {
            identity: self.clone(),
            client_certificate,
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(setup)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Resolver(self.clone())));
        config.alpn_protocols = vec![ALPN_H2.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// The configuration of a client that wants `expected` and nobody else, also not another member of the same CA.
    pub fn client(&self, expected: &Member) -> Result<ClientTls, Error> {
        let verifier = ExpectedMember {
            expected: expected.clone(),
            domain: self.material().credentials.trust.domain().clone(),
            roots: Roots::Own(self.clone()),
        };
        let mut tls = client(verifier, |config| {
            config.with_client_cert_resolver(Arc::new(Resolver(self.clone())))
        })?;
        tls.master_edition = (*expected == Member::Master).then(|| self.master_edition.clone());
        Ok(tls)
    }

    pub(crate) fn material(&self) -> Arc<Material> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientTls {
    /// The same, for a connection over which the one that dials will serve.
    #[must_use]
    pub fn reverse(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![ALPN_REVERSE.to_vec()];
        Self {
            config: Arc::new(config),
            server_name: self.server_name.clone(),
            master_edition: self.master_edition.clone(),
        }
    }
}

/// The same, which takes connections over which the other side serves as well.
pub(crate) fn with_reverse(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols.push(ALPN_REVERSE.to_vec());
    Arc::new(config)
}

/// Whether this protocol was agreed on in a handshake.
pub(crate) fn is_reverse(agreed: Option<&[u8]>) -> bool {
    agreed == Some(ALPN_REVERSE)
}

impl Material {
    fn new(credentials: Credentials) -> Result<Self, Error> {
        let provider = provider();
        let roots = credentials.trust.store().clone();
        let servers = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(setup)?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(setup)?;
        let certified = CertifiedKey::from_der(
            credentials.chain.certificates().to_vec(),
            credentials.key.der(),
            &provider,
        )
        .map_err(setup)?;
        Ok(Self {
            credentials,
            certified: Arc::new(certified),
            servers,
            clients,
        })
    }
}

/// The configuration of a client that joins: it shows no certificate, and believes only a master whose chain ends in a root with
/// the invite's pin.
pub fn joining(invite: &Invite) -> Result<ClientTls, Error> {
    let verifier = ExpectedMember {
        expected: Member::Master,
        domain: invite.domain.clone(),
        roots: Roots::Pinned(invite.pin.clone()),
    };
    client(verifier, WithVerifier::with_no_client_auth)
}

/// The configuration of a client that has no certificate (a courier shows a token instead) and wants `expected` and nobody else,
/// by the roots of `trust`.
pub fn anonymous(trust: &Trust, expected: &Member) -> Result<ClientTls, Error> {
    let servers = WebPkiServerVerifier::builder_with_provider(trust.store().clone(), provider())
        .build()
        .map_err(setup)?;
    let verifier = ExpectedMember {
        expected: expected.clone(),
        domain: trust.domain().clone(),
        roots: Roots::Fixed(servers),
    };
    client(verifier, WithVerifier::with_no_client_auth)
}

/// A client before it is said what it shows of itself.
type WithVerifier = ConfigBuilder<ClientConfig, WantsClientCert>;

fn client(verifier: ExpectedMember, shown: impl FnOnce(WithVerifier) -> ClientConfig) -> Result<ClientTls, Error> {
    let server_name = verifier.expected.server_name(&verifier.domain);
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = shown(config);
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(ClientTls {
        config: Arc::new(config),
        server_name,
        master_edition: None,
    })
}

/// A handshake's error in words: the library prints the reasons of [`verify::Refusal`] in the form for programmers.
pub fn readable(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(reason)))) => {
            io::Error::new(error.kind(), format!("the peer's certificate is refused: {reason}"))
        }
        Some(inner) if is_of_time(inner) => {
            io::Error::new(error.kind(), format!("{inner}: is the clock of this machine right?"))
        }
        _ => error,
    }
}

/// Whether a certificate was refused because of the time.
fn is_of_time(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
                | CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
        )
    )
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn setup(error: impl std::fmt::Display) -> Error {
    Error::Setup(error.to_string())
}
