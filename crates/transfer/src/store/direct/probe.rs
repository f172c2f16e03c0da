//! Tries whether a store keeps to what was signed, on objects that nobody else knows of.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;

use super::{Found, Inner, Signing};
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
pub(super) async fn probe(inner: &Inner, signing: &Signing) -> Result<Found, Error> {
    let name = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let folder = inner.trial_path(&name.to_string());
    let (written, taken) = (folder.clone().join("written"), folder.clone().join("uploaded"));
    let found = async {
        Ok::<_, Error>(Found {
            downloads: verdict(inner, "read", downloads(inner, signing, &written).await?),
            uploads: verdict(inner, "write", uploads(inner, signing, &taken).await?),
        })
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
type Trial = Result<(), String>;

fn verdict(inner: &Inner, what: &str, trial: Trial) -> bool {
    match trial {
        Ok(()) => true,
        Err(reason) => {
            let place = &inner.place;
            tracing::info!(%place, reason, "the store cannot be trusted to {what} by signed requests: it is done through the agent");
            false
        }
    }
}

async fn downloads(inner: &Inner, signing: &Signing, path: &Path) -> Result<Trial, Error> {
    inner
        .put("take a trial", path, Bytes::from_static(CONTENT).into())
        .await?;
    let request = inner.sign_get(&signing.signers.own, path, LIFE).await?;
    match signing.client.get(&request, 1024).await {
        Ok(bytes) if bytes == CONTENT => Ok(Ok(())),
        Ok(_) => Ok(Err("it gives other bytes than were written".to_owned())),
        Err(failure) => passing(inner, failure).map(Err),
    }
}

async fn uploads(inner: &Inner, signing: &Signing, path: &Path) -> Result<Trial, Error> {
    if signing.signers.binding.is_none() {
        return Ok(Err("this kind of store cannot bind an upload to its bytes".to_owned()));
    }
    let terms = UploadTerms::of(CONTENT);
    let request = inner.sign_put(&signing.signers.own, path, &terms, LIFE).await?;
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
            Ok(_) => return Ok(Err(format!("it takes an upload {what}"))),
            Err(failure) => {
                let reason = passing(inner, failure)?;
                return Ok(Err(format!("an upload {what}: {reason}")));
            }
        }
    }
    match put(&request, CONTENT).await {
        Ok(Written::Stored) => {}
        // A refused upload must leave nothing: it would keep the right one out.
        Ok(Written::Occupied) => return Ok(Err("it keeps an upload that it has refused".to_owned())),
        Err(failure) => return passing(inner, failure).map(Err),
    }
    match put(&request, CONTENT).await {
        Ok(Written::Occupied) => {}
        Ok(Written::Stored) => return Ok(Err("it overwrites an object in spite of `If-None-Match`".to_owned())),
        Err(failure) => return passing(inner, failure).map(Err),
    }
    match inner.size("look at a trial", path).await? {
        Some(size) if size == terms.bytes => Ok(Ok(())),
        _ => Ok(Err("it does not keep what was uploaded".to_owned())),
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
