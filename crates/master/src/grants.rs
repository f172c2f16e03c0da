//! Signs the rights to read artifacts.

use std::sync::Arc;
use std::time::Duration;

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::grant::Grant;
use tombolo_identity::member::Member;

use crate::bootstrap::Foundation;
use crate::driver;

/// How long a cluster may read what an attempt needs. It may have to wait for a source that is away, and to begin again after
/// a restart; an assignment that is sent again carries a new grant.
const ATTEMPT_GRANT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the master itself may read an output for a user: a download of a large one over a slow link.
const DOWNLOAD_GRANT_LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// Signs grants with the installation's key.
#[derive(Clone)]
pub struct Grants {
    foundation: Arc<Foundation>,
}

impl Grants {
    /// Signs with the foundation's key.
    pub const fn new(foundation: Arc<Foundation>) -> Self {
        Self { foundation }
    }

    /// The right of the master itself.
    pub fn for_master(&self, project: ProjectId, manifest: Digest, now: Timestamp) -> Option<Vec<u8>> {
        self.sign(Member::Master, project, manifest, now, DOWNLOAD_GRANT_LIFE)
    }

    fn sign(
        &self,
        reader: Member,
        project: ProjectId,
        manifest: Digest,
        now: Timestamp,
        life: Duration,
    ) -> Option<Vec<u8>> {
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        let grant = Grant {
            reader,
            project,
            manifest,
            expires_at: Timestamp(now.0.saturating_add(life)),
        };
        let signed = self.foundation.signer.sign(&grant);
        signed
            .inspect_err(|error| tracing::error!(%error, "a grant was not signed"))
            .ok()
    }
}

impl driver::Grants for Grants {
    fn grant(&self, reader: &ClusterName, project: ProjectId, manifest: Digest, now: Timestamp) -> Option<Vec<u8>> {
        self.sign(
            Member::Cluster(reader.clone()),
            project,
            manifest,
            now,
            ATTEMPT_GRANT_LIFE,
        )
    }
}
