//! Reads the job files that attempts leave, as the master's driver does: what is in one is a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tombolo_core::attempt::Phase;
use tombolo_core::build::{Dependency, JobKind, JobSpec, StateSet};
use tombolo_core::control::{Command, Generated};
use tombolo_core::id::JobId;
use tombolo_core::name::JobName;
use tombolo_core::resources::Resources;

/// The first of the ids that it gives: above those of everything else.
const FIRST_ID: u128 = 1 << 100;

#[derive(Debug)]
pub(crate) struct Reader {
    next_id: u128,
}

impl Default for Reader {
    fn default() -> Self {
        Self { next_id: FIRST_ID }
    }
}

impl Reader {
    /// The command, with what the job file says that the attempt has left.
    pub(super) fn complete(&mut self, command: Command) -> Command {
        let Command::Report {
            cluster,
            session,
            attempt,
            phase,
            ..
        } = command
        else {
            return command;
        };
        let file = match &phase {
            Phase::Ended(outcome) => outcome.generated.as_deref(),
            _ => None,
        };
        let generated = file.map(|file| {
            let text = file.text.as_deref().unwrap_or_default();
            Box::new(self.read(text))
        });
        Command::Report {
            cluster,
            session,
            attempt,
            phase,
            generated,
        }
    }

    fn read(&mut self, text: &str) -> Generated {
        let Ok(seed) = text.parse() else {
            return Generated {
                jobs: Err("its job file is not valid".to_owned()),
            };
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut jobs: Vec<(JobId, JobSpec)> = Vec::new();
        for index in 0..rng.random_range(0..=4) {
            let parents = jobs.iter().filter(|_| rng.random_bool(0.4));
            let dependencies = parents.map(|(_, parent)| Dependency {
                job: parent.name.clone(),
                on: StateSet::ALL,
            });
            let dependencies: Vec<Dependency> = dependencies.collect();
            let kind = match rng.random_range(0..6) {
                0 => JobKind::Wait,
                _ => JobKind::Run,
            };
            self.next_id += 1;
            jobs.push((JobId::from_u128(self.next_id), spec(index, kind, dependencies)));
        }
        Generated { jobs: Ok(jobs) }
    }
}

fn spec(index: usize, kind: JobKind, dependencies: Vec<Dependency>) -> JobSpec {
    JobSpec {
        // Not called as any other: the folders of outputs are to differ.
        name: JobName::new(&format!("made-{index}")).expect("the name follows the grammar"),
        kind,
        image: String::new(),
        command: None,
        environment: Default::default(),
        secrets: Default::default(),
        timeout: Duration::from_secs(3600),
        resources: Resources {
            cpu_milli: 250,
            memory_bytes: 1 << 20,
        },
        dependencies,
        selector: Default::default(),
        prefer: None,
        priority: 0,
        volumes: Default::default(),
        cache: false,
        pod: None,
        source: true,
        needs: Default::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
    }
}
