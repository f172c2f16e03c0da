//! The store's own limit: the same chunks, written by the library that agents use, and nothing else done.

use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// As many as an agent has on their way.
const AT_ONCE: usize = 8;

/// All chunks of a project, as they are stored.
pub(crate) async fn chunks(store: &impl ObjectStore, project: &str) -> anyhow::Result<Vec<Bytes>> {
    let prefix = chunks_of(project);
    let listed: Vec<_> = store.list(Some(&prefix)).try_collect().await?;
    ensure!(!listed.is_empty(), "there is nothing below {prefix}");
    stream::iter(listed)
        .map(|object| async move { store.get(&object.location).await?.bytes().await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .context("cannot read the chunks")
}

/// Reads all chunks of a project from one store and writes them into another one, and says how long that took, in seconds.
pub(crate) async fn copy(
    from: &impl ObjectStore,
    project: &str,
    to: &impl ObjectStore,
    prefix: &str,
) -> anyhow::Result<f64> {
    let listed: Vec<_> = from.list(Some(&chunks_of(project))).try_collect().await?;
    let began = Instant::now();
    stream::iter(listed.iter().enumerate())
        .map(|(index, object)| async move {
            let chunk = from.get(&object.location).await?.bytes().await?;
            let path = Path::from(format!("{prefix}/{index}"));
            to.put(&path, chunk.into()).await.map(drop)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .context("cannot copy the chunks")?;
    Ok(began.elapsed().as_secs_f64())
}

fn chunks_of(project: &str) -> Path {
    Path::from(format!("agent/projects/{project}/chunks"))
}

/// Writes them below a prefix, and says how long that took, in seconds.
pub(crate) async fn write(store: &impl ObjectStore, prefix: &str, chunks: &[Bytes]) -> anyhow::Result<f64> {
    let began = Instant::now();
    stream::iter(chunks.iter().enumerate())
        .map(|(index, chunk)| async move {
            let path = Path::from(format!("{prefix}/{index}"));
            store.put(&path, chunk.clone().into()).await.map(drop)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .context("cannot write the chunks")?;
    Ok(began.elapsed().as_secs_f64())
}
