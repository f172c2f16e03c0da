//! What goes into a sandbox and what comes out of it: from the cluster's store, and into it.

use std::path::PathBuf;

use tombolo_artifact::PackLimits;
use tombolo_core::attempt::OutputReference;
use tombolo_core::id::ProjectId;
use tombolo_transfer::{ChunkStore, store};

use super::super::cache::CacheFolder;
use super::super::{Collected, Error, Material};
use super::blocking;
use crate::generated::Looked;
use crate::sandbox::CACHE;
use crate::supervisor::Exit;
use crate::xunit;

/// A sandbox on the agent's own system, and the store that its contents come from and go to.
pub(super) struct Belongings {
    pub(super) store: ChunkStore,
    pub(super) project: ProjectId,
    pub(super) sandbox: PathBuf,
    /// What is kept of the cache folder; none if the job asks for no cache.
    pub(super) cache: Option<CacheFolder>,
    /// What the output may be at most.
    pub(super) limits: PackLimits,
    /// Where the job file that it leaves is looked for.
    pub(super) generated: Looked,
}

impl Belongings {
    /// Unpacks all of `materials`, and tells what of that did not work and need not.
    pub(super) async fn unpack(&self, materials: &[Material]) -> Result<Vec<String>, Error> {
        let mut missed = Vec::new();
        for material in materials {
            let into = self.sandbox.join(&material.folder);
            let options = Material::options(&material.folder, &material.paths).map_err(|error| Error::Material {
                folder: material.folder.clone(),
                reason: error.to_string(),
                is_lost: false,
            })?;
            Material::make_place(&into).map_err(|error| Error::Material {
                folder: material.folder.clone(),
                reason: error.to_string(),
                is_lost: false,
            })?;
            let unpacked = self.store.unpack(self.project, material.manifest, &into, options).await;
            let Err(error) = unpacked else { continue };
            let (folder, reason) = (material.folder.clone(), error.to_string());
            if !material.optional {
                let is_lost = matches!(error, store::Error::Missing { .. } | store::Error::Damaged { .. });
                return Err(Error::Material {
                    folder,
                    reason,
                    is_lost,
                });
            }
            missed.push(Material::missed(&folder, &reason));
        }
        Ok(missed)
    }

    /// Stores the output, and the cache of a command that has succeeded, and reads what the tests have reported.
    pub(super) async fn collect(&self, exit: Option<&Exit>) -> Result<Collected, Error> {
        let folder = self.sandbox.join("upload/testresult");
        // A job that has removed the folder reports nothing.
        let (sandbox, looked) = (self.sandbox.clone(), self.generated.clone());
        let read = blocking(move || {
            let tests = xunit::read_folder(&folder).unwrap_or_default();
            Ok((tests, looked.read(&sandbox)))
        });
        let (tests, generated) = read.await.map_err(Error::system("read test results"))?;
        Ok(Collected {
            output: self.output().await,
            cache: self.keep_cache(exit, &tests).await,
            tests,
            generated,
        })
    }

    async fn keep_cache(&self, exit: Option<&Exit>, tests: &xunit::Results) -> Result<Option<OutputReference>, String> {
        let Some(cache) = self.cache else { return Ok(None) };
        let folder = self.sandbox.join(CACHE);
        let pack = async |limits| self.store.pack(self.project, &folder, limits).await;
        cache.keep(&folder, exit, tests, pack).await
    }

    /// None for an output without anything in it.
    async fn output(&self) -> Result<Option<OutputReference>, String> {
        let folder = self.sandbox.join("output");
        if crate::sandbox::is_empty(&folder) {
            return Ok(None);
        }
        let packed = self.store.pack(self.project, &folder, self.limits).await;
        packed.map(Some).map_err(|error| error.to_string())
    }
}
