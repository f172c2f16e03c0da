//! A small world around the control plane, for its tests: short ways to say things, and checks after every command.

mod invariants;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::record::{Invite, JobNode, JobStatus};
use super::{Caution, Change, Command, Contact, Control, Effects, LiveState, Refusal, Reply, Settings, Submission};
use crate::attempt::{Outcome, OutputReference, Phase, Revision};
use crate::build::array::Array;
use crate::build::extensions::InputRule;
use crate::build::retry::{Backoff, Retry};
use crate::build::{BuildDefinition, Dependency, JobSpec, JobState, StateSet, TerminalState};
use crate::digest::Digest;
use crate::id::{AttemptId, BuildId, Epoch, InviteId, JobId, ProjectId, SessionId};
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, JobName, ProjectName};
use crate::resources::Resources;
use crate::session::{AttemptReport, Capability, Hello, Order};
use crate::time::{Moment, Now, Timestamp};
use crate::volume::{VolumeKind, VolumeSet};

/// The project that exists from the beginning.
pub(super) const PROJECT: ProjectId = ProjectId::from_u128(1);

/// The control plane, what it wrote, and the time.
pub(super) struct World {
    pub(super) control: Control,
    pub(super) live: LiveState,
    pub(super) now: Now,
    /// The last status seen of every job, also of builds that are over.
    pub(super) seen: BTreeMap<JobId, JobStatus>,
    /// The clusters whose labels were changed: what they had before stays there.
    relabelled: BTreeSet<ClusterName>,
    next_id: u128,
}

pub(super) fn cluster(name: &str) -> ClusterName {
    ClusterName::new(name).unwrap()
}

pub(super) fn digest(byte: u8) -> Digest {
    Digest::new([byte; 32])
}

pub(super) fn node(name: &str, parents: &[u32]) -> JobNode {
    JobNode {
        id: JobId::from_u128(0),
        build: BuildId::from_u128(0),
        index: 0,
        name: JobName::new(name).unwrap(),
        parents: parents.iter().map(|parent| (*parent, StateSet::ALL)).collect(),
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        resources: Resources::default(),
        timeout: Duration::from_secs(1),
        volumes: VolumeSet::default(),
        cache: false,
        kind: Default::default(),
        generated_by: None,
        needs: Default::default(),
        extensions: None,
    }
}

/// A job that takes one processor and runs anywhere.
pub(super) fn job(name: &str) -> JobSpec {
    JobSpec {
        name: JobName::new(name).unwrap(),
        image: "image".to_owned(),
        command: None,
        environment: BTreeMap::new(),
        secrets: Default::default(),
        timeout: Duration::from_secs(60),
        resources: Resources {
            cpu_milli: 1000,
            memory_bytes: 1,
        },
        dependencies: Vec::new(),
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        volumes: VolumeSet::default(),
        cache: false,
        pod: None,
        kind: Default::default(),
        source: true,
        needs: Default::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
    }
}

impl JobSpec {
    /// Also after `parent`, if that finished.
    pub(super) fn after(self, parent: &str) -> Self {
        self.after_when(parent, StateSet::of(&[TerminalState::Finished]))
    }

    pub(super) fn after_when(mut self, parent: &str, on: StateSet) -> Self {
        let job = JobName::new(parent).unwrap();
        self.dependencies.push(Dependency { job, on });
        self
    }

    pub(super) fn on(mut self, selector: &str) -> Self {
        self.selector = Selector::parse(selector).unwrap();
        self
    }

    pub(super) fn preferring(mut self, name: &str) -> Self {
        self.prefer = Some(cluster(name));
        self
    }

    pub(super) fn with(mut self, volumes: &[VolumeKind]) -> Self {
        self.volumes = VolumeSet::of(volumes);
        self
    }

    /// Runs again after a failure or an error, after 10 s, 20 s, and so on.
    pub(super) fn retried(self, count: u32) -> Self {
        self.retried_after(count, Retry::default_states())
    }

    pub(super) fn retried_after(mut self, count: u32, states: StateSet) -> Self {
        let backoff = Backoff::default();
        self.extensions.get_or_insert_default().retry = Some(Retry { count, states, backoff });
        self
    }

    /// Waits for a cluster for so many seconds only.
    pub(super) fn found_within(mut self, seconds: u64) -> Self {
        self.extensions.get_or_insert_default().limits.queue = Some(Duration::from_secs(seconds));
        self
    }

    /// Is spread over the values of a label.
    pub(super) fn spread_over(mut self, key: &str) -> Self {
        self.extensions.get_or_insert_default().spread = Some(key.to_owned());
        self
    }

    /// Runs where another job did, which has to be one of its parents.
    pub(super) fn beside(mut self, job: &str) -> Self {
        self.extensions.get_or_insert_default().same_as = Some(JobName::new(job).unwrap());
        self
    }

    /// Takes nothing of what a parent leaves.
    pub(super) fn without_output_of(mut self, job: &str) -> Self {
        self.extensions.get_or_insert_default().inputs.push(InputRule {
            job: JobName::new(job).unwrap(),
            wanted: false,
            paths: Vec::new(),
            folder: None,
            is_source: false,
            same_index: false,
        });
        self
    }

    /// Takes of a parent that is an array what the same index has left.
    pub(super) fn with_same_index_of(mut self, job: &str) -> Self {
        self.extensions.get_or_insert_default().inputs.push(InputRule {
            job: JobName::new(job).unwrap(),
            wanted: true,
            paths: Vec::new(),
            folder: None,
            is_source: false,
            same_index: true,
        });
        self
    }

    /// There are so many of it.
    pub(super) fn times(self, count: u32) -> Self {
        self.times_at_once(count, None)
    }

    pub(super) fn times_at_once(mut self, count: u32, parallel: Option<u32>) -> Self {
        self.extensions.get_or_insert_default().array = Some(Array { count, parallel });
        self
    }

    pub(super) fn with_cache(mut self) -> Self {
        self.cache = true;
        self
    }

    pub(super) fn priority(mut self, priority: i8) -> Self {
        self.priority = priority;
        self
    }

    pub(super) fn cpu(mut self, cpu_milli: u64) -> Self {
        self.resources.cpu_milli = cpu_milli;
        self
    }
}

/// An outcome with an output if it finished.
pub(super) fn outcome(state: TerminalState) -> Outcome {
    Outcome {
        state,
        exit_code: Some(i32::from(state != TerminalState::Finished)),
        message: String::new(),
        started_at: None,
        ended_at: Timestamp(5),
        output: (state == TerminalState::Finished).then_some(OutputReference {
            manifest: digest(9),
            bytes: 100,
            files: 1,
        }),
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 3,
        generated: None,
    }
}

/// Ended well, with this output.
pub(super) fn leaves(manifest: u8) -> Phase {
    let output = OutputReference {
        manifest: digest(manifest),
        bytes: 100,
        files: 1,
    };
    Phase::Ended(Outcome {
        output: Some(output),
        ..outcome(TerminalState::Finished)
    })
}

pub(super) fn ended(state: TerminalState) -> Phase {
    Phase::Ended(outcome(state))
}

pub(super) fn running() -> Phase {
    Phase::Running {
        started_at: Timestamp(1),
        inputs: Vec::new(),
    }
}

pub(super) fn hello(slots: u32, attempts: &[(AttemptId, Phase)]) -> Hello {
    Hello {
        version: "1".to_owned(),
        capacity: Resources {
            cpu_milli: u64::from(slots) * 1000,
            memory_bytes: 1 << 30,
        },
        slots,
        capabilities: vec![Capability::Volumes, Capability::Git],
        facts: Labels::parse(["os=linux"]).unwrap(),
        peer_address: None,
        volumes: Vec::new(),
        attempts: attempts
            .iter()
            .map(|(attempt, phase)| AttemptReport {
                attempt: *attempt,
                phase: phase.clone(),
            })
            .collect(),
    }
}

/// Those of a world: with a lease that does not change with what is usual.
pub(crate) fn settings() -> Settings {
    Settings {
        lease: Duration::from_secs(30),
        ..Settings::default()
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    pub(super) fn with(settings: Settings) -> Self {
        let mut world = Self {
            control: Control::new(settings),
            live: LiveState::default(),
            now: Now {
                wall: Timestamp(1_000_000),
                steady: Moment(Duration::from_secs(1000)),
            },
            seen: BTreeMap::new(),
            relabelled: BTreeSet::new(),
            next_id: 100,
        };
        let name = ProjectName::new("demo").unwrap();
        world.done(Command::CreateProject { id: PROJECT, name });
        world
    }

    pub(super) fn fresh(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    /// An id for a job: that of an array leaves room for its indexes.
    pub(super) fn fresh_id(&mut self, spec: &JobSpec) -> JobId {
        let bits = self.fresh();
        JobId::from_u128(if spec.array().is_some() { bits << 32 } else { bits })
    }

    /// Applies the command, writes what it changes, and checks that all is well.
    pub(super) fn apply(&mut self, command: Command) -> Effects {
        let careful = matches!(&command, Command::RemoveCluster { name, caution: Caution::Needs }
            if self.control.contact(name) != Some(Contact::Lost));
        if let Command::ChangeLabels { name, .. } = &command {
            self.relabelled.insert(name.clone());
        }
        let effects = self.control.apply(self.now, command);
        if effects.reply.is_err() {
            assert_eq!(effects.changes, [], "a refused command changes nothing");
        }
        if careful {
            self.check_removal(&effects.changes);
        }
        effects.changes.iter().for_each(|change| self.live.apply(change));
        for change in &effects.changes {
            if let Change::PutJob(status) = change {
                self.check_step(status);
                self.check_room(status);
                self.seen.insert(status.id, status.clone());
            }
        }
        self.check();
        effects
    }

    /// Applies a command that must not be refused.
    pub(super) fn done(&mut self, command: Command) -> Effects {
        let effects = self.apply(command);
        assert!(effects.reply.is_ok(), "{:?}", effects.reply);
        effects
    }

    /// Applies a command that must be refused.
    pub(super) fn refused(&mut self, command: Command) -> Refusal {
        self.apply(command).reply.unwrap_err()
    }

    pub(super) fn advance(&mut self, duration: Duration) {
        self.now.steady = self.now.steady + duration;
        let milliseconds = u64::try_from(duration.as_millis()).unwrap();
        self.now.wall = Timestamp(self.now.wall.0 + milliseconds);
    }

    /// Lets time pass, and does what is due then.
    pub(super) fn pass(&mut self, duration: Duration) -> Effects {
        self.advance(duration);
        self.done(Command::Tick)
    }

    /// A cluster joins.
    pub(super) fn join(&mut self, name: &str, labels: &[&str]) {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(&self.fresh().to_be_bytes());
        let secret = Digest::new(secret);
        let invite = Invite {
            id: InviteId::from_u128(self.fresh()),
            secret,
            cluster: cluster(name),
            labels: Labels::parse(labels).unwrap(),
            expires_at: Timestamp(self.now.wall.0 + 60_000),
            used_by: None,
            pin: None,
        };
        self.done(Command::Invite(invite));
        let key = digest(1);
        self.done(Command::Join { secret, key });
    }

    /// The cluster's agent connects, with these attempts.
    pub(super) fn hello(&mut self, name: &str, slots: u32, attempts: &[(AttemptId, Phase)]) -> Effects {
        let session = SessionId(u64::try_from(self.fresh()).unwrap());
        let hello = Box::new(hello(slots, attempts));
        let cluster = cluster(name);
        self.done(Command::Connect {
            cluster,
            session,
            hello,
        })
    }

    /// The cluster's agent connects, with all attempts that it was given.
    pub(super) fn hello_again(&mut self, name: &str, slots: u32) {
        let jobs: Vec<JobId> = self.seen.keys().copied().collect();
        let own = jobs.into_iter().map(|job| self.attempt(job)).filter(|attempt| {
            let assignment = self.control.assignment(*attempt);
            assignment.is_some_and(|assignment| *assignment.cluster == cluster(name))
        });
        let own: Vec<(AttemptId, Phase)> = own.map(|attempt| (attempt, Phase::Accepted)).collect();
        self.hello(name, slots, &own);
    }

    /// The cluster's agent connects, without attempts, and its executor can do this besides.
    pub(super) fn hello_with(&mut self, name: &str, slots: u32, capabilities: &[Capability]) {
        let session = SessionId(u64::try_from(self.fresh()).unwrap());
        let mut hello = Box::new(hello(slots, &[]));
        hello.capabilities.extend(capabilities);
        self.done(Command::Connect {
            cluster: cluster(name),
            session,
            hello,
        });
    }

    /// A cluster joins and its agent connects.
    pub(super) fn up(&mut self, name: &str, labels: &[&str], slots: u32) {
        self.join(name, labels);
        self.hello(name, slots, &[]);
    }

    pub(super) fn session(&self, name: &str) -> SessionId {
        self.control.cluster(&cluster(name)).unwrap().session.unwrap()
    }

    pub(super) fn submission(&mut self, project: ProjectId, jobs: Vec<JobSpec>) -> Submission {
        Submission {
            id: BuildId::from_u128(self.fresh()),
            project,
            jobs: jobs.iter().map(|spec| self.fresh_id(spec)).collect(),
            definition: BuildDefinition { jobs },
            source: None,
            revision: Revision::default(),
            submitted_by: "tester".to_owned(),
            rerun: None,
        }
    }

    /// Submits a build and says which jobs it has, in order.
    pub(super) fn submit(&mut self, jobs: Vec<JobSpec>) -> (BuildId, Vec<JobId>) {
        let submission = self.submission(PROJECT, jobs);
        let answer = (submission.id, submission.jobs.clone());
        let effects = self.done(Command::Submit(Box::new(submission)));
        assert!(matches!(effects.reply, Ok(Reply::Build(_))));
        answer
    }

    /// The latest attempt of a job.
    pub(super) fn attempt(&self, job: JobId) -> AttemptId {
        let epoch = self.seen.get(&job).map_or(Epoch::default(), |status| status.epoch);
        AttemptId { job, epoch }
    }

    pub(super) fn report_command(&self, name: &str, attempt: AttemptId, phase: Phase) -> Command {
        Command::Report {
            generated: None,
            cluster: cluster(name),
            session: self.session(name),
            attempt,
            phase,
        }
    }

    /// The job's cluster reports on its latest attempt.
    pub(super) fn report(&mut self, job: JobId, phase: Phase) -> Effects {
        let name = self.cluster_of(job);
        let command = self.report_command(&name, self.attempt(job), phase);
        self.done(command)
    }

    pub(super) fn cluster_of(&self, job: JobId) -> String {
        let cluster = self.seen[&job].cluster.as_ref();
        cluster.map(ToString::to_string).unwrap_or_default()
    }

    pub(super) fn state(&self, job: JobId) -> JobState {
        self.seen.get(&job).map_or(JobState::Waiting, |status| status.state)
    }

    pub(super) fn states(&self, jobs: &[JobId]) -> Vec<String> {
        jobs.iter().map(|job| self.state(*job).to_string()).collect()
    }

    /// Starts the master anew, from what was written.
    pub(super) fn restart(&mut self) {
        let settings = self.control.settings().clone();
        self.control = Control::restore(settings, self.live.clone(), self.now).unwrap();
        self.check();
    }
}

/// The orders among the effects, as `cluster: order`.
pub(super) fn orders(effects: &Effects) -> Vec<String> {
    let text = |order: &Order| match order {
        Order::Assign(attempt) => format!("assign {}", attempt.epoch),
        Order::Stop { attempt, .. } => format!("stop {}", attempt.epoch),
        Order::Forget(attempt) => format!("forget {}", attempt.epoch),
        Order::Release(volume) => format!("release {}", volume.kind()),
        Order::Prefetch(_) => "prefetch".to_owned(),
        Order::Copy(_) => "copy".to_owned(),
    };
    effects
        .orders
        .iter()
        .map(|(cluster, order)| format!("{cluster}: {}", text(order)))
        .collect()
}
