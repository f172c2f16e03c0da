//! Phases, outcomes and receipts.

use tombolo_core::attempt::{GeneratedFile, LostInput, Outcome, OutputReference, Phase, TransferReceipt};
use tombolo_core::build::TerminalState;
use tombolo_core::id::JobId;
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::time::Timestamp;

use super::{Error, digest, required, text, uuid};
use crate::agent::v1 as wire;

/// How many inputs one attempt can have at the most: above every graph's limit, a guard against absurd messages.
const MAX_RECEIPTS: usize = 100_000;

/// How many inputs one attempt can miss at the most: an agent gives up at the first, or at those that came at the same time.
const MAX_LOST_INPUTS: usize = 64;

/// How many clusters can have been asked for one input: more than an assignment names.
const MAX_ASKED: usize = 32;

impl From<TerminalState> for wire::TerminalState {
    fn from(state: TerminalState) -> Self {
        match state {
            TerminalState::Finished => Self::Finished,
            TerminalState::Failure => Self::Failure,
            TerminalState::Error => Self::Error,
            TerminalState::Unstable => Self::Unstable,
            TerminalState::Killed => Self::Killed,
            TerminalState::Skipped => Self::Skipped,
        }
    }
}

pub(super) fn terminal_state(number: i32, field: &'static str) -> Result<TerminalState, Error> {
    TerminalState::ALL
        .into_iter()
        .find(|state| i32::from(wire::TerminalState::from(*state)) == number)
        .ok_or_else(|| Error::new(field, format!("has no state {number}")))
}

pub(super) fn job_name(name: &str, field: &'static str) -> Result<JobName, Error> {
    JobName::new(name).map_err(|error| Error::new(field, error))
}

pub(super) fn cluster_name(name: &str, field: &'static str) -> Result<ClusterName, Error> {
    ClusterName::new(name).map_err(|error| Error::new(field, error))
}

impl From<OutputReference> for wire::Output {
    fn from(output: OutputReference) -> Self {
        Self {
            manifest: output.manifest.as_bytes().to_vec(),
            bytes: output.bytes,
            files: output.files,
        }
    }
}

impl TryFrom<wire::Output> for OutputReference {
    type Error = Error;

    fn try_from(output: wire::Output) -> Result<Self, Error> {
        let manifest = digest(&output.manifest, "Output.manifest")?;
        Ok(Self {
            manifest,
            bytes: output.bytes,
            files: output.files,
        })
    }
}

fn receipts(receipts: Vec<wire::TransferReceipt>, field: &'static str) -> Result<Vec<TransferReceipt>, Error> {
    check_count(receipts.len(), MAX_RECEIPTS, field)?;
    receipts.into_iter().map(TransferReceipt::try_from).collect()
}

impl From<LostInput> for wire::LostInput {
    fn from(lost: LostInput) -> Self {
        let names = |names: Vec<ClusterName>| names.iter().map(ToString::to_string).collect();
        Self {
            parent: lost.parent.uuid().as_bytes().to_vec(),
            manifest: lost.manifest.as_bytes().to_vec(),
            missing: names(lost.missing),
            unreachable: names(lost.unreachable),
        }
    }
}

impl TryFrom<wire::LostInput> for LostInput {
    type Error = Error;

    fn try_from(lost: wire::LostInput) -> Result<Self, Error> {
        Ok(Self {
            parent: JobId::new(uuid(&lost.parent, "LostInput.parent")?),
            manifest: digest(&lost.manifest, "LostInput.manifest")?,
            missing: clusters(&lost.missing, "LostInput.missing")?,
            unreachable: clusters(&lost.unreachable, "LostInput.unreachable")?,
        })
    }
}

fn clusters(names: &[String], field: &'static str) -> Result<Vec<ClusterName>, Error> {
    check_count(names.len(), MAX_ASKED, field)?;
    names.iter().map(|name| cluster_name(name, field)).collect()
}

fn lost_inputs(lost: Vec<wire::LostInput>) -> Result<Vec<LostInput>, Error> {
    check_count(lost.len(), MAX_LOST_INPUTS, "Outcome.lost_inputs")?;
    lost.into_iter().map(LostInput::try_from).collect()
}

fn check_count(count: usize, limit: usize, field: &'static str) -> Result<(), Error> {
    if count > limit {
        return Err(Error::new(field, format!("has {count} entries, more than {limit}")));
    }
    Ok(())
}

impl From<Outcome> for wire::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            state: wire::TerminalState::from(outcome.state).into(),
            exit_code: outcome.exit_code,
            message: outcome.message,
            started_at: outcome.started_at.map(|at| at.0),
            ended_at: outcome.ended_at.0,
            output: outcome.output.map(Into::into),
            cache: outcome.cache.map(|cache| (*cache).into()),
            inputs: outcome.inputs.into_iter().map(Into::into).collect(),
            lost_inputs: outcome.lost_inputs.into_iter().map(Into::into).collect(),
            lease_ended: outcome.lease_ended || outcome.lost,
            lost: outcome.lost,
            log_lines: outcome.log_lines,
            generated: outcome.generated.map(|file| (*file).into()),
        }
    }
}

impl TryFrom<wire::Outcome> for Outcome {
    type Error = Error;

    fn try_from(outcome: wire::Outcome) -> Result<Self, Error> {
        let state = terminal_state(outcome.state, "Outcome.state")?;
        if state == TerminalState::Skipped {
            return Err(Error::new("Outcome.state", "an attempt cannot end as `skipped`"));
        }
        Ok(Self {
            state,
            exit_code: outcome.exit_code,
            message: text(outcome.message, "Outcome.message")?,
            started_at: outcome.started_at.map(Timestamp),
            ended_at: Timestamp(outcome.ended_at),
            output: outcome.output.map(OutputReference::try_from).transpose()?,
            cache: outcome
                .cache
                .map(|cache| OutputReference::try_from(cache).map(Box::new))
                .transpose()?,
            inputs: receipts(outcome.inputs, "Outcome.inputs")?,
            lost_inputs: lost_inputs(outcome.lost_inputs)?,
            lease_ended: outcome.lease_ended && !outcome.lost,
            lost: outcome.lost,
            log_lines: outcome.log_lines,
            generated: outcome
                .generated
                .map(|file| GeneratedFile::try_from(file).map(Box::new))
                .transpose()?,
        })
    }
}

impl From<Phase> for wire::Phase {
    fn from(phase: Phase) -> Self {
        use wire::phase::Phase as Wire;
        let phase = match phase {
            Phase::Accepted => Wire::Accepted(wire::Accepted {}),
            Phase::Preparing => Wire::Preparing(wire::Preparing {}),
            Phase::Running { started_at, inputs } => Wire::Running(wire::Running {
                started_at: started_at.0,
                inputs: inputs.into_iter().map(Into::into).collect(),
            }),
            Phase::Publishing => Wire::Publishing(wire::Publishing {}),
            Phase::Ended(outcome) => Wire::Ended(outcome.into()),
        };
        Self { phase: Some(phase) }
    }
}

pub(super) fn phase(phase: Option<wire::Phase>, field: &'static str) -> Result<Phase, Error> {
    use wire::phase::Phase as Wire;
    Ok(match required(phase.and_then(|phase| phase.phase), field)? {
        Wire::Accepted(_) => Phase::Accepted,
        Wire::Preparing(_) => Phase::Preparing,
        Wire::Running(running) => Phase::Running {
            started_at: Timestamp(running.started_at),
            inputs: receipts(running.inputs, "Running.inputs")?,
        },
        Wire::Publishing(_) => Phase::Publishing,
        Wire::Ended(outcome) => Phase::Ended(outcome.try_into()?),
    })
}
