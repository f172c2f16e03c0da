//! A model of the masters' database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tombolo_core::build::{BuildState, JobSpec};
use tombolo_core::control::record::JobStatus;
use tombolo_core::control::{Change, LiveState};
use tombolo_core::id::{AttemptId, BuildId, JobId};
use tombolo_core::leadership::{Hold, Record, Term};

use super::leading::hold;

/// What survives the masters.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) live: LiveState,
    pub(super) specs: BTreeMap<JobId, JobSpec>,
    pub(super) running: BTreeSet<BuildId>,
    /// Also those of builds that are over.
    pub(super) statuses: BTreeMap<JobId, JobStatus>,
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

    pub(super) fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            self.live.apply(change);
            match change {
                Change::InsertBuild { build, nodes, specs } => {
                    self.running.insert(build.id);
                    self.specs
                        .extend(nodes.iter().map(|node| node.id).zip(specs.iter().cloned()));
                }
                Change::ExtendBuild { nodes, specs, .. } => {
                    self.specs
                        .extend(nodes.iter().map(|node| node.id).zip(specs.iter().cloned()));
                }
                Change::PutBuild(build) if build.state != BuildState::Running => {
                    self.running.remove(&build.id);
                }
                Change::PutJob(status) => {
                    self.statuses.insert(status.id, status.clone());
                }
                _ => {}
            }
        }
    }
}
