//! What happened in a world: facts for the checkers, and a log for people.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_core::attempt::{self, Assignment};
use tombolo_core::control::Change;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, BuildId, JobId};
use tombolo_core::name::ClusterName;
use tombolo_core::resources::Resources;
use tombolo_core::retention::Policy;
use tombolo_core::time::Timestamp;

/// Something that a checker judges.
#[derive(Debug, Clone)]
pub enum Fact {
    /// The store has it.
    Committed(Change),
    /// What a cluster has for jobs, from the beginning to the end.
    Capacity {
        /// Which cluster.
        cluster: ClusterName,
        /// How many attempts at once.
        slots: u32,
        /// How much.
        resources: Resources,
    },
    /// A user was told that the build was taken.
    SubmitAcknowledged(BuildId),
    /// A user was told that all these jobs are cancelled.
    CancelAcknowledged(Vec<JobId>),
    /// A user asked for the end of these jobs.
    CancelRequested(Vec<JobId>),
    /// An agent's session said that this is to be started.
    StartOrdered {
        /// Which cluster.
        cluster: ClusterName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// An agent's session was told to stop or forget this, on a connection that is up.
    EndHeard {
        /// Which cluster.
        cluster: ClusterName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Whoever looks after the attempts of a cluster has taken the word that this is to stop or to be forgotten.
    EndOrdered {
        /// Which cluster.
        cluster: ClusterName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// The command of an attempt began to run, with these manifests at hand.
    CommandStarted {
        /// Which cluster.
        cluster: ClusterName,
        /// What it was given.
        assignment: Box<Assignment>,
        /// What is at hand.
        arrived: Vec<Digest>,
    },
    /// The command of an exclusive job, and all that it had started, have ended.
    CommandOver(AttemptId),
    /// A process of the agent of a cluster began: what an earlier one was told, and had not recorded, it does not know.
    AgentStarted(ClusterName),
    /// The machine of a cluster ended, and all that ran there.
    MachineDown(ClusterName),
    /// An executor wrote down how an attempt ended.
    Ended {
        /// Which cluster.
        cluster: ClusterName,
        /// Which attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: attempt::Outcome,
    },
    /// A cluster was removed that was drained. What ran again because of that, and what jobs still need of it that no store has.
    DrainedRemoved {
        /// Which cluster.
        cluster: ClusterName,
        /// What ran again.
        recovered: Vec<JobId>,
        /// What no store has.
        nowhere: Vec<JobId>,
    },
    /// A session of the cluster began; it said that it has these attempts.
    Greeted {
        /// Which cluster.
        cluster: ClusterName,
        /// What it has.
        attempts: BTreeSet<AttemptId>,
    },
    /// A master acted that another one had followed.
    ActedAfter {
        /// The one that acted.
        life: u64,
        /// The one that leads.
        latest: u64,
    },
    /// A master has taken these lines of an attempt from a cluster.
    LogTaken {
        /// Which cluster.
        cluster: ClusterName,
        /// Which attempt.
        attempt: AttemptId,
        /// The first line.
        first: u64,
        /// The line after the last.
        end: u64,
    },
    /// What the project keeps, from the beginning on, if not everything for ever.
    Keeping(Keeping),
    /// These outputs are not whole any more in the cluster's store, and it was not the product that did it.
    StoreHurt {
        /// Which cluster.
        cluster: ClusterName,
        /// Which outputs.
        manifests: Vec<Digest>,
    },
    /// Whoever read something in the cluster's store has found it damaged.
    DamageFound(ClusterName),
    /// An attempt has ended as an error, since its output could not be stored.
    NotStored {
        /// Which cluster.
        cluster: ClusterName,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A sweep of the cluster's store has deleted these outputs, by what was answered to a question of this time.
    Swept {
        /// Which cluster.
        cluster: ClusterName,
        /// Which outputs.
        manifests: Vec<Digest>,
        /// When it was asked who needs them.
        asked: Duration,
    },
    /// An output is in the cluster's store, and not all of it, though nothing has hurt it but sweeps.
    Broken {
        /// Which cluster.
        cluster: ClusterName,
        /// Which output.
        manifest: Digest,
    },
    /// What is in the cluster's store at the end.
    InStore {
        /// Which cluster.
        cluster: ClusterName,
        /// The outputs.
        stored: Vec<Stored>,
        /// How many chunks no output lists.
        unlisted: usize,
    },
    /// A cluster never comes back.
    Buried(ClusterName),
    /// A cluster lost all that it had on disk.
    Wiped(ClusterName),
}

/// An output in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its digest.
    pub manifest: Digest,
    /// All of it is there, as it should be.
    pub whole: bool,
}

/// What a project keeps, in a world whose days are short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// What it keeps.
    pub policy: Policy,
    /// How long it is at least from one sweep of a store to the next; twice that at most.
    pub sweep_pause: Duration,
}

impl Keeping {
    /// The calendar at the beginning of every world.
    pub const BIRTH: u64 = 1_800_000_000_000;
    /// How long a day of policies takes in a world.
    pub const DAY: Duration = Duration::from_secs(10);
    /// How many milliseconds a machine's calendar is ahead at most, where days are so short.
    pub const MOST_AHEAD: u64 = 3_000;
    /// What is let go is gone after so long, when nothing else happens any more.
    pub const TIME_TO_GO: Duration = Duration::from_secs(75);

    /// How often a world's day fits into a day.
    const FACTOR: u64 = 24 * 60 * 60 / 10;

    /// A time of the world's calendar as policies take it, by whose days they count.
    pub fn stretch(&self, at: Timestamp) -> Timestamp {
        Timestamp(Self::BIRTH + at.0.saturating_sub(Self::BIRTH) * Self::FACTOR)
    }
}

/// What happened, in its order.
#[derive(Debug)]
pub struct History {
    /// Facts, with the time of the world.
    pub facts: Vec<(Duration, Fact)>,
    log: Option<Vec<String>>,
}

impl History {
    /// Nothing yet. `recording`: whether the log for people is kept.
    pub fn new(recording: Recording) -> Self {
        Self {
            facts: Vec::new(),
            log: (recording == Recording::Full).then(Vec::new),
        }
    }

    /// Something that a checker judges happened.
    pub fn fact(&mut self, now: Duration, fact: Fact) {
        self.note(now, || format!("* {fact:?}"));
        self.facts.push((now, fact));
    }

    /// Something happened that people may want to know of.
    pub fn note(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>10.3} {}", now.as_secs_f64(), line()));
        }
    }

    /// The log for people; empty if it was not kept.
    pub fn into_log(self) -> Vec<String> {
        self.log.unwrap_or_default()
    }
}

/// How a world came out.
#[derive(Debug)]
pub struct Outcome {
    /// What happened.
    pub history: History,
    /// What was not over, or not removed, when patience ended.
    pub leftovers: Vec<String>,
    /// How many things happened.
    pub steps: u64,
}

/// What is kept of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// Facts only.
    Facts,
    /// Facts, and every frame and step as text.
    Full,
}
