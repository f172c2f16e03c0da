//! What happened in a simulated world: facts for the checkers, and a log for people.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_core::attempt::{Assignment, Outcome};
use tombolo_core::control::Change;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, JobId};
use tombolo_core::name::ClusterName;
use tombolo_core::resources::Resources;

/// Something that a checker judges.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// The store has it.
    Committed(Change),
    /// What a cluster has for jobs, from the beginning to the end.
    Capacity {
        cluster: ClusterName,
        slots: u32,
        resources: Resources,
    },
    /// A user was told that the build was taken.
    SubmitAcknowledged(BuildId),
    /// A user was told that all these jobs are cancelled.
    CancelAcknowledged(Vec<JobId>),
    /// A user asked for the end of these jobs.
    CancelRequested(Vec<JobId>),
    /// An agent's session said that this is to be started.
    StartOrdered { cluster: ClusterName, attempt: AttemptId },
    /// An agent's session was told to stop or forget this, on a connection that is up.
    EndOrdered { cluster: ClusterName, attempt: AttemptId },
    /// The command of an attempt began to run, with these manifests at hand.
    CommandStarted {
        cluster: ClusterName,
        assignment: Box<Assignment>,
        arrived: Vec<Digest>,
    },
    /// The command of an exclusive job, and all that it had started, have ended.
    CommandOver(AttemptId),
    /// The machine of a cluster ended, and all that ran there.
    MachineDown(ClusterName),
    /// An executor wrote down how an attempt ended.
    Ended {
        cluster: ClusterName,
        attempt: AttemptId,
        outcome: Outcome,
    },
    /// A cluster was removed that was drained. What ran again because of that, and what jobs still need of it that no store has.
    DrainedRemoved {
        cluster: ClusterName,
        recovered: Vec<JobId>,
        nowhere: Vec<JobId>,
    },
    /// A session of the cluster began; it said that it has these attempts.
    Greeted {
        cluster: ClusterName,
        attempts: BTreeSet<AttemptId>,
    },
    /// A master acted that another one had followed.
    ActedAfter { life: u64, latest: u64 },
    /// A master has taken these lines of an attempt from a cluster.
    LogTaken {
        cluster: ClusterName,
        attempt: AttemptId,
        first: u64,
        end: u64,
    },
    /// A cluster never comes back.
    Buried(ClusterName),
    /// A cluster lost all that it had on disk.
    Wiped(ClusterName),
}

#[derive(Debug)]
pub(crate) struct History {
    pub(crate) facts: Vec<(Duration, Fact)>,
    log: Option<Vec<String>>,
}

impl History {
    /// `recording`: whether the log for people is kept.
    pub(crate) fn new(recording: Recording) -> Self {
        Self {
            facts: Vec::new(),
            log: (recording == Recording::Full).then(Vec::new),
        }
    }

    pub(crate) fn fact(&mut self, now: Duration, fact: Fact) {
        self.note(now, || format!("* {fact:?}"));
        self.facts.push((now, fact));
    }

    pub(crate) fn note(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>10.3} {}", now.as_secs_f64(), line()));
        }
    }

    pub(crate) fn into_log(self) -> Vec<String> {
        self.log.unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Facts only.
    Facts,
    /// Facts, and every frame and step as text.
    Full,
}
