//! Jobs that clone a repository, and what is made of the job file in it: on clusters of both kinds.

#[path = "../../crates/agent/tests/clone/server.rs"]
mod server;

use serde_json::Value;
use server::{Manner, Repository, Server};

use crate::world::{World, job};

const FILE: &str = r#"{"version": 1, "jobs": [
  {"name": "compile", "type": "docker-image", "image": "b", "environment": {"WHO": "the file"},
   "command": ["sh", "-c", "cat hello; echo by $WHO; cp hello $TOMBOLO_OUTPUT/; cat made.json > $TOMBOLO_OUTPUT/infrabox.json"],
   "cluster": {"selector": ["GCP"]}},
  {"name": "parts", "type": "workflow", "infrabox_file": "parts/infrabox.json", "depends_on": ["compile"]}
]}"#;

const PARTS: &str = r#"{"version": 1, "jobs": [
  {"name": "test", "type": "docker-image", "image": "b", "command": ["sh", "-c", "cat hello; echo in a workflow"], "cluster": {"selector": ["AWS"]}}
]}"#;

/// What a job of the clone makes, with a workflow of the clone.
const MADE: &str = r#"{"version": 1, "jobs": [
  {"name": "more", "type": "workflow", "infrabox_file": "parts/infrabox.json"}
]}"#;

fn repository() -> Repository {
    let repository = Repository::new();
    repository.commit(
        "main",
        &[
            ("ci/infrabox.json", FILE),
            ("ci/parts/infrabox.json", PARTS),
            ("parts/infrabox.json", PARTS),
            ("made.json", MADE),
            ("hello", "hello from the repository\n"),
        ],
    );
    repository
}

fn build_file(server: &Server) -> String {
    format!(
        r#"
version: 1
jobs:
  - name: shop
    type: git
    clone_url: {}
    commit: main
    branch: main
    infrabox_file: ci/infrabox.json
    environment: {{WHO: the git job}}
    cluster: {{selector: [AWS]}}
  - name: after
    type: docker-image
    image: b
    command: [sh, -c, "cat $TOMBOLO_INPUTS/shop/hello; test -z \"$(ls $TOMBOLO_CONTEXT)\""]
    depends_on: [shop]
"#,
        server.url
    )
}

fn states(build: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let jobs = build["jobs"].as_array().expect("a list of jobs");
    jobs.iter()
        .map(|job| (text(&job["name"]), text(&job["state"])))
        .collect()
}

#[test]
fn the_jobs_of_a_repository_run_on_its_clone() {
    let world = World::start();
    let repository = repository();
    let server = Server::start(&repository, Manner::default());
    let build = world.run(&build_file(&server));
    assert_eq!(build["state"], "finished", "{build:#}");
    let names: Vec<String> = states(&build).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "shop",
            "after",
            "shop/compile",
            "shop/parts/test",
            "shop/parts",
            "shop/compile/more/test",
            "shop/compile/more",
        ]
    );
    assert_eq!(job(&build, "shop")["cluster"], "east", "{build:#}");
    assert_eq!(job(&build, "shop/compile")["cluster"], "west", "{build:#}");
    let printed = |job: &str| {
        let mut log = world.log(1, job);
        log.retain(|line| !line.contains("tombolo: "));
        log
    };
    assert_eq!(printed("shop/compile"), ["hello from the repository", "by the git job"]);
    assert_eq!(
        printed("shop/parts/test"),
        ["hello from the repository", "in a workflow"]
    );
    assert_eq!(
        printed("shop/compile/more/test"),
        ["hello from the repository", "in a workflow"]
    );

    // One of these jobs alone, again, on the clone that there is.
    drop(server);
    let again = world
        .tombolo(&["rerun", "1", "shop/parts/test", "-o", "name"])
        .succeeded();
    let build = world.finish(again.output.trim().parse().expect("a number"));
    assert_eq!(build["state"], "finished", "{build:#}");
}

#[test]
fn a_clone_survives_crashes() {
    let world = World::start();
    let repository = repository();
    let server = Server::start(&repository, Manner::default());
    let gate = world.path("gate").display().to_string();
    let file = build_file(&server);
    let waiting = FILE.replace(
        "cat hello; echo by",
        &format!("until test -e {gate}; do sleep 0.1; done; cat hello; echo by"),
    );
    repository.commit("main", &[("ci/infrabox.json", &waiting)]);
    let number = world.submit(&file);
    // Only then there is the other one.
    world.wait_for_state(number, "shop", "finished");
    world.wait_for_state(number, "shop/compile", "running");
    world.kill("master");
    world.kill("east");
    std::fs::write(&gate, "").expect("files can be written");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
}

#[test]
fn what_cannot_be_cloned_is_an_error_and_its_children_are_skipped() {
    let world = World::start();
    let repository = repository();
    let manner = Manner {
        login: Some("nobody".to_owned()),
        ..Manner::default()
    };
    let (server, closed) = (
        Server::start(&repository, Manner::default()),
        Server::start(&repository, manner),
    );
    for (file, words) in [
        (build_file(&closed), "asks for a user and a password"),
        (
            build_file(&server).replace("ci/infrabox", "ci/gone"),
            "has no file `ci/gone.json`",
        ),
        (
            build_file(&server).replace("branch: main", "branch: gone"),
            "has no branch `gone`",
        ),
        (build_file(&server).replace("ci/infrabox.json", "hello"), "is not valid"),
    ] {
        let build = world.run(&file);
        let expected =
            [("shop", "error"), ("after", "skipped")].map(|(name, state)| (name.to_owned(), state.to_owned()));
        assert_eq!(states(&build), expected, "{build:#}");
        let message = job(&build, "shop")["message"].as_str().expect("a text").to_owned();
        assert!(message.contains(words), "`{words}` is not in `{message}`");
    }
}
