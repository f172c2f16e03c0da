//! A model of the masters' database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_core::build::{BuildState, JobSpec};
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::control::{Change, LiveState};
use tombolo_core::id::{AttemptId, BuildId, JobId};
use tombolo_core::leadership::{Hold, Record, Term};

use super::leading::hold;

/// What survives the masters.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(super) live: LiveState,
    pub(crate) specs: BTreeMap<JobId, JobSpec>,
    /// All builds, also those that are over.
    pub(crate) builds: BTreeMap<BuildId, Build>,
    /// All their jobs.
    pub(crate) nodes: BTreeMap<JobId, JobNode>,
    pub(super) running: BTreeSet<BuildId>,
    /// Also those of builds that are over.
    pub(crate) statuses: BTreeMap<JobId, JobStatus>,
    /// How many lines of each log are there.
    pub(super) logs: BTreeMap<AttemptId, u64>,
    /// Who has followed all others: nobody else can write.
    pub(super) leader: u64,
    pub(super) lease: Record,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            live: LiveState::default(),
            specs: BTreeMap::new(),
            builds: BTreeMap::new(),
            nodes: BTreeMap::new(),
            running: BTreeSet::new(),
            statuses: BTreeMap::new(),
            logs: BTreeMap::new(),
            leader: 0,
            lease: Record {
                term: Term(0),
                renewals: 0,
                hold: Hold::Released,
            },
        }
    }
}

impl Store {
    /// Somebody leads from now on.
    pub(super) fn begin(&mut self, leader: u64, lease: Option<Duration>) {
        self.leader = leader;
        self.lease = Record {
            term: Term(leader),
            renewals: 0,
            hold: hold(lease),
        };
    }

    /// The node of a job, or the array's of an index.
    pub(crate) fn node(&self, job: JobId) -> Option<&JobNode> {
        self.nodes.get(&job).or_else(|| self.nodes.get(&job.specified_by()))
    }

    fn insert(&mut self, nodes: &[JobNode]) {
        for node in nodes {
            self.nodes.insert(node.id, node.clone());
            let waiting = JobStatus::waiting(node.id);
            self.statuses.entry(node.id).or_insert(waiting);
        }
    }

    pub(super) fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            self.live.apply(change);
            match change {
                Change::InsertBuild { build, nodes, specs } => {
                    self.running.insert(build.id);
                    self.builds.insert(build.id, build.clone());
                    self.insert(nodes);
                    self.specs
                        .extend(nodes.iter().map(|node| node.id).zip(specs.iter().cloned()));
                }
                Change::ExtendBuild {
                    nodes, specs, parents, ..
                } => {
                    self.insert(nodes);
                    for (id, parents) in parents {
                        if let Some(node) = self.nodes.get_mut(id) {
                            node.parents.clone_from(parents);
                        }
                    }
                    self.specs
                        .extend(nodes.iter().map(|node| node.id).zip(specs.iter().cloned()));
                }
                Change::PutBuild(build) => {
                    if build.state != BuildState::Running {
                        self.running.remove(&build.id);
                    }
                    self.builds.insert(build.id, build.clone());
                }
                Change::PutJob(status) => {
                    self.statuses.insert(status.id, status.clone());
                }
                _ => {}
            }
        }
    }
}
