//! Who may do what.

use std::fs;

use crate::world::World;

const JOB: &str = "{version: 1, jobs: [{name: only, type: docker-image, image: b, command: ['true']}]}";

pub(crate) fn log_in(world: &World, context: &str, arguments: &[&str]) {
    let mut create = vec!["token", "create", context];
    create.extend(arguments);
    let secret = world.tombolo(&create).succeeded().output;
    let contexts = fs::read_to_string(world.path("cli.toml")).expect("readable");
    let value: toml::Table = contexts.parse().expect("valid");
    let dev = &value["contexts"]["dev"];
    let authority = world.write("ca.pem", dev["certificate_authority"].as_str().expect("text"));
    let authority = authority.display().to_string();
    let server = dev["server"].as_str().expect("text");
    let login = [
        "login",
        server,
        "--certificate-authority",
        &authority,
        "--context",
        context,
    ];
    world
        .tombolo_with(&login, &[("TOMBOLO_TOKEN", secret.trim())])
        .succeeded();
    world.tombolo(&["context", "use", "dev"]).succeeded();
}

#[test]
fn roles_are_checked() {
    let world = World::start();
    world.tombolo(&["project", "create", "other"]).succeeded();
    log_in(&world, "viewer", &["--role", "viewer", "--all-projects"]);
    log_in(&world, "developer", &["--role", "developer", "--project", "default"]);
    let file = world.write("tombolo.yaml", JOB).display().to_string();
    for (context, arguments, code) in [
        ("viewer", &["builds"][..], 0),
        ("viewer", &["run", &file], 4),
        ("viewer", &["cluster", "invite", "north"], 4),
        ("developer", &["run", &file], 0),
        ("developer", &["project", "create", "third"], 4),
        ("developer", &["cluster", "invite", "north"], 4),
        ("developer", &["token", "create", "x", "--role", "admin"], 4),
        ("dev", &["cluster", "invite", "north"], 0),
    ] {
        let mut all = vec!["--context", context];
        all.extend(arguments);
        let printed = world.tombolo(&all);
        assert_eq!(printed.code, code, "{all:?}: {printed:?}");
        assert!(code == 0 || printed.error.contains("hint:"), "{printed:?}");
    }
    let foreign = world.tombolo(&["--context", "developer", "--project", "other", "run", &file]);
    assert!([1, 4].contains(&foreign.code), "{foreign:?}");
}

#[test]
fn a_revoked_token_is_refused_at_once() {
    let world = World::start();
    log_in(&world, "viewer", &["--role", "viewer"]);
    world.tombolo(&["--context", "viewer", "builds"]).succeeded();
    let tokens = world.tombolo(&["token", "list", "-o", "json"]).succeeded().json();
    let token = tokens["tokens"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|token| token["name"] == "viewer")
        .expect("it is there")
        .clone();
    world
        .tombolo(&["token", "revoke", token["id"].as_str().expect("text")])
        .succeeded();
    let refused = world.tombolo(&["--context", "viewer", "builds"]);
    assert_eq!(refused.code, 4, "{refused:?}");
}

#[test]
fn a_removed_cluster_is_refused() {
    let world = World::start();
    world.tombolo(&["cluster", "remove", "west"]).succeeded();
    let list = world.tombolo(&["cluster", "list", "-o", "name"]).succeeded();
    assert_eq!(list.output, "east\n");
    // Its agent goes on trying, and stays outside.
    let build = world.submit(&JOB.replace("['true']", "['true'], cluster: {selector: [GCP]}"));
    let jobs = world.tombolo(&["jobs", &build.to_string()]).succeeded();
    assert!(jobs.output.contains("queued"), "{jobs:?}");
    let refused = world.tombolo(&["cancel", "--queued"]);
    assert!(
        refused.code == 2 && refused.error.contains("if that is meant, say `--yes`"),
        "{refused:?}"
    );
    let cancelled = world.tombolo(&["cancel", "--queued", "--yes"]).succeeded();
    let words = "1 job of 1 build in project `default` cancelled; what runs goes on.\n";
    assert_eq!(cancelled.output, words);
    world.finish(build);
    let nothing = world
        .tombolo(&["cancel", "--queued", "--yes", "-o", "json"])
        .succeeded();
    assert_eq!(nothing.json(), serde_json::json!({"jobs": 0, "builds": 0}));
}
