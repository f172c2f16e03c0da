use serde_json::json;

use super::super::{Facts, render, sample};
use super::*;
use crate::executor::kubernetes::settings::Settings;

fn rendered(overlay: &str) -> Pod {
    let settings = Settings {
        pod_template: Overlay::parse(Some(overlay)).unwrap(),
        ..sample::settings()
    };
    let (assignment, job, cluster) = (sample::assignment(), sample::job(), sample::cluster());
    let facts = Facts {
        cluster: &cluster,
        assignment: &assignment,
        job: &job,
        image: None,
        trust: "PEM",
    };
    render(&settings, &facts).unwrap()
}

#[test]
fn it_adds_and_changes() {
    let pod = rendered(
        "metadata: {labels: {team: a}}\n\
         spec:\n\
         \x20 dnsPolicy: Default\n\
         \x20 tolerations: [{key: gpu, operator: Exists}]\n\
         \x20 containers:\n\
         \x20 - name: job\n\
         \x20   env: [{name: PROXY, value: here}]\n\
         \x20   resources: {limits: {cpu: null, nvidia.com/gpu: '1'}}\n\
         \x20   volumeMounts: [{name: data, mountPath: /data}]\n\
         \x20 - {name: side, image: side:1, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}\n\
         \x20 volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]\n",
    );
    let plain = rendered("{}");
    assert_eq!(pod.metadata.labels.as_ref().unwrap()["team"], "a");
    let (spec, plain) = (pod.spec.unwrap(), plain.spec.unwrap());
    assert_eq!(spec.dns_policy.as_deref(), Some("Default"));
    let names: Vec<_> = spec
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(names, ["courier", "job", "side"]);
    assert_eq!(spec.containers[0], plain.containers[0]);
    let job = &spec.containers[1];
    assert_eq!(job.command, plain.containers[1].command);
    let limits = job.resources.as_ref().unwrap().limits.as_ref().unwrap();
    assert!(!limits.contains_key("cpu") && limits.contains_key("nvidia.com/gpu") && limits.contains_key("memory"));
    assert_eq!(
        job.volume_mounts.as_ref().unwrap().len(),
        plain.containers[1].volume_mounts.as_ref().unwrap().len() + 1
    );
    assert_eq!(spec.volumes.unwrap().len(), 4);
    assert_eq!(spec.tolerations.unwrap().last().unwrap().key.as_deref(), Some("gpu"));
}

#[test]
fn what_is_ours_is_left_alone() {
    for (overlay, words) in [
        ("status: {}", "`status`"),
        ("kind: Deployment", "`kind`"),
        ("metadata: {name: mine}", "`metadata.name`"),
        (
            "metadata: {labels: {tombolo.dev/job: x}}",
            "`metadata.labels.tombolo.dev/job`",
        ),
        ("metadata: {labels: {app.kubernetes.io/managed-by: x}}", "managed-by"),
        ("metadata: {labels: null}", "`metadata.labels`"),
        ("spec: {restartPolicy: Always}", "`spec.restartPolicy`"),
        (
            "spec: {automountServiceAccountToken: true}",
            "automountServiceAccountToken",
        ),
        ("spec: {containers: null}", "`spec.containers`"),
        ("spec: {volumes: null}", "`spec.volumes`"),
        ("spec: {containers: [{name: job, command: [sh]}]}", "`command`"),
        ("spec: {containers: [{name: job, image: other}]}", "`image`"),
        (
            "spec: {containers: [{name: job, volumeMounts: null}]}",
            "`volumeMounts`",
        ),
        ("spec: {containers: [{name: courier, env: []}]}", "`env`"),
        (
            "spec: {containers: [{name: job, env: [{name: TOMBOLO_JOB, value: x}]}]}",
            "`TOMBOLO_JOB`",
        ),
        (
            "spec: {containers: [{name: job, volumeMounts: [{name: token, mountPath: /x}]}]}",
            "`token`",
        ),
        (
            "spec: {containers: [{name: side, volumeMounts: [{name: token, mountPath: /x}]}]}",
            "`token`",
        ),
        (
            "spec: {containers: [{name: job, volumeMounts: [{name: x, mountPath: /tombolo/output}]}]}",
            "`/tombolo/output`",
        ),
        (
            "spec: {containers: [{name: job, volumeMounts: [{name: x, mountPath: /run/}]}]}",
            "`/run/`",
        ),
        ("spec: {containers: [{name: install, image: x}]}", "`install`"),
        ("spec: {initContainers: [{name: job}]}", "`job`"),
        ("spec: {initContainers: [{image: x}]}", "no name"),
        ("spec: {volumes: [{name: sandbox, hostPath: {path: /}}]}", "`sandbox`"),
        ("spec: {volumes: [{hostPath: {path: /}}]}", "no name"),
    ] {
        match Overlay::parse(Some(overlay)) {
            Err(InvalidOverlay::Touches(touched)) => {
                assert!(touched.join(", ").contains(words), "{overlay}: {touched:?}")
            }
            other => panic!("{overlay}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for overlay in ["- a", "text", "spec: [", "a: b: c"] {
        assert!(
            matches!(Overlay::parse(Some(overlay)), Err(InvalidOverlay::Syntax(_))),
            "{overlay}"
        );
    }
    let large = format!("spec: {{nodeName: {}}}", "x".repeat(LIMIT_BYTES));
    assert_eq!(Overlay::parse(Some(&large)).unwrap_err(), InvalidOverlay::TooLarge);
    assert!(Overlay::parse(Some(" \n")).unwrap().0.is_none());
}

#[test]
fn an_overlay_that_makes_no_pod_is_told() {
    let overlay = Overlay::parse(Some("spec: {terminationGracePeriodSeconds: soon}")).unwrap();
    assert!(overlay.apply(Pod::default()).is_err());
}

#[test]
fn merging() {
    for (value, overlay, expected) in [
        (json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2})),
        (
            json!({"a": {"b": 1}}),
            json!({"a": {"b": null, "c": null}}),
            json!({"a": {}}),
        ),
        (json!({}), json!({"a": {"b": null}}), json!({"a": {}})),
        (json!({"args": [1]}), json!({"args": [2]}), json!({"args": [2]})),
        (
            json!({"tolerations": [1]}),
            json!({"tolerations": [2]}),
            json!({"tolerations": [1, 2]}),
        ),
        (
            json!({"env": [{"name": "a", "value": 1}]}),
            json!({"env": [{"name": "a", "value": 2}, {"name": "b"}]}),
            json!({"env": [{"name": "a", "value": 2}, {"name": "b"}]}),
        ),
    ] {
        let mut merged = value.clone();
        merge::merge(&mut merged, &overlay, "");
        assert_eq!(merged, expected, "{value} + {overlay}");
    }
}
