//! The names that job files know: the types of jobs, and which fields each has.

use std::fmt;

use crate::fault::{Complaint, nearest, quote};

/// A type of job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobType {
    Docker,
    Image,
    Compose,
    Git,
    Workflow,
    Wait,
}

impl JobType {
    pub(crate) const ALL: [Self; 6] = [
        Self::Image,
        Self::Docker,
        Self::Compose,
        Self::Git,
        Self::Workflow,
        Self::Wait,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Image => "docker-image",
            Self::Compose => "docker-compose",
            Self::Git => "git",
            Self::Workflow => "workflow",
            Self::Wait => "wait",
        }
    }

    /// The fields that a job of this type must have beside its type and name, and what to say if one is missing.
    pub(crate) const fn required(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Docker => &[("docker_file", "name the file that the image is built from")],
            Self::Image => &[("image", "name the container image that the command runs in")],
            Self::Compose => &[("docker_compose_file", "name the compose file")],
            Self::Git => &[
                ("clone_url", "say what to clone"),
                ("commit", "say which commit, branch or tag"),
            ],
            Self::Workflow => &[("infrabox_file", "name the job file to run in this place")],
            Self::Wait => &[],
        }
    }
}

impl fmt::Display for JobType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

const ALL: &[JobType] = &JobType::ALL;
const RUN: &[JobType] = &[JobType::Docker, JobType::Image, JobType::Compose];
const RUN_OR_CLONE: &[JobType] = &[JobType::Docker, JobType::Image, JobType::Compose, JobType::Git];
const RUN_OR_WORKFLOW: &[JobType] = &[JobType::Docker, JobType::Image, JobType::Compose, JobType::Workflow];
const CONTAINER: &[JobType] = &[JobType::Docker, JobType::Image];
const BUILT: &[JobType] = &[JobType::Docker, JobType::Compose];
const DOCKER: &[JobType] = &[JobType::Docker];
const IMAGE: &[JobType] = &[JobType::Image];
const COMPOSE: &[JobType] = &[JobType::Compose];
const GIT: &[JobType] = &[JobType::Git];
const INCLUDES: &[JobType] = &[JobType::Workflow, JobType::Git];

/// The fields of jobs, and the types that have them.
pub(crate) const FIELDS: [(&str, &[JobType]); 43] = [
    ("type", ALL),
    ("name", ALL),
    ("depends_on", ALL),
    ("image", IMAGE),
    ("command", CONTAINER),
    ("environment", RUN_OR_CLONE),
    ("timeout", RUN_OR_CLONE),
    ("timeouts", RUN_OR_CLONE),
    ("resources", RUN_OR_CLONE),
    ("cluster", RUN_OR_CLONE),
    ("matrix", RUN),
    ("count", RUN),
    ("parallel", RUN),
    ("priority", RUN_OR_CLONE),
    ("retry", RUN_OR_CLONE),
    ("on_disconnect", RUN),
    ("exclusive", RUN),
    ("cache", RUN),
    ("inputs", RUN),
    ("outputs", RUN_OR_CLONE),
    ("volumes", IMAGE),
    ("kubernetes", IMAGE),
    ("repository", RUN_OR_WORKFLOW),
    ("registries", RUN),
    ("deployments", CONTAINER),
    ("services", CONTAINER),
    ("security_context", CONTAINER),
    ("build_context", CONTAINER),
    ("run", IMAGE),
    ("docker_file", DOCKER),
    ("build_only", DOCKER),
    ("build_arguments", DOCKER),
    ("target", DOCKER),
    ("enable_docker_build_kit", BUILT),
    ("docker_compose_file", COMPOSE),
    ("compose_profiles", COMPOSE),
    ("stop_timeout", COMPOSE),
    ("parallel_build", COMPOSE),
    ("infrabox_file", INCLUDES),
    ("clone_url", GIT),
    ("commit", GIT),
    ("branch", GIT),
    ("credentials", GIT),
];

/// The fields of jobs that InfraBox has not.
const OWN: [&str; 13] = [
    "timeouts",
    "matrix",
    "count",
    "parallel",
    "priority",
    "retry",
    "on_disconnect",
    "exclusive",
    "inputs",
    "outputs",
    "volumes",
    "kubernetes",
    "credentials",
];

/// Whether only our own files have this field of jobs.
pub(super) fn is_own(field: &str) -> bool {
    OWN.contains(&field)
}

/// What to say of a field, or a form of one, in a file that follows InfraBox's rules, which do not have it.
pub(super) fn not_of_infrabox(what: &str) -> Complaint {
    Complaint::new(format!("InfraBox's job files have no {what}"))
        .hint("rename the file, to `tombolo.yaml` for example: all that InfraBox's files say can be said there, too")
}

/// The field as it is known, and the types that have it.
pub(super) fn known(field: &str) -> Option<(&'static str, &'static [JobType])> {
    FIELDS.into_iter().find(|(name, _)| *name == field)
}

/// What to say of a field of a job that only jobs of other types have.
pub(super) fn foreign(field: &str, own: JobType, types: &[JobType]) -> Complaint {
    let types = listed(types.iter().map(|of| of.as_str()));
    Complaint::new(format!(
        "the field {} belongs to jobs of type {types}, and this one is of type `{own}`",
        quote(field)
    ))
    .hint("leave it out")
}

/// What to say of a field of a job that none has.
pub(super) fn unknown_of_job(field: &str) -> Complaint {
    unknown(field, FIELDS.iter().map(|(name, _)| *name))
}

/// What to say of a field that is not among `known`.
pub(super) fn unknown<'a>(field: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Complaint {
    let complaint = Complaint::new(format!("unknown field {}", quote(field)));
    match nearest(field, known.clone()) {
        Some(name) => complaint.hint(format!("did you mean `{name}`?")),
        None => complaint.hint(format!("known here are {}", listed(known))),
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
