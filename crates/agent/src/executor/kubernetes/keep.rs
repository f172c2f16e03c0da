//! Pods that stay for a while after their end, for people to look at (`kubectl logs`, `kubectl describe`).
//!
//! Here it is decided whether the pod of an attempt that is cleared away may stay, and until when. What stays has ended: all of
//! its processes are gone, it holds nothing of its node but a little disk, and its token is removed at once. A pod that might
//! still do something is never kept. Nothing is remembered about it: how long it stays follows from when it ended, which Kubernetes
//! knows, so that it goes in time also after a restart of the agent (`orphans` removes it).

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tombolo_core::time::Timestamp;

use super::view::{ContainerView, PodPhase, PodView};
use super::watch::Seen;

/// How long a pod that is about to end is waited for: its node tells of the end of a container a second or two after it.
pub(super) const ABOUT_TO_END: Duration = Duration::from_secs(10);

/// What becomes of the pod of an attempt that is cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays for people to look at.
    Stays,
    /// It has not ended yet, and is about to: to be asked again when the attempt is over.
    Later,
    /// It goes now.
    Goes,
}

/// Until when a pod that has ended stays; none if it has not ended.
pub(super) fn stays_until(view: &PodView, keep: Duration) -> Option<Timestamp> {
    let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
    let ended = view.ended_at.filter(|_| has_ended(view))?;
    Some(Timestamp(ended.0.saturating_add(keep)))
}

/// What becomes of a pod. `patience`: how long one that is about to end is waited for; not at all if nothing is given.
/// `has_spoken`: the pod's courier has said its last word.
pub(super) async fn fate(
    mut seen: watch::Receiver<Seen>,
    keep: Duration,
    patience: Option<Duration>,
    has_spoken: bool,
    now: impl Fn() -> Timestamp,
) -> Fate {
    if keep.is_zero() {
        return Fate::Goes;
    }
    let fate = |seen: &Seen| match seen {
        Seen::Here(view) if view.deleted_at.is_some() => Fate::Goes,
        Seen::Here(view) => match stays_until(view, keep) {
            Some(until) if now() < until => Fate::Stays,
            Some(_) => Fate::Goes,
            None if has_spoken || matches!(view.job, ContainerView::Ended { .. }) => Fate::Later,
            None => Fate::Goes,
        },
        Seen::Nothing | Seen::Gone(_) => Fate::Goes,
    };
    let first = fate(&seen.borrow_and_update());
    let Some(patience) = patience.filter(|_| first == Fate::Later) else {
        return first;
    };
    let settled = timeout(patience, seen.wait_for(|seen| fate(seen) != Fate::Later)).await;
    match settled {
        Ok(Ok(seen)) => fate(&seen),
        // Whatever it still does, nobody needs it any more.
        Ok(Err(_)) | Err(_) => Fate::Goes,
    }
}

const fn has_ended(view: &PodView) -> bool {
    matches!(view.phase, PodPhase::Succeeded | PodPhase::Failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::executor::kubernetes::view::sample::{NOW, view};

    const KEEP: Duration = Duration::from_secs(60);
    const SHORT: Option<Duration> = Some(Duration::from_millis(20));

    fn ended() -> PodView {
        view(
            json!({ "phase": "Failed", "containerStatuses": [{ "name": "job", "image": "", "imageID": "", "ready": false,
            "restartCount": 0, "state": { "terminated": { "exitCode": 137, "finishedAt": "2026-11-21T15:00:01Z" } } }] }),
        )
    }

    fn finishing() -> PodView {
        PodView {
            phase: PodPhase::Running,
            ..ended()
        }
    }

    async fn fate_of(
        view: PodView,
        keep: Duration,
        patience: Option<Duration>,
        has_spoken: bool,
        now: Timestamp,
    ) -> Fate {
        let seen = watch::Sender::new(Seen::Here(Arc::new(view)));
        fate(seen.subscribe(), keep, patience, has_spoken, move || now).await
    }

    #[tokio::test]
    async fn only_what_has_ended_stays_and_not_for_ever() {
        let pending = view(json!({ "phase": "Pending" }));
        let running = view(json!({ "phase": "Running" }));
        let leaving = PodView {
            deleted_at: Some(NOW),
            ..ended()
        };
        let later = Timestamp(NOW.0 + 60_000);
        for (what, view, keep, patience, has_spoken, now, expected) in [
            ("an end", ended(), KEEP, SHORT, true, NOW, Fate::Stays),
            ("an end without a word", ended(), KEEP, None, false, NOW, Fate::Stays),
            ("nothing is kept", ended(), Duration::ZERO, SHORT, true, NOW, Fate::Goes),
            ("long ago", ended(), KEEP, SHORT, true, later, Fate::Goes),
            ("removed already", leaving, KEEP, SHORT, true, NOW, Fate::Goes),
            ("no node yet", pending, KEEP, SHORT, false, NOW, Fate::Goes),
            ("it runs", running.clone(), KEEP, SHORT, false, NOW, Fate::Goes),
            (
                "its courier is about to end",
                finishing(),
                KEEP,
                None,
                false,
                NOW,
                Fate::Later,
            ),
            ("its last word is said", running, KEEP, None, true, NOW, Fate::Later),
            ("it hangs", finishing(), KEEP, SHORT, true, NOW, Fate::Goes),
        ] {
            assert_eq!(fate_of(view, keep, patience, has_spoken, now).await, expected, "{what}");
        }
    }

    #[tokio::test]
    async fn a_pod_that_is_about_to_end_is_waited_for() {
        let seen = watch::Sender::new(Seen::Here(Arc::new(finishing())));
        let waiting = tokio::spawn(fate(seen.subscribe(), KEEP, Some(KEEP), true, || NOW));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!waiting.is_finished());
        seen.send_replace(Seen::Here(Arc::new(ended())));
        assert_eq!(waiting.await.unwrap(), Fate::Stays);

        let waiting = tokio::spawn(fate(seen.subscribe(), KEEP, Some(KEEP), true, || NOW));
        seen.send_replace(Seen::Gone(Arc::new(finishing())));
        assert_eq!(waiting.await.unwrap(), Fate::Goes);
    }

    #[test]
    fn how_long_follows_from_the_end() {
        assert_eq!(stays_until(&ended(), KEEP), Some(Timestamp(NOW.0 - 1000 + 60_000)));
        assert_eq!(stays_until(&finishing(), KEEP), None);
        assert_eq!(stays_until(&ended(), Duration::MAX), Some(Timestamp(u64::MAX)));
    }
}
