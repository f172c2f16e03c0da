//! How processes of the attempt are started: its command, and those that join it later.

use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::Pid;

use super::surroundings::Surroundings;
use super::{Ending, Specification};
use crate::secrets::Values;

/// The size that the command's pipe is asked to have: one that prints in bursts seldom waits for the disk.
const PIPE_BYTES: usize = 1024 * 1024;

/// What every process of the attempt finds.
#[derive(Clone, Copy)]
pub(super) struct Launch<'launch> {
    pub(super) specification: &'launch Specification,
    pub(super) secrets: &'launch Values,
    pub(super) surroundings: &'launch Surroundings,
}

impl Launch<'_> {
    /// A program with the attempt's variables, in its working directory.
    pub(super) fn program(&self, program: &str) -> Command {
        let Self {
            specification,
            secrets,
            surroundings,
        } = self;
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(surroundings.variables.iter().map(|(name, value)| (name, value)))
            .envs(&specification.environment)
            .envs(surroundings.paths.variables())
            .env("HOME", &surroundings.home)
            .envs(&specification.job_environment)
            .envs(secrets.exposed())
            .current_dir(surroundings.paths.tombolo.join("context"));
        command
    }

    /// Starts the attempt's command, in a group of its own; else says whose fault it is that it does not run.
    pub(super) fn start(&self) -> Result<(PipeReader, Pid), Ending> {
        let fault = |what: &str, error: io::Error| Ending::Fault {
            reason: format!("{what}: {error}"),
        };
        let Some((program, arguments)) = self.specification.command.split_first() else {
            let reason = "the command is empty".to_owned();
            return Err(Ending::NotStarted { reason });
        };
        let (reader, writer) = io::pipe().map_err(|error| fault("cannot make a pipe", error))?;
        // Not all systems grant it, and none needs to.
        let _ = rustix::pipe::fcntl_setpipe_size(&reader, PIPE_BYTES);
        let second = writer.try_clone().map_err(|error| fault("cannot make a pipe", error))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(|error| fault("cannot set the pipe up", error.into()))?;
        let mut command = self.program(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(second)
            .process_group(0);
        match command.spawn() {
            Ok(child) => Ok((reader, process_id(child.id()))),
            Err(error) => Err(classify(program, error)),
        }
    }
}

pub(super) fn process_id(child: u32) -> Pid {
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
    pid.expect("a child has a process id")
}

fn classify(program: &str, error: io::Error) -> Ending {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => format!("the command `{program}` was not found"),
        io::ErrorKind::PermissionDenied => format!("the command `{program}` may not be executed"),
        io::ErrorKind::ArgumentListTooLong => {
            "the command's arguments and environment are larger than the system takes".to_owned()
        }
        io::ErrorKind::InvalidInput => format!("the command `{}` contains a NUL byte", program.replace('\0', "\\0")),
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            format!("the command `{program}` is not a program that this system runs")
        }
        _ => {
            let reason = format!("the command `{program}` could not be started: {error}");
            return Ending::Fault { reason };
        }
    };
    Ending::NotStarted { reason }
}
