//! Pods that nobody wants any more: those of attempts that the agent does not know, left by one that crashed.
//!
//! What a pod owns (its secret, its ephemeral volumes) goes with it. The watch knows all pods, so that looking costs no request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;

use super::cluster::{Cluster, Error};
use super::names;
use super::view::PodView;
use super::watch::Pods;

/// How young a pod may be that nobody knows: the agent creates it a moment before it says so.
const YOUNG: Duration = Duration::from_secs(60);

/// The pods among `all` whose attempts are not among `known` and that are not on their way out.
pub fn find(all: &[Arc<PodView>], known: &HashSet<AttemptId>, now: Timestamp) -> Vec<Arc<PodView>> {
    let is_young = |view: &PodView| {
        let age = view.created_at.map_or(0, |created| now.0.saturating_sub(created.0));
        u128::from(age) < YOUNG.as_millis()
    };
    let is_orphan =
        |view: &&Arc<PodView>| !known.contains(&view.attempt) && view.deleted_at.is_none() && !is_young(view);
    all.iter().filter(is_orphan).cloned().collect()
}

/// Removes all orphans that the watch knows of; says how many. `known` are the attempts that the agent has, also those that
/// have ended and whose pods are kept for people to look at.
///
/// # Errors
/// The first that cannot be removed; the others are removed all the same.
pub async fn remove(
    cluster: &Cluster,
    pods: &Pods,
    known: &HashSet<AttemptId>,
    now: Timestamp,
) -> Result<usize, Error> {
    let mut removed = 0;
    let mut first = None;
    for view in find(&pods.all(), known, now) {
        let name = names::pod_name(view.attempt);
        match cluster.delete_pod(&view.namespace, &name, Some(&view.uid), None).await {
            Ok(()) => {
                tracing::warn!(attempt = %view.attempt, pod = name, namespace = view.namespace, "removed a pod that nobody knows");
                removed += 1;
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(removed), Err)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::executor::kubernetes::view::sample::{NOW, view};

    #[test]
    fn only_old_pods_that_nobody_knows_and_nobody_removes() {
        let pod = view(json!({ "phase": "Running" }));
        let leaving = PodView {
            deleted_at: Some(NOW),
            ..pod.clone()
        };
        let known = HashSet::from([pod.attempt]);
        let later = Timestamp(NOW.0 + 3_600_000);
        for (pod, known, now, orphans) in [
            (&pod, HashSet::new(), later, 1),
            (&pod, HashSet::new(), NOW, 0),
            (&pod, known, later, 0),
            (&leaving, HashSet::new(), later, 0),
        ] {
            assert_eq!(find(&[Arc::new(pod.clone())], &known, now).len(), orphans);
        }
    }
}
