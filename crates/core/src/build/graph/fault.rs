use std::fmt;

use super::{MAX_DEPENDENCIES, MAX_JOBS};
use crate::build::array::{MAX_COUNT, MAX_INPUTS, MAX_INPUTS_OF_ALL};
use crate::name::JobName;

/// How many names of a cycle a message shows.
const SHOWN: usize = 20;

/// One thing that is wrong with a graph. `job` and `first` are indexes of jobs; `dependency` is an index in the job's list of
/// dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There are more than [`MAX_JOBS`]. Nothing else was checked.
    TooManyJobs {
        /// How many there are.
        count: usize,
    },
    /// There are more than [`MAX_DEPENDENCIES`]. Nothing else was checked.
    TooManyDependencies {
        /// How many there are.
        count: usize,
    },
    /// Another job has the same name.
    DuplicateName {
        /// The later job.
        job: u32,
        /// The earlier job.
        first: u32,
        /// The name of both.
        name: JobName,
    },
    /// No job has the name that is depended on.
    MissingParent {
        /// The child.
        job: u32,
        /// Which of its dependencies.
        dependency: usize,
        /// The name that nobody has.
        name: JobName,
    },
    /// A job depends on itself.
    SelfDependency {
        /// The job.
        job: u32,
        /// Which of its dependencies.
        dependency: usize,
        /// The job's name.
        name: JobName,
    },
    /// A job names the same parent twice.
    DuplicateDependency {
        /// The child.
        job: u32,
        /// The later of the two dependencies.
        dependency: usize,
        /// The earlier of the two.
        first: usize,
        /// The parent's name.
        name: JobName,
    },
    /// The outputs of two parents would come to the same folder.
    AmbiguousInput {
        /// The child.
        job: u32,
        /// The later of the two dependencies.
        dependency: usize,
        /// The later parent's name.
        name: JobName,
        /// The earlier parent's name.
        other: JobName,
        /// The folder under `inputs`.
        folder: String,
    },
    /// The job's name is within that of an array, as those of the array's indexes are.
    WithinArray {
        /// The job.
        job: u32,
        /// Its name.
        name: JobName,
        /// The array's name.
        array: JobName,
    },
    /// The job cannot be an array, or not with so many indexes.
    NoArray {
        /// The job.
        job: u32,
        /// Its name.
        name: JobName,
    },
    /// An index cannot take the output of the same index: the two have not as many.
    OtherIndexes {
        /// The child.
        job: u32,
        /// Which of its dependencies.
        dependency: usize,
        /// The parent's name.
        name: JobName,
        /// How many the child has, if it is an array.
        own: Option<u32>,
        /// How many the parent has, if it is an array.
        theirs: Option<u32>,
    },
    /// The job takes too many outputs of indexes of arrays.
    TooManyInputs {
        /// The child.
        job: u32,
        /// The dependency with which they become too many.
        dependency: usize,
        /// The parent's name.
        name: JobName,
        /// How many with those of the dependencies before.
        count: u64,
        /// How many indexes the child has, each of which takes as many.
        own: Option<u32>,
    },
    /// Jobs that wait for each other. Each such group is reported once, by one of its cycles.
    Cycle {
        /// The cycle: each job depends on the next one, the last on the first. Begins with the lowest index.
        jobs: Vec<u32>,
        /// Their names.
        names: Vec<JobName>,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyJobs { count } => write!(formatter, "{count} jobs, but a build has at most {MAX_JOBS}"),
            Self::TooManyDependencies { count } => {
                write!(
                    formatter,
                    "{count} dependencies, but the jobs of a build have at most {MAX_DEPENDENCIES}"
                )
            }
            Self::DuplicateName { name, .. } => write!(formatter, "another job is named `{name}` already"),
            Self::MissingParent { name, .. } => write!(formatter, "no job is named `{name}`"),
            Self::SelfDependency { name, .. } => write!(formatter, "job `{name}` depends on itself"),
            Self::DuplicateDependency { name, .. } => write!(formatter, "the dependency on `{name}` is given twice"),
            Self::AmbiguousInput {
                name, other, folder, ..
            } => write!(
                formatter,
                "the outputs of `{other}` and `{name}` would both come to `inputs/{folder}`"
            ),
            Self::WithinArray { name, array, .. } => write!(
                formatter,
                "`{name}` is within the name of the array `{array}`, as those of its indexes are (`{array}/0`)"
            ),
            Self::NoArray { name, .. } => write!(
                formatter,
                "`{name}` cannot be an array: only jobs that run a command can, of 1 to {MAX_COUNT} indexes, of which at least one runs at once"
            ),
            Self::OtherIndexes { name, own, theirs, .. } => {
                let count = |count: &Option<u32>| match count {
                    Some(count) => format!("{count} indexes"),
                    None => "none".to_owned(),
                };
                write!(
                    formatter,
                    "each index is to take the output of the same index of `{name}`, and this job has {}, `{name}` {}",
                    count(own),
                    count(theirs)
                )
            }
            Self::TooManyInputs { name, count, own, .. } => {
                write!(
                    formatter,
                    "with those of `{name}`, the job takes the outputs of {count} indexes"
                )?;
                match own {
                    Some(own) => write!(
                        formatter,
                        " for each of its own {own}: {MAX_INPUTS} for each, and {MAX_INPUTS_OF_ALL} in all, are the most"
                    ),
                    None => write!(formatter, ": {MAX_INPUTS} are the most"),
                }
            }
            Self::Cycle { names, .. } => write_cycle(formatter, names),
        }
    }
}

fn write_cycle(formatter: &mut fmt::Formatter<'_>, names: &[JobName]) -> fmt::Result {
    formatter.write_str("the jobs depend on each other in a cycle: ")?;
    for name in names.iter().take(SHOWN) {
        write!(formatter, "{name} -> ")?;
    }
    if names.len() > SHOWN {
        write!(formatter, "({} more) -> ", names.len() - SHOWN)?;
    }
    names
        .first()
        .map_or(Ok(()), |first| formatter.write_str(first.as_str()))
}

impl std::error::Error for Fault {}
