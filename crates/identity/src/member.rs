//! The names that certificates carry.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName};
use tombolo_core::digest::Digest;
use tombolo_core::name::ClusterName;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The longest trust domain: a cluster's DNS name must stay within 253 bytes (63 for its label, 9 for `.cluster.`).
const MAX_TRUST_DOMAIN_BYTES: usize = 181;

/// The trust domain of an installation that says nothing else.
pub const DEFAULT_TRUST_DOMAIN: &str = "tombolo.internal";

/// A name that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The trust domain does not follow the grammar of DNS names.
    #[error(
        "`{0}` is not a valid trust domain: lower-case DNS labels separated by `.`, at most {MAX_TRUST_DOMAIN_BYTES} bytes"
    )]
    TrustDomain(String),
    /// The text is not a member's SPIFFE name.
    #[error("`{0}` is not the SPIFFE name of a member")]
    Spiffe(String),
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Certificate,
    /// The certificate has not exactly one SPIFFE name.
    #[error("the certificate has {0} URI names, not one")]
    UriNames(usize),
    /// The certificate's SPIFFE name lies in another trust domain.
    #[error("the certificate's trust domain is `{found}`, not `{expected}`")]
    ForeignDomain {
        /// Ours.
        expected: TrustDomain,
        /// The certificate's.
        found: TrustDomain,
    },
}

/// The domain within which names are unique; one installation has one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Checks the grammar.
    pub fn new(text: &str) -> Result<Self, Error> {
        let valid =
            text.len() <= MAX_TRUST_DOMAIN_BYTES && text.split('.').all(|label| ClusterName::new(label).is_ok());
        if valid {
            Ok(Self(Arc::from(text)))
        } else {
            Err(Error::TrustDomain(text.chars().take(200).collect()))
        }
    }

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain's own SPIFFE name, which the CA's certificate carries.
    pub fn spiffe(&self) -> String {
        format!("spiffe://{}", self.0)
    }
}

impl Default for TrustDomain {
    fn default() -> Self {
        Self(Arc::from(DEFAULT_TRUST_DOMAIN))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

/// Who can hold a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// The control plane.
    Master,
    /// A cluster, that is, its agent.
    Cluster(ClusterName),
}

impl Member {
    /// The SPIFFE name: `spiffe://<domain>/master` or `spiffe://<domain>/cluster/<name>`.
    pub fn spiffe(&self, domain: &TrustDomain) -> String {
        match self {
            Self::Master => format!("spiffe://{domain}/master"),
            Self::Cluster(name) => format!("spiffe://{domain}/cluster/{name}"),
        }
    }

    /// The DNS name: `master.<domain>` or `<name>.cluster.<domain>`. It is never resolved, only compared.
    pub fn dns(&self, domain: &TrustDomain) -> String {
        match self {
            Self::Master => format!("master.{domain}"),
            Self::Cluster(name) => format!("{name}.cluster.{domain}"),
        }
    }

    /// The DNS name in the form that TLS wants.
    pub fn server_name(&self, domain: &TrustDomain) -> ServerName<'static> {
        ServerName::try_from(self.dns(domain)).expect("a valid name in a valid trust domain is a DNS name")
    }

    /// Reads a SPIFFE name: the member and the trust domain that it says.
    pub fn from_spiffe(text: &str) -> Result<(Self, TrustDomain), Error> {
        let invalid = || Error::Spiffe(text.chars().take(300).collect());
        let (domain, path) = text
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(invalid)?;
        let domain = TrustDomain::new(domain).map_err(|_| invalid())?;
        let member = match path.strip_prefix("cluster/") {
            Some(name) => Self::Cluster(ClusterName::new(name).map_err(|_| invalid())?),
            None if path == "master" => Self::Master,
            None => return Err(invalid()),
        };
        Ok((member, domain))
    }

    /// The cluster's name, unless it is the master.
    pub fn cluster(&self) -> Option<&ClusterName> {
        match self {
            Self::Master => None,
            Self::Cluster(name) => Some(name),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => formatter.write_str("master"),
            Self::Cluster(name) => write!(formatter, "cluster {name}"),
        }
    }
}

/// Who is at the other end of a connection, as its certificate proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Who.
    pub member: Member,
    /// The digest of its public key ([`key_digest`]).
    pub key: Digest,
}

impl PeerIdentity {
    /// Reads a certificate that TLS has verified (chain, time and possession of the key).
    pub fn from_certificate(certificate: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Self, Error> {
        Ok(Self {
            member: peer_member(certificate, domain)?,
            key: key_digest(certificate)?,
        })
    }
}

/// The member that a certificate names. The caller has verified the chain; here the name is checked: exactly one URI, a SPIFFE
/// name, in our trust domain.
pub fn peer_member(certificate: &CertificateDer<'_>, domain: &TrustDomain) -> Result<Member, Error> {
    let uris = uri_names(certificate)?;
    let [uri] = uris.as_slice() else {
        return Err(Error::UriNames(uris.len()));
    };
    let (member, found) = Member::from_spiffe(uri)?;
    if found != *domain {
        return Err(Error::ForeignDomain {
            expected: domain.clone(),
            found,
        });
    }
    Ok(member)
}

/// The BLAKE3 digest of a certificate's public key (its SubjectPublicKeyInfo in DER).
pub fn key_digest(certificate: &CertificateDer<'_>) -> Result<Digest, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Error::Certificate)?;
    Ok(Digest::new(*blake3::hash(parsed.public_key().raw).as_bytes()))
}

pub(crate) fn uri_names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| Error::Certificate)?;
    let names = parsed.subject_alternative_name().map_err(|_| Error::Certificate)?;
    let uris = names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
    Ok(uris.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        let domain = TrustDomain::default();
        for member in [Member::Master, Member::Cluster(ClusterName::new("east-1").unwrap())] {
            assert_eq!(
                Member::from_spiffe(&member.spiffe(&domain)),
                Ok((member.clone(), domain.clone()))
            );
        }
        assert_eq!(
            Member::Cluster(ClusterName::new("east").unwrap()).dns(&domain),
            "east.cluster.tombolo.internal"
        );
        let longest = TrustDomain::new(&["a".repeat(60), "b".repeat(60), "c".repeat(59)].join(".")).unwrap();
        Member::Cluster(ClusterName::new(&"n".repeat(63)).unwrap()).server_name(&longest);
    }

    #[test]
    fn names_that_are_refused() {
        for text in [
            "",
            "spiffe://tombolo.internal",
            "spiffe://tombolo.internal/",
            "spiffe://tombolo.internal/master/",
            "spiffe://tombolo.internal/cluster/",
            "spiffe://tombolo.internal/cluster/east/west",
            "spiffe://tombolo.internal/cluster/East",
            "spiffe:///master",
            "spiffe://a..b/master",
            "https://tombolo.internal/master",
            "spiffe://tombolo.internal/courier/east",
        ] {
            assert!(Member::from_spiffe(text).is_err(), "{text}");
        }
        for text in ["", ".", "a.", "A.b", "a b", &"a.".repeat(200)] {
            assert!(TrustDomain::new(text).is_err(), "{text}");
        }
    }
}
