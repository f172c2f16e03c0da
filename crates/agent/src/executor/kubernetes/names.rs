//! The names and labels of what an attempt has in a cluster, and the way back from a pod to its attempt.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use tombolo_core::attempt::Assignment;
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::volume::VolumeId;

/// Says that an object is ours.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const MANAGER: &str = "tombolo";
/// The label with the cluster whose agent owns an object.
pub const CLUSTER: &str = "tombolo.dev/cluster";
/// The label with the job's id.
pub const JOB: &str = "tombolo.dev/job";
/// The label with the attempt's epoch.
pub const EPOCH: &str = "tombolo.dev/epoch";
/// The label with the build's id.
pub const BUILD: &str = "tombolo.dev/build";
/// The label, and the annotation, with the project's name.
pub const PROJECT: &str = "tombolo.dev/project";
/// The annotation with the job's full name.
pub const JOB_NAME: &str = "tombolo.dev/job-name";
/// The annotation with the build's number.
pub const BUILD_NUMBER: &str = "tombolo.dev/build-number";

/// What our keys begin with; nobody else may set such.
pub const PREFIX: &str = "tombolo.dev/";

/// The label of pods that have to run on one node because of a volume: the name of that volume.
pub const VOLUMES_OF: &str = "tombolo.dev/volumes-of";
/// The label of a claim with the volume's name.
pub const VOLUME: &str = "tombolo.dev/volume";

/// The longest value of a label.
const LABEL_LIMIT: usize = 63;

/// The name of an attempt's pod, and of its secret.
pub fn pod_name(attempt: AttemptId) -> String {
    format!("{MANAGER}-{}-{}", attempt.job.uuid().simple(), attempt.epoch)
}

/// The name of a volume's claim.
pub fn claim_name(volume: VolumeId) -> String {
    format!("{MANAGER}-{volume}")
}

/// The labels of a volume's claim.
pub fn claim_labels(cluster: &ClusterName, volume: VolumeId, project: &ProjectName) -> BTreeMap<String, String> {
    [
        (MANAGED_BY, MANAGER.to_owned()),
        (CLUSTER, label_value(cluster.as_str())),
        (VOLUME, volume.to_string()),
        (PROJECT, label_value(project.as_str())),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The selector of everything that the agent of `cluster` owns.
pub fn selector(cluster: &ClusterName) -> String {
    format!("{MANAGED_BY}={MANAGER},{CLUSTER}={cluster}")
}

/// The labels of what an attempt has.
pub fn labels(cluster: &ClusterName, assignment: &Assignment) -> BTreeMap<String, String> {
    let Assignment { attempt, build, .. } = assignment;
    [
        (MANAGED_BY, MANAGER.to_owned()),
        (CLUSTER, label_value(cluster.as_str())),
        (JOB, attempt.job.to_string()),
        (EPOCH, attempt.epoch.to_string()),
        (BUILD, build.build.to_string()),
        (PROJECT, label_value(build.project_name.as_str())),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// What labels cannot hold: full names, for people.
pub fn annotations(assignment: &Assignment) -> BTreeMap<String, String> {
    let Assignment { build, job, .. } = assignment;
    [
        (JOB_NAME, job.name.to_string()),
        (PROJECT, build.project_name.to_string()),
        (BUILD_NUMBER, build.number.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The attempt that a pod is for; none if it is not one of ours. Name and labels must say the same: a pod that somebody
/// labelled like ours is not taken for one.
pub fn attempt_of(pod: &Pod) -> Option<AttemptId> {
    let labels = pod.metadata.labels.as_ref()?;
    let job: JobId = labels.get(JOB)?.parse().ok()?;
    let epoch = Epoch(labels.get(EPOCH)?.parse().ok()?);
    let attempt = AttemptId { job, epoch };
    let ours = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let named = pod.metadata.name.as_deref() == Some(pod_name(attempt).as_str());
    (ours && named).then_some(attempt)
}

/// `text` as a label can hold it: what labels cannot have becomes `-`, and what is too long is cut.
pub fn label_value(text: &str) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let value: String = text
        .chars()
        .map(|character| if allowed(character) { character } else { '-' })
        .take(LABEL_LIMIT)
        .collect();
    value
        .trim_matches(|character: char| !character.is_ascii_alphanumeric())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::kubernetes::pod::sample;

    #[test]
    fn an_attempt_is_found_again_in_its_pod() {
        let cluster = ClusterName::new("east").unwrap();
        let assignment = sample::assignment();
        let mut pod = Pod::default();
        pod.metadata.name = Some(pod_name(assignment.attempt));
        pod.metadata.labels = Some(labels(&cluster, &assignment));
        assert_eq!(attempt_of(&pod), Some(assignment.attempt));
        type Change = fn(&mut Pod);
        let changes: [(&str, Change); 4] = [
            ("another name", |pod| pod.metadata.name = Some("tombolo-1-1".to_owned())),
            ("no labels", |pod| pod.metadata.labels = None),
            ("another epoch", |pod| {
                pod.metadata
                    .labels
                    .as_mut()
                    .unwrap()
                    .insert(EPOCH.to_owned(), "9".to_owned());
            }),
            ("another manager", |pod| {
                pod.metadata
                    .labels
                    .as_mut()
                    .unwrap()
                    .insert(MANAGED_BY.to_owned(), "helm".to_owned());
            }),
        ];
        for (what, change) in changes {
            let mut pod = pod.clone();
            change(&mut pod);
            assert_eq!(attempt_of(&pod), None, "{what}");
        }
    }

    #[test]
    fn names_are_short_enough_at_their_longest() {
        let attempt = AttemptId {
            job: JobId::from_u128(u128::MAX),
            epoch: Epoch(u32::MAX),
        };
        let name = pod_name(attempt);
        assert_eq!(name, "tombolo-ffffffffffffffffffffffffffffffff-4294967295");
        assert!(name.len() <= LABEL_LIMIT);
    }

    #[test]
    fn labels_hold_what_they_can() {
        for (text, expected) in [
            ("shop", "shop"),
            ("a/b c", "a-b-c"),
            ("-edge-", "edge"),
            ("", ""),
            ("ä", ""),
            (&"x".repeat(70), &"x".repeat(63)),
            (&format!("{}-b", "x".repeat(62)), &"x".repeat(62)),
        ] {
            assert_eq!(label_value(text), expected, "{text}");
        }
    }
}
