//! Which nodes a pod may go to, and would rather.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PodAntiAffinity, PodSpec, Toleration, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::executor::kubernetes::names;
use crate::executor::kubernetes::settings::{JobSettings, Settings};

/// The label with a node's name: what jobs are spread over.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
const OPERATING_SYSTEM: &str = "kubernetes.io/os";
const ARCHITECTURE: &str = "kubernetes.io/arch";

/// The strongest wish that Kubernetes knows.
const WEIGHT: i32 = 100;

/// A specification with nothing but node selector, tolerations and affinity. Where both say something of the same label of
/// nodes, the cluster's settings win: a job must not leave the nodes that are meant for it.
pub(super) fn place(settings: &Settings, job: &JobSettings) -> PodSpec {
    let mut node_selector: BTreeMap<_, _> = job.node_selector.clone();
    node_selector.extend(settings.node_selector.clone());
    let mut tolerations = settings.tolerations.clone();
    let mut affinity = settings.affinity.clone();
    node_selector.insert(OPERATING_SYSTEM.to_owned(), settings.operating_system.clone());
    if let Some(architecture) = job.architecture.as_ref().or(settings.architecture.as_ref()) {
        node_selector.insert(ARCHITECTURE.to_owned(), architecture.clone());
    }
    if let Some(dedicated) = &settings.dedicated_nodes {
        node_selector.insert(dedicated.key.clone(), dedicated.value.clone());
        tolerations.push(Toleration {
            key: Some(dedicated.key.clone()),
            operator: Some("Equal".to_owned()),
            value: Some(dedicated.value.clone()),
            ..Toleration::default()
        });
        spread(affinity.get_or_insert_default());
    }
    PodSpec {
        node_selector: Some(node_selector),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        affinity,
        ..PodSpec::default()
    }
}

/// Has jobs rather on nodes without other jobs: nodes that are kept for jobs have room for that.
fn spread(affinity: &mut Affinity) {
    let ours = [(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned())];
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: Some(ours.into()),
            ..LabelSelector::default()
        }),
        topology_key: HOSTNAME.to_owned(),
        ..PodAffinityTerm::default()
    };
    let wish = WeightedPodAffinityTerm {
        pod_affinity_term: term,
        weight: WEIGHT,
    };
    let anti_affinity: &mut PodAntiAffinity = affinity.pod_anti_affinity.get_or_insert_default();
    let wishes = &mut anti_affinity.preferred_during_scheduling_ignored_during_execution;
    wishes.get_or_insert_default().push(wish);
}
