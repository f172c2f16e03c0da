//! What an agent that comes back finds on the disk.

use std::fs;
use std::io;
use std::path::Path;

use tombolo_core::attempt::{Assignment, Outcome, Phase};
use tombolo_core::id::AttemptId;

use super::life::Begin;
use super::prepare::Prepared;
use crate::executor::Executor;
use crate::folder::{AttemptFolder, read_record};
use crate::supervisor::Started;

/// An attempt that was accepted before.
pub(super) struct Recovered {
    pub(super) attempt: AttemptId,
    /// How far it is at least.
    pub(super) phase: Phase,
    pub(super) begin: Begin,
}

/// The attempts in `folder`, those that run first: they get the slots. What was never accepted is removed.
pub(super) fn find(folder: &Path, executor: &impl Executor) -> io::Result<Vec<Recovered>> {
    fs::create_dir_all(folder)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(attempt) = name.to_str().and_then(|name| name.parse().ok()) else {
            tracing::warn!(?name, "this is not an attempt's folder; it is left alone");
            continue;
        };
        let path = AttemptFolder::new(entry.path());
        if executor.is_lost(&path, attempt)? {
            // The hello does not name it, so that the master replaces it.
            tracing::warn!(%attempt, "the command and its supervisor are gone, with this system or by force: the attempt is lost");
            tombolo_artifact::remove_tree(path.path())?;
        } else if path.assignment().exists() || path.ended().exists() {
            found.push(recovered(attempt, &path));
        } else {
            // Nobody was told of it, and nothing was started.
            tombolo_artifact::remove_tree(path.path())?;
        }
    }
    found.sort_by_key(|recovered| (std::cmp::Reverse(recovered.phase.rank()), recovered.attempt));
    Ok(found)
}

fn recovered(attempt: AttemptId, folder: &AttemptFolder) -> Recovered {
    read(folder).map_or_else(
        |error| {
            // Records are written whole: this is a disk that fails.
            tracing::error!(%attempt, %error, "the records of an attempt cannot be read");
            Recovered {
                attempt,
                phase: Phase::Accepted,
                begin: Begin::Broken(format!("its records cannot be read: {error}")),
            }
        },
        |found| match found {
            Found::Ended(outcome) => Recovered {
                attempt,
                phase: Phase::Ended(outcome.clone()),
                begin: Begin::Ended(Box::new(outcome)),
            },
            Found::Open(assignment, phase) => Recovered {
                attempt,
                phase,
                begin: Begin::Resume(assignment),
            },
        },
    )
}

enum Found {
    Ended(Outcome),
    Open(Box<Assignment>, Phase),
}

fn read(folder: &AttemptFolder) -> io::Result<Found> {
    if let Some(outcome) = read_record(&folder.ended())? {
        return Ok(Found::Ended(outcome));
    }
    let assignment: Option<Assignment> = read_record(&folder.assignment())?;
    let assignment = assignment.ok_or(io::ErrorKind::NotFound)?;
    if folder.exit().exists() {
        return Ok(Found::Open(Box::new(assignment), Phase::Publishing));
    }
    let started: Option<Started> = read_record(&folder.started())?;
    let Some(Started { started_at, .. }) = started else {
        return Ok(Found::Open(Box::new(assignment), Phase::Accepted));
    };
    let prepared: Prepared = read_record(&folder.prepared())?.unwrap_or_default();
    let inputs = prepared.inputs;
    Ok(Found::Open(Box::new(assignment), Phase::Running { started_at, inputs }))
}
