//! The pod of an attempt, and the secret with its token: pure functions from settings and assignment.

mod containers;
mod overlay;
mod placement;
#[cfg(test)]
pub(crate) mod sample;
mod sandbox;
mod token;
mod volumes;

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    LocalObjectReference, Pod, PodSecurityContext, PodSpec, SeccompProfile, SecretVolumeSource, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tombolo_core::attempt::Assignment;
use tombolo_core::name::ClusterName;
use tombolo_core::volume::VolumeKind;

pub(super) use self::containers::{OWN_USER, PROGRAM_IN_POD};
pub use self::overlay::{InvalidOverlay, Overlay};
use self::sandbox::Sandbox;
pub use self::token::{Unowned, token_secret};
pub use self::volumes::claim;
use super::security::{self, Violation};
use super::settings::{JobSettings, PodSecurity, Settings};
use super::{entrypoint, names};

/// The container that copies this program to where the job's container can run it.
pub const INSTALL: &str = "install";
/// The container that speaks with the agent.
pub const COURIER: &str = "courier";
/// The container of the job's image.
pub const JOB: &str = "job";

/// The volume that the job works in.
const SANDBOX: &str = "sandbox";
/// The volume with the supervisor, and the socket between it and the courier.
const SYSTEM: &str = "system";
/// The volume with the courier's token.
const TOKEN: &str = "token";

/// How much the volume with the supervisor may hold: the program several times over.
const SYSTEM_BYTES: u64 = 256 * 1024 * 1024;

/// What an output may take to be shipped, beside the command's own timeout: a bound for when nobody else is left to end a pod.
const SHIPPING: Duration = Duration::from_secs(2 * 3600);

/// What a pod is made of, beside the settings.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'facts> {
    /// The cluster that it is for.
    pub cluster: &'facts ClusterName,
    /// The attempt that it is for.
    pub assignment: &'facts Assignment,
    /// What the job asks for.
    pub job: &'facts JobSettings,
    /// What the job's image says of itself, if it was looked up.
    pub image: Option<&'facts entrypoint::Image>,
    /// The certificates (PEM) by which the courier knows the agent. Public.
    pub trust: &'facts str,
}

/// Why a job gets no pod here. It is the fault of the job or of the cluster's settings, and trying again does not help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It asks for more than it may.
    #[error("{0}: ask for less, or have `kubernetes.maximum_resources` raised")]
    TooMuch(String),
    /// It writes more than it may.
    #[error(
        "the job needs {asked_bytes} bytes of storage (its inputs alone have {inputs_bytes}), and this cluster gives one job at \
         most {limit_bytes}: have `kubernetes.ephemeral_storage_limit` raised, or `kubernetes.sandbox_volume` set"
    )]
    TooMuchStorage {
        /// What it needs.
        asked_bytes: u64,
        /// What of that its inputs need.
        inputs_bytes: u64,
        /// What there is.
        limit_bytes: u64,
    },
    /// It works with a volume, and there are none.
    #[error(
        "the job works with the volume `{0}`, and this cluster keeps none: let its agent have a section `kubernetes.volumes`"
    )]
    NoVolumes(VolumeKind),
    /// `restricted` pods need a user.
    #[error(
        "the image {image} runs as {user}, and jobs of the project `{project}` must not run as root or as a user without a number: \
         build the image with a numeric USER, set `kubernetes.run_as_user`, or allow the project `pod_security = \"baseline\"`"
    )]
    User {
        /// The job's image.
        image: String,
        /// Its user.
        user: String,
        /// The job's project.
        project: String,
    },
    /// The pod would be allowed more than the project's level of Pod Security.
    #[error("the pod breaks the level `{}` of Pod Security: {}", level.as_str(), words(violations))]
    Security {
        /// The level.
        level: PodSecurity,
        /// Where it breaks it.
        violations: Vec<Violation>,
    },
    /// The overlay makes it something that is not a pod.
    #[error("`kubernetes.pod_template` does not fit a pod: {0}")]
    Template(String),
}

fn words(violations: &[Violation]) -> String {
    violations
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The pod of an attempt: always the same for the same arguments. It keeps the project's level of Pod Security.
///
/// # Errors
/// See [`Error`].
pub fn render(settings: &Settings, facts: &Facts<'_>) -> Result<Pod, Error> {
    let project = &facts.assignment.build.project_name;
    let level = settings.pod_security_of(project);
    let user = user_of(settings, facts, level)?;
    let resources = settings.resources_of(facts.job).map_err(Error::TooMuch)?;
    let sandbox = Sandbox::new(settings, facts.job, facts.assignment)?;
    let shape = containers::Shape {
        settings,
        facts,
        user,
        level,
        resources,
        storage_bytes: sandbox.node_bytes,
    };
    let group = sandbox.group(user, &facts.assignment.job.volumes);
    let metadata = ObjectMeta {
        name: Some(names::pod_name(facts.assignment.attempt)),
        namespace: Some(settings.namespace_of(project).to_owned()),
        labels: Some(names::labels(facts.cluster, facts.assignment)),
        annotations: Some(names::annotations(facts.assignment)),
        ..ObjectMeta::default()
    };
    let spec = PodSpec {
        init_containers: Some(vec![containers::install(&shape)]),
        containers: vec![containers::courier(&shape), containers::job(&shape)],
        volumes: Some(own_volumes(facts, sandbox.volume(settings, facts))),
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: settings.service_account.clone(),
        priority_class_name: settings.priority_class.clone(),
        runtime_class_name: settings.runtime_class.clone(),
        image_pull_secrets: pull_secrets(settings),
        termination_grace_period_seconds: Some(seconds(settings.termination_grace)),
        active_deadline_seconds: Some(seconds(lifetime(settings, facts.assignment))),
        security_context: Some(PodSecurityContext {
            run_as_non_root: (level == PodSecurity::Restricted).then_some(true),
            fs_group: group,
            // What is in a claim jobs made themselves: it need not be gone through at every mount.
            fs_group_change_policy: group.map(|_| "OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..placement::place(settings, facts.job)
    };
    let mut pod = Pod {
        metadata,
        spec: Some(spec),
        status: None,
    };
    volumes::add(&mut pod, settings, facts)?;
    let pod = settings
        .pod_template
        .apply(pod)
        .map_err(|error| Error::Template(error.to_string()))?;
    let violations = security::check(&pod, level);
    if violations.is_empty() {
        Ok(pod)
    } else {
        Err(Error::Security { level, violations })
    }
}

/// How many bytes the volume that a job works in holds.
///
/// # Errors
/// [`Error::TooMuchStorage`].
pub fn sandbox_bytes(settings: &Settings, job: &JobSettings, assignment: &Assignment) -> Result<u64, Error> {
    let sandbox = Sandbox::new(settings, job, assignment)?;
    Ok(sandbox.claim_bytes.unwrap_or(sandbox.node_bytes))
}

/// Why there is no room for the cache that the job could start from, if there is none.
pub fn obstacle_to_cache(settings: &Settings, job: &JobSettings, assignment: &Assignment) -> Option<String> {
    let error = Sandbox::with_cache(settings, job, assignment).err()?;
    Some(error.to_string())
}

/// The longest that a pod may live.
pub fn lifetime(settings: &Settings, assignment: &Assignment) -> Duration {
    let waits = settings.deadlines.start + SHIPPING + settings.termination_grace;
    assignment.job.timeout.saturating_add(waits)
}

/// The user that the job's container runs as; none for the image's own.
fn user_of(settings: &Settings, facts: &Facts<'_>, level: PodSecurity) -> Result<Option<i64>, Error> {
    let project = &facts.assignment.build.project_name;
    let refused = |user: String| Error::User {
        image: facts.assignment.job.image.clone(),
        user,
        project: project.to_string(),
    };
    let given = settings.run_as_user_of(project, facts.job);
    match (given, facts.image) {
        (Some(0), _) if level == PodSecurity::Restricted => Err(refused("root".to_owned())),
        (None, Some(image))
            if level == PodSecurity::Restricted && image.numeric_user().is_none_or(|user| user == 0) =>
        {
            Err(refused(image.user_in_words()))
        }
        _ => Ok(given),
    }
}

fn own_volumes(facts: &Facts<'_>, sandbox: Volume) -> Vec<Volume> {
    let system = Volume {
        name: SYSTEM.to_owned(),
        empty_dir: Some(sandbox::empty(SYSTEM_BYTES)),
        ..Volume::default()
    };
    let token = Volume {
        name: TOKEN.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(names::pod_name(facts.assignment.attempt)),
            // The courier is not root, and nobody else mounts it.
            default_mode: Some(0o444),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    vec![sandbox, system, token]
}

fn pull_secrets(settings: &Settings) -> Option<Vec<LocalObjectReference>> {
    let reference = |name: &String| LocalObjectReference { name: name.clone() };
    let secrets: Vec<_> = settings.image_pull_secrets.iter().map(reference).collect();
    (!secrets.is_empty()).then_some(secrets)
}

fn seconds(duration: Duration) -> i64 {
    // What Kubernetes takes is a signed 32-bit number.
    i64::from(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)).max(1)
}

#[cfg(test)]
mod tests;
