//! The control plane as a state machine: keys, states and edges of everything that is not over.
//!
//! [`Control::apply`] is pure and deterministic. Its effects must not become visible before their changes are durable.

mod arrays;
mod availability;
mod builds;
mod caches;
mod cancel;
pub mod change;
mod clusters;
pub mod command;
mod companions;
mod connect;
mod drain;
mod edges;
pub mod event;
mod explain;
mod generate;
mod handover;
mod holders;
mod hooks;
mod invites;
mod labels;
mod lease;
mod limits;
mod losses;
mod needs;
mod outbox;
mod plan;
mod prefetch;
mod projects;
mod queue;
mod queue_limit;
pub mod record;
mod recover;
mod remove_cluster;
mod replace;
mod report;
mod residency;
pub mod restore;
mod retry;
mod schedule;
mod secrets;
mod settings;
mod settle;
mod sharing;
mod standing;
mod submit;
mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod triggers;
mod unsuited;
mod view;
mod volumes;
mod waits;

use std::collections::{BTreeMap, BTreeSet};

pub use caches::CacheView;
pub use change::{Change, LiveState};
pub use command::{Caution, Command, Extent, Firing, Generated, Known, Present, Refusal, Reply, Rerun, Submission};
pub use drain::{Copied, CopyStage, DrainView};
pub use edges::Error as GraphError;
pub use event::{Event, EventKind};
pub use plan::{Place, PlannedIndexes, PlannedJob};
pub use settings::Settings;
pub use sharing::asked_by_sharers;
pub use standing::Standing;
pub use view::{AgentFacts, AssignmentView, AttemptView, ClusterView, Contact, InputView, JobView};

use crate::id::{BuildId, Epoch};
use crate::name::ClusterName;
use crate::session::Order;
use crate::time::{Moment, Now};
use builds::{Builds, JobKey};
use caches::Caches;
use clusters::{ClusterIndex, Clusters};
use drain::Drain;
use invites::Invites;
use lease::Deadline;
use outbox::Outbox;
use projects::Projects;
use queue::Queue;
use secrets::Secrets;
use tokens::Tokens;
use triggers::Triggers;

/// What a command brings about.
#[derive(Debug)]
pub struct Effects {
    /// The answer to whoever gave the command.
    pub reply: Result<Reply, Refusal>,
    /// To be written in one transaction, in this order. Empty for what need not survive (heartbeats).
    pub changes: Vec<Change>,
    /// To be handed to the sessions of these clusters, once the changes are durable. For a cluster without a session
    /// they are dropped: what matters is found again when it connects.
    pub orders: Vec<(ClusterName, Order)>,
    /// To be told to watchers, once the changes are durable.
    pub events: Vec<Event>,
}

/// The control plane. All of it is in memory and can be made again from the store ([`Control::restore`]); there is no way
/// to undo a command: whoever cannot write its changes drops the whole.
#[derive(Debug)]
pub struct Control {
    settings: Settings,
    projects: Projects,
    tokens: Tokens,
    secrets: Secrets,
    triggers: Triggers,
    invites: Invites,
    clusters: Clusters,
    builds: Builds,
    caches: Caches,
    queue: Queue,
    deadlines: BTreeSet<(Moment, Deadline)>,
    /// Jobs that have ended, and make their outputs again.
    recoveries: BTreeSet<JobKey>,
    /// Jobs that wait for a cluster that has one of their inputs to connect.
    parked: BTreeSet<JobKey>,
    /// Builds that may have jobs held by their limits though these have room.
    holding: BTreeSet<BuildId>,
    /// The lowest epoch that an attempt is given from now on.
    lowest_epoch: Epoch,
    /// Until when the agent of the cluster may act that is being removed.
    removed_until: Option<Moment>,
    /// Clusters that are being drained.
    drains: BTreeMap<ClusterIndex, Drain>,
}

impl Control {
    /// A control plane that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            projects: Projects::default(),
            tokens: Tokens::default(),
            secrets: Secrets::default(),
            triggers: Triggers::default(),
            invites: Invites::default(),
            clusters: Clusters::default(),
            builds: Builds::default(),
            caches: Caches::default(),
            queue: Queue::default(),
            deadlines: BTreeSet::new(),
            recoveries: BTreeSet::new(),
            parked: BTreeSet::new(),
            holding: BTreeSet::new(),
            lowest_epoch: Epoch::default(),
            removed_until: None,
            drains: BTreeMap::new(),
        }
    }

    /// What it lives by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Carries out one command. A command that is refused changes nothing; at most it has orders. A heartbeat, and why an
    /// attempt waits, change nothing that is written.
    pub fn apply(&mut self, now: Now, command: Command) -> Effects {
        let mut outbox = Outbox::new(now);
        let places = !matches!(command, Command::Heartbeat { .. } | Command::Waits { .. });
        let (leaves_more, recoveries) = (drain::may_leave_more(&command), self.recoveries.len());
        let reply = self.carry_out(&mut outbox, command);
        if reply.is_ok() && places {
            self.place_queued(&mut outbox);
        }
        self.wake_drains(&outbox, leaves_more || self.recoveries.len() > recoveries);
        self.prefetch(&mut outbox);
        self.write_out(&mut outbox);
        outbox.into_effects(reply)
    }

    /// When the next [`Command::Tick`] is needed, at the latest; it may lie in the past: then at once. Each command may
    /// change it.
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.queue.is_open() {
            return Some(Moment::default());
        }
        self.deadlines.first().map(|(at, _)| *at)
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each command")]
    fn carry_out(&mut self, outbox: &mut Outbox, command: Command) -> Result<Reply, Refusal> {
        match command {
            Command::CreateProject { id, name } => self.create_project(outbox, id, name),
            Command::DeleteProject { id } => self.delete_project(outbox, id),
            Command::SetRetention { id, retention } => self.set_retention(outbox, id, retention),
            Command::SetShare { id, share } => self.set_share(outbox, id, share),
            Command::ReleaseOutputs(build) => self.release_outputs(outbox, *build),
            Command::ClearCaches { project, job, branch } => {
                self.clear_caches(outbox, project, job.as_ref(), branch.as_deref())
            }
            Command::CreateToken(token) => self.create_token(outbox, token),
            Command::RevokeToken { id } => self.revoke_token(outbox, id),
            Command::SetSecret(secret) => self.set_secret(outbox, secret),
            Command::ResealSecret(secret) => self.reseal_secret(outbox, secret),
            Command::DeleteSecret { project, name } => self.delete_secret(outbox, project, name),
            Command::CreateTrigger { trigger, file } => self.create_trigger(outbox, *trigger, file),
            Command::DeleteTrigger { project, name } => self.delete_trigger(outbox, project, name),
            Command::Fire(firing) => self.fire(outbox, *firing),
            Command::PassTrigger {
                project,
                name,
                scheduled,
                obstacle,
            } => self.pass_trigger(outbox, (project, name), scheduled, obstacle),
            Command::Invite(invite) => self.invite(outbox, invite),
            Command::WithdrawInvites { cluster } => self.withdraw_invites(outbox, &cluster),
            Command::Join { secret, key } => self.join(outbox, secret, key),
            Command::SetAvailability {
                name,
                availability,
                present,
            } => self.set_availability(outbox, &name, availability, present),
            Command::ChangeLabels { name, change } => self.change_labels(outbox, &name, &change),
            Command::RemoveCluster { name, caution } => self.remove_cluster(outbox, &name, caution),
            Command::Submit(submission) => self.submit(outbox, *submission),
            Command::CancelBuild { build, extent } => self.cancel_build(outbox, build, extent),
            Command::CancelQueued { build } => self.cancel_queued(outbox, build),
            Command::CancelJob { job } => self.cancel_job(outbox, job),
            Command::Connect {
                cluster,
                session,
                hello,
            } => self.connect(outbox, &cluster, session, *hello),
            Command::Heartbeat { cluster, session } => self.heartbeat(outbox, &cluster, session),
            Command::HandOver { cluster, session } => self.hand_over(outbox, &cluster, session),
            Command::Report {
                cluster,
                session,
                attempt,
                phase,
                generated,
            } => self.report(outbox, (&cluster, session), attempt, phase, generated),
            Command::Survey {
                cluster,
                session,
                survey,
            } => self.survey(&cluster, session, *survey),
            Command::Waits {
                cluster,
                session,
                attempt,
                reason,
            } => self.waits(&cluster, session, attempt, &reason),
            Command::Holds {
                cluster,
                session,
                volume,
            } => self.holds(outbox, &cluster, session, volume),
            Command::Copied { from, copied } => self.copied(outbox, (&from.0, from.1), copied),
            Command::Disconnect { cluster, session } => self.disconnect(&cluster, session),
            Command::Tick => self.tick(outbox),
        }
    }
}
