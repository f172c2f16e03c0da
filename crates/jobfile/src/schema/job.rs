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
mod finish;
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

use std::time::Duration;

use tombolo_core::build::extensions::Extensions;
use tombolo_core::build::{Dependency, JobSpec, PodNeeds};
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
