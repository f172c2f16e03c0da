use serde_json::json;
use tombolo_core::id::{AttemptId, Epoch, JobId};

use super::*;
use crate::executor::kubernetes::view::sample::{self, NOW};

fn pod(job: u128, phase: &str) -> Pod {
    let attempt = attempt(job);
    let mut pod = sample::pod(json!({ "phase": phase }));
    pod.metadata.name = Some(names::pod_name(attempt));
    let labels = pod.metadata.labels.as_mut().unwrap();
    labels.insert(names::JOB.to_owned(), attempt.job.to_string());
    labels.insert(names::EPOCH.to_owned(), attempt.epoch.to_string());
    pod
}

fn attempt(job: u128) -> AttemptId {
    AttemptId {
        job: JobId::from_u128(job),
        epoch: Epoch(1),
    }
}

fn word(seen: &Seen) -> &'static str {
    match seen {
        Seen::Nothing => "nothing",
        Seen::Here(_) => "here",
        Seen::Gone(_) => "gone",
    }
}

struct Bench {
    pods: Pods,
    listed: HashSet<AttemptId>,
}

impl Bench {
    fn new() -> Self {
        Self {
            pods: Pods::default(),
            listed: HashSet::new(),
        }
    }

    fn take(&mut self, events: impl IntoIterator<Item = Event<Pod>>) {
        for event in events {
            self.pods.take("jobs", &event, &mut self.listed, NOW);
        }
    }
}

#[test]
fn pods_come_change_and_go() {
    let mut bench = Bench::new();
    let mut first = bench.pods.follow(attempt(1));
    assert_eq!(word(&first.borrow_and_update()), "nothing");
    bench.take([Event::Init, Event::InitApply(pod(1, "Pending")), Event::InitDone]);
    assert_eq!(word(&first.borrow_and_update()), "here");
    bench.take([Event::Apply(pod(1, "Pending"))]);
    assert!(!first.has_changed().unwrap(), "nothing that matters has changed");
    bench.take([Event::Apply(pod(1, "Running"))]);
    assert!(first.has_changed().unwrap());
    bench.take([Event::Delete(pod(1, "Running"))]);
    assert_eq!(word(&first.borrow_and_update()), "gone");
    assert!(bench.pods.all().is_empty());
}

#[test]
fn what_was_removed_while_nobody_listened_is_gone_after_the_next_list() {
    let mut bench = Bench::new();
    let followed = [1, 2, 3].map(|job| bench.pods.follow(attempt(job)));
    bench.take([
        Event::Init,
        Event::InitApply(pod(1, "Running")),
        Event::InitApply(pod(2, "Running")),
        Event::InitDone,
    ]);
    bench.take([Event::Init, Event::InitApply(pod(2, "Running"))]);
    // Until the list is whole, nothing is known to be gone.
    assert_eq!(
        followed.each_ref().map(|seen| word(&seen.borrow())),
        ["here", "here", "nothing"]
    );
    // One that was made while the list was on its way is not in it.
    bench.pods.note(&pod(3, "Pending"), NOW);
    bench.take([Event::InitDone]);
    assert_eq!(
        followed.each_ref().map(|seen| word(&seen.borrow())),
        ["gone", "here", "here"]
    );
    bench.take([Event::Init, Event::InitApply(pod(2, "Running")), Event::InitDone]);
    assert_eq!(
        followed.each_ref().map(|seen| word(&seen.borrow())),
        ["gone", "here", "gone"]
    );
}

/// The answer to the request that made a pod may come after the watch has told what became of that pod.
#[test]
fn the_answer_that_comes_late_takes_nothing_back() {
    let mut bench = Bench::new();
    let seen = bench.pods.follow(attempt(1));
    let phase = || match &*seen.borrow() {
        Seen::Here(view) => Some(view.phase),
        Seen::Nothing | Seen::Gone(_) => None,
    };
    bench.take([Event::Apply(pod(1, "Running"))]);
    let running = phase();
    bench.pods.note(&pod(1, "Pending"), NOW);
    assert_eq!(phase(), running);
    bench.take([Event::Delete(pod(1, "Running"))]);
    bench.pods.note(&pod(1, "Pending"), NOW);
    assert_eq!(word(&seen.borrow()), "gone");
    // Another pod of the same attempt is news.
    let mut next = pod(1, "Pending");
    next.metadata.uid = Some("8-8".to_owned());
    bench.pods.note(&next, NOW);
    assert_eq!(word(&seen.borrow()), "here");
}

#[test]
fn other_namespaces_are_not_in_the_list() {
    let mut bench = Bench::new();
    let seen = bench.pods.follow(attempt(1));
    bench.take([Event::Init, Event::InitApply(pod(1, "Running")), Event::InitDone]);
    for event in [Event::Init, Event::InitDone] {
        bench.pods.take("elsewhere", &event, &mut HashSet::new(), NOW);
    }
    assert_eq!(word(&seen.borrow()), "here");
}

#[test]
fn what_nobody_follows_is_not_kept_when_it_is_gone() {
    let mut bench = Bench::new();
    bench.take([Event::Apply(pod(1, "Running"))]);
    assert_eq!(bench.pods.all().len(), 1);
    bench.take([Event::Delete(pod(1, "Running"))]);
    assert_eq!(word(&bench.pods.follow(attempt(1)).borrow()), "nothing");
    // A forgotten one stays as long as its pod, for whoever looks for leftovers.
    let seen = bench.pods.follow(attempt(2));
    bench.take([Event::Apply(pod(2, "Running"))]);
    bench.pods.forget(attempt(2));
    assert_eq!((bench.pods.all().len(), word(&seen.borrow())), (1, "here"));
    bench.take([Event::Delete(pod(2, "Running"))]);
    assert_eq!(word(&bench.pods.follow(attempt(2)).borrow()), "nothing");
}

#[test]
fn health_follows_the_worst_namespace() {
    let mut places = Places::new(&["a".to_owned(), "b".to_owned()]);
    places.of("a").heard(&Event::InitDone);
    assert!(matches!(places.health(), Health::Behind { reason } if reason.contains("`b`")));
    places.of("b").heard(&Event::InitDone);
    assert_eq!(places.health(), Health::Current);
    places
        .of("a")
        .failed("a", &watcher::Error::NoResourceVersion, Instant::now())
        .unwrap();
    assert!(matches!(places.health(), Health::Behind { reason } if reason.contains("resourceVersion")));
    places.of("a").heard(&Event::Init);
    assert_ne!(places.health(), Health::Current);
    places.of("a").heard(&Event::InitDone);
    assert_eq!(places.health(), Health::Current);
}

#[test]
fn a_missing_right_is_an_error_after_a_while() {
    let denied = || {
        let status =
            kube::core::Status::failure("pods is forbidden: User \"a\" cannot list", "Forbidden").with_code(403);
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    };
    let mut place = Place::default();
    let now = Instant::now();
    place.failed("jobs", &denied(), now).unwrap();
    let error = place
        .failed("jobs", &denied(), now + DENIED_PATIENCE)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`jobs`") && error.contains("cannot list") && error.contains("list and watch"),
        "{error}"
    );
}

#[test]
fn pauses_grow_and_begin_anew() {
    let mut pauses = Pauses::default();
    let all: Vec<_> = pauses.by_ref().take(100).collect();
    assert_eq!(
        (all[0], all[1], all[99]),
        (SHORTEST_PAUSE, 2 * SHORTEST_PAUSE, LONGEST_PAUSE)
    );
    pauses.reset();
    assert_eq!(pauses.next(), Some(SHORTEST_PAUSE));
}
