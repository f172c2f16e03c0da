//! An object store whose answers take their time, and sometimes do not come.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::time::sleep;

/// Numbers that look random, and are the same for the same seed and order of questions.
pub(super) struct Chance(AtomicU64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Below `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// Mostly short, sometimes so long that much else happens meanwhile.
    pub(super) async fn pause(&self) {
        const MILLISECONDS: [u64; 6] = [0, 1, 5, 100, 1_000, 9_000];
        let longest = MILLISECONDS[self.below(6) as usize];
        sleep(Duration::from_millis(self.below(longest + 1))).await;
    }
}

#[derive(Clone)]
pub(super) struct Uneasy {
    pub(super) objects: Arc<InMemory>,
    pub(super) chance: Arc<Chance>,
    /// Whether some requests fail, before or after they were carried out.
    pub(super) fails: Arc<AtomicBool>,
}

impl Uneasy {
    async fn before(&self) -> Result<()> {
        self.chance.pause().await;
        self.may_fail("before")
    }

    async fn after(&self) -> Result<()> {
        self.chance.pause().await;
        self.may_fail("after")
    }

    fn may_fail(&self, when: &str) -> Result<()> {
        if self.fails.load(Ordering::SeqCst) && self.chance.below(40) == 0 {
            let source = format!("connection reset ({when})").into();
            return Err(Error::Generic {
                store: "uneasy",
                source,
            });
        }
        Ok(())
    }
}

impl fmt::Display for Uneasy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("uneasy")
    }
}

impl fmt::Debug for Uneasy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Uneasy")
    }
}

#[async_trait]
impl ObjectStore for Uneasy {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.before().await?;
        let result = self.objects.put_opts(location, payload, options).await?;
        self.after().await?;
        Ok(result)
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.before().await?;
        let result = self.objects.get_opts(location, options).await;
        self.after().await?;
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.objects.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let deleted = locations.then(move |location| {
            let store = store.clone();
            async move {
                let location = location?;
                store.before().await?;
                store.objects.delete(&location).await?;
                store.after().await?;
                Ok(location)
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            // Sweeps list a lot, and are to be quick enough to fall into uploads.
            sleep(Duration::from_millis(store.chance.below(100))).await;
            match store.may_fail("before") {
                Ok(()) => store.objects.list(prefix.as_ref()),
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            }
        };
        futures::stream::once(listed).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
