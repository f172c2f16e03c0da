//! What users submit.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_core::attempt::Revision;
use tombolo_core::build::array::Array;
use tombolo_core::build::extensions::{Extensions, OnDisconnect};
use tombolo_core::build::retry::{Backoff, Retry};
use tombolo_core::build::{BuildDefinition, Dependency, JobSpec, StateSet, TerminalState};
use tombolo_core::capability::Capability;
use tombolo_core::control::Submission;
use tombolo_core::id::{BuildId, JobId, ProjectId};
use tombolo_core::label::{Labels, Operator, Requirement, Selector};
use tombolo_core::name::JobName;
use tombolo_core::resources::Resources;
use tombolo_core::volume::{VolumeKind, VolumeSet};

use crate::scenario::Scenario;

pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(1);

pub(crate) fn draw_submission(
    rng: &mut ChaCha8Rng,
    scenario: &Scenario,
    clusters: &[Labels],
    number: u128,
) -> Submission {
    let mut jobs: Vec<JobSpec> = Vec::new();
    for index in 0..rng.random_range(1..=scenario.jobs) {
        let job = draw_job(rng, scenario, clusters, &jobs, index);
        jobs.push(job);
    }
    if !scenario.one_dies && rng.random_bool(0.2) {
        draw_sharers(rng, &mut jobs);
    }
    let ids = jobs.iter().zip(1_u128..).map(|(job, index)| {
        // The id of an array leaves room for its indexes.
        let bits = number << 16 | index;
        JobId::from_u128(if job.array().is_some() { bits << 32 } else { bits })
    });
    Submission {
        id: BuildId::from_u128(number),
        project: PROJECT,
        jobs: ids.collect(),
        definition: BuildDefinition { jobs },
        source: None,
        revision: Revision::default(),
        submitted_by: "user".to_owned(),
        rerun: None,
    }
}

/// Has some jobs share the volume of their build: they all match the clusters that the first does.
fn draw_sharers(rng: &mut ChaCha8Rng, jobs: &mut [JobSpec]) {
    let Some(selector) = jobs.first().map(|job| job.selector.clone()) else {
        return;
    };
    for job in jobs {
        if rng.random_bool(0.6) {
            job.volumes = VolumeSet::of(&[VolumeKind::Shared]);
            job.selector = selector.clone();
        }
    }
}

fn draw_job(
    rng: &mut ChaCha8Rng,
    scenario: &Scenario,
    clusters: &[Labels],
    before: &[JobSpec],
    index: usize,
) -> JobSpec {
    let parents: Vec<JobName> = before
        .iter()
        .filter(|_| rng.random_bool(0.3))
        .map(|parent| parent.name.clone())
        .collect();
    let depend = |job| {
        let on = match rng.random_range(0..10) {
            0..6 => StateSet::of(&[TerminalState::Finished]),
            _ => StateSet::ALL,
        };
        Dependency { job, on }
    };
    let dependencies = parents.into_iter().map(depend).collect();
    let extensions = draw_extensions(rng, scenario);
    let selector = draw_selector(rng, clusters);
    JobSpec {
        name: JobName::new(&format!("job-{index}")).expect("the name follows the grammar"),
        image: String::new(),
        command: Some(vec!["run".to_owned()]),
        environment: BTreeMap::new(),
        secrets: Default::default(),
        timeout: Duration::from_secs(3600),
        resources: Resources {
            cpu_milli: rng.random_range(1..=4) * 250,
            memory_bytes: 1 << 20,
        },
        dependencies,
        confined_to: Default::default(),
        selector: if scenario.tense { Selector::default() } else { selector },
        prefer: None,
        priority: rng.random_range(-10..=10),
        volumes: VolumeSet::default(),
        cache: false,
        pod: None,
        kind: Default::default(),
        source: true,
        needs: extensions
            .exclusive
            .then_some(Capability::Exclusive)
            .into_iter()
            .collect(),
        passes_on: Default::default(),
        repository: None,
        extensions: extensions.boxed(),
    }
}

fn draw_extensions(rng: &mut ChaCha8Rng, scenario: &Scenario) -> Extensions {
    let exclusive = rng.random_bool(if scenario.tense { 0.6 } else { 0.25 });
    let retry = rng.random_bool(0.3).then(|| Retry {
        count: rng.random_range(1..=3),
        states: StateSet::of(&Retry::STATES[..rng.random_range(1..=3)]),
        backoff: Backoff {
            initial: Duration::from_millis(rng.random_range(0..10_000)),
            factor_percent: rng.random_range(100..300),
            max: Duration::from_secs(20),
        },
    });
    Extensions {
        retry,
        array: rng.random_bool(0.15).then(|| Array {
            count: rng.random_range(1..=4),
            parallel: rng.random_bool(0.3).then(|| rng.random_range(1..=3)),
        }),
        on_disconnect: match rng.random_range(0..10) {
            // Whoever waits for a cluster that never comes back waits until somebody removes it.
            0 if !exclusive && !scenario.one_dies => OnDisconnect::Wait,
            1..4 => OnDisconnect::Replace,
            _ => OnDisconnect::Later,
        },
        exclusive,
        ..Extensions::default()
    }
}

/// Something that at least one cluster meets.
fn draw_selector(rng: &mut ChaCha8Rng, clusters: &[Labels]) -> Selector {
    let labels = &clusters[rng.random_range(0..clusters.len())];
    let chosen: Vec<Requirement> = labels
        .iter()
        .filter(|_| rng.random_bool(0.4))
        .map(|(key, value)| Requirement {
            key: key.to_owned(),
            operator: Operator::In(vec![value.to_owned(), "elsewhere".to_owned()]),
            by_project: false,
        })
        .collect();
    Selector::from_iter(chosen)
}
