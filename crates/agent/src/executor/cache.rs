//! Which cache folders are kept, wherever the command ran.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tombolo_artifact::PackLimits;
use tombolo_core::attempt::{CacheOrder, OutputReference};

use crate::sandbox;
use crate::supervisor::{Ending, Exit};
use crate::xunit;

/// How long a cache may take to be stored: nobody waits longer for the end of a job that has finished.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// What is to be kept of a cache folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheFolder {
    /// The most, in bytes.
    pub limit_bytes: u64,
    /// There is an earlier cache: then it counts as well that the folder is empty.
    pub replaces: bool,
}

impl From<&CacheOrder> for CacheFolder {
    fn from(order: &CacheOrder) -> Self {
        Self {
            limit_bytes: order.limit_bytes,
            replaces: order.start.is_some(),
        }
    }
}

impl CacheFolder {
    /// Whether the command has succeeded.
    pub(crate) fn may_be_kept(exit: &Exit) -> bool {
        exit.ending == Ending::Exited { code: 0 }
    }

    /// Stores the folder by `pack` if the command has succeeded, and no test has failed.
    pub(crate) async fn keep<E: std::fmt::Display>(
        self,
        folder: &Path,
        exit: Option<&Exit>,
        tests: &xunit::Results,
        pack: impl AsyncFnOnce(PackLimits) -> Result<OutputReference, E>,
    ) -> Result<Option<OutputReference>, String> {
        let succeeded = exit.is_some_and(Self::may_be_kept);
        if !succeeded || tests.complaint().is_some() || (sandbox::is_empty(folder) && !self.replaces) {
            return Ok(None);
        }
        let limits = PackLimits {
            bytes: self.limit_bytes,
            ..PackLimits::default()
        };
        match timeout(PATIENCE, pack(limits)).await {
            Ok(Ok(stored)) => Ok(Some(stored)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!(
                "it was not stored within {}",
                humantime::format_duration(PATIENCE)
            )),
        }
    }
}
