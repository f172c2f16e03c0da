use serde_json::{Value, json};

use super::error::Answer;
use super::*;
use crate::executor::kubernetes::pod::sample;
use crate::executor::kubernetes::settings::DedicatedNodes;

fn answer(status: Value, right: &Right) -> Result<Error, Option<Duration>> {
    let status = serde_json::from_value(status).unwrap();
    match Answer::new(kube::Error::Api(Box::new(status)), right) {
        Answer::Final(error) => Ok(error),
        Answer::Later { pause, .. } => Err(pause),
    }
}

/// As Kubernetes 1.20 answers.
#[test]
fn refusals_are_told_apart() {
    let right = Right::namespaced("create", "pods", "facts");
    let refused = |code: u16, reason: &str, message: &str| {
        answer(
            json!({ "kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code }),
            &right,
        )
    };
    let quota = "pods \"toobig\" is forbidden: exceeded quota: q, requested: requests.cpu=2, used: requests.cpu=0, limited: requests.cpu=1";
    assert!(matches!(refused(403, "Forbidden", quota), Ok(Error::Quota { message }) if message == quota));
    let denied = "pods is forbidden: User \"system:serviceaccount:facts:nobody\" cannot create resource \"pods\" in API group \"\" in \
        the namespace \"facts\"";
    let said = refused(403, "Forbidden", denied).unwrap().to_string();
    for words in [
        "create pods in the namespace `facts`",
        "{apiGroups: [\"\"], resources: [\"pods\"], verbs: [\"create\"]}",
        "nobody",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let policy = "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": privileged";
    assert!(matches!(refused(403, "Forbidden", policy), Ok(Error::Rejected { .. })));
    assert!(matches!(
        refused(422, "Invalid", "Pod \"BAD\" is invalid"),
        Ok(Error::Rejected { .. })
    ));
    assert!(matches!(
        refused(409, "AlreadyExists", "pods \"a\" already exists"),
        Ok(Error::Exists)
    ));
    let namespace = refused(404, "NotFound", "namespaces \"facts\" not found")
        .unwrap()
        .to_string();
    assert!(namespace.contains("kubernetes.namespace"), "{namespace}");
    for (code, reason, message) in [
        (409, "Conflict", "Operation cannot be fulfilled on resourcequotas \"q\""),
        (
            403,
            "Forbidden",
            "pods \"a\" is forbidden: error looking up service account facts/default",
        ),
        (429, "TooManyRequests", "slow down"),
        (500, "InternalError", "etcdserver: leader changed"),
        (503, "ServiceUnavailable", "no"),
        (504, "Timeout", "too long"),
    ] {
        assert!(
            refused(code, reason, message).is_err_and(|pause| pause.is_none()),
            "{code} {message}"
        );
    }
    let busy = json!({ "code": 429, "details": { "retryAfterSeconds": 3 } });
    assert_eq!(answer(busy, &right).unwrap_err(), Some(Duration::from_secs(3)));
}

#[test]
fn the_rules_of_all_settings() {
    let mut settings = sample::settings();
    settings.image_pull_secrets = vec!["registry".to_owned()];
    assert!(
        rights::needed(&settings)
            .iter()
            .all(|right| right.verb != "delete" || right.resource == "pods")
    );
    settings.keep_finished = Duration::from_secs(60);
    let rights = rights::needed(&settings);
    let secrets: Vec<_> = rights
        .iter()
        .filter(|right| right.resource == "secrets")
        .map(Right::as_rule)
        .collect();
    assert_eq!(
        secrets,
        [
            "{apiGroups: [\"\"], resources: [\"secrets\"], verbs: [\"create\"]}",
            "{apiGroups: [\"\"], resources: [\"secrets\"], verbs: [\"delete\"]}",
            "{apiGroups: [\"\"], resources: [\"secrets\"], verbs: [\"get\"], resourceNames: [\"registry\"]}",
        ]
    );
    assert!(
        rights
            .iter()
            .all(|right| right.namespace.as_deref() == Some("jobs") && !right.verb.contains('*'))
    );
}

fn node(name: &str, change: impl Fn(&mut Value)) -> k8s_openapi::api::core::v1::Node {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "pool": "jobs" } },
        "spec": {},
        "status": {
            "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True" }],
            "nodeInfo": { "architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "v1.20.2", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "" },
        },
    });
    change(&mut node);
    serde_json::from_value(node).unwrap()
}

#[test]
fn capacity_is_what_jobs_can_have() {
    let mut settings = sample::settings();
    settings.dedicated_nodes = Some(DedicatedNodes {
        key: "pool".to_owned(),
        value: "jobs".to_owned(),
    });
    let nodes = [
        node("plain", |_| {}),
        node("tainted", |node| {
            node["spec"]["taints"] = json!([{ "key": "pool", "value": "jobs", "effect": "NoSchedule" }]);
            node["status"]["allocatable"] = json!({ "cpu": "3500m", "memory": "2Gi" });
        }),
        node("other", |node| node["metadata"]["labels"]["pool"] = json!("web")),
        node("control", |node| {
            node["spec"]["taints"] = json!([{ "key": "control", "effect": "NoSchedule" }])
        }),
        node("cordoned", |node| node["spec"]["unschedulable"] = json!(true)),
        node("away", |node| {
            node["status"]["conditions"][0]["status"] = json!("Unknown")
        }),
    ];
    let other: Pod = serde_json::from_value(json!({
        "metadata": { "name": "dns" },
        "spec": { "nodeName": "plain", "containers": [{ "name": "dns", "resources": { "requests": { "cpu": "100m", "memory": "1Gi" } } }] },
    }))
    .unwrap();
    let mut ours = sample::render(&sample::settings()).unwrap();
    ours.spec.as_mut().unwrap().node_name = Some("plain".to_owned());
    let mut used = std::collections::BTreeMap::new();
    [other, ours].iter().for_each(|pod| capacity::add_other(&mut used, pod));
    let mut sum = capacity::Sum::default();
    nodes.iter().for_each(|node| sum.add(node, &used, &settings));
    let capacity = sum.capacity();
    assert_eq!(capacity.nodes.count, 2);
    let allocatable = capacity.nodes.allocatable;
    assert_eq!(
        (allocatable.cpu_milli, allocatable.memory_bytes),
        (2000 + 3500, 6 << 30)
    );
    assert_eq!(
        (capacity.total.cpu_milli, capacity.total.memory_bytes),
        (1900 + 3500, 5 << 30)
    );
    assert_eq!(
        (capacity.nodes.largest.cpu_milli, capacity.nodes.largest.memory_bytes),
        (3500, 3 << 30)
    );
    let facts: Vec<_> = capacity.facts.iter().collect();
    assert_eq!(
        facts,
        [
            ("arch", "amd64"),
            ("kubernetes", "1.20.2"),
            ("nodes", "2"),
            ("os", "linux")
        ]
    );
}
