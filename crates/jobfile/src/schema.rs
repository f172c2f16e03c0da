//! The fields of a job file, and what they may hold.

mod fields;
mod graph;
mod job;

use tombolo_core::build::JobSpec;
use tombolo_core::build::graph::{MAX_DEPENDENCIES, MAX_JOBS};
use tombolo_core::build::hook::Hook;

pub(crate) use job::{folder_of, resolve};

#[cfg(test)]
pub(crate) use fields::{FIELDS, JobType};
use job::MAX_FILLED_BYTES;

use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Faults, Position, quote};
use crate::format::Dialect;
use crate::reader::{Piece, Scalar, Token};

/// The most jobs in one list of hooks.
const MAX_HOOKS: usize = 100;

/// Reads the whole file and checks it: the jobs, as far as they could be read, and all faults.
pub(crate) fn read(mut decoder: Decoder<'_>, file_name: &str) -> (Jobs, Faults) {
    let mut jobs = Jobs::default();
    if read_root(&mut decoder, &mut jobs).is_ok() && !jobs.too_many {
        graph::check(&jobs, &mut decoder.faults);
    }
    (jobs, decoder.faults.into_faults(file_name))
}

/// The jobs that have a name, with those that matrices make. What is wrong with their other fields has been recorded, and is left out here.
pub(crate) struct Jobs {
    pub(crate) specs: Vec<JobSpec>,
    /// Where the jobs of `specs` are in the file.
    pub(crate) places: Vec<Place>,
    dependencies: usize,
    too_many: bool,
    /// How many bytes the texts of jobs that matrices make may still have.
    text_left: usize,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            specs: Vec::new(),
            places: Vec::new(),
            dependencies: 0,
            too_many: false,
            text_left: MAX_FILLED_BYTES,
        }
    }
}

/// Where a job is in the file.
#[derive(Clone)]
pub(crate) struct Place {
    /// The list that it is in, if that is one of hooks.
    pub(crate) hook: Option<Hook>,
    /// The job's index in that list.
    pub(crate) index: usize,
    /// Its name.
    pub(crate) name: Position,
    /// Its dependencies: their indexes in the job's list, and where they are.
    dependencies: Vec<(usize, Position)>,
    /// The path of its workflow from the top of the source, and where it is named.
    pub(crate) include: Option<(String, Position)>,
    /// The job on whose cluster it is to run.
    same_as: Option<Position>,
    /// Its selector.
    pub(crate) selector: Option<Position>,
}

impl Place {
    /// The job's path in the file.
    pub(crate) fn path(&self) -> String {
        format!("{}[{}]", list_name(self.hook), self.index)
    }
}

/// What the list is called.
fn list_name(hook: Option<Hook>) -> &'static str {
    hook.map_or("jobs", Hook::as_str)
}

fn read_root(decoder: &mut Decoder<'_>, jobs: &mut Jobs) -> Step<()> {
    let root = decoder.next()?;
    let (mut version_given, mut jobs_given) = (false, false);
    let is_map = decoder.map(
        &root,
        "an object with `version` and `jobs`",
        |decoder, field, at, value| match field {
            "version" => {
                version_given = true;
                read_version(decoder, &value)
            }
            "jobs" => {
                jobs_given = true;
                read_jobs(decoder, &value, jobs, None)
            }
            other => {
                // InfraBox has none.
                let known = decoder.dialect == Dialect::Tombolo;
                if let Some(hook) = Hook::ALL.into_iter().find(|hook| known && hook.as_str() == other) {
                    return read_jobs(decoder, &value, jobs, Some(hook));
                }
                if Hook::ALL.into_iter().any(|hook| hook.as_str() == other) {
                    decoder.fault(at, fields::not_of_infrabox(&format!("field {}", quote(other))));
                    return decoder.skip(&value);
                }
                let names = ["version", "jobs", "on_error", "after"];
                let count = if known { names.len() } else { 2 };
                decoder.fault(at, fields::unknown(other, names.into_iter().take(count)));
                decoder.skip(&value)
            }
        },
    )?;
    if is_map && !version_given {
        decoder.field_fault(
            "version",
            root.at,
            Complaint::new("the field is missing").hint("add `version: 1`"),
        );
    }
    if is_map && !jobs_given {
        decoder.field_fault(
            "jobs",
            root.at,
            Complaint::new("the field is missing").hint("add a list of jobs"),
        );
    }
    let end = decoder.next()?;
    debug_assert_eq!(end.piece, Piece::End, "the reader ends after the outermost value");
    Ok(())
}

fn read_version<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>) -> Step<()> {
    match value.piece {
        Piece::Scalar(Scalar::Whole(1)) => Ok(()),
        _ => decoder.wrong_kind(value, "the version 1"),
    }
}

fn read_jobs<'a>(decoder: &mut Decoder<'a>, value: &Token<'a>, jobs: &mut Jobs, hook: Option<Hook>) -> Step<()> {
    let limit = hook.map_or(MAX_JOBS, |_| MAX_HOOKS);
    let count = decoder.list(value, "a list of jobs", limit, |decoder, index, item| {
        for (mut spec, mut place) in job::read(decoder, index, &item, &mut jobs.text_left)? {
            spec.set_hook(hook);
            place.hook = hook;
            jobs.dependencies += spec.dependencies.len();
            let limit = match (jobs.dependencies > MAX_DEPENDENCIES, jobs.specs.len() >= MAX_JOBS) {
                (true, _) => Some((
                    "depends_on",
                    format!("the build has more than {MAX_DEPENDENCIES} dependencies"),
                )),
                (_, true) => Some(("matrix", format!("the build has more than {MAX_JOBS} jobs"))),
                _ => None,
            };
            if let Some((field, message)) = limit {
                if !jobs.too_many {
                    decoder.field_fault(field, item.at, Complaint::new(message));
                }
                jobs.too_many = true;
                return Ok(());
            }
            jobs.specs.push(spec);
            jobs.places.push(place);
        }
        Ok(())
    })?;
    jobs.too_many |= count.is_some_and(|count| count > limit);
    Ok(())
}
