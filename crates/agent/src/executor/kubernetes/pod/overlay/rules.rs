//! What an overlay must leave alone.

use serde_json::{Map, Value};
use tombolo_core::volume::VolumeKind;

use super::super::containers::{SANDBOX_FOLDERS, SYSTEM_FOLDER, TOKEN_FOLDER};
use super::super::{COURIER, INSTALL, JOB, SANDBOX, SYSTEM, TOKEN};
use crate::executor::kubernetes::names;

/// What may be laid over the job's container.
const JOB_FIELDS: [&str; 7] = [
    "name",
    "env",
    "envFrom",
    "resources",
    "securityContext",
    "volumeMounts",
    "imagePullPolicy",
];
/// What may be laid over our own containers.
const OWN_FIELDS: [&str; 3] = ["name", "resources", "imagePullPolicy"];
/// What of a specification is ours.
const OWN_SPEC: [&str; 9] = [
    "restartPolicy",
    "automountServiceAccountToken",
    "serviceAccountName",
    "serviceAccount",
    "activeDeadlineSeconds",
    "ephemeralContainers",
    // The job would see the courier's processes.
    "shareProcessNamespace",
    "hostPID",
    "hostIPC",
];
/// The volumes that jobs share, by their kinds.
const SHARED: &str = VolumeKind::Shared.as_str();
const WORKSPACE: &str = VolumeKind::Workspace.as_str();
/// What variables of ours begin with.
const OWN_VARIABLES: [&str; 2] = ["TOMBOLO_", "INFRABOX_"];

/// Everything in an overlay that is not its to say, in words.
pub(super) fn touched(overlay: &Map<String, Value>) -> Vec<String> {
    let mut touched = Vec::new();
    for (key, value) in overlay {
        match (key.as_str(), value) {
            ("apiVersion", Value::String(version)) if version == "v1" => {}
            ("kind", Value::String(kind)) if kind == "Pod" => {}
            ("metadata", Value::Object(metadata)) => check_metadata(metadata, &mut touched),
            ("spec", Value::Object(spec)) => check_spec(spec, &mut touched),
            _ => touched.push(format!("`{key}` cannot be set")),
        }
    }
    touched
}

fn check_metadata(metadata: &Map<String, Value>, touched: &mut Vec<String>) {
    for (key, value) in metadata {
        match (key.as_str(), value) {
            ("labels" | "annotations", Value::Object(entries)) => {
                let ours = |name: &&String| name.starts_with(names::PREFIX) || *name == names::MANAGED_BY;
                touched.extend(
                    entries
                        .keys()
                        .filter(ours)
                        .map(|name| format!("`metadata.{key}.{name}` is ours")),
                );
            }
            _ => touched.push(format!("`metadata.{key}` cannot be set")),
        }
    }
}

fn check_spec(spec: &Map<String, Value>, touched: &mut Vec<String>) {
    for (key, value) in spec {
        match (key.as_str(), value) {
            (key, _) if OWN_SPEC.contains(&key) => touched.push(format!("`spec.{key}` is ours")),
            ("containers" | "initContainers", Value::Array(containers)) => {
                for container in containers {
                    check_container(key, container, touched);
                }
            }
            ("volumes", Value::Array(volumes)) => {
                for volume in volumes {
                    check_volume(volume, touched);
                }
            }
            // Removed or replaced by something else, ours would be gone.
            ("containers" | "initContainers" | "volumes", _) => touched.push(format!("`spec.{key}` must be a list")),
            _ => {}
        }
    }
}

fn check_container(list: &str, container: &Value, touched: &mut Vec<String>) {
    let (Some(name), Some(fields)) = (name_of(container), container.as_object()) else {
        touched.push(format!("an item of `spec.{list}` has no name"));
        return;
    };
    let own_list = if name == INSTALL {
        "initContainers"
    } else {
        "containers"
    };
    let allowed: Option<&[&str]> = match name {
        JOB => Some(&JOB_FIELDS),
        COURIER | INSTALL => Some(&OWN_FIELDS),
        _ => None,
    };
    if allowed.is_some() && own_list != list {
        touched.push(format!("`spec.{list}` has a container named `{name}`, which is ours"));
    }
    let forbidden = |field: &&String| allowed.is_some_and(|allowed| !allowed.contains(&field.as_str()));
    let ours = fields.keys().filter(forbidden);
    touched.extend(ours.map(|field| format!("`{field}` of the container `{name}` is ours")));
    let nulls = fields.iter().filter(|(_, value)| allowed.is_some() && value.is_null());
    touched.extend(nulls.map(|(field, _)| format!("`{field}` of the container `{name}` cannot be removed")));
    for variable in items(fields, "env").filter_map(name_of) {
        if OWN_VARIABLES.iter().any(|prefix| variable.starts_with(prefix)) {
            touched.push(format!("the variable `{variable}` of the container `{name}` is ours"));
        }
    }
    for mount in items(fields, "volumeMounts") {
        let path = mount.get("mountPath").and_then(Value::as_str).unwrap_or_default();
        if name_of(mount) == Some(TOKEN) {
            touched.push(format!("the container `{name}` cannot have the volume `{TOKEN}`"));
        }
        if allowed.is_some() && is_ours(path) {
            touched.push(format!("`{path}` in the container `{name}` is ours"));
        }
    }
}

fn check_volume(volume: &Value, touched: &mut Vec<String>) {
    match name_of(volume) {
        None => touched.push("an item of `spec.volumes` has no name".to_owned()),
        Some(name @ (SANDBOX | SYSTEM | TOKEN | SHARED | WORKSPACE)) => {
            touched.push(format!("the volume `{name}` is ours"))
        }
        Some(_) => {}
    }
}

/// Whether something mounted at `path` would lie in or over one of our folders.
fn is_ours(path: &str) -> bool {
    let path = format!("{}/", path.trim_end_matches('/'));
    let ours = SANDBOX_FOLDERS.into_iter().chain([SYSTEM_FOLDER, TOKEN_FOLDER]);
    ours.map(|folder| format!("{folder}/"))
        .any(|folder| path.starts_with(&folder) || folder.starts_with(&path))
}

fn name_of(item: &Value) -> Option<&str> {
    item.get("name").and_then(Value::as_str)
}

fn items<'fields>(fields: &'fields Map<String, Value>, list: &str) -> impl Iterator<Item = &'fields Value> {
    fields.get(list).and_then(Value::as_array).into_iter().flatten()
}
