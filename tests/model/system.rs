//! The system as a model: what is where, what may happen, and what must be true.
//!
//! Times are counted from now on: how long something has been so, how long a lease lasts. So the model has no end of time, and yet ends. What is said
//! to the first agent and by it takes its time or gets lost; the second has a network without faults, so that the states are few enough for all of them.

mod steps;

use stateright::{Model, Property};

/// How long a master leads without the database, in steps of time.
const LEAD: u8 = 2;
/// How long an agent acts without a master. What is on its way for so long is of no use any more, and lost.
const LEASE: u8 = 3;
/// How many attempts there are at most.
const EPOCHS: u8 = 2;
/// The agent whose network has no faults.
const NEAR: usize = 1;
/// What is wrong in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// The database takes what a master writes that another one has followed.
    NoFence,
    /// Agents count their lease from when they hear of it.
    LeaseFromReceipt,
    /// A result is taken whichever attempt it is of.
    AnyEpoch,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct System {
    pub(crate) mistake: Mistake,
}

/// The job, as the database has it, or as a master believes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Job {
    epoch: u8,
    owner: Option<u8>,
    result: Option<u8>,
}

/// What a master that leads goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Belief {
    job: Job,
    /// For how long it counts on each agent.
    counts_on: [u8; 2],
}

/// The master that leads first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum First {
    Leads {
        left: u8,
        /// Since when it waits for a renewal.
        renewing: Option<u8>,
        belief: Belief,
    },
    Over,
}

/// The master that follows; nobody follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Second {
    /// It looks who leads: since when it sees the same, and whether that has changed.
    Waits {
        since: u8,
        changed: bool,
    },
    Leads(Belief),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Attempt {
    Accepted(u8),
    Running(u8),
    Done(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Message {
    /// Nothing is on its way.
    None,
    /// A heartbeat, since when.
    Heartbeat(u8),
    /// Its answer, since when the heartbeat was sent, and which attempt the master wants of the agent.
    Answer(u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Agent {
    /// How long its lease lasts.
    lease: u8,
    attempt: Option<Attempt>,
    message: Message,
    /// An assignment on its way.
    assigned: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    job: Job,
    first: First,
    second: Second,
    agents: [Agent; 2],
    /// What the first master writes, on its way to the database.
    writing: Option<Job>,
    /// How often a result was written.
    effects: u8,
    /// A master wrote after it was followed.
    wrote_late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    First,
    Second,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    TimePasses,
    AskForRenewal,
    HearOfRenewal,
    Look,
    /// What the first master writes comes to the database.
    Arrives,
    Place(Who, usize),
    GiveUp(Who),
    HearHeartbeat(Who, usize),
    HearResult(Who, usize),
    SendHeartbeat(usize),
    LoseMessage(usize),
    HearAnswer(usize),
    HearAssignment(usize),
    Start(usize),
    Finish(usize),
}

impl Model for System {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let agent = Agent {
            lease: 0,
            attempt: None,
            message: Message::None,
            assigned: None,
        };
        let belief = Belief {
            job: Job::default(),
            counts_on: [LEASE; 2],
        };
        vec![State {
            job: Job::default(),
            first: First::Leads {
                left: LEAD,
                renewing: None,
                belief,
            },
            second: Second::Waits {
                since: 0,
                changed: false,
            },
            agents: [agent; 2],
            writing: None,
            effects: 0,
            wrote_late: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::TimePasses);
        if let First::Leads { renewing, .. } = state.first {
            actions.push(match renewing {
                None => Action::AskForRenewal,
                Some(_) => Action::HearOfRenewal,
            });
        }
        if matches!(state.second, Second::Waits { .. }) {
            actions.push(Action::Look);
        }
        if state.writing.is_some() {
            actions.push(Action::Arrives);
        }
        for who in [Who::First, Who::Second] {
            state.actions_of_leader(who, actions);
        }
        for agent in 0..2 {
            state.actions_of_agent(agent, actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::TimePasses => state.time_passes(),
            Action::AskForRenewal => state.ask_for_renewal(),
            Action::HearOfRenewal => state.hear_of_renewal(),
            Action::Look => state.look(),
            Action::Arrives => self.arrives(&mut state),
            Action::Place(who, _) | Action::GiveUp(who) | Action::HearResult(who, _) => {
                self.write(&mut state, who, action);
            }
            Action::HearHeartbeat(who, agent) => state.hear_heartbeat(who, agent),
            Action::SendHeartbeat(agent) => state.agents[agent].message = Message::Heartbeat(0),
            Action::LoseMessage(agent) => state.agents[agent].message = Message::None,
            Action::HearAnswer(agent) => state.hear_answer(agent, self.mistake == Mistake::LeaseFromReceipt),
            Action::HearAssignment(agent) => state.hear_assignment(agent),
            Action::Start(agent) => state.go_on(agent, Attempt::Running),
            Action::Finish(agent) => state.go_on(agent, Attempt::Done),
        }
        (state != *before).then_some(state)
    }

    /// When the job has ended, only what still is to be said of it matters.
    fn within_boundary(&self, state: &State) -> bool {
        state.job.result.is_none()
            || state.writing.is_some()
            || state.agents.iter().any(|agent| agent.attempt.is_some())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one attempt takes effect", |_, state: &State| {
                state.effects <= 1 && state.job.result.is_none_or(|epoch| epoch == state.job.epoch)
            }),
            Property::always("the command never runs twice at once", |_, state: &State| {
                let runs = |agent: &Agent| matches!(agent.attempt, Some(Attempt::Running(_)));
                !state.agents.iter().all(runs)
            }),
            Property::always("a master that was followed writes nothing", |_, state: &State| {
                !state.wrote_late
            }),
            Property::sometimes("the job ends elsewhere", |_, state: &State| {
                state.job.result == Some(EPOCHS) && state.effects == 1
            }),
            Property::sometimes("another master leads", |_, state: &State| {
                matches!(state.second, Second::Leads(_))
            }),
        ]
    }
}

impl System {
    /// What a master writes, by what it believes. It does nothing else until that is there.
    fn write(&self, state: &mut State, who: Who, action: Action) {
        let Some(Belief { mut job, .. }) = state.belief(who).copied() else {
            return;
        };
        match action {
            Action::Place(_, agent) => {
                job.epoch += 1;
                job.owner = u8::try_from(agent).ok();
            }
            Action::HearResult(_, agent) => {
                let Some(Attempt::Done(epoch)) = state.agents[agent].attempt.take() else {
                    return;
                };
                let counts = job.epoch == epoch && job.owner == u8::try_from(agent).ok() && job.result.is_none();
                if !counts && self.mistake != Mistake::AnyEpoch {
                    return;
                }
                job.result = Some(epoch);
            }
            _ => job.owner = None,
        }
        match who {
            Who::First => state.writing = Some(job),
            Who::Second => state.written(who, job),
        }
    }

    /// The database refuses what a master writes that another one has followed.
    fn arrives(&self, state: &mut State) {
        let Some(job) = state.writing.take() else { return };
        let was_followed = matches!(state.second, Second::Leads(_));
        if was_followed && self.mistake != Mistake::NoFence {
            state.first = First::Over;
            return;
        }
        state.wrote_late |= was_followed;
        state.written(Who::First, job);
    }
}
