//! What happens at each step, to whom.

use std::time::Duration;

use tombolo_core::leadership::{Hold, Lease, Record, Term, Verdict, Watch};
use tombolo_core::time::Moment;

use super::{Action, Agent, Attempt, Belief, EPOCHS, First, Job, LEAD, LEASE, Message, NEAR, Second, State, Who};

/// The present, far from the beginning of time.
const NOW: u8 = 100;

const fn second_of(step: u8) -> Moment {
    Moment(Duration::from_secs(step as u64))
}

const LEAD_TIME: Duration = Duration::from_secs(LEAD as u64);

/// The rules of `core::leadership`: what somebody finds who has seen the record for so long, unless it has changed.
fn verdict(since: u8, changed: bool) -> Verdict {
    let record = |renewals| Record {
        term: Term(1),
        renewals,
        hold: Hold::Renewed(LEAD_TIME),
    };
    let mut watch = Watch::default();
    watch.observe(second_of(NOW - since), record(0), true);
    watch.observe(second_of(NOW), record(u64::from(changed)), true)
}

/// The rules of `core::leadership`: how long the lease of a leader lasts that has so much left, once a renewal is acknowledged that was sent
/// so long ago.
fn renewed(left: u8, ago: u8) -> u8 {
    let mut lease = Lease::taken(LEAD_TIME, second_of(NOW + left - LEAD));
    lease.renewed(second_of(NOW), second_of(NOW - ago));
    u8::try_from(lease.until().since(second_of(NOW)).as_secs()).expect("leases are short")
}

/// The same: whether it may act.
fn holds(left: u8) -> bool {
    Lease::taken(LEAD_TIME, second_of(NOW + left - LEAD)).holds(second_of(NOW))
}

impl State {
    pub(super) fn belief(&self, who: Who) -> Option<&Belief> {
        match (who, &self.first, &self.second) {
            (Who::First, First::Leads { left, belief, .. }, _) if holds(*left) => Some(belief),
            (Who::Second, _, Second::Leads(belief)) => Some(belief),
            _ => None,
        }
    }

    fn belief_mut(&mut self, who: Who) -> Option<&mut Belief> {
        match (who, &mut self.first, &mut self.second) {
            (Who::First, First::Leads { left, belief, .. }, _) if holds(*left) => Some(belief),
            (Who::Second, _, Second::Leads(belief)) => Some(belief),
            _ => None,
        }
    }

    /// It is in the database; and only now it has effects.
    pub(super) fn written(&mut self, who: Who, job: Job) {
        self.effects = (self.effects + u8::from(job.result.is_some())).min(2);
        let placed = job.epoch > self.job.epoch;
        self.job = job;
        let Some(belief) = self.belief_mut(who) else { return };
        belief.job = job;
        if let Some(agent) = job.owner.filter(|_| placed) {
            self.agents[usize::from(agent)].assigned = Some(job.epoch);
            if usize::from(agent) == NEAR {
                self.hear_assignment(NEAR);
            }
        }
    }

    pub(super) fn actions_of_leader(&self, who: Who, actions: &mut Vec<Action>) {
        let Some(Belief { job, counts_on }) = self.belief(who) else {
            return;
        };
        let is_writing = who == Who::First && self.writing.is_some();
        for (agent, counted) in counts_on.iter().enumerate() {
            let asks = matches!(self.agents[agent].message, Message::Heartbeat(_));
            let is_due = agent == NEAR && self.agents[agent].lease.min(*counted) < LEASE;
            if (asks || is_due) && !is_writing {
                actions.push(Action::HearHeartbeat(who, agent));
            }
            if matches!(self.agents[agent].attempt, Some(Attempt::Done(_))) && !is_writing {
                actions.push(Action::HearResult(who, agent));
            }
            let is_open = job.owner.is_none() && job.result.is_none() && job.epoch < EPOCHS;
            if is_open && *counted > 0 && !is_writing {
                actions.push(Action::Place(who, agent));
            }
        }
        let is_lost = job.owner.is_some_and(|agent| counts_on[usize::from(agent)] == 0);
        if is_lost && job.result.is_none() && !is_writing {
            actions.push(Action::GiveUp(who));
        }
    }

    pub(super) fn actions_of_agent(&self, agent: usize, actions: &mut Vec<Action>) {
        let Agent {
            lease,
            attempt,
            message,
            assigned,
        } = self.agents[agent];
        match message {
            Message::None if agent == NEAR || lease == LEASE => {}
            Message::None => actions.push(Action::SendHeartbeat(agent)),
            Message::Heartbeat(_) => actions.push(Action::LoseMessage(agent)),
            Message::Answer(..) => actions.push(Action::HearAnswer(agent)),
        }
        if assigned.is_some() {
            actions.push(Action::HearAssignment(agent));
        }
        match attempt {
            Some(Attempt::Accepted(_)) if lease > 0 => actions.push(Action::Start(agent)),
            Some(Attempt::Running(_)) => actions.push(Action::Finish(agent)),
            _ => {}
        }
    }

    /// Supervisors need nobody to stop a command when the lease is over.
    pub(super) fn time_passes(&mut self) {
        if let First::Leads { left, renewing, belief } = &mut self.first {
            *left = left.saturating_sub(1);
            *renewing = renewing.map(|ago| (ago + 1).min(LEAD + 1));
            belief.time_passes();
            if !holds(*left) {
                self.first = First::Over;
            }
        }
        match &mut self.second {
            Second::Waits { since, .. } => *since = (*since + 1).min(LEAD + 1),
            Second::Leads(belief) => belief.time_passes(),
        }
        for agent in &mut self.agents {
            agent.lease = agent.lease.saturating_sub(1);
            if agent.lease == 0 {
                // A connection does not outlive the lease, and nothing comes any more that was on it.
                agent.assigned = None;
                agent.attempt = agent.attempt.filter(|attempt| !matches!(attempt, Attempt::Running(_)));
            }
            agent.message = match agent.message {
                Message::Heartbeat(ago) if ago + 1 < LEASE => Message::Heartbeat(ago + 1),
                Message::Answer(ago, wanted) if ago + 1 < LEASE => Message::Answer(ago + 1, wanted),
                _ => Message::None,
            };
        }
    }

    pub(super) fn look(&mut self) {
        let Second::Waits { since, changed } = self.second else {
            return;
        };
        self.second = match (verdict(since, changed), changed) {
            // All leases begin anew.
            (Verdict::Free, _) => Second::Leads(Belief {
                job: self.job,
                counts_on: [LEASE; 2],
            }),
            (Verdict::Held, true) => Second::Waits {
                since: 0,
                changed: false,
            },
            (Verdict::Held, false) => self.second,
        };
    }

    pub(super) fn ask_for_renewal(&mut self) {
        if let First::Leads { renewing, .. } = &mut self.first
            && let Second::Waits { changed, .. } = &mut self.second
        {
            *renewing = Some(0);
            *changed = true;
        }
    }

    pub(super) fn hear_of_renewal(&mut self) {
        if let First::Leads { left, renewing, .. } = &mut self.first
            && let Some(ago) = renewing.take()
        {
            *left = renewed(*left, ago);
        }
    }

    pub(super) fn hear_heartbeat(&mut self, who: Who, agent: usize) {
        let ago = match self.agents[agent].message {
            Message::Heartbeat(ago) => ago,
            _ => 0,
        };
        let Some(Belief { job, counts_on }) = self.belief_mut(who) else {
            return;
        };
        counts_on[agent] = LEASE;
        let is_its = job.owner == u8::try_from(agent).ok();
        let wanted = if is_its { job.epoch } else { 0 };
        self.agents[agent].message = Message::Answer(ago, wanted);
        if agent == NEAR {
            self.hear_answer(agent, false);
        }
    }

    /// A lease that has lapsed is granted anew only for what the master still wants.
    pub(super) fn hear_answer(&mut self, agent: usize, from_receipt: bool) {
        let agent = &mut self.agents[agent];
        let Message::Answer(ago, wanted) = agent.message else {
            return;
        };
        agent.message = Message::None;
        // What was said before is heard before, or never.
        agent.assigned = agent.assigned.filter(|epoch| *epoch == wanted);
        if agent.lease == 0
            && let Some(Attempt::Accepted(epoch)) = agent.attempt
            && epoch != wanted
        {
            agent.attempt = None;
        }
        let granted = if from_receipt { LEASE } else { LEASE - ago };
        agent.lease = agent.lease.max(granted);
    }

    pub(super) fn hear_assignment(&mut self, agent: usize) {
        let agent = &mut self.agents[agent];
        if let Some(epoch) = agent.assigned.take()
            && agent.attempt.is_none()
        {
            agent.attempt = Some(Attempt::Accepted(epoch));
        }
    }

    pub(super) fn go_on(&mut self, agent: usize, to: fn(u8) -> Attempt) {
        let attempt = &mut self.agents[agent].attempt;
        if let Some(Attempt::Accepted(epoch) | Attempt::Running(epoch)) = *attempt {
            *attempt = Some(to(epoch));
        }
    }
}

impl Belief {
    fn time_passes(&mut self) {
        self.counts_on = self.counts_on.map(|left| left.saturating_sub(1));
    }
}
