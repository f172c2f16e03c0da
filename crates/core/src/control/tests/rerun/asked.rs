//! What a rerun asks for: what the jobs need that run again, and not what those needed that are taken over.

use super::super::super::testing::{PROJECT, World, ended, job, running};
use super::super::super::{Command, Refusal};
use super::again;
use crate::build::JobSpec;
use crate::build::TerminalState::{Failure, Finished};
use crate::name::SecretName;
use crate::rerun::Scope;
use crate::secret::{SealedSecret, SealedValue, Secret};
use crate::time::Timestamp;

fn token() -> SecretName {
    SecretName::new("token").unwrap()
}

fn with_token(spec: JobSpec) -> JobSpec {
    JobSpec {
        secrets: [("TOKEN".to_owned(), token())].into(),
        ..spec
    }
}

#[test]
fn a_secret_that_is_gone_counts_for_jobs_that_run_again_only() {
    let mut world = World::new();
    world.up("east", &[], 8);
    world.done(Command::SetSecret(SealedSecret {
        secret: Secret {
            project: PROJECT,
            name: token(),
            updated_at: Timestamp(0),
        },
        value: SealedValue {
            key: "k".to_owned(),
            bytes: vec![1],
        },
    }));
    let first = world.submission(PROJECT, vec![with_token(job("fetch")), job("build").after("fetch")]);
    world.done(Command::Submit(Box::new(first.clone())));
    for (id, end) in first.jobs.iter().zip([Finished, Failure]) {
        world.report(*id, running());
        world.report(*id, ended(end));
    }
    world.done(Command::DeleteSecret {
        project: PROJECT,
        name: token(),
    });
    let failed = again(&mut world, &Scope::Failed, &first);
    let jobs = failed.jobs.clone();
    world.done(Command::Submit(Box::new(failed)));
    assert_eq!(world.states(&jobs), ["finished", "assigned"]);
    let all = again(&mut world, &Scope::All, &first);
    let refusal = world.refused(Command::Submit(Box::new(all)));
    assert!(
        matches!(&refusal, Refusal::MissingSecrets(words) if words.contains("`token` (for job `fetch`)")),
        "{refusal}"
    );
}
