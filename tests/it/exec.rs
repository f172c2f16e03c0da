//! Other commands beside those of running jobs.

mod ending;
mod flood;
mod terminal;

use std::io::Write;
use std::process::Stdio;

use crate::access::log_in;
use crate::world::{Printed, World};

/// A job that goes on until somebody ends it.
const LONG: &str = r#"
version: 1
jobs:
  - name: long
    type: docker-image
    image: b
    environment: {GREETING: "hello, you"}
    command: [sh, -c, "pwd; echo up; while :; do sleep 1; done"]
    cluster: {selector: [AWS]}
"#;

/// A world with such a job; its build is the first.
fn running() -> World {
    let world = World::start();
    let build = world.submit(LONG);
    assert_eq!(build, 1);
    world.wait_for_state(build, "long", "running");
    world
}

/// Runs a command beside the job's own.
fn exec(world: &World, options: &[&str], command: &[&str]) -> Printed {
    let arguments = [&["exec", "1", "long"], options, &["--"], command].concat();
    world.tombolo(&arguments)
}

/// Runs a shell script there.
fn script(world: &World, text: &str) -> Printed {
    exec(world, &[], &["sh", "-c", text])
}

fn stop(world: &World) {
    world.tombolo(&["cancel", "1"]).succeeded();
    world.finish(1);
}

#[test]
fn commands_run_in_the_surroundings_of_the_job() {
    let world = running();
    let folder = world.wait_for("the job to print", || {
        let printed = world.tombolo(&["logs", "1", "long"]).succeeded().output;
        let at = printed.lines().position(|line| line == "up")?;
        Some(printed.lines().nth(at - 1)?.to_owned())
    });
    let found = script(
        &world,
        "pwd; echo $GREETING; echo $TOMBOLO_JOB_NAME $INFRABOX_BUILD_NUMBER; id -u; test -d $TOMBOLO_OUTPUT && test -f $TOMBOLO_JOB_JSON \
         && echo there; env | grep -c TOMBOLO_AGENT_; cat | wc -c",
    );
    let user = rustix::process::getuid().as_raw();
    let expected = format!("{folder}\nhello, you\nlong 1\n{user}\nthere\n0\n0\n");
    assert_eq!(found.output, expected, "{found:?}");
    assert_eq!((found.code, found.error.as_str()), (0, ""));
    // What it does there is seen by the job, and stays when the session is over.
    script(&world, "echo kept > $TOMBOLO_OUTPUT/file; cd /; exit 0").succeeded();
    assert_eq!(script(&world, "cat $TOMBOLO_OUTPUT/file").succeeded().output, "kept\n");
    // The name of the only job may be left out.
    let arguments = ["exec", "1", "--", "echo", "a  b", "$HOME"];
    assert_eq!(world.tombolo(&arguments).succeeded().output, "a  b $HOME\n");
    stop(&world);
}

#[test]
fn ends_are_those_of_the_command() {
    let world = running();
    for (text, code, output, error) in [
        ("exit 42", 42, "", ""),
        ("echo out; echo err >&2; exit 255", 255, "out\n", "err\n"),
        ("kill -9 $$", 137, "", ""),
        ("kill -TERM $$", 143, "", ""),
        // What is left in the background holds up nobody.
        ("sleep 600 & echo begun", 0, "begun\n", ""),
    ] {
        let printed = script(&world, text);
        assert_eq!(
            (printed.code, printed.output.as_str(), printed.error.as_str()),
            (code, output, error),
            "{text}: {printed:?}"
        );
    }
    let unknown = exec(&world, &[], &["no-such-program", "x"]);
    assert_eq!(unknown.code, 127, "{unknown:?}");
    assert!(unknown.error.contains("`no-such-program` was not found"), "{unknown:?}");
    let folder = exec(&world, &[], &["/etc"]);
    assert_eq!(folder.code, 126, "{folder:?}");
    assert!(folder.error.contains("`/etc` may not be executed"), "{folder:?}");
    stop(&world);
}

#[test]
fn input_is_passed_on_to_its_end() {
    let world = running();
    // Many times what may be on its way at once, in both directions.
    let text: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut child = world
        .command(&["exec", "1", "long", "--stdin", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("it is piped");
    let writing = {
        let text = text.clone();
        std::thread::spawn(move || input.write_all(&text))
    };
    let output = child.wait_with_output().expect("it ends");
    writing.join().expect("no panic").expect("all of it is taken");
    assert_eq!(output.status.code(), Some(0), "{:?}", Printed::from(output.clone()));
    assert!(
        output.stdout == text,
        "{} of {} bytes came back",
        output.stdout.len(),
        text.len()
    );
    // A command that takes only some of it ends all the same.
    let mut child = world
        .command(&["exec", "1", "long", "-i", "--", "head", "-c", "3"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut input = child.stdin.take().expect("it is piped");
    let writing = std::thread::spawn(move || input.write_all(&vec![b'x'; 3_000_000]));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"xxx"[..]));
    // Whoever writes sees that nobody reads any more, or was in time.
    let _ = writing.join().expect("no panic");
    stop(&world);
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let world = running();
    log_in(&world, "viewer", &["--role", "viewer", "--project", "default"]);
    log_in(&world, "developer", &["--role", "developer", "--project", "default"]);
    let waiting = LONG.replace("[AWS]", "[MARS]").replace("long", "waiting");
    let waiting = world.submit(&waiting).to_string();
    let over = world.run("{version: 1, jobs: [{name: over, type: docker-image, image: b, command: ['true']}]}");
    let over = over["number"].to_string();
    for (arguments, code, words) in [
        (
            &["--context", "viewer", "exec", "1", "long", "--", "true"][..],
            4,
            "needs the role `developer`",
        ),
        (&["exec", "1", "nobody", "--", "true"], 1, "job `nobody` does not exist"),
        (&["exec", "99", "long", "--", "true"], 1, "build 99"),
        (
            &["exec", &waiting, "waiting", "--", "true"],
            1,
            "does not run yet: it is `queued`",
        ),
        (
            &["exec", &over, "over", "--", "true"],
            1,
            "job `over` is over: finished",
        ),
        (&["exec", "1", "long"], 2, "no command is given"),
        (&["exec", "1", "long", "--", ""], 2, "the command is empty"),
    ] {
        let printed = world.tombolo(arguments);
        assert_eq!(printed.code, code, "{arguments:?}: {printed:?}");
        assert!(printed.error.contains(words), "{arguments:?}: {printed:?}");
    }
    let allowed = world.tombolo(&["--context", "developer", "exec", "1", "long", "--", "echo", "yes"]);
    assert_eq!(allowed.succeeded().output, "yes\n");
    // The master has written down who did what, and who was refused.
    let log = std::fs::read_to_string(world.path("logs/master.log")).expect("it is there");
    let opened = log
        .lines()
        .find(|line| line.contains("session opened") && line.contains("echo yes"));
    let opened = opened.unwrap_or_else(|| panic!("no session is recorded: {log}"));
    for word in ["developer", "long", "cluster=east"] {
        assert!(opened.contains(word), "{word}: {opened}");
    }
    assert!(
        log.lines()
            .any(|line| line.contains("session closed") && line.contains("exit code 0")),
        "{log}"
    );
    world.tombolo(&["cancel", &waiting]).succeeded();
    stop(&world);
}
