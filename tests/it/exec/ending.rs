//! Sessions that end because something else does.

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{exec, running, stop};
use crate::world::{Printed, World};

/// A session whose command sleeps, in the background too; both for a number of seconds by which they are found.
fn sleeping(world: &World, options: &[&str], seconds: &str) -> Child {
    let text = format!("trap '' HUP; setsid sleep {seconds} & sleep {seconds}; echo woken");
    let arguments = [&["exec", "1", "long"], options, &["--", "sh", "-c", &text]].concat();
    let child = world
        .command(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    world.wait_for("the command to run", || (sleepers(seconds) == 2).then_some(()));
    child
}

/// How many processes sleep so long.
fn sleepers(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let entries = std::fs::read_dir("/proc").expect("readable").filter_map(Result::ok);
    entries
        .filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line == wanted.as_bytes()
        })
        .count()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it lives");
}

fn nobody_sleeps(world: &World, seconds: &str) {
    world.wait_for("the processes to go", || (sleepers(seconds) == 0).then_some(()));
}

fn ended(child: Child) -> Printed {
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn a_user_who_leaves_ends_the_command() {
    let world = running();
    // At once, with no chance to say goodbye.
    let child = sleeping(&world, &[], "86101");
    signal(&child, Signal::KILL);
    drop(ended(child));
    nobody_sleeps(&world, "86101");
    // By Ctrl-C, and as the system ends processes.
    for (number, seconds) in [(Signal::INT, "86102"), (Signal::TERM, "86103")] {
        let child = sleeping(&world, &[], seconds);
        signal(&child, number);
        let printed = ended(child);
        assert_eq!(printed.code, 128 + number.as_raw(), "{printed:?}");
        nobody_sleeps(&world, seconds);
    }
    // A terminal hangs up.
    let child = sleeping(&world, &["--tty"], "86104");
    signal(&child, Signal::KILL);
    drop(ended(child));
    nobody_sleeps(&world, "86104");
    // The job has noticed nothing.
    exec(&world, &[], &["true"]).succeeded();
    stop(&world);
}

#[test]
fn the_end_of_the_job_is_told() {
    let world = running();
    let child = sleeping(&world, &[], "86111");
    stop(&world);
    let printed = ended(child);
    assert_eq!(printed.code, 1, "{printed:?}");
    assert!(printed.error.contains("the job has ended"), "{printed:?}");
    nobody_sleeps(&world, "86111");
}

#[test]
fn an_agent_that_dies_takes_its_sessions_along_and_no_job() {
    let world = running();
    let child = sleeping(&world, &[], "86121");
    world.kill("east");
    let printed = ended(child);
    assert_eq!(printed.code, 5, "{printed:?}");
    assert!(printed.error.contains("cluster `east`"), "{printed:?}");
    nobody_sleeps(&world, "86121");
    // The next agent finds the job, and so does who wants to enter it.
    world.wait_for("the agent to be back", || {
        let again = exec(&world, &[], &["echo", "again"]);
        (again.output == "again\n").then_some(())
    });
    stop(&world);
}

#[test]
fn a_build_has_so_many_sessions_and_no_more() {
    let world = running();
    let children: Vec<Child> = (0..8).map(|_| one_more(&world)).collect();
    let refused = exec(&world, &[], &["true"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.error.contains("8 sessions"), "{refused:?}");
    for child in children {
        signal(&child, Signal::INT);
        assert_eq!(ended(child).code, 130);
    }
    world.wait_for("room", || (exec(&world, &[], &["true"]).code == 0).then_some(()));
    stop(&world);
}

fn one_more(world: &World) -> Child {
    use std::io::Read;
    let mut child = world
        .command(&["exec", "1", "long", "--", "sh", "-c", "echo; sleep 86131"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut first = [0];
    let output = child.stdout.as_mut().expect("it is piped");
    output.read_exact(&mut first).expect("it has begun");
    std::thread::sleep(Duration::from_millis(1));
    child
}
