//! What is planned.

use crate::judge::plan::{CLUSTERS, Event, KUBERNETES, Kind, Stage, kinds, plan};

#[test]
fn a_seed_gives_one_plan_with_all_kinds_and_no_part_in_two_troubles_of_a_kind() {
    let events = plan(Stage::Processes, 7, 200, 6_600);
    assert_eq!(events, plan(Stage::Processes, 7, 200, 6_600));
    assert_ne!(events, plan(Stage::Processes, 8, 200, 6_600));
    let all = Kind::ALL.iter().filter(|kind| !kind.is_of_kubernetes()).count();
    assert_eq!(kinds(&events).len(), all);
    assert!(
        kinds(&plan(Stage::Processes, 7, 20, 6_600)).len() >= 10,
        "a short plan has many kinds as well"
    );
    let minutes = events.last().map_or(0, |event| event.begins) / 60_000;
    assert!((18..=27).contains(&minutes), "{minutes} minutes");
    let masters = events
        .iter()
        .filter(|event| ["leader", "standby"].contains(&event.target.as_str()));
    let masters: Vec<&Event> = masters.collect();
    assert!(
        masters.windows(2).all(|pair| pair[0].ends < pair[1].begins),
        "one of them is left alone"
    );
    let at_once = events.windows(2).filter(|pair| pair[1].begins < pair[0].ends).count();
    assert!(at_once > 20, "several things go wrong at once: {at_once}");
    for event in &events {
        let is_known = CLUSTERS.contains(&event.target.as_str())
            || ["leader", "standby", "database", "store", "master-0", "master-1"].contains(&event.target.as_str());
        assert!(is_known, "{event:?}");
    }
}

#[test]
fn what_befalls_kubernetes_is_planned_only_where_there_is_any() {
    let events = plan(Stage::Kubernetes, 7, 200, 6_600);
    assert_eq!(kinds(&events).len(), Kind::ALL.len());
    for event in &events {
        let target = event.target.as_str();
        if event.kind.is_of_kubernetes() {
            assert!(KUBERNETES.contains(&target), "{event:?}");
        }
        if event.kind == Kind::ClockSkewed {
            assert!(
                !KUBERNETES.contains(&target),
                "pods have their node's calendar: {event:?}"
            );
        }
    }
    let without = plan(Stage::Processes, 7, 200, 6_600);
    assert!(without.iter().all(|event| !event.kind.is_of_kubernetes()));
}
