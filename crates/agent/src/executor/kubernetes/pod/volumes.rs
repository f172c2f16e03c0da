//! The volumes that a job shares with others: claims that are made before its pod, and what its pod says of them.
//!
//! A claim belongs to a build or a project, not to a pod: the agent makes and removes it. Pods that use a claim which one node
//! only can mount at once are kept together on that node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Pod, PodAffinityTerm, PodSpec,
    Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use tombolo_core::volume::{VolumeId, VolumeKind};

use super::containers::{SANDBOX_FOLDERS, bytes};
use super::placement::HOSTNAME;
use super::{Error, Facts, JOB};
use crate::executor::kubernetes::names;
use crate::executor::kubernetes::settings::{AccessMode, ClaimSettings, Settings};
use crate::volumes;

/// The claim of a volume that a job works with.
///
/// # Errors
/// [`Error::NoVolumes`].
pub fn claim(settings: &Settings, volume: VolumeId, facts: &Facts<'_>) -> Result<PersistentVolumeClaim, Error> {
    let claim = settings_of(settings, volume.kind())?;
    let request = [("storage".to_owned(), bytes(claim.size_bytes))];
    let project = &facts.assignment.build.project_name;
    Ok(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(names::claim_name(volume)),
            namespace: Some(settings.namespace_of(project).to_owned()),
            labels: Some(names::claim_labels(facts.cluster, volume, project)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec![claim.access_mode.as_str().to_owned()]),
            storage_class_name: claim.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(request.into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}

/// Adds the job's volumes to its pod.
pub(super) fn add(pod: &mut Pod, settings: &Settings, facts: &Facts<'_>) -> Result<(), Error> {
    for volume in volumes::of(facts.assignment) {
        settings_of(settings, volume.kind())?;
        let spec = pod.spec.get_or_insert_default();
        spec.volumes.get_or_insert_default().push(Volume {
            name: volume.kind().to_string(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: names::claim_name(volume),
                read_only: None,
            }),
            ..Volume::default()
        });
        mount(spec, volume.kind());
    }
    if let Some(group) = group_of(settings, facts) {
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(names::VOLUMES_OF.to_owned(), group.clone());
        keep_together(pod.spec.get_or_insert_default(), group);
    }
    Ok(())
}

/// Which pods have to run on one node at a time: those that use a claim which one node only can mount. One name for all of them,
/// since the scheduler takes several terms of affinity together: a pod that has to be with users of one volume *and* of another would be
/// kept from neither. So it is the project where its workspace is such a claim and a job that shares a volume uses it, else the build.
fn group_of(settings: &Settings, facts: &Facts<'_>) -> Option<String> {
    let assignment = facts.assignment;
    let (project, build) = (assignment.build.project, assignment.build.build);
    let together = assignment.volumes_together.union(assignment.job.volumes);
    let volumes = settings
        .volumes
        .as_ref()
        .filter(|_| !assignment.job.volumes.is_empty())?;
    let on_one_node = |kind| together.contains(kind) && volumes.of(kind).access_mode == AccessMode::ReadWriteOnce;
    // The wider first.
    let kind = [VolumeKind::Workspace, VolumeKind::Shared]
        .into_iter()
        .find(|kind| on_one_node(*kind))?;
    Some(VolumeId::of(kind, project, build).to_string())
}

fn settings_of(settings: &Settings, kind: VolumeKind) -> Result<&ClaimSettings, Error> {
    let volumes = settings.volumes.as_ref().ok_or(Error::NoVolumes(kind))?;
    Ok(volumes.of(kind))
}

fn mount(spec: &mut PodSpec, kind: VolumeKind) {
    for container in spec.containers.iter_mut().filter(|container| container.name == JOB) {
        let mounts = container.volume_mounts.get_or_insert_default();
        mounts.extend(SANDBOX_FOLDERS.map(|folder| VolumeMount {
            name: kind.to_string(),
            mount_path: format!("{folder}/{kind}"),
            ..VolumeMount::default()
        }));
    }
}

/// On the node where pods of the group run, if there are any.
fn keep_together(spec: &mut PodSpec, group: String) {
    let members: BTreeMap<_, _> = [(names::VOLUMES_OF.to_owned(), group)].into();
    let affinity = spec
        .affinity
        .get_or_insert_default()
        .pod_affinity
        .get_or_insert_default();
    let terms = &mut affinity.required_during_scheduling_ignored_during_execution;
    terms.get_or_insert_default().push(PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(members),
            ..LabelSelector::default()
        }),
        topology_key: HOSTNAME.to_owned(),
        ..PodAffinityTerm::default()
    });
}

#[cfg(test)]
mod tests;
