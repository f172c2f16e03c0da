//! Secrets: where they come to, and where they do not.

use std::fs;
use std::path::Path;

use tombolo_agent::secrets::Values;
use tombolo_core::attempt::Assignment;
use tombolo_core::build::TerminalState;
use tombolo_core::name::SecretName;

use crate::cluster::{Cluster, script, until};

const VALUE: &str = "hunter2-and-more";

fn values() -> Values {
    let values = [("PASSWORD", VALUE), ("KEY", "first line\nsecond line\n")];
    let owned = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
    owned.into_iter().collect()
}

fn with_secrets(text: &str) -> Assignment {
    let mut assignment = script(text);
    let named = |variable: &str, name: &str| (variable.to_owned(), SecretName::new(name).unwrap());
    assignment.job.secrets = [named("PASSWORD", "of_registry"), named("KEY", "deploy_key")].into();
    assignment
}

/// The files below a folder that have the bytes in them.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_the_environment_and_nowhere_else() {
    let cluster = Cluster::new().await;
    *cluster.secrets.0.lock().unwrap() = Some(Ok(values()));
    let check = format!(
        "test \"$PASSWORD\" = {VALUE} && printf 'first line\\nsecond'' line\\n' > $TOMBOLO_ROOT/home/expected && \
         printf %s \"$KEY\" | cmp - $TOMBOLO_ROOT/home/expected && rm $TOMBOLO_ROOT/home/expected && touch $TOMBOLO_OUTPUT/there; \
         echo \"it is $PASSWORD\"; printf hunter; sleep 0.2; echo 2-and-more; printf %s \"$KEY\"; \
         echo \"$PASSWORD\" | base64; printf 'user:%s' \"$PASSWORD\" | base64; tr '\\0' '\\n' < /proc/$$/environ | grep -c hunter"
    );
    // What is said here comes to the folder as part of the command.
    let assignment = with_secrets(&check.replace(VALUE, "hunter2-and-'more'"));
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    until(|| cluster.folder(assignment.attempt).started().exists()).await;
    assert_eq!(files_with(&cluster.scratch("attempts"), VALUE.as_bytes()), [""; 0]);
    let outcome = agent.outcome(assignment.attempt).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert!(
        outcome.output.is_some_and(|output| output.files == 1),
        "the values are not what they should be"
    );
    let mut printed = cluster.printed(assignment.attempt);
    let of_user = printed.remove(5);
    assert!(
        of_user.starts_with("dXNlcj") && of_user.ends_with("***") && of_user.len() < 12,
        "{of_user}"
    );
    assert_eq!(printed, ["it is ***", "***", "***", "***", "***", "1"]);
    assert_eq!(files_with(&cluster.scratch("attempts"), VALUE.as_bytes()), [""; 0]);
    assert_eq!(files_with(&cluster.scratch("attempts"), b"second line"), [""; 0]);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_its_secrets_and_ends_with_an_error_if_they_are_denied() {
    let cluster = Cluster::new().await;
    let assignment = with_secrets("echo it runs");
    let mut agent = cluster.start();
    agent.assign(&assignment).await;
    until(|| cluster.folder(assignment.attempt).prepared().exists()).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!cluster.folder(assignment.attempt).started().exists());
    *cluster.secrets.0.lock().unwrap() = Some(Err("project `demo` has no secret `deploy_key`".to_owned()));
    let outcome = agent.outcome(assignment.attempt).await;
    assert_eq!(outcome.state, TerminalState::Error, "{outcome:?}");
    let message = "the job is not given its secrets: project `demo` has no secret `deploy_key`";
    assert_eq!(outcome.message, message);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_masks_what_it_says_itself() {
    let cluster = Cluster::new().await;
    *cluster.secrets.0.lock().unwrap() = Some(Ok(values()));
    let left = "sleep 1; echo $PASSWORD; echo \"{x: $PASSWORD}\" > $TOMBOLO_OUTPUT/tombolo.yaml";
    let assignment = with_secrets(left);
    let first = cluster.start();
    first.assign(&assignment).await;
    until(|| cluster.folder(assignment.attempt).started().exists()).await;
    first.die().await;
    let mut second = cluster.start();
    let outcome = second.outcome(assignment.attempt).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert_eq!(cluster.printed(assignment.attempt), ["***"]);
    let generated = outcome.generated.unwrap().text.unwrap_err();
    assert!(generated.contains("the value of a secret"), "{generated}");
    second.stop().await;
}
