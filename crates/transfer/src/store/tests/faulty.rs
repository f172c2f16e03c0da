//! An object store with faults.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What is asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Put,
    Get,
    Head,
    List,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Nothing is done, and an error comes back.
    Before,
    /// It is done, and yet an error comes back.
    After,
    /// Nothing is done, for good.
    Denied,
    /// No answer ever comes.
    Hang,
    /// One bit of what is read is another.
    Corrupt,
    /// The second half of what is read is lacking.
    Short,
}

/// Says for each operation what goes wrong; the number counts the operations that were asked before.
type Script = Box<dyn Fn(Operation, &Path, u32) -> Fault + Send + Sync>;

pub(crate) struct Faulty {
    pub(crate) inner: InMemory,
    calls: AtomicU32,
    script: Script,
}

impl Faulty {
    pub(crate) fn new(script: impl Fn(Operation, &Path, u32) -> Fault + Send + Sync + 'static) -> Self {
        Self {
            inner: InMemory::new(),
            calls: AtomicU32::new(0),
            script: Box::new(script),
        }
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn fault(&self, operation: Operation, path: &Path) -> Result<Fault> {
        let fault = (self.script)(operation, path, self.calls.fetch_add(1, Ordering::SeqCst));
        match fault {
            Fault::Before => Err(broken("before")),
            Fault::Denied => Err(Error::PermissionDenied {
                path: path.to_string(),
                source: "planted".into(),
            }),
            Fault::Hang => std::future::pending().await,
            other => Ok(other),
        }
    }
}

fn broken(when: &str) -> Error {
    Error::Generic {
        store: "faulty",
        source: format!("connection reset ({when})").into(),
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("faulty")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.fault(Operation::Put, location).await?;
        let result = self.inner.put_opts(location, payload, options).await?;
        if fault == Fault::After {
            Err(broken("after"))
        } else {
            Ok(result)
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            self.fault(Operation::Head, location).await?;
            return self.inner.get_opts(location, options).await;
        }
        let fault = self.fault(Operation::Get, location).await?;
        let found = self.inner.get_opts(location, options).await?;
        let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let extensions = found.extensions.clone();
        let mut bytes = found.bytes().await?.to_vec();
        match fault {
            Fault::Corrupt => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Fault::Short => bytes.truncate(bytes.len() / 2),
            Fault::After => return Err(broken("while reading")),
            Fault::None | Fault::Before | Fault::Denied | Fault::Hang => {}
        }
        let stream = futures::stream::once(async move { Ok(Bytes::from(bytes)) });
        let payload = GetResultPayload::Stream(Box::pin(stream));
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes,
            extensions,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        match (self.script)(Operation::List, prefix.unwrap_or(&Path::default()), call) {
            Fault::None => self.inner.list(prefix),
            _ => Box::pin(futures::stream::once(async { Err(broken("while listing")) })),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
