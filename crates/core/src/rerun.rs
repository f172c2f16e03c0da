//! Running a build again, or some of it, as a build of its own: the jobs of a build that is over stay as they ended.

mod arrays;
mod outputs;

use std::collections::BTreeSet;

pub use self::arrays::Indexes;
pub use self::outputs::Gone;

use crate::build::{BuildDefinition, Dependency, JobKind, JobSpec, TerminalState};
use crate::control::Known;
use crate::control::record::{JobNode, JobStatus};
use crate::name::JobName;
use crate::volume::VolumeKind;

/// The ends that are no success.
const FAILED: [TerminalState; 4] = [
    TerminalState::Failure,
    TerminalState::Error,
    TerminalState::Unstable,
    TerminalState::Killed,
];

/// What of a build is run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it. What its jobs had made is made again by them.
    All,
    /// What ended as `failure`, `error`, `unstable` or `killed`, and all that comes after that.
    Failed,
    /// One job; of a workflow, all its jobs; of an array, all its indexes, or the one that the name says.
    Job {
        /// Which.
        name: JobName,
        /// And all that comes after it.
        descendants: bool,
    },
}

/// The jobs of the new build, by index.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What they do.
    pub definition: BuildDefinition,
    /// Which of them are taken over.
    pub jobs: Vec<Known>,
}

/// Why nothing can be run again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such job.
    #[error("the build has no job `{0}`")]
    UnknownJob(JobName),
    /// All is well with the build.
    #[error("no job of the build ended as `failure`, `error`, `unstable` or `killed`")]
    NothingFailed,
    /// A job would be taken over that has not ended.
    #[error("job `{0}` has not ended")]
    NotOver(JobName),
    /// What is taken over has left something in the shared volume, which is gone with its build.
    #[error(
        "job `{runs}` works with the shared volume of the build, as `{taken_over}` did, which is not to run again: that volume is gone"
    )]
    Shared {
        /// The one that is to run.
        runs: JobName,
        /// The one that is not.
        taken_over: JobName,
    },
}

/// Works out which jobs run again, and which are taken over as they ended. `jobs` are all of the build, by index, with their
/// specifications; `indexes` those of its arrays that had begun; `gone` says why a job's output, or that of an index of an array, is not
/// kept any more. What made such an output runs again too if it is needed.
///
/// # Errors
/// If nothing can be run again like that.
pub fn plan(
    scope: &Scope,
    jobs: &[(JobNode, JobStatus)],
    specs: &[JobSpec],
    indexes: &Indexes,
    gone: &Gone<'_>,
) -> Result<Plan, Error> {
    let first = first(scope, jobs)?;
    let after: BTreeSet<u32> = children_of(jobs, &first);
    let after = closed(jobs, after);
    let mut runs: BTreeSet<u32> = match scope {
        Scope::Job { descendants: false, .. } => first.clone(),
        _ => first.union(&after).copied().collect(),
    };
    // They are there for each build anew.
    let hooks: BTreeSet<u32> = jobs
        .iter()
        .filter(|(node, _)| node.hook().is_some())
        .map(|(node, _)| node.index)
        .collect();
    runs.extend(&hooks);
    let needed = outputs::with_makers(&mut runs, jobs, indexes, gone);
    let makers = outputs::makers(jobs);
    // What of an array is there is taken over; what is not is made again.
    let as_kept = |node: &JobNode, status: JobStatus| match makers.contains(&node.index) {
        true => status,
        false => outputs::as_kept(node, status, gone),
    };
    let there = |node: &JobNode, status: &JobStatus| gone(node, status).is_none();
    // What is made anew before an array is made for all its indexes.
    let in_part = |index: u32| first.contains(&index) && !after.contains(&index) && !hooks.contains(&index);
    let kept = kept(jobs, &runs);
    let kept_at = |index: u32| kept.get(index as usize).copied().flatten();
    let mut plan = Plan {
        definition: BuildDefinition::default(),
        jobs: Vec::new(),
    };
    for (((node, status), spec), _) in jobs.iter().zip(specs).zip(&kept).filter(|(_, kept)| kept.is_some()) {
        let parents = node.parents.iter().filter(|(parent, _)| kept_at(*parent).is_some());
        let dependencies = parents.filter_map(|(parent, on)| {
            let (parent, _) = jobs.get(*parent as usize)?;
            Some(Dependency {
                job: parent.name.clone(),
                on: *on,
            })
        });
        plan.definition.jobs.push(JobSpec {
            dependencies: dependencies.collect(),
            ..spec.clone()
        });
        let ended = (!runs.contains(&node.index)).then(|| as_kept(node, status.clone()));
        if ended.as_ref().is_some_and(|status| status.ended().is_none()) {
            return Err(Error::NotOver(node.name.clone()));
        }
        let taken_over = match ended {
            Some(_) => indexes.all_of(node),
            None if in_part(node.index) => {
                let needs_all = outputs::is_taken(node, &runs, jobs);
                let left = indexes.left_alone(node, status, scope).into_iter();
                left.filter(|index| !needs_all || there(node, index)).collect()
            }
            None if needed.contains(&node.index) => {
                let all = indexes.all_of(node).into_iter();
                all.filter(|index| there(node, index)).collect()
            }
            None => Vec::new(),
        };
        let taken_over = taken_over.into_iter().map(|index| as_kept(node, index));
        plan.jobs.push(Known {
            ended,
            generated_by: node.generated_by.and_then(kept_at),
            indexes: taken_over.collect(),
        });
    }
    check_shared(&plan)?;
    Ok(plan)
}

/// Where each job is in the new build, if it is there: what was made by one that runs again is made again, if it is.
fn kept(jobs: &[(JobNode, JobStatus)], runs: &BTreeSet<u32>) -> Vec<Option<u32>> {
    let mut kept: Vec<Option<u32>> = Vec::with_capacity(jobs.len());
    let mut next = 0;
    for (node, _) in jobs {
        let maker = node.generated_by;
        let gone =
            maker.is_some_and(|maker| runs.contains(&maker) || kept.get(maker as usize).is_none_or(Option::is_none));
        kept.push((!gone).then_some(next));
        next += u32::from(!gone);
    }
    kept
}

/// The jobs that the scope names.
fn first(scope: &Scope, jobs: &[(JobNode, JobStatus)]) -> Result<BTreeSet<u32>, Error> {
    let indexes = |chosen: &dyn Fn(&JobNode, &JobStatus) -> bool| -> BTreeSet<u32> {
        let chosen = jobs.iter().filter(|(node, status)| chosen(node, status));
        chosen.map(|(node, _)| node.index).collect()
    };
    match scope {
        Scope::All => Ok(indexes(&|_, _| true)),
        Scope::Failed => {
            let failed = indexes(&|_, status| status.ended().is_some_and(|state| FAILED.contains(&state)));
            (!failed.is_empty()).then_some(failed).ok_or(Error::NothingFailed)
        }
        Scope::Job { name, .. } => {
            let found = jobs.iter().find(|(node, _)| node.name == *name);
            let found = found.or_else(|| arrays::with_index(jobs, name));
            let (job, _) = found.ok_or_else(|| Error::UnknownJob(name.clone()))?;
            let whole = job.kind == JobKind::Workflow;
            Ok(indexes(&|node, _| {
                node.index == job.index || (whole && node.name.is_within(name))
            }))
        }
    }
}

/// The jobs that follow some of these.
fn children_of(jobs: &[(JobNode, JobStatus)], of: &BTreeSet<u32>) -> BTreeSet<u32> {
    let follows = |node: &JobNode| node.parents.iter().any(|(parent, _)| of.contains(parent));
    let children = jobs.iter().filter(|(node, _)| follows(node));
    children.map(|(node, _)| node.index).collect()
}

/// With all that comes after them.
fn closed(jobs: &[(JobNode, JobStatus)], first: BTreeSet<u32>) -> BTreeSet<u32> {
    let mut children = vec![Vec::new(); jobs.len()];
    for (node, _) in jobs {
        for (parent, _) in &node.parents {
            if let Some(children) = children.get_mut(*parent as usize) {
                children.push(node.index);
            }
        }
    }
    let mut closed = first.clone();
    let mut open: Vec<u32> = first.into_iter().collect();
    while let Some(index) = open.pop() {
        let following = children.get(index as usize).into_iter().flatten();
        open.extend(following.filter(|child| closed.insert(**child)));
    }
    closed
}

/// The shared volume of a build that is over is gone.
fn check_shared(plan: &Plan) -> Result<(), Error> {
    let mut sharing = plan
        .definition
        .jobs
        .iter()
        .zip(&plan.jobs)
        .filter(|(spec, _)| spec.volumes.contains(VolumeKind::Shared));
    let has_run = |known: &Known| {
        known
            .ended
            .as_ref()
            .is_some_and(|status| status.as_ended().started_at.is_some())
    };
    // Hooks find what there is.
    let is_job = |spec: &JobSpec| spec.hook().is_none();
    let runs = sharing
        .clone()
        .find(|(spec, known)| known.ended.is_none() && is_job(spec));
    let taken_over = sharing.find(|(_, known)| has_run(known));
    match runs.zip(taken_over) {
        Some(((runs, _), (taken_over, _))) => Err(Error::Shared {
            runs: runs.name.clone(),
            taken_over: taken_over.name.clone(),
        }),
        None => Ok(()),
    }
}
