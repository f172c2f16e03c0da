//! `depends_on`.

use tombolo_core::build::graph::MAX_JOBS;
use tombolo_core::build::{Dependency, StateSet, TerminalState};
use tombolo_core::name::JobName;

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, nearest, quote};
use crate::format::Dialect;
use crate::reader::{Piece, Scalar, Token};
use crate::schema::fields;

/// The states that InfraBox lets a job name.
const STATES: [TerminalState; 4] = [
    TerminalState::Finished,
    TerminalState::Error,
    TerminalState::Failure,
    TerminalState::Unstable,
];

/// A state may be named more than once.
const MAX_STATES: usize = 100;

const EXPECTED: &str = "text (a job's name) or an object with `job` and `on`";

/// The dependencies, and where each is: its index in the file's list and its position.
type Dependencies = (Vec<Dependency>, Vec<(usize, Position)>);

pub(super) fn read<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<Dependencies> {
    let (mut dependencies, mut places) = (Vec::new(), Vec::new());
    decoder.filled_list(value, "a list of jobs", MAX_JOBS, |decoder, index, item| {
        let at = item.at;
        let dependency = match &item.piece {
            Piece::MapStart => read_object(decoder, &item)?,
            Piece::Scalar(Scalar::Text(_)) => read_job(decoder, item)?.map(|job| Dependency {
                job,
                on: default_states(),
            }),
            _ => decoder.wrong_kind(&item, EXPECTED).map(|()| None)?,
        };
        if let Some(dependency) = dependency {
            dependencies.push(dependency);
            places.push((index, at));
        }
        Ok(())
    })?;
    Ok((dependencies, places))
}

fn default_states() -> StateSet {
    StateSet::of(&[TerminalState::Finished])
}

fn read_object<'a>(decoder: &mut Decoder<'a>, item: &Token<'a>) -> Step<Option<Dependency>> {
    let (mut job, mut job_given) = (None, false);
    let mut on = default_states();
    decoder.map(item, EXPECTED, |decoder, field, at, value| {
        match field {
            "job" => {
                job_given = true;
                job = read_job(decoder, value)?;
            }
            "on" => on = read_states(decoder, &value)?,
            other => {
                decoder.fault(at, fields::unknown(other, ["job", "on"]));
                decoder.skip(&value)?;
            }
        }
        Ok(())
    })?;
    if !job_given {
        let complaint = Complaint::new("the field is missing").hint("name the job that comes before this one");
        decoder.field_fault("job", item.at, complaint);
    }
    Ok(job.map(|job| Dependency { job, on }))
}

fn read_job<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<JobName>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: a job's name")? else {
        return Ok(None);
    };
    let job = JobName::new(&text).ok();
    if job.is_none() {
        let complaint = Complaint::new(format!("{} is not a valid name of a job", quote(&text)));
        decoder.fault(at, complaint.hint(format!("a name is {}", JobName::RULE)));
    }
    Ok(job)
}

fn read_states<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<StateSet> {
    let mut states = Vec::new();
    decoder.filled_list(value, "a list of states", MAX_STATES, |decoder, _, item| {
        let at = item.at;
        if let Some(text) = decoder.text(item, "text: a state")? {
            match read_state(&text, decoder.dialect) {
                Ok(named) => states.extend(named),
                Err(complaint) => decoder.fault(at, complaint),
            }
        }
        Ok(())
    })?;
    Ok(StateSet::of(&states))
}

fn read_state(text: &str, dialect: Dialect) -> Result<Vec<TerminalState>, Complaint> {
    let allowed: &[TerminalState] = match dialect {
        Dialect::InfraBox => &STATES,
        Dialect::Tombolo => &TerminalState::ALL,
    };
    if text == "*" {
        return Ok(TerminalState::ALL.to_vec());
    }
    if let Some(state) = allowed.iter().find(|state| state.as_str() == text) {
        return Ok(vec![*state]);
    }
    if TerminalState::ALL.iter().any(|state| state.as_str() == text) {
        let message = format!("the state {} can be named in files of Tombolo's own only", quote(text));
        return Err(Complaint::new(message).hint("use `*`, or call the file `tombolo.yaml`"));
    }
    let names = || allowed.iter().map(|state| state.as_str());
    let complaint = Complaint::new(format!("unknown state {}", quote(text)));
    Err(match nearest(text, names()) {
        Some(name) => complaint.hint(format!("did you mean `{name}`?")),
        None => complaint.hint(format!("known here are {}", fields::listed(names().chain(["*"])))),
    })
}
