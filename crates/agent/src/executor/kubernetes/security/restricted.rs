//! What pods without special trust must keep as well.

use serde_json::Value;

use super::baseline::{foreign, is_confining};
use super::{Rule, Subject};
use crate::executor::kubernetes::settings::PodSecurity;

const fn rule(control: &'static str, check: fn(&Subject<'_>) -> Vec<String>) -> Rule {
    Rule {
        control,
        level: PodSecurity::Restricted,
        check,
    }
}

pub(super) const RULES: &[Rule] = &[
    rule("Volume Types", volume_types),
    rule("Privilege Escalation", privilege_escalation),
    rule("Running as Non-root", non_root),
    rule("Running as Non-root user", non_root_user),
    rule("Seccomp", seccomp),
    rule("Capabilities", capabilities),
];

const VOLUME_TYPES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volume_types(subject: &Subject<'_>) -> Vec<String> {
    let volumes = subject.spec.volumes.iter().flatten();
    // By the fields of its JSON: a kind that the standard does not name must not slip through because this program does not
    // either.
    let foreign = volumes.filter_map(|volume| {
        let fields = match serde_json::to_value(volume) {
            Ok(Value::Object(fields)) => fields,
            _ => return Some(format!("the volume `{}` cannot be read", volume.name)),
        };
        let mut kinds = fields.keys().filter(|field| field.as_str() != "name");
        let kind = kinds.find(|kind| !VOLUME_TYPES.contains(&kind.as_str()))?;
        Some(format!("the volume `{}` is of the kind `{kind}`", volume.name))
    });
    foreign.collect()
}

fn privilege_escalation(subject: &Subject<'_>) -> Vec<String> {
    subject.each(|_, context| {
        let forbidden = context.is_some_and(|context| context.allow_privilege_escalation == Some(false));
        (!forbidden).then(|| "`allowPrivilegeEscalation` is not false".to_owned())
    })
}

fn non_root(subject: &Subject<'_>) -> Vec<String> {
    let of_pod = subject.pod_context().and_then(|context| context.run_as_non_root);
    subject.each(|_, context| {
        let own = context.and_then(|context| context.run_as_non_root);
        (own.or(of_pod) != Some(true)).then(|| "`runAsNonRoot` is not true".to_owned())
    })
}

fn non_root_user(subject: &Subject<'_>) -> Vec<String> {
    let root = |user: Option<i64>| (user == Some(0)).then(|| "it runs as root".to_owned());
    let of_pod = root(subject.pod_context().and_then(|context| context.run_as_user));
    let each = subject.each(|_, context| root(context?.run_as_user));
    of_pod.into_iter().chain(each).collect()
}

fn seccomp(subject: &Subject<'_>) -> Vec<String> {
    let of_pod = subject
        .pod_context()
        .and_then(|context| context.seccomp_profile.as_ref());
    subject.each(|_, context| {
        let own = context.and_then(|context| context.seccomp_profile.as_ref());
        let confined = own.or(of_pod).is_some_and(|profile| is_confining(&profile.type_));
        (!confined).then(|| "it has no seccomp profile".to_owned())
    })
}

fn capabilities(subject: &Subject<'_>) -> Vec<String> {
    subject.each(|_, context| {
        let capabilities = context.and_then(|context| context.capabilities.as_ref());
        let mut dropped = capabilities
            .and_then(|capabilities| capabilities.drop.as_ref())
            .into_iter()
            .flatten();
        if !dropped.any(|capability| capability == "ALL") {
            return Some("it does not drop the capabilities `ALL`".to_owned());
        }
        foreign(capabilities?, &["NET_BIND_SERVICE"])
    })
}
