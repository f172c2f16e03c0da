//! Empties clusters that are to go: outputs which are nowhere else, and which a job that is not over will need, are copied to a cluster that stays.
//!
//! It owns, for each cluster that is being drained, what is left and which copies are on their way; none of it is kept. What is left is found by
//! looking at all jobs again and again ([`look`]), however it came to be left: what happens only says that it is time to look. What an agent says
//! of a copy is written with the job that left the output ([`Course::copies`](super::record::Course::copies)): so it is a place like any other
//! where the output is ([`holders`](super::holders)), and a restarted master has only those moved that are not there.

mod destination;
mod look;
mod moves;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::builds::JobKey;
use super::clusters::ClusterIndex;
use super::lease::Deadline;
use super::outbox::Outbox;
use super::{Command, Control};
use crate::placement::Availability;
use crate::time::Moment;
use look::Left;
use moves::Move;

pub use moves::{Copied, CopyStage};

/// How long after a look the next one comes at the earliest, for so many jobs ([`JOBS_PER_PAUSE`]) and fewer; for more in proportion.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// How many jobs are looked at in a [`LEAST_PAUSE`], so that looking takes little of the master's time.
const JOBS_PER_PAUSE: usize = 100_000;

/// How long after a look the next one comes at the latest, if nothing happens.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is left to do before a cluster that is being drained can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainView<'a> {
    /// Attempts that it still has.
    pub attempts: usize,
    /// Jobs without an attempt that can run nowhere else: what others of their build have left in its shared volume is there, or the job that they have to run
    /// beside was.
    pub bound_jobs: u64,
    /// Outputs that jobs wait for and no other cluster has.
    pub outputs: u64,
    /// How large these are.
    pub bytes: u64,
    /// How many of them are on their way.
    pub moving: usize,
    /// Why some of them are not, if so.
    pub obstacle: Option<&'a str>,
    /// Nothing is left: it can be removed, and nothing has to run again because of that.
    pub is_over: bool,
}

/// A cluster that is being drained.
#[derive(Debug)]
pub(super) struct Drain {
    /// What the last look found.
    left: Left,
    /// When that was; never yet if none.
    looked_at: Option<Moment>,
    look_at: Moment,
    /// Something has happened since the last look: there may be more left.
    stale: bool,
    /// Outputs that are to be moved, when others have been.
    waiting: VecDeque<JobKey>,
    /// The last of them that could go nowhere.
    passed: Option<JobKey>,
    /// Those that are on their way, or could not be moved.
    moves: BTreeMap<JobKey, Move>,
    obstacle: Option<String>,
}

impl Drain {
    const fn new(now: Moment) -> Self {
        Self {
            left: Left::NOTHING,
            looked_at: None,
            look_at: now,
            stale: true,
            waiting: VecDeque::new(),
            passed: None,
            moves: BTreeMap::new(),
            obstacle: None,
        }
    }

    pub(super) fn view(&self, attempts: usize) -> DrainView<'_> {
        let Left { outputs, bytes, bound } = self.left;
        DrainView {
            attempts,
            bound_jobs: bound,
            outputs,
            bytes,
            moving: self.under_way(),
            obstacle: self.obstacle.as_deref(),
            is_over: !self.stale && attempts == 0 && bound == 0 && outputs == 0,
        }
    }

    /// How many copies are on their way.
    fn under_way(&self) -> usize {
        self.moves.values().filter(|copy| copy.is_under_way()).count()
    }
}

impl Control {
    /// The availability of a cluster was set, or is what it was before a restart: it is drained from now on, or not any more.
    pub(super) fn note_availability(&mut self, index: ClusterIndex, now: Moment) {
        let member = self.clusters.get(index);
        let drains = member.is_some_and(|member| member.record.availability == Availability::Draining);
        match (drains, self.drains.contains_key(&index)) {
            (true, false) => {
                self.drains.insert(index, Drain::new(now));
                self.deadlines.insert((now, Deadline::Drain(index)));
            }
            (false, true) => self.end_drain(index),
            (true, true) | (false, false) => {}
        }
    }

    /// The cluster is not drained any more, or is gone. Copies that are on their way are of no interest.
    pub(super) fn end_drain(&mut self, index: ClusterIndex) {
        if let Some(drain) = self.drains.remove(&index) {
            self.deadlines.remove(&(drain.look_at, Deadline::Drain(index)));
        }
    }

    /// A command was carried out: looks soon at what is left on clusters that are being drained, if it may have brought more.
    pub(super) fn wake_drains(&mut self, outbox: &Outbox, wakes: bool) {
        if self.drains.is_empty() {
            return;
        }
        let now = outbox.now.steady;
        let left_there = |index: ClusterIndex, control: &Self| {
            let name = control.clusters.get(index).map(|member| &member.record.name);
            let mut left = outbox.outputs.iter().filter_map(|key| control.builds.job(*key));
            left.any(|(_, job)| job.status.cluster.as_ref() == name)
        };
        let woken: Vec<ClusterIndex> = self
            .drains
            .keys()
            .copied()
            .filter(|index| wakes || left_there(*index, self))
            .collect();
        let pause = self.look_pause();
        for index in woken {
            let Some(drain) = self.drains.get_mut(&index) else {
                continue;
            };
            drain.stale = true;
            let at = drain.looked_at.map_or(now, |looked_at| (looked_at + pause).max(now));
            if at < drain.look_at {
                self.deadlines.remove(&(drain.look_at, Deadline::Drain(index)));
                drain.look_at = at;
                self.deadlines.insert((at, Deadline::Drain(index)));
            }
        }
    }

    /// How long there is to be between two looks.
    fn look_pause(&self) -> Duration {
        let jobs = self.builds.job_count() / JOBS_PER_PAUSE;
        LEAST_PAUSE.saturating_mul(u32::try_from(jobs).unwrap_or(u32::MAX).saturating_add(1))
    }
}

/// Whether a command may bring it about that a cluster has outputs that are needed, which were not or were elsewhere too. Of those that the command itself
/// leaves it is known.
pub(super) const fn may_leave_more(command: &Command) -> bool {
    match command {
        Command::Submit(submission) => submission.rerun.is_some(),
        Command::Report { generated, .. } => generated.is_some(),
        Command::SetAvailability { .. } | Command::ChangeLabels { .. } | Command::RemoveCluster { .. } => true,
        _ => false,
    }
}
