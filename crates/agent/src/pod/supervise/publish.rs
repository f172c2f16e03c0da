//! From the sandbox to the agent: the last things of an attempt.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tombolo_artifact::PackLimits;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::finish_request::{Cache, Output};
use tombolo_transfer::Remote;

use super::super::Places;
use super::super::errand::Errand;
use super::{Error, PATIENCE};
use crate::executor::cache::CacheFolder;
use crate::executor::sandbox_limits;
use crate::folder::read_record;
use crate::sandbox::CACHE;
use crate::supervisor::{Ending, Exit, Specification};
use crate::{sandbox, xunit};

/// How long the output of a pod that is to end may take: the system waits for half a minute all in all.
const HURRY: Duration = Duration::from_secs(10);

/// Hands over what the command has left, and says so.
pub(super) async fn publish(places: Places) -> Result<(), Error> {
    let exit: Option<Exit> = read_record(&places.attempt().exit()).map_err(Error::system("read the exit"))?;
    let errand = Errand::open(places.courier(), PATIENCE).await?;
    // A job that has removed the folder reports nothing.
    let tests = xunit::read_folder(&places.sandbox.join("upload/testresult")).unwrap_or_default();
    let artifacts = errand.artifacts();
    let specification: Specification = serde_json::from_slice(&errand.describe().await?.command)
        .map_err(|error| Error::Stage(format!("the agent's description cannot be read: {error}")))?;
    let generated = specification.generated.read(&places.sandbox);
    let limits = sandbox_limits(specification.output_limit_bytes);
    let output = output(&artifacts, &places.sandbox.join("output"), exit.as_ref(), limits).await;
    let cache = match exit.as_ref().filter(|exit| CacheFolder::may_be_kept(exit)) {
        Some(exit) => match errand.describe().await?.cache {
            Some(folder) => cache(&artifacts, folder, &places.sandbox.join(CACHE), exit, &tests).await,
            None => None,
        },
        None => None,
    };
    let finish = wire::FinishRequest {
        tests: Some(wire::TestResults {
            tests: tests.tests,
            failed: tests.failed,
            unreadable: tests.unreadable,
        }),
        output: Some(output),
        cache,
        generated: generated.map(Into::into),
    };
    Ok(errand.finish(finish).await?)
}

async fn cache(
    artifacts: &Remote,
    wanted: wire::CacheFolder,
    folder: &Path,
    exit: &Exit,
    tests: &xunit::Results,
) -> Option<Cache> {
    let wanted = CacheFolder {
        limit_bytes: wanted.limit_bytes,
        replaces: wanted.replaces,
    };
    let pack = async |limits| artifacts.pack(folder, limits).await;
    match wanted.keep(folder, Some(exit), tests, pack).await {
        Ok(kept) => kept.map(|kept| Cache::KeptCache(kept.manifest.as_bytes().to_vec())),
        Err(reason) => Some(Cache::RefusedCache(reason)),
    }
}

async fn output(artifacts: &Remote, folder: &Path, exit: Option<&Exit>, limits: PackLimits) -> Output {
    if exit.is_none_or(|exit| exit.started_at.is_none()) || sandbox::is_empty(folder) {
        return Output::Nothing(wire::Nothing {});
    }
    let packing = artifacts.pack(folder, limits);
    let packed = if exit.is_some_and(|exit| exit.ending == Ending::Terminated) {
        match timeout(HURRY, packing).await {
            Ok(packed) => packed,
            Err(_) => return Output::Refused("the pod had to end before all of it was stored".to_owned()),
        }
    } else {
        packing.await
    };
    match packed {
        Ok(output) => Output::Manifest(output.manifest.as_bytes().to_vec()),
        Err(error) => Output::Refused(error.to_string()),
    }
}
