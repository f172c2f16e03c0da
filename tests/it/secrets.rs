//! Secrets: set by a user, given to a job, and nowhere else.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::world::{Printed, World};

const VALUE: &str = "correct-horse/battery+staple";
const KEY: &str = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nb2F0dGVyeXN0YXBsZQ\n-----END KEY-----\n";

/// Prints its secrets in every way that a shell has, and leaves none of them behind.
const JOB: &str = r#"
version: 1
jobs:
  - name: deploy
    type: docker-image
    image: b
    environment: {TOKEN: {$secret: REGISTRY_token}, KEY: {$secret: deploy_key}, PLAIN: shown}
    command:
      - sh
      - -c
      - |
        echo "plain $PLAIN $TOKEN"
        printf "split $(printf %s "$TOKEN" | cut -c1-9)"; sleep 0.3; printf %s "$TOKEN" | cut -c10-
        printf "user:%s" "$TOKEN" | base64 -w0 | sed 's/^/basic /'; echo
        echo "$TOKEN" | base64 | sed 's/^/base64 /'
        printf %s "$TOKEN" | od -An -v -tx1 | tr -d ' \n' | sed 's/^/hex /'; echo
        printf %s "$TOKEN" | sed 's|/|%2F|; s|+|%2B|; s/^/url /'; echo
        printf %s "$TOKEN" | sed 's|/|\\/|; s/^/json /'; echo
        printf %s "$KEY" | sed 's/^/key /'
        printf %s "$KEY" | base64 | sed 's/^/wrapped /'
        test "$(printf %s "$KEY" | wc -l)" = 4 && test -n "$TOKEN" && echo whole
        sleep 2
"#;

fn set(world: &World, name: &str, value: &str) -> Printed {
    let mut command = world.command(&["secret", "set", name]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(value.as_bytes()).expect("it is read");
    drop(input);
    child.wait_with_output().expect("the program runs").into()
}

/// The files below a folder that have some of the values in them.
fn files_with_secrets(folder: &Path) -> Vec<String> {
    let needles = [VALUE, "MIIEvQIBADANBgkqhkiG9w0", "Y29ycmVjdC1ob3JzZ"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with_secrets(&path));
            continue;
        }
        // Files come and go while a job runs.
        let bytes = fs::read(&path).unwrap_or_default();
        let has = |needle: &str| memchr::memmem::find(&bytes, needle.as_bytes()).is_some();
        found.extend(needles.into_iter().any(has).then(|| path.display().to_string()));
    }
    found
}

#[test]
fn a_job_has_its_secrets_and_nobody_sees_them() {
    let world = World::start();
    let refused = world.tombolo(&["run", &world.write("tombolo.yaml", JOB).display().to_string()]);
    assert_eq!(refused.code, 2, "{refused:?}");
    for part in [
        "`REGISTRY_token` (for job `deploy`)",
        "`deploy_key`",
        "tombolo secret set NAME",
    ] {
        assert!(refused.error.contains(part), "{part} is missing in {refused:?}");
    }
    set(&world, "REGISTRY_token", "an older value").succeeded();
    let said = set(&world, "REGISTRY_token", &format!("{VALUE}\n")).succeeded();
    assert!(!said.output.contains(VALUE) && !said.error.contains(VALUE), "{said:?}");
    let file = world.write("key.pem", KEY);
    let from_file = [
        "secret",
        "set",
        "deploy_key",
        "--from-file",
        &file.display().to_string(),
    ];
    world.tombolo(&from_file).succeeded();
    fs::remove_file(file).expect("it is there");
    let listed = world.tombolo(&["secret", "list", "-o", "name"]).succeeded();
    assert_eq!(
        listed.output.lines().collect::<Vec<_>>(),
        ["REGISTRY_token", "deploy_key"]
    );
    assert!(
        set(&world, "tiny", "abc").succeeded().error.contains("not masked"),
        "too short a value"
    );

    let number = world.submit(JOB);
    world.wait_for_state(number, "deploy", "running");
    assert_eq!(files_with_secrets(&world.path("")), [""; 0], "while it runs");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    let mut log = world.log(number, "deploy");
    log.retain(|line| !line.starts_with("tombolo: "));
    let basic = log
        .iter()
        .position(|line| line.starts_with("basic dXNlcj"))
        .expect("a line of base64");
    assert!(log[basic].ends_with("***"), "{log:#?}");
    log.remove(basic);
    let expected = [
        "plain shown ***",
        "split ***",
        "base64 ***",
        "hex ***",
        "url ***",
        "json ***",
        "key ***",
        "key ***",
        "key ***",
        "key ***",
        "wrapped ***",
        "wrapped ***",
        "whole",
    ];
    assert_eq!(log, expected);
    assert_eq!(files_with_secrets(&world.path("")), [""; 0], "at the end");
    let shown = world.tombolo(&["jobs", &number.to_string(), "-o", "json"]).succeeded();
    assert!(!shown.output.contains(VALUE), "{shown:?}");

    // What is deleted is missing, also for a build that has run with it.
    world.tombolo(&["secret", "delete", "deploy_key"]).succeeded();
    let again = world.tombolo(&["rerun", &number.to_string()]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.error.contains("the secret `deploy_key`"), "{again:?}");
    let gone = world.tombolo(&["secret", "delete", "deploy_key"]);
    assert_eq!(gone.code, 1, "{gone:?}");
}

/// Agent and master die between the assignment and the start: the values are asked for again.
#[test]
fn secrets_reach_a_job_whose_agent_and_master_died_before_it_started() {
    let world = World::start();
    set(&world, "token", VALUE).succeeded();
    let file = r#"
version: 1
jobs:
  - {name: long, type: docker-image, image: b, command: [sh, -c, "echo $X; sleep 6; echo again $X"], environment: {X: {$secret: token}}}
"#;
    let number = world.submit(file);
    world.wait_for_state(number, "long", "running");
    world.kill("master");
    world.kill("east");
    world.kill("west");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    let log = world.log(number, "long");
    assert!(
        log.contains(&"***".to_owned()) && log.contains(&"again ***".to_owned()),
        "{log:#?}"
    );
    assert_eq!(files_with_secrets(&world.path("")), [""; 0]);
}
