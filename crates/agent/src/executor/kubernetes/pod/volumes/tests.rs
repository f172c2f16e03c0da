use serde_json::json;
use tombolo_core::volume::VolumeSet;

use super::*;
use crate::executor::kubernetes::pod::{render, sample};
use crate::executor::kubernetes::settings::{ClaimSection, VolumesSection};

/// Settings with volumes, of which workspaces can be mounted everywhere.
fn settings() -> Settings {
    let workspace = ClaimSection {
        storage_class: Some("nfs".to_owned()),
        access_mode: AccessMode::ReadWriteMany,
        ..ClaimSection::default()
    };
    let section = VolumesSection {
        workspace,
        ..VolumesSection::default()
    };
    Settings {
        run_as_user: Some(1000),
        volumes: Some((&section).into()),
        ..sample::settings()
    }
}

fn rendered(settings: &Settings, volumes: &[VolumeKind]) -> Result<(Pod, Vec<PersistentVolumeClaim>), Error> {
    let (mut assignment, cluster, job) = (sample::assignment(), sample::cluster(), sample::job());
    assignment.job.volumes = VolumeSet::of(volumes);
    let facts = Facts {
        cluster: &cluster,
        assignment: &assignment,
        job: &job,
        image: None,
        trust: "PEM",
    };
    let claims = volumes::of(&assignment).map(|volume| claim(settings, volume, &facts));
    Ok((render(settings, &facts)?, claims.collect::<Result<_, _>>()?))
}

#[test]
fn pods_mount_the_claims_of_their_volumes_under_both_names() {
    let (pod, claims) = rendered(&settings(), &VolumeKind::ALL).unwrap();
    let (build, project) = (
        "shared-00000000-0000-0000-0000-000000000077",
        "workspace-00000000-0000-0000-0000-000000000001",
    );
    let pod = serde_json::to_value(pod).unwrap();
    let mounts = pod["spec"]["containers"][1]["volumeMounts"].as_array().unwrap();
    for kind in ["shared", "workspace"] {
        for root in ["/tombolo", "/infrabox"] {
            let mount = json!({ "name": kind, "mountPath": format!("{root}/{kind}") });
            assert!(mounts.contains(&mount), "{mounts:?}");
        }
    }
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let volume = json!({ "name": "shared", "persistentVolumeClaim": { "claimName": format!("tombolo-{build}") } });
    assert!(volumes.contains(&volume), "{volumes:?}");
    assert_eq!(
        pod["spec"]["securityContext"]["fsGroup"], 65532,
        "one group, whoever the users are"
    );
    // The workspace can be mounted everywhere: only the shared volume keeps pods together.
    assert_eq!(
        pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"],
        json!([{ "topologyKey": "kubernetes.io/hostname",
            "labelSelector": { "matchLabels": { "tombolo.dev/volumes-of": build } } }])
    );
    assert_eq!(pod["metadata"]["labels"]["tombolo.dev/volumes-of"], build);
    assert_eq!(
        serde_json::to_value(&claims).unwrap(),
        json!([
            { "apiVersion": "v1", "kind": "PersistentVolumeClaim",
              "metadata": { "name": format!("tombolo-{build}"), "namespace": "jobs", "labels": {
                "app.kubernetes.io/managed-by": "tombolo", "tombolo.dev/cluster": "east", "tombolo.dev/project": "shop",
                "tombolo.dev/volume": build } },
              "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } } },
            { "apiVersion": "v1", "kind": "PersistentVolumeClaim",
              "metadata": { "name": format!("tombolo-{project}"), "namespace": "jobs", "labels": {
                "app.kubernetes.io/managed-by": "tombolo", "tombolo.dev/cluster": "east", "tombolo.dev/project": "shop",
                "tombolo.dev/volume": project } },
              "spec": { "accessModes": ["ReadWriteMany"], "storageClassName": "nfs",
                "resources": { "requests": { "storage": "10Gi" } } } },
        ])
    );
}

#[test]
fn clusters_without_volumes_refuse_jobs_that_ask_for_one() {
    let error = rendered(&sample::settings(), &[VolumeKind::Workspace]).unwrap_err();
    assert!(error.to_string().contains("`kubernetes.volumes`"), "{error}");
    let (pod, claims) = rendered(&settings(), &[]).unwrap();
    assert!(claims.is_empty());
    let spec = pod.spec.unwrap();
    assert!(spec.affinity.is_none() && spec.security_context.unwrap().fs_group.is_none());
}

#[test]
fn pods_of_one_group_are_named_alike() {
    let shared = "shared-00000000-0000-0000-0000-000000000077";
    let workspace = "workspace-00000000-0000-0000-0000-000000000001";
    use AccessMode::{ReadWriteMany as Many, ReadWriteOnce as Once};
    use VolumeKind::{Shared, Workspace};
    for (modes, own, together, group) in [
        ([Once, Once], vec![Shared], vec![Shared], Some(shared)),
        ([Once, Once], vec![Shared], vec![Shared, Workspace], Some(workspace)),
        ([Once, Once], vec![Workspace], vec![Workspace], Some(workspace)),
        ([Once, Many], vec![Shared], vec![Shared, Workspace], Some(shared)),
        ([Once, Many], vec![Workspace], vec![Workspace], None),
        ([Many, Once], vec![Shared], vec![Shared, Workspace], Some(workspace)),
        ([Many, Many], vec![Shared, Workspace], vec![Shared, Workspace], None),
        ([Once, Once], vec![], vec![], None),
    ] {
        let section = |access_mode| ClaimSection {
            access_mode,
            ..ClaimSection::default()
        };
        let settings = Settings {
            volumes: Some(
                (&VolumesSection {
                    shared: section(modes[0]),
                    workspace: section(modes[1]),
                })
                    .into(),
            ),
            ..settings()
        };
        let (mut assignment, cluster, job) = (sample::assignment(), sample::cluster(), sample::job());
        assignment.job.volumes = VolumeSet::of(&own);
        assignment.volumes_together = VolumeSet::of(&together);
        let facts = Facts {
            cluster: &cluster,
            assignment: &assignment,
            job: &job,
            image: None,
            trust: "PEM",
        };
        assert_eq!(
            group_of(&settings, &facts).as_deref(),
            group,
            "{modes:?} {own:?} {together:?}"
        );
    }
}
