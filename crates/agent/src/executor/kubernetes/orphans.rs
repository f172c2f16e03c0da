//! Pods that nobody wants any more: those of attempts that the agent does not know. They were left by one that crashed, or kept
//! after their end for people to look at, for long enough.
//!
//! What a pod owns (its secret, its ephemeral volumes) goes with it. The watch knows all pods, so that looking costs no request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;

use super::cluster::{Cluster, Error};
use super::view::PodView;
use super::watch::Pods;
use super::{keep, names};

/// How young a pod may be that nobody knows: the agent creates it a moment before it says so.
const YOUNG: Duration = Duration::from_secs(60);

/// The pods among `all` whose attempts are not among `known` and that are not on their way out. Those that have ended stay for
/// `keep_finished`.
pub fn find(
    all: &[Arc<PodView>],
    known: &HashSet<AttemptId>,
    keep_finished: Duration,
    now: Timestamp,
) -> Vec<Arc<PodView>> {
    let is_young = |view: &PodView| {
        let age = view.created_at.map_or(0, |created| now.0.saturating_sub(created.0));
        u128::from(age) < YOUNG.as_millis()
    };
    let is_kept = |view: &PodView| keep::stays_until(view, keep_finished).is_some_and(|until| now < until);
    let is_orphan = |view: &&Arc<PodView>| {
        !known.contains(&view.attempt) && view.deleted_at.is_none() && !is_young(view) && !is_kept(view)
    };
    all.iter().filter(is_orphan).cloned().collect()
}

/// Removes all orphans that the watch knows of; says how many. `known` are the attempts that the agent has, whatever their
/// pods do; of others, pods that have ended stay for `keep_finished`.
///
/// # Errors
/// The first that cannot be removed; the others are removed all the same.
pub async fn remove(
    cluster: &Cluster,
    pods: &Pods,
    known: &HashSet<AttemptId>,
    keep_finished: Duration,
    now: Timestamp,
) -> Result<usize, Error> {
    let mut removed = 0;
    let mut first = None;
    for view in find(&pods.all(), known, keep_finished, now) {
        let name = names::pod_name(view.attempt);
        match cluster.delete_pod(&view.namespace, &name, Some(&view.uid), None).await {
            Ok(()) => {
                let (attempt, namespace) = (view.attempt, &view.namespace);
                if keep::stays_until(&view, keep_finished).is_some() && !keep_finished.is_zero() {
                    tracing::info!(%attempt, pod = name, namespace, "removed a pod that was kept after its end");
                } else {
                    tracing::warn!(%attempt, pod = name, namespace, "removed a pod that nobody knows");
                }
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
    use crate::executor::kubernetes::view::sample::{self, NOW, view};

    #[test]
    fn only_old_pods_that_nobody_knows_and_nobody_removes() {
        let pod = view(json!({ "phase": "Running" }));
        let leaving = PodView {
            deleted_at: Some(NOW),
            ..pod.clone()
        };
        let ended = PodView::new(&sample::pod(json!({ "phase": "Failed" })), None, NOW).unwrap();
        let known = HashSet::from([pod.attempt]);
        let later = Timestamp(NOW.0 + 3_600_000);
        let (hour, longer) = (Duration::from_secs(3600), Duration::from_secs(3601));
        for (pod, known, keep, now, orphans) in [
            (&pod, HashSet::new(), hour, later, 1),
            (&pod, HashSet::new(), longer, later, 1),
            (&pod, HashSet::new(), hour, NOW, 0),
            (&pod, known, hour, later, 0),
            (&leaving, HashSet::new(), hour, later, 0),
            (&ended, HashSet::new(), hour, later, 1),
            (&ended, HashSet::new(), longer, later, 0),
            (&ended, HashSet::new(), Duration::ZERO, later, 1),
        ] {
            assert_eq!(find(&[Arc::new(pod.clone())], &known, keep, now).len(), orphans);
        }
    }
}
