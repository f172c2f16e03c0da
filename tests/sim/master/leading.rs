//! Who leads: the machines of the masters, and the lease in the database, by the rules of `core::leadership`.

use std::time::Duration;

use rand::RngExt;
use tombolo_core::control::Control;
use tombolo_core::leadership::{self, Hold, Lease, Record, Verdict, Watch};
use tombolo_core::time::Moment;

use super::{Process, control_settings};
use crate::world::{Item, World};
use tombolo_tests::history::Fact;

/// How long a leader leads without the database.
const TERM: Duration = Duration::from_secs(3);
/// How often those who wait look.
const LOOK: Duration = Duration::from_millis(250);
/// How long a request takes that the database has and cannot carry out, until it is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What a master runs on.
#[derive(Debug, Default)]
pub(super) struct Machine {
    state: State,
    /// How fast its clock runs, in thousandths.
    rate: u32,
    /// It does not reach the database.
    pub(super) cut: bool,
    /// Counts its processes.
    starts: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Down,
    Waiting(Watch),
    Leading(Box<Process>),
}

/// The leader's end of the lease.
#[derive(Debug)]
pub(super) struct Term {
    lease: Lease,
    rate: u32,
}

/// What happens between a machine and the database. `start` guards against what was meant for a process that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn {
    /// It asks who leads.
    Look,
    /// It hears who leads.
    Seen(Record),
    /// The database hears that it wants to follow the leader of the record; it said so at this moment.
    Take(Record, Moment),
    /// It hears that it leads from now on, under this number.
    Taken(u64, Moment),
    /// It asks for the renewal of its lease.
    Renew,
    /// The database hears that; it was asked at this moment.
    Renewing(Moment),
    /// It hears of the renewal that it asked for at this moment.
    Renewed(Moment),
    /// It looks whether its lease is over.
    Due,
}

impl Machine {
    pub(super) fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Leading(process) => Some(process),
            State::Down | State::Waiting(_) => None,
        }
    }

    pub(super) fn process_mut(&mut self) -> Option<&mut Process> {
        match &mut self.state {
            State::Leading(process) => Some(process),
            State::Down | State::Waiting(_) => None,
        }
    }

    fn moment(&self, now: Duration) -> Moment {
        moment(now, self.rate)
    }
}

fn moment(now: Duration, rate: u32) -> Moment {
    Moment(now * rate / 1000)
}

impl Process {
    /// Whether it may act, by its own clock.
    pub(super) fn may_act(&self, now: Duration) -> bool {
        let holds = |term: &Term| term.lease.holds(moment(now, term.rate));
        self.term.as_ref().is_none_or(holds)
    }
}

impl World {
    pub(crate) fn draw_machines(&mut self) {
        for _ in 0..self.scenario.masters {
            let rate = self.rng.random_range(955..=1045);
            self.master.machines.push(Machine {
                rate,
                ..Machine::default()
            });
        }
        self.start_master(0);
        if self.master.processes().next().is_none() {
            // The first leads before anything can fail.
            self.master.lives += 1;
            let sent = self.master.machines[0].moment(Duration::ZERO);
            self.master.store.begin(self.master.lives, Some(TERM));
            self.lead(0, self.master.lives, Some(sent));
        }
        (1..self.scenario.masters).for_each(|machine| self.start_master(machine));
    }

    /// Starts a master. The only one leads at once, others when nobody else does.
    pub(crate) fn start_master(&mut self, machine: usize) {
        if !matches!(self.master.machines[machine].state, State::Down) {
            return;
        }
        self.master.machines[machine].starts += 1;
        if self.scenario.masters == 1 {
            self.master.lives += 1;
            self.master.store.begin(self.master.lives, None);
            return self.lead(machine, self.master.lives, None);
        }
        self.note(|| format!("master {machine} waits"));
        self.master.machines[machine].state = State::Waiting(Watch::default());
        self.plan_turn(machine, LOOK, Turn::Look);
    }

    pub(crate) fn crash_master(&mut self, machine: usize) {
        match std::mem::take(&mut self.master.machines[machine].state) {
            State::Down => return,
            State::Waiting(_) => {}
            State::Leading(process) => self.end_process(*process),
        }
        self.note(|| format!("master {machine} crashes"));
    }

    /// It leads no more, and waits to do so again.
    pub(super) fn step_down(&mut self, life: u64) {
        let leads = |machine: &super::Machine| machine.process().is_some_and(|process| process.life == life);
        let Some(machine) = self.master.machines.iter().position(leads) else {
            return;
        };
        self.note(|| format!("master {machine} leads no more"));
        self.crash_master(machine);
        self.start_master(machine);
    }

    pub(crate) fn cut_database(&mut self, machine: usize, cut: bool) {
        self.master.machines[machine].cut = cut;
    }

    /// When what the database cannot carry out for this leader at present is tried again; none if it can be now.
    pub(super) fn database_again(&self, life: u64) -> Option<Duration> {
        let leads = |machine: &&super::Machine| machine.process().is_some_and(|process| process.life == life);
        let machine = self.master.machines.iter().find(leads)?;
        machine.cut.then_some(AGAIN)
    }

    fn plan_turn(&mut self, machine: usize, after: Duration, turn: Turn) {
        let start = self.master.machines[machine].starts;
        self.schedule.after(after, Item::Leadership { machine, start, turn });
    }

    /// On the way to the database, or back.
    fn plan_passage(&mut self, machine: usize, turn: Turn) {
        let delay = self.draw_time(self.scenario.commit_time);
        self.plan_turn(machine, delay, turn);
    }

    pub(crate) fn leadership(&mut self, machine: usize, start: u64, turn: Turn) {
        let here = &self.master.machines[machine];
        if here.starts != start || matches!(here.state, State::Down) {
            return;
        }
        let (now, cut) = (here.moment(self.schedule.now()), here.cut);
        match turn {
            Turn::Look if cut => self.plan_turn(machine, LOOK, Turn::Look),
            Turn::Look => self.plan_passage(machine, Turn::Seen(self.master.store.lease)),
            Turn::Seen(record) => self.observe(machine, record, now),
            Turn::Take(record, _) if cut || self.master.store.lease != record => {
                self.plan_turn(machine, LOOK, Turn::Look);
            }
            Turn::Take(_, sent) => {
                self.master.lives += 1;
                let life = self.master.lives;
                self.master.store.begin(life, Some(TERM));
                // Nobody else may act from here on.
                let others: Vec<u64> = self.master.processes().map(|process| process.life).collect();
                for other in others {
                    self.acts(other);
                }
                self.plan_passage(machine, Turn::Taken(life, sent));
            }
            Turn::Taken(life, sent) => self.lead(machine, life, Some(sent)),
            Turn::Renew => self.ask_for_renewal(machine, now, cut),
            Turn::Renewing(sent) => self.renew(machine, sent, cut),
            Turn::Renewed(sent) => self.renewed(machine, now, sent),
            Turn::Due => self.look_at_lease(machine, now),
        }
    }

    fn observe(&mut self, machine: usize, record: Record, now: Moment) {
        let State::Waiting(watch) = &mut self.master.machines[machine].state else {
            return;
        };
        match watch.observe(now, record, true) {
            Verdict::Held => self.plan_turn(machine, LOOK, Turn::Look),
            Verdict::Free => self.plan_passage(machine, Turn::Take(record, now)),
        }
    }

    fn lead(&mut self, machine: usize, life: u64, taken: Option<Moment>) {
        let clock = self.draw_clock();
        let live = self.master.store.live.clone();
        let control =
            Control::restore(control_settings(), live, self.now_at(clock)).expect("the store gives back what it took");
        let specs = self.master.store.specs.clone();
        let here = &mut self.master.machines[machine];
        let rate = here.rate;
        here.state = State::Leading(Box::new(Process {
            life,
            clock,
            term: taken.map(|sent| Term {
                lease: Lease::taken(TERM, sent),
                rate,
            }),
            control,
            specs,
            sessions: Default::default(),
            inbox: Default::default(),
            committing: false,
            tick_at: None,
        }));
        self.note(|| format!("master {machine} leads as {life}"));
        if taken.is_some() {
            self.plan_turn(machine, Duration::ZERO, Turn::Renew);
            self.plan_turn(machine, Duration::ZERO, Turn::Due);
        }
        self.plan_look(life);
        self.master_work(life);
    }

    fn ask_for_renewal(&mut self, machine: usize, now: Moment, cut: bool) {
        let process = self.master.machines[machine].process();
        let Some(term) = process.and_then(|process| process.term.as_ref()) else {
            return;
        };
        let interval = term.lease.interval();
        self.plan_turn(machine, interval, Turn::Renew);
        if !cut {
            self.plan_passage(machine, Turn::Renewing(now));
        }
    }

    fn renew(&mut self, machine: usize, sent: Moment, cut: bool) {
        let Some(life) = self.master.machines[machine].process().map(|process| process.life) else {
            return;
        };
        let record = &mut self.master.store.lease;
        if cut {
            return;
        }
        if record.term != leadership::Term(life) {
            return self.step_down(life);
        }
        record.renewals += 1;
        self.plan_passage(machine, Turn::Renewed(sent));
    }

    fn renewed(&mut self, machine: usize, now: Moment, sent: Moment) {
        let here = &mut self.master.machines[machine];
        // The way back is cut as well.
        if here.cut {
            return;
        }
        if let Some(term) = here.process_mut().and_then(|process| process.term.as_mut()) {
            term.lease.renewed(now, sent);
        }
    }

    fn look_at_lease(&mut self, machine: usize, now: Moment) {
        let Some(process) = self.master.machines[machine].process() else {
            return;
        };
        let Some(term) = &process.term else { return };
        if !term.lease.holds(now) {
            return self.step_down(process.life);
        }
        let left = term.lease.until().since(now) + Duration::from_millis(1);
        self.plan_turn(machine, left * 1000 / term.rate, Turn::Due);
    }

    /// Whether this leader may act. What it does although another one has followed it is noted.
    pub(super) fn acts(&mut self, life: u64) -> bool {
        let now = self.schedule.now();
        let may = self.master.process(life).is_some_and(|process| process.may_act(now));
        let latest = self.master.store.leader;
        if may && latest != life {
            self.history.fact(now, Fact::ActedAfter { life, latest });
        }
        may
    }
}

/// How the lease of a leader that nobody watches is written down.
pub(super) fn hold(lease: Option<Duration>) -> Hold {
    lease.map_or(Hold::Locked, Hold::Renewed)
}
