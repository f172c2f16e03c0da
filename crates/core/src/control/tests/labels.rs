//! Labels of clusters that change.

use super::super::testing::{World, cluster, ended, job, running};
use super::super::{Change, Command};
use crate::build::TerminalState::Finished;
use crate::label::{self, Error};
use crate::volume::VolumeKind::Shared;

fn change(name: &str, changes: &[&str]) -> Command {
    Command::ChangeLabels {
        name: cluster(name),
        change: label::Change::parse(changes).unwrap(),
    }
}

/// Carries out what advice says: the arguments of the `tombolo cluster label` in it.
fn follow(world: &mut World, advice: &str) {
    let (_, command) = advice.split_once("`tombolo cluster label ").expect(advice);
    let (command, _) = command.split_once('`').unwrap();
    let mut words = command.split(' ');
    let name = words.next().unwrap().to_owned();
    let changes: Vec<&str> = words.collect();
    world.done(change(&name, &changes));
}

#[test]
fn advice_about_labels_that_is_followed_to_the_letter_has_the_job_placed() {
    for selector in [
        "GCP",
        "!spot",
        "region=asia",
        "region in (asia, africa)",
        "tier!=dev",
        "tier notin (dev, test)",
        "gpu>7",
        "gpu<1",
        "GCP, gpu>7, !spot, tier!=dev",
    ] {
        let mut world = World::new();
        world.up("west", &["region=us", "gpu=1", "spot", "tier=dev"], 4);
        let (_, jobs) = world.submit(vec![job("a").on(selector)]);
        let mut steps = 0;
        while world.cluster_of(jobs[0]).is_empty() {
            let advice = world.control.explain(jobs[0]).unwrap().advice.expect(selector);
            follow(&mut world, &advice);
            steps += 1;
            assert!(steps <= 4, "{selector}: {advice}");
        }
        assert!(steps > 0);
    }
}

#[test]
fn no_label_is_advised_that_cannot_be_set() {
    let mut world = World::new();
    world.up("west", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("reserved").on("node.os=plan9"),
        job("negative").on("gpu<0"),
        job("contested").on("a=1, a!=2"),
    ]);
    for job in jobs {
        let advice = world.control.explain(job).unwrap().advice.unwrap();
        assert!(!advice.contains("cluster label"), "{advice}");
    }
}

#[test]
fn jobs_stay_where_they_are_and_whoever_waits_is_looked_at_at_once() {
    let mut world = World::new();
    world.up("west", &["gpu=1"], 4);
    let (_, jobs) = world.submit(vec![job("runs").on("gpu=1"), job("waits").on("gpu=8")]);
    world.report(jobs[0], running());
    let effects = world.done(change("west", &["gpu=8", "absent-"]));
    let kept = effects.changes.iter().find_map(|change| match change {
        Change::PutCluster(record) => Some(record.labels.to_string()),
        _ => None,
    });
    assert_eq!(kept.as_deref(), Some("gpu=8"), "it is kept");
    assert_eq!(world.states(&jobs), ["running", "assigned"]);
    world.report(jobs[0], ended(Finished));
    let (_, more) = world.submit(vec![job("late").on("gpu=1")]);
    assert_eq!(world.cluster_of(more[0]), "", "new ones go by what it has now");
    let seen = world.control.cluster(&cluster("west")).unwrap().labels.to_string();
    assert!(seen.contains("cluster=west,gpu=8,node.os=linux"), "{seen}");
    world.restart();
    world.hello_again("west", 4);
    let seen = world.control.cluster(&cluster("west")).unwrap().labels.to_string();
    assert!(seen.contains("gpu=8"), "also after a restart: {seen}");
}

#[test]
fn what_changes_nothing_is_not_written() {
    let mut world = World::new();
    world.up("west", &["gpu=1"], 4);
    assert_eq!(world.done(change("west", &["gpu=1", "old-"])).changes, []);
}

#[test]
fn changes_that_cannot_be_are_refused() {
    let mut world = World::new();
    world.up("west", &[], 4);
    assert_eq!(
        world.refused(change("south", &["a"])).to_string(),
        "cluster `south` does not exist"
    );
    let many: Vec<String> = (0..=label::Labels::MAX).map(|number| format!("k{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        world.refused(change("west", &many)).to_string(),
        Error::TooMany.to_string()
    );
}

#[test]
fn a_volume_binds_its_jobs_to_a_cluster_that_they_do_not_suit_any_more() {
    let mut world = World::new();
    world.up("west", &["gpu=1"], 4);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Shared]).on("gpu"),
        job("b").with(&[Shared]).after("a"),
    ]);
    world.report(jobs[0], running());
    world.done(change("west", &["gpu-"]));
    world.report(jobs[0], ended(Finished));
    let explained = world.control.explain(jobs[1]).unwrap();
    assert_eq!(
        explained.summary,
        "no cluster can run it; the nearest is `west`: selector `gpu` of `a`, with which it shares the volume, does not hold"
    );
    follow(&mut world, &explained.advice.unwrap());
    assert_eq!(world.cluster_of(jobs[1]), "west");
}
