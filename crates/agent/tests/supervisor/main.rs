//! The supervisor as a real process, with real commands.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod exclusive;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tombolo_agent::folder::{AttemptFolder, Durability, read_record, write_record};
use tombolo_agent::spool::Reader;
use tombolo_agent::supervisor::{
    ATTEMPT_VARIABLE, Ending, Exit, Presence, SandboxPaths, Specification, Started, kill_remains, presence, request,
};
use tombolo_core::id::{AttemptId, Epoch, JobId};

const PATIENCE: Duration = Duration::from_secs(60);

struct Attempt {
    folder: AttemptFolder,
    specification: Specification,
    _root: tempfile::TempDir,
}

impl Attempt {
    fn new(script: &str) -> Self {
        Self::with_command(&["sh", "-c", script])
    }

    fn with_command(command: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        // Longer than the name of a socket may be.
        let folder = AttemptFolder::new(root.path().join("a".repeat(120)));
        for below in ["context", "output", "home"] {
            std::fs::create_dir_all(folder.sandbox().join(below)).unwrap();
        }
        let attempt = AttemptId {
            job: JobId::from_u128(u128::from(std::process::id()) << 64 | rand::random::<u64>() as u128),
            epoch: Epoch(1),
        };
        let environment = [
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            (ATTEMPT_VARIABLE.to_owned(), attempt.to_string()),
        ];
        let specification = Specification {
            attempt,
            command: command.iter().map(|&word| word.to_owned()).collect(),
            environment: environment.into(),
            job_environment: BTreeMap::new(),
            paths: SandboxPaths::Absolute,
            timeout: PATIENCE,
            stop_grace: PATIENCE,
            log_limit_bytes: 1024 * 1024,
            storage_limit_bytes: None,
            output_limit_bytes: None,
            volumes: Default::default(),
            secrets: Vec::new(),
            exclusive: false,
            lease: None,
            generated: Default::default(),
        };
        Self {
            folder,
            specification,
            _root: root,
        }
    }

    /// Starts the supervisor and waits until it says that the command runs.
    fn start(&self) -> Child {
        write_record(&self.folder.specification(), &self.specification, Durability::Fast).unwrap();
        let mut child = supervisor(self.folder.path());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        child
    }

    fn run(&self) -> Exit {
        let mut child = self.start();
        assert!(child.wait().unwrap().success());
        self.exit()
    }

    fn exit(&self) -> Exit {
        read_record(&self.folder.exit()).unwrap().unwrap()
    }

    fn started(&self) -> Started {
        read_record(&self.folder.started()).unwrap().unwrap()
    }

    fn connect(&self) -> UnixStream {
        self.folder.with_socket(|path| UnixStream::connect(path)).unwrap()
    }

    fn log(&self) -> Vec<String> {
        let lines = Reader::open(&self.folder.log()).unwrap().read(usize::MAX).unwrap();
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect()
    }

    /// Waits until the command has printed `line`.
    fn until_printed(&self, line: &str) {
        until(|| self.log().iter().any(|printed| printed == line));
    }

    fn sandbox_text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.sandbox().join(name))
            .unwrap()
            .trim()
            .to_owned()
    }
}

fn supervisor(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_supervise-for-tests"))
        .arg("supervise")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs; a zombie does not.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn commands_end_in_every_way() {
    for (script, expected) in [
        ("exit 0", Ending::Exited { code: 0 }),
        ("exit 3", Ending::Exited { code: 3 }),
        ("kill -9 $$", Ending::Signalled { signal: 9 }),
        ("kill -TERM $$; sleep 60", Ending::Signalled { signal: 15 }),
    ] {
        let attempt = Attempt::new(script);
        let exit = attempt.run();
        assert_eq!(exit.ending, expected, "{script}");
        assert!(exit.started_at.unwrap() <= exit.ended_at);
        assert_eq!(presence(&attempt.folder).unwrap(), Presence::Absent);
    }
}

#[test]
fn what_cannot_be_started_is_named() {
    let not_a_program = "/tombolo/context/text";
    for (command, words) in [
        (&["no-such-program", "-v"][..], "`no-such-program` was not found"),
        (&["./missing"], "`./missing` was not found"),
        (&["/etc/passwd"], "`/etc/passwd` may not be executed"),
        (&[not_a_program], "is not a program that this system runs"),
        (&["a\0b"], "`a\\0b` contains a NUL byte"),
        (&[], "the command is empty"),
    ] {
        let attempt = Attempt::with_command(command);
        let text = attempt.folder.sandbox().join("context/text");
        std::fs::write(&text, "just text").unwrap();
        std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let exit = attempt.run();
        let Ending::NotStarted { reason } = &exit.ending else {
            panic!("{command:?}: {exit:?}")
        };
        assert!(reason.contains(words), "{command:?}: {reason}");
        assert_eq!(exit.started_at, None);
    }
}

#[test]
fn output_of_both_kinds_is_one_log_in_order() {
    let exit_and_log = Attempt::new("echo one; echo two >&2; printf 'three\\nfour'");
    let exit = exit_and_log.run();
    assert_eq!(exit_and_log.log(), ["one", "two", "three", "four"]);
    assert_eq!(exit.log_lines, 4);
}

#[test]
fn the_sandbox_is_at_its_well_known_paths_and_nowhere_else() {
    let script = "pwd; echo $HOME; echo $TOMBOLO_OUTPUT $INFRABOX_CONTEXT $TOMBOLO_JOB_JSON; echo made > /infrabox/output/made; \
                  cat /tombolo/output/made; ls / | tr '\\n' ' ' | grep -c 'usr'; env | grep -c CARGO";
    let attempt = Attempt::new(script);
    let exit = attempt.run();
    let expected = [
        "/tombolo/context",
        "/tombolo/home",
        "/tombolo/output /infrabox/context /tombolo/job.json",
        "made",
        "1",
        "0",
    ];
    assert_eq!(attempt.log(), expected);
    assert_eq!(
        exit.ending,
        Ending::Exited { code: 1 },
        "grep found nothing of the environment outside"
    );
    assert_eq!(attempt.sandbox_text("output/made"), "made");
    assert!(!Path::new("/infrabox").exists());
    let left = std::fs::read_dir(attempt.folder.path()).unwrap().count();
    assert_eq!(
        left, 8,
        "nothing but records, log, lock, two sockets and sandbox is left"
    );
}

/// As root, gives everything to another user and lets that one supervise; others have no more rights than that one.
#[test]
fn the_well_known_paths_need_no_rights() {
    let attempt = Attempt::new("pwd; id -u; echo made > /infrabox/output/made; cat /tombolo/output/made");
    write_record(
        &attempt.folder.specification(),
        &attempt.specification,
        Durability::Fast,
    )
    .unwrap();
    let root = attempt.folder.path().parent().unwrap();
    let program = root.join("supervise");
    std::fs::copy(env!("CARGO_BIN_EXE_supervise-for-tests"), &program).unwrap();
    let mut command = Command::new(&program);
    command.arg("supervise").arg(attempt.folder.path());
    let mut user = rustix::process::geteuid().as_raw();
    if user == 0 {
        user = 65534;
        assert!(
            Command::new("chown")
                .args(["-R", "65534:65534"])
                .arg(root)
                .status()
                .unwrap()
                .success()
        );
        std::os::unix::process::CommandExt::uid(&mut command, user);
        std::os::unix::process::CommandExt::gid(&mut command, user);
    }
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    assert_eq!(attempt.log(), ["/tombolo/context", &user.to_string(), "made"]);
}

#[test]
fn without_a_namespace_variables_tell_the_paths() {
    let mut attempt = Attempt::new("test ! -e /tombolo; echo $?; pwd; echo $TOMBOLO_ROOT; echo $INFRABOX_OUTPUT");
    attempt.specification.paths = SandboxPaths::Variables;
    attempt.run();
    let sandbox = attempt.folder.sandbox().display().to_string();
    let log = attempt.log();
    assert!(
        log[0].starts_with("tombolo: there is no /tombolo and no /infrabox here"),
        "{log:?}"
    );
    assert_eq!(
        log[1..],
        [
            "0".to_owned(),
            format!("{sandbox}/context"),
            sandbox.clone(),
            format!("{sandbox}/output")
        ]
    );
}

#[test]
fn the_jobs_variables_outrank_the_systems() {
    let mut attempt = Attempt::new("echo $A $B $HOME");
    attempt
        .specification
        .environment
        .extend([("A".to_owned(), "1".to_owned()), ("B".to_owned(), "1".to_owned())]);
    attempt.specification.job_environment =
        [("B".to_owned(), "2".to_owned()), ("HOME".to_owned(), "/h".to_owned())].into();
    attempt.run();
    assert_eq!(attempt.log(), ["1 2 /h"]);
}

/// A script that leaves a child in the group, one in a session of its own and an orphan of an orphan, and then goes on.
const FAMILY: &str = "sleep 600 & echo $! > /tombolo/output/a; \
                      setsid sleep 600 & echo $! > /tombolo/output/b; \
                      (setsid sh -c 'sleep 600 & echo $! > /tombolo/output/c') ; \
                      until test -s /tombolo/output/c; do sleep 0.01; done; ";

fn family_is_gone(attempt: &Attempt) {
    for name in ["output/a", "output/b", "output/c"] {
        let pid = attempt.sandbox_text(name);
        assert!(!runs(&pid), "{name}: {pid} goes on");
    }
}

#[test]
fn nothing_survives_the_end_of_the_command() {
    let attempt = Attempt::new(&format!("{FAMILY} exit 4"));
    assert_eq!(attempt.run().ending, Ending::Exited { code: 4 });
    family_is_gone(&attempt);
}

#[test]
fn nothing_survives_the_timeout_even_if_it_ignores_the_first_signal() {
    let mut attempt = Attempt::new(&format!("trap '' TERM; {FAMILY} while :; do sleep 1; done"));
    attempt.specification.timeout = Duration::from_millis(500);
    attempt.specification.stop_grace = Duration::from_millis(300);
    let exit = attempt.run();
    assert_eq!(exit.ending, Ending::TimedOut);
    let ran = exit.ended_at.0 - exit.started_at.unwrap().0;
    assert!((800..20_000).contains(&ran), "{ran} ms");
    family_is_gone(&attempt);
    assert_eq!(
        attempt.log(),
        ["tombolo: the time is up after 500ms; the command is stopped"]
    );
}

#[test]
fn a_command_that_heeds_the_first_signal_may_clean_up() {
    let attempt = Attempt::new("trap 'echo cleaned; exit 0' TERM; echo up; while :; do sleep 0.05; done");
    let mut child = attempt.start();
    attempt.until_printed("up");
    let mut socket = attempt.connect();
    socket.write_all(request::STOP).unwrap();
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    assert_eq!(
        attempt.exit().ending,
        Ending::Stopped,
        "the exit is there when the socket is closed"
    );
    assert!(heard.iter().all(|byte| *byte == b'.'), "{heard:?}");
    assert!(child.wait().unwrap().success());
    // Some shells also say that their `sleep` was terminated.
    let log = attempt.log();
    assert_eq!(
        log[..2],
        ["up", "tombolo: a stop was asked for; the command is stopped"]
    );
    assert_eq!(log.last().unwrap(), "cleaned");
}

#[test]
fn a_kill_does_not_wait_for_the_grace() {
    let attempt = Attempt::new("trap '' TERM; echo up; while :; do sleep 0.05; done");
    let mut child = attempt.start();
    attempt.until_printed("up");
    let mut socket = attempt.connect();
    socket.write_all(request::STOP).unwrap();
    socket.write_all(request::KILL).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(attempt.exit().ending, Ending::Stopped);
}

#[test]
fn nonsense_on_the_socket_disturbs_nothing() {
    let attempt = Attempt::new("read line < /tombolo/context/go; echo $line");
    let go = attempt.folder.sandbox().join("context/go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    let mut child = attempt.start();
    for said in [&b"stop it\n"[..], &[b'x'; 10_000], b"\0\n"] {
        let mut socket = attempt.connect();
        let _ = socket.write_all(said);
        let _ = socket.read_to_end(&mut Vec::new());
    }
    let many: Vec<UnixStream> = (0..40).map(|_| attempt.connect()).collect();
    std::fs::write(&go, "went\n").unwrap();
    assert!(child.wait().unwrap().success());
    drop(many);
    assert_eq!(attempt.exit().ending, Ending::Exited { code: 0 });
    assert_eq!(attempt.log(), ["went"]);
}

#[test]
fn a_command_runs_at_most_once() {
    let attempt = Attempt::new("echo ran");
    attempt.run();
    assert!(!supervisor(attempt.folder.path()).wait().unwrap().success());
    assert_eq!(attempt.log(), ["ran"]);

    let attempt = Attempt::new("sleep 600");
    let mut child = attempt.start();
    assert!(!supervisor(attempt.folder.path()).wait().unwrap().success());
    attempt.connect().write_all(request::KILL).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_death_of_a_supervisor_is_seen_and_its_remains_are_killed() {
    let attempt = Attempt::new(&format!("{FAMILY} echo up; sleep 600"));
    let mut child = attempt.start();
    attempt.until_printed("up");
    assert_eq!(presence(&attempt.folder).unwrap(), Presence::Alive);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(presence(&attempt.folder).unwrap(), Presence::Absent);
    assert!(!attempt.folder.exit().exists());
    let command = attempt.started().command.to_string();
    assert!(runs(&command));
    assert!(kill_remains(attempt.specification.attempt).unwrap() >= 4);
    assert!(!runs(&command));
    family_is_gone(&attempt);
}

#[test]
fn the_death_of_whoever_started_it_goes_unnoticed() {
    let attempt = Attempt::new("echo up; read line < /tombolo/context/go; echo $line");
    let go = attempt.folder.sandbox().join("context/go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    write_record(
        &attempt.folder.specification(),
        &attempt.specification,
        Durability::Fast,
    )
    .unwrap();
    // A shell that has the supervisor in its own process group, and is killed with it.
    let script = "\"$0\" supervise \"$1\" > /dev/null & wait";
    let mut shell = std::os::unix::process::CommandExt::process_group(
        Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_supervise-for-tests")])
            .arg(attempt.folder.path()),
        0,
    )
    .spawn()
    .unwrap();
    until(|| attempt.folder.log().exists() && attempt.log() == ["up"]);
    let group = rustix::process::Pid::from_raw(shell.id() as i32).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    shell.wait().unwrap();
    assert_eq!(presence(&attempt.folder).unwrap(), Presence::Alive);
    let mut socket = attempt.connect();
    std::fs::write(&go, "went on\n").unwrap();
    socket.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(attempt.exit().ending, Ending::Exited { code: 0 });
    assert_eq!(attempt.log(), ["up", "went on"]);
}

#[test]
fn usage_is_measured() {
    let attempt = Attempt::new("head -c 64000000 /dev/zero | tail -c 64000000 | wc -c");
    let exit = attempt.run();
    assert_eq!(attempt.log(), ["64000000"]);
    assert!(exit.usage.peak_resident_bytes > 64_000_000, "{exit:?}");
    assert!(exit.usage.user_time + exit.usage.system_time > Duration::ZERO);
}

#[test]
fn a_gigabyte_of_log_takes_little_memory_and_says_what_is_cut() {
    let mut attempt =
        Attempt::new("yes 'a line of a log that nobody wants to read' | head -c 1000000000; echo; echo the end");
    attempt.specification.log_limit_bytes = 64 * 1024 * 1024;
    let begin = Instant::now();
    let mut child = attempt.start();
    let mut peak = String::new();
    while let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", child.id())) {
        match status.lines().find(|line| line.starts_with("VmHWM")) {
            Some(line) => peak = line.to_owned(),
            None => break,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    let log = attempt.log();
    println!(
        "supervisor of 1 GB: {} in {:?}, {} lines kept",
        peak,
        begin.elapsed(),
        log.len()
    );
    assert_eq!(attempt.exit().ending, Ending::Exited { code: 0 });
    assert_eq!(log.last().unwrap(), "the end");
    let cut = log.iter().find(|line| line.contains("are left out here")).unwrap();
    assert!(
        cut.starts_with("tombolo: the log reached its limit of 67108864 bytes"),
        "{cut}"
    );
    let kilobytes: u64 = peak.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    // Measured: 23 MiB, most of them pages of a program with debug information.
    assert!(kilobytes < 32 * 1024, "{peak}");
    let size = std::fs::metadata(attempt.folder.log()).unwrap().len();
    assert!(size < 65 * 1024 * 1024, "{size}");
}

#[test]
fn a_full_disk_ends_the_command_and_is_said() {
    let attempt = Attempt::new("yes");
    std::fs::remove_file(attempt.folder.log()).unwrap_or_default();
    std::os::unix::fs::symlink("/dev/full", attempt.folder.log()).unwrap();
    let mut child = attempt.start();
    // The log's end cannot be written either: the supervisor fails, which its absence tells.
    assert!(!child.wait().unwrap().success());
    assert_eq!(presence(&attempt.folder).unwrap(), Presence::Absent);
    assert!(!runs(&attempt.started().command.to_string()));
}
