//! A model of the master's store.

use std::collections::{BTreeMap, BTreeSet};

use tombolo_core::build::{BuildState, JobSpec};
use tombolo_core::control::{Change, LiveState};
use tombolo_core::id::{BuildId, JobId};

/// What survives the master.
#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    pub(super) live: LiveState,
    pub(super) specs: BTreeMap<JobId, JobSpec>,
    pub(super) running: BTreeSet<BuildId>,
}

impl Store {
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
                _ => {}
            }
        }
    }
}
