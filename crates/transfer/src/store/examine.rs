//! What a store's owner may do there, right by right: for `doctor`.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{PutMode, PutOptions};

use super::location::Kind;
use super::object::Fetched;
use super::{ChunkStore, DirectAccess, DirectMode, Error, Inner, Owner, Patience, StoreLocation};

/// What is written, and read again.
const CONTENT: &str = "tombolo looks whether it may write here";
/// For all steps together.
const WITHIN: Duration = Duration::from_secs(120);

/// One thing that a store has to allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub what: &'static str,
    /// What was seen; or what is wrong, and which right or setting mends it.
    pub outcome: Result<String, String>,
}

/// What becomes of a place that is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is the owner's afterwards.
    Now,
    /// It stays nobody's: who looks is not the owner yet. Whether requests can be signed only the owner can try.
    Later,
}

/// Tries everything that the owner does with a store, each for itself, on objects that nobody else knows of, and removes them.
pub async fn examine(
    location: &StoreLocation,
    access: &DirectAccess,
    owner: &Owner,
    claim: Claim,
    patience: Patience,
) -> Vec<Step> {
    let kind = location.kind();
    let steps = async {
        let opened = ChunkStore::connect(location, access, patience);
        let inner = match opened {
            Ok(inner) => inner,
            Err(error) => return vec![step(kind, "open", Err(error))],
        };
        let free = match claim {
            Claim::Now => Ok(false),
            Claim::Later => inner.could_be_of(owner).await,
        };
        let is_owned = match free {
            Ok(is_owned) => is_owned,
            // Nothing is tried in what is another's.
            Err(error) => return vec![step(kind, "belong to us", Err(error))],
        };
        let name = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let trial = inner.trial_path(&name.to_string());
        let mut steps = objects(&inner, kind, &trial).await;
        if claim == Claim::Later {
            let words = match is_owned {
                true => format!("{} is {}'s", inner.place, owner.member),
                false => format!("{} is nobody's, and will be {}'s", inner.place, owner.member),
            };
            steps.push(step(kind, "belong to us", Ok(words)));
            return steps;
        }
        match inner.claim(owner).await {
            Ok(store) => {
                let words = format!("{} is {}'s", store.place(), owner.member);
                steps.push(step(kind, "belong to us", Ok(words)));
                steps.push(sign(&store, kind, access).await);
            }
            Err(error) => steps.push(step(kind, "belong to us", Err(error))),
        }
        steps
    };
    tokio::time::timeout(WITHIN, steps).await.unwrap_or_else(|_| {
        let outcome = Err(format!("the store did not answer within {} s", WITHIN.as_secs()));
        vec![Step {
            what: "answer",
            outcome,
        }]
    })
}

async fn objects(inner: &Inner, kind: Kind, folder: &Path) -> Vec<Step> {
    let path = folder.clone().join("examined");
    let write = inner.put("write an object", &path, CONTENT.into()).await;
    let is_written = write.is_ok();
    let mut steps = vec![step(kind, "write", write.map(|()| "an object was written".to_owned()))];
    steps.push(step(kind, "read", read(inner, &path, is_written).await));
    let absent = inner
        .exists("look for what is absent", &folder.clone().join("absent"))
        .await;
    let absent = absent.map(|_| "what is absent is said to be absent".to_owned());
    steps.push(step(kind, "look", absent));
    steps.push(step(
        kind,
        "create conditionally",
        create(inner, &path, is_written).await,
    ));
    steps.push(step(kind, "list", list(inner, folder, is_written).await));
    steps.push(step(kind, "delete", delete(inner, &path).await));
    steps
}

async fn read(inner: &Inner, path: &Path, is_written: bool) -> Result<String, Error> {
    match inner.get("read an object", path, 1024).await? {
        Fetched::Bytes(bytes) if bytes == CONTENT => Ok("it was read as it was written".to_owned()),
        Fetched::Missing if !is_written => Ok("there was nothing to read, and nothing said against it".to_owned()),
        Fetched::Missing => Err(inner.refused("read an object", "what was just written is not there".to_owned())),
        _ => Err(inner.refused("read an object", "it gives other bytes than were written".to_owned())),
    }
}

async fn create(inner: &Inner, path: &Path, is_written: bool) -> Result<String, Error> {
    const OPERATION: &str = "create an object where none is";
    let created = inner.retry(OPERATION, || async {
        let options = PutOptions::from(PutMode::Create);
        match inner.objects.put_opts(path, CONTENT.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    });
    match created.await? {
        true if is_written => {
            let reason = "it overwrites what is there: two agents could take this place for theirs".to_owned();
            Err(inner.refused(OPERATION, reason))
        }
        _ => Ok("a second object of the same name was refused".to_owned()),
    }
}

async fn list(inner: &Inner, folder: &Path, is_written: bool) -> Result<String, Error> {
    const OPERATION: &str = "list objects";
    let listed: Vec<Path> = inner
        .retry(OPERATION, || {
            let listed = inner.objects.list(Some(folder)).map_ok(|object| object.location);
            listed.try_collect()
        })
        .await?;
    let is_ours = listed.iter().all(|path| path.prefix_matches(folder));
    if !is_ours || (is_written && listed.is_empty()) {
        let reason = format!(
            "asked for what is below `{folder}`, it lists {} other objects",
            listed.len()
        );
        return Err(inner.refused(OPERATION, reason));
    }
    Ok("it lists what was written".to_owned())
}

async fn delete(inner: &Inner, path: &Path) -> Result<String, Error> {
    const OPERATION: &str = "delete objects";
    inner.retry(OPERATION, || inner.delete(vec![path.clone()])).await?;
    if inner.exists(OPERATION, path).await? {
        return Err(inner.refused(OPERATION, "what it says is deleted is still there".to_owned()));
    }
    Ok("it is gone".to_owned())
}

pub(super) async fn sign(store: &ChunkStore, kind: Kind, access: &DirectAccess) -> Step {
    const WHAT: &str = "sign";
    if !access.is_wanted() {
        return step(kind, WHAT, Ok("not used: `direct` and `signed` are `never`".to_owned()));
    }
    let tried = match access.mode {
        DirectMode::Auto => store.reachable().await,
        DirectMode::Never => store.readable_elsewhere().await,
    };
    match tried {
        Ok(reachable) if reachable.refused => {
            let words = format!(
                "{reachable}{}; or set `direct` and `signed` to \"never\"",
                right(kind, WHAT)
            );
            Step {
                what: WHAT,
                outcome: Err(words),
            }
        }
        Ok(reachable) => step(kind, WHAT, Ok(reachable.to_string())),
        Err(error) => step(kind, WHAT, Err(error)),
    }
}

fn step(kind: Kind, what: &'static str, outcome: Result<String, Error>) -> Step {
    let outcome = outcome.map_err(|error| {
        let hint = match &error {
            Error::Refused { .. } if kind == Kind::Local => right(kind, what),
            Error::Refused { status: Some(401), .. } => "; the store does not know these credentials".to_owned(),
            Error::Refused { status: Some(404), .. } => {
                "; the bucket or container must exist, and these credentials must be allowed to see it".to_owned()
            }
            Error::Refused { status: Some(_), .. } => right(kind, what),
            _ => String::new(),
        };
        format!("{error}{hint}")
    });
    Step { what, outcome }
}

/// Which right is missing where a store says no.
fn right(kind: Kind, what: &str) -> String {
    let right = match (kind, what) {
        (Kind::Local, _) => "the user that this runs as must own the folder",
        (Kind::S3, "read") => "`s3:GetObject` on the objects",
        (Kind::S3, "delete") => "`s3:DeleteObject` on the objects",
        (Kind::S3, "look" | "list") => {
            "`s3:ListBucket` on the bucket (without it, S3 does not tell what is absent from what is forbidden)"
        }
        (Kind::S3, _) => "`s3:PutObject` on the objects",
        (Kind::Azure, "read" | "look") => {
            "the data action `blobs/read` (role Storage Blob Data Contributor; `r` of a signature)"
        }
        (Kind::Azure, "list") => {
            "the data action `blobs/read` (role Storage Blob Data Contributor; `l` of a signature)"
        }
        (Kind::Azure, "delete") => {
            "the data action `blobs/delete` (role Storage Blob Data Contributor; `d` of a signature)"
        }
        (Kind::Azure, "sign") => {
            "the action `generateUserDelegationKey` on the account (role Storage Blob Delegator), or the account's key"
        }
        (Kind::Azure, _) => {
            "the data actions `blobs/write` and `blobs/add` (role Storage Blob Data Contributor; `w` of a signature)"
        }
        (Kind::Gcs, "read" | "look") => "`storage.objects.get` (and `storage.objects.list`, to tell what is absent)",
        (Kind::Gcs, "list") => "`storage.objects.list`",
        (Kind::Gcs, "delete") => "`storage.objects.delete`",
        (Kind::Gcs, "sign") => {
            "`iam.serviceAccounts.signBlob` on the service account itself (role Service Account Token Creator), or its key"
        }
        (Kind::Gcs, _) => "`storage.objects.create` and `storage.objects.delete` (to overwrite)",
    };
    format!("; the right that is missing: {right}")
}
