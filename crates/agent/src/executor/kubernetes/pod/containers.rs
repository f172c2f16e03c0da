//! The three containers of a pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Capabilities, Container, EnvVar, ResourceRequirements, SecurityContext, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tombolo_core::resources::Resources;

use super::{COURIER, Facts, INSTALL, JOB, SANDBOX, SYSTEM, TOKEN};
use crate::executor::kubernetes::settings::{PodSecurity, PullPolicy, Settings};

/// Where the program is in its own image.
const PROGRAM: &str = "/tombolo";
/// Where the volume with the supervisor and its socket is, in all containers.
pub(super) const SYSTEM_FOLDER: &str = "/run/tombolo";
/// Where the program is in all containers, once it was installed.
pub(in crate::executor::kubernetes) const PROGRAM_IN_POD: &str = "/run/tombolo/tombolo";
/// What the job's container runs.
const SUPERVISE: [&str; 3] = [PROGRAM_IN_POD, "supervise", "--pod"];
/// Where the sandbox is in the job's container, by both of its names.
pub(super) const SANDBOX_FOLDERS: [&str; 2] = ["/tombolo", "/infrabox"];
/// Where the token is in the courier's container.
pub(super) const TOKEN_FOLDER: &str = "/var/run/secrets/tombolo";
/// The user of our own containers: `nobody` of most images.
pub(in crate::executor::kubernetes) const OWN_USER: u32 = 65532;

/// The most that a courier may use: it holds a few chunks at a time.
const COURIER_LIMIT: Resources = Resources {
    cpu_milli: 1000,
    memory_bytes: 256 * 1024 * 1024,
};
/// What our own containers may write outside of the volumes: nothing much.
const OWN_STORAGE_BYTES: u64 = 64 * 1024 * 1024;

/// What the containers are made of.
pub(super) struct Shape<'shape> {
    pub(super) settings: &'shape Settings,
    pub(super) facts: &'shape Facts<'shape>,
    pub(super) user: Option<i64>,
    pub(super) level: PodSecurity,
    pub(super) resources: Resources,
    pub(super) storage_bytes: u64,
}

/// Copies the program into the volume that the job's container can run it from.
pub(super) fn install(shape: &Shape<'_>) -> Container {
    Container {
        command: Some(strings([PROGRAM, "courier", "install", SYSTEM_FOLDER])),
        volume_mounts: Some(vec![mount(SYSTEM, SYSTEM_FOLDER)]),
        ..own(shape, INSTALL)
    }
}

/// Speaks with the agent; alone has the token.
pub(super) fn courier(shape: &Shape<'_>) -> Container {
    let variable = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    };
    let token = VolumeMount {
        read_only: Some(true),
        ..mount(TOKEN, TOKEN_FOLDER)
    };
    Container {
        command: Some(strings([PROGRAM, "courier", "run"])),
        env: Some(vec![
            variable("TOMBOLO_COURIER_AGENT", shape.settings.courier_address.to_string()),
            variable("TOMBOLO_COURIER_CLUSTER", shape.facts.cluster.to_string()),
            variable("TOMBOLO_COURIER_TRUST", shape.facts.trust.to_owned()),
            variable("TOMBOLO_COURIER_TOKEN_FILE", format!("{TOKEN_FOLDER}/{TOKEN}")),
            // Its memory counts as the job's pod: what is free goes back at once.
            variable("MIMALLOC_PURGE_DELAY", "0".to_owned()),
            variable("MIMALLOC_ALLOW_THP", "0".to_owned()),
        ]),
        volume_mounts: Some(vec![mount(SYSTEM, SYSTEM_FOLDER), token]),
        ..own(shape, COURIER)
    }
}

/// The job's image under the supervisor. What the command is, and its variables, comes by the courier: variables may hold
/// secrets, and everybody who may look at pods would see them.
pub(super) fn job(shape: &Shape<'_>) -> Container {
    let mut mounts = vec![mount(SYSTEM, SYSTEM_FOLDER)];
    mounts.extend(SANDBOX_FOLDERS.map(|folder| mount(SANDBOX, folder)));
    let restricted = shape.level == PodSecurity::Restricted;
    let request = Amounts {
        resources: shape.resources,
        storage_bytes: shape.settings.ephemeral_storage_request_bytes.min(shape.storage_bytes),
    };
    let limit = Amounts {
        resources: shape.resources,
        storage_bytes: shape.storage_bytes,
    };
    Container {
        name: JOB.to_owned(),
        image: Some(shape.facts.assignment.job.image.clone()),
        image_pull_policy: Some(pull_policy(shape).as_str().to_owned()),
        command: Some(strings(SUPERVISE)),
        resources: Some(requirements(&request, &limit)),
        security_context: Some(SecurityContext {
            run_as_user: shape.user,
            ..if restricted {
                confined()
            } else {
                SecurityContext::default()
            }
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// What clones has our own image.
fn pull_policy<'a>(shape: &'a Shape<'_>) -> &'a PullPolicy {
    match shape.facts.assignment.job.repository {
        Some(_) => &shape.settings.image_pull_policy,
        None => &shape.settings.job_image_pull_policy,
    }
}

/// What our own containers have in common. They meet `restricted` whatever the job is allowed.
fn own(shape: &Shape<'_>, name: &str) -> Container {
    let request = Amounts {
        resources: shape.settings.courier_resources,
        storage_bytes: 0,
    };
    let limit = Amounts {
        resources: at_least(&COURIER_LIMIT, &shape.settings.courier_resources),
        storage_bytes: OWN_STORAGE_BYTES,
    };
    Container {
        name: name.to_owned(),
        image: Some(shape.settings.image.clone()),
        image_pull_policy: Some(shape.settings.image_pull_policy.as_str().to_owned()),
        resources: Some(requirements(&request, &limit)),
        security_context: Some(SecurityContext {
            run_as_user: Some(i64::from(OWN_USER)),
            run_as_non_root: Some(true),
            read_only_root_filesystem: Some(true),
            ..confined()
        }),
        ..Container::default()
    }
}

/// What `restricted` asks of a container.
fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(strings(["ALL"])),
        }),
        ..SecurityContext::default()
    }
}

struct Amounts {
    resources: Resources,
    storage_bytes: u64,
}

/// Both requests and limits of everything: a namespace with a quota takes no container without.
fn requirements(request: &Amounts, limit: &Amounts) -> ResourceRequirements {
    let quantities = |amounts: &Amounts| -> BTreeMap<String, Quantity> {
        [
            ("cpu", format!("{}m", amounts.resources.cpu_milli)),
            ("memory", bytes(amounts.resources.memory_bytes).0),
            ("ephemeral-storage", bytes(amounts.storage_bytes).0),
        ]
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect()
    };
    ResourceRequirements {
        requests: Some(quantities(request)),
        limits: Some(quantities(limit)),
        claims: None,
    }
}

fn at_least(limit: &Resources, request: &Resources) -> Resources {
    Resources {
        cpu_milli: limit.cpu_milli.max(request.cpu_milli),
        memory_bytes: limit.memory_bytes.max(request.memory_bytes),
    }
}

/// An amount as people would write it: Kubernetes says it in its messages as it was given.
pub(super) fn bytes(bytes: u64) -> Quantity {
    let units = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    let unit = units
        .into_iter()
        .find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
    Quantity(unit.map_or_else(|| bytes.to_string(), |(size, name)| format!("{}{name}", bytes / size)))
}

fn mount(volume: &str, folder: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: folder.to_owned(),
        ..VolumeMount::default()
    }
}

fn strings<const COUNT: usize>(texts: [&str; COUNT]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
