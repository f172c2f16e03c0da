//! Single objects, with patience.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::{Error, Inner};

/// What reading an object gave.
pub(super) enum Fetched {
    Bytes(Bytes),
    Missing,
    /// It was not read, because it is larger than anything that could be right; its size in bytes.
    TooLarge(u64),
}

impl Inner {
    pub(super) async fn exists(&self, operation: &'static str, path: &Path) -> Result<bool, Error> {
        self.retry(operation, || async {
            match self.objects.head(path).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        })
        .await
    }

    pub(super) async fn put(&self, operation: &'static str, path: &Path, payload: PutPayload) -> Result<(), Error> {
        self.retry(operation, || async {
            self.objects.put(path, payload.clone()).await.map(|_| ())
        })
        .await
    }

    pub(super) async fn get(&self, operation: &'static str, path: &Path, limit: u64) -> Result<Fetched, Error> {
        self.retry(operation, || async {
            let found = match self.objects.get(path).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(Fetched::Missing),
                found => found?,
            };
            if found.meta.size > limit {
                return Ok(Fetched::TooLarge(found.meta.size));
            }
            Ok(Fetched::Bytes(found.bytes().await?))
        })
        .await
    }
}
