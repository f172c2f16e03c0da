//! The names that job files know, including those of InfraBox that this version does not act on.

use crate::fault::{Complaint, nearest, quote};

/// The type of job that this version runs.
pub(super) const IMAGE_TYPE: &str = "docker-image";

/// InfraBox's other types of job.
pub(super) const OTHER_TYPES: [&str; 5] = ["docker", "docker-compose", "git", "workflow", "wait"];

/// The fields of a job that this version acts on.
pub(super) const JOB_FIELDS: [&str; 13] = [
    "type",
    "name",
    "image",
    "command",
    "depends_on",
    "environment",
    "timeout",
    "resources",
    "cluster",
    "priority",
    "volumes",
    "cache",
    "kubernetes",
];

/// The fields of `docker-image` jobs that InfraBox knows and this version does not act on.
const LATER_FIELDS: [&str; 7] = [
    "repository",
    "registries",
    "deployments",
    "services",
    "security_context",
    "build_context",
    "run",
];

/// InfraBox's fields that jobs of other types have, and which types these are.
const FOREIGN_FIELDS: [(&str, &str); 13] = [
    ("docker_file", "`docker`"),
    ("docker_compose_file", "`docker-compose`"),
    ("infrabox_file", "`workflow` and `git`"),
    ("clone_url", "`git`"),
    ("commit", "`git`"),
    ("branch", "`git`"),
    ("build_only", "`docker`"),
    ("build_arguments", "`docker`"),
    ("target", "`docker`"),
    ("enable_docker_build_kit", "`docker` and `docker-compose`"),
    ("compose_profiles", "`docker-compose`"),
    ("stop_timeout", "`docker-compose`"),
    ("parallel_build", "`docker-compose`"),
];

/// What a field of a job is that this version does not act on.
pub(super) enum Unsupported {
    /// Nobody knows it.
    Unknown(Complaint),
    /// InfraBox knows it.
    Known(Complaint),
}

/// What to say of a field of a job that is not among [`JOB_FIELDS`].
pub(super) fn unsupported(field: &str) -> Unsupported {
    if LATER_FIELDS.contains(&field) {
        let message = format!(
            "the field {} is known, but this version does not support it yet",
            quote(field)
        );
        return Unsupported::Known(Complaint::new(message).hint("leave it out"));
    }
    match FOREIGN_FIELDS.iter().find(|(name, _)| *name == field) {
        Some((_, types)) => Unsupported::Known(Complaint::new(format!(
            "the field {} is known, but belongs to jobs of type {types}, which this version does not run yet",
            quote(field)
        ))),
        None => {
            let known = JOB_FIELDS
                .into_iter()
                .chain(LATER_FIELDS)
                .chain(FOREIGN_FIELDS.iter().map(|(name, _)| *name));
            Unsupported::Unknown(unknown(field, known))
        }
    }
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
