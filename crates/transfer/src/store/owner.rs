//! The mark that says whose store it is.

use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::object::Fetched;
use super::{Error, Inner};

/// The longest mark, in bytes; ours have about 200.
const MAXIMUM_MARK_BYTES: u64 = 64 << 10;

/// Who opens a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The installation, by the trust domain of its certificates.
    pub trust_domain: String,
    /// The member within it: a cluster's name, or `master`.
    pub member: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    trust_domain: String,
    member: String,
    /// Random, made with the mark.
    instance: String,
}

/// Finds or makes the mark and returns the store's instance.
pub(super) async fn claim(inner: &Inner, owner: &Owner) -> Result<String, Error> {
    if let Some(mark) = read(inner).await? {
        return accept(inner, owner, mark);
    }
    let instance = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    write(inner, owner, instance).await?;
    // Whoever came first is the owner; this reads it back also where the answer was lost.
    match read(inner).await? {
        Some(mark) => accept(inner, owner, mark),
        None => Err(inner.refused("keep its owner's mark", "it was written and is not there".to_owned())),
    }
}

/// Makes sure that the store is still the one that was opened: not another member's by now, and no folder that has gone. One that was
/// emptied is marked anew, and nothing that was known of it holds any more.
pub(super) async fn confirm(inner: &Inner) -> Result<(), Error> {
    const OPERATION: &str = "show its owner's mark";
    if let Some(folder) = &inner.folder
        && let Ok(false) = tokio::fs::try_exists(folder).await
    {
        let reason = "the folder is not there any more: was it moved, or is its disk not mounted?";
        return Err(inner.refused(OPERATION, reason.to_owned()));
    }
    let Some(owner) = &inner.owner else { return Ok(()) };
    if let Some(mark) = read(inner).await? {
        return accept(inner, owner, mark).map(drop);
    }
    tracing::warn!(place = %inner.place, "the store was emptied: its owner's mark is gone; it is made again");
    inner.known().forget_all();
    inner.retention.forget_all();
    let instance = Uuid::parse_str(&inner.instance);
    let instance = instance.map_err(|error| inner.refused(OPERATION, format!("its name is none: {error}")))?;
    write(inner, owner, instance).await
}

impl Inner {
    /// Whether it is the owner's already; false if it is nobody's. It is an error if it is somebody else's.
    pub(super) async fn could_be_of(&self, owner: &Owner) -> Result<bool, Error> {
        let mark = read(self).await?;
        mark.map(|mark| accept(self, owner, mark))
            .transpose()
            .map(|mark| mark.is_some())
    }
}

fn accept(inner: &Inner, owner: &Owner, mark: Mark) -> Result<String, Error> {
    if mark.trust_domain == owner.trust_domain && mark.member == owner.member {
        Ok(mark.instance)
    } else {
        Err(Error::Owned {
            place: inner.place.clone(),
            trust_domain: mark.trust_domain,
            member: mark.member,
        })
    }
}

async fn read(inner: &Inner) -> Result<Option<Mark>, Error> {
    let unreadable = |reason: String| Error::Configuration(format!("{}: its `owner` mark {reason}", inner.place));
    match inner
        .get(
            "say who owns it",
            &inner.prefix.clone().join("owner"),
            MAXIMUM_MARK_BYTES,
        )
        .await?
    {
        Fetched::Missing => Ok(None),
        Fetched::TooLarge(size) => Err(unreadable(format!("has {size} bytes"))),
        Fetched::Bytes(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| unreadable(format!("is not one of ours ({error})"))),
    }
}

/// Creates the mark if there is none. Where a store cannot create conditionally, or drops the connection when the key exists,
/// what follows tells: the mark is read again.
async fn write(inner: &Inner, owner: &Owner, instance: Uuid) -> Result<(), Error> {
    let Owner { trust_domain, member } = owner.clone();
    let mark = serde_json::to_vec(&Mark {
        trust_domain,
        member,
        instance: instance.to_string(),
    })
    .expect("a mark of three texts is valid JSON");
    let path = inner.prefix.clone().join("owner");
    inner
        .retry("take its owner's mark", || async {
            let options = PutOptions {
                mode: PutMode::Create,
                ..PutOptions::default()
            };
            match inner.objects.put_opts(&path, mark.clone().into(), options).await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    Ok(())
                }
                Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
                    inner.objects.put(&path, mark.clone().into()).await.map(|_| ())
                }
                Err(error) => match inner.objects.head(&path).await {
                    Ok(_) => Ok(()),
                    Err(_) => Err(error),
                },
            }
        })
        .await
}
