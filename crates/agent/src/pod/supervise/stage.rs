//! From the agent into the sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use tombolo_proto::convert;
use tombolo_proto::courier::v1::Material;
use tombolo_transfer::Remote;

use super::super::Places;
use super::super::errand::Errand;
use super::{Error, PATIENCE};
use crate::executor;
use crate::sandbox;
use crate::supervisor::Specification;

/// A sandbox that is filled.
#[derive(Serialize, Deserialize)]
pub(super) struct Staged {
    /// What is to be run in it.
    pub(super) specification: Specification,
    /// What the job's log should say first.
    pub(super) notes: Vec<String>,
    /// Variables whose values are secrets. They are told through a pipe, and written nowhere.
    pub(super) secrets: BTreeMap<String, String>,
}

/// Fills the sandbox.
pub(super) async fn stage(places: Places) -> Result<Staged, Error> {
    let errand = Errand::open(places.courier(), PATIENCE).await?;
    let description = errand.describe().await?;
    let specification = serde_json::from_slice(&description.command)
        .map_err(|error| Error::Stage(format!("the agent's description cannot be read: {error}")))?;
    sandbox::make_folders(&places.sandbox).map_err(Error::system("make the sandbox"))?;
    fs::write(places.sandbox.join("job.json"), &description.job_file).map_err(Error::system("write job.json"))?;
    let artifacts = errand.artifacts();
    let mut notes = Vec::new();
    for material in &description.materials {
        match bring(&artifacts, &places.sandbox, material).await {
            Ok(()) => {}
            Err(reason) if material.optional => notes.push(executor::Material::missed(&material.folder, &reason)),
            Err(reason) => return Err(Error::Stage(format!("{}: {reason}", material.folder))),
        }
    }
    Ok(Staged {
        specification,
        notes,
        secrets: description.secrets.into_iter().collect(),
    })
}

async fn bring(artifacts: &Remote, sandbox: &Path, material: &Material) -> Result<(), String> {
    let manifest = convert::digest(&material.manifest, "Material.manifest").map_err(|error| error.to_string())?;
    let into = within(sandbox, &material.folder).ok_or("this is no folder of a sandbox")?;
    let options = executor::Material::options(&material.folder, &material.paths).map_err(|error| error.to_string())?;
    executor::Material::make_place(&into).map_err(|error| error.to_string())?;
    let unpacked = artifacts.unpack(manifest, &into, options).await;
    unpacked.map(drop).map_err(|error| error.to_string())
}

/// A folder in the sandbox; none if it would lie elsewhere.
fn within(sandbox: &Path, folder: &str) -> Option<PathBuf> {
    let mut components = Path::new(folder).components();
    let is_inside = components.all(|component| matches!(component, Component::Normal(_)));
    (is_inside && !folder.is_empty()).then(|| sandbox.join(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_lie_in_the_sandbox() {
        let sandbox = Path::new("/tombolo");
        assert_eq!(within(sandbox, "inputs/a"), Some("/tombolo/inputs/a".into()));
        for folder in ["", "..", "/etc", "inputs/../..", "./../x"] {
            assert_eq!(within(sandbox, folder), None, "{folder}");
        }
    }
}
