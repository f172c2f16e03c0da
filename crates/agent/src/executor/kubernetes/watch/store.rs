//! The pods that are known, by their attempts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;

use crate::executor::kubernetes::names;
use crate::executor::kubernetes::view::PodView;

/// The most pods that are kept: more than an agent ever has, and less than its memory holds (2 KiB each).
const PODS_LIMIT: usize = 10_000;

/// What is known of the pod of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing yet.
    Nothing,
    /// It is there.
    Here(Arc<PodView>),
    /// It was there and is gone; what was last seen of it.
    Gone(Arc<PodView>),
}

/// How well the watch goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All pods have been seen, and changes are followed.
    Current,
    /// What is known may be old: the API server was not heard.
    Behind {
        /// Why.
        reason: String,
    },
}

/// The pods of this cluster's attempts. Clones are the same.
#[derive(Debug, Clone)]
pub struct Pods {
    known: Arc<Mutex<HashMap<AttemptId, Entry>>>,
    health: Arc<watch::Sender<Health>>,
}

#[derive(Debug)]
struct Entry {
    seen: watch::Sender<Seen>,
    /// Nobody here has asked for it: it goes with its pod.
    stray: bool,
    /// It became known while its namespace was being listed, so that the list may lack it.
    during_list: bool,
}

/// Who has told of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The watch, or its list.
    Watch,
    /// The answer to the request that made it, which says nothing of what came later.
    Answer,
}

impl Default for Pods {
    fn default() -> Self {
        let reason = "the pods have not been listed yet".to_owned();
        Self {
            known: Arc::default(),
            health: Arc::new(watch::Sender::new(Health::Behind { reason })),
        }
    }
}

impl Pods {
    /// What is known of the pod of an attempt from now on, until [`Self::forget`].
    pub fn follow(&self, attempt: AttemptId) -> watch::Receiver<Seen> {
        let mut known = self.lock();
        let entry = known.entry(attempt).or_insert_with(Entry::new);
        entry.stray = false;
        entry.seen.subscribe()
    }

    /// Adds a pod that the API server has just made: that it is missing later means something then. What the watch has told
    /// of the same pod meanwhile is newer, and stays.
    pub fn note(&self, pod: &Pod, now: Timestamp) {
        self.update(pod, now, Source::Answer);
    }

    /// Nobody is interested in an attempt any more.
    pub fn forget(&self, attempt: AttemptId) {
        let mut known = self.lock();
        let Some(entry) = known.get_mut(&attempt) else { return };
        entry.stray = true;
        let here = matches!(*entry.seen.borrow(), Seen::Here(_));
        if !here {
            known.remove(&attempt);
        }
    }

    /// All pods that are there.
    pub fn all(&self) -> Vec<Arc<PodView>> {
        let known = self.lock();
        let here = known.values().filter_map(|entry| match &*entry.seen.borrow() {
            Seen::Here(view) => Some(Arc::clone(view)),
            _ => None,
        });
        here.collect()
    }

    /// How well the watch goes, from now on.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn set_health(&self, health: Health) {
        self.health.send_if_modified(|known| {
            let differs = *known != health;
            *known = health;
            differs
        });
    }

    /// Takes an event of a namespace's watch. `listed`: the attempts of the list that is being read.
    pub(super) fn take(&self, namespace: &str, event: &Event<Pod>, listed: &mut HashSet<AttemptId>, now: Timestamp) {
        match event {
            Event::Init => {
                listed.clear();
                for entry in self.lock().values_mut() {
                    let here = matches!(&*entry.seen.borrow(), Seen::Here(view) if view.namespace == namespace);
                    entry.during_list &= !here;
                }
            }
            Event::InitApply(pod) => {
                listed.extend(names::attempt_of(pod));
                self.update(pod, now, Source::Watch);
            }
            Event::Apply(pod) => self.update(pod, now, Source::Watch),
            Event::Delete(pod) => {
                self.update(pod, now, Source::Watch);
                if let Some(attempt) = names::attempt_of(pod) {
                    self.gone(|known, _, _| *known == attempt);
                }
            }
            // What was removed while nobody listened.
            Event::InitDone => {
                self.gone(|attempt, view, entry| {
                    view.namespace == namespace && !entry.during_list && !listed.contains(attempt)
                });
                listed.clear();
            }
        }
    }

    fn update(&self, pod: &Pod, now: Timestamp, source: Source) {
        let Some(attempt) = names::attempt_of(pod) else { return };
        let mut known = self.lock();
        if known.len() >= PODS_LIMIT && !known.contains_key(&attempt) {
            tracing::warn!(%attempt, limit = PODS_LIMIT, "there are too many pods to know this one as well");
            return;
        }
        let entry = known.entry(attempt).or_insert_with(Entry::new);
        let before = match &*entry.seen.borrow() {
            Seen::Nothing => None,
            Seen::Here(view) | Seen::Gone(view) => Some(Arc::clone(view)),
        };
        let Some(view) = PodView::new(pod, before.as_deref(), now) else {
            return;
        };
        if source == Source::Answer && before.is_some_and(|before| before.uid == view.uid) {
            return;
        }
        entry.during_list = source == Source::Answer;
        // Most events change nothing that matters here.
        entry.seen.send_if_modified(|seen| {
            let differs = !matches!(seen, Seen::Here(known) if **known == view);
            if differs {
                *seen = Seen::Here(Arc::new(view));
            }
            differs
        });
    }

    fn gone(&self, is_gone: impl Fn(&AttemptId, &PodView, &Entry) -> bool) {
        self.lock().retain(|attempt, entry| {
            let view = match &*entry.seen.borrow() {
                Seen::Here(view) if is_gone(attempt, view, entry) => Arc::clone(view),
                _ => return true,
            };
            entry.seen.send_replace(Seen::Gone(view));
            !entry.stray
        });
    }

    /// A panic elsewhere leaves the map whole: it is changed in single steps.
    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptId, Entry>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new() -> Self {
        Self {
            seen: watch::Sender::new(Seen::Nothing),
            stray: true,
            during_list: false,
        }
    }
}
