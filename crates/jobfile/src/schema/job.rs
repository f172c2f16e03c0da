//! One job.

mod array;
mod build;
mod cache;
mod cluster;
mod dependency;
mod disconnect;
mod duration;
mod environment;
mod expand;
mod git;
mod inputs;
mod matrix;
mod place;
mod pod;
mod registry;
mod repository;
mod retry;
mod service;
mod timeouts;
mod value;
mod volumes;

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_core::build::array::Array;
use tombolo_core::build::extensions::Extensions;
use tombolo_core::build::{Dependency, JobKind, JobSpec, PodNeeds};
use tombolo_core::capability::{Capability, CapabilitySet};
use tombolo_core::name::JobName;
use tombolo_core::resources::Resources;
use tombolo_core::volume::VolumeSet;

use self::environment::Environment;
use self::matrix::Combination;
use super::Place;
use super::fields::{self, JobType};
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, nearest, quote};
use crate::format::Dialect;
use crate::reader::Token;

pub(crate) use matrix::MAX_FILLED_BYTES;
pub(crate) use place::{folder_of, resolve};

/// How long a command may run if the job does not say, as in InfraBox.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a job gets if it does not say. InfraBox has no default (it demands the field); this is small enough for several
/// jobs at once on a laptop.
const DEFAULT_RESOURCES: Resources = Resources {
    cpu_milli: 500,
    memory_bytes: 256 * 1024 * 1024,
};

/// Takes one job, or those that its matrix makes of it. None if it has no valid name, so that it is not in the graph. `left` is how many bytes
/// the texts of jobs that matrices make may still have.
pub(super) fn read<'a>(
    decoder: &mut Decoder<'a>,
    index: usize,
    item: &Token<'a>,
    left: &mut usize,
) -> Step<Vec<(JobSpec, Place)>> {
    let mut draft = Draft::default();
    let is_map = decoder.map(item, "an object that describes a job", |decoder, field, at, value| {
        draft.take_field(decoder, field, at, value)
    })?;
    Ok(if is_map {
        draft.finish(decoder, index, item.at, left)
    } else {
        Vec::new()
    })
}

/// What has been read of a job. What is wrong with it has been recorded, and the definition is not given out then.
struct Draft {
    kind: Option<JobType>,
    /// The fields that are there, and where.
    given: Vec<(&'static str, Position)>,
    name: Option<(JobName, Position)>,
    image: Option<(String, Position)>,
    command: Option<Vec<String>>,
    environment: Environment,
    timeout: Duration,
    resources: Resources,
    dependencies: Vec<Dependency>,
    /// Where the dependencies are: their indexes in the file's list and their positions.
    dependency_places: Vec<(usize, Position)>,
    cluster: cluster::Wanted,
    matrix: Option<Vec<Combination>>,
    /// How many of it there are, and how many of these at once.
    count: Option<u32>,
    parallel: Option<u32>,
    priority: i8,
    volumes: VolumeSet,
    cache: bool,
    pod: Option<Box<PodNeeds>>,
    source: bool,
    /// The job file of a workflow or repository as it is named, and where.
    include: Option<(String, Position)>,
    /// What it clones.
    cloning: git::Cloning,
    needs: CapabilitySet,
    extensions: Extensions,
    /// What `timeouts` says of the command, and where.
    run_limit: Option<(Duration, Position)>,
    /// Where each of its inputs is.
    input_places: Vec<Position>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            kind: None,
            given: Vec::new(),
            name: None,
            image: None,
            command: None,
            environment: Environment::default(),
            timeout: DEFAULT_TIMEOUT,
            resources: DEFAULT_RESOURCES,
            dependencies: Vec::new(),
            dependency_places: Vec::new(),
            cluster: cluster::Wanted::default(),
            matrix: None,
            count: None,
            parallel: None,
            priority: 0,
            volumes: VolumeSet::default(),
            cache: false,
            pod: None,
            source: true,
            include: None,
            cloning: git::Cloning::default(),
            needs: CapabilitySet::EMPTY,
            extensions: Extensions::default(),
            run_limit: None,
            input_places: Vec::new(),
        }
    }
}

impl Draft {
    fn take_field<'a>(&mut self, decoder: &mut Decoder<'a>, field: &str, at: Position, value: Token<'a>) -> Step<()> {
        let Some((known, _)) = fields::known(field) else {
            decoder.fault(at, fields::unknown_of_job(field));
            return decoder.skip(&value);
        };
        if decoder.dialect == Dialect::InfraBox && fields::is_own(known) {
            decoder.fault(at, fields::not_of_infrabox(&format!("field {}", quote(known))));
            return decoder.skip(&value);
        }
        self.given.push((known, at));
        match known {
            "type" => self.kind = read_kind(decoder, value)?,
            "name" => self.name = read_name(decoder, value)?,
            "image" => self.image = value::image(decoder, value)?,
            "matrix" => self.matrix = Some(matrix::read(decoder, &value)?),
            "command" => self.command = value::command(decoder, &value)?,
            "depends_on" => {
                (self.dependencies, self.dependency_places) = dependency::read(decoder, &value)?;
            }
            "environment" => {
                self.environment = environment::read(decoder, &value)?;
                self.need(Capability::Secrets, !self.environment.secrets.is_empty());
                self.need(Capability::Vault, self.environment.vault);
            }
            "timeout" => self.timeout = value::timeout(decoder, &value)?.unwrap_or(DEFAULT_TIMEOUT),
            "timeouts" => {
                let (limits, run) = timeouts::read(decoder, &value)?;
                self.extensions.limits = limits;
                self.run_limit = run;
            }
            "resources" => self.resources = value::resources(decoder, &value)?.unwrap_or(DEFAULT_RESOURCES),
            "count" => self.count = array::count(decoder, &value)?,
            "parallel" => self.parallel = array::parallel(decoder, &value)?,
            "priority" => self.priority = value::priority(decoder, &value)?,
            "cluster" => self.cluster = cluster::read(decoder, &value)?,
            "retry" => self.extensions.retry = retry::read(decoder, &value)?,
            "on_disconnect" => self.extensions.on_disconnect = disconnect::read(decoder, value)?,
            "exclusive" => {
                self.extensions.exclusive = value::boolean(decoder, &value)? == Some(true);
                self.need(Capability::Exclusive, self.extensions.exclusive);
            }
            "inputs" => (self.extensions.inputs, self.input_places) = inputs::read(decoder, &value)?,
            "outputs" => {
                let outputs = inputs::outputs(decoder, &value)?;
                self.extensions.output_limit_bytes = outputs.limit_bytes;
                self.extensions.output_keep_days = outputs.keep_days;
            }
            "volumes" => self.volumes = volumes::read(decoder, &value)?,
            "cache" => self.cache = cache::read(decoder, &value)?,
            "kubernetes" => self.pod = Some(Box::new(pod::read(decoder, &value)?)),
            "repository" => self.source = repository::read(decoder, &value)?,
            "infrabox_file" => {
                let at = value.at;
                let path = decoder.filled_text(value, "text: a path within the source")?;
                self.include = path.map(|path| (path, at));
            }
            "clone_url" | "commit" | "branch" | "credentials" => {
                self.cloning.take(decoder, known, value)?;
                self.need(Capability::Secrets, self.cloning.password.is_some());
            }
            other => self.take_special(decoder, other, value)?,
        }
        Ok(())
    }

    /// Takes a field that only asks for what not every executor can do.
    fn take_special<'a>(&mut self, decoder: &mut Decoder<'a>, field: &str, value: Token<'a>) -> Step<()> {
        match field {
            "registries" => self.need(Capability::Registries, registry::registries(decoder, &value)?),
            "deployments" => self.need(Capability::Deployments, registry::deployments(decoder, &value)?),
            "services" => self.need(Capability::Services, service::read(decoder, &value)?),
            "security_context" => self.need(Capability::Privileged, service::security(decoder, &value)?),
            // Nothing runs then: what is left is to push the image elsewhere.
            "run" => {
                let runs = value::boolean(decoder, &value)?;
                self.need(Capability::Deployments, runs == Some(false));
            }
            other => build::read(decoder, other, value)?,
        }
        Ok(())
    }

    fn need(&mut self, capability: Capability, needed: bool) {
        if needed {
            self.needs.insert(capability);
        }
    }

    fn is_given(&self, field: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == field)
    }

    fn finish(
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
            None => {
                let mut spec = pattern.spec;
                // Without a matrix they have to be requirements as they are.
                for template in &templates {
                    let requirement = cluster::parse_later(decoder, &template.text, template.at);
                    let all = spec.selector.requirements.iter().cloned().chain(requirement);
                    spec.selector = all.collect();
                }
                vec![(spec, pattern.place)]
            }
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

fn read_kind<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<JobType>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: the job's type")? else {
        return Ok(None);
    };
    let kind = JobType::ALL.into_iter().find(|kind| kind.as_str() == text);
    if kind.is_none() {
        let known = || JobType::ALL.into_iter().map(JobType::as_str);
        let complaint = Complaint::new(format!("unknown type of job {}", quote(&text)));
        let hint = match nearest(&text, known()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there are {}", fields::listed(known())),
        };
        decoder.fault(at, complaint.hint(hint));
    }
    Ok(kind)
}

fn read_name<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Option<(JobName, Position)>> {
    let at = value.at;
    let Some(text) = decoder.text(value, "text: the job's name")? else {
        return Ok(None);
    };
    match JobName::new(&text) {
        Ok(name) if !text.contains('/') => Ok(Some((name, at))),
        _ => {
            let complaint = Complaint::new(format!("{} is not a valid name of a job", quote(&text)));
            decoder.fault(at, complaint.hint("a name is 1 to 255 of a-z, 0-9, `_` and `-`"));
            Ok(None)
        }
    }
}
