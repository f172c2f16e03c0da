use serde_json::{Value, json};

use super::*;
use crate::executor::kubernetes::pod::{self, sample};

fn good() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "annotations": {} },
        "spec": {
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "initContainers": [{ "name": "first", "securityContext": confined() }],
            "containers": [{ "name": "only", "securityContext": confined(), "ports": [{ "containerPort": 80 }] }],
            "volumes": [{ "name": "folder", "emptyDir": {} }],
        },
    })
}

fn confined() -> Value {
    json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } })
}

fn controls(pod: &Value, level: PodSecurity) -> Vec<&'static str> {
    let pod = serde_json::from_value(pod.clone()).unwrap();
    let mut controls: Vec<_> = check(&pod, level)
        .into_iter()
        .map(|violation| violation.control)
        .collect();
    controls.dedup();
    controls
}

/// (where, what, the controls of `baseline` that it breaks, those of `restricted`)
#[expect(clippy::too_many_lines, reason = "a table")]
fn bad() -> Vec<(&'static str, Value, &'static [&'static str], &'static [&'static str])> {
    const SPEC: &str = "/spec";
    const POD: &str = "/spec/securityContext";
    const FIRST: &str = "/spec/initContainers/0/securityContext";
    const ONLY: &str = "/spec/containers/0/securityContext";
    vec![
        (
            POD,
            json!({ "windowsOptions": { "hostProcess": true } }),
            &["HostProcess"],
            &["HostProcess"],
        ),
        (
            ONLY,
            json!({ "windowsOptions": { "hostProcess": true } }),
            &["HostProcess"],
            &["HostProcess"],
        ),
        (
            SPEC,
            json!({ "hostNetwork": true }),
            &["Host Namespaces"],
            &["Host Namespaces"],
        ),
        (
            SPEC,
            json!({ "hostPID": true }),
            &["Host Namespaces"],
            &["Host Namespaces"],
        ),
        (
            SPEC,
            json!({ "hostIPC": true }),
            &["Host Namespaces"],
            &["Host Namespaces"],
        ),
        (
            FIRST,
            json!({ "privileged": true }),
            &["Privileged Containers"],
            &["Privileged Containers"],
        ),
        (
            ONLY,
            json!({ "capabilities": { "drop": ["ALL"], "add": ["SYS_ADMIN"] } }),
            &["Capabilities"],
            &["Capabilities"],
        ),
        (
            ONLY,
            json!({ "capabilities": { "drop": ["ALL"], "add": ["CHOWN"] } }),
            &[],
            &["Capabilities"],
        ),
        (
            ONLY,
            json!({ "capabilities": { "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] } }),
            &[],
            &[],
        ),
        (
            FIRST,
            json!({ "capabilities": { "drop": ["NET_RAW"] } }),
            &[],
            &["Capabilities"],
        ),
        (ONLY, json!({ "capabilities": null }), &[], &["Capabilities"]),
        (
            SPEC,
            json!({ "volumes": [{ "name": "root", "hostPath": { "path": "/" } }] }),
            &["HostPath Volumes"],
            &["HostPath Volumes", "Volume Types"],
        ),
        (
            SPEC,
            json!({ "volumes": [{ "name": "share", "nfs": { "server": "a", "path": "/" } }] }),
            &[],
            &["Volume Types"],
        ),
        (
            SPEC,
            json!({ "volumes": [{ "name": "claim", "persistentVolumeClaim": { "claimName": "a" } }] }),
            &[],
            &[],
        ),
        (
            "/spec/containers/0/ports/0",
            json!({ "hostPort": 80 }),
            &["Host Ports"],
            &["Host Ports"],
        ),
        (
            "/spec/containers/0",
            json!({ "livenessProbe": { "httpGet": { "host": "10.0.0.1", "port": 80 } } }),
            &["Host Probes / Lifecycle Hooks"],
            &["Host Probes / Lifecycle Hooks"],
        ),
        (
            "/spec/containers/0",
            json!({ "lifecycle": { "preStop": { "tcpSocket": { "host": "10.0.0.1", "port": 80 } } } }),
            &["Host Probes / Lifecycle Hooks"],
            &["Host Probes / Lifecycle Hooks"],
        ),
        (
            ONLY,
            json!({ "appArmorProfile": { "type": "Unconfined" } }),
            &["AppArmor"],
            &["AppArmor"],
        ),
        (
            POD,
            json!({ "appArmorProfile": { "type": "RuntimeDefault" } }),
            &[],
            &[],
        ),
        (
            "/metadata/annotations",
            json!({ "container.apparmor.security.beta.kubernetes.io/only": "unconfined" }),
            &["AppArmor"],
            &["AppArmor"],
        ),
        (
            POD,
            json!({ "seLinuxOptions": { "type": "spc_t" } }),
            &["SELinux"],
            &["SELinux"],
        ),
        (
            FIRST,
            json!({ "seLinuxOptions": { "user": "system_u" } }),
            &["SELinux"],
            &["SELinux"],
        ),
        (
            ONLY,
            json!({ "seLinuxOptions": { "role": "r" } }),
            &["SELinux"],
            &["SELinux"],
        ),
        (ONLY, json!({ "seLinuxOptions": { "type": "container_t" } }), &[], &[]),
        (
            ONLY,
            json!({ "procMount": "Unmasked" }),
            &["/proc Mount Type"],
            &["/proc Mount Type"],
        ),
        (ONLY, json!({ "procMount": "Default" }), &[], &[]),
        (
            POD,
            json!({ "seccompProfile": { "type": "Unconfined" } }),
            &["Seccomp"],
            &["Seccomp"],
        ),
        (
            FIRST,
            json!({ "seccompProfile": { "type": "Unconfined" } }),
            &["Seccomp"],
            &["Seccomp"],
        ),
        (POD, json!({ "seccompProfile": null }), &[], &["Seccomp"]),
        (
            POD,
            json!({ "sysctls": [{ "name": "kernel.msgmax", "value": "1" }] }),
            &["Sysctls"],
            &["Sysctls"],
        ),
        (
            POD,
            json!({ "sysctls": [{ "name": "net.ipv4.tcp_syncookies", "value": "1" }] }),
            &[],
            &[],
        ),
        (
            SPEC,
            json!({ "ephemeralContainers": [{ "name": "debug" }] }),
            &["Ephemeral Containers"],
            &["Ephemeral Containers"],
        ),
        (
            ONLY,
            json!({ "allowPrivilegeEscalation": true }),
            &[],
            &["Privilege Escalation"],
        ),
        (
            FIRST,
            json!({ "allowPrivilegeEscalation": null }),
            &[],
            &["Privilege Escalation"],
        ),
        (POD, json!({ "runAsNonRoot": null }), &[], &["Running as Non-root"]),
        (ONLY, json!({ "runAsNonRoot": false }), &[], &["Running as Non-root"]),
        (POD, json!({ "runAsUser": 0 }), &[], &["Running as Non-root user"]),
        (FIRST, json!({ "runAsUser": 0 }), &[], &["Running as Non-root user"]),
    ]
}

#[test]
fn a_good_pod_keeps_both_levels() {
    for level in [PodSecurity::Baseline, PodSecurity::Restricted] {
        assert_eq!(controls(&good(), level), [""; 0]);
    }
    assert_eq!(check(&Pod::default(), PodSecurity::Baseline).len(), 1);
}

#[test]
fn every_change_for_the_worse_breaks_its_control_and_no_other() {
    let mut broken = Vec::new();
    for (place, change, baseline, restricted) in bad() {
        let mut pod = good();
        let fields = pod.pointer_mut(place).unwrap().as_object_mut().unwrap();
        for (name, value) in change.as_object().unwrap() {
            fields.insert(name.clone(), value.clone());
        }
        assert_eq!(controls(&pod, PodSecurity::Baseline), baseline, "{place} {change}");
        let mut found = controls(&pod, PodSecurity::Restricted);
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, restricted, "{place} {change}");
        broken.extend(restricted);
    }
    for rule in RULES.iter().copied().flatten() {
        assert!(broken.contains(&rule.control), "no test breaks {}", rule.control);
    }
}

#[test]
fn rendered_pods_keep_their_level() {
    for (level, user) in [
        (PodSecurity::Restricted, Some(1000)),
        (PodSecurity::Restricted, None),
        (PodSecurity::Baseline, Some(0)),
        (PodSecurity::Baseline, None),
    ] {
        let settings = crate::executor::kubernetes::settings::Settings {
            pod_security: level,
            run_as_user: user,
            ..sample::settings()
        };
        let pod = sample::render(&settings).unwrap();
        assert_eq!(check(&pod, level), []);
        let restricted = check(&pod, PodSecurity::Restricted);
        match level {
            PodSecurity::Restricted => assert_eq!(restricted, []),
            // Only the job's own container may fall short.
            PodSecurity::Baseline => {
                let job = format!("container `{}`", pod::JOB);
                assert!(
                    !restricted.is_empty() && restricted.iter().all(|violation| violation.reason.starts_with(&job))
                );
            }
        }
    }
}
