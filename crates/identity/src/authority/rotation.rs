//! One root takes the place of another.
//!
//! All of it is in the two files of the authority: which certificates there are, and whose key the key is. The older root vouches for the
//! newer one in a *link*, a certificate with the newer root's name and key, so that nobody has to learn of the newer one first.

use pem::Pem;
use rcgen::SubjectPublicKeyInfo;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tombolo_core::time::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Authority, Error, root_parameters};
use crate::edition::root_name;
use crate::key::PrivateKey;
use crate::trust;

/// The most certificates of an authority: three roots and as many links would fit into what a handshake shows.
const MAX_CERTIFICATES: usize = 6;

/// The certificates of an authority, sorted out.
pub(super) struct Bundle {
    /// The key's.
    pub(super) root: CertificateDer<'static>,
    /// Roots beside it.
    pub(super) others: Vec<CertificateDer<'static>>,
    /// What vouches for it.
    pub(super) links: Vec<CertificateDer<'static>>,
}

impl Bundle {
    /// Reads certificates in PEM, in whatever order.
    pub(super) fn read(pem: &str, key: &PrivateKey) -> Result<Self, Error> {
        let refused = |reason: String| Err(Error::Certificate(reason));
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Certificate(error.to_string()))?;
        if certificates.is_empty() || certificates.len() > MAX_CERTIFICATES {
            let count = certificates.len();
            return refused(format!(
                "there are {count} certificates, and not 1 to {MAX_CERTIFICATES}"
            ));
        }
        let (mut roots, mut links) = (Vec::new(), Vec::new());
        for (index, certificate) in certificates.into_iter().enumerate() {
            match trust::root_domain(&certificate) {
                Ok(_) => roots.push(certificate),
                Err(reason) => links.push((index + 1, reason, certificate)),
            }
        }
        let mut names: Vec<_> = roots.iter().filter_map(root_name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != roots.len() {
            return refused("two of the roots have the same name, or are the same".to_owned());
        }
        for (index, reason, link) in &links {
            if !roots.iter().any(|root| vouches_for(link, root)) {
                return refused(format!(
                    "certificate {index} is no root ({reason}), and vouches for none of the roots"
                ));
            }
        }
        let own = roots
            .iter()
            .position(|root| public_key(root).is_some_and(|own| own == key.public_der()));
        let root = roots.remove(own.ok_or(Error::ForeignKey)?);
        // Where the files were written by halves there are links for a root that does not sign yet.
        let links = links.into_iter().map(|(_, _, link)| link);
        Ok(Self {
            links: links.filter(|link| vouches_for(link, &root)).collect(),
            root,
            others: roots,
        })
    }
}

/// Whether a certificate is a CA's, of the root's name and key.
fn vouches_for(link: &CertificateDer<'_>, root: &CertificateDer<'_>) -> bool {
    let is_authority = X509Certificate::from_der(link).is_ok_and(|(rest, parsed)| rest.is_empty() && parsed.is_ca());
    is_authority && root_name(link) == root_name(root) && public_key(link) == public_key(root)
}

fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.public_key().raw.to_vec())
}

impl Authority {
    /// A new CA of the same domain, for which this one vouches and which trusts this one's root beside its own.
    ///
    /// # Errors
    /// [`Error::Unfinished`] while another root is being replaced.
    pub fn successor(&self, now: Timestamp) -> Result<Self, Error> {
        if !self.others.is_empty() {
            return Err(Error::Unfinished(self.roots().count()));
        }
        let key = PrivateKey::generate()?;
        let mut parameters = root_parameters(&self.domain, &key, now)?;
        let root = parameters.self_signed(key.pair()).map_err(Error::Sign)?;
        parameters.use_authority_key_identifier_extension = true;
        let public_key = SubjectPublicKeyInfo::from_der(&key.public_der()).map_err(Error::Sign)?;
        let link = parameters.signed_by(&public_key, &self.issuer).map_err(Error::Sign)?;
        let (others, links) = (vec![self.root.clone()], vec![link.der().clone()]);
        Self::of(root.der().clone(), others, links, key)
    }

    /// The same CA, which trusts its own root only. Links stay: they say nothing to those who do not trust an older root, and pods that
    /// began when there was one still do.
    ///
    /// # Errors
    /// [`Error::Finished`] if it trusts no other.
    pub fn without_others(&self) -> Result<Self, Error> {
        if self.others.is_empty() {
            return Err(Error::Finished);
        }
        Self::of(self.root.clone(), Vec::new(), self.links.clone(), self.key.clone())
    }

    /// Whether it has taken the place of another one. Who believes only one that came before that one does not believe a successor of this.
    pub fn is_successor(&self) -> bool {
        !self.links.is_empty()
    }

    /// Its certificates in PEM; the one that signs comes first, as those expect who read the first only.
    pub fn pem(&self) -> String {
        let certificates = std::iter::once(&self.root).chain(&self.links).chain(&self.others);
        let sections = certificates.map(|one| Pem::new("CERTIFICATE", one.to_vec()));
        pem::encode_many(&sections.collect::<Vec<_>>())
    }
}
