//! Assignments.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_core::attempt::{
    Assignment, BuildContext, BuildOutcome, CacheOrder, InputReference, InputSource, ParentJob, Prefetch, Revision,
    SourceReference,
};
use tombolo_core::build::extensions::{Extensions, InputRule, PhaseLimits};
use tombolo_core::build::{Dependency, JobKind, JobSpec, PodNeeds, StateSet, TerminalState};
use tombolo_core::capability::CapabilitySet;
use tombolo_core::id::{BuildId, JobId, ProjectId};
use tombolo_core::label::{Requirement, Selector};
use tombolo_core::name::{ProjectName, SecretName};
use tombolo_core::route::Cost;
use tombolo_core::volume::VolumeSet;

use super::phase::{cluster_name, job_name, terminal_state};
use super::{Error, attempt, digest, labels, labels_to_wire, milliseconds, required, text, uuid};
use crate::agent::v1 as wire;

impl From<Assignment> for wire::Assignment {
    fn from(assignment: Assignment) -> Self {
        let source = assignment.source.map(|source| wire::Source {
            manifest: source.manifest.as_bytes().to_vec(),
            grant: source.grant,
        });
        Self {
            attempt: Some(assignment.attempt.into()),
            build: Some(assignment.build.into()),
            job: Some(assignment.job.into()),
            source,
            inputs: assignment.inputs.into_iter().map(Into::into).collect(),
            parents: assignment.parents.into_iter().map(Into::into).collect(),
            labels: labels_to_wire(&assignment.labels),
            volumes_together: kinds(assignment.volumes_together),
            waiting_per_hour: assignment.waiting_per_hour.0,
            cache: assignment.cache.map(Into::into),
        }
    }
}

impl TryFrom<wire::Assignment> for Assignment {
    type Error = Error;

    fn try_from(assignment: wire::Assignment) -> Result<Self, Error> {
        let source = assignment.source.map(|source| {
            let manifest = digest(&source.manifest, "Source.manifest")?;
            Ok(SourceReference {
                manifest,
                grant: source.grant,
            })
        });
        Ok(Self {
            attempt: attempt(assignment.attempt, "Assignment.attempt")?,
            build: required(assignment.build, "Assignment.build")?.try_into()?,
            job: required(assignment.job, "Assignment.job")?.try_into()?,
            source: source.transpose()?,
            inputs: assignment
                .inputs
                .into_iter()
                .map(InputReference::try_from)
                .collect::<Result<_, _>>()?,
            parents: assignment
                .parents
                .into_iter()
                .map(ParentJob::try_from)
                .collect::<Result<_, _>>()?,
            labels: labels(assignment.labels, "Assignment.labels")?,
            volumes_together: volumes(&assignment.volumes_together, "Assignment.volumes_together")?,
            waiting_per_hour: Cost(assignment.waiting_per_hour),
            cache: assignment.cache.map(CacheOrder::try_from).transpose()?,
        })
    }
}

impl From<ParentJob> for wire::Parent {
    fn from(parent: ParentJob) -> Self {
        Self {
            job: parent.job.uuid().as_bytes().to_vec(),
            name: parent.name.into(),
            state: wire::TerminalState::from(parent.state).into(),
        }
    }
}

impl TryFrom<wire::Parent> for ParentJob {
    type Error = Error;

    fn try_from(parent: wire::Parent) -> Result<Self, Error> {
        Ok(Self {
            job: JobId::new(uuid(&parent.job, "Parent.job")?),
            name: job_name(&parent.name, "Parent.name")?,
            state: terminal_state(parent.state, "Parent.state")?,
        })
    }
}

impl From<BuildContext> for wire::BuildContext {
    fn from(build: BuildContext) -> Self {
        Self {
            project: build.project.uuid().as_bytes().to_vec(),
            project_name: build.project_name.into(),
            build: build.build.uuid().as_bytes().to_vec(),
            number: build.number,
            restarts: build.restarts,
            public_url: build.public_url,
            branch: build.revision.branch,
            commit: build.revision.commit,
            tag: build.revision.tag,
            outcome: build.outcome.map(Into::into),
        }
    }
}

impl TryFrom<wire::BuildContext> for BuildContext {
    type Error = Error;

    fn try_from(build: wire::BuildContext) -> Result<Self, Error> {
        let optional = |value: Option<String>, field| value.map(|value| text(value, field)).transpose();
        let project_name = ProjectName::new(&build.project_name);
        Ok(Self {
            project: ProjectId::new(uuid(&build.project, "BuildContext.project")?),
            project_name: project_name.map_err(|error| Error::new("BuildContext.project_name", error))?,
            build: BuildId::new(uuid(&build.build, "BuildContext.build")?),
            number: build.number,
            restarts: build.restarts,
            public_url: text(build.public_url, "BuildContext.public_url")?,
            revision: Revision {
                branch: optional(build.branch, "BuildContext.branch")?,
                commit: optional(build.commit, "BuildContext.commit")?,
                tag: optional(build.tag, "BuildContext.tag")?,
            },
            outcome: build.outcome.map(BuildOutcome::try_from).transpose()?,
        })
    }
}

impl From<JobSpec> for wire::JobSpec {
    fn from(job: JobSpec) -> Self {
        let extensions = job.extensions.map(|extensions| *extensions).unwrap_or_default();
        Self {
            name: job.name.into(),
            image: job.image,
            command: job.command.map(|arguments| wire::Command { arguments }),
            environment: job.environment.into_iter().collect(),
            secrets: job
                .secrets
                .into_iter()
                .map(|(variable, name)| (variable, name.into()))
                .collect(),
            timeout_milliseconds: milliseconds(job.timeout),
            resources: Some(job.resources.into()),
            dependencies: job.dependencies.into_iter().map(Into::into).collect(),
            selector: job.selector.requirements.iter().map(ToString::to_string).collect(),
            prefer: job.prefer.map(String::from),
            volumes: kinds(job.volumes),
            cache: job.cache,
            pod: job.pod.map(|pod| (*pod).into()),
            start_limit_milliseconds: extensions.limits.start.map(milliseconds),
            transfer_limit_milliseconds: extensions.limits.transfer.map(milliseconds),
            inputs: extensions.inputs.into_iter().map(Into::into).collect(),
            output_limit_bytes: extensions.output_limit_bytes,
            exclusive: extensions.exclusive,
            repository: job.repository.map(|repository| (*repository).into()),
        }
    }
}

impl TryFrom<wire::JobSpec> for JobSpec {
    type Error = Error;

    fn try_from(job: wire::JobSpec) -> Result<Self, Error> {
        let command = job.command.map(|command| {
            command
                .arguments
                .into_iter()
                .map(|argument| text(argument, "JobSpec.command"))
                .collect::<Result<_, _>>()
        });
        let environment = job
            .environment
            .into_iter()
            .map(|(name, value)| Ok((text(name, "JobSpec.environment")?, text(value, "JobSpec.environment")?)));
        // What the master decides by is not sent.
        let extensions = Extensions {
            limits: PhaseLimits {
                queue: None,
                start: job.start_limit_milliseconds.map(Duration::from_millis),
                transfer: job.transfer_limit_milliseconds.map(Duration::from_millis),
            },
            inputs: job
                .inputs
                .into_iter()
                .map(InputRule::try_from)
                .collect::<Result<_, _>>()?,
            output_limit_bytes: job.output_limit_bytes,
            exclusive: job.exclusive,
            ..Extensions::default()
        };
        let secrets = job.secrets.into_iter().map(|(variable, name)| {
            let name = SecretName::new(&name).map_err(|error| Error::new("JobSpec.secrets", error))?;
            Ok((text(variable, "JobSpec.secrets")?, name))
        });
        let requirements = job.selector.iter().map(|text| {
            text.parse::<Requirement>()
                .map_err(|error| Error::new("JobSpec.selector", error))
        });
        Ok(Self {
            name: job_name(&job.name, "JobSpec.name")?,
            // Only what runs is sent, to a cluster that can run it, and with the source that it is to have.
            kind: JobKind::Run,
            source: true,
            needs: CapabilitySet::EMPTY,
            passes_on: BTreeSet::new(),
            confined_to: Default::default(),
            repository: job
                .repository
                .map(|repository| repository.try_into().map(Box::new))
                .transpose()?,
            extensions: extensions.boxed(),
            image: text(job.image, "JobSpec.image")?,
            command: command.transpose()?,
            environment: environment.collect::<Result<_, Error>>()?,
            secrets: secrets.collect::<Result<_, Error>>()?,
            timeout: Duration::from_millis(job.timeout_milliseconds),
            resources: required(job.resources, "JobSpec.resources")?.into(),
            dependencies: job
                .dependencies
                .into_iter()
                .map(Dependency::try_from)
                .collect::<Result<_, _>>()?,
            selector: requirements.collect::<Result<Selector, _>>()?,
            prefer: job
                .prefer
                .map(|name| cluster_name(&name, "JobSpec.prefer"))
                .transpose()?,
            // The queue's business: a job that is sent out has left it.
            priority: 0,
            volumes: volumes(&job.volumes, "JobSpec.volumes")?,
            cache: job.cache,
            pod: job.pod.map(|pod| pod.try_into().map(Box::new)).transpose()?,
        })
    }
}

impl From<PodNeeds> for wire::PodNeeds {
    fn from(pod: PodNeeds) -> Self {
        Self {
            storage_bytes: pod.storage_bytes,
            node_selector: pod.node_selector.into_iter().collect(),
            run_as_user: pod.run_as_user,
            architecture: pod.architecture,
        }
    }
}

impl TryFrom<wire::PodNeeds> for PodNeeds {
    type Error = Error;

    fn try_from(pod: wire::PodNeeds) -> Result<Self, Error> {
        let selector = pod.node_selector.into_iter();
        let pair = |(key, value)| {
            Ok((
                text(key, "PodNeeds.node_selector")?,
                text(value, "PodNeeds.node_selector")?,
            ))
        };
        let architecture = pod.architecture.map(|value| text(value, "PodNeeds.architecture"));
        Ok(Self {
            storage_bytes: pod.storage_bytes,
            node_selector: selector.map(pair).collect::<Result<_, Error>>()?,
            run_as_user: pod.run_as_user,
            architecture: architecture.transpose()?,
        })
    }
}

fn kinds(volumes: VolumeSet) -> Vec<String> {
    volumes.iter().map(|kind| kind.to_string()).collect()
}

fn volumes(names: &[String], field: &'static str) -> Result<VolumeSet, Error> {
    let mut set = VolumeSet::default();
    for name in names {
        set.insert(name.parse().map_err(|error| Error::new(field, error))?);
    }
    Ok(set)
}

impl From<Dependency> for wire::Dependency {
    fn from(dependency: Dependency) -> Self {
        let on = dependency
            .on
            .iter()
            .map(|state| wire::TerminalState::from(state).into())
            .collect();
        Self {
            job: dependency.job.into(),
            on,
        }
    }
}

impl TryFrom<wire::Dependency> for Dependency {
    type Error = Error;

    fn try_from(dependency: wire::Dependency) -> Result<Self, Error> {
        let states = dependency
            .on
            .into_iter()
            .map(|state| terminal_state(state, "Dependency.on"));
        let states = states.collect::<Result<Vec<TerminalState>, _>>()?;
        Ok(Self {
            job: job_name(&dependency.job, "Dependency.job")?,
            on: StateSet::of(&states),
        })
    }
}

impl From<Prefetch> for wire::Prefetch {
    fn from(prefetch: Prefetch) -> Self {
        Self {
            project: prefetch.project.uuid().as_bytes().to_vec(),
            input: Some(prefetch.input.into()),
            waiting_per_hour: prefetch.waiting_per_hour.0,
            confirm: prefetch.confirm,
        }
    }
}

impl TryFrom<wire::Prefetch> for Prefetch {
    type Error = Error;

    fn try_from(prefetch: wire::Prefetch) -> Result<Self, Error> {
        Ok(Self {
            project: ProjectId::new(uuid(&prefetch.project, "Prefetch.project")?),
            input: required(prefetch.input, "Prefetch.input")?.try_into()?,
            waiting_per_hour: Cost(prefetch.waiting_per_hour),
            confirm: prefetch.confirm,
        })
    }
}

impl From<InputReference> for wire::Input {
    fn from(input: InputReference) -> Self {
        let source = |source: InputSource| wire::InputSource {
            cluster: source.cluster.into(),
            peer_address: source.peer_address,
            direct_per_gigabyte: source.direct_per_gigabyte.0,
            relay_per_gigabyte: source.relay_per_gigabyte.0,
        };
        Self {
            job: input.job.uuid().as_bytes().to_vec(),
            name: input.name.into(),
            output: Some(input.output.into()),
            sources: input.sources.into_iter().map(source).collect(),
            grant: input.grant,
            index: input.index,
        }
    }
}

impl TryFrom<wire::Input> for InputReference {
    type Error = Error;

    fn try_from(input: wire::Input) -> Result<Self, Error> {
        let sources = input.sources.into_iter().map(|source| {
            let cluster = cluster_name(&source.cluster, "InputSource.cluster")?;
            Ok(InputSource {
                cluster,
                peer_address: source.peer_address,
                direct_per_gigabyte: Cost(source.direct_per_gigabyte),
                relay_per_gigabyte: Cost(source.relay_per_gigabyte),
            })
        });
        Ok(Self {
            job: JobId::new(uuid(&input.job, "Input.job")?),
            name: job_name(&input.name, "Input.name")?,
            output: required(input.output, "Input.output")?.try_into()?,
            sources: sources.collect::<Result<_, Error>>()?,
            grant: input.grant,
            index: input.index,
        })
    }
}
