//! What an agent says of itself.

use tombolo_core::session::{AttemptReport, Capability, Hello, Nodes, Survey};

use super::phase::phase;
use super::{Error, attempt, labels, labels_to_wire, required, text, volume};
use crate::agent::v1 as wire;

impl From<Hello> for wire::Hello {
    fn from(hello: Hello) -> Self {
        let capability = |capability| match capability {
            Capability::Images => wire::Capability::Images.into(),
            Capability::Exec => wire::Capability::Exec.into(),
            Capability::Volumes => wire::Capability::Volumes.into(),
            Capability::Docker => wire::Capability::Docker.into(),
            Capability::DockerCompose => wire::Capability::DockerCompose.into(),
            Capability::Services => wire::Capability::Services.into(),
            Capability::Deployments => wire::Capability::Deployments.into(),
            Capability::Registries => wire::Capability::Registries.into(),
            Capability::Privileged => wire::Capability::Privileged.into(),
            Capability::Secrets => wire::Capability::Secrets.into(),
            Capability::Git => wire::Capability::Git.into(),
            Capability::Vault => wire::Capability::Vault.into(),
            Capability::Exclusive => wire::Capability::Exclusive.into(),
        };
        Self {
            version: hello.version,
            capacity: Some(hello.capacity.into()),
            slots: hello.slots,
            capabilities: hello.capabilities.into_iter().map(capability).collect(),
            facts: labels_to_wire(&hello.facts),
            peer_address: hello.peer_address,
            attempts: hello.attempts.into_iter().map(Into::into).collect(),
            volumes: hello.volumes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = Error;

    fn try_from(hello: wire::Hello) -> Result<Self, Error> {
        // What this version does not know is left out: a newer agent may speak to an older master.
        let capabilities = hello.capabilities().filter_map(|capability| match capability {
            wire::Capability::Images => Some(Capability::Images),
            wire::Capability::Exec => Some(Capability::Exec),
            wire::Capability::Volumes => Some(Capability::Volumes),
            wire::Capability::Docker => Some(Capability::Docker),
            wire::Capability::DockerCompose => Some(Capability::DockerCompose),
            wire::Capability::Services => Some(Capability::Services),
            wire::Capability::Deployments => Some(Capability::Deployments),
            wire::Capability::Registries => Some(Capability::Registries),
            wire::Capability::Privileged => Some(Capability::Privileged),
            wire::Capability::Secrets => Some(Capability::Secrets),
            wire::Capability::Git => Some(Capability::Git),
            wire::Capability::Vault => Some(Capability::Vault),
            wire::Capability::Exclusive => Some(Capability::Exclusive),
            wire::Capability::Unspecified => None,
        });
        Ok(Self {
            capabilities: capabilities.collect(),
            version: text(hello.version, "Hello.version")?,
            capacity: required(hello.capacity, "Hello.capacity")?.into(),
            slots: hello.slots,
            facts: labels(hello.facts, "Hello.facts")?,
            peer_address: hello
                .peer_address
                .map(|address| text(address, "Hello.peer_address"))
                .transpose()?,
            attempts: hello
                .attempts
                .into_iter()
                .map(AttemptReport::try_from)
                .collect::<Result<_, _>>()?,
            volumes: hello
                .volumes
                .iter()
                .map(|name| volume(name, "Hello.volumes"))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Survey> for wire::Survey {
    fn from(survey: Survey) -> Self {
        Self {
            capacity: Some(survey.capacity.into()),
            nodes: survey.nodes.count,
            allocatable: Some(survey.nodes.allocatable.into()),
            largest: Some(survey.nodes.largest.into()),
            facts: labels_to_wire(&survey.facts),
        }
    }
}

impl TryFrom<wire::Survey> for Survey {
    type Error = Error;

    fn try_from(survey: wire::Survey) -> Result<Self, Error> {
        Ok(Self {
            capacity: required(survey.capacity, "Survey.capacity")?.into(),
            nodes: Nodes {
                count: survey.nodes,
                allocatable: required(survey.allocatable, "Survey.allocatable")?.into(),
                largest: required(survey.largest, "Survey.largest")?.into(),
            },
            facts: labels(survey.facts, "Survey.facts")?,
        })
    }
}

impl From<AttemptReport> for wire::AttemptReport {
    fn from(report: AttemptReport) -> Self {
        Self {
            attempt: Some(report.attempt.into()),
            phase: Some(report.phase.into()),
        }
    }
}

impl TryFrom<wire::AttemptReport> for AttemptReport {
    type Error = Error;

    fn try_from(report: wire::AttemptReport) -> Result<Self, Error> {
        Ok(Self {
            attempt: attempt(report.attempt, "AttemptReport.attempt")?,
            phase: phase(report.phase, "AttemptReport.phase")?,
        })
    }
}
