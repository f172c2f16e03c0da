//! The contract inside a job: paths and environment.

use std::collections::BTreeMap;

use tombolo_core::attempt::ParentJob;
use tombolo_core::build::TerminalState;
use tombolo_core::id::JobId;
use tombolo_core::name::JobName;

use crate::cluster::{Cluster, script};

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_there_under_both_names_and_can_be_written() {
    let cluster = Cluster::new().await;
    let assignment = script(
        "pwd; for root in /tombolo /infrabox; do for name in context inputs output cache shared upload/testresult \
         upload/coverage upload/markup upload/badge upload/archive; do \
         test -d $root/$name && touch $root/$name/f && rm $root/$name/f || echo $root/$name; done; \
         test -s $root/job.json || echo $root/job.json; done",
    );
    let outcome = cluster.run(&assignment).await;
    assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    assert_eq!(cluster.printed(assignment.attempt), ["/tombolo/context"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_file_in_the_output_comes_with_the_end_of_a_command_that_succeeded() {
    let cluster = Cluster::new().await;
    for (end, state) in [("true", TerminalState::Finished), ("exit 1", TerminalState::Failure)] {
        let left = format!("echo '{{}}' > $TOMBOLO_OUTPUT/tombolo.json; mkdir $TOMBOLO_OUTPUT/infrabox.json; {end}");
        let outcome = cluster.run(&script(&left)).await;
        assert_eq!(outcome.state, state, "{outcome:?}");
        let generated = outcome.generated.map(|file| (file.name, file.text));
        let expected = ("tombolo.json".to_owned(), Ok("{}\n".to_owned()));
        assert_eq!(generated, (state == TerminalState::Finished).then_some(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_what_is_promised_and_nothing_else() {
    let cluster = Cluster::new().await;
    let mut assignment = script("env -0 | tr '\\n\\0' ' \\n'");
    assignment.job.environment = [("MINE", "a value"), ("INFRABOX_GIT_TAG", "v1"), ("LANG", "C")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let attempt = assignment.attempt;
    cluster.run(&assignment).await;
    let printed = cluster.printed(attempt);
    let mut found: BTreeMap<&str, &str> = printed.iter().filter_map(|line| line.split_once('=')).collect();
    let (job, build) = (attempt.job.to_string(), assignment.build.build.to_string());
    let project = assignment.build.project.to_string();
    let page = "https://tombolo.example/projects/demo/builds/42";
    let api = "https://tombolo.example/api/v1/projects/demo/builds/42";
    let (job_page, job_api) = (format!("{page}/jobs/job"), format!("{api}/jobs/job"));
    for (name, value) in [
        ("PROJECT_ID", project.as_str()),
        ("PROJECT_NAME", "demo"),
        ("JOB_ID", &job),
        ("JOB_NAME", "job"),
        ("JOB_URL", &job_page),
        ("JOB_API_URL", &job_api),
        ("BUILD_ID", &build),
        ("BUILD_NUMBER", "42"),
        ("BUILD_RESTART_COUNTER", "0"),
        ("BUILD_URL", page),
        ("BUILD_API_URL", api),
        ("GIT_BRANCH", "main"),
        ("COMMIT_ID", "abc123"),
        ("CLUSTER_NAME", "east"),
        ("CLUSTER_LABELS", "AWS,region=us"),
        ("ATTEMPT_EPOCH", "1"),
        ("ROOT", "/"),
        ("CONTEXT", "/context"),
        ("INPUTS", "/inputs"),
        ("OUTPUT", "/output"),
        ("CACHE", "/cache"),
        ("SHARED", "/shared"),
        ("UPLOAD", "/upload"),
        ("JOB_JSON", "/job.json"),
    ] {
        for (family, root) in [("TOMBOLO", "/tombolo"), ("INFRABOX", "/infrabox")] {
            let expected = match value {
                "/" => root.to_owned(),
                path if path.starts_with('/') => format!("{root}{path}"),
                value => value.to_owned(),
            };
            assert_eq!(
                found.remove(format!("{family}_{name}").as_str()),
                Some(expected.as_str()),
                "{family}_{name}"
            );
        }
    }
    for (name, value) in [
        ("MINE", "a value"),
        ("INFRABOX_GIT_TAG", "v1"),
        ("LANG", "C"),
        ("HOME", "/tombolo/home"),
    ] {
        assert_eq!(found.remove(name), Some(value), "{name}");
    }
    assert_eq!(found.remove("TOMBOLO_ATTEMPT"), Some(attempt.to_string().as_str()));
    for name in ["PATH", "TERM"] {
        assert!(found.remove(name).is_some(), "{name}");
    }
    // What a shell adds by itself.
    found.retain(|name, _| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(found, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn job_json_tells_of_job_build_and_parents() {
    let cluster = Cluster::new().await;
    let mut assignment = script("cat /infrabox/job.json");
    assignment.parents = vec![ParentJob {
        job: JobId::from_u128(5),
        name: JobName::new("a/b").unwrap(),
        state: TerminalState::Unstable,
    }];
    cluster.run(&assignment).await;
    let text = cluster.printed(assignment.attempt).join("\n");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["job"]["name"], "job");
    assert_eq!(value["job"]["cluster"], "east");
    assert_eq!(value["build"]["number"], 42);
    assert_eq!(value["project"]["name"], "demo");
    assert_eq!(value["commit"]["id"], "abc123");
    assert_eq!(value["parent_jobs"][0]["name"], "a/b");
    assert_eq!(value["parent_jobs"][0]["state"], "unstable");
}
