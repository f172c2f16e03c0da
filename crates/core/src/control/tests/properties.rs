//! Whatever happens in whatever order: the checks of the [`World`] hold after every command, and every build ends once
//! its clusters behave.

mod order;

use std::time::Duration;

use proptest::prelude::*;

use super::super::testing::{PROJECT, World, cluster, ended, hello, job, running};
use super::super::{Caution, Command, Copied, CopyStage, Extent, Generated, Present, Settings};
use crate::attempt::{LostInput, Outcome, Phase};
use crate::build::hook::Hook;
use crate::build::{JobKind, JobSpec, StateSet, TerminalState};
use crate::id::{AttemptId, BuildId, Epoch, JobId, ProjectId, SessionId};
use crate::name::{ClusterName, ProjectName};
use crate::placement::Availability;
use crate::session::Order;
use crate::share::{Limits, Share};

const CLUSTERS: [(&str, &[&str], u32); 3] = [
    ("east", &["AWS", "zone=1"], 3),
    ("west", &["GCP", "zone=1"], 2),
    ("north", &["AWS", "GCP", "zone=2"], 2),
];
const SECOND: ProjectId = ProjectId::from_u128(2);
/// How long jobs wait that fit nowhere.
const PATIENCE: Duration = Duration::from_secs(300);
const STAGES: [fn() -> CopyStage; 3] = [
    || CopyStage::UnderWay,
    || CopyStage::Whole,
    || CopyStage::Failed("nobody gave it".to_owned()),
];
const SELECTORS: [&str; 5] = ["", "AWS", "GCP", "!GCP", "AWS, GCP"];

/// One thing that happens. Numbers pick among what there is at the time.
#[derive(Debug, Clone)]
enum Step {
    Submit(Vec<(u8, u8, u8)>, bool),
    /// A project, the first or the second, may have more or less from now on.
    SetShare {
        second: bool,
        share: Share,
    },
    /// A report on an attempt: of its own cluster or another one, of its present epoch or another one.
    Report {
        pick: usize,
        phase: u8,
        from: Option<usize>,
        older: bool,
    },
    /// An agent connects and still has some of its attempts, one of them perhaps an old one.
    Connect {
        which: usize,
        slots: u32,
        keeps: u16,
        phase: u8,
        stale: bool,
    },
    Disconnect(usize),
    Heartbeat(usize),
    Pass(u16),
    CancelJob(usize),
    CancelBuild(usize, Extent),
    CancelQueued(usize),
    /// A cluster is cordoned, drained, disabled, or takes jobs again; those that it has move perhaps.
    SetAvailability {
        which: usize,
        availability: Availability,
        moves: bool,
    },
    Remove(usize, Caution),
    /// An agent says why one of its attempts does not go on, or that it does.
    Waits(usize, bool),
    /// An agent says something of a copy that it was told to bring, or was not.
    Copied {
        which: usize,
        pick: usize,
        stage: CopyStage,
    },
    Join(usize),
    Restart,
}

fn share() -> impl Strategy<Value = Share> {
    // Some jobs pass some of these by themselves: they ask for 0.5 to 1.5 processors and one byte.
    let limits = || {
        let jobs = prop::option::of(1..4_u32);
        let cpu_milli = prop::option::of(prop_oneof![1 => 400..1500_u64, 4 => 1500..3000_u64]);
        let memory_bytes = prop::option::of(prop_oneof![1 => Just(0), 9 => 1..4_u64]);
        (jobs, cpu_milli, memory_bytes).prop_map(|(jobs, cpu_milli, memory_bytes)| Limits {
            jobs,
            cpu_milli,
            memory_bytes,
        })
    };
    (1..4_u32, limits(), limits()).prop_map(|(weight, limits, build_limits)| Share {
        weight,
        limits,
        build_limits,
        clusters: crate::label::Selector::default(),
    })
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..CLUSTERS.len();
    prop_oneof![
        4 => prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..7).prop_flat_map(|shape| any::<bool>().prop_map(move |second| Step::Submit(shape.clone(), second))),
        2 => (any::<bool>(), share()).prop_map(|(second, share)| Step::SetShare { second, share }),
        12 => (any::<usize>(), any::<u8>(), prop::option::weighted(0.1, which.clone()), prop::bool::weighted(0.1))
            .prop_map(|(pick, phase, from, older)| Step::Report { pick, phase, from, older }),
        4 => (which.clone(), 0..4_u32, any::<u16>(), any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(which, slots, keeps, phase, stale)| Step::Connect { which, slots, keeps, phase, stale }),
        1 => which.clone().prop_map(Step::Disconnect),
        3 => which.clone().prop_map(Step::Heartbeat),
        3 => (0..400_u16).prop_map(Step::Pass),
        1 => any::<usize>().prop_map(Step::CancelJob),
        1 => any::<usize>().prop_map(Step::CancelQueued),
        1 => (any::<usize>(), prop::sample::select(&[Extent::Jobs, Extent::Whole][..])).prop_map(|(pick, extent)| Step::CancelBuild(pick, extent)),
        3 => (which.clone(), prop::sample::select(&Availability::ALL[..]), any::<bool>())
            .prop_map(|(which, availability, moves)| Step::SetAvailability { which, availability, moves }),
        1 => which.clone().prop_map(|which| Step::Remove(which, Caution::None)),
        2 => which.clone().prop_map(|which| Step::Remove(which, Caution::Needs)),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(pick, waits)| Step::Waits(pick, waits)),
        3 => (which.clone(), any::<usize>(), prop::sample::select(&STAGES[..]))
            .prop_map(|(which, pick, stage)| Step::Copied { which, pick, stage: stage() }),
        3 => which.prop_map(Step::Join),
        1 => Just(Step::Restart),
    ]
}

fn phase(number: u8) -> Phase {
    match number % 10 {
        0 => Phase::Accepted,
        1 | 2 => Phase::Preparing,
        3 | 4 => running(),
        5 => Phase::Publishing,
        6 => ended(TerminalState::Failure),
        7 | 8 => ended(TerminalState::Error),
        _ => ended(TerminalState::Finished),
    }
}

/// How many indexes a job of this shape has, if it is an array.
fn count_of((_, selector, size): (u8, u8, u8)) -> Option<u32> {
    (selector % 4 == 3 && size % 8 < 6).then_some(1 + u32::from(size % 3))
}

/// Jobs whose parents are some of those before them.
fn jobs(shape: &[(u8, u8, u8)]) -> Vec<JobSpec> {
    let name = |index: usize| format!("j{index}");
    let with_parents = |(index, (parents, selector, size)): (usize, &(u8, u8, u8))| {
        let spec = job(&name(index))
            .on(SELECTORS[usize::from(*selector) % SELECTORS.len()])
            .cpu(500 + 500 * u64::from(size % 3))
            .priority(i8::try_from(i32::from(size / 3) - 42).unwrap());
        let kind = match size % 8 {
            6 => JobKind::Wait,
            7 => JobKind::Workflow,
            _ => JobKind::Run,
        };
        let spec = JobSpec { kind, ..spec };
        let spec = if parents % 3 == 0 {
            spec.retried(u32::from(size % 3))
        } else {
            spec
        };
        // Some are arrays, which take of each other what the same index has left where they can.
        let spec = match count_of((*parents, *selector, *size)) {
            Some(count) => spec.times_at_once(count, (size % 2 == 0).then_some(1)),
            None => spec,
        };
        let spec = if size % 7 == 3 { spec.spread_over("zone") } else { spec };
        let spec = if parents % 5 == 1 { spec.found_within(100) } else { spec };
        let first = (0..index).find(|parent| parents & (1 << parent) != 0);
        let spec = match first {
            // With a selector of its own it might fit nowhere.
            Some(first) if size % 11 == 4 && shape[first].1 % 4 != 3 => spec.on("").cpu(500).beside(&name(first)),
            _ => spec,
        };
        (0..index)
            .filter(|parent| parents & (1 << parent) != 0)
            .fold(spec, |spec, parent| match selector % 3 {
                2 if spec.array().is_some() && count_of(shape[parent]) == count_of((*parents, *selector, *size)) => {
                    spec.after(&name(parent)).with_same_index_of(&name(parent))
                }
                1 if size % 5 == 2 => spec.after(&name(parent)).without_output_of(&name(parent)),
                0 => spec.after_when(&name(parent), StateSet::ALL),
                _ => spec.after(&name(parent)),
            })
    };
    shape.iter().enumerate().map(with_parents).collect()
}

/// The same for a build of its own: now and then the last of them are hooks, which others do not follow.
fn with_hooks(shape: &[(u8, u8, u8)]) -> Vec<JobSpec> {
    let mut jobs = jobs(shape);
    let (count, (first, second, _)) = (shape.len(), shape[0]);
    let on_error = 1 + usize::from(first) % (2 * count);
    let after = on_error + usize::from(second) % count;
    for (index, job) in jobs.iter_mut().enumerate().skip(on_error) {
        job.set_hook(Some(if index >= after { Hook::After } else { Hook::OnError }));
    }
    jobs
}

impl World {
    /// With a second project.
    fn of_two(settings: Settings) -> Self {
        let mut world = Self::with(settings);
        let name = ProjectName::new("second").unwrap();
        world.done(Command::CreateProject { id: SECOND, name });
        world
    }

    fn project(&self, second: bool) -> ProjectId {
        if second { SECOND } else { PROJECT }
    }

    /// The cluster and its session, if it has one.
    fn contact_of(&self, which: usize) -> Option<(ClusterName, SessionId)> {
        let cluster = cluster(CLUSTERS[which].0);
        let session = self.control.cluster(&cluster)?.session?;
        Some((cluster, session))
    }

    fn joined(&self, which: usize) -> bool {
        self.control.cluster(&cluster(CLUSTERS[which].0)).is_some()
    }

    /// The attempts that count, in order.
    fn current(&self) -> Vec<AttemptId> {
        let ids = self.seen.keys().map(|job| self.attempt(*job));
        ids.filter(|attempt| self.control.assignment(*attempt).is_some())
            .collect()
    }

    /// All jobs, and all indexes of those that are arrays.
    fn with_indexes(&self) -> Vec<JobId> {
        let ids = self.live.jobs.iter().flat_map(|(node, _)| {
            let indexes = 0..node.array().map_or(0, |array| array.count);
            std::iter::once(node.id).chain(indexes.map(|index| node.id.of_index(index)))
        });
        ids.collect()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Submit(shape, second) => {
                let submission = self.submission(self.project(second), with_hooks(&shape));
                self.done(Command::Submit(Box::new(submission)));
            }
            Step::SetShare { second, share } => {
                let id = self.project(second);
                self.done(Command::SetShare { id, share });
            }
            Step::Report {
                pick,
                phase: number,
                from,
                older,
            } => self.random_report(pick, phase(number), from, older),
            Step::Connect {
                which,
                slots,
                keeps,
                phase,
                stale,
            } => self.random_connect(which, slots, keeps, phase, stale),
            Step::Disconnect(which) => {
                if let Some((cluster, session)) = self.contact_of(which) {
                    self.done(Command::Disconnect { cluster, session });
                }
            }
            Step::Heartbeat(which) => {
                if let Some((cluster, session)) = self.contact_of(which) {
                    let effects = self.done(Command::Heartbeat { cluster, session });
                    assert!(effects.changes.is_empty(), "a heartbeat never writes");
                }
            }
            Step::Pass(seconds) => {
                self.pass(Duration::from_secs(u64::from(seconds)));
            }
            Step::CancelJob(pick) => {
                let jobs = self.with_indexes();
                if !jobs.is_empty() {
                    let job = jobs[pick % jobs.len()];
                    self.done(Command::CancelJob { job });
                }
            }
            Step::CancelQueued(pick) => self.random_cancel_of_what_waits(pick),
            Step::CancelBuild(pick, extent) => {
                let builds: Vec<BuildId> = self.live.builds.iter().map(|build| build.id).collect();
                if !builds.is_empty() {
                    let build = builds[pick % builds.len()];
                    self.done(Command::CancelBuild { build, extent });
                }
            }
            Step::SetAvailability {
                which,
                availability,
                moves,
            } if self.joined(which) => {
                let moves = moves && availability != Availability::Open;
                self.done(Command::SetAvailability {
                    name: cluster(CLUSTERS[which].0),
                    availability,
                    present: if moves { Present::Move } else { Present::Stay },
                });
            }
            Step::Remove(which, caution) if self.joined(which) => self.random_removal(which, caution),
            Step::Waits(pick, waits) => self.random_waits(pick, waits),
            Step::Copied { which, pick, stage } => self.random_copy(which, pick, stage),
            Step::Join(which) if !self.joined(which) => self.join(CLUSTERS[which].0, CLUSTERS[which].1),
            Step::SetAvailability { .. } | Step::Remove(..) | Step::Join(_) => {}
            Step::Restart => self.restart(),
        }
    }

    /// Somebody cancels what waits in a build. What runs goes on.
    fn random_cancel_of_what_waits(&mut self, pick: usize) {
        let builds: Vec<BuildId> = self.live.builds.iter().map(|build| build.id).collect();
        if builds.is_empty() {
            return;
        }
        let build = builds[pick % builds.len()];
        let effects = self.done(Command::CancelQueued { build });
        for (_, order) in &effects.orders {
            // Nobody needs outputs any more that are made again for what waited.
            let stops = matches!(order, Order::Stop { attempt, .. } if !self.seen[&attempt.job].is_recovering());
            assert!(!stops, "what runs goes on: {order:?}");
        }
    }

    /// Somebody removes a cluster, or is refused for what would be lost.
    fn random_removal(&mut self, which: usize, caution: Caution) {
        let name = cluster(CLUSTERS[which].0);
        let effects = self.apply(Command::RemoveCluster { name, caution });
        assert!(effects.reply.is_ok() || caution == Caution::Needs);
    }

    /// An agent says why one of its attempts does not go on, or that it does.
    fn random_waits(&mut self, pick: usize, waits: bool) {
        let current = self.current();
        let Some(attempt) = current.get(pick % current.len().max(1)).copied() else {
            return;
        };
        let cluster = cluster(&self.cluster_of(attempt.job));
        let Some(session) = self.control.cluster(&cluster).and_then(|view| view.session) else {
            return;
        };
        let reason = if waits {
            "waits for a node".to_owned()
        } else {
            String::new()
        };
        let effects = self.done(Command::Waits {
            cluster,
            session,
            attempt,
            reason,
        });
        assert!(effects.changes.is_empty(), "it never writes");
    }

    /// An agent speaks of the output of some job.
    fn random_copy(&mut self, which: usize, pick: usize, stage: CopyStage) {
        let left = self
            .seen
            .values()
            .filter_map(|status| Some((status.id, status.output?.manifest)));
        let left: Vec<_> = left.collect();
        let Some((cluster, session)) = self.contact_of(which).filter(|_| !left.is_empty()) else {
            return;
        };
        let (job, manifest) = left[pick % left.len()];
        self.done(Command::Copied {
            from: (cluster, session),
            copied: Copied { job, manifest, stage },
        });
    }

    /// All clusters that are connected are heard of.
    fn heartbeats(&mut self) {
        for which in 0..CLUSTERS.len() {
            if let Some((cluster, session)) = self.contact_of(which) {
                self.done(Command::Heartbeat { cluster, session });
            }
        }
    }

    fn random_report(&mut self, pick: usize, phase: Phase, from: Option<usize>, older: bool) {
        let current = self.current();
        if current.is_empty() {
            return;
        }
        let mut attempt = current[pick % current.len()];
        let own = cluster(&self.cluster_of(attempt.job));
        let phase = match phase {
            Phase::Ended(end) if end.state == TerminalState::Error => self.without_inputs(attempt, end, pick),
            phase => phase,
        };
        let from = from.map_or(own.clone(), |which| cluster(CLUSTERS[which].0));
        if older {
            attempt.epoch = Epoch(attempt.epoch.0 - 1);
        }
        let session = self.control.cluster(&from).and_then(|view| view.session);
        let generated = self.random_jobs(attempt, &phase, pick);
        let effects = self.apply(Command::Report {
            generated,
            cluster: from.clone(),
            session: session.unwrap_or(SessionId(0)),
            attempt,
            phase,
        });
        let counts = session.is_some() && from == own && !older;
        assert_eq!(
            effects.reply.is_ok(),
            counts,
            "only the right attempt of the right cluster counts"
        );
    }

    /// What some attempts that finish leave in a job file, or what is wrong with it. What was made twice over makes nothing more.
    fn random_jobs(&mut self, attempt: AttemptId, phase: &Phase, pick: usize) -> Option<Box<Generated>> {
        let finished = matches!(phase, Phase::Ended(end) if end.state == TerminalState::Finished);
        let name = self.control.job(attempt.job)?.node.name.to_string();
        if !finished || !pick.is_multiple_of(3) || name.matches('/').count() > 1 {
            return None;
        }
        if pick.is_multiple_of(15) {
            let jobs = Err("it is not valid".to_owned());
            return Some(Box::new(Generated { jobs }));
        }
        let byte = |place: u32| pick.to_le_bytes()[place as usize % 8];
        let shape: Vec<(u8, u8, u8)> = (0..u32::from(byte(1) % 4))
            .map(|place| (byte(place), byte(place + 1), byte(place + 2)))
            .collect();
        let jobs = jobs(&shape).into_iter();
        let jobs = jobs.map(|spec| (self.fresh_id(&spec), spec)).collect();
        Some(Box::new(Generated { jobs: Ok(jobs) }))
    }

    /// The attempt ended for want of inputs, as some or all clusters say that were asked.
    fn without_inputs(&self, attempt: AttemptId, end: Outcome, pick: usize) -> Phase {
        let inputs = self.control.assignment(attempt).map(|assignment| assignment.inputs);
        let lost = inputs.into_iter().flatten().map(|input| {
            let asked = input.holders.iter().take(1 + pick % 4).map(|name| (*name).clone());
            let (missing, unreachable) = asked.partition(|_| !pick.is_multiple_of(5));
            LostInput {
                parent: input.parent.id(),
                manifest: input.output.manifest,
                missing,
                unreachable,
            }
        });
        let lost_inputs = lost.collect();
        Phase::Ended(Outcome { lost_inputs, ..end })
    }

    fn random_connect(&mut self, which: usize, slots: u32, keeps: u16, number: u8, stale: bool) {
        let view = self.control.cluster(&cluster(CLUSTERS[which].0));
        if view.is_none_or(|view| view.record.availability == Availability::Disabled) {
            return;
        }
        let (name, _, _) = CLUSTERS[which];
        let own = self
            .current()
            .into_iter()
            .filter(|attempt| self.cluster_of(attempt.job) == name);
        let mut attempts: Vec<(AttemptId, Phase)> = own
            .enumerate()
            .filter(|(place, _)| keeps & (1 << (place % 16)) != 0)
            .map(|(place, attempt)| (attempt, phase(number.wrapping_add(u8::try_from(place).unwrap_or(0)))))
            .collect();
        if stale && let Some(job) = self.seen.keys().next() {
            let epoch = Epoch(0);
            attempts.push((AttemptId { job: *job, epoch }, running()));
        }
        self.hello(name, slots, &attempts);
    }

    /// From now on all clusters are there and do what they are told. Small jobs keep coming, and nobody waits for ever behind them.
    fn settle(&mut self) {
        for (which, (name, labels, slots)) in CLUSTERS.into_iter().enumerate() {
            if !self.joined(which) {
                self.join(name, labels);
            }
            self.done(Command::SetAvailability {
                name: cluster(name),
                availability: Availability::Open,
                present: Present::Stay,
            });
            let own = self
                .current()
                .into_iter()
                .filter(|attempt| self.cluster_of(attempt.job) == name);
            let own: Vec<(AttemptId, Phase)> = own.map(|attempt| (attempt, Phase::Accepted)).collect();
            let session = SessionId(u64::try_from(self.fresh()).unwrap());
            let hello = Box::new(hello(slots, &own));
            let cluster = cluster(name);
            self.done(Command::Connect {
                cluster,
                session,
                hello,
            });
        }
        let present: Vec<BuildId> = self.live.builds.iter().map(|build| build.id).collect();
        let mut rounds = 0;
        while !self.live.builds.is_empty() {
            let waits = self.live.builds.iter().any(|build| present.contains(&build.id));
            // Fewer than can run, so that each waits only for those before it.
            for second in [false, true].into_iter().filter(|_| waits && rounds % 4 == 0) {
                let small = vec![job("small").cpu(500), job("next").cpu(500).after("small")];
                let submission = self.submission(self.project(second), small);
                self.done(Command::Submit(Box::new(submission)));
            }
            for attempt in self.current() {
                self.report(attempt.job, ended(TerminalState::Finished));
            }
            // Long enough for whoever waits for another attempt.
            self.advance(Duration::from_secs(10));
            self.heartbeats();
            self.done(Command::Tick);
            rounds += 1;
            assert!(rounds < 1000, "some build does not end: {:?}", self.live.jobs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn all_is_well_after_every_command(steps in prop::collection::vec(step(), 1..60), limit in 1_usize..4) {
        let settings = Settings {
            max_placements_per_command: limit,
            unschedulable_after: Some(PATIENCE),
            keep_room_after: PATIENCE / 10,
            ..Settings::default()
        };
        let mut world = World::of_two(settings);
        for step in steps {
            world.take(step);
        }
        world.settle();
        let ended = world.seen.values().all(|status| status.state.terminal().is_some());
        prop_assert!(ended);
        world.done(Command::DeleteProject { id: PROJECT });
        world.done(Command::DeleteProject { id: SECOND });
    }

    #[test]
    fn the_same_commands_have_the_same_effects(steps in prop::collection::vec(step(), 1..40)) {
        let run = || {
            let mut world = World::of_two(Settings::default());
            steps.iter().for_each(|step| world.take(step.clone()));
            (world.live, world.seen)
        };
        prop_assert_eq!(run(), run());
    }
}
