use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use md5::{Digest, Md5};
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::store::Binding;

/// The store compares what it receives with this.
const CHECKSUM: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
/// The generation that an object has: none yet.
const GENERATION: HeaderName = HeaderName::from_static("x-goog-if-generation-match");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// More than a signature needs; what an agent sends beyond it is not looked at.
const MAXIMUM_HEADERS: usize = 16;

/// A request that somebody with credentials has signed. Who has it can make it, so it is a secret while it lives.
#[derive(Clone)]
pub struct SignedRequest {
    url: SecretString,
    headers: HeaderMap,
}

/// What cannot be a signed request. It does not show the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no signed request: {0}")]
pub struct Malformed(&'static str);

impl SignedRequest {
    /// A request to `url`, with `headers` that the signature includes.
    pub fn new(url: &Url, headers: HeaderMap) -> Self {
        Self {
            url: SecretString::from(url.as_str()),
            headers,
        }
    }

    /// A request as it was told: to an `http` or `https` address, with headers that are text.
    ///
    /// # Errors
    /// [`Malformed`] if it is none.
    pub fn parse<'text>(
        url: &str,
        headers: impl IntoIterator<Item = (&'text str, &'text str)>,
    ) -> Result<Self, Malformed> {
        let url = Url::parse(url).map_err(|_| Malformed("its address cannot be read"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Malformed("its address is not one of a store"));
        }
        let mut signed = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed("the name of a header"))?;
            let value = HeaderValue::from_str(value).map_err(|_| Malformed("the value of a header"))?;
            if signed.len() >= MAXIMUM_HEADERS {
                return Err(Malformed("it has too many headers"));
            }
            signed.append(name, value);
        }
        Ok(Self::new(&url, signed))
    }

    /// The address, signature included: not for logs.
    pub const fn url(&self) -> &SecretString {
        &self.url
    }

    /// The headers that must come with it exactly so.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The same request as somebody would make it who has no signature.
    pub(crate) fn without_signature(&self) -> Self {
        let url = self.url.expose_secret();
        let bare = url.split_once('?').map_or(url, |(bare, _)| bare);
        Self {
            url: SecretString::from(bare),
            headers: HeaderMap::new(),
        }
    }

    /// As a request is whose signed headers were left out.
    pub(crate) fn clear_headers(&mut self) {
        self.headers.clear();
    }

    /// `scheme://host:port` of the store: what may be told.
    pub fn origin(&self) -> String {
        let url = Url::parse(self.url.expose_secret());
        url.map_or_else(|_| "nowhere".to_owned(), |url| url.origin().ascii_serialization())
    }
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SignedRequest(to {})", self.origin())
    }
}

/// What an upload is bound to: these very bytes, and only where nothing is yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadTerms {
    /// How many bytes the object has.
    pub bytes: u64,
    /// Their SHA-256, which stores can check (they know nothing of BLAKE3).
    pub sha256: [u8; 32],
    /// Their MD5, for stores that check nothing better. It keeps mistakes out, as the SHA-256 does; who means harm says what he
    /// likes of both.
    pub md5: Option<[u8; 16]>,
}

impl UploadTerms {
    /// The terms for an object of these bytes.
    pub fn of(object: &[u8]) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, object).as_ref());
        Self {
            bytes: object.len() as u64,
            sha256,
            md5: None,
        }
    }

    /// The same, with an MD5.
    pub fn with_md5(object: &[u8]) -> Self {
        Self {
            md5: Some(Md5::digest(object).into()),
            ..Self::of(object)
        }
    }

    /// Whether they say what such a store needs.
    pub(crate) const fn fit(&self, binding: Binding) -> bool {
        match binding {
            Binding::S3 => true,
            Binding::Gcs => self.md5.is_some(),
        }
    }

    /// The headers that say so, which the signature includes.
    pub(crate) fn headers(&self, binding: Binding) -> HeaderMap {
        let checksum = |bytes: &[u8]| HeaderValue::from_str(&BASE64_STANDARD.encode(bytes)).expect("base64 is text");
        match binding {
            Binding::S3 => HeaderMap::from_iter([
                (header::IF_NONE_MATCH, HeaderValue::from_static("*")),
                (CHECKSUM, checksum(&self.sha256)),
            ]),
            Binding::Gcs => HeaderMap::from_iter([
                (GENERATION, HeaderValue::from_static("0")),
                (CONTENT_MD5, checksum(&self.md5.unwrap_or_default())),
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_to_stores_are_taken_and_none_is_shown() {
        let good =
            SignedRequest::parse("https://store:9000/b/k?X-Amz-Signature=abc", [("if-none-match", "*")]).unwrap();
        assert_eq!(format!("{good:?}"), "SignedRequest(to https://store:9000)");
        for url in [
            "",
            "store/b/k",
            "file:///etc/passwd",
            "unix:/run/x",
            "data:text/plain,x",
        ] {
            assert!(SignedRequest::parse(url, []).is_err(), "{url}");
        }
        for header in [("a b", "c"), ("a", "b\nc"), ("", "x")] {
            assert!(
                SignedRequest::parse("http://store/b/k", [header]).is_err(),
                "{header:?}"
            );
        }
        let many = vec![("a", "b"); MAXIMUM_HEADERS + 1];
        assert!(SignedRequest::parse("http://store/b/k", many).is_err());
    }

    #[test]
    fn terms_say_size_and_checksum() {
        let (terms, less) = (UploadTerms::with_md5(b"hello world"), UploadTerms::of(b"hello world"));
        assert_eq!(terms.bytes, 11);
        let checksum = &terms.headers(Binding::S3)[CHECKSUM];
        assert_eq!(checksum, "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=");
        assert_eq!(terms.headers(Binding::Gcs)[CONTENT_MD5], "XrY7u+Ae7tCTyyK7j1rNww==");
        assert!(terms.fit(Binding::Gcs) && less.fit(Binding::S3) && !less.fit(Binding::Gcs));
    }
}
