//! What goes into a sandbox and what comes out of it: from the cluster's store, and into it.

use std::path::PathBuf;

use tombolo_artifact::{PackLimits, UnpackOptions};
use tombolo_core::attempt::OutputReference;
use tombolo_core::id::ProjectId;
use tombolo_transfer::ChunkStore;

use super::super::{Collected, Error, Material};
use super::blocking;
use crate::xunit;

/// A sandbox on the agent's own system, and the store that its contents come from and go to.
pub(super) struct Belongings {
    pub(super) store: ChunkStore,
    pub(super) project: ProjectId,
    pub(super) sandbox: PathBuf,
}

impl Belongings {
    /// Unpacks all of `materials`.
    pub(super) async fn unpack(&self, materials: &[Material]) -> Result<(), Error> {
        for material in materials {
            let into = self.sandbox.join(&material.folder);
            let options = UnpackOptions::default();
            let unpacked = self.store.unpack(self.project, material.manifest, &into, options).await;
            unpacked.map_err(|error| Error::Material {
                folder: material.folder.clone(),
                reason: error.to_string(),
            })?;
        }
        Ok(())
    }

    /// Stores the output, and reads what the tests have reported.
    pub(super) async fn collect(&self) -> Result<Collected, Error> {
        let folder = self.sandbox.join("upload/testresult");
        // A job that has removed the folder reports nothing.
        let read = blocking(move || Ok(xunit::read_folder(&folder).unwrap_or_default())).await;
        Ok(Collected {
            output: self.output().await,
            tests: read.map_err(Error::system("read test results"))?,
        })
    }

    /// None for an output without anything in it.
    async fn output(&self) -> Result<Option<OutputReference>, String> {
        let folder = self.sandbox.join("output");
        if crate::sandbox::is_empty(&folder) {
            return Ok(None);
        }
        let packed = self.store.pack(self.project, &folder, PackLimits::default()).await;
        packed.map(Some).map_err(|error| error.to_string())
    }
}
