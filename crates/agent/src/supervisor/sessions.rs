//! Commands that others start beside the attempt's own, with its surroundings: what they are started with is sent to whoever wants them,
//! who does all the rest. A command whose connection ends is ended; all of them end with the attempt.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Pid, Signal, WaitStatus};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tombolo_runtime::clock;

use super::capture::Capture;
use super::duty::wall;
use super::launch::{Launch, process_id};
use super::packet::{self, Word};
use super::{descendants, enter};
use crate::exec::{Exit, Failure, Reason, Request, Size};
use crate::folder::AttemptFolder;

/// Commands beside the attempt's own at one time.
const LIMIT: usize = 16;
/// How long a connection may take to say what it wants, and a command that nobody listens to may go on.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const HANG_UP_GRACE: Duration = Duration::from_secs(2);
/// This program, whatever it is called.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Processes of the same user.
    Own,
    /// Whoever reaches the folder: the courier of a pod is another user.
    All,
}

/// The socket, and what was started by those who came to it. Dropping it tells them that the attempt is over.
pub(super) struct Sessions {
    /// None if there is no such socket: then nobody comes.
    socket: Option<OwnedFd>,
    open: Vec<Session>,
}

struct Session {
    connection: OwnedFd,
    state: State,
}

enum State {
    /// It has not said what it wants.
    New {
        until: Duration,
    },
    Running {
        process: Pid,
    },
    /// Nobody listens any more.
    Leaving {
        process: Pid,
        kill_at: Duration,
    },
    Over,
}

impl Sessions {
    /// Listens in the attempt's folder. Where that is not possible, the attempt goes on without, and its log says so.
    pub(super) fn open(folder: &AttemptFolder, access: Access, log: &mut Capture) -> Self {
        let socket = match Self::listen(folder, access) {
            Ok(socket) => Some(socket),
            Err(error) => {
                // If the log cannot be written, the next line to be written will say so.
                let _ = log.note(wall(), &format!("`tombolo exec` cannot enter this job: {error}"));
                None
            }
        };
        let open = Vec::new();
        Self { socket, open }
    }

    fn listen(folder: &AttemptFolder, access: Access) -> io::Result<OwnedFd> {
        let socket = packet::listen_in(folder)?;
        let mode = match access {
            Access::Own => 0o600,
            Access::All => 0o666,
        };
        folder.with_sessions_socket(|path| fs::set_permissions(path, fs::Permissions::from_mode(mode)))?;
        Ok(socket)
    }

    /// What to poll for input.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let connections = self.open.iter().filter(|session| session.listens());
        let connections = connections.map(|session| session.connection.as_fd());
        self.socket.iter().map(AsFd::as_fd).chain(connections)
    }

    /// When [`Self::serve`] has something to do even if nobody says anything.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let deadlines = self.open.iter().filter_map(|session| match session.state {
            State::New { until } => Some(until),
            State::Leaving { kill_at, .. } => Some(kill_at),
            State::Running { .. } | State::Over => None,
        });
        deadlines.min()
    }

    /// Takes new connections in, starts what they want, and ends what nobody listens to any more.
    pub(super) fn serve(&mut self, launch: Launch<'_>) {
        let now = clock::now().steady;
        self.accept(now);
        for session in &mut self.open {
            session.serve(launch, now);
        }
        self.open.retain(|session| !matches!(session.state, State::Over));
    }

    fn accept(&mut self, now: Duration) {
        let Some(socket) = &self.socket else { return };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(connection) = accept_with(socket, flags) {
            if self.open.len() >= LIMIT {
                let message = format!("{LIMIT} commands run beside the job's own already");
                // Who does not hear it is gone.
                let _ = packet::send(&connection, &Word::Refused(Failure::new(Reason::TooMany, message)), &[]);
                continue;
            }
            let until = now.saturating_add(REQUEST_DEADLINE);
            let state = State::New { until };
            self.open.push(Session { connection, state });
        }
    }

    /// Takes note of a child that has ended; those that are not of a session are somebody else's. `stopping` says that the attempt is
    /// being ended: a signal was that, then, and the connection ends without a word, as with the attempt.
    pub(super) fn ended(&mut self, child: Pid, status: WaitStatus, stopping: bool) {
        let Some(session) = self.open.iter_mut().find(|session| session.process() == Some(child)) else {
            return;
        };
        match session.state {
            State::Running { .. } if stopping && status.signaled() => {}
            // What it has left in the background goes on, as in any shell, and ends with the attempt.
            State::Running { .. } => {
                let _ = packet::send(&session.connection, &Word::Exited(exit(status)), &[]);
            }
            // Nobody wants anything of it any more.
            _ => descendants::signal_session(child, Signal::KILL),
        }
        session.state = State::Over;
        self.open.retain(|session| !matches!(session.state, State::Over));
    }
}

impl Session {
    const fn process(&self) -> Option<Pid> {
        match self.state {
            State::Running { process } | State::Leaving { process, .. } => Some(process),
            State::New { .. } | State::Over => None,
        }
    }

    const fn listens(&self) -> bool {
        matches!(self.state, State::New { .. } | State::Running { .. })
    }

    fn serve(&mut self, launch: Launch<'_>, now: Duration) {
        match self.state {
            State::New { until } => match packet::receive(&self.connection) {
                Ok(Some((request, _))) => self.state = self.begin(&request, launch),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && now < until => {}
                Ok(None) | Err(_) => self.state = State::Over,
            },
            State::Running { process } => match packet::receive::<serde_json::Value>(&self.connection) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                // It has left, or talks nonsense.
                _ => {
                    descendants::signal_session(process, Signal::HUP);
                    let kill_at = now.saturating_add(HANG_UP_GRACE);
                    self.state = State::Leaving { process, kill_at };
                }
            },
            State::Leaving { process, kill_at } if now >= kill_at => {
                descendants::signal_session(process, Signal::KILL);
                let kill_at = now.saturating_add(HANG_UP_GRACE);
                self.state = State::Leaving { process, kill_at };
            }
            State::Leaving { .. } | State::Over => {}
        }
    }

    /// Starts what is wanted.
    fn begin(&self, request: &Request, launch: Launch<'_>) -> State {
        let started = match request.fault() {
            Some(fault) => Err(io::Error::new(io::ErrorKind::InvalidInput, fault)),
            None => start(request, launch),
        };
        match started {
            Ok(Started { process, ours }) => {
                let ours: Vec<BorrowedFd<'_>> = ours.iter().map(AsFd::as_fd).collect();
                // Who does not hear it is gone, which is seen next.
                let _ = packet::send(&self.connection, &Word::Started, &ours);
                State::Running { process }
            }
            Err(error) => {
                let failure = Failure::new(Reason::Fault, format!("the command cannot be started: {error}"));
                let _ = packet::send(&self.connection, &Word::Refused(failure), &[]);
                State::Over
            }
        }
    }
}

/// A command that runs, and the ends of its streams that are not its own.
struct Started {
    process: Pid,
    ours: Vec<OwnedFd>,
}

fn start(request: &Request, launch: Launch<'_>) -> io::Result<Started> {
    let mut command = launch.program(OWN_PROGRAM);
    command.arg(enter::WORD);
    let ours = match &request.terminal {
        Some(terminal) => {
            let (user, ours) = open_terminal(terminal.size)?;
            if !terminal.kind.is_empty() {
                command.env("TERM", &terminal.kind);
            }
            command.arg(enter::TERMINAL);
            command.stdin(user.try_clone()?).stdout(user.try_clone()?).stderr(user);
            vec![ours]
        }
        None => with_pipes(&mut command, request.stdin)?,
    };
    command.arg(enter::END).args(&request.command);
    let process = process_id(command.spawn()?.id());
    Ok(Started { process, ours })
}

fn with_pipes(command: &mut Command, stdin: bool) -> io::Result<Vec<OwnedFd>> {
    let mut ours: Vec<OwnedFd> = Vec::new();
    if stdin {
        let (reader, writer) = io::pipe()?;
        command.stdin(reader);
        ours.push(writer.into());
    } else {
        command.stdin(Stdio::null());
    }
    let (output, writer) = io::pipe()?;
    command.stdout(writer);
    let (errors, writer) = io::pipe()?;
    command.stderr(writer);
    ours.extend([output.into(), errors.into()]);
    Ok(ours)
}

/// A fresh terminal: its user's end, and the other.
fn open_terminal(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let user = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    set_size(&user, size)?;
    Ok((user, ours))
}

/// Tells a terminal its size, by either of its ends.
pub(crate) fn set_size(terminal: impl AsFd, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

fn exit(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (None, Some(signal)) => Exit::Signal(signal),
        (code, _) => Exit::Code(code.unwrap_or(1)),
    }
}
