//! From what is written to what holds.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Toleration;
use tombolo_core::name::ProjectName;
use tombolo_identity::transport::Address;

use super::{
    ClaimSection, Deadlines, DedicatedNodes, PodSecurity, ProjectSection, ProjectSettings, SandboxVolume, Section,
    Settings, SharedVolumes, VolumesSection,
};
use crate::executor::kubernetes::pod::Overlay;

/// Where a pod finds the name of its own namespace.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The longest image reference: more than any registry takes.
const IMAGE_LIMIT: usize = 1024;

/// The highest user id of Linux that is not a special value.
const HIGHEST_USER: i64 = i32::MAX as i64;

/// One setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting `kubernetes.{key}` is not valid: {reason}")]
pub struct Fault {
    /// Which, below `kubernetes`.
    pub key: String,
    /// Why, and what would be right.
    pub reason: String,
}

/// All settings that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Error(pub Vec<Fault>);

/// The namespace that this process runs in; none outside of a cluster.
pub fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string(OWN_NAMESPACE).ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.0.push(Fault {
            key: key.into(),
            reason: reason.into(),
        });
    }

    fn unless(&mut self, holds: bool, key: &str, reason: &str) {
        if !holds {
            self.add(key, reason);
        }
    }

    /// The value, or a fault and none.
    fn take<T, E: ToString>(&mut self, key: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|error| self.add(key, error.to_string())).ok()
    }
}

impl Section {
    /// Checks everything that the types alone do not hold. `own_namespace`: where jobs run if nothing else is said, see
    /// [`own_namespace`].
    ///
    /// # Errors
    /// All settings that cannot be.
    pub fn check(&self, own_namespace: Option<String>) -> Result<Settings, Error> {
        let mut faults = Faults::default();
        self.check_names(&mut faults);
        self.check_numbers(&mut faults);
        let namespace = self.namespace.clone().or(own_namespace);
        let namespace = namespace.ok_or("this process runs in no cluster that would say its own: give the name");
        let namespace = faults.take("namespace", namespace);
        let courier_address = faults.take("courier_address", Address::parse(&self.courier_address));
        let dedicated_nodes = self.dedicated_nodes.as_deref().map(parse_dedicated).transpose();
        let dedicated_nodes = faults.take("dedicated_nodes", dedicated_nodes).flatten();
        let pod_template = faults.take("pod_template", Overlay::parse(self.pod_template.as_deref()));
        let projects = self.check_projects(&mut faults);
        let whole = namespace.zip(courier_address).zip(pod_template);
        match whole {
            Some(((namespace, courier_address), pod_template)) if faults.0.is_empty() => Ok(Settings {
                namespace,
                image: self.image.clone(),
                image_pull_policy: self.image_pull_policy,
                job_image_pull_policy: self.job_image_pull_policy,
                courier_address,
                courier_listen: self.courier_listen,
                default_resources: self.default_resources.resources(),
                maximum_resources: self.maximum_resources.map(super::Amounts::resources),
                courier_resources: self.courier_resources.resources(),
                ephemeral_storage_limit_bytes: self.ephemeral_storage_limit.0,
                ephemeral_storage_request_bytes: self.ephemeral_storage_request.0,
                sandbox_volume: self.sandbox_volume.as_ref().map(|volume| SandboxVolume {
                    storage_class: volume.storage_class.clone(),
                    maximum_bytes: volume.maximum.0,
                }),
                volumes: self.volumes.as_ref().map(SharedVolumes::from),
                dedicated_nodes,
                node_selector: self.node_selector.clone(),
                tolerations: self.tolerations.clone(),
                affinity: self.affinity.clone(),
                priority_class: self.priority_class.clone(),
                runtime_class: self.runtime_class.clone(),
                image_pull_secrets: self.image_pull_secrets.clone(),
                service_account: self.service_account.clone(),
                run_as_user: self.run_as_user,
                pod_security: self.pod_security,
                operating_system: self.operating_system.clone(),
                architecture: self.architecture.clone(),
                keep_finished: self.keep_finished,
                pod_template,
                deadlines: Deadlines {
                    schedule: self.schedule_deadline,
                    image_pull: self.image_pull_deadline,
                    start: self.start_deadline,
                    node_lost: self.node_lost_deadline,
                },
                termination_grace: self.termination_grace,
                insecure_registries: self.insecure_registries.clone(),
                projects,
            }),
            _ => Err(Error(faults.0)),
        }
    }

    fn check_names(&self, faults: &mut Faults) {
        let names = [
            ("namespace", self.namespace.as_ref()),
            ("priority_class", self.priority_class.as_ref()),
            ("runtime_class", self.runtime_class.as_ref()),
            ("service_account", self.service_account.as_ref()),
            (
                "sandbox_volume.storage_class",
                self.sandbox_volume
                    .as_ref()
                    .and_then(|volume| volume.storage_class.as_ref()),
            ),
        ];
        let classes = self.volumes.iter().flat_map(|volumes| {
            [
                ("volumes.shared.storage_class", volumes.shared.storage_class.as_ref()),
                (
                    "volumes.workspace.storage_class",
                    volumes.workspace.storage_class.as_ref(),
                ),
            ]
        });
        let secrets = self
            .image_pull_secrets
            .iter()
            .map(|name| ("image_pull_secrets", Some(name)));
        for (key, name) in names.into_iter().chain(classes).chain(secrets) {
            if let Some(name) = name {
                faults.unless(is_object_name(name), key, OBJECT_NAME_RULE);
            }
        }
        faults.unless(
            is_image(&self.image),
            "image",
            "it is not the reference of an image: `registry/name:tag`",
        );
        for (key, value) in &self.node_selector {
            let right = is_label_key(key) && is_label_value(value);
            faults.unless(
                right,
                "node_selector",
                "a key or value is not one that labels of nodes can have",
            );
        }
        for (key, value) in [
            ("operating_system", Some(&self.operating_system)),
            ("architecture", self.architecture.as_ref()),
        ] {
            let right = value.is_none_or(|value| !value.is_empty() && is_label_value(value));
            faults.unless(right, key, "it is not a value that labels of nodes can have");
        }
        faults.unless(
            self.operating_system == "linux",
            "operating_system",
            "only `linux` works: the supervisor is a program for Linux",
        );
        for toleration in &self.tolerations {
            if let Some(reason) = toleration_fault(toleration) {
                faults.add("tolerations", reason);
            }
        }
        for registry in &self.insecure_registries {
            let right = !registry.is_empty() && !registry.contains('/');
            faults.unless(
                right,
                "insecure_registries",
                "an entry is `host` or `host:port`, without a scheme",
            );
        }
    }

    fn check_numbers(&self, faults: &mut Faults) {
        // Where there are none, none is too small.
        let claim = |which: fn(&VolumesSection) -> &ClaimSection| {
            let section = self.volumes.as_ref().map(which);
            section.map_or(u64::MAX, |claim| claim.size.0)
        };
        for (key, number) in [
            ("default_resources.cpu_milli", self.default_resources.cpu_milli),
            ("default_resources.memory", self.default_resources.memory.0),
            ("courier_resources.cpu_milli", self.courier_resources.cpu_milli),
            ("courier_resources.memory", self.courier_resources.memory.0),
            ("ephemeral_storage_limit", self.ephemeral_storage_limit.0),
            ("volumes.shared.size", claim(|volumes| &volumes.shared)),
            ("volumes.workspace.size", claim(|volumes| &volumes.workspace)),
        ] {
            faults.unless(number > 0, key, "it is 0");
        }
        for (key, duration) in [
            ("schedule_deadline", self.schedule_deadline),
            ("image_pull_deadline", self.image_pull_deadline),
            ("start_deadline", self.start_deadline),
            ("node_lost_deadline", self.node_lost_deadline),
            ("termination_grace", self.termination_grace),
        ] {
            faults.unless(duration >= Duration::from_secs(1), key, "it is less than a second");
            faults.unless(duration <= LONGEST, key, "it is more than 30 days");
        }
        faults.unless(
            self.keep_finished <= LONGEST,
            "keep_finished",
            "it is more than 30 days",
        );
        faults.unless(
            self.ephemeral_storage_request <= self.ephemeral_storage_limit,
            "ephemeral_storage_request",
            "it is more than `ephemeral_storage_limit`",
        );
        if let Some(volume) = &self.sandbox_volume {
            faults.unless(
                volume.maximum >= self.ephemeral_storage_limit,
                "sandbox_volume.maximum",
                "it is less than `ephemeral_storage_limit`",
            );
        }
        if let Some(maximum) = self.maximum_resources {
            faults.unless(
                maximum.resources().fits(&self.default_resources.resources()),
                "maximum_resources",
                "it has no room for `default_resources`",
            );
        }
        check_user(faults, "run_as_user", self.run_as_user, self.pod_security);
    }

    fn check_projects(&self, faults: &mut Faults) -> BTreeMap<ProjectName, ProjectSettings> {
        let mut projects = BTreeMap::new();
        for (name, project) in &self.projects {
            let key = format!("projects.{name}");
            let ProjectSection {
                namespace,
                pod_security,
                run_as_user,
            } = project;
            if namespace.as_deref().is_some_and(|name| !is_object_name(name)) {
                faults.add(format!("{key}.namespace"), OBJECT_NAME_RULE);
            }
            let level = pod_security.unwrap_or(self.pod_security);
            check_user(faults, &format!("{key}.run_as_user"), *run_as_user, level);
            let settings = ProjectSettings {
                namespace: namespace.clone(),
                pod_security: *pod_security,
                run_as_user: *run_as_user,
            };
            if let Some(name) = faults.take(&key, ProjectName::new(name)) {
                projects.insert(name, settings);
            }
        }
        projects
    }
}

/// Longer waits are mistakes, and would overflow what Kubernetes counts seconds in.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

const OBJECT_NAME_RULE: &str =
    "a name has 1 to 253 of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit";

fn check_user(faults: &mut Faults, key: &str, user: Option<i64>, level: PodSecurity) {
    let Some(user) = user else { return };
    let in_range = (0..=HIGHEST_USER).contains(&user);
    faults.unless(in_range, key, "it is not a user id: 0 to 2147483647");
    let allowed = user != 0 || level == PodSecurity::Baseline;
    faults.unless(
        allowed,
        key,
        "it is root, which the level `restricted` of `pod_security` forbids",
    );
}

fn parse_dedicated(text: &str) -> Result<DedicatedNodes, &'static str> {
    match text.split_once('=') {
        Some((key, value)) if is_label_key(key) && is_label_value(value) => Ok(DedicatedNodes {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("it must be `key=value`, a label and taint that the nodes have"),
    }
}

fn toleration_fault(toleration: &Toleration) -> Option<&'static str> {
    let Toleration {
        effect,
        key,
        operator,
        value,
        ..
    } = toleration;
    match operator.as_deref() {
        None | Some("Equal") if key.as_deref().is_none_or(str::is_empty) => {
            Some("a toleration without a key needs the operator `Exists`")
        }
        Some("Exists") if value.as_deref().is_some_and(|value| !value.is_empty()) => {
            Some("a toleration with the operator `Exists` has no value")
        }
        None | Some("Equal" | "Exists") => match effect.as_deref() {
            None | Some("" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") => None,
            Some(_) => Some("the effect of a toleration is `NoSchedule`, `PreferNoSchedule` or `NoExecute`"),
        },
        Some(_) => Some("the operator of a toleration is `Equal` or `Exists`"),
    }
}

/// The names that most objects of Kubernetes have: DNS subdomains.
fn is_object_name(name: &str) -> bool {
    let part = |part: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        edge(part.as_bytes().first())
            && edge(part.as_bytes().last())
            && part
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn is_image(image: &str) -> bool {
    !image.is_empty() && image.len() <= IMAGE_LIMIT && image.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = key
        .rsplit_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(is_object_name) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(value: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    value.len() <= 63
        && edge(value.as_bytes().first())
        && edge(value.as_bytes().last())
        && value
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
}
