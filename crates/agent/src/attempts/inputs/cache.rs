//! A job's cache: brought if it can be had. It is never a reason to fail, and what became of it is said in the job's log.

use std::time::Duration;

use tokio::time::timeout;
use tombolo_core::attempt::{Assignment, CacheStart, OutputReference, TransferReceipt};
use tombolo_transfer::pull::Request;

use super::{Inputs, describe};
use crate::executor::Material;
use crate::sandbox::CACHE;

/// How long a cache may take to come: then the job does better without.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What came of a cache.
#[derive(Debug, Default)]
pub(in super::super) struct Brought {
    /// What belongs into the sandbox; it is in the cluster's own store by now.
    pub(in super::super) material: Option<Material>,
    /// How it came, if it had to.
    pub(in super::super) receipt: Option<TransferReceipt>,
    /// What the job's log should say.
    pub(in super::super) words: Option<String>,
}

impl Brought {
    fn nothing(words: String) -> Self {
        Self {
            words: Some(words),
            ..Self::default()
        }
    }
}

impl Inputs {
    /// Brings the cache that the job starts from, unless there is an `obstacle`.
    pub(in super::super) async fn bring_cache(&self, assignment: &Assignment, obstacle: Option<String>) -> Brought {
        let Some(order) = &assignment.cache else {
            return Brought::default();
        };
        let Some(start) = &order.start else {
            return Brought::nothing("the cache is empty: no earlier run has left one".to_owned());
        };
        let pulled = match obstacle {
            Some(obstacle) => Err(obstacle),
            None => match timeout(PATIENCE, self.pull_cache(assignment, start)).await {
                Ok(pulled) => pulled,
                Err(_) => Err(format!(
                    "it did not come within {}",
                    humantime::format_duration(PATIENCE)
                )),
            },
        };
        match pulled {
            Ok(receipt) => Brought {
                words: Some(format!("{}; it is of {}", describe(&receipt), origin(start))),
                material: Some(Material {
                    folder: CACHE.to_owned(),
                    manifest: receipt.manifest,
                    optional: true,
                    paths: Vec::new(),
                }),
                receipt: Some(receipt).filter(|receipt| !receipt.routes.is_empty()),
            },
            Err(reason) => Brought::nothing(format!(
                "the cache is empty: that of {} cannot be had: {reason}",
                origin(start)
            )),
        }
    }

    async fn pull_cache(&self, assignment: &Assignment, start: &CacheStart) -> Result<TransferReceipt, String> {
        let content = &start.content;
        let ways = self.network.input(content, assignment.waiting_per_hour);
        let request = Request {
            project: assignment.build.project,
            manifest: content.output.manifest,
            sources: ways.sources,
        };
        let pulled = self.puller.pull(request, |_| {}).await;
        let mut receipt = pulled.map_err(|error| error.to_string())?;
        if !receipt.routes.is_empty() {
            receipt.routes.extend(ways.unavailable);
        }
        Ok(TransferReceipt {
            cache: true,
            ..receipt.for_parent(None)
        })
    }
}

fn origin(start: &CacheStart) -> String {
    match start.branch.as_str() {
        "" => format!("build {}, which names no branch", start.build),
        branch => format!("build {} of the branch `{branch}`", start.build),
    }
}

/// What the job's log should say of the cache that a command has left.
pub(in super::super) fn kept(cache: &Result<Option<OutputReference>, String>) -> Option<String> {
    match cache {
        Ok(None) => None,
        Ok(Some(cache)) => Some(format!(
            "the cache is kept for the next run: {} in {} {}, digest {}",
            bytesize::ByteSize::b(cache.bytes).display().si(),
            cache.files,
            if cache.files == 1 { "file" } else { "files" },
            cache.manifest.short()
        )),
        Err(reason) => Some(format!("the cache is not kept, and the one before stays: {reason}")),
    }
}
