//! Jobs that clone: as attempts like others, with a real server.

#[path = "../clone/server.rs"]
mod server;

use server::{Manner, Repository, Server};
use tombolo_agent::executor::process::Images;
use tombolo_agent::secrets::Values;
use tombolo_core::attempt::{Assignment, InputReference, Outcome};
use tombolo_core::build::TerminalState;
use tombolo_core::build::extensions::{Extensions, InputRule};
use tombolo_core::build::repository::Repository as Wanted;
use tombolo_core::name::{JobName, SecretName};

use crate::cluster::{Cluster, job, script};

const FLOW: &str = r#"{"version": 1, "jobs": [{"type": "workflow", "name": "w", "infrabox_file": "part.json"}]}"#;

fn repository() -> Repository {
    let repository = Repository::new();
    repository.commit(
        "main",
        &[
            ("ci/infrabox.json", FLOW),
            ("ci/part.json", "{}"),
            ("file", "of the clone"),
        ],
    );
    repository
}

fn cloning(server: &Server, file: &str) -> Assignment {
    let mut assignment = job("git", None);
    assignment.job.image = String::new();
    assignment.job.repository = Some(Box::new(Wanted {
        url: server.url.clone(),
        commit: "main".to_owned(),
        branch: None,
        file: Some(file.to_owned()),
        username: None,
    }));
    assignment
}

/// A job that has as its source what a clone has left.
fn on_clone(text: &str, assignment: &Assignment, outcome: &Outcome) -> Assignment {
    let mut child = script(text);
    let name = JobName::new("git").unwrap();
    child.inputs = vec![InputReference {
        index: None,
        job: assignment.attempt.job,
        name: name.clone(),
        output: outcome.output.unwrap(),
        sources: Vec::new(),
        grant: Vec::new(),
    }];
    let rule = InputRule {
        job: name,
        wanted: true,
        paths: Vec::new(),
        folder: None,
        same_index: false,
        is_source: true,
    };
    child.job.extensions = Extensions {
        inputs: vec![rule],
        ..Extensions::default()
    }
    .boxed();
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_an_output_with_a_job_file_and_the_source_of_others() {
    let mut cluster = Cluster::new().await;
    // What clones needs no image.
    cluster.images = Images::Refuse;
    let repository = repository();
    let server = Server::start(&repository, Manner::default());
    let assignment = cloning(&server, "ci/infrabox.json");
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert_eq!(outcome.output.unwrap().files, 3);
    let generated = outcome.generated.clone().unwrap();
    assert_eq!(
        (generated.name.as_str(), generated.text.as_deref()),
        ("ci/infrabox.json", Ok(FLOW))
    );
    let workflows: Vec<(&str, &Result<String, String>)> = generated
        .workflows
        .iter()
        .map(|file| (file.path.as_str(), &file.text))
        .collect();
    assert_eq!(workflows, [("ci/part.json", &Ok("{}".to_owned()))]);

    cluster.images = Images::Ignore;
    let text = "cat file; echo; ls $TOMBOLO_INPUTS | wc -l; cp ci/infrabox.json $TOMBOLO_OUTPUT/; echo x > part.json";
    let child = on_clone(text, &assignment, &outcome);
    let ended = cluster.run(&child).await;
    assert_eq!(ended.state, TerminalState::Finished, "{ended:?}");
    let printed: Vec<String> = cluster.printed(child.attempt);
    assert_eq!(printed, ["of the clone", "0"]);
    let generated = ended.generated.unwrap();
    assert_eq!(generated.workflows.len(), 1, "its workflows are in its source");
    assert_eq!(generated.workflows[0].path, "part.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_fails_is_an_error_in_clear_words() {
    let cluster = Cluster::new().await;
    let repository = repository();
    let server = Server::start(&repository, Manner::default());
    let mut gone = cloning(&server, "ci/infrabox.json");
    gone.job.repository.as_mut().unwrap().commit = "gone".to_owned();
    let mut small = cloning(&server, "ci/infrabox.json");
    small.job.extensions = Extensions {
        output_limit_bytes: Some(10),
        ..Extensions::default()
    }
    .boxed();
    for (assignment, words) in [
        (
            gone,
            "nothing was cloned: the repository has no branch and no tag `gone`",
        ),
        (
            cloning(&server, "ci/gone.json"),
            "the repository has no file `ci/gone.json`",
        ),
        (
            small,
            "nothing was cloned: the repository is too large: more than 10 B come of it",
        ),
    ] {
        let outcome = cluster.run(&assignment).await;
        assert_eq!(outcome.state, TerminalState::Error, "{outcome:?}");
        assert!(outcome.message.contains(words), "`{words}` is not in {outcome:?}");
        assert!(outcome.generated.is_none(), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_hangs_is_cancelled_and_ends_with_its_timeout() {
    let cluster = Cluster::new().await;
    let repository = repository();
    let manner = Manner {
        silent: true,
        ..Manner::default()
    };
    let server = Server::start(&repository, manner);
    let mut assignment = cloning(&server, "ci/infrabox.json");
    assignment.job.timeout = std::time::Duration::from_secs(1);
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Error, "{outcome:?}");
    assert!(
        outcome.message.contains("nothing was cloned: timed out after 1s"),
        "{outcome:?}"
    );

    let assignment = cloning(&server, "ci/infrabox.json");
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    agent.until_running(assignment.attempt).await;
    agent.cancel(assignment.attempt).await;
    let outcome = agent.outcome(assignment.attempt).await;
    assert_eq!(outcome.state, TerminalState::Killed, "{outcome:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_server_is_a_secret_and_stays_one() {
    let cluster = Cluster::new().await;
    let repository = repository();
    // git:hunter2-and-more
    let manner = Manner {
        login: Some("Z2l0Omh1bnRlcjItYW5kLW1vcmU=".to_owned()),
        ..Manner::default()
    };
    let server = Server::start(&repository, manner);
    let mut assignment = cloning(&server, "ci/infrabox.json");
    let outcome = cluster.run(&assignment).await;
    assert!(
        outcome.message.contains("asks for a user and a password"),
        "{outcome:?}"
    );

    let password = (Wanted::PASSWORD.to_owned(), SecretName::new("of_git").unwrap());
    assignment = cloning(&server, "ci/infrabox.json");
    assignment.job.secrets = [password].into();
    let values: Values = [(Wanted::PASSWORD.to_owned(), "hunter2-and-more".to_owned())]
        .into_iter()
        .collect();
    *cluster.secrets.0.lock().unwrap() = Some(Ok(values));
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    let log = cluster.log(assignment.attempt).join("\n");
    assert!(log.contains("cloning http://") && !log.contains("hunter"), "{log}");
}
