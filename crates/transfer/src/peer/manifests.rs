use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use tombolo_artifact::Manifest;
use tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use crate::store::{ChunkStore, Error};

/// What the manifests that are kept may take together, encoded: one of the longest kind, or hundreds of ordinary ones.
const KEPT_BYTES: usize = MAXIMUM_MANIFEST_BYTES as usize;
/// How many are kept at the most.
const KEPT_MANIFESTS: usize = 256;

type Key = (ProjectId, Digest);
type Slot = Arc<OnceCell<Manifest>>;

/// The manifests that were asked for last: every chunk that somebody reads needs one.
#[derive(Default)]
pub(super) struct Manifests {
    /// The one used last comes last.
    slots: Mutex<Vec<(Key, Slot)>>,
}

impl Manifests {
    /// The manifest, from memory or from the store. Whoever asks for the same at the same time waits for one reading.
    pub(super) async fn get(&self, store: &ChunkStore, project: ProjectId, digest: Digest) -> Result<Manifest, Error> {
        let key = (project, digest);
        let slot = self.slot(key);
        match slot.get_or_try_init(|| store.get_manifest(project, digest)).await {
            Ok(manifest) => {
                let manifest = manifest.clone();
                self.trim();
                Ok(manifest)
            }
            Err(error) => {
                self.forget(&slot);
                Err(error)
            }
        }
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match slots.iter().position(|(kept, _)| *kept == key) {
            Some(position) => slots.remove(position).1,
            None => Slot::default(),
        };
        slots.push((key, slot.clone()));
        slot
    }

    fn trim(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |slot: &Slot| slot.get().map_or(0, |manifest| manifest.encoded().len());
        let mut total: usize = slots.iter().map(|(_, slot)| bytes(slot)).sum();
        while slots.len() > 1 && (total > KEPT_BYTES || slots.len() > KEPT_MANIFESTS) {
            let (_, oldest) = slots.remove(0);
            total -= bytes(&oldest);
        }
    }

    fn forget(&self, slot: &Slot) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(_, kept)| !Arc::ptr_eq(kept, slot) || kept.initialized());
    }
}
