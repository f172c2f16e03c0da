//! What an agent says of copies.

use tombolo_core::control::{Copied, CopyStage};
use tombolo_core::id::JobId;

use super::{Error, digest, text, uuid};
use crate::agent::v1 as wire;

/// The longest account of a failure that is sent, in bytes.
const FAILURE_LIMIT: usize = 1024;

impl From<Copied> for wire::Copied {
    fn from(copied: Copied) -> Self {
        let (stage, mut failure) = match copied.stage {
            CopyStage::UnderWay => (wire::CopyStage::UnderWay, String::new()),
            CopyStage::Whole => (wire::CopyStage::Whole, String::new()),
            CopyStage::Failed(failure) => (wire::CopyStage::Failed, failure),
        };
        failure.truncate(failure.floor_char_boundary(FAILURE_LIMIT));
        Self {
            job: copied.job.uuid().as_bytes().to_vec(),
            manifest: copied.manifest.as_bytes().to_vec(),
            stage: stage.into(),
            failure,
        }
    }
}

impl TryFrom<wire::Copied> for Copied {
    type Error = Error;

    fn try_from(copied: wire::Copied) -> Result<Self, Error> {
        let stage = match wire::CopyStage::try_from(copied.stage) {
            Ok(wire::CopyStage::UnderWay) => CopyStage::UnderWay,
            Ok(wire::CopyStage::Whole) => CopyStage::Whole,
            Ok(wire::CopyStage::Failed) => CopyStage::Failed(text(copied.failure, "Copied.failure")?),
            Ok(wire::CopyStage::Unspecified) | Err(_) => {
                return Err(Error::new("Copied.stage", "is none of those that there are"));
            }
        };
        Ok(Self {
            job: JobId::new(uuid(&copied.job, "Copied.job")?),
            manifest: digest(&copied.manifest, "Copied.manifest")?,
            stage,
        })
    }
}
