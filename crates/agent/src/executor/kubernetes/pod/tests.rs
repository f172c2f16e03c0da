use k8s_openapi::api::core::v1::Toleration;
use serde_json::json;

use super::*;
use crate::executor::kubernetes::entrypoint::Image;
use crate::executor::kubernetes::settings::{DedicatedNodes, SandboxVolume};

/// The whole pod as the API server gets it. A change here is a change of what every cluster runs.
#[test]
#[expect(clippy::too_many_lines, reason = "one pod, whole")]
fn the_golden_pod() {
    let settings = Settings {
        run_as_user: Some(1000),
        image_pull_secrets: vec!["registry".to_owned()],
        ..sample::settings()
    };
    let pod = serde_json::to_value(sample::render(&settings).unwrap()).unwrap();
    let own = json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true,
        "runAsNonRoot": true, "runAsUser": 65532 });
    let own_resources = json!({
        "requests": { "cpu": "10m", "memory": "32Mi", "ephemeral-storage": "0" },
        "limits": { "cpu": "1000m", "memory": "256Mi", "ephemeral-storage": "64Mi" },
    });
    let system = json!({ "name": "system", "mountPath": "/run/tombolo" });
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "tombolo-00000000000000000000000000001234-2",
            "namespace": "jobs",
            "labels": {
                "app.kubernetes.io/managed-by": "tombolo",
                "tombolo.dev/build": "00000000-0000-0000-0000-000000000077",
                "tombolo.dev/cluster": "east",
                "tombolo.dev/epoch": "2",
                "tombolo.dev/job": "00000000-0000-0000-0000-000000001234",
                "tombolo.dev/project": "shop",
            },
            "annotations": { "tombolo.dev/build-number": "12", "tombolo.dev/job-name": "web/test", "tombolo.dev/project": "shop" },
        },
        "spec": {
            "activeDeadlineSeconds": 3600 + 1800 + 7200 + 60,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 60,
            "nodeSelector": { "kubernetes.io/os": "linux" },
            "imagePullSecrets": [{ "name": "registry" }],
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "initContainers": [{
                "name": "install",
                "image": "registry.example.org/tombolo:1",
                "imagePullPolicy": "IfNotPresent",
                "command": ["/tombolo", "courier", "install", "/run/tombolo"],
                "resources": own_resources,
                "securityContext": own,
                "volumeMounts": [system],
            }],
            "containers": [
                {
                    "name": "courier",
                    "image": "registry.example.org/tombolo:1",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/tombolo", "courier", "run"],
                    "env": [
                        { "name": "TOMBOLO_COURIER_AGENT", "value": "tombolo-agent.tombolo:7444" },
                        { "name": "TOMBOLO_COURIER_CLUSTER", "value": "east" },
                        { "name": "TOMBOLO_COURIER_TRUST", "value": "PEM" },
                        { "name": "TOMBOLO_COURIER_TOKEN_FILE", "value": "/var/run/secrets/tombolo/token" },
                        { "name": "MIMALLOC_PURGE_DELAY", "value": "0" },
                        { "name": "MIMALLOC_ALLOW_THP", "value": "0" },
                    ],
                    "resources": own_resources,
                    "securityContext": own,
                    "volumeMounts": [system, { "name": "token", "mountPath": "/var/run/secrets/tombolo", "readOnly": true }],
                },
                {
                    "name": "job",
                    "image": "node:22",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/run/tombolo/tombolo", "supervise", "--pod"],
                    "resources": {
                        "requests": { "cpu": "1500m", "memory": "512Mi", "ephemeral-storage": "128Mi" },
                        "limits": { "cpu": "1500m", "memory": "512Mi", "ephemeral-storage": "8Gi" },
                    },
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsUser": 1000 },
                    "volumeMounts": [
                        system,
                        { "name": "sandbox", "mountPath": "/tombolo" },
                        { "name": "sandbox", "mountPath": "/infrabox" },
                    ],
                },
            ],
            "volumes": [
                { "name": "sandbox", "emptyDir": { "sizeLimit": "8Gi" } },
                { "name": "system", "emptyDir": { "sizeLimit": "256Mi" } },
                { "name": "token", "secret": {
                    "secretName": "tombolo-00000000000000000000000000001234-2",
                    "defaultMode": 0o444,
                } },
            ],
        },
    });
    assert_eq!(pod, expected, "{}", serde_json::to_string_pretty(&pod).unwrap());
}

#[test]
fn nothing_secret_is_in_the_pod() {
    let pod = serde_json::to_string(&sample::render(&sample::settings()).unwrap()).unwrap();
    assert!(!pod.contains("secret\"") || !pod.contains("PASSWORD"), "{pod}");
    let mut created: Pod = serde_json::from_str(&pod).unwrap();
    let token = secrecy::SecretString::from("the token");
    assert_eq!(token_secret(&created, &token).unwrap_err(), Unowned);
    created.metadata.uid = Some("7-7".to_owned());
    let secret = serde_json::to_value(token_secret(&created, &token).unwrap()).unwrap();
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "7-7");
    assert_eq!(secret["metadata"]["name"], created.metadata.name.clone().unwrap());
    assert_eq!(secret["metadata"]["namespace"], "jobs");
    assert_eq!(secret["data"]["token"], "dGhlIHRva2Vu");
    for container in created.spec.unwrap().containers {
        let mounts = container.volume_mounts.unwrap();
        let holds_token = mounts.iter().any(|mount| mount.name == TOKEN);
        assert_eq!(holds_token, container.name == COURIER, "{}", container.name);
    }
}

#[test]
fn dedicated_nodes_select_tolerate_and_spread() {
    let mut settings = sample::settings();
    settings.node_selector = [
        ("zone".to_owned(), "a".to_owned()),
        ("pool".to_owned(), "other".to_owned()),
    ]
    .into();
    settings.tolerations = vec![Toleration::default()];
    settings.architecture = Some("arm64".to_owned());
    settings.dedicated_nodes = Some(DedicatedNodes {
        key: "pool".to_owned(),
        value: "jobs".to_owned(),
    });
    let spec = serde_json::to_value(sample::render(&settings).unwrap().spec).unwrap();
    assert_eq!(
        spec["nodeSelector"],
        json!({ "kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux", "pool": "jobs", "zone": "a" })
    );
    // Without an effect, a toleration is for all of them.
    assert_eq!(
        spec["tolerations"][1],
        json!({ "key": "pool", "operator": "Equal", "value": "jobs" })
    );
    assert_eq!(
        spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"],
        json!([{ "weight": 100, "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": { "matchLabels": { "app.kubernetes.io/managed-by": "tombolo" } },
        } }])
    );
    let plain = serde_json::to_value(sample::render(&sample::settings()).unwrap().spec).unwrap();
    assert!(plain.get("affinity").is_none() && plain.get("tolerations").is_none());
}

#[test]
fn a_job_cannot_leave_the_nodes_that_are_meant_for_it() {
    let mut settings = sample::settings();
    settings.node_selector = [("zone".to_owned(), "a".to_owned())].into();
    let mine = JobSettings {
        node_selector: [
            ("zone".to_owned(), "b".to_owned()),
            ("disk".to_owned(), "fast".to_owned()),
        ]
        .into(),
        ..JobSettings::default()
    };
    let spec = placement::place(&settings, &mine);
    let selector = spec.node_selector.unwrap();
    assert_eq!((selector["zone"].as_str(), selector["disk"].as_str()), ("a", "fast"));
}

fn with_image(settings: &Settings, user: Option<&str>, job: &JobSettings) -> Result<Pod, Error> {
    let (assignment, cluster) = (sample::assignment(), sample::cluster());
    let image = user.map(|user| Image {
        user: user.to_owned(),
        ..Image::default()
    });
    let facts = Facts {
        cluster: &cluster,
        assignment: &assignment,
        job,
        image: image.as_ref(),
        trust: "PEM",
    };
    render(settings, &facts)
}

#[test]
fn restricted_pods_need_a_user_that_is_not_root() {
    let own = |user| JobSettings {
        run_as_user: Some(user),
        ..JobSettings::default()
    };
    let none = JobSettings::default();
    for (level, image, job, works) in [
        (PodSecurity::Restricted, Some(""), &none, false),
        (PodSecurity::Restricted, Some("node"), &none, false),
        (PodSecurity::Restricted, Some("1000:1000"), &none, true),
        (PodSecurity::Restricted, Some("root"), &own(7), true),
        (PodSecurity::Restricted, None, &own(0), false),
        // Not looked up: the kubelet refuses it if it must.
        (PodSecurity::Restricted, None, &none, true),
        (PodSecurity::Baseline, Some(""), &none, true),
        (PodSecurity::Baseline, Some("node"), &own(0), true),
    ] {
        let settings = Settings {
            pod_security: level,
            ..sample::settings()
        };
        let rendered = with_image(&settings, image, job);
        assert_eq!(rendered.is_ok(), works, "{level:?} {image:?} {:?}", job.run_as_user);
        if let Err(error) = rendered {
            let said = error.to_string();
            assert!(
                said.contains("node:22") && said.contains("`shop`") && said.contains("run_as_user"),
                "{said}"
            );
        }
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let mut settings = sample::settings();
    settings.maximum_resources = Some(settings.default_resources);
    let large = JobSettings {
        ephemeral_storage_bytes: Some(9 << 30),
        ..JobSettings::default()
    };
    assert!(matches!(
        with_image(&settings, None, &large),
        Err(Error::TooMuchStorage { .. })
    ));
    assert!(matches!(
        with_image(&settings, None, &sample::job()),
        Err(Error::TooMuch(_))
    ));
}

#[test]
fn large_inputs_get_a_volume_of_their_own() {
    const GIB: u64 = 1 << 30;
    let (none, volume) = (
        None,
        Some(SandboxVolume {
            storage_class: Some("fast".to_owned()),
            maximum_bytes: 40 * GIB,
        }),
    );
    for (inputs, asked, volume, expected) in [
        (vec![], None, &volume, Some(None)),
        (vec![GIB, 3 * GIB], None, &volume, Some(None)),
        (vec![5 * GIB], None, &none, Some(None)),
        (vec![8 * GIB], None, &none, None),
        (vec![], Some(9 * GIB), &none, None),
        (vec![5 * GIB], None, &volume, Some(Some("13Gi"))),
        (vec![4 * GIB + 1], None, &volume, Some(Some("12289Mi"))),
        (vec![2 * GIB], Some(3 * GIB), &volume, Some(Some("5Gi"))),
        (vec![], Some(9 * GIB), &volume, Some(Some("9Gi"))),
        (vec![33 * GIB], None, &volume, None),
        (vec![u64::MAX, u64::MAX], None, &volume, None),
    ] {
        let settings = Settings {
            sandbox_volume: volume.clone(),
            run_as_user: Some(1000),
            ..sample::settings()
        };
        let job = JobSettings {
            ephemeral_storage_bytes: asked,
            ..JobSettings::default()
        };
        let what = format!("{inputs:?} {asked:?} {volume:?}");
        match (sample::render_with(&settings, &job, &inputs), expected) {
            (Err(Error::TooMuchStorage { .. }), None) => {}
            (Ok(pod), Some(size)) => {
                let spec = serde_json::to_value(pod.spec.unwrap()).unwrap();
                let template = &spec["volumes"][0]["ephemeral"]["volumeClaimTemplate"];
                let claim = &template["spec"];
                assert_eq!(claim["resources"]["requests"]["storage"].as_str(), size, "{what}");
                assert_eq!(spec["volumes"][0]["emptyDir"].is_object(), size.is_none(), "{what}");
                if size.is_some() {
                    assert_eq!(claim["storageClassName"], "fast");
                    assert_eq!(spec["securityContext"]["fsGroup"], 1000);
                    assert_eq!(template["metadata"]["labels"]["tombolo.dev/project"], "shop");
                } else {
                    assert!(spec["securityContext"]["fsGroup"].is_null(), "{what}");
                }
            }
            (rendered, _) => panic!("{what}: {rendered:?}"),
        }
    }
}

#[test]
fn an_overlay_cannot_break_the_level() {
    for (overlay, control) in [
        ("spec: {hostNetwork: true}", "Host Namespaces"),
        (
            "spec: {containers: [{name: job, securityContext: {privileged: true}}]}",
            "Privileged Containers",
        ),
        (
            "spec: {volumes: [{name: root, hostPath: {path: /}}]}",
            "HostPath Volumes",
        ),
        ("spec: {containers: [{name: side, image: x}]}", "Privilege Escalation"),
    ] {
        let settings = Settings {
            pod_template: Overlay::parse(Some(overlay)).unwrap(),
            ..sample::settings()
        };
        let error = sample::render(&settings).unwrap_err();
        assert!(matches!(&error, Error::Security { .. }), "{overlay}: {error}");
        assert!(error.to_string().contains(control), "{overlay}: {error}");
    }
}

#[test]
fn bytes_as_people_write_them() {
    for (bytes, text) in [
        (0, "0"),
        (1, "1"),
        (1 << 10, "1Ki"),
        (50 << 20, "50Mi"),
        (3 << 30, "3Gi"),
        ((1 << 30) + 1, "1073741825"),
    ] {
        assert_eq!(containers::bytes(bytes).0, text);
    }
}
