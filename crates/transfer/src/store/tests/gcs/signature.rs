//! What Google checks of a request before it looks at it.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::TEST_KEY;

/// Signatures are for Google's own host, whatever the tests' is called.
const HOST: &str = "storage.googleapis.com";

/// Whether requests must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// As Google does.
    Signed,
    /// Everybody may do everything: as the emulator does by itself.
    Open,
}

/// A refusal: the status and Google's code.
pub(super) type Refusal = (u16, &'static str);

pub(super) struct Verifier {
    key: UnparsedPublicKey<Vec<u8>>,
    strictness: Strictness,
}

impl Verifier {
    pub(super) fn new(strictness: Strictness) -> Self {
        let der = PrivatePkcs8KeyDer::from_pem_slice(TEST_KEY.as_bytes()).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        Self {
            key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public),
            strictness,
        }
    }

    pub(super) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if self.strictness == Strictness::Open {
            return Ok(());
        }
        let query = uri.query().unwrap_or_default();
        if query.contains("X-Goog-Signature=") {
            return self.check_signed(method, uri.path(), query, headers);
        }
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.ok_or((403, "AccessDenied"))?;
        let (message, signature) = token.rsplit_once('.').ok_or((401, "InvalidToken"))?;
        let signature = BASE64_URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| (401, "InvalidToken"))?;
        let verified = self.key.verify(message.as_bytes(), &signature);
        verified.map_err(|_| (401, "InvalidToken"))
    }

    /// A request with a signature in its address (V4).
    fn check_signed(&self, method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        const MALFORMED: Refusal = (400, "InvalidQueryParameterValue");
        let decoded: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value = |name: &str| {
            let found = decoded.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).ok_or(MALFORMED)
        };
        let began = DateTime::strptime("%Y%m%dT%H%M%SZ", value("X-Goog-Date")?).map_err(|_| MALFORMED)?;
        let began = began.to_zoned(TimeZone::UTC).map_err(|_| MALFORMED)?.timestamp();
        let life: i64 = value("X-Goog-Expires")?.parse().map_err(|_| MALFORMED)?;
        if began.as_second() + life < Timestamp::now().as_second() {
            return Err((400, "ExpiredToken"));
        }
        let names = value("X-Goog-SignedHeaders")?;
        let mut lines = String::new();
        for name in names.split(';') {
            let sent = headers.get(name).and_then(|value| value.to_str().ok());
            let sent = if name == "host" { Some(HOST) } else { sent };
            lines += &format!("{name}:{}\n", sent.ok_or((403, "SignatureDoesNotMatch"))?.trim());
        }
        let is_signed = |name: &str| names.split(';').any(|signed| signed == name);
        if headers
            .keys()
            .any(|name| name.as_str().starts_with("x-goog-") && !is_signed(name.as_str()))
        {
            return Err((403, "SignatureDoesNotMatch"));
        }
        let mut pairs: Vec<_> = query
            .split('&')
            .filter(|pair| !pair.starts_with("X-Goog-Signature="))
            .collect();
        pairs.sort_unstable();
        let canonical = format!(
            "{method}\n{path}\n{}\n{lines}\n{names}\nUNSIGNED-PAYLOAD",
            pairs.join("&")
        );
        let (_, scope) = value("X-Goog-Credential")?.split_once('/').ok_or(MALFORMED)?;
        let hash = hexadecimal(ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("GOOG4-RSA-SHA256\n{}\n{scope}\n{hash}", value("X-Goog-Date")?);
        let signature = bytes_of(value("X-Goog-Signature")?).ok_or(MALFORMED)?;
        let verified = self.key.verify(text.as_bytes(), &signature);
        verified.map_err(|_| (403, "SignatureDoesNotMatch"))
    }
}

/// Whether the bytes have the MD5 that a header names.
pub(super) fn has_md5(bytes: &[u8], named: &str) -> bool {
    use md5::Digest;
    BASE64_STANDARD.encode(md5::Md5::digest(bytes)) == named
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect()
}
