//! Another command beside a running job's own: `tombolo exec`.

mod session;
mod streams;
mod terminal;

use clap::Args;
use tokio::runtime::Builder;
use tombolo_api::exec::{PROTOCOL, StartExec, Terminal};
use tombolo_api::path;
use tombolo_core::name::JobName;

use self::session::run;
use crate::command::logs::only_job;
use crate::failure::{ExitCode, Failure};
use crate::{Session, Shared, number};

/// What runs when nothing is said.
const SHELL: &str = "sh";

#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The build's number.
    #[arg(value_parser = number::build)]
    build: u64,
    /// The job; may be left out if the build has one job.
    job: Option<JobName>,
    /// Passes standard input on.
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Gives the command a terminal.
    #[arg(long, short = 't')]
    tty: bool,
    /// The command and its arguments; without, and with a terminal on both sides, an interactive shell.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What the options come to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    command: Vec<String>,
    stdin: bool,
    terminal: bool,
}

impl Exec {
    fn plan(&self, interactive: bool) -> Result<Plan, Failure> {
        let shell = self.command.is_empty();
        if shell && !interactive && !self.stdin {
            let message = "standard input and output are no terminal, and no command is given";
            let hint = "say the command after `--`, or pass one to a shell on standard input with `--stdin`";
            return Err(Failure::usage(message).hint(hint));
        }
        let command = if shell {
            vec![SHELL.to_owned()]
        } else {
            self.command.clone()
        };
        Ok(Plan {
            command,
            stdin: self.stdin || (shell && interactive),
            terminal: self.tty || (shell && interactive),
        })
    }
}

/// Runs the command and returns its exit code: 128 and the signal's number if that ended it.
pub(crate) fn main(command: &Exec, shared: &Shared) -> Result<std::process::ExitCode, Failure> {
    let session = Session::open(shared)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(exec(command, &session));
    // Somebody who reads standard input cannot be stopped, and holds nobody up.
    runtime.shutdown_background();
    ended.map(std::process::ExitCode::from)
}

async fn exec(command: &Exec, session: &Session) -> Result<u8, Failure> {
    let plan = command.plan(terminal::is_interactive())?;
    let job = match &command.job {
        Some(job) => job.clone(),
        None => only_job(command.build, session).await?,
    };
    let start = StartExec {
        command: plan.command,
        stdin: plan.stdin,
        terminal: plan.terminal.then(|| Terminal {
            size: terminal::size(),
            kind: std::env::var("TERM").unwrap_or_default(),
        }),
    };
    let path = path::job_exec(&session.project, command.build, &job);
    let connecting = session.client.websocket(&path, PROTOCOL);
    let socket = tokio::select! {
        socket = connecting => socket?,
        _ = tokio::signal::ctrl_c() => return Ok(ExitCode::Cancelled as u8),
    };
    Box::pin(run(socket, start)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &[&str], stdin: bool, tty: bool) -> Exec {
        Exec {
            build: 1,
            job: None,
            stdin,
            tty,
            command: command.iter().map(|part| (*part).to_owned()).collect(),
        }
    }

    #[test]
    fn a_shell_is_interactive_where_there_are_terminals() {
        let plan = exec(&[], false, false).plan(true).unwrap();
        let shell = vec!["sh".to_owned()];
        let expected = |stdin, terminal| Plan {
            command: shell.clone(),
            stdin,
            terminal,
        };
        assert_eq!(plan, expected(true, true));
        assert_eq!(exec(&[], true, false).plan(false).unwrap(), expected(true, false));
        for tty in [false, true] {
            let refused = exec(&[], false, tty).plan(false).unwrap_err();
            assert_eq!(refused.code, ExitCode::Usage);
        }
    }

    #[test]
    fn a_command_gets_what_is_said() {
        for (stdin, terminal) in [(false, false), (true, false), (false, true), (true, true)] {
            for interactive in [false, true] {
                let plan = exec(&["ls", "-l"], stdin, terminal).plan(interactive).unwrap();
                assert_eq!((plan.stdin, plan.terminal), (stdin, terminal));
                assert_eq!(plan.command, ["ls", "-l"]);
            }
        }
    }
}
