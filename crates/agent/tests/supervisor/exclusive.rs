//! Commands that end with their cluster's lease.

use tombolo_agent::link::Granted;
use tombolo_runtime::clock;

use super::*;

/// A lease of so many milliseconds that begins now.
fn lease(milliseconds: u64) -> Granted {
    let length = Duration::from_millis(milliseconds);
    Granted {
        until: clock::now().steady + length,
        length,
    }
}

fn exclusive(script: &str, lease: Option<Granted>) -> Attempt {
    let mut attempt = Attempt::new(script);
    attempt.specification.exclusive = true;
    attempt.specification.lease = lease;
    attempt
}

#[test]
fn nothing_is_left_when_the_lease_ends_whatever_the_command_does_about_it() {
    let lease = lease(8000);
    let attempt = exclusive(
        &format!("trap '' TERM; {FAMILY} echo up; while :; do sleep 1; done"),
        Some(lease),
    );
    let mut child = attempt.start();
    attempt.until_printed("up");
    family_is_gone_by(&attempt, lease.until);
    assert!(child.wait().unwrap().success());
    assert_eq!(attempt.exit().ending, Ending::LeaseEnded);
    assert_eq!(
        attempt.log().last().unwrap(),
        "tombolo: the master was not heard of, and the job is `exclusive`; the command is stopped"
    );
}

/// Looks again at the very end of the lease, when another cluster may start the command.
fn family_is_gone_by(attempt: &Attempt, until: Duration) {
    std::thread::sleep(until.saturating_sub(clock::now().steady));
    family_is_gone(attempt);
}

#[test]
fn a_command_may_clean_up_before_the_lease_ends() {
    let attempt = exclusive(
        "trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.02; done",
        Some(lease(4000)),
    );
    let mut child = attempt.start();
    attempt.until_printed("up");
    assert!(child.wait().unwrap().success());
    assert_eq!(attempt.exit().ending, Ending::LeaseEnded);
    assert_eq!(attempt.log().last().unwrap(), "cleaned");
}

#[test]
fn it_goes_on_for_as_long_as_leases_are_told() {
    let first = lease(5000);
    let attempt = exclusive("echo up; read line < /tombolo/context/go; echo $line", Some(first));
    let go = attempt.folder.sandbox().join("context/go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    let mut child = attempt.start();
    let mut socket = attempt.connect();
    // One that ends earlier takes nothing away.
    for milliseconds in [60_000, 1] {
        socket.write_all(&request::lease(&lease(milliseconds))).unwrap();
    }
    std::thread::sleep(first.until.saturating_sub(clock::now().steady));
    std::fs::write(&go, "went\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(attempt.exit().ending, Ending::Exited { code: 0 });
    assert_eq!(attempt.log(), ["up", "went"]);
}

#[test]
fn it_does_not_start_without_a_lease_that_lasts() {
    for lease in [None, Some(lease(0))] {
        let attempt = exclusive("echo ran", lease);
        let exit = attempt.run();
        assert_eq!((exit.ending, exit.started_at), (Ending::LeaseEnded, None));
        assert_eq!(attempt.log(), Vec::<String>::new());
    }
}

#[test]
fn a_command_that_was_asked_to_stop_is_gone_by_the_end_of_the_lease_as_well() {
    let lease = lease(8000);
    let attempt = exclusive(
        &format!("trap '' TERM; {FAMILY} echo up; while :; do sleep 1; done"),
        Some(lease),
    );
    let mut child = attempt.start();
    attempt.until_printed("up");
    attempt.connect().write_all(request::STOP).unwrap();
    family_is_gone_by(&attempt, lease.until);
    assert!(child.wait().unwrap().success());
    assert_eq!(attempt.exit().ending, Ending::Stopped, "the first reason counts");
}

#[test]
fn what_is_no_lease_is_not_taken() {
    let attempt = exclusive("echo up; while :; do sleep 0.05; done", Some(lease(4000)));
    let mut child = attempt.start();
    for said in [
        "lease\n",
        "lease 1\n",
        "lease -1 5\n",
        "lease 99999999999999999999999 5\n",
        "lease 1 2 3\n",
    ] {
        let mut socket = attempt.connect();
        socket.write_all(said.as_bytes()).unwrap();
        assert_eq!(
            socket.read_to_end(&mut Vec::new()).map(|_| ()).ok(),
            Some(()),
            "it hangs up: {said}"
        );
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(attempt.exit().ending, Ending::LeaseEnded);
}
