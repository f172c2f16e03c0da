//! Triggers: each time of a schedule is dealt with once.

use super::super::command::Firing;
use super::super::testing::{PROJECT, World, job};
use super::super::{Change, Command, Refusal, Reply, Settings};
use crate::attempt::Revision;
use crate::name::TriggerName;
use crate::time::Timestamp;
use crate::trigger::{CatchUp, Overlap, Trigger, TriggerFile};

fn name(name: &str) -> TriggerName {
    TriggerName::new(name).unwrap()
}

fn create(of: &str, overlap: Overlap) -> Command {
    let trigger = Trigger {
        project: PROJECT,
        name: name(of),
        schedule: None,
        environment: [].into(),
        source: None,
        revision: Revision::default(),
        overlap,
        catch_up: CatchUp::Once,
        created_by: "somebody".to_owned(),
        created_at: Timestamp(0),
        fired_for: None,
        last: None,
        obstacle: None,
    };
    Command::CreateTrigger {
        trigger: Box::new(trigger),
        file: TriggerFile {
            name: "tombolo.yaml".to_owned(),
            text: "version: 1".to_owned(),
        },
    }
}

fn fire(world: &mut World, of: &str, scheduled: Option<u64>) -> Command {
    let submission = world.submission(PROJECT, vec![job("a")]);
    Command::Fire(Box::new(Firing {
        trigger: name(of),
        scheduled: scheduled.map(Timestamp),
        submission,
    }))
}

fn pass(of: &str, scheduled: u64) -> Command {
    Command::PassTrigger {
        project: PROJECT,
        name: name(of),
        scheduled: Timestamp(scheduled),
        obstacle: "no room".to_owned(),
    }
}

fn known(world: &World, of: &str) -> Trigger {
    world.control.trigger(PROJECT, &name(of)).unwrap().clone()
}

#[test]
fn a_build_and_the_time_that_it_is_for_are_written_together_and_once() {
    let mut world = World::new();
    let made = world.done(create("nightly", Overlap::Allow)).changes;
    assert!(matches!(
        made.as_slice(),
        [Change::PutTrigger(_), Change::PutTriggerFile { .. }]
    ));
    assert_eq!(known(&world, "nightly").created_at, world.now.wall);
    let command = fire(&mut world, "nightly", Some(100));
    let effects = world.done(command);
    let Ok(Reply::Build(build)) = effects.reply else {
        panic!("a build is submitted")
    };
    let written = effects.changes.iter().find_map(|change| match change {
        Change::PutTrigger(trigger) => Some(trigger.clone()),
        _ => None,
    });
    let written = written.expect("the time is written with the build");
    assert_eq!(written.fired_for, Some(Timestamp(100)));
    assert_eq!(written.last.as_ref().map(|last| last.build), Some(build.id));
    assert_eq!(written, known(&world, "nightly"));
    for time in [100, 99] {
        let again = fire(&mut world, "nightly", Some(time));
        assert!(matches!(world.refused(again), Refusal::Conflict(_)), "{time}");
        assert!(
            matches!(world.refused(pass("nightly", time)), Refusal::Conflict(_)),
            "{time}"
        );
    }
    world.restart();
    let again = fire(&mut world, "nightly", Some(100));
    assert!(
        matches!(world.refused(again), Refusal::Conflict(_)),
        "also after a restart"
    );
    // Who asks is not bound to times, and changes nothing about them.
    let asked = fire(&mut world, "nightly", None);
    world.done(asked);
    assert_eq!(known(&world, "nightly").fired_for, Some(Timestamp(100)));
    let next = fire(&mut world, "nightly", Some(101));
    world.done(next);
    assert_eq!(known(&world, "nightly").last.unwrap().number, 3);
}

#[test]
fn a_trigger_that_is_not_to_overlap_waits_for_the_end_of_its_build() {
    let mut world = World::new();
    world.done(create("often", Overlap::Skip));
    let first = fire(&mut world, "often", Some(1));
    let Ok(Reply::Build(build)) = world.done(first).reply else {
        panic!("a build is submitted")
    };
    let second = fire(&mut world, "often", Some(2));
    let refusal = world.refused(second);
    assert!(
        refusal.to_string().contains("build 1 of trigger `often` still runs"),
        "{refusal}"
    );
    assert_eq!(
        known(&world, "often").fired_for,
        Some(Timestamp(1)),
        "a refusal changes nothing"
    );
    world.done(pass("often", 2));
    assert_eq!(known(&world, "often").obstacle.as_deref(), Some("no room"));
    world.done(Command::CancelBuild {
        build: build.id,
        extent: Default::default(),
    });
    let third = fire(&mut world, "often", Some(3));
    world.done(third);
    assert_eq!(known(&world, "often").obstacle, None);
}

#[test]
fn triggers_have_names_limits_and_an_end() {
    let mut world = World::with(Settings {
        max_triggers_per_project: 2,
        ..Settings::default()
    });
    world.done(create("a", Overlap::Allow));
    assert!(matches!(
        world.refused(create("a", Overlap::Allow)),
        Refusal::Exists { kind: "trigger", .. }
    ));
    world.done(create("b", Overlap::Allow));
    assert!(matches!(world.refused(create("c", Overlap::Allow)), Refusal::Limit(_)));
    let delete = || Command::DeleteTrigger {
        project: PROJECT,
        name: name("a"),
    };
    world.done(delete());
    assert!(matches!(
        world.refused(delete()),
        Refusal::NotFound { kind: "trigger", .. }
    ));
    let gone = fire(&mut world, "a", None);
    assert!(matches!(world.refused(gone), Refusal::NotFound { kind: "trigger", .. }));
    world.done(Command::DeleteProject { id: PROJECT });
    assert_eq!(world.control.triggers().count(), 0);
}
