//! The sandbox of an attempt: source, inputs and cache, all of it there before the command starts.

use serde::{Deserialize, Serialize};
use tombolo_core::attempt::{Assignment, TransferReceipt};

use super::life::{Broken, broken, fault};
use super::{Shared, inputs, log, phases};
use crate::couriers::Losses;
use crate::executor::{self, Executor};
use crate::folder::{AttemptFolder, Durability, write_record};
use crate::volumes;

/// How often a sandbox is filled if the cluster's store turns out to have something not whole.
const TIMES: u32 = 8;

/// What `prepared.json` says: the sandbox is complete.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prepared {
    pub(super) inputs: Vec<TransferReceipt>,
}

/// Makes the sandbox and records that it is there.
pub(super) async fn prepare<E: Executor>(
    shared: &Shared<E>,
    folder: &AttemptFolder,
    assignment: &Assignment,
) -> Result<Prepared, Broken> {
    let surroundings = &shared.surroundings;
    surroundings.inputs.begin_upload(assignment).await.map_err(fault)?;
    for volume in volumes::of(assignment) {
        surroundings
            .volumes
            .take(volume, assignment.attempt)
            .await
            .map_err(fault)?;
        let made = surroundings.executor.make_volume(volume, assignment).await;
        made.map_err(broken)?;
    }
    let mut times = 1;
    let (notes, inputs) = loop {
        match fill(shared, folder, assignment).await {
            // Each time, what was found damaged is not found again.
            Err(Unfilled::Lost(reason)) if times < TIMES => {
                tracing::warn!(attempt = %assignment.attempt, reason, "what is in the store is not whole; it is brought again");
                surroundings.inputs.distrust(assignment.build.project);
                times += 1;
            }
            filled => break filled?,
        }
    };
    log::note(folder, notes).await.map_err(fault)?;
    let prepared = Prepared { inputs };
    write_record(&folder.prepared(), &prepared, Durability::Fast).map_err(fault)?;
    Ok(prepared)
}

/// Why a sandbox was not filled.
enum Unfilled {
    /// The cluster's own store has something not whole any more, which may be elsewhere.
    Lost(String),
    Broken(Broken),
}

impl From<Unfilled> for Broken {
    fn from(unfilled: Unfilled) -> Self {
        match unfilled {
            Unfilled::Lost(reason) => Self::Fault(reason),
            Unfilled::Broken(broken) => broken,
        }
    }
}

impl From<executor::Error> for Unfilled {
    fn from(error: executor::Error) -> Self {
        match error {
            executor::Error::Material { is_lost: true, .. } => Self::Lost(error.to_string()),
            error => Self::Broken(broken(error)),
        }
    }
}

/// Fills a fresh sandbox. Returns what the job's log should say, and how the inputs came.
async fn fill<E: Executor>(
    shared: &Shared<E>,
    folder: &AttemptFolder,
    assignment: &Assignment,
) -> Result<(Vec<String>, Vec<TransferReceipt>), Unfilled> {
    let surroundings = &shared.surroundings;
    let mut notes = surroundings.executor.prepare(folder, assignment).await?;
    let obstacle = surroundings.executor.obstacle_to_cache(assignment);
    let bringing = async {
        let brought = surroundings.inputs.bring(assignment, &surroundings.notices).await;
        let brought = brought.map_err(|error| Broken::Input(Box::new(error)))?;
        Ok((brought, surroundings.inputs.bring_cache(assignment, obstacle).await))
    };
    let within = phases::transfer(&phases::limits(assignment), bringing).await;
    let (brought, cache) = within.and_then(|brought| brought).map_err(Unfilled::Broken)?;
    let (mut materials, mut inputs): (Vec<_>, Vec<_>) = brought.into_iter().unzip();
    notes.extend(inputs.iter().map(inputs::describe));
    materials.extend(cache.material);
    inputs.extend(cache.receipt);
    notes.extend(cache.words);
    notes.extend(surroundings.executor.stage(folder, assignment, &materials).await?);
    Ok((notes, inputs))
}

/// Brings what turns out not to be whole while a pod fills its sandbox itself. Returns only when something cannot be brought.
pub(super) async fn bring_again<E>(
    shared: &Shared<E>,
    assignment: &Assignment,
    losses: Option<Losses>,
) -> inputs::Error {
    let Some(losses) = losses else {
        return std::future::pending().await;
    };
    let surroundings = &shared.surroundings;
    loop {
        let manifest = losses.next().await;
        tracing::warn!(attempt = %assignment.attempt, %manifest, "what is in the store is not whole; it is brought again");
        let brought = surroundings
            .inputs
            .bring_again(assignment, manifest, &surroundings.notices)
            .await;
        match brought {
            Ok(was_brought) => losses.settle(manifest, was_brought),
            Err(error) => return error,
        }
    }
}
