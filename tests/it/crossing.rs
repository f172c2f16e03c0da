//! What the product is for: a job's output arrives, verified, at a job on a cluster that shares nothing with the first.

use std::fs;
use std::process::Command;

use crate::world::{World, job, repository};

const TWO_JOBS: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: busybox
    cluster: {selector: [AWS]}
    command:
      - sh
      - -c
      - |
        cd $TOMBOLO_OUTPUT && mkdir -p deep/empty && printf 'hello\n' > deep/greeting
        head -c 3000000 /dev/urandom > noise && ln -s deep/greeting link && : > nothing && chmod 750 deep/greeting
        sha256sum noise deep/greeting
  - name: test
    type: docker-image
    image: busybox
    depends_on: [build]
    cluster: {selector: ["gpu>0"]}
    command:
      - sh
      - -c
      - |
        cd $TOMBOLO_INPUTS/build && sha256sum noise deep/greeting
        test -d deep/empty && test -L link && test "$(cat link)" = hello && test ! -s nothing
        test "$(stat -c %a deep/greeting)" = 750
        cp noise $TOMBOLO_OUTPUT/
"#;

fn crosses(world: &World, route: &str) {
    let build = world.run(TWO_JOBS);
    assert_eq!(build["state"], "finished", "{build:#}");
    let (parent, child) = (job(&build, "build"), job(&build, "test"));
    assert_eq!(parent["cluster"], "east");
    assert_eq!(child["cluster"], "west");
    let input = child["inputs"]
        .as_array()
        .and_then(|inputs| inputs.first())
        .expect("one input");
    assert_eq!(input["parent"], "build");
    assert_eq!(input["from"], "east");
    assert_eq!(input["route"], route);
    assert_eq!(input["digest"], parent["output"]["digest"]);
    assert_eq!(input["bytes"], 3_000_006);
    // The checksums that both jobs printed were made by a program of the machine, not by ours.
    let number = build["number"].as_u64().expect("a number");
    let sums = |job| {
        world
            .log(number, job)
            .into_iter()
            .filter(|line| line.len() > 66)
            .collect::<Vec<_>>()
    };
    let (sent, arrived): (Vec<_>, Vec<_>) = (sums("build"), sums("test"));
    assert!(
        sent.iter().filter(|line| arrived.contains(line)).count() >= 2,
        "{sent:?} {arrived:?}"
    );
}

#[test]
fn by_relay_when_the_agents_cannot_reach_each_other() {
    crosses(&World::start(), "relay");
}

#[test]
fn from_peer_to_peer_when_they_can() {
    crosses(&World::start_direct(), "peer");
}

#[test]
fn the_same_content_does_not_cross_twice() {
    let world = World::start();
    let file = TWO_JOBS.replace("/dev/urandom", "/dev/zero");
    let moved = |build: &serde_json::Value| {
        job(build, "test")["inputs"][0]["moved_bytes"]
            .as_u64()
            .expect("a number")
    };
    let first = world.run(&file);
    assert!(moved(&first) > 0, "{first:#}");
    let second = world.run(&file);
    assert_eq!(second["state"], "finished", "{second:#}");
    assert_eq!(moved(&second), 0, "{second:#}");
    assert_eq!(job(&second, "test")["inputs"][0]["route"], "local");
}

/// What `last` needs of `first` is on its cluster before `second` has ended.
#[test]
fn an_output_comes_before_the_job_that_needs_it() {
    let world = World::start();
    let gate = world.path("gate");
    let file = format!(
        r#"
version: 1
jobs:
  - {{name: first, type: docker-image, image: b, cluster: {{selector: [AWS]}}, command: [sh, -c, "head -c 3000000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]}}
  - {{name: second, type: docker-image, image: b, cluster: {{selector: [AWS]}}, command: [sh, -c, "while ! test -e {}; do sleep 0.05; done"]}}
  - {{name: last, type: docker-image, image: b, cluster: {{selector: [GCP]}}, depends_on: [first, second], command: [sh, -c, "test -s $TOMBOLO_INPUTS/first/noise"]}}
"#,
        gate.display()
    );
    let number = world.submit(&file);
    world.wait_for_state(number, "first", "finished");
    world.wait_for("the output has come ahead", || {
        fs::read_to_string(world.path("logs/west.log"))
            .is_ok_and(|log| log.contains("an output came ahead"))
            .then_some(())
    });
    fs::write(&gate, "").expect("writable");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    let inputs = job(&build, "last")["inputs"].as_array().expect("a list").clone();
    let input = inputs
        .iter()
        .find(|input| input["parent"] == "first")
        .expect("the output");
    assert_eq!(
        (&input["prefetched"], &input["route"], &input["from"]),
        (&true.into(), &"relay".into(), &"east".into())
    );
    assert!(input["moved_bytes"].as_u64() >= Some(3_000_000), "{input:#}");
    let transfers = world.tombolo(&["transfers", &number.to_string()]).succeeded().output;
    assert!(transfers.contains("prefetched"), "{transfers}");
}

/// InfraBox's own example, unchanged.
#[test]
fn a_selector_of_infrabox_is_honoured() {
    let world = World::start();
    let file = repository().join("docs/examples/infrabox/infrabox.json");
    for _ in 0..5 {
        let printed = world
            .tombolo(&["run", &file.display().to_string(), "-o", "name"])
            .succeeded();
        let build = world.finish(printed.output.trim().parse().expect("a number"));
        for job in build["jobs"].as_array().expect("jobs") {
            assert_eq!(job["cluster"], "west", "{build:#}");
        }
    }
}

#[test]
fn source_is_pushed_and_outputs_are_listed_and_downloaded() {
    let world = World::start();
    let source = world.path("source");
    fs::create_dir_all(source.join("ignored")).expect("writable");
    for (name, text) in [
        (".gitignore", "ignored\n"),
        ("ignored/x", "x"),
        ("file", "content\n"),
        (
            "tombolo.yaml",
            "{version: 1, jobs: [{name: only, type: docker-image, image: busybox, \
             command: [sh, -c, 'test ! -e ignored && test -e .gitignore && cp file $TOMBOLO_OUTPUT/copy']}]}",
        ),
    ] {
        fs::write(source.join(name), text).expect("writable");
    }
    let folder = source.display().to_string();
    let printed = world.tombolo(&["push", &folder, "--watch"]).succeeded();
    assert!(printed.output.contains("Source: 3 files"), "{printed:?}");
    assert!(printed.output.contains("Build 1 finished"), "{printed:?}");
    let again = world.tombolo(&["push", &folder, "--watch"]).succeeded();
    assert!(again.output.contains(" 0 B sent"), "{again:?}");

    let listing = world
        .tombolo(&["outputs", "ls", "1", "only", "-o", "json"])
        .succeeded()
        .json();
    assert_eq!(listing["entries"][0]["path"], "copy");
    let to = world.path("download").display().to_string();
    world.tombolo(&["outputs", "get", "1", "only", "--to", &to]).succeeded();
    let same = Command::new("cmp")
        .arg(world.path("download/copy"))
        .arg(source.join("file"))
        .status();
    assert!(same.expect("cmp runs").success());
    let file = world.tombolo(&["outputs", "cat", "1", "only", "copy"]).succeeded();
    assert_eq!(file.output, "content\n");
}

/// A virtual environment of Python is such a folder.
#[test]
fn links_that_lead_out_of_an_output_travel_as_they_are() {
    let world = World::start();
    let build = world.run(
        r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "mkdir $TOMBOLO_OUTPUT/bin && ln -s /bin/sh $TOMBOLO_OUTPUT/bin/shell && ln -s ../../../.. $TOMBOLO_OUTPUT/up"]
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "cd $TOMBOLO_INPUTS/build && readlink bin/shell up && bin/shell -c 'echo it runs'"]
    depends_on: [build]
    cluster: {selector: [GCP]}
"#,
    );
    assert_eq!(build["state"], "finished", "{build:#}");
    let log = world.log(1, "test");
    for line in ["/bin/sh", "../../../..", "it runs"] {
        assert!(log.iter().any(|said| said == line), "{line}: {log:#?}");
    }
}
