//! The jobs that one job with a matrix stands for.

use tombolo_core::build::graph::MAX_JOBS;
use tombolo_core::build::{Dependency, JobKind, JobSpec, StateSet};
use tombolo_core::capability::CapabilitySet;
use tombolo_core::label::Selector;
use tombolo_core::name::JobName;
use tombolo_core::resources::Resources;
use tombolo_core::volume::VolumeSet;

use super::cluster;
use super::matrix::{self, Combination, Template};
use crate::decode::Decoder;
use crate::fault::{Complaint, Position};
use crate::schema::Place;

/// A job that has a matrix, as its file has it.
pub(super) struct Pattern<'a> {
    pub(super) spec: JobSpec,
    pub(super) place: Place,
    pub(super) image_at: Position,
    pub(super) command_at: Position,
    pub(super) environment_at: Position,
    pub(super) matrix_at: Position,
    pub(super) templates: &'a [Template],
}

/// One job for each combination, named `job/values`, and the job itself, which runs nothing and ends as these do. `left` is how many bytes
/// their texts may still have.
pub(super) fn expand(
    decoder: &mut Decoder<'_>,
    pattern: &Pattern<'_>,
    combinations: &[Combination],
    left: &mut usize,
) -> Vec<(JobSpec, Place)> {
    let Pattern { spec, place, .. } = pattern;
    if let Some(segment) = matrix::ambiguous(combinations) {
        let message = format!("two combinations would both be named `{}/{segment}`", spec.name);
        let hint = "names have lower case letters and `_` for what they cannot have: choose other values";
        decoder.field_fault("matrix", pattern.matrix_at, Complaint::new(message).hint(hint));
        return Vec::new();
    }
    // Before anything is copied.
    let copied = copied_bytes(spec).saturating_mul(combinations.len());
    if let Err(complaint) = matrix::charge(copied, left) {
        decoder.field_fault("matrix", pattern.matrix_at, complaint);
        return Vec::new();
    }
    let mut jobs = Vec::with_capacity(combinations.len() + 1);
    for combination in combinations.iter().take(MAX_JOBS) {
        let Some(spec) = pattern.one(decoder, combination, left) else {
            return jobs;
        };
        jobs.push((spec, place.clone()));
    }
    let follow = |(job, _): &(JobSpec, Place)| Dependency {
        job: job.name.clone(),
        on: StateSet::ALL,
    };
    let dependencies: Vec<Dependency> = jobs.iter().map(follow).collect();
    let mut whole_place = place.clone();
    whole_place.dependencies = vec![(0, pattern.matrix_at); dependencies.len()];
    jobs.push((whole(spec.name.clone(), spec, dependencies), whole_place));
    jobs
}

/// What each combination has of its own of what no value comes into, in bytes, roughly.
fn copied_bytes(spec: &JobSpec) -> usize {
    /// A position, the states of a condition, and what a list keeps of each of its members.
    const EACH: usize = 64;
    let dependencies = spec
        .dependencies
        .iter()
        .map(|dependency| EACH + dependency.job.as_str().len());
    let variables = spec.environment.keys().map(|name| EACH + name.len());
    let secrets = spec.secrets.iter();
    let secrets = secrets.map(|(variable, name)| EACH + variable.len() + name.as_str().len());
    let rules = spec.extensions.iter().flat_map(|extensions| &extensions.inputs);
    let rules = rules.map(|rule| {
        let paths: usize = rule.paths.iter().map(|path| EACH + path.len()).sum();
        EACH + rule.job.as_str().len() + rule.folder.as_ref().map_or(0, String::len) + paths
    });
    dependencies.chain(variables).chain(secrets).chain(rules).sum()
}

/// The job that ends as all of them do.
fn whole(name: JobName, spec: &JobSpec, dependencies: Vec<Dependency>) -> JobSpec {
    JobSpec {
        name,
        kind: JobKind::Workflow,
        image: String::new(),
        command: None,
        environment: Default::default(),
        secrets: Default::default(),
        timeout: spec.timeout,
        resources: Resources::default(),
        dependencies,
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        volumes: VolumeSet::default(),
        cache: false,
        pod: None,
        source: true,
        needs: CapabilitySet::EMPTY,
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
    }
}

impl Pattern<'_> {
    /// The job of one combination. What is wrong with it has been recorded if there is none.
    fn one(&self, decoder: &mut Decoder<'_>, combination: &Combination, left: &mut usize) -> Option<JobSpec> {
        let mut spec = self.spec.clone();
        let name = format!("{}/{}", spec.name, matrix::segment(combination));
        let Ok(name) = JobName::new(&name) else {
            let complaint = Complaint::new("the name becomes too long with the values behind it");
            decoder.field_fault(
                "matrix",
                self.matrix_at,
                complaint.hint(format!("a name is {}", JobName::RULE)),
            );
            return None;
        };
        spec.name = name;
        let mut fill = |decoder: &mut Decoder<'_>, field: &str, at: Position, text: &str| {
            let filled = matrix::fill(text, combination, left);
            filled
                .map_err(|complaint| decoder.field_fault(field, at, complaint))
                .ok()
        };
        spec.image = fill(decoder, "image", self.image_at, &spec.image)?;
        for word in spec.command.iter_mut().flatten() {
            *word = fill(decoder, "command", self.command_at, word)?;
        }
        for value in spec.environment.values_mut() {
            *value = fill(decoder, "environment", self.environment_at, value)?;
        }
        let mut requirements = spec.selector.requirements.to_vec();
        for Template { text, at } in self.templates {
            let text = fill(decoder, "cluster", *at, text)?;
            requirements.push(cluster::parse_later(decoder, &text, *at)?);
        }
        let selector = Selector::from_iter(requirements);
        if let Some(last) = self.templates.last() {
            cluster::check_later(decoder, &spec.selector, &selector, last.at);
        }
        spec.selector = selector;
        for (key, value) in combination {
            let variable = matrix::variable(key);
            if spec.secrets.contains_key(&variable) {
                continue;
            }
            spec.environment.entry(variable).or_insert_with(|| value.clone());
        }
        Some(spec)
    }
}
