//! What was learnt of the ways to other clusters from using them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tombolo_core::attempt::RouteKind;
use tombolo_core::name::ClusterName;
use tombolo_core::route::Experience;
use tombolo_transfer::pull::{Behaviour, Observe};

/// So much must have come for a rate to mean something.
const MEASURABLE_BYTES: u64 = 1024 * 1024;
/// How long a rate counts: networks change.
const LIFE: Duration = Duration::from_secs(3600);
/// The most ways that are remembered: more than there are clusters to fetch from.
const WAYS: usize = 4096;

/// Cheap to clone; clones are one.
#[derive(Clone, Default)]
pub(super) struct Experiences(Arc<Mutex<HashMap<(ClusterName, RouteKind), Learnt>>>);

#[derive(Debug, Clone, Copy)]
enum Learnt {
    Brought { rate: u64, at: Instant },
    Failed { times: u32, at: Instant },
}

impl Experiences {
    pub(super) fn of(&self, cluster: &ClusterName, route: RouteKind) -> Experience {
        match self.lock().get(&(cluster.clone(), route)) {
            Some(Learnt::Brought { rate, at }) if at.elapsed() < LIFE => Experience::Brought { rate: *rate },
            Some(Learnt::Failed { times, at }) => Experience::Failed {
                ago: at.elapsed(),
                times: *times,
            },
            Some(Learnt::Brought { .. }) | None => Experience::None,
        }
    }

    pub(super) fn observer(&self, cluster: ClusterName, route: RouteKind) -> Arc<dyn Observe> {
        Arc::new(Observer {
            experiences: self.clone(),
            way: (cluster, route),
        })
    }

    fn learn(&self, way: &(ClusterName, RouteKind), behaviour: Behaviour) {
        let at = Instant::now();
        let mut ways = self.lock();
        let before = ways.get(way).copied();
        let learnt = if behaviour.failed {
            let times = match before {
                Some(Learnt::Failed { times, .. }) => times.saturating_add(1),
                Some(Learnt::Brought { .. }) | None => 1,
            };
            Learnt::Failed { times, at }
        } else if behaviour.moved_bytes >= MEASURABLE_BYTES {
            let now = rate(behaviour);
            // Half of what was known: one slow transfer on a busy machine is not the whole truth.
            let rate = match before {
                Some(Learnt::Brought { rate, at }) if at.elapsed() < LIFE => rate / 2 + now / 2,
                _ => now,
            };
            Learnt::Brought { rate, at }
        } else if behaviour.moved_bytes > 0 && matches!(before, Some(Learnt::Failed { .. })) {
            ways.remove(way);
            return;
        } else {
            return;
        };
        if ways.len() < WAYS || ways.contains_key(way) {
            ways.insert(way.clone(), learnt);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(ClusterName, RouteKind), Learnt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes a second.
fn rate(behaviour: Behaviour) -> u64 {
    let milliseconds = behaviour.busy.as_millis().max(1);
    u64::try_from(u128::from(behaviour.moved_bytes) * 1000 / milliseconds).unwrap_or(u64::MAX)
}

struct Observer {
    experiences: Experiences,
    way: (ClusterName, RouteKind),
}

impl Observe for Observer {
    fn observe(&self, behaviour: Behaviour) {
        self.experiences.learn(&self.way, behaviour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABYTE: u64 = 1024 * 1024;

    fn brought(bytes: u64, milliseconds: u64) -> Behaviour {
        Behaviour {
            moved_bytes: bytes,
            busy: Duration::from_millis(milliseconds),
            failed: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_averaged_and_forgotten_and_failures_are_counted() {
        let experiences = Experiences::default();
        let east = ClusterName::new("east").unwrap();
        let observer = experiences.observer(east.clone(), RouteKind::Peer);
        let now = || experiences.of(&east, RouteKind::Peer);
        observer.observe(brought(MEGABYTE - 1, 1));
        assert_eq!(now(), Experience::None, "too little to say anything");
        observer.observe(brought(4 * MEGABYTE, 1000));
        observer.observe(brought(2 * MEGABYTE, 1000));
        assert_eq!(now(), Experience::Brought { rate: 3 * MEGABYTE });
        tokio::time::advance(LIFE).await;
        assert_eq!(now(), Experience::None, "long ago");
        let failed = Behaviour {
            failed: true,
            ..brought(0, 10)
        };
        observer.observe(failed);
        observer.observe(failed);
        tokio::time::advance(Duration::from_secs(7)).await;
        let ago = Duration::from_secs(7);
        assert_eq!(now(), Experience::Failed { ago, times: 2 });
        observer.observe(brought(0, 0));
        assert_eq!(now(), Experience::Failed { ago, times: 2 }, "it was not asked");
        observer.observe(brought(10, 5));
        assert_eq!(now(), Experience::None, "it works again");
        assert_eq!(experiences.of(&east, RouteKind::Relay), Experience::None);
    }
}
