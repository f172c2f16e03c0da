//! Whether a connection failed because the two ends have different authorities.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Who does not believe whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// The peer says that it does not know the authority of our certificate.
    OfUs,
    /// We do not know the authority of the peer's.
    OfPeer,
}

impl Distrust {
    /// Looks for it among an error's causes; none if it failed for another reason.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = Self::of(error) {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner.or_else(|| error.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(AlertDescription::UnknownCA)) => Some(Self::OfUs),
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Some(Self::OfPeer),
            Some(_) => None,
            None => Self::in_words(&error.to_string()),
        }
    }

    /// In TLS 1.3 a client hears of a refusal with the first answer, through HTTP/2, whose errors hand on no cause but its words.
    fn in_words(text: &str) -> Option<Self> {
        let said = |error: rustls::Error| text.contains(&error.to_string());
        if said(rustls::Error::AlertReceived(AlertDescription::UnknownCA)) {
            Some(Self::OfUs)
        } else if said(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) {
            Some(Self::OfPeer)
        } else {
            None
        }
    }
}
