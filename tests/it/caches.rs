//! What a job leaves in its cache folder is there at its next run: on its own cluster, on another one, for other branches.

use serde_json::Value;

use crate::world::{World, job};

const FILE: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    cache: {data: true}
    cluster: {selector: [WHERE]}
    command: [sh, -c, "cd $TOMBOLO_CACHE && cat seen; echo NAME >> seen; test -s noise || head -c 3000000 /dev/urandom > noise; sha256sum noise; exit CODE"]
"#;

/// What the job prints of those that were there before, and of the noise; and the build.
fn run(world: &World, name: &str, branch: &str, label: &str, code: u8) -> (Vec<String>, String, Value) {
    let file = FILE
        .replace("WHERE", label)
        .replace("NAME", name)
        .replace("CODE", &code.to_string());
    let path = world.write("tombolo.yaml", &file).display().to_string();
    let printed = world
        .tombolo(&["run", &path, "--branch", branch, "-o", "name"])
        .succeeded();
    let number = printed.output.trim().parse().expect("a number");
    let build = world.finish(number);
    assert_eq!(
        build["state"],
        if code == 0 { "finished" } else { "failure" },
        "{build:#}"
    );
    let mut seen = world.log(number, "build");
    seen.retain(|line| !line.contains("tombolo: ") && !line.contains("seen: No such file"));
    let noise = seen
        .iter()
        .position(|line| line.ends_with("noise"))
        .map(|place| seen.remove(place))
        .unwrap_or_else(|| panic!("no checksum in {seen:?}"));
    (seen, noise, job(&build, "build"))
}

fn caches(world: &World) -> Vec<(String, String, u64)> {
    let list = world.tombolo(&["cache", "list", "-o", "json"]).succeeded().json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let caches = list["caches"].as_array().expect("a list").iter();
    caches
        .map(|cache| {
            (
                text(&cache["branch"]),
                text(&cache["cluster"]),
                cache["build"].as_u64().expect("a number"),
            )
        })
        .collect()
}

fn line(branch: &str, cluster: &str, build: u64) -> (String, String, u64) {
    (branch.to_owned(), cluster.to_owned(), build)
}

#[test]
fn the_next_build_finds_it_wherever_it_runs() {
    let mut world = World::start();
    let none: [&str; 0] = [];
    let (seen, noise, first) = run(&world, "first", "main", "AWS", 0);
    assert_eq!(seen, none);
    assert_eq!(first["inputs"], Value::Array(Vec::new()));
    assert_eq!(caches(&world), [line("main", "east", 1)]);
    // It was written, not only thought.
    world.restart();
    let (seen, same, _) = run(&world, "second", "main", "AWS", 0);
    assert_eq!((seen, &same), (vec!["first".to_owned()], &noise));
    // Another branch starts from a copy, and leaves its own; so does another cluster, whose store is another one.
    let (seen, same, _) = run(&world, "third", "topic", "AWS", 0);
    assert_eq!((seen, &same), (vec!["first".to_owned(), "second".to_owned()], &noise));
    let (seen, same, far) = run(&world, "fourth", "main", "GCP", 0);
    assert_eq!((seen, &same), (vec!["first".to_owned(), "second".to_owned()], &noise));
    let receipt = &far["inputs"][0];
    assert_eq!(
        (&receipt["cache"], &receipt["from"], &receipt["route"]),
        (&true.into(), &"east".into(), &"relay".into())
    );
    assert!(receipt["moved_bytes"].as_u64() >= Some(3_000_000), "{receipt:#}");
    let transfers = world.tombolo(&["transfers", "4"]).succeeded().output;
    assert!(transfers.contains("4:build:@cache"), "{transfers}");
    let expected = [
        line("main", "east", 2),
        line("main", "west", 4),
        line("topic", "east", 3),
    ];
    assert_eq!(caches(&world), expected);
    // A failure leaves nothing.
    let (seen, ..) = run(&world, "fifth", "main", "AWS", 1);
    assert_eq!(seen, ["first", "second"]);
    assert_eq!(caches(&world), expected);
    // One branch is cleared, then everything.
    let cleared = world
        .tombolo(&["cache", "clear", "build", "--branch", "main"])
        .succeeded();
    assert!(cleared.output.starts_with("2 caches cleared (6"), "{cleared:?}");
    assert_eq!(caches(&world), [line("topic", "east", 3)]);
    for wrong in [
        &["cache", "clear", "biuld"][..],
        &["cache", "clear", "--branch", "nope"],
    ] {
        let refused = world.tombolo(wrong);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.error.contains("`build --branch topic`"), "{refused:?}");
    }
    assert_eq!(caches(&world), [line("topic", "east", 3)]);
    let (seen, ..) = run(&world, "sixth", "main", "AWS", 0);
    assert_eq!(seen, none);
    world.tombolo(&["cache", "clear"]).succeeded();
    assert_eq!(caches(&world), []);
    assert_eq!(world.tombolo(&["cache", "clear", "Not a job"]).code, 2);
}
