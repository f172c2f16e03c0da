//! The attempts that an agent has, as its end of the link knows them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::holds::Holds;
use crate::attempt::{Outcome, Phase};
use crate::build::TerminalState;
use crate::id::{AttemptId, Epoch, JobId};
use crate::planted::{Bug, planted};
use crate::session::AttemptReport;
use crate::time::Timestamp;

/// What became of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assigned {
    /// It is to be started.
    Fresh,
    /// It was taken before.
    Known,
    /// It is not durable yet, or still being removed: acknowledged later, or not at all.
    Waiting,
    /// A later attempt of the job was here, or this one was forgotten: never start it.
    Stale,
    /// There is no room.
    Full,
}

/// What is to be done to stop an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    /// Tell the executor.
    Begin,
    /// Nothing: it was told before, or the attempt is over.
    Done,
}

/// What is to be done to forget an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Forgetting {
    /// Tell the executor.
    Begin,
    /// It was told and has not finished.
    Waiting,
    /// There is nothing.
    Done,
}

#[derive(Debug)]
struct Attempt {
    stage: Stage,
    stop_requested: bool,
    /// The order to acknowledge when it is carried out (accepted or forgotten).
    order: Option<u64>,
}

#[derive(Debug)]
enum Stage {
    /// Given to the executor; not durable yet.
    Starting,
    Present {
        phase: Phase,
        /// The highest rank that was sent on the present connection, in the hello or in a report.
        reported: Option<u8>,
        /// It is in the list of what is to be reported.
        listed: bool,
        /// It came to an end before the executor had it.
        virtual_end: bool,
    },
    /// The executor is removing it.
    Forgetting,
}

#[derive(Debug)]
pub(super) struct Attempts {
    limit: usize,
    attempts: BTreeMap<AttemptId, Attempt>,
    unreported: VecDeque<AttemptId>,
    forgotten: Forgotten,
}

impl Attempts {
    pub(super) fn new(limit: usize, forgotten: usize, recovered: Vec<AttemptReport>) -> Self {
        let present = |report: AttemptReport| {
            let stage = Stage::Present {
                phase: report.phase,
                reported: None,
                listed: false,
                virtual_end: false,
            };
            (
                report.attempt,
                Attempt {
                    stage,
                    stop_requested: false,
                    order: None,
                },
            )
        };
        Self {
            limit,
            attempts: recovered.into_iter().map(present).collect(),
            unreported: VecDeque::new(),
            forgotten: Forgotten {
                limit: forgotten,
                epochs: HashMap::new(),
                order: VecDeque::new(),
            },
        }
    }

    /// Whether there is none at all.
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether there is any that is not over.
    pub(super) fn has_any(&self) -> bool {
        self.reports()
            .iter()
            .any(|report| !matches!(report.phase, Phase::Ended(_)))
    }

    /// The hello of a new connection will list all that is present; orders of the old connection need no answer. Those that the master has to confirm
    /// are reported besides.
    pub(super) fn reconnected(&mut self, to_confirm: &Holds) {
        self.unreported.clear();
        self.forgotten.clear();
        for (id, attempt) in &mut self.attempts {
            attempt.order = None;
            if let Stage::Present {
                phase,
                reported,
                listed,
                ..
            } = &mut attempt.stage
            {
                let is_to_confirm = to_confirm.contains(*id);
                *reported = (!is_to_confirm).then(|| told(phase).rank());
                *listed = is_to_confirm || told(phase).rank() < phase.rank();
                if *listed {
                    self.unreported.push_back(*id);
                }
            }
        }
    }

    /// All whose command has not begun. Each is reported (again), so that the master says whether it still counts.
    pub(super) fn reconfirm(&mut self) -> BTreeSet<AttemptId> {
        let mut found = BTreeSet::new();
        for (id, attempt) in &mut self.attempts {
            match &mut attempt.stage {
                Stage::Starting => {
                    found.insert(*id);
                }
                Stage::Present {
                    phase,
                    reported,
                    listed,
                    ..
                } if phase.rank() < Phase::BEGUN => {
                    found.insert(*id);
                    *reported = None;
                    if !*listed {
                        *listed = true;
                        self.unreported.push_back(*id);
                    }
                }
                Stage::Present { .. } | Stage::Forgetting => {}
            }
        }
        found
    }

    /// All that are present with their latest phases.
    pub(super) fn reports(&self) -> Vec<AttemptReport> {
        let report = |(id, attempt): (&AttemptId, &Attempt)| match &attempt.stage {
            Stage::Present { phase, .. } => Some(AttemptReport {
                attempt: *id,
                phase: told(phase).into_owned(),
            }),
            Stage::Starting | Stage::Forgetting => None,
        };
        self.attempts.iter().filter_map(report).collect()
    }

    pub(super) fn phase(&self, id: AttemptId) -> Option<&Phase> {
        match &self.attempts.get(&id)?.stage {
            Stage::Present { phase, .. } => Some(phase),
            Stage::Starting | Stage::Forgetting => None,
        }
    }

    /// The next whose latest phase was not sent; it is counted as sent.
    pub(super) fn next_unreported(&mut self) -> Option<AttemptReport> {
        while let Some(id) = self.unreported.pop_front() {
            if let Some(Attempt {
                stage:
                    Stage::Present {
                        phase,
                        reported,
                        listed,
                        ..
                    },
                ..
            }) = self.attempts.get_mut(&id)
            {
                *listed = false;
                if reported.is_none_or(|reported| phase.rank() > reported) {
                    *reported = Some(phase.rank());
                    return Some(AttemptReport {
                        attempt: id,
                        phase: phase.clone(),
                    });
                }
            }
        }
        None
    }

    pub(super) fn assign(&mut self, id: AttemptId, order: u64) -> Assigned {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            return match attempt.stage {
                Stage::Present { .. } if planted(Bug::StartedAgainOnRepeat) => Assigned::Fresh,
                Stage::Present { .. } => Assigned::Known,
                Stage::Starting => {
                    attempt.order = Some(order);
                    Assigned::Waiting
                }
                Stage::Forgetting if self.forgotten.covers(id) => Assigned::Stale,
                Stage::Forgetting => Assigned::Waiting,
            };
        }
        let last = AttemptId {
            epoch: Epoch(u32::MAX),
            ..id
        };
        if self.attempts.range(id..=last).next().is_some() || self.forgotten.covers(id) {
            return Assigned::Stale;
        }
        if self.attempts.len() >= self.limit {
            return Assigned::Full;
        }
        self.attempts.insert(
            id,
            Attempt {
                stage: Stage::Starting,
                stop_requested: false,
                order: Some(order),
            },
        );
        Assigned::Fresh
    }

    /// An attempt that is unknown has not come yet (or never will): it ends here and now, so that the assignment that
    /// may still come starts nothing, and the master hears the end that it waits for.
    pub(super) fn stop(&mut self, id: AttemptId, wall: Timestamp) -> Stopping {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            let over = match &attempt.stage {
                Stage::Starting => false,
                Stage::Present { phase, .. } => matches!(phase, Phase::Ended(_)),
                Stage::Forgetting => true,
            };
            if over || attempt.stop_requested {
                return Stopping::Done;
            }
            attempt.stop_requested = true;
            return Stopping::Begin;
        }
        if !self.forgotten.covers(id) && self.attempts.len() < self.limit {
            let phase = Phase::Ended(stopped_before_start(wall));
            let stage = Stage::Present {
                phase,
                reported: None,
                listed: true,
                virtual_end: true,
            };
            self.attempts.insert(
                id,
                Attempt {
                    stage,
                    stop_requested: true,
                    order: None,
                },
            );
            self.unreported.push_back(id);
        }
        Stopping::Done
    }

    pub(super) fn forget(&mut self, id: AttemptId, order: u64) -> Forgetting {
        self.forgotten.remember(id);
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return Forgetting::Done;
        };
        match attempt.stage {
            Stage::Present { virtual_end: true, .. } => {
                self.attempts.remove(&id);
                Forgetting::Done
            }
            Stage::Forgetting => {
                attempt.order = Some(order);
                Forgetting::Waiting
            }
            Stage::Starting | Stage::Present { .. } => {
                attempt.order = Some(order);
                attempt.stage = Stage::Forgetting;
                Forgetting::Begin
            }
        }
    }

    /// Takes in a phase and gives the order that is carried out thereby. Lower ranks and unknown attempts are ignored.
    pub(super) fn progressed(&mut self, id: AttemptId, new: Phase) -> Option<u64> {
        let attempt = self.attempts.get_mut(&id)?;
        match &mut attempt.stage {
            Stage::Forgetting => None,
            Stage::Starting => {
                attempt.stage = Stage::Present {
                    phase: new,
                    reported: None,
                    listed: true,
                    virtual_end: false,
                };
                self.unreported.push_back(id);
                attempt.order.take()
            }
            Stage::Present { phase, listed, .. } => {
                if new.rank() > phase.rank() {
                    *phase = new;
                    if !*listed {
                        *listed = true;
                        self.unreported.push_back(id);
                    }
                }
                None
            }
        }
    }

    /// The executor has removed it; gives the order that is carried out thereby.
    pub(super) fn forgotten(&mut self, id: AttemptId) -> Option<u64> {
        match self.attempts.get(&id)?.stage {
            Stage::Forgetting => self.attempts.remove(&id)?.order,
            Stage::Starting | Stage::Present { .. } => None,
        }
    }
}

/// The phase as a hello tells it. A hello has room for many attempts, but not for the job files that they have left: such an end is
/// reported after it.
fn told(phase: &Phase) -> Cow<'_, Phase> {
    match phase {
        Phase::Ended(outcome) if outcome.generated.is_some() => Cow::Owned(Phase::Publishing),
        phase => Cow::Borrowed(phase),
    }
}

fn stopped_before_start(wall: Timestamp) -> Outcome {
    Outcome {
        state: TerminalState::Killed,
        exit_code: None,
        message: "stopped before it came to the cluster".to_owned(),
        started_at: None,
        ended_at: wall,
        output: None,
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 0,
        generated: None,
    }
}

/// The highest forgotten epoch of the jobs that were forgotten last.
#[derive(Debug)]
struct Forgotten {
    limit: usize,
    epochs: HashMap<JobId, Epoch>,
    order: VecDeque<JobId>,
}

impl Forgotten {
    fn clear(&mut self) {
        self.epochs.clear();
        self.order.clear();
    }

    fn remember(&mut self, id: AttemptId) {
        if let Some(epoch) = self.epochs.get_mut(&id.job) {
            *epoch = id.epoch.max(*epoch);
            return;
        }
        if self.order.len() == self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.epochs.remove(&oldest);
        }
        self.epochs.insert(id.job, id.epoch);
        self.order.push_back(id.job);
    }

    fn covers(&self, id: AttemptId) -> bool {
        self.epochs.get(&id.job).is_some_and(|epoch| id.epoch <= *epoch)
    }
}
