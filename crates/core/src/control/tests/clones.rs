//! Jobs that clone, and those that are made of what they have cloned.

use super::super::testing::{World, ended, job};
use super::generated::{make, parents_of};
use crate::build::repository::Repository;
use crate::build::{JobKind, JobSpec, TerminalState};
use crate::capability::Capability;
use crate::id::JobId;
use crate::name::SecretName;
use TerminalState::Finished;

fn clone(name: &str) -> JobSpec {
    JobSpec {
        source: false,
        needs: [Capability::Git].into_iter().collect(),
        repository: Some(Box::new(Repository {
            url: "https://git.example/shop".to_owned(),
            commit: "main".to_owned(),
            branch: None,
            file: None,
            username: None,
        })),
        ..job(name)
    }
}

/// The job whose output is the source of another one.
fn source_of(world: &World, job: JobId) -> Option<String> {
    let view = world.control.job(job).unwrap();
    let says = view.node.extensions.as_deref()?;
    says.source().map(ToString::to_string)
}

#[test]
fn the_clone_is_the_source_of_all_jobs_that_come_of_it() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![clone("git"), job("child").after("git"), job("other")]);
    let sourceless = JobSpec {
        source: false,
        ..job("sourceless")
    };
    let gate = JobSpec {
        kind: JobKind::Wait,
        ..job("gate")
    };
    let made = make(
        &mut world,
        jobs[0],
        vec![job("a"), job("b").after("a"), sourceless, gate, clone("inner")],
    );
    let sources: Vec<Option<String>> = made.iter().map(|job| source_of(&world, *job)).collect();
    let git = || Some("git".to_owned());
    assert_eq!(sources, [git(), git(), None, None, None]);
    assert_eq!(
        parents_of(&world, made[1]),
        ["git/a", "git"],
        "the clone is an input of each"
    );
    assert_eq!(source_of(&world, jobs[1]), None);

    // What these jobs make has the same source, also if their maker has none itself.
    let of_a = make(&mut world, made[0], vec![job("x")]);
    let of_sourceless = make(&mut world, made[2], vec![job("y")]);
    let of_inner = make(&mut world, made[4], vec![job("z")]);
    let of_other = make(&mut world, jobs[2], vec![job("x")]);
    for (job, source, parents) in [
        (of_a[0], Some("git"), vec!["git/a", "git"]),
        (of_sourceless[0], Some("git"), vec!["git/sourceless", "git"]),
        (of_inner[0], Some("git/inner"), vec!["git/inner"]),
        (of_other[0], None, vec!["other"]),
    ] {
        assert_eq!(source_of(&world, job).as_deref(), source);
        assert_eq!(parents_of(&world, job), parents);
        assert_eq!(world.control.makes_on_clone(job), source.is_some());
    }
    world.restart();
    assert_eq!(source_of(&world, of_a[0]).as_deref(), Some("git"));
    assert!(world.control.makes_on_clone(of_sourceless[0]));
}

#[test]
fn a_clone_goes_to_its_jobs_as_an_input_does_and_is_not_in_two_places() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let (_, jobs) = world.submit(vec![clone("git")]);
    let made = make(&mut world, jobs[0], vec![job("a")]);
    let attempt = world.attempt(made[0]);
    let view = world.control.assignment(attempt).unwrap();
    let inputs: Vec<&str> = view
        .inputs
        .iter()
        .map(|input| input.parent.node.name.as_str())
        .collect();
    assert_eq!(inputs, ["git"]);
    let says = view.node.extensions.as_deref();
    let name = crate::name::JobName::new("git").unwrap();
    assert_eq!(crate::build::extensions::input_folder(says, &name), None);
    world.report(made[0], ended(Finished));
    assert_eq!(world.states(&made), ["finished"]);
}

#[test]
fn jobs_have_the_variables_of_the_clone_that_they_come_of() {
    let secret = |name: &str| SecretName::new(name).unwrap();
    let named = |variable: &str, name: &str| (variable.to_owned(), secret(name));
    let text = |variable: &str, value: &str| (variable.to_owned(), value.to_owned());
    let mut outer = clone("git");
    outer.environment = [text("A", "outer"), text("B", "outer")].into();
    outer.secrets = [named("C", "of_outer"), named(Repository::PASSWORD, "of_git")].into();
    let mut inner = job("a");
    inner.environment = [text("A", "inner"), text("C", "inner"), text("D", "inner")].into();
    inner.secrets = [named("B", "of_inner")].into();
    inner.inherit(&outer);
    assert_eq!(
        inner.environment,
        [text("A", "outer"), text("B", "outer"), text("D", "inner")].into()
    );
    assert_eq!(inner.secrets, [named("C", "of_outer")].into());
    assert!(inner.needs.contains(Capability::Secrets));
    // What a trigger gives, any job passes on, and so do those that it makes.
    let mut triggered = job("gen");
    triggered.environment = [text("A", "of the trigger"), text("B", "its own")].into();
    triggered.passes_on = ["A".to_owned()].into();
    let mut made = job("made");
    made.environment = [text("A", "of the file")].into();
    made.inherit(&triggered);
    let mut of_made = job("made");
    of_made.inherit(&made);
    assert_eq!(of_made.environment, [text("A", "of the trigger")].into());
    let mut gate = JobSpec {
        kind: JobKind::Wait,
        ..job("gate")
    };
    gate.inherit(&outer);
    assert!(gate.environment.is_empty() && gate.secrets.is_empty());
}
