//! The limits and times of the control plane.

use std::time::Duration;

use crate::cache;
use crate::route::Costs;

/// What the control plane lives by. [`Settings::default`] is what a master uses unless it is told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How long an agent may act without hearing from the master, and the master counts on it without hearing from it.
    pub lease: Duration,
    /// How often an agent is asked to renew its lease. Several fit into one lease, so that a lost one does no harm.
    pub heartbeat: Duration,
    /// How long after the end of its lease a cluster's running attempts are given up.
    pub lost_after: Duration,
    /// How long the commands of a cluster may go on while one process of its agent takes the place of another; zero if there is no such lease.
    pub handover: Duration,
    /// How often a job's attempt is replaced when the system lost it. After that the job ends as `error`: what was
    /// lost so often may well be the cause.
    pub max_replacements: u32,
    /// The most jobs of one build: a build is written in one transaction.
    pub max_jobs_per_build: usize,
    /// The most indexes that the arrays of one build have together.
    pub max_indexes_per_build: usize,
    /// The most jobs of one build that others have made while it ran, and that are not over. A job that would make more ends as `error`.
    pub max_generated_jobs: usize,
    /// The most secrets of one project.
    pub max_secrets_per_project: usize,
    /// The most triggers of one project.
    pub max_triggers_per_project: usize,
    /// The most builds that may run at once, over all projects: they are held in memory.
    pub max_running_builds: usize,
    /// The most jobs that may be held in memory at once, over all builds; each takes less than 1 KiB.
    pub max_live_jobs: usize,
    /// The most attempts that one command may send out: they are written in one transaction. What is left over is
    /// placed by the [`Tick`](super::Command::Tick) that [`next_deadline`](super::Control::next_deadline) then asks for.
    pub max_placements_per_command: usize,
    /// How long a job waits that no cluster suits, connected or not; then it ends as `error`. For ever if none.
    pub unschedulable_after: Option<Duration>,
    /// How long a job waits while others take all room that becomes free; then a cluster's room is kept for it.
    pub keep_room_after: Duration,
    /// What a point of a job's priority counts for: so much waiting.
    pub priority_step: Duration,
    /// Whether outputs travel ahead of the jobs that will need them.
    pub prefetch: bool,
    /// What it costs to move outputs between clusters: jobs go where that is least.
    pub costs: Costs,
    /// How caches are treated.
    pub caches: cache::Settings,
}

impl Settings {
    /// The longest that a command which ends with a lease can go on without hearing from the master.
    pub fn longest_lease(&self) -> Duration {
        self.lease.max(self.handover)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            heartbeat: Duration::from_secs(5),
            lost_after: Duration::from_secs(5 * 60),
            handover: Duration::from_secs(5 * 60),
            max_replacements: 3,
            max_jobs_per_build: 10_000,
            max_indexes_per_build: 100_000,
            max_generated_jobs: 300,
            max_secrets_per_project: 200,
            max_triggers_per_project: 100,
            max_running_builds: 100_000,
            max_live_jobs: 2_000_000,
            max_placements_per_command: 2_000,
            unschedulable_after: Some(Duration::from_secs(24 * 60 * 60)),
            keep_room_after: Duration::from_secs(5 * 60),
            priority_step: Duration::from_secs(60),
            prefetch: true,
            costs: Costs::default(),
            caches: cache::Settings::default(),
        }
    }
}
