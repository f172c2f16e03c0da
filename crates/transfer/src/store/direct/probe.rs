//! Tries whether a store keeps to what was signed, on objects that nobody else knows of.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;

use super::{Binding, Inner, Reachable, Signing};
use crate::direct::{Failure, SignedRequest, UploadTerms, Written};
use crate::store::Error;

/// How long the signatures of a trial live.
const LIFE: Duration = Duration::from_secs(120);
/// What is written; the other is as long, and is not what was signed.
const CONTENT: &[u8] = b"tombolo tries what this store signs";
const OTHER: &[u8] = b"TOMBOLO TRIES WHAT THIS STORE SIGNS";

/// Finds out what can be signed.
///
/// # Errors
/// If the store cannot be tried at present.
pub(super) async fn probe(inner: &Inner, signing: &Signing) -> Result<Reachable, Error> {
    let name = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let folder = inner.trial_path(&name.to_string());
    let (written, taken) = (folder.clone().join("written"), folder.clone().join("uploaded"));
    let found = async {
        let mut found = Reachable {
            certificates: signing.signers.certificates.clone(),
            wants_md5: signing.signers.binding == Some(Binding::Gcs),
            ..Reachable::default()
        };
        found.downloads = verdict(&mut found, inner, "read", downloads(inner, signing, &written).await?);
        found.uploads = verdict(&mut found, inner, "write", uploads(inner, signing, &taken).await?);
        if found.downloads && is_open(inner, signing, &written).await? {
            let remark = "it gives its objects to whoever asks, also without a signature";
            tracing::warn!(place = %inner.place, "{remark}");
            found.remarks.push(remark.to_owned());
        }
        Ok::<_, Error>(found)
    };
    let found = found.await;
    // What cannot be removed now is a few bytes that nobody reads.
    if let Err(error) = inner
        .retry("remove a trial", || inner.delete(vec![written.clone(), taken.clone()]))
        .await
    {
        tracing::debug!(%error, "a trial of signed requests is left behind");
    }
    found
}

/// What was found, with the reason where it is not good.
type Trial = Result<(), Reason>;

/// Why a store does not do by signed requests what it might do.
enum Reason {
    /// It does not keep to what is signed, or cannot be told it.
    Untrusted(String),
    /// It did not allow to sign.
    Refused(String),
}

impl Reason {
    fn words(words: impl Into<String>) -> Self {
        Self::Untrusted(words.into())
    }
}

fn verdict(found: &mut Reachable, inner: &Inner, what: &str, trial: Trial) -> bool {
    let (reason, refused) = match trial {
        Ok(()) => return true,
        Err(Reason::Untrusted(reason)) => (reason, false),
        Err(Reason::Refused(reason)) => (reason, true),
    };
    let place = &inner.place;
    tracing::info!(%place, reason, "the store cannot be trusted to {what} by signed requests: it is done through the agent");
    found.remarks.push(format!("no signed requests to {what}: {reason}"));
    found.refused |= refused;
    false
}

/// A refusal to sign would be repeated: it is a finding like others.
fn signed(request: Result<SignedRequest, Error>) -> Result<Result<SignedRequest, Reason>, Error> {
    match request {
        Err(error @ Error::Refused { .. }) => Ok(Err(Reason::Refused(error.to_string()))),
        request => request.map(Ok),
    }
}

/// Whether the store would have given the object to anybody.
async fn is_open(inner: &Inner, signing: &Signing, path: &Path) -> Result<bool, Error> {
    let Ok(request) = signed(inner.sign_get(&signing.signers.own, path, LIFE).await)? else {
        return Ok(false);
    };
    let answer = signing.client.get(&request.without_signature(), 1024).await;
    Ok(answer.is_ok_and(|bytes| bytes == CONTENT))
}

async fn downloads(inner: &Inner, signing: &Signing, path: &Path) -> Result<Trial, Error> {
    inner
        .put("take a trial", path, Bytes::from_static(CONTENT).into())
        .await?;
    let request = match signed(inner.sign_get(&signing.signers.own, path, LIFE).await)? {
        Ok(request) => request,
        Err(reason) => return Ok(Err(reason)),
    };
    match signing.client.get(&request, 1024).await {
        Ok(bytes) if bytes == CONTENT => Ok(Ok(())),
        Ok(_) => Ok(Err(Reason::words("it gives other bytes than were written"))),
        Err(failure) => passing(inner, failure).map(|reason| Err(Reason::words(reason))),
    }
}

async fn uploads(inner: &Inner, signing: &Signing, path: &Path) -> Result<Trial, Error> {
    let Some(binding) = signing.signers.binding else {
        return Ok(Err(Reason::words(
            "this kind of store cannot bind an upload to its bytes",
        )));
    };
    let terms = UploadTerms::with_md5(CONTENT);
    let request = inner.sign_put(&signing.signers.own, path, &terms, binding, LIFE).await;
    let request = match signed(request)? {
        Ok(request) => request,
        Err(reason) => return Ok(Err(reason)),
    };
    let put = async |request: &SignedRequest, bytes: &'static [u8]| {
        signing.client.put_once(request, Bytes::from_static(bytes)).await
    };
    // Who leaves out a header does not have what was signed.
    let mut bare = request.clone();
    bare.clear_headers();
    for (request, bytes, what) in [
        (&bare, CONTENT, "without the signed conditions"),
        (&request, OTHER, "of other bytes than those signed"),
        (&request, &CONTENT[1..], "of less than was signed"),
    ] {
        match put(request, bytes).await {
            Err(Failure::Refused(_)) => {}
            Ok(_) => return Ok(Err(Reason::words(format!("it takes an upload {what}")))),
            Err(failure) => {
                let reason = passing(inner, failure)?;
                return Ok(Err(Reason::words(format!("an upload {what}: {reason}"))));
            }
        }
    }
    match put(&request, CONTENT).await {
        Ok(Written::Stored) => {}
        // A refused upload must leave nothing: it would keep the right one out.
        Ok(Written::Occupied) => return Ok(Err(Reason::words("it keeps an upload that it has refused"))),
        Err(failure) => return passing(inner, failure).map(|reason| Err(Reason::words(reason))),
    }
    match put(&request, CONTENT).await {
        Ok(Written::Occupied) => {}
        Ok(Written::Stored) => return Ok(Err(Reason::words("it overwrites an object in spite of the condition"))),
        Err(failure) => return passing(inner, failure).map(|reason| Err(Reason::words(reason))),
    }
    match inner.size("look at a trial", path).await? {
        Some(size) if size == terms.bytes => Ok(Ok(())),
        _ => Ok(Err(Reason::words("it does not keep what was uploaded"))),
    }
}

/// Why it is not good, or that it cannot be said now.
fn passing(inner: &Inner, failure: Failure) -> Result<String, Error> {
    match failure {
        Failure::Refused(_) | Failure::Missing | Failure::TooLong(_) => Ok(failure.to_string()),
        Failure::Unreachable(reason) | Failure::Busy(reason) => Err(Error::Unreachable {
            place: inner.place.clone(),
            operation: "be tried with signed requests",
            reason,
            waited: Duration::ZERO,
        }),
    }
}
