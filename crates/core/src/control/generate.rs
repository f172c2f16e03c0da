//! Adds the jobs to a build that one of its jobs has made: those without parents follow their maker, and who follows the maker follows
//! also those that no other of them follows.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::arrays::FIRST_OF_INDEXES;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::command::Generated;
use super::edges::Edges;
use super::outbox::Outbox;
use super::record::{JobNode, JobStatus};
use super::sharing::Sharing;
use super::{Change, Control, EventKind};
use crate::build::extensions::{input_folder, takes_input};
use crate::build::graph::{MAX_DEPENDENCIES, takes_too_many};
use crate::build::{Dependency, JobKind, JobSpec, StateSet, TerminalState};
use crate::id::JobId;
use crate::name::JobName;
use crate::volume::VolumeKind;

/// The new jobs, and whoever follows them of those that are there.
struct Plan {
    nodes: Vec<JobNode>,
    specs: Vec<JobSpec>,
    followers: Vec<Follower>,
}

/// A job that is there, and the parents that come to it.
type Follower = (u32, Vec<(u32, StateSet)>);

impl Control {
    /// Adds the jobs that the job `maker` has made, which is about to end. An error says why none is added.
    pub(super) fn generate(&mut self, outbox: &mut Outbox, maker: JobKey, generated: Generated) -> Result<(), String> {
        let mut jobs = generated.jobs?;
        if jobs.is_empty() {
            return Ok(());
        }
        if maker.index >= FIRST_OF_INDEXES {
            return Err(
                "it left a job file, and an index of an array cannot make jobs: have a job after the array make them"
                    .to_owned(),
            );
        }
        let Some(build) = self.builds.get(maker.build) else {
            return Ok(());
        };
        self.check_generated(build, maker.index, &jobs)?;
        if let Some(hook) = jobs.iter().find_map(|(_, spec)| spec.hook()) {
            let hook = hook.as_str();
            return Err(format!(
                "its job file has `{hook}`, which only the job file of a build may have"
            ));
        }
        self.confine(build.record.project, jobs.iter_mut().map(|(_, job)| job));
        let plan = build.plan(maker.index, jobs)?;
        build.check_sharing(&plan.nodes)?;
        let project = build.record.project;
        self.check_needs(plan.specs.iter())
            .and_then(|()| self.check_secrets(project, &plan.specs))
            .map_err(|refusal| refusal.to_string())?;
        self.extend(outbox, maker, plan);
        Ok(())
    }

    /// Whether so many jobs may come to the build.
    fn check_generated(&self, build: &LiveBuild, maker: u32, jobs: &[(JobId, JobSpec)]) -> Result<(), String> {
        let (settings, new) = (&self.settings, jobs.len());
        let is_active = |job: &&LiveJob| {
            let others = job.node.generated_by.is_some() && job.node.index != maker;
            others && job.status.ended().is_none()
        };
        let active = build.jobs.iter().filter(is_active).count();
        if active + new > settings.max_generated_jobs {
            return Err(format!(
                "its job file has {new} jobs, with {active} that were made before and are not over; the limit is {}",
                settings.max_generated_jobs
            ));
        }
        let all = build.jobs.len() + new;
        let more: usize = jobs
            .iter()
            .filter_map(|(_, spec)| spec.array())
            .map(|array| array.count as usize)
            .sum();
        let indexes: usize = build.arrays.iter().map(|array| array.array.count as usize).sum();
        if indexes + more > settings.max_indexes_per_build {
            return Err(format!(
                "with the {more} indexes of the arrays in its job file the build has {}, the limit is {}",
                indexes + more,
                settings.max_indexes_per_build
            ));
        }
        if all > settings.max_jobs_per_build {
            return Err(format!(
                "with the {new} jobs of its job file the build has {all}, the limit is {}",
                settings.max_jobs_per_build
            ));
        }
        if self.builds.job_count() + new + more > settings.max_live_jobs {
            return Err(format!(
                "with the {new} jobs of its job file the running builds have more than {}, which is the limit",
                settings.max_live_jobs
            ));
        }
        Ok(())
    }

    fn extend(&mut self, outbox: &mut Outbox, maker: JobKey, plan: Plan) {
        let id = maker.build;
        let Plan {
            nodes,
            specs,
            followers,
        } = plan;
        let shares = nodes.iter().any(|node| node.volumes.contains(VolumeKind::Shared));
        let jobs = nodes
            .iter()
            .map(|node| LiveJob::new(node.clone(), JobStatus::waiting(node.id)));
        self.builds.extend(id, jobs.collect());
        let Some(build) = self.builds.get_mut(id) else { return };
        // The job that has cloned for them may be over, and their maker is not.
        build.count_pending_from(build.jobs.len() - nodes.len());
        let mut parents = Vec::with_capacity(followers.len());
        for (index, more) in followers {
            let Some(job) = build.job_mut(index) else { continue };
            job.pending += u32::try_from(more.len()).unwrap_or(u32::MAX);
            let node = Arc::make_mut(&mut job.node);
            node.parents.extend(more);
            parents.push((node.id, node.parents.clone()));
        }
        // The plan has shown that there is no cycle: new jobs follow their maker, and nobody follows them who comes before it.
        if let Ok(edges) = Edges::new(build.jobs.iter().map(|job| &*job.node)) {
            build.edges = edges;
        }
        if shares {
            build.sharing = Sharing::of(build.jobs.iter().map(|job| &*job.node));
            build.find_shared();
        }
        outbox.changes.push(Change::ExtendBuild {
            build: id,
            nodes,
            specs,
            parents,
        });
        let record = build.record.clone();
        outbox.event(&record, EventKind::Extended);
        if shares {
            self.requeue_sharing(outbox, id);
        }
    }
}

impl LiveBuild {
    /// Refuses jobs that would share the volume of others of the build and can never run where these do.
    fn check_sharing(&self, new: &[JobNode]) -> Result<(), String> {
        if !new.iter().any(|node| node.volumes.contains(VolumeKind::Shared)) {
            return Ok(());
        }
        // Those that were there before wait with a reason of their own.
        if self
            .sharing
            .as_ref()
            .is_some_and(|sharing| sharing.contradiction().is_some())
        {
            return Ok(());
        }
        let nodes = self.jobs.iter().map(|job| &*job.node).chain(new);
        match Sharing::of(nodes).and_then(|sharing| sharing.contradiction()) {
            None => Ok(()),
            Some(words) => Err(format!(
                "its job file has a job that no cluster can run together with all that share the volume of the build: {words}; \
                 take one of these requirements out, or leave `volumes: [shared]` out of one of the jobs"
            )),
        }
    }

    fn plan(&self, maker: u32, jobs: Vec<(JobId, JobSpec)>) -> Result<Plan, String> {
        let maker = self.job(maker).ok_or("the job is gone")?;
        let first = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        let (ids, specs): (Vec<JobId>, Vec<JobSpec>) = jobs.into_iter().unzip();
        let clone = self.clone_of(maker);
        let specs = specs
            .into_iter()
            .map(|spec| {
                let mut spec = with_source(placed(spec, &maker.node.name)?, clone);
                spec.set_hook(maker.node.hook());
                Ok(spec)
            })
            .collect::<Result<Vec<_>, String>>()?;
        self.check_names(&specs)?;
        let mut nodes = Vec::with_capacity(specs.len());
        let mut indexes: HashMap<&JobName, u32> = specs.iter().map(|spec| &spec.name).zip(first..).collect();
        indexes.insert(&maker.node.name, maker.node.index);
        indexes.extend(clone.map(|clone| (&clone.name, clone.index)));
        for ((index, spec), id) in (first..).zip(&specs).zip(ids) {
            let parent = |dependency: &Dependency| {
                let index = indexes.get(&dependency.job);
                let index =
                    index.ok_or_else(|| format!("`{}` follows `{}`, which there is not", spec.name, dependency.job));
                Ok((*index?, dependency.on))
            };
            let parents = spec
                .dependencies
                .iter()
                .map(parent)
                .collect::<Result<Vec<_>, String>>()?;
            let node = JobNode::new(id, self.record.id, index, spec, parents);
            nodes.push(JobNode {
                generated_by: Some(maker.node.index),
                ..node
            });
        }
        // Cycles among them are the only ones that there can be; their maker stands for all before.
        let alone = nodes.iter().map(|node| {
            let parents = node
                .parents
                .iter()
                .filter_map(|(parent, on)| Some((parent.checked_sub(first)?, *on)));
            JobNode {
                parents: parents.collect(),
                ..node.clone()
            }
        });
        let alone: Vec<JobNode> = alone.collect();
        let edges = Edges::new(alone.iter()).map_err(|error| error.to_string())?;
        let leaves = (0..).zip(&nodes).filter(|(place, _)| edges.children(*place).is_empty());
        let leaves: Vec<&JobNode> = leaves.map(|(_, node)| node).collect();
        let followers = self.followers(maker, &leaves)?;
        let new: usize = nodes.iter().map(|node| node.parents.len()).sum();
        let count = new + followers.iter().map(|(_, more)| more.len()).sum::<usize>();
        let before: usize = self.jobs.iter().map(|job| job.node.parents.len()).sum();
        if before + count > MAX_DEPENDENCIES {
            return Err(too_many_dependencies());
        }
        Ok(Plan {
            nodes,
            specs,
            followers,
        })
    }

    /// The job whose clone is the source of what `maker` makes; none if that is the build's.
    pub(super) fn clone_of<'a>(&'a self, maker: &'a LiveJob) -> Option<&'a JobNode> {
        let mut job = maker;
        // Makers come before what they have made.
        while !job.node.is_clone() {
            job = self.job(job.node.generated_by?)?;
        }
        Some(&job.node)
    }

    fn check_names(&self, specs: &[JobSpec]) -> Result<(), String> {
        let mut names: HashSet<&JobName> = self.jobs.iter().map(|job| &job.node.name).collect();
        if let Some(spec) = specs.iter().find(|spec| !names.insert(&spec.name)) {
            return Err(format!("the build has a job `{}` already", spec.name));
        }
        // What indexes of arrays are called, those that were there and those that come.
        let there = self.jobs.iter().map(|job| (&job.node.name, job.node.array()));
        let arrays = there.chain(specs.iter().map(|spec| (&spec.name, spec.array())));
        let counts: HashMap<&str, u32> = arrays
            .filter_map(|(name, array)| Some((name.as_str(), array?.count)))
            .collect();
        let is_index = |name: &&JobName| {
            let of = name.array_and_index();
            of.is_some_and(|(array, index)| counts.get(array).is_some_and(|count| index < *count))
        };
        match names.into_iter().filter(is_index).min() {
            Some(name) => Err(format!(
                "the build has a job `{name}`, and an array of which an index would be called that too"
            )),
            None => Ok(()),
        }
    }

    /// Who follows the maker, with what it is to follow besides: in the states in which it follows the maker.
    fn followers(&self, maker: &LiveJob, leaves: &[&JobNode]) -> Result<Vec<Follower>, String> {
        let children: BTreeSet<u32> = self.edges.children(maker.node.index).iter().copied().collect();
        if leaves.len().saturating_mul(children.len()) > MAX_DEPENDENCIES {
            return Err(too_many_dependencies());
        }
        let mut followers = Vec::new();
        for index in children {
            let Some(child) = self.job(index).filter(|child| child.status.ended().is_none()) else {
                continue;
            };
            let mut edges = child.node.parents.iter();
            let on = edges.find(|(parent, _)| *parent == maker.node.index);
            let on = on.map_or(StateSet::ALL, |(_, on)| *on);
            if child.node.kind == JobKind::Run {
                self.check_inputs(child, leaves)?;
                self.check_outputs(child, leaves)?;
            }
            followers.push((index, leaves.iter().map(|leaf| (leaf.index, on)).collect()));
        }
        Ok(followers)
    }

    /// Whether the outputs of all parents fit into one message.
    fn check_outputs(&self, child: &LiveJob, leaves: &[&JobNode]) -> Result<(), String> {
        let says = child.node.extensions.as_deref();
        let taken = |node: &JobNode| {
            let all = takes_input(says, &node.name)
                && !says
                    .and_then(|says| says.input(&node.name))
                    .is_some_and(|rule| rule.same_index);
            node.array().filter(|_| all).map_or(0, |array| u64::from(array.count))
        };
        let parents = self.parents(child).map(|parent| &*parent.node);
        let all: u64 = parents.chain(leaves.iter().copied()).map(taken).sum();
        if takes_too_many(all, child.node.array().map(|array| array.count)) {
            return Err(format!(
                "with the arrays in its job file `{}` takes the outputs of {all} indexes, which is more than a job can: have a job in the file collect them",
                child.node.name
            ));
        }
        Ok(())
    }

    /// Whether the outputs of all parents have folders of their own.
    fn check_inputs(&self, child: &LiveJob, leaves: &[&JobNode]) -> Result<(), String> {
        let parents = self.parents(child).map(|parent| &parent.node.name);
        let says = child.node.extensions.as_deref();
        let mut folders: HashMap<&str, &JobName> = HashMap::new();
        for name in parents.chain(leaves.iter().map(|leaf| &leaf.name)) {
            let Some(folder) = input_folder(says, name) else {
                continue;
            };
            if let Some(other) = folders.insert(folder, name) {
                return Err(format!(
                    "the outputs of `{other}` and `{name}` would both come to `inputs/{folder}` of `{}`, which follows both: give the job \
                     in the file another name",
                    child.node.name
                ));
            }
        }
        Ok(())
    }
}

/// The job as it is called in the build of its maker, and after it if it has no parents.
fn placed(mut spec: JobSpec, maker: &JobName) -> Result<JobSpec, String> {
    let within = |name: &JobName| name.within(maker).map_err(|error| error.to_string());
    spec.name = within(&spec.name)?;
    for dependency in &mut spec.dependencies {
        dependency.job = within(&dependency.job)?;
    }
    if let Some(extensions) = &mut spec.extensions {
        extensions.rename_jobs(within)?;
    }
    if spec.dependencies.is_empty() {
        spec.dependencies.push(Dependency {
            job: maker.clone(),
            on: StateSet::of(&[TerminalState::Finished]),
        });
    }
    Ok(spec)
}

/// The job with the clone as its source, if it is given one. That makes it an input, with all that is so of inputs.
fn with_source(mut spec: JobSpec, clone: Option<&JobNode>) -> JobSpec {
    let Some(clone) = clone.filter(|_| spec.source && spec.kind == JobKind::Run) else {
        return spec;
    };
    if !spec.dependencies.iter().any(|dependency| dependency.job == clone.name) {
        spec.dependencies.push(Dependency {
            job: clone.name.clone(),
            on: StateSet::of(&[TerminalState::Finished]),
        });
    }
    spec.extensions
        .get_or_insert_default()
        .take_source_of(clone.name.clone());
    spec
}

fn too_many_dependencies() -> String {
    format!("the build would have more than {MAX_DEPENDENCIES} dependencies")
}
