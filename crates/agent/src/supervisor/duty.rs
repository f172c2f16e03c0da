//! The supervisor's one loop: from the start of the command to the end of the last of its processes.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitStatus, pidfd_open};
use tombolo_core::time::Timestamp;
use tombolo_runtime::clock;

use super::capture::Capture;
use super::launch::Launch;
use super::listeners::{Listeners, Request};
use super::memory::MemoryGroup;
use super::sessions::Sessions;
use super::storage::{Filling, Storage};
use super::surroundings::Surroundings;
use super::tenure::Tenure;
use super::{Ending, Error, Exit, Specification, Started, Usage, descendants};
use crate::folder::{AttemptFolder, Durability, write_record};
use crate::secrets::Values;

/// One read of what the command prints.
const READ_BYTES: usize = 256 * 1024;

/// Reads in a row before anything else is looked at.
const READS_IN_A_ROW: usize = 16;

/// How often to collect orphans at least.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How long the pipe may stay open after all processes were killed: one that could not be killed may hold it.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the command to its end. `announce` is called once it runs, or has turned out not to.
pub(super) fn serve(
    folder: &AttemptFolder,
    (specification, secrets): (&Specification, &Values),
    surroundings: &Surroundings,
    listeners: &mut Listeners,
    sessions: Sessions,
    mut log: Capture,
    announce: fn(),
) -> Result<Exit, Error> {
    let killed_before = killed_for_memory(surroundings);
    let launch = Launch {
        specification,
        secrets,
        surroundings,
    };
    let started = match Tenure::of(specification).is_over(listeners) {
        true => Err(Ending::LeaseEnded),
        false => launch.start(),
    };
    let (output, command) = match started {
        Ok(started) => started,
        Err(ending) => {
            let exit = end(ending, None, log, Usage::default())?;
            // The exit is there before anybody is told.
            write_record(&folder.exit(), &exit, Durability::Fast).map_err(Error::system("cannot write the exit"))?;
            announce();
            return Ok(exit);
        }
    };
    let started_at = wall();
    let started = Started {
        supervisor: std::process::id(),
        command: command.as_raw_nonzero().get().unsigned_abs(),
        started_at,
    };
    let recorded = write_record(&folder.started(), &started, Durability::Fast);
    announce();
    sync_soon(folder.started());
    let sandbox = &surroundings.paths.tombolo;
    let mut duty = match Duty::new(launch, listeners, sessions, &mut log, output, command, sandbox) {
        Ok(duty) => duty,
        Err(error) => {
            descendants::kill_all(command);
            return Err(Error::system("cannot watch the command")(error));
        }
    };
    if let Err(error) = recorded {
        duty.fault(format!("cannot record the start: {error}"));
    }
    duty.listeners.spool_has_grown();
    let mut ending = duty.run();
    if killed_for_memory(surroundings) > killed_before {
        ending = duty.out_of_memory(ending, surroundings.memory.as_ref().and_then(MemoryGroup::limit));
    }
    end(ending, Some(started_at), log, usage())
}

/// Has the start of a command on the disk soon, so that a machine whose power fails does not start it again. Nobody waits for that; if it cannot be
/// done, the system writes it within a minute or so.
fn sync_soon(record: PathBuf) {
    let sync = move || {
        let folder = record.parent().unwrap_or(&record);
        let _ = File::open(&record).and_then(|file| file.sync_all());
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    };
    let _ = std::thread::Builder::new().name("sync".to_owned()).spawn(sync);
}

fn end(ending: Ending, started_at: Option<Timestamp>, log: Capture, usage: Usage) -> Result<Exit, Error> {
    let ended_at = wall();
    Ok(Exit {
        ending,
        started_at,
        ended_at,
        log_lines: log.finish(ended_at).map_err(Error::system("cannot write the log"))?,
        usage,
    })
}

/// What the command and all its descendants used, as far as they were collected.
fn usage() -> Usage {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return Usage::default();
    };
    let duration =
        |time: nix::sys::time::TimeVal| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0));
    Usage {
        peak_resident_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
        user_time: duration(usage.user_time()),
        system_time: duration(usage.system_time()),
    }
}

fn killed_for_memory(surroundings: &Surroundings) -> u64 {
    surroundings.memory.as_ref().and_then(MemoryGroup::kills).unwrap_or(0)
}

pub(super) fn wall() -> Timestamp {
    Timestamp(clock::now().wall_milliseconds)
}

/// Why the command is being stopped, and when it will be killed.
struct Stopping {
    ending: Ending,
    kill_at: Duration,
}

struct Duty<'duty> {
    launch: Launch<'duty>,
    listeners: &'duty mut Listeners,
    sessions: Sessions,
    log: &'duty mut Capture,
    /// None after its end.
    output: Option<PipeReader>,
    buffer: Vec<u8>,
    command: Pid,
    handle: OwnedFd,
    deadline: Duration,
    stopping: Option<Stopping>,
    tenure: Tenure,
    /// The command is being stopped because of that, or faster because of that.
    lease_is_over: bool,
    storage: Option<Storage>,
}

impl<'duty> Duty<'duty> {
    fn new(
        launch: Launch<'duty>,
        listeners: &'duty mut Listeners,
        sessions: Sessions,
        log: &'duty mut Capture,
        output: PipeReader,
        command: Pid,
        sandbox: &Path,
    ) -> io::Result<Self> {
        let now = clock::now().steady;
        let storage = |limit| Storage::new(sandbox.to_owned(), launch.specification.volumes, limit, now);
        Ok(Self {
            launch,
            listeners,
            sessions,
            log,
            output: Some(output),
            buffer: vec![0; READ_BYTES],
            command,
            handle: pidfd_open(command, PidfdFlags::empty())?,
            deadline: now.saturating_add(launch.specification.timeout),
            stopping: None,
            tenure: Tenure::of(launch.specification),
            lease_is_over: false,
            storage: launch.specification.storage_limit_bytes.map(storage),
        })
    }

    fn run(&mut self) -> Ending {
        let mut status = None;
        while status.is_none() {
            let ready = self.wait();
            if let Err(error) = ready.and_then(|()| self.read_output()) {
                self.fault(format!("cannot keep the log: {error}"));
            }
            match self.listeners.serve() {
                Some(Request::Terminate) => self.stop(Ending::Terminated, self.launch.specification.stop_grace),
                Some(Request::Stop) => self.stop(Ending::Stopped, self.launch.specification.stop_grace),
                Some(Request::Kill) => self.stop(Ending::Stopped, Duration::ZERO),
                Some(Request::Begin) | None => {}
            }
            self.sessions.serve(self.launch);
            self.heed_time();
            let (sessions, is_stopping) = (&mut self.sessions, self.stopping.is_some());
            status = descendants::reap(self.command, |child, status| sessions.ended(child, status, is_stopping)).main;
        }
        let rest = descendants::kill_all(self.command);
        self.drain();
        if rest.remaining {
            self.say("some of the command's processes cannot be killed and go on");
        }
        match self.stopping.take() {
            Some(stopping) => stopping.ending,
            None => status.map_or_else(|| unknown("nothing"), ended_by),
        }
    }

    /// Until something happens, or the next moment at which something must.
    fn wait(&self) -> io::Result<()> {
        let next = self
            .stopping
            .as_ref()
            .map_or(self.deadline, |stopping| stopping.kill_at);
        let stop_at = self.tenure.stop_at(self.listeners).filter(|_| !self.lease_is_over);
        let next = stop_at.map_or(next, |at| at.min(next));
        let next = self.sessions.deadline().map_or(next, |deadline| deadline.min(next));
        let next = self
            .storage
            .as_ref()
            .map_or(next, |storage| next.min(storage.next_at()));
        let pause = next.saturating_sub(clock::now().steady).min(LONGEST_WAIT);
        let timeout = Timespec::try_from(pause).map_err(io::Error::other)?;
        let mut descriptors = vec![PollFd::new(&self.handle, PollFlags::IN)];
        descriptors.extend(self.output.as_ref().map(|output| PollFd::new(output, PollFlags::IN)));
        let clients = self.listeners.descriptors().chain(self.sessions.descriptors());
        descriptors.extend(clients.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)));
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read_output(&mut self) -> io::Result<()> {
        let mut grown = false;
        for _ in 0..READS_IN_A_ROW {
            let Some(output) = &mut self.output else { break };
            match output.read(&mut self.buffer) {
                Ok(0) => self.output = None,
                Ok(count) => {
                    self.log.write(wall(), &self.buffer[..count])?;
                    grown = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if grown {
            self.listeners.spool_has_grown();
        }
        Ok(())
    }

    /// What is still in the pipe when nobody writes any more.
    fn drain(&mut self) {
        let deadline = clock::now().steady + DRAIN_DEADLINE;
        while let Some(output) = &self.output {
            let left = deadline.saturating_sub(clock::now().steady);
            let Ok(timeout) = Timespec::try_from(left) else { break };
            if left.is_zero() {
                self.say("a process that cannot be killed holds the log open; what it prints is lost");
                break;
            }
            let mut descriptors = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
            let _ = poll(&mut descriptors, Some(&timeout));
            if let Err(error) = self.read_output() {
                self.fault(format!("cannot keep the log: {error}"));
                break;
            }
        }
    }

    fn heed_time(&mut self) {
        let now = clock::now().steady;
        match self.storage.as_mut().and_then(|storage| storage.heed(now)) {
            Some(Filling::Near(words)) => self.say(&words),
            Some(Filling::Full { bytes, limit_bytes }) => {
                self.stop(
                    Ending::StorageFull { bytes, limit_bytes },
                    self.launch.specification.stop_grace,
                );
            }
            None => {}
        }
        self.heed_lease(now);
        match &mut self.stopping {
            None if now >= self.deadline => self.stop(Ending::TimedOut, self.launch.specification.stop_grace),
            Some(stopping) if now >= stopping.kill_at => {
                stopping.kill_at = now.saturating_add(LONGEST_WAIT);
                descendants::signal_all(self.command, Signal::KILL);
            }
            _ => {}
        }
    }

    /// A command that ends with its cluster's lease is gone before that does, also if it is being stopped for another reason.
    fn heed_lease(&mut self, now: Duration) {
        let Some(lease) = self.tenure.lease(self.listeners) else {
            return;
        };
        if now >= lease.stop_at() && !self.lease_is_over {
            self.lease_is_over = true;
            let left = lease.kill_at().saturating_sub(now);
            self.stop(Ending::LeaseEnded, left.min(self.launch.specification.stop_grace));
        }
    }

    /// Begins to stop, or shortens the grace. The first reason counts.
    fn stop(&mut self, ending: Ending, grace: Duration) {
        let kill_at = clock::now().steady.saturating_add(grace);
        if let Some(stopping) = &mut self.stopping {
            stopping.kill_at = stopping.kill_at.min(kill_at);
            return;
        }
        let why = match &ending {
            Ending::TimedOut => format!(
                "the time is up after {}",
                humantime::format_duration(self.launch.specification.timeout)
            ),
            Ending::Fault { reason } => reason.clone(),
            Ending::Terminated => "the pod is to end".to_owned(),
            Ending::LeaseEnded => "the master was not heard of, and the job is `exclusive`".to_owned(),
            Ending::StorageFull { .. } => "the job's files leave too little of what it may write".to_owned(),
            _ => "a stop was asked for".to_owned(),
        };
        self.say(&format!("{why}; the command is stopped"));
        self.stopping = Some(Stopping { ending, kill_at });
        if !grace.is_zero() {
            descendants::signal_all(self.command, Signal::TERM);
        }
    }

    /// What an ending becomes if the kernel has killed some of the command's processes for want of memory.
    fn out_of_memory(&mut self, ending: Ending, limit_bytes: Option<u64>) -> Ending {
        match ending {
            Ending::Exited { code: 0 } => {
                self.say("one of the job's processes was killed because there was no memory left; the command ended well all the same");
                ending
            }
            Ending::Exited { code } => Ending::OutOfMemory {
                limit_bytes,
                code: Some(code),
            },
            Ending::Signalled { .. } => Ending::OutOfMemory {
                limit_bytes,
                code: None,
            },
            other => other,
        }
    }

    fn fault(&mut self, reason: String) {
        // What is printed from now on cannot be kept: nothing is to wait for it.
        self.output = None;
        self.stop(Ending::Fault { reason }, Duration::ZERO);
    }

    fn say(&mut self, text: &str) {
        // A log that cannot be written is reported by what the command prints, or by its end.
        let _ = self.log.note(wall(), text);
        self.listeners.spool_has_grown();
    }
}

fn ended_by(status: WaitStatus) -> Ending {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Exited { code },
        (None, Some(signal)) => Ending::Signalled { signal },
        (None, None) => unknown(&format!("{status:?}")),
    }
}

fn unknown(status: &str) -> Ending {
    Ending::Fault {
        reason: format!("the system said {status} of the command's end"),
    }
}
