//! Who is believed in a handshake.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerIncompatible, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{ClientCertificate, Identity, provider};
use crate::member::{Member, TrustDomain, peer_member};
use crate::trust;

/// Why a certificate that our CA signed is refused all the same.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its name is none of ours.
    #[error(transparent)]
    Name(#[from] crate::member::Error),
    /// It is somebody else's.
    #[error("the certificate is that of {found}, not of {expected}")]
    OtherMember {
        /// Who was expected.
        expected: Member,
        /// Whose it is.
        found: Member,
    },
    /// No certificate of the chain has the pin.
    #[error(
        "no certificate of the chain is the root that the invite pins: this is not the master that made the invite, or its authority was \
         replaced since: ask for a new invite"
    )]
    Pin,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// Shows the present certificate, to servers and clients.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) Identity);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.material().certified.clone())
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.material().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A server's view: any member of our CA; whether nobody is good enough depends.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) identity: Identity,
    pub(super) client_certificate: ClientCertificate,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_certificate == ClientCertificate::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hint: the roots may be replaced, and our clients have one certificate only.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let material = self.identity.material();
        let verified = material.clients.verify_client_cert(end_entity, intermediates, now)?;
        peer_member(end_entity, material.credentials.trust.domain()).map_err(Refusal::from)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.identity
            .material()
            .clients
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.identity.material().clients.supported_verify_schemes()
    }
}

/// A client's view: exactly one member.
#[derive(Debug)]
pub(super) struct ExpectedMember {
    pub(super) expected: Member,
    pub(super) domain: TrustDomain,
    pub(super) roots: Roots,
}

/// The roots that vouch for a server.
#[derive(Debug)]
pub(super) enum Roots {
    /// A member's own, which may be replaced while it runs.
    Own(Identity),
    /// Those of somebody who is no member: they stay the same.
    Fixed(Arc<WebPkiServerVerifier>),
    /// Those of somebody who has an invite only: the root in the chain whose key has this pin.
    Pinned(String),
}

impl ExpectedMember {
    /// What checks a chain, given the certificates that the server sent with its own.
    fn servers(&self, intermediates: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let pin = match &self.roots {
            Roots::Own(identity) => return Ok(identity.material().servers.clone()),
            Roots::Fixed(servers) => return Ok(servers.clone()),
            Roots::Pinned(pin) => pin,
        };
        // A root that is not signed by its own key, or is of another domain, could say more than the pin vouches for.
        let pinned = |certificate: &&CertificateDer<'_>| {
            trust::pin(certificate).is_ok_and(|found| found == *pin)
                && trust::root_domain(certificate).is_ok_and(|domain| domain == self.domain)
        };
        let root = intermediates.iter().find(pinned).ok_or(Refusal::Pin)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for ExpectedMember {
    /// Chain, time, DNS name and SPIFFE name must all be the expected member's.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Self { expected, domain, .. } = self;
        let name = expected.server_name(domain);
        let servers = self.servers(intermediates)?;
        let verified = servers.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)?;
        let found = peer_member(end_entity, domain).map_err(Refusal::from)?;
        if found != *expected {
            return Err(Refusal::OtherMember {
                expected: expected.clone(),
                found,
            }
            .into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}
