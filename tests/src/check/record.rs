//! What the store holds at a point of the history.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_core::build::{BuildState, JobSpec, TerminalState};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Cluster, JobNode, JobStatus};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::name::ClusterName;

use crate::history::Fact;

/// The states that a build takes over, worst first; else it is finished.
const WORST_FIRST: [TerminalState; 4] = [
    TerminalState::Killed,
    TerminalState::Error,
    TerminalState::Failure,
    TerminalState::Unstable,
];

/// The checkers' own reading of the store: simpler than the product's, and independent of it.
#[derive(Debug, Default)]
pub struct Record {
    /// The members.
    pub clusters: BTreeMap<ClusterName, Cluster>,
    /// The jobs of each build, in its order.
    pub builds: BTreeMap<BuildId, Vec<JobId>>,
    /// The builds that are over.
    pub ended: BTreeSet<BuildId>,
    /// What does not change of jobs.
    pub nodes: BTreeMap<JobId, JobNode>,
    /// What users said of jobs.
    pub specs: BTreeMap<JobId, JobSpec>,
    /// How far jobs are.
    pub jobs: BTreeMap<JobId, JobStatus>,
    /// All outputs that a job has ever had: an attempt that was given an earlier one may start with it.
    pub outputs: BTreeMap<JobId, BTreeSet<Digest>>,
}

impl Record {
    /// Takes in what was committed.
    pub fn take(&mut self, fact: &Fact) {
        let Fact::Committed(change) = fact else { return };
        match change {
            Change::PutCluster(cluster) => {
                self.clusters.insert(cluster.name.clone(), cluster.clone());
            }
            Change::DeleteCluster(name) => {
                self.clusters.remove(name);
            }
            Change::InsertBuild { build, nodes, specs } => {
                self.builds.insert(build.id, nodes.iter().map(|node| node.id).collect());
                for (node, spec) in nodes.iter().zip(specs) {
                    self.specs.insert(node.id, spec.clone());
                    self.jobs.insert(node.id, JobStatus::waiting(node.id));
                    self.nodes.insert(node.id, node.clone());
                }
            }
            Change::ExtendBuild {
                build,
                nodes,
                specs,
                parents,
            } => {
                let jobs = self.builds.entry(*build).or_default();
                jobs.extend(nodes.iter().map(|node| node.id));
                for (node, spec) in nodes.iter().zip(specs) {
                    self.specs.insert(node.id, spec.clone());
                    self.jobs.insert(node.id, JobStatus::waiting(node.id));
                    self.nodes.insert(node.id, node.clone());
                }
                for (id, parents) in parents {
                    if let Some(node) = self.nodes.get_mut(id) {
                        node.parents.clone_from(parents);
                    }
                }
            }
            Change::PutBuild(build) if build.state != BuildState::Running => {
                self.ended.insert(build.id);
            }
            Change::PutJob(status) => {
                self.note_index(status.id);
                let outputs = self.outputs.entry(status.id).or_default();
                outputs.extend(status.output.map(|output| output.manifest));
                self.jobs.insert(status.id, status.clone());
            }
            _ => {}
        }
    }

    /// An index of an array is a job like others from when it is first heard of on.
    fn note_index(&mut self, id: JobId) {
        let Some((array, index)) = id.array_and_index().filter(|_| !self.nodes.contains_key(&id)) else {
            return;
        };
        let node = self.nodes.get(&array).and_then(|node| node.of_index(index));
        self.nodes.extend(node.map(|node| (id, node)));
        let spec = self.specs.get(&array).and_then(|spec| spec.of_index(index).ok());
        self.specs.extend(spec.map(|spec| (id, spec)));
    }

    /// The node of a job, or the array's of an index that is first heard of.
    pub fn node(&self, id: JobId) -> Option<&JobNode> {
        self.nodes.get(&id).or_else(|| self.nodes.get(&id.specified_by()))
    }

    /// The jobs whose outputs are those of a job: all indexes of an array.
    pub fn leaving(&self, job: JobId) -> impl Iterator<Item = &JobStatus> {
        let indexes = job.of_index(0)..=job.of_index(u32::MAX);
        let is_array = self.nodes.get(&job).is_some_and(|node| node.array().is_some());
        let itself = self.jobs.get(&job).filter(|_| !is_array);
        let indexes = is_array.then(|| self.jobs.range(indexes)).into_iter().flatten();
        itself.into_iter().chain(indexes.map(|(_, status)| status))
    }

    /// Whether a job is over.
    pub fn is_terminal(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|status| status.ended().is_some())
    }

    /// How a build ends whose jobs are all terminal.
    pub fn worst(&self, build: BuildId) -> Option<TerminalState> {
        let state = |job| self.jobs.get(job).and_then(JobStatus::ended);
        let states: Option<BTreeSet<TerminalState>> = self.builds.get(&build)?.iter().map(state).collect();
        let states = states?;
        Some(
            WORST_FIRST
                .into_iter()
                .find(|state| states.contains(state))
                .unwrap_or(TerminalState::Finished),
        )
    }
}
