//! Leaders that follow each other on one database, which fails now and then: a seed says what happens.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinHandle;
use tombolo_core::id::{AttemptId, Epoch, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::time::Timestamp;
use tombolo_store::faulty::{Fault, Faulty};
use tombolo_store::sqlite::Execution;
use tombolo_store::{Sqlite, Store};

use super::world::{PROJECT, World, flat, job_id};
use crate::logs::Logs;

const SEEDS: u64 = 60;
const BUILD: u128 = 10;
const JOBS: u128 = 3;

/// A master: its driver, its logs, and its way to the database.
struct Leader {
    world: World,
    logs: Logs<Faulty<Sqlite>>,
    flusher: JoinHandle<()>,
}

impl Leader {
    async fn on(database: &Sqlite) -> Self {
        let world = World::on(Faulty::new(database.clone())).await;
        let (logs, flusher) = Logs::start(Arc::new(world.store.clone()), world.handle.clone());
        let flusher = tokio::spawn(flusher.run(world.stop.clone()));
        Self { world, logs, flusher }
    }

    /// Ends in the middle of whatever it is at.
    fn crash(self) {
        self.world.task.abort();
        self.flusher.abort();
    }
}

/// What users and agents were told.
#[derive(Default)]
struct Told {
    projects: Vec<ProjectId>,
    /// How many lines of a log are durable.
    lines: BTreeMap<AttemptId, u64>,
    serial: u128,
}

impl Told {
    /// Whether the leader said that it was done.
    async fn creates(&mut self, leader: &Leader) -> bool {
        self.serial += 1;
        let id = 1000 + self.serial;
        let done = leader.world.create_project(id).await.is_ok();
        if done {
            self.projects.push(ProjectId::from_u128(id));
        }
        done
    }

    /// Whether the leader said that the lines are durable.
    async fn pushes(&mut self, leader: &Leader, attempt: AttemptId, count: u64) -> bool {
        let next = self.lines.get(&attempt).copied().unwrap_or(0);
        let line = |number| LogLine {
            number,
            at: Timestamp(number),
            text: format!("line {number}").into_bytes(),
        };
        let answer = leader
            .logs
            .append(attempt, (next..next + count).map(line).collect())
            .await;
        if let Ok(durable) = answer {
            self.lines.insert(attempt, durable);
        }
        answer.is_ok()
    }

    /// All that anybody was told is in the database.
    async fn check(&self, database: &Sqlite) -> Result<(), String> {
        let stored = database.load().await.map_err(|error| error.to_string())?.live.projects;
        if let Some(lost) = self.projects.iter().find(|id| stored.iter().all(|one| one.id != **id)) {
            return Err(format!("I1: {lost} was acknowledged and is not in the database"));
        }
        for (attempt, durable) in &self.lines {
            let mut lines = 0;
            loop {
                let more = database.read_log(*attempt, lines, 1000).await;
                let more = more.map_err(|error| error.to_string())?;
                let Some(last) = more.last() else { break };
                if more[0].number != lines {
                    return Err(format!("I2: the log of {attempt} has a gap at line {lines}"));
                }
                lines = last.number + 1;
            }
            if lines < *durable {
                return Err(format!(
                    "I2: {durable} lines of {attempt} were acknowledged, and {lines} are there"
                ));
            }
        }
        Ok(())
    }
}

async fn live(seed: u64) -> Result<(), String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let database = Sqlite::in_memory(Execution::Inline).map_err(|error| error.to_string())?;
    let mut leader = Leader::on(&database).await;
    let mut told = Told::default();
    let name = "home".parse().expect("the name follows the grammar");
    let home = tombolo_core::control::Command::CreateProject { id: PROJECT, name };
    leader
        .world
        .handle
        .apply(home)
        .await
        .map_err(|error| error.to_string())?;
    let submitted = leader.world.submit(BUILD, flat(JOBS as usize)).await;
    submitted.map_err(|error| error.to_string())?;
    for _ in 0..rng.random_range(10..30) {
        let attempt = AttemptId {
            job: job_id(BUILD, rng.random_range(0..JOBS)),
            epoch: Epoch(1),
        };
        match rng.random_range(0..10) {
            0..2 => {
                let faults = [Fault::Before, Fault::After, Fault::Lost].map(Some);
                let many = rng.random_range(1..4);
                let drawn: Vec<Option<Fault>> = (0..many).map(|_| faults[rng.random_range(0..3)]).collect();
                leader.world.store.fail_commits(drawn);
            }
            2..6 => drop(told.creates(&leader).await),
            6..8 => drop(told.pushes(&leader, attempt, rng.random_range(1..9)).await),
            8 => {
                // Another one takes over, and the first does not know.
                let next = Leader::on(&database).await;
                let (commits, logs) = match rng.random_bool(0.5) {
                    true => (told.creates(&leader).await, false),
                    false => (false, told.pushes(&leader, attempt, 2).await),
                };
                if commits || logs {
                    return Err("I2: a leader that another one has followed still writes".to_owned());
                }
                std::mem::replace(&mut leader, next).crash();
            }
            _ => {
                let next = Leader::on(&database).await;
                std::mem::replace(&mut leader, next).crash();
            }
        }
        told.check(&database).await?;
    }
    Ok(())
}

fn run(seed: u64) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("there are threads").block_on(live(seed))
}

#[test]
fn what_a_leader_says_is_durable_and_who_was_followed_writes_no_more() {
    for seed in 0..SEEDS {
        run(seed).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    }
}

#[test]
#[cfg(feature = "planted")]
fn planted_mistakes_of_leaders_are_found() {
    use tombolo_core::planted::{Bug, Planting};

    for (bug, invariant) in [
        (Bug::AnswersBeforeCommit, "I1: "),
        (Bug::FailedCommitTaken, "I1: "),
        (Bug::CommitUnfenced, "I2: a leader"),
        (Bug::LogUnfenced, "I2: a leader"),
        (Bug::LastLogLineLost, "I2: "),
    ] {
        let _planting = Planting::of(Some(bug));
        let fault = |seed| run(seed).err().filter(|fault| fault.starts_with(invariant));
        let found = (0..SEEDS).find_map(|seed| Some((seed, fault(seed)?)));
        let (seed, fault) = found.unwrap_or_else(|| panic!("nobody finds {bug:?}"));
        let line = serde_json::json!({"planted": format!("{bug:?}"), "tier": "master", "checker": fault, "seed": seed});
        println!("{line}");
    }
}
