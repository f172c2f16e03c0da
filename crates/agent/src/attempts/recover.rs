//! What an agent that comes back finds on the disk.

use std::fs;
use std::io;
use std::path::Path;

use tombolo_core::attempt::{Assignment, Outcome, Phase};
use tombolo_core::id::AttemptId;

use super::life::Begin;
use super::prepare::Prepared;
use super::{faulty, log, wall};
use crate::executor::Executor;
use crate::folder::{AttemptFolder, Durability, read_record, write_record};
use crate::supervisor::Started;

/// An attempt that was accepted before.
pub(super) struct Recovered {
    pub(super) attempt: AttemptId,
    /// How far it is at least.
    pub(super) phase: Phase,
    pub(super) begin: Begin,
}

/// The attempts in `folder`, those that run first: they get the slots. What was never accepted is removed, what is lost has ended.
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
            found.push(lost(attempt, &path));
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

/// Ends an attempt whose command went with the machine. It stays until the master has heard of that: it would start it again else, if it
/// did not know yet that this cluster had it.
fn lost(attempt: AttemptId, folder: &AttemptFolder) -> Recovered {
    let message = "the command and its supervisor have ended with their machine, or by force: this attempt is lost";
    tracing::warn!(%attempt, "{message}");
    let started: Option<Started> = read_record(&folder.started()).unwrap_or_default();
    let log_lines = log::conclude(folder, message).unwrap_or_else(|error| {
        tracing::warn!(%attempt, %error, "the log of a lost attempt does not say that it is lost");
        log::length(folder)
    });
    let outcome = Outcome {
        started_at: started.map(|started| started.started_at),
        log_lines,
        lost: true,
        ..faulty(message, wall())
    };
    if let Err(error) = write_record(&folder.ended(), &outcome, Durability::Synced) {
        // The next agent finds it as this one did.
        tracing::warn!(%attempt, %error, "cannot record that an attempt is lost");
    }
    Recovered {
        attempt,
        phase: Phase::Ended(outcome.clone()),
        begin: Begin::Ended(Box::new(outcome)),
    }
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
