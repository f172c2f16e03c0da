//! One job.

mod cache;
mod cluster;
mod dependency;
mod pod;
mod value;
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use tombolo_core::build::{Dependency, JobSpec, PodNeeds};
use tombolo_core::label::Selector;
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::resources::Resources;
use tombolo_core::volume::VolumeSet;

use super::Place;
use super::fields::{self, IMAGE_TYPE, OTHER_TYPES, Unsupported};
use crate::decode::{Decoder, Step};
use crate::fault::{Complaint, Position, nearest, quote};
use crate::reader::Token;

/// How long a command may run if the job does not say, as in InfraBox.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// What a job gets if it does not say. InfraBox has no default (it demands the field); this is small enough for several
/// jobs at once on a laptop.
const DEFAULT_RESOURCES: Resources = Resources {
    cpu_milli: 500,
    memory_bytes: 256 * 1024 * 1024,
};

/// Takes one job. None if it has no valid name, so that it is not in the graph.
pub(super) fn read<'a>(decoder: &mut Decoder<'a>, index: usize, item: &Token<'a>) -> Step<Option<(JobSpec, Place)>> {
    let mut draft = Draft::default();
    let is_map = decoder.map(item, "an object that describes a job", |decoder, field, at, value| {
        draft.take_field(decoder, field, at, value)
    })?;
    Ok(if is_map {
        draft.finish(decoder, index, item.at)
    } else {
        None
    })
}

/// What has been read of a job.
#[derive(Default)]
struct Draft {
    kind: Kind,
    name: Field<(JobName, Position)>,
    image: Field<String>,
    command: Option<Vec<String>>,
    environment: BTreeMap<String, String>,
    timeout: Option<Duration>,
    resources: Option<Resources>,
    dependencies: Vec<Dependency>,
    /// Where the dependencies are: their indexes in the file's list and their positions.
    dependency_places: Vec<(usize, Position)>,
    selector: Selector,
    prefer: Option<ClusterName>,
    priority: i8,
    volumes: VolumeSet,
    cache: bool,
    pod: Option<Box<PodNeeds>>,
    /// Fields that InfraBox knows and this version does not act on.
    unsupported: Vec<(String, Position, Complaint)>,
}

/// A field that must be there.
#[derive(Default)]
enum Field<T> {
    #[default]
    Missing,
    /// It is there, but of no use; that has been recorded.
    Faulty,
    Given(T),
}

/// The type of a job.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Missing,
    /// `docker-image`.
    Image,
    /// A type that this version does not run, or none at all; that has been recorded.
    Other,
}

impl<T> From<Option<T>> for Field<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Faulty, Self::Given)
    }
}

impl Draft {
    fn take_field<'a>(&mut self, decoder: &mut Decoder<'a>, field: &str, at: Position, value: Token<'a>) -> Step<()> {
        match field {
            "type" => self.kind = read_kind(decoder, value)?,
            "name" => self.name = read_name(decoder, value)?.into(),
            "image" => self.image = value::image(decoder, value)?.into(),
            "command" => self.command = value::command(decoder, &value)?,
            "depends_on" => {
                (self.dependencies, self.dependency_places) = dependency::read(decoder, &value)?;
            }
            "environment" => self.environment = value::environment(decoder, &value)?,
            "timeout" => self.timeout = value::timeout(decoder, &value)?,
            "resources" => self.resources = value::resources(decoder, &value)?,
            "priority" => self.priority = value::priority(decoder, &value)?,
            "cluster" => (self.selector, self.prefer) = cluster::read(decoder, &value)?,
            "volumes" => self.volumes = volumes::read(decoder, &value)?,
            "cache" => self.cache = cache::read(decoder, &value)?,
            "kubernetes" => self.pod = Some(Box::new(pod::read(decoder, &value)?)),
            other => {
                match fields::unsupported(other) {
                    Unsupported::Unknown(complaint) => decoder.fault(at, complaint),
                    Unsupported::Known(complaint) => self.unsupported.push((other.to_owned(), at, complaint)),
                }
                decoder.skip(&value)?;
            }
        }
        Ok(())
    }

    fn finish(self, decoder: &mut Decoder<'_>, index: usize, at: Position) -> Option<(JobSpec, Place)> {
        let missing = |hint: &str| Complaint::new("the field is missing").hint(hint);
        match self.kind {
            Kind::Missing => decoder.field_fault("type", at, missing("add `type: docker-image`")),
            // What belongs to a type that does not run here needs no word of its own.
            Kind::Other => {}
            Kind::Image => {
                for (field, at, complaint) in self.unsupported {
                    decoder.field_fault(&field, at, complaint);
                }
                if let Field::Missing = self.image {
                    decoder.field_fault(
                        "image",
                        at,
                        missing("name the container image that the command runs in"),
                    );
                }
            }
        }
        let (name, name_at) = match self.name {
            Field::Given(name) => name,
            Field::Faulty => return None,
            Field::Missing => {
                decoder.field_fault("name", at, missing("give the job a name of its own"));
                return None;
            }
        };
        let spec = JobSpec {
            name,
            // An image that is missing or faulty has been recorded, and the definition is not given out then.
            image: if let Field::Given(image) = self.image {
                image
            } else {
                String::new()
            },
            command: self.command,
            environment: self.environment,
            timeout: self.timeout.unwrap_or(DEFAULT_TIMEOUT),
            resources: self.resources.unwrap_or(DEFAULT_RESOURCES),
            dependencies: self.dependencies,
            selector: self.selector,
            prefer: self.prefer,
            priority: self.priority,
            volumes: self.volumes,
            cache: self.cache,
            pod: self.pod,
        };
        Some((
            spec,
            Place {
                index,
                name: name_at,
                dependencies: self.dependency_places,
            },
        ))
    }
}

fn read_kind<'a>(decoder: &mut Decoder<'a>, value: Token<'a>) -> Step<Kind> {
    let at = value.at;
    let Some(kind) = decoder.text(value, "text: the job's type")? else {
        return Ok(Kind::Other);
    };
    if kind == IMAGE_TYPE {
        return Ok(Kind::Image);
    }
    let complaint = if OTHER_TYPES.contains(&kind.as_str()) {
        let message = format!(
            "jobs of type {} are known, but this version does not run them yet",
            quote(&kind)
        );
        Complaint::new(message).hint(format!("this version runs jobs of type `{IMAGE_TYPE}`"))
    } else {
        let known = [IMAGE_TYPE].into_iter().chain(OTHER_TYPES);
        let complaint = Complaint::new(format!("unknown type of job {}", quote(&kind)));
        match nearest(&kind, known) {
            Some(name) => complaint.hint(format!("did you mean `{name}`?")),
            None => complaint.hint(format!("this version runs jobs of type `{IMAGE_TYPE}`")),
        }
    };
    decoder.fault(at, complaint);
    Ok(Kind::Other)
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
