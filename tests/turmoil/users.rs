//! Users: submit builds with random graphs, and cancel some. They try again until they are told that it is done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tombolo_core::control::{Command, Extent, Reply, Submission};
use tombolo_core::id::{BuildId, JobId};
use tombolo_core::label::Labels;
use tombolo_master::driver::ApplyError;
use tombolo_tests::check::Record;
use tombolo_tests::history::Fact;

use crate::chronicle::Chronicle;
use crate::jobs::draw_submission;
use crate::master::Master;
use crate::pipe::lock;
use crate::scenario::{Scenario, draw_time};

/// The longest pause before somebody tries again.
const AGAIN: Duration = Duration::from_secs(2);

/// A build and its jobs.
type Submitted = (BuildId, Vec<JobId>);

#[derive(Clone)]
pub(crate) struct Users {
    master: Master,
    chronicle: Chronicle,
    /// What was acknowledged.
    builds: Arc<Mutex<Vec<Submitted>>>,
}

impl Users {
    pub(crate) fn new(master: Master, chronicle: Chronicle) -> Self {
        Self {
            master,
            chronicle,
            builds: Arc::default(),
        }
    }

    /// All that they will do, one task for each thing.
    pub(crate) fn plan(&self, scenario: &Scenario, clusters: &[Labels], rng: &mut ChaCha8Rng) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for number in 1..=scenario.builds {
            let submission = draw_submission(rng, scenario, clusters, number as u128);
            let at = draw_time(rng, scenario.heal_at);
            let rng = ChaCha8Rng::seed_from_u64(rng.next_u64());
            tasks.spawn(self.clone().submit(at, submission, rng));
        }
        let cancels = if scenario.cancels { rng.random_range(1..=3) } else { 0 };
        for _ in 0..cancels {
            let at = draw_time(rng, scenario.heal_at);
            let rng = ChaCha8Rng::seed_from_u64(rng.next_u64());
            tasks.spawn(self.clone().cancel(at, rng));
        }
        tasks
    }

    /// Until the master has answered for good.
    async fn ask(&self, command: Command, rng: &mut ChaCha8Rng) -> Option<Reply> {
        loop {
            if let Some(handle) = self.master.handle() {
                match handle.apply(command.clone()).await {
                    Ok(reply) => return Some(reply),
                    Err(ApplyError::Refused(refusal)) => {
                        self.chronicle.note(format_args!("a user is refused: {refusal}"));
                        return None;
                    }
                    Err(_) => {}
                }
            }
            sleep(draw_time(rng, AGAIN)).await;
        }
    }

    async fn submit(self, at: Duration, submission: Submission, mut rng: ChaCha8Rng) {
        sleep(at).await;
        let (id, jobs) = (submission.id, submission.jobs.clone());
        if self
            .ask(Command::Submit(Box::new(submission)), &mut rng)
            .await
            .is_some()
        {
            self.chronicle.fact(Fact::SubmitAcknowledged(id));
            lock(&self.builds).push((id, jobs));
        }
    }

    async fn cancel(self, at: Duration, mut rng: ChaCha8Rng) {
        sleep(at).await;
        let victim = {
            let builds = lock(&self.builds);
            let index = rng.random_range(0..builds.len().max(1));
            builds.get(index).cloned()
        };
        let Some((build, jobs)) = victim else { return };
        let (command, victims) = if rng.random_bool(0.4) {
            let extent = Extent::Whole;
            (Command::CancelBuild { build, extent }, self.all_of(build, &jobs))
        } else {
            let job = jobs[rng.random_range(0..jobs.len())];
            (Command::CancelJob { job }, vec![job])
        };
        self.chronicle.fact(Fact::CancelRequested(victims.clone()));
        if self.ask(command, &mut rng).await.is_some() {
            self.chronicle.fact(Fact::CancelAcknowledged(victims));
        }
    }

    /// The jobs of a build, with the indexes of arrays that have begun.
    fn all_of(&self, build: BuildId, jobs: &[JobId]) -> Vec<JobId> {
        let mut record = Record::default();
        self.chronicle
            .look(|history| history.facts.iter().for_each(|(_, fact)| record.take(fact)));
        let known = record.builds.get(&build).cloned();
        known.unwrap_or_else(|| jobs.to_vec())
    }
}
