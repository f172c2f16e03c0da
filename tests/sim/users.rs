//! Users: submit builds with random graphs, and cancel some.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_core::attempt::Revision;
use tombolo_core::build::array::Array;
use tombolo_core::build::extensions::{Extensions, OnDisconnect, PhaseLimits};
use tombolo_core::build::hook::Hook;
use tombolo_core::build::retry::{Backoff, Retry};
use tombolo_core::build::{BuildDefinition, Dependency, JobSpec, StateSet, TerminalState};
use tombolo_core::capability::Capability;
use tombolo_core::control::{Command, Extent, Refusal, Reply, Submission};
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::label::{Operator, Requirement, Selector};
use tombolo_core::name::JobName;
use tombolo_core::resources::Resources;
use tombolo_core::volume::{VolumeKind, VolumeSet};

use crate::agent::Agent;
use crate::master::{Origin, PROJECT};
use crate::world::{Bug, Item, World};
use tombolo_tests::history::Fact;

/// What a user does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Submit(Box<Submission>),
    /// Cancels something that was submitted, whatever it is.
    CancelAny,
    CancelBuild(BuildId),
    CancelJob(JobId),
    /// Runs something again that is over.
    RerunAny,
}

#[derive(Debug, Default)]
pub(crate) struct Users {
    /// The builds that were acknowledged.
    builds: BTreeMap<BuildId, Vec<JobId>>,
}

impl World {
    pub(crate) fn plan_users(&mut self) {
        for _ in 0..self.scenario.builds {
            let submission = Box::new(self.draw_submission());
            let at = self.draw_time(self.scenario.heal_at);
            self.schedule
                .at(at + Duration::from_millis(100), Item::User(Act::Submit(submission)));
        }
        self.plan_reruns();
        if self.scenario.cancels {
            for _ in 0..self.rng.random_range(1..=4) {
                let at = self.draw_time(self.scenario.heal_at);
                self.schedule.at(at, Item::User(Act::CancelAny));
            }
        }
    }

    /// Long after the healing users lose their patience with what still runs.
    pub(crate) fn cancel_all(&mut self) {
        for build in self.master.running() {
            self.user_acts(Act::CancelBuild(build));
        }
    }

    pub(crate) fn user_acts(&mut self, act: Act) {
        if self.draw_leader().is_none() {
            let again = self.draw_time(Duration::from_secs(2));
            self.schedule.after(again, Item::User(act));
            return;
        }
        let (act, command) = match act {
            Act::Submit(submission) => (Act::Submit(submission.clone()), Command::Submit(submission)),
            Act::RerunAny => return self.rerun_any(),
            Act::CancelAny => match self.draw_victim() {
                Some(victim) => return self.user_acts(victim),
                None => return,
            },
            Act::CancelBuild(build) => (
                act,
                Command::CancelBuild {
                    build,
                    extent: Extent::Whole,
                },
            ),
            Act::CancelJob(job) => (act, Command::CancelJob { job }),
        };
        if let Some(jobs) = self.victims(&act) {
            self.history.fact(self.schedule.now(), Fact::CancelRequested(jobs));
        }
        let cancels = matches!(act, Act::CancelBuild(_) | Act::CancelJob(_));
        if cancels && self.bug == Some(Bug::CancelNotApplied) {
            return self.user_hears(act, Ok(Reply::Done));
        }
        self.command(Origin::User(act), command);
    }

    pub(crate) fn user_hears(&mut self, act: Act, reply: Result<Reply, Refusal>) {
        let now = self.schedule.now();
        self.note(|| format!("a user hears {reply:?}"));
        if reply.is_err() {
            return;
        }
        match act {
            Act::Submit(submission) => {
                self.history.fact(now, Fact::SubmitAcknowledged(submission.id));
                self.users.builds.insert(submission.id, submission.jobs);
            }
            Act::CancelBuild(_) | Act::CancelJob(_) => {
                let jobs = self.victims(&act).unwrap_or_default();
                self.history.fact(now, Fact::CancelAcknowledged(jobs));
            }
            Act::CancelAny | Act::RerunAny => {}
        }
    }

    /// The jobs that a cancellation is about.
    fn victims(&self, act: &Act) -> Option<Vec<JobId>> {
        match act {
            Act::CancelBuild(build) => {
                let mut jobs = self.master.jobs(*build);
                let submitted = self.users.builds.get(build).into_iter().flatten();
                let over: Vec<JobId> = submitted.filter(|job| !jobs.contains(job)).copied().collect();
                jobs.extend(over);
                Some(jobs)
            }
            Act::CancelJob(job) => Some(vec![*job]),
            Act::Submit(_) | Act::CancelAny | Act::RerunAny => None,
        }
    }

    fn draw_victim(&mut self) -> Option<Act> {
        let index = self.rng.random_range(0..self.users.builds.len().max(1));
        let (build, jobs) = self.users.builds.iter().nth(index)?;
        if self.rng.random_bool(0.4) {
            return Some(Act::CancelBuild(*build));
        }
        let job = jobs[self.rng.random_range(0..jobs.len())];
        // Of an array, one of its indexes perhaps, which may be one that there is not.
        let one = job.for_array() == job && self.rng.random_bool(0.5);
        Some(Act::CancelJob(if one {
            job.of_index(self.rng.random_range(0..8))
        } else {
            job
        }))
    }

    fn draw_submission(&mut self) -> Submission {
        let count = self.rng.random_range(1..=self.scenario.jobs);
        let mut jobs: Vec<JobSpec> = Vec::new();
        for index in 0..count {
            let job = draw_job(
                &mut self.rng,
                &self.agents[usize::from(self.scenario.one_dies)..],
                &jobs,
                (index, self.scenario.tense),
            );
            jobs.push(job);
        }
        // What is in a volume of a cluster that never comes back is waited for until somebody removes the cluster.
        if !self.scenario.one_dies && self.rng.random_bool(0.3) {
            self.draw_sharers(&mut jobs);
        }
        self.draw_hooks(&mut jobs);
        self.draw_keep(&mut jobs);
        let mut ids = Vec::new();
        for job in &jobs {
            ids.push(self.fresh_job(job.array().is_some()));
        }
        Submission {
            id: BuildId::from_u128(self.fresh()),
            project: PROJECT,
            definition: BuildDefinition { jobs },
            jobs: ids,
            source: None,
            revision: Revision::default(),
            submitted_by: "user".to_owned(),
            rerun: None,
        }
    }
}

impl World {
    /// Has the last jobs of a build be hooks, now and then: nobody but they follow them.
    fn draw_hooks(&mut self, jobs: &mut [JobSpec]) {
        if !self.rng.random_bool(0.3) {
            return;
        }
        let on_error = self.rng.random_range(1..=jobs.len());
        let after = self.rng.random_range(on_error..=jobs.len());
        for (index, job) in jobs.iter_mut().enumerate().skip(on_error) {
            job.set_hook(Some(if index >= after { Hook::After } else { Hook::OnError }));
        }
    }

    /// Has some outputs be kept for less than the project keeps them.
    fn draw_keep(&mut self, jobs: &mut [JobSpec]) {
        if self.scenario.keeping.is_none() {
            return;
        }
        for job in jobs {
            if self.rng.random_bool(0.2) {
                let mut says = job.extensions.take().map_or_else(Extensions::default, |says| *says);
                says.output_keep_days = Some(self.rng.random_range(0..=3));
                job.extensions = says.boxed();
            }
        }
    }

    /// Has some jobs of a build share its volume: they all match the clusters that the first does.
    fn draw_sharers(&mut self, jobs: &mut [JobSpec]) {
        let Some(selector) = jobs.first().map(|job| job.selector.clone()) else {
            return;
        };
        for job in jobs {
            if self.rng.random_bool(0.6) {
                job.volumes = VolumeSet::of(&[VolumeKind::Shared]);
                job.selector = selector.clone();
            }
        }
    }
}

fn draw_job(rng: &mut ChaCha8Rng, agents: &[Agent], before: &[JobSpec], (index, tense): (usize, bool)) -> JobSpec {
    let dependencies = before
        .iter()
        .filter(|_| rng.random_bool(0.35))
        .map(|parent| parent.name.clone())
        .collect::<Vec<_>>()
        .into_iter()
        .map(|job| Dependency {
            job,
            on: draw_condition(rng),
        })
        .collect();
    let extensions = draw_extensions(rng, tense);
    JobSpec {
        name: JobName::new(&format!("job-{index}")).expect("the name follows the grammar"),
        image: String::new(),
        command: None,
        environment: BTreeMap::new(),
        secrets: Default::default(),
        timeout: Duration::from_secs(3600),
        resources: Resources {
            cpu_milli: rng.random_range(1..=4) * 250,
            memory_bytes: 1 << 20,
        },
        dependencies,
        selector: if tense {
            Selector::default()
        } else {
            draw_selector(rng, agents)
        },
        prefer: rng
            .random_bool(0.2)
            .then(|| agents[rng.random_range(0..agents.len())].name.clone()),
        priority: rng.random_range(-100..=100),
        volumes: VolumeSet::default(),
        cache: rng.random_bool(0.2),
        pod: None,
        kind: Default::default(),
        source: true,
        needs: extensions
            .exclusive
            .then_some(Capability::Exclusive)
            .into_iter()
            .collect(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: extensions.boxed(),
    }
}

fn draw_extensions(rng: &mut ChaCha8Rng, tense: bool) -> Extensions {
    let queue = rng
        .random_bool(0.1)
        .then(|| Duration::from_secs(rng.random_range(1..60)));
    let exclusive = rng.random_bool(if tense { 0.7 } else { 0.25 });
    Extensions {
        retry: draw_retry(rng),
        limits: PhaseLimits {
            queue,
            ..PhaseLimits::default()
        },
        array: rng.random_bool(0.25).then(|| Array {
            count: rng.random_range(1..=6),
            parallel: rng.random_bool(0.3).then(|| rng.random_range(1..=3)),
        }),
        spread: rng.random_bool(0.2).then(|| "zone".to_owned()),
        on_disconnect: match rng.random_range(0..10) {
            0 if !exclusive => OnDisconnect::Wait,
            1 | 2 => OnDisconnect::Replace,
            _ => OnDisconnect::Later,
        },
        exclusive,
        ..Extensions::default()
    }
}

fn draw_retry(rng: &mut ChaCha8Rng) -> Option<Retry> {
    rng.random_bool(0.3).then(|| Retry {
        count: rng.random_range(1..=3),
        states: StateSet::of(&Retry::STATES[..rng.random_range(1..=3)]),
        backoff: Backoff {
            initial: Duration::from_millis(rng.random_range(0..10_000)),
            factor_percent: rng.random_range(100..300),
            max: Duration::from_secs(20),
        },
    })
}

fn draw_condition(rng: &mut ChaCha8Rng) -> StateSet {
    match rng.random_range(0..10) {
        0..6 => StateSet::of(&[TerminalState::Finished]),
        6..8 => StateSet::ALL,
        8 => StateSet::of(&[TerminalState::Finished, TerminalState::Unstable]),
        _ => StateSet::of(&[TerminalState::Failure, TerminalState::Error, TerminalState::Killed]),
    }
}

/// Something that at least one cluster meets.
fn draw_selector(rng: &mut ChaCha8Rng, agents: &[Agent]) -> Selector {
    let labels = agents[rng.random_range(0..agents.len())].full_labels();
    let mut requirements = Vec::new();
    for (key, value) in labels.iter() {
        if !rng.random_bool(0.25) {
            continue;
        }
        let operator = match (rng.random_range(0..3), value.parse::<i64>()) {
            (0, Ok(number)) => Operator::Above(number - 1),
            (1, Ok(number)) => Operator::Below(number + 1),
            (0, Err(_)) => Operator::Exists,
            (1, Err(_)) => Operator::NotIn(vec!["elsewhere".to_owned()]),
            _ => Operator::In(vec![value.to_owned(), "elsewhere".to_owned()]),
        };
        requirements.push(Requirement {
            key: key.to_owned(),
            operator,
            by_project: false,
        });
    }
    if labels.get("spot").is_none() && rng.random_bool(0.2) {
        requirements.push(Requirement {
            key: "spot".to_owned(),
            operator: Operator::Missing,
            by_project: false,
        });
    }
    Selector::from_iter(requirements)
}
