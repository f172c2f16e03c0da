//! The certificate authority of an installation.
//!
//! Its certificate file may hold several: the root whose key signs, other roots that are trusted as well while one takes the place of
//! another, and *links*, in which an older root vouches for the one that signs ([`rotation`]).

mod files;
mod rotation;

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use secrecy::SecretString;
use tombolo_core::digest::Digest;
use tombolo_core::time::Timestamp;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::credentials::{self, Chain, Credentials};
use crate::edition::Edition;
use crate::key::{self, PrivateKey};
use crate::member::{Member, TrustDomain};
use crate::private_file;
use crate::tls::{self, WebsiteCertificate};
use crate::trust::{self, Trust};
pub use files::Files;

/// How long a member's certificate is good.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the root is good: ten years; a rotation comes before.
pub const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// How far certificates are dated back, for members whose clock is behind.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
/// The largest request that is read; ours have about 300 bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca.key.pem";

/// What the authority cannot or will not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA's certificate is not a root of ours.
    #[error("the CA's certificate cannot be used: {0}")]
    Certificate(String),
    /// The CA's key is that of none of its certificates.
    #[error("the CA's key does not belong to its certificate")]
    ForeignKey,
    /// One rotation at a time.
    #[error(
        "the CA is being replaced already: it trusts {0} roots; `tombolo ca finish` leaves out those that do not sign"
    )]
    Unfinished(usize),
    /// There is nothing to finish.
    #[error("the CA is not being replaced: it trusts one root only; `tombolo ca rotate` makes a new one")]
    Finished,
    /// Somebody else is replacing it.
    #[error("somebody else is replacing the CA at this moment (`{}` is locked): wait, and look at it again", .0.display())]
    Busy(PathBuf),
    /// Certificates and key would overwrite each other.
    #[error("`{}` has both certificates and key of the CA: they must be two files", .0.display())]
    OneFile(PathBuf),
    /// What was written is not what is there.
    #[error(
        "the files of the CA are not what was written into them: {0}; put those of before back (`tombolo backup`), and begin anew"
    )]
    Changed(String),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] key::Error),
    /// The request cannot be read, or its signature does not prove the key.
    #[error("the certificate signing request is refused: {0}")]
    Request(&'static str),
    /// The cryptographic library failed.
    #[error("cannot sign: {0}")]
    Sign(rcgen::Error),
    /// What was issued cannot be used (the CA itself has expired, say).
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    /// The certificate for users cannot be used.
    #[error(transparent)]
    Website(tls::Error),
    /// A file of the CA.
    #[error(transparent)]
    File(#[from] private_file::Error),
}

/// The CA: its root certificates and the key that signs.
pub struct Authority {
    domain: TrustDomain,
    root: CertificateDer<'static>,
    /// Roots that are trusted beside it.
    others: Vec<CertificateDer<'static>>,
    /// In which older roots vouch for it; shown with whatever it signs.
    links: Vec<CertificateDer<'static>>,
    key: PrivateKey,
    issuer: Issuer<'static, KeyPair>,
    edition: Edition,
}

impl Authority {
    /// Makes a new CA with a self-signed root.
    pub fn create(domain: TrustDomain, now: Timestamp) -> Result<Self, Error> {
        let key = PrivateKey::generate()?;
        let parameters = root_parameters(&domain, &key, now)?;
        let root = parameters.self_signed(key.pair()).map_err(Error::Sign)?;
        Self::of(root.der().clone(), Vec::new(), Vec::new(), key)
    }

    /// Takes a CA from its certificates and key in PEM. The root that signs is the key's.
    pub fn load(certificates: &str, key: &SecretString) -> Result<Self, Error> {
        let key = PrivateKey::from_pem(key)?;
        let rotation::Bundle { root, others, links } = rotation::Bundle::read(certificates, &key)?;
        Self::of(root, others, links, key)
    }

    fn of(
        root: CertificateDer<'static>,
        others: Vec<CertificateDer<'static>>,
        links: Vec<CertificateDer<'static>>,
        key: PrivateKey,
    ) -> Result<Self, Error> {
        let unusable = |error: trust::Error| Error::Certificate(error.to_string());
        let roots = std::iter::once(&root).chain(&others).map(|root| root.to_vec());
        let trust = Trust::new(roots.collect(), Vec::new()).map_err(unusable)?;
        let pair =
            KeyPair::from_pkcs8_der_and_sign_algo(&key.pair().serialized_der().into(), &rcgen::PKCS_ECDSA_P256_SHA256)
                .map_err(Error::Sign)?;
        let issuer = Issuer::from_ca_cert_der(&root, pair).map_err(|error| Error::Certificate(error.to_string()))?;
        Ok(Self {
            domain: trust.domain().clone(),
            edition: Edition::of(&root, &trust),
            root,
            others,
            links,
            key,
            issuer,
        })
    }

    /// The same, whose certificates say that members are to believe `trust`: the roots, and the keys that sign grants.
    #[must_use]
    pub fn announcing(mut self, trust: &Trust) -> Self {
        self.edition = Edition::of(&self.root, trust);
        self
    }

    /// Reads the CA from a folder; `None` if there is none.
    pub fn open(folder: &Path) -> Result<Option<Self>, Error> {
        let Some(certificate) = private_file::read(&folder.join(CERTIFICATE_FILE))? else {
            return Ok(None);
        };
        let key = private_file::read_existing(&folder.join(KEY_FILE))?;
        Self::load(&certificate, &SecretString::from(key)).map(Some)
    }

    /// Writes a new CA into a folder (files 0600). The certificate comes last: where it is, the key is too.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        private_file::create_folder(folder)?;
        self.key.save(&folder.join(KEY_FILE))?;
        private_file::write(&folder.join(CERTIFICATE_FILE), self.pem().as_bytes())?;
        Ok(())
    }

    /// The files of the CA in a folder: certificates and key.
    pub fn files(folder: &Path) -> (PathBuf, PathBuf) {
        (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE))
    }

    /// The trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// What members have to believe: the roots (the master adds the keys that sign grants).
    pub fn trust(&self) -> Trust {
        let roots = self.roots().map(|root| root.to_vec()).collect();
        Trust::new(roots, Vec::new()).expect("the roots of an authority were checked when it was loaded")
    }

    /// All roots, the one that signs first.
    pub fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        std::iter::once(&self.root).chain(&self.others)
    }

    /// What its certificates say of themselves and of the trust that comes with them.
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// The SHA-256 of the public key of the root that signs, which invites carry.
    pub fn pin(&self) -> String {
        trust::pin(&self.root).expect("the root of an authority was read before")
    }

    /// The pins of all roots, that of the one that signs first.
    pub fn pins(&self) -> Vec<String> {
        let pins = self.roots().map(trust::pin);
        pins.map(|pin| pin.expect("the roots of an authority were read before"))
            .collect()
    }

    /// Signs the key that a request proves (PKCS #10 in DER). Whatever else the request asks for is ignored: the names are
    /// `member`'s, the life is [`CERTIFICATE_LIFE`] from `now`.
    pub fn sign(&self, request: &[u8], member: &Member, now: Timestamp) -> Result<Chain, Error> {
        let public_key = proven_key(request)?;
        let mut parameters = parameters(now, CERTIFICATE_LIFE);
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let dns = member.dns(&self.domain).try_into().map_err(Error::Sign)?;
        parameters.subject_alt_names = vec![uri(member.spiffe(&self.domain))?, SanType::DnsName(dns)];
        parameters.use_authority_key_identifier_extension = true;
        parameters
            .distinguished_name
            .push(DnType::CommonName, member.to_string());
        parameters
            .distinguished_name
            .push(DnType::OrganizationalUnitName, self.edition.unit());
        let certificate = parameters.signed_by(&public_key, &self.issuer).map_err(Error::Sign)?;
        let links = self.links.iter().map(|link| link.to_vec());
        let chain = std::iter::once(certificate.der().to_vec()).chain(links);
        Ok(Chain::new(chain.collect())?)
    }

    /// Makes a key and a certificate for a member: the master's own, and members in tests. The chain ends with the roots, in which
    /// those who join find the pin of their invite.
    pub fn issue(&self, member: &Member, trust: Trust, now: Timestamp) -> Result<Credentials, Error> {
        let key = PrivateKey::generate()?;
        let signed = self.sign(&key.request()?, member, now)?;
        let chain = signed.certificates().iter().chain(self.roots());
        let chain = Chain::new(chain.map(|certificate| certificate.to_vec()).collect())?;
        Ok(Credentials::new(key, chain, trust)?)
    }

    /// Makes a key and a certificate for a port that users reach by these host names and addresses. It names no member, and is
    /// of no use as a client. Lives as long as a member's.
    pub fn issue_website(&self, hosts: &[String], now: Timestamp) -> Result<WebsiteCertificate, Error> {
        let key = PrivateKey::generate()?;
        let mut parameters = parameters(now, CERTIFICATE_LIFE);
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        parameters.subject_alt_names = hosts.iter().map(|host| host_name(host)).collect::<Result<_, _>>()?;
        let certificate = parameters.signed_by(key.pair(), &self.issuer).map_err(Error::Sign)?;
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.links.iter().cloned());
        chain.push(self.root.clone());
        WebsiteCertificate::new(chain, key.der()).map_err(Error::Website)
    }
}

fn root_parameters(domain: &TrustDomain, key: &PrivateKey, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut parameters = parameters(now, ROOT_LIFE);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Two roots of one domain must have different subjects, or a chain would be ambiguous during a rotation.
    let name = format!("Tombolo CA {domain} {}", key.digest().short());
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.subject_alt_names = vec![uri(domain.spiffe())?];
    Ok(parameters)
}

fn host_name(host: &str) -> Result<SanType, Error> {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => host.try_into().map(SanType::DnsName).map_err(Error::Sign),
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("domain", &self.domain)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The digest of the key that a request proves, as it is registered at joining.
pub fn request_key(request: &[u8]) -> Result<Digest, Error> {
    use rcgen::PublicKeyData;
    Ok(Digest::new(
        *blake3::hash(&proven_key(request)?.subject_public_key_info()).as_bytes(),
    ))
}

/// Reads a request and checks that whoever made it holds the private key. Only ECDSA on P-256.
fn proven_key(request: &[u8]) -> Result<SubjectPublicKeyInfo, Error> {
    use rcgen::PublicKeyData;
    if request.len() > MAX_REQUEST_BYTES {
        return Err(Error::Request("it is too large"));
    }
    let (rest, parsed) = X509CertificationRequest::from_der(request)
        .map_err(|_| Error::Request("it is not a PKCS #10 request in DER"))?;
    if !rest.is_empty() {
        return Err(Error::Request("bytes follow it"));
    }
    parsed
        .verify_signature()
        .map_err(|_| Error::Request("its signature does not prove its key"))?;
    let key = SubjectPublicKeyInfo::from_der(parsed.certification_request_info.subject_pki.raw)
        .map_err(|_| Error::Request("its key is of an unknown kind"))?;
    if key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(Error::Request("its key is not an ECDSA key on P-256"));
    }
    Ok(key)
}

fn parameters(now: Timestamp, life: Duration) -> CertificateParams {
    let now = UNIX_EPOCH + Duration::from_millis(now.0);
    let mut parameters = CertificateParams::default();
    parameters.not_before = (now - CLOCK_SKEW).into();
    parameters.not_after = (now + life).into();
    parameters.distinguished_name = DistinguishedName::new();
    // The first bit is cleared: serial numbers are positive.
    let mut serial = rand::random::<[u8; 16]>();
    serial[0] &= 0x7f;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial));
    parameters
}

fn uri(text: String) -> Result<SanType, Error> {
    text.try_into().map(SanType::URI).map_err(Error::Sign)
}
