//! What a process that leads does: commands in batches, their commits, and what follows from them.

use std::collections::BTreeSet;

use rand::RngExt;
use tombolo_core::control::{Change, Command, Effects, Refusal, Reply};
use tombolo_core::session::master::{Event, Session};

use super::{Batch, Origin, given, needed_from, recovering};
use crate::world::{Bug, Item, World};
use tombolo_tests::history::Fact;

/// What a hello says, if the command is one.
fn greeting(command: &Command) -> Option<Fact> {
    let Command::Connect { cluster, hello, .. } = command else {
        return None;
    };
    Some(Fact::Greeted {
        cluster: cluster.clone(),
        attempts: hello.attempts.iter().map(|report| report.attempt).collect(),
    })
}

impl World {
    /// Applies what has come, a batch at a time, and writes it. While a batch is being written, the next one waits.
    pub(super) fn master_work(&mut self, life: u64) {
        loop {
            let size = self.rng.random_range(1..=8);
            let Some(process) = self.master.process_mut(life) else {
                return;
            };
            if process.committing || process.inbox.is_empty() {
                break;
            }
            let Batch { mut letters, changes } = self.apply_batch(life, size);
            if changes.is_empty() {
                self.let_out(life, letters);
                continue;
            }
            if let Some(process) = self.master.process_mut(life) {
                process.committing = true;
            }
            if self.bug == Some(Bug::EffectsBeforeCommit) {
                self.let_out(life, std::mem::take(&mut letters));
            }
            let time = self.draw_time(self.scenario.commit_time);
            let batch = Box::new(Batch { letters, changes });
            self.schedule.after(time, Item::MasterCommit { life, batch });
        }
        self.plan_master_tick(life);
    }

    fn apply_batch(&mut self, life: u64, size: usize) -> Batch {
        let (mut letters, mut changes, mut drained) = (Vec::new(), Vec::new(), Vec::new());
        let now = self.schedule.now();
        let Some(process) = self.master.process_mut(life) else {
            return Batch { letters, changes };
        };
        for _ in 0..size {
            let Some((origin, command)) = process.inbox.pop_front() else {
                break;
            };
            self.history.note(now, || format!("master {life} applies {command:?}"));
            let greeting = greeting(&command);
            let before = match &origin {
                Origin::Drained(name) => needed_from(&process.control, name),
                _ => BTreeSet::new(),
            };
            let mut effects = process.control.apply(Self::now_of(now, process.clock), command);
            if let Origin::Drained(name) = &origin
                && effects.reply.is_ok()
            {
                let again = recovering(&process.control).intersection(&before).copied().collect();
                drained.push((name.clone(), again, given(&process.control)));
            }
            if let Some(greeting) = greeting.filter(|_| effects.reply.is_ok()) {
                self.history.fact(now, greeting);
            }
            for change in &effects.changes {
                if let Change::InsertBuild { nodes, specs, .. } | Change::ExtendBuild { nodes, specs, .. } = change {
                    process
                        .specs
                        .extend(nodes.iter().map(|node| node.id).zip(specs.iter().cloned()));
                }
            }
            changes.append(&mut effects.changes);
            letters.push((origin, effects));
        }
        // Of one that was followed nothing comes.
        if self.master.store.leader == life {
            for (cluster, recovered, given) in drained {
                self.note_drained(cluster, recovered, given);
            }
        }
        Batch { letters, changes }
    }

    /// The database has answered, or would have: the process may be gone.
    pub(crate) fn master_committed(&mut self, life: u64, batch: Box<Batch>) {
        if self.master.process(life).is_none() {
            // A database may finish what a dead client asked for, but not after a later one has begun: that fences it.
            if self.master.store.leader == life && self.rng.random_bool(0.5) {
                self.commit(&batch.changes);
            }
            return;
        }
        if let Some(again) = self.database_again(life) {
            return self.schedule.after(again, Item::MasterCommit { life, batch });
        }
        if self.master.store.leader != life {
            return self.step_down(life);
        }
        let fails = self.scenario.commit_failures > 0.0 && self.rng.random_bool(self.scenario.commit_failures);
        let written = !fails || self.rng.random_bool(0.3);
        if written {
            self.commit(&batch.changes);
        }
        if fails {
            self.note(|| format!("the commit of master {life} fails, written: {written}"));
        }
        // An unknown end is read back: what is there was a success.
        if !written && self.bug != Some(Bug::FailedCommitIgnored) {
            return self.step_down(life);
        }
        if let Some(process) = self.master.process_mut(life) {
            process.committing = false;
        }
        self.let_out(life, batch.letters);
        self.master_work(life);
    }

    /// Answers, and hands the orders to the sessions.
    fn let_out(&mut self, life: u64, letters: Vec<(Origin, Effects)>) {
        for (origin, effects) in letters {
            self.answer(life, origin, effects.reply);
            for (cluster, order) in effects.orders {
                self.hand_over(life, &cluster, order);
            }
        }
    }

    fn answer(&mut self, life: u64, origin: Origin, reply: Result<Reply, Refusal>) {
        match origin {
            Origin::Session { connection, ticket } => {
                self.session_event(
                    connection,
                    Event::Applied {
                        ticket,
                        result: reply.map(|_| ()),
                    },
                );
            }
            // What is durable is so, whoever leads by now.
            Origin::User(act) => self.user_hears(act, reply),
            Origin::Removal(name) | Origin::Drained(name) if reply.is_ok() => self.end_sessions_of(life, &name),
            Origin::Removal(_) | Origin::Drained(_) | Origin::Own => {}
        }
    }

    pub(crate) fn master_tick(&mut self, life: u64) {
        let now = self.schedule.now();
        let Some(process) = self.master.process_mut(life) else {
            return;
        };
        process.tick_at = None;
        let steady = Self::now_of(now, process.clock).steady;
        if process
            .control
            .next_deadline()
            .is_some_and(|deadline| deadline <= steady)
        {
            let waits = process
                .inbox
                .iter()
                .any(|(_, command)| matches!(command, Command::Tick));
            if !waits {
                process.inbox.push_back((Origin::Own, Command::Tick));
            }
        }
        let due = process
            .sessions
            .iter()
            .filter(|(_, session)| session.deadline().is_some_and(|at| at <= steady));
        let due: Vec<u64> = due.map(|(connection, _)| *connection).collect();
        for connection in due {
            self.session_event(connection, Event::Tick);
        }
        self.master_work(life);
    }

    pub(super) fn plan_master_tick(&mut self, life: u64) {
        let now = self.schedule.now();
        let Some(process) = self.master.process_mut(life) else {
            return;
        };
        // While a batch is being written nothing can be applied.
        let control = if process.committing {
            None
        } else {
            process.control.next_deadline()
        };
        let sessions = process.sessions.values().filter_map(Session::deadline).min();
        let Some(first) = control.into_iter().chain(sessions).min() else {
            return;
        };
        let at = Self::time_at(process.clock, first).max(now);
        if process.tick_at.is_none_or(|planned| at < planned) {
            process.tick_at = Some(at);
            self.schedule.at(at, Item::MasterTick { life });
        }
    }
}
