//! The copies that are on their way from a cluster that is to go: few at once, each ordered again until its cluster says that it is whole, and from another one
//! if that does not get it.

use std::time::Duration;

use super::{Control, Drain};
use crate::control::builds::JobKey;
use crate::control::clusters::ClusterIndex;
use crate::control::outbox::Outbox;
use crate::control::report::one_line;
use crate::control::{Contact, Refusal, Reply};
use crate::digest::Digest;
use crate::id::{JobId, SessionId};
use crate::name::ClusterName;
use crate::session::Order;
use crate::time::Moment;

/// How many outputs of one cluster are moved at once. An agent brings two at once, whoever ordered them.
const AT_ONCE: usize = 16;

/// How many of those that are to be moved are looked at for that in one command.
const MAX_LOOKED_AT: usize = 64;

/// When an order is repeated that nothing was heard of since. To repeat it does no harm.
const REPEATED_AFTER: Duration = Duration::from_secs(10);

/// How long a cluster may say nothing of a copy that it was told to bring; then another one is told.
const PATIENCE: Duration = Duration::from_secs(2 * 60);

/// When an output is tried again that no cluster could get.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// The longest account of what is in the way, in bytes.
const MAX_OBSTACLE_BYTES: usize = 512;

/// What an agent says of an output that it was told to bring.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Copied {
    /// The job that left it.
    pub job: JobId,
    /// What it was told to bring.
    pub manifest: Digest,
    /// How far it is.
    pub stage: CopyStage,
}

/// How far an agent is with an output that it was told to bring.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum CopyStage {
    /// It is on its way, or waits for its turn.
    UnderWay,
    /// All of it is in the cluster's own store.
    Whole,
    /// It could not be had; why, for people.
    Failed(String),
}

/// One output that is to be elsewhere.
#[derive(Debug)]
pub(super) struct Move {
    stage: Stage,
    /// The clusters that could not get it, since it was last begun with.
    tried: Vec<ClusterName>,
    /// What the last of them said.
    failure: String,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    UnderWay {
        to: ClusterIndex,
        ordered_at: Moment,
        heard_at: Moment,
    },
    /// Nobody could get it.
    Rests { until: Moment },
}

impl Move {
    pub(super) const fn is_under_way(&self) -> bool {
        self.to().is_some()
    }

    const fn to(&self) -> Option<ClusterIndex> {
        match self.stage {
            Stage::UnderWay { to, .. } => Some(to),
            Stage::Rests { .. } => None,
        }
    }
}

impl Control {
    /// Takes in what an agent says of a copy. What was not ordered (any more) is of no interest: it goes with the next sweep.
    pub(in crate::control) fn copied(
        &mut self,
        outbox: &mut Outbox,
        (cluster, session): (&ClusterName, SessionId),
        copied: Copied,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        let (Some(key), Some(to)) = (self.builds.key(copied.job), self.clusters.index(cluster)) else {
            return Ok(Reply::Done);
        };
        let is_told = |drain: &Drain| drain.moves.get(&key).and_then(Move::to) == Some(to);
        let drains = self.drains.iter().filter(|(_, drain)| is_told(drain));
        for from in drains.map(|(from, _)| *from).collect::<Vec<_>>() {
            let (Some(mut drain), Some(name)) = (self.drains.remove(&from), self.name_of(from)) else {
                continue;
            };
            self.take_in_copy(outbox, (from, key), &mut drain, cluster, &copied);
            self.begin_moves(outbox, (from, &name), &mut drain);
            self.drains.insert(from, drain);
        }
        Ok(Reply::Done)
    }

    fn take_in_copy(
        &mut self,
        outbox: &mut Outbox,
        (from, key): (ClusterIndex, JobKey),
        drain: &mut Drain,
        cluster: &ClusterName,
        copied: &Copied,
    ) {
        let now = outbox.now.steady;
        match &copied.stage {
            CopyStage::UnderWay => {
                if let Some(Move {
                    stage: Stage::UnderWay { heard_at, .. },
                    ..
                }) = drain.moves.get_mut(&key)
                {
                    *heard_at = now;
                }
            }
            CopyStage::Whole => {
                drain.moves.remove(&key);
                let Some(job) = self.builds.job_mut(key) else { return };
                let Some(output) = job.status.kept_output() else { return };
                if output.manifest == copied.manifest && job.status.note_copy(cluster) {
                    drain.left.take_output(output.bytes);
                    outbox.touch(key, job);
                }
            }
            CopyStage::Failed(reason) => {
                let failure = format!("cluster `{cluster}` could not get it: {reason}");
                self.move_failed(outbox, (from, key), drain, failure);
            }
        }
    }

    /// Goes on with what is on its way, after a look: what is not needed any more is let be, what was not heard of is ordered again.
    pub(super) fn go_on_moving(
        &mut self,
        outbox: &mut Outbox,
        (from, name): (ClusterIndex, &ClusterName),
        drain: &mut Drain,
    ) {
        let now = outbox.now.steady;
        drain.obstacle = None;
        drain.moves.retain(|key, copy| {
            let rested = matches!(copy.stage, Stage::Rests { until } if until <= now);
            !rested && self.has_to_move(*key, name)
        });
        let keys: Vec<JobKey> = drain.moves.keys().copied().collect();
        for key in keys {
            let Some(Move {
                stage:
                    Stage::UnderWay {
                        to,
                        ordered_at,
                        heard_at,
                    },
                ..
            }) = drain.moves.get_mut(&key)
            else {
                continue;
            };
            let Some(member) = self.clusters.get(*to).filter(|member| self.may_be_given(key, member)) else {
                let failure = "the cluster that was to get it takes no jobs any more, or is not connected".to_owned();
                self.move_failed(outbox, (from, key), drain, failure);
                continue;
            };
            let destination = &member.record.name;
            if now.since(*heard_at) >= PATIENCE {
                let failure = format!("cluster `{destination}` has said nothing of it for {PATIENCE:?}");
                self.move_failed(outbox, (from, key), drain, failure);
            } else if now.since(*ordered_at) >= REPEATED_AFTER {
                *ordered_at = now;
                if let Some((_, job)) = self.builds.job(key) {
                    outbox.order(destination, Order::Copy(job.id()));
                }
            }
        }
        self.begin_moves(outbox, (from, name), drain);
        let mut rests = drain.moves.iter().filter(|(_, copy)| !copy.is_under_way());
        if let Some((key, copy)) = rests.next() {
            drain.obstacle = Some(self.tell_obstacle(*key, &copy.failure));
        }
    }

    /// A cluster could not get a copy: another one is told, or it is tried again later.
    fn move_failed(
        &self,
        outbox: &mut Outbox,
        (from, key): (ClusterIndex, JobKey),
        drain: &mut Drain,
        failure: String,
    ) {
        let Some(mut copy) = drain.moves.remove(&key) else {
            return;
        };
        copy.tried.extend(copy.to().and_then(|to| self.name_of(to)));
        copy.failure = failure;
        if !self.order_copy(outbox, (from, key), drain, &mut copy) {
            let until = outbox.now.steady + TRIED_AGAIN_AFTER;
            copy.stage = Stage::Rests { until };
            drain.obstacle = Some(self.tell_obstacle(key, &copy.failure));
        }
        drain.moves.insert(key, copy);
    }

    /// Begins to move outputs that wait for that, as far as there may be more at once.
    fn begin_moves(&self, outbox: &mut Outbox, (from, name): (ClusterIndex, &ClusterName), drain: &mut Drain) {
        let is_connected = self.contact(name) == Some(Contact::Connected);
        if !is_connected && !drain.waiting.is_empty() {
            drain.obstacle = Some("it is not connected, and so cannot give its outputs away".to_owned());
            return;
        }
        let mut free = AT_ONCE.saturating_sub(drain.under_way());
        for _ in 0..MAX_LOOKED_AT {
            if free == 0 {
                return;
            }
            let Some(key) = drain.waiting.pop_front() else { return };
            if !self.has_to_move(key, name) || drain.moves.contains_key(&key) {
                continue;
            }
            let until = outbox.now.steady;
            let mut copy = Move {
                stage: Stage::Rests { until },
                tried: Vec::new(),
                failure: String::new(),
            };
            if self.order_copy(outbox, (from, key), drain, &mut copy) {
                drain.moves.insert(key, copy);
                free -= 1;
            } else {
                drain.obstacle = Some(self.tell_obstacle(key, &self.why_nowhere(key, from)));
                drain.passed = Some(key);
            }
        }
    }

    /// Orders a copy from the best cluster that is left. Whether there is one.
    fn order_copy(
        &self,
        outbox: &mut Outbox,
        (from, key): (ClusterIndex, JobKey),
        drain: &Drain,
        copy: &mut Move,
    ) -> bool {
        let given = |index| drain.moves.values().filter(|other| other.to() == Some(index)).count();
        let to = self.destination(key, from, &copy.tried, given);
        let found = to.and_then(|to| Some((to, self.clusters.get(to)?, self.builds.job(key)?)));
        let Some((to, member, (_, job))) = found else {
            return false;
        };
        outbox.order(&member.record.name, Order::Copy(job.id()));
        let now = outbox.now.steady;
        copy.stage = Stage::UnderWay {
            to,
            ordered_at: now,
            heard_at: now,
        };
        true
    }

    /// What is in the way of an output, for people.
    fn tell_obstacle(&self, key: JobKey, why: &str) -> String {
        let Some((build, job)) = self.builds.job(key) else {
            return one_line(why, MAX_OBSTACLE_BYTES);
        };
        let (name, number) = (job.name(), build.record.number);
        let account = format!("the output of `{name}` of build {number} cannot be moved: {why}");
        one_line(&account, MAX_OBSTACLE_BYTES)
    }
}
