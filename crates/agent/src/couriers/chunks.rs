//! What a courier may read: the inputs of its attempt, by their digests.

use std::sync::Arc;

use tombolo_core::digest::Digest;
use tombolo_transfer::peer::{Authorize, Caller, Readable, Remedy};
use tonic::Status;

use super::Couriers;

impl Authorize for Couriers {
    fn authorize(&self, caller: &Caller<'_>, right: &[u8]) -> Result<Readable, Status> {
        let (attempt, expected) = self.caller(caller.metadata)?;
        let manifest = <[u8; 32]>::try_from(right).map(Digest::new);
        match manifest {
            Ok(manifest) if expected.duty.may_read(manifest) => Ok(Readable {
                project: expected.duty.project,
                manifest,
            }),
            _ => {
                tracing::warn!(%attempt, "a courier asks for what is no input of its attempt");
                Err(Status::permission_denied("this is no input of the attempt"))
            }
        }
    }

    fn remedy(&self, caller: &Caller<'_>) -> Option<Arc<dyn Remedy>> {
        let (_, expected) = self.caller(caller.metadata).ok()?;
        Some(Arc::new(expected.losses.clone()))
    }
}
