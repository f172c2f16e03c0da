//! A shell, and the user's own terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use super::{exec, running, stop};

const SOON: Duration = Duration::from_secs(60);

/// A terminal with a program at it, and somebody who types.
struct Terminal {
    ours: File,
    theirs: OwnedFd,
    shown: Receiver<Vec<u8>>,
    seen: String,
    child: Child,
}

impl Terminal {
    fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        unlockpt(&ours).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let theirs = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("it opens");
        resize(&theirs, columns, rows);
        let stream = || theirs.try_clone().expect("a descriptor");
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let child = command.env("TERM", "vt220").spawn().expect("the program runs");
        let ours = File::from(ours);
        let mut reading = ours.try_clone().expect("a descriptor");
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            ours,
            theirs,
            shown,
            seen: String::new(),
            child,
        }
    }

    fn types(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).expect("it is open");
    }

    /// Waits until the text is shown; what is shown before is passed over.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        let deadline = Instant::now() + SOON;
        while !self.seen.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.shown.recv_timeout(left) {
                Ok(piece) => self.seen.push_str(&String::from_utf8_lossy(&piece)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("`{text}` is not shown, but {:?}", self.seen)
                }
            }
        }
        let end = self.seen.find(text).expect("it is there") + text.len();
        self.seen.drain(..end);
    }

    /// Gives the terminal another size, of which its program hears.
    fn resize(&self, columns: u16, rows: u16) {
        resize(&self.theirs, columns, rows);
        kill_process(Pid::from_child(&self.child), Signal::WINCH).expect("it lives");
    }

    /// Whether keys are handed on as they are.
    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.theirs).expect("it is a terminal").local_modes;
        !modes.contains(rustix::termios::LocalModes::ICANON) && !modes.contains(rustix::termios::LocalModes::ECHO)
    }

    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end; it shows {:?}", self.seen);
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).expect("it is a terminal");
}

#[test]
fn a_shell_has_the_user_s_terminal() {
    let world = running();
    let mut terminal = Terminal::start(world.command(&["exec", "1", "long"]), 100, 40);
    // What is typed is echoed there: the answers are of another form than the questions.
    terminal.types("echo begun-$((40 + 2)); stty size; echo $TERM; tty\n");
    terminal.shows("begun-42");
    terminal.shows("40 100");
    terminal.shows("vt220");
    terminal.shows("/dev/");
    assert!(terminal.is_raw(), "the user's terminal is to hand on every key");
    terminal.resize(120, 50);
    // The new size is on its way; a shell that has it says so.
    terminal.types("until test \"$(stty size)\" = '50 120'; do sleep 0.1; done; echo resized-$((1 + 1))\n");
    terminal.shows("resized-2");
    // Ctrl-C is the command's.
    terminal.types("trap 'echo caught-$((2 + 3))' INT; echo ready-$((2 + 2)); sleep 600\n");
    terminal.shows("ready-4");
    std::thread::sleep(Duration::from_millis(300));
    terminal.types("\u{3}");
    terminal.shows("caught-5");
    terminal.types("exit 7\n");
    assert_eq!(terminal.ended(), Some(7));
    assert!(!terminal.is_raw(), "the user's terminal stays as it was");
    stop(&world);
}

#[test]
fn the_user_s_terminal_is_as_before_whatever_ends_the_session() {
    let world = running();
    for signal in [Signal::TERM, Signal::HUP] {
        let mut terminal = Terminal::start(world.command(&["exec", "1", "long"]), 80, 24);
        terminal.types("echo begun-$((40 + 2))\n");
        terminal.shows("begun-42");
        assert!(terminal.is_raw());
        kill_process(Pid::from_child(&terminal.child), signal).expect("it lives");
        assert_eq!(terminal.ended(), Some(128 + signal.as_raw()));
        assert!(!terminal.is_raw(), "{signal:?}");
    }
    let mut terminal = Terminal::start(world.command(&["exec", "1", "long"]), 80, 24);
    terminal.types("echo begun-$((40 + 2))\n");
    terminal.shows("begun-42");
    stop(&world);
    terminal.shows("the job has ended");
    assert_eq!(terminal.ended(), Some(1));
    assert!(!terminal.is_raw());
}

#[test]
fn a_terminal_can_be_had_without_one() {
    let world = running();
    let printed = exec(
        &world,
        &["--tty"],
        &[
            "sh",
            "-c",
            "test -t 0 && test -t 1 && test -t 2 && stty size; echo err >&2",
        ],
    );
    // A terminal has one output, and its lines end as on screens.
    assert_eq!(
        (printed.code, printed.output.as_str(), printed.error.as_str()),
        (0, "24 80\r\nerr\r\n", ""),
        "{printed:?}"
    );
    stop(&world);
}
