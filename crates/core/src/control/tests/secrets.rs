//! Secrets of projects: which there are, and jobs that refer to them.

use super::super::testing::{PROJECT, World, job};
use super::super::{Change, Command, Refusal, Settings};
use crate::build::{BuildDefinition, JobSpec};
use crate::id::ProjectId;
use crate::name::SecretName;
use crate::secret::{SealedSecret, SealedValue, Secret};
use crate::time::Timestamp;

fn name(name: &str) -> SecretName {
    SecretName::new(name).unwrap()
}

fn set(of: &str) -> Command {
    Command::SetSecret(sealed(PROJECT, of))
}

fn sealed(project: ProjectId, of: &str) -> SealedSecret {
    SealedSecret {
        secret: Secret {
            project,
            name: name(of),
            updated_at: Timestamp(0),
        },
        value: SealedValue {
            key: "k".to_owned(),
            bytes: vec![1, 2, 3],
        },
    }
}

fn delete(of: &str) -> Command {
    Command::DeleteSecret {
        project: PROJECT,
        name: name(of),
    }
}

fn using(of: &str, secrets: &[&str]) -> JobSpec {
    let secrets = secrets.iter().enumerate();
    JobSpec {
        secrets: secrets.map(|(number, of)| (format!("V{number}"), name(of))).collect(),
        ..job(of)
    }
}

fn names(world: &World) -> Vec<String> {
    let secrets = world.control.secrets(PROJECT);
    secrets.map(|secret| secret.name.to_string()).collect()
}

#[test]
fn names_are_known_and_values_pass_through() {
    let mut world = World::new();
    let changes = world.done(set("b")).changes;
    let [Change::PutSecret(written)] = changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!(written.value, sealed(PROJECT, "b").value);
    assert_eq!(
        written.secret.updated_at, world.now.wall,
        "when it was set is not for others to say"
    );
    world.done(set("a"));
    world.done(set("b"));
    assert_eq!(names(&world), ["a", "b"]);
    assert!(
        !format!("{:?}", world.control).contains("[1, 2, 3]"),
        "the control plane has names only"
    );
    let set_at = world.now.wall;
    world.advance(std::time::Duration::from_secs(60));
    let changes = world.done(Command::ResealSecret(sealed(PROJECT, "a"))).changes;
    assert!(
        matches!(changes.as_slice(), [Change::PutSecret(kept)] if kept.secret.updated_at == set_at),
        "{changes:?}"
    );
    let gone = world.done(delete("a")).changes;
    assert!(matches!(gone.as_slice(), [Change::DeleteSecret { .. }]), "{gone:?}");
    let refusal = world.refused(delete("a"));
    assert!(
        matches!(refusal, Refusal::NotFound { kind: "secret", .. }),
        "{refusal:?}"
    );
    let refusal = world.refused(Command::ResealSecret(sealed(PROJECT, "a")));
    assert!(
        matches!(refusal, Refusal::NotFound { kind: "secret", .. }),
        "{refusal:?}"
    );
    let nobody = Command::SetSecret(sealed(ProjectId::from_u128(99), "a"));
    assert!(matches!(
        world.refused(nobody),
        Refusal::NotFound { kind: "project", .. }
    ));
}

#[test]
fn a_project_has_so_many_secrets_and_takes_them_with_it() {
    let mut world = World::with(Settings {
        max_secrets_per_project: 2,
        ..Settings::default()
    });
    world.done(set("a"));
    world.done(set("b"));
    assert!(matches!(world.refused(set("c")), Refusal::Limit(_)));
    world.done(set("a"));
    world.done(delete("b"));
    world.done(set("c"));
    assert_eq!(names(&world), ["a", "c"]);
    world.done(Command::DeleteProject { id: PROJECT });
    assert_eq!(names(&world), [""; 0]);
}

#[test]
fn jobs_that_refer_to_what_is_missing_are_refused_with_its_name() {
    let mut world = World::new();
    world.up("east", &[], 8);
    world.done(set("there"));
    world.submit(vec![using("fine", &["there", "there"])]);
    let jobs = vec![
        using("first", &["there", "gone"]),
        using("second", &["gone", "away"]),
        job("third"),
    ];
    let words = "the project lacks the secrets `away` (for job `second`), `gone` (for job `first`)";
    let definition = BuildDefinition { jobs: jobs.clone() };
    let planned = world.control.plan(PROJECT, definition).unwrap_err();
    assert_eq!(planned, Refusal::MissingSecrets(words.to_owned()));
    let submission = world.submission(PROJECT, jobs);
    let refusal = world.refused(Command::Submit(Box::new(submission)));
    assert_eq!(refusal, Refusal::MissingSecrets(words.to_owned()));
}
