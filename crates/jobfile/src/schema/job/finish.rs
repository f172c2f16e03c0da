//! Makes a job of what its fields say, and says what does not go together.

use std::collections::BTreeSet;

use tombolo_core::build::array::Array;
use tombolo_core::build::{JobKind, JobSpec};
use tombolo_core::capability::Capability;
use tombolo_core::name::JobName;
use tombolo_core::resources::Resources;

use super::place::resolve;
use super::{Draft, array, cluster, disconnect, expand, inputs, timeouts, value};
use crate::decode::Decoder;
use crate::fault::{Complaint, Position};
use crate::schema::Place;
use crate::schema::fields::{self, JobType};

impl Draft {
    /// The job, or those that its matrix makes of it; nothing without a valid name. `left` is how many bytes the texts of jobs that matrices make may
    /// still have.
    pub(super) fn finish(
        mut self,
        decoder: &mut Decoder<'_>,
        index: usize,
        at: Position,
        left: &mut usize,
    ) -> Vec<(JobSpec, Place)> {
        let missing = |hint: &str| Complaint::new("the field is missing").hint(hint);
        match self.kind {
            Some(kind) => self.check_fields(decoder, kind, at),
            None if self.is_given("type") => {}
            None => decoder.field_fault("type", at, missing("add `type: docker-image`")),
        }
        if !self.is_given("name") {
            decoder.field_fault("name", at, missing("give the job a name of its own"));
        }
        if self.is_given("parallel") && !self.is_given("count") {
            let at = self.place_of("parallel").unwrap_or(at);
            decoder.field_fault("parallel", at, array::without_count());
        }
        self.extensions.array = self.count.map(|count| Array {
            count,
            parallel: self.parallel,
        });
        if let Some((run, at)) = self.run_limit {
            if self.is_given("timeout") {
                decoder.field_fault("timeouts", at, timeouts::twice());
            }
            self.timeout = run;
        }
        if let Some(at) = self.place_of("on_disconnect") {
            disconnect::check(decoder, &self.extensions, at);
        }
        self.cloning.check(decoder);
        self.resolve_include(decoder);
        inputs::check(decoder, &self.extensions.inputs, &self.input_places, &self.dependencies);
        let Some((name, name_at)) = self.name.take() else {
            return Vec::new();
        };
        let place = Place {
            hook: None,
            index,
            name: name_at,
            dependencies: std::mem::take(&mut self.dependency_places),
            include: self.include.take_if(|_| self.kind != Some(JobType::Git)),
            same_as: self.cluster.same_as.as_ref().map(|(_, at)| *at),
            selector: self.cluster.selector_at,
        };
        let field_at = |field: &str| self.place_of(field).unwrap_or(at);
        let places = ["image", "command", "environment", "matrix"].map(field_at);
        let templates = std::mem::take(&mut self.cluster.templates);
        let combinations = self.matrix.take();
        let [_, command_at, environment_at, matrix_at] = places;
        let image_at = self.image.as_ref().map_or(at, |(_, at)| *at);
        let pattern = expand::Pattern {
            spec: self.into_spec(name),
            place,
            image_at,
            command_at,
            environment_at,
            matrix_at,
            templates: &templates,
        };
        let jobs = match combinations {
            Some(combinations) => expand::expand(decoder, &pattern, &combinations, left),
            None => vec![alone(decoder, pattern)],
        };
        for (job, _) in jobs.iter().filter(|(job, _)| !job.image.is_empty()) {
            value::check_image(decoder, &job.image, image_at);
        }
        jobs
    }

    /// Finds what the job file of a workflow is called in the source: paths begin at the folder of the file that names them. In a repository,
    /// they begin at its top.
    fn resolve_include(&mut self, decoder: &mut Decoder<'_>) {
        let Some((path, at)) = self.include.take() else { return };
        let folder = match self.kind {
            Some(JobType::Git) => "",
            _ => decoder.folder.as_str(),
        };
        match resolve(folder, &path) {
            Ok(path) => self.include = Some((path, at)),
            Err(complaint) => decoder.field_fault("infrabox_file", at, complaint),
        }
    }

    fn place_of(&self, field: &str) -> Option<Position> {
        let mut given = self.given.iter();
        given.find(|(given, _)| *given == field).map(|(_, at)| *at)
    }

    fn into_spec(mut self, name: JobName) -> JobSpec {
        let kind = match self.kind {
            Some(JobType::Workflow) => JobKind::Workflow,
            Some(JobType::Wait) => JobKind::Wait,
            _ => JobKind::Run,
        };
        let file = self.include.take().map(|(path, _)| path);
        let cloning = std::mem::take(&mut self.cloning).finish(file, &mut self.environment);
        let repository = cloning.filter(|_| self.kind == Some(JobType::Git));
        self.extensions.preferences = self.cluster.preferences;
        self.extensions.spread = self.cluster.spread;
        self.extensions.same_as = self.cluster.same_as.map(|(job, _)| job);
        JobSpec {
            name,
            kind,
            image: self.image.map(|(image, _)| image).unwrap_or_default(),
            command: self.command,
            environment: self.environment.texts,
            secrets: self.environment.secrets,
            timeout: self.timeout,
            resources: if kind == JobKind::Run {
                self.resources
            } else {
                Resources::default()
            },
            dependencies: self.dependencies,
            selector: self.cluster.selector,
            prefer: self.cluster.prefer,
            priority: self.priority,
            volumes: self.volumes,
            cache: self.cache,
            pod: self.pod,
            // What it clones is all that it has of sources.
            source: self.source && repository.is_none(),
            needs: self.needs,
            passes_on: BTreeSet::new(),
            confined_to: Default::default(),
            repository,
            extensions: self.extensions.boxed(),
        }
    }

    /// Whether the job has what its type demands and nothing that others have, and what the type asks of an executor.
    fn check_fields(&mut self, decoder: &mut Decoder<'_>, kind: JobType, at: Position) {
        for (field, at) in &self.given {
            let types = fields::known(field).map_or(&[][..], |(_, types)| types);
            if !types.contains(&kind) {
                decoder.field_fault(field, *at, fields::foreign(field, kind, types));
            }
        }
        for (field, hint) in kind.required() {
            if !self.is_given(field) {
                decoder.field_fault(field, at, Complaint::new("the field is missing").hint(*hint));
            }
        }
        self.need(Capability::Docker, kind == JobType::Docker);
        self.need(Capability::DockerCompose, kind == JobType::Compose);
        self.need(Capability::Git, kind == JobType::Git);
    }
}

/// The job that has no matrix: what its selector leaves open for one has to be requirements as it is.
fn alone(decoder: &mut Decoder<'_>, pattern: expand::Pattern<'_>) -> (JobSpec, Place) {
    let mut spec = pattern.spec;
    let before = spec.selector.clone();
    for template in pattern.templates {
        let requirement = cluster::parse_later(decoder, &template.text, template.at);
        let all = spec.selector.requirements.iter().cloned().chain(requirement);
        spec.selector = all.collect();
    }
    if let Some(last) = pattern.templates.last() {
        cluster::check_later(decoder, &before, &spec.selector, last.at);
    }
    (spec, pattern.place)
}
