//! From how a command ended to how its attempt ended.

use std::time::Duration;

use tombolo_core::attempt::{GeneratedFile, Outcome, OutputReference, TransferReceipt};
use tombolo_core::build::TerminalState;

use crate::supervisor::{Ending, Exit};
use crate::xunit;

/// State, exit code and message, but for what becomes of the output.
pub(super) struct Verdict {
    pub(super) state: TerminalState,
    pub(super) exit_code: Option<i32>,
    pub(super) message: String,
}

impl Verdict {
    fn new(state: TerminalState, message: impl Into<String>) -> Self {
        Self {
            state,
            exit_code: None,
            message: message.into(),
        }
    }

    pub(super) fn killed(message: &str) -> Self {
        Self::new(TerminalState::Killed, message)
    }

    pub(super) fn failure(message: &str) -> Self {
        Self::new(TerminalState::Failure, message)
    }

    /// The verdict on a command that ended, and on what its tests say.
    pub(super) fn on(exit: &Exit, timeout: Duration, tests: &xunit::Results) -> Self {
        match &exit.ending {
            Ending::Exited { code: 0 } => Self {
                exit_code: Some(0),
                ..Self::on_tests(tests)
            },
            Ending::Exited { code } => Self {
                exit_code: Some(*code),
                ..Self::new(TerminalState::Failure, format!("exit code {code}"))
            },
            Ending::Signalled { signal } => Self::new(
                TerminalState::Failure,
                format!("killed by signal {}", signal_name(*signal)),
            ),
            Ending::TimedOut => {
                let timeout = humantime::format_duration(timeout);
                Self::new(TerminalState::Failure, format!("timed out after {timeout}"))
            }
            Ending::Stopped => Self::killed("cancelled"),
            Ending::Terminated => Self::new(TerminalState::Error, TERMINATED),
            Ending::LeaseEnded => Self::new(TerminalState::Error, LEASE_ENDED),
            Ending::OutOfMemory { limit_bytes, code } => Self {
                exit_code: *code,
                ..Self::new(TerminalState::Failure, out_of_memory(*limit_bytes))
            },
            Ending::StorageFull { bytes, limit_bytes } => {
                Self::new(TerminalState::Failure, storage_full(*bytes, *limit_bytes))
            }
            Ending::NotStarted { reason } => Self::new(TerminalState::Failure, reason.clone()),
            Ending::Fault { reason } => Self::new(TerminalState::Error, reason.clone()),
        }
    }

    /// The verdict on a clone: nothing of it is the fault of a command of the job's.
    pub(super) fn on_clone(exit: &Exit, timeout: Duration, found: Option<&GeneratedFile>) -> Self {
        let verdict = Self::on(exit, timeout, &xunit::Results::default());
        let obstacle = found.and_then(|file| file.text.as_ref().err());
        match (verdict.state, &exit.ending) {
            (TerminalState::Finished, _) => match obstacle {
                Some(reason) => Self::new(TerminalState::Error, reason.clone()),
                None => verdict,
            },
            (TerminalState::Failure, Ending::Exited { .. }) => {
                let unknown = "see its log".to_owned();
                let reason = obstacle.unwrap_or(&unknown);
                Self::new(TerminalState::Error, format!("nothing was cloned: {reason}"))
            }
            (TerminalState::Failure, _) => {
                let words = format!("nothing was cloned: {}", verdict.message);
                Self::new(TerminalState::Error, words)
            }
            _ => verdict,
        }
    }

    fn on_tests(tests: &xunit::Results) -> Self {
        match tests.complaint() {
            None => Self::new(TerminalState::Finished, ""),
            Some(complaint) => Self::new(TerminalState::Unstable, complaint),
        }
    }

    /// An output that cannot be stored makes every end but a cancelled one an error: a child must not miss it silently.
    pub(super) fn without_output(self, reason: &str) -> Self {
        let reason = format!("the output cannot be stored: {reason}");
        let message = if self.message.is_empty() {
            reason
        } else {
            format!("{}; {reason}", self.message)
        };
        let state = match self.state {
            TerminalState::Killed => TerminalState::Killed,
            _ => TerminalState::Error,
        };
        Self { state, message, ..self }
    }

    pub(super) fn outcome(
        self,
        exit: &Exit,
        log_lines: u64,
        inputs: Vec<TransferReceipt>,
        output: Option<OutputReference>,
    ) -> Outcome {
        Outcome {
            state: self.state,
            exit_code: self.exit_code,
            message: self.message,
            started_at: exit.started_at,
            ended_at: super::wall(),
            output,
            cache: None,
            inputs,
            lost_inputs: Vec::new(),
            lease_ended: exit.ending == Ending::LeaseEnded,
            lost: false,
            log_lines,
            generated: None,
        }
    }
}

/// Nobody who may cancel the job has asked for it.
const TERMINATED: &str = "the pod was asked to end from outside: it was deleted by hand, or its node is drained";

/// The master hears it only if it has not given the job to another cluster yet.
const LEASE_ENDED: &str = "the master was not heard of, and an exclusive command ends with its cluster's lease";

fn out_of_memory(limit_bytes: Option<u64>) -> String {
    const MIB: u64 = 1024 * 1024;
    let limit = match limit_bytes {
        Some(bytes) if bytes % MIB == 0 => format!("its limit of {} MiB", bytes / MIB),
        Some(bytes) => format!("its limit of {bytes} bytes"),
        None => "there is".to_owned(),
    };
    format!("out of memory: the job's processes used more than {limit}")
}

/// `9 (KILL)`; the number alone for those that few know.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return signal.to_string(),
    };
    format!("{signal} ({name})")
}

fn storage_full(bytes: u64, limit_bytes: u64) -> String {
    const MEBIBYTE: u64 = 1024 * 1024;
    format!(
        "its files took {} of the {} MiB that it may write, so that it was ended while its output could be kept: let it write less, or \
         ask for more (`kubernetes.storage` in the job file)",
        bytes / MEBIBYTE,
        limit_bytes / MEBIBYTE
    )
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;

    use super::*;
    use crate::supervisor::Usage;

    fn verdict(ending: Ending, report: &str) -> Verdict {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.xml"), report).unwrap();
        let exit = Exit {
            ending,
            started_at: None,
            ended_at: Timestamp(0),
            log_lines: 0,
            usage: Usage::default(),
        };
        let tests = xunit::read_folder(folder.path()).unwrap();
        Verdict::on(&exit, Duration::from_secs(3600), &tests)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_ending_has_its_state_and_words() {
        use TerminalState::{Error, Failure, Finished, Killed, Unstable};
        let reason = "no disk".to_owned();
        let good = "<testsuite><testcase/></testsuite>";
        let bad = "<testsuite><testcase/><testcase><failure/></testcase></testsuite>";
        for (ending, report, state, code, message) in [
            (Ending::Exited { code: 0 }, good, Finished, Some(0), ""),
            (
                Ending::Exited { code: 0 },
                bad,
                Unstable,
                Some(0),
                "1 of 2 tests failed",
            ),
            (Ending::Exited { code: 3 }, bad, Failure, Some(3), "exit code 3"),
            (
                Ending::Signalled { signal: 9 },
                good,
                Failure,
                None,
                "killed by signal 9 (KILL)",
            ),
            (
                Ending::Signalled { signal: 64 },
                good,
                Failure,
                None,
                "killed by signal 64",
            ),
            (Ending::TimedOut, good, Failure, None, "timed out after 1h"),
            (
                Ending::StorageFull {
                    bytes: 9 << 20,
                    limit_bytes: 10 << 20,
                },
                good,
                Failure,
                None,
                "its files took 9 of the 10 MiB that it may write, so that it was ended while its output could be kept: let it write \
                 less, or ask for more (`kubernetes.storage` in the job file)",
            ),
            (Ending::Stopped, good, Killed, None, "cancelled"),
            (Ending::Terminated, good, Error, None, TERMINATED),
            (Ending::LeaseEnded, good, Error, None, LEASE_ENDED),
            (
                Ending::OutOfMemory {
                    limit_bytes: Some(128 << 20),
                    code: Some(137),
                },
                good,
                Failure,
                Some(137),
                "out of memory: the job's processes used more than its limit of 128 MiB",
            ),
            (
                Ending::OutOfMemory {
                    limit_bytes: None,
                    code: None,
                },
                good,
                Failure,
                None,
                "out of memory: the job's processes used more than there is",
            ),
            (
                Ending::NotStarted { reason: reason.clone() },
                good,
                Failure,
                None,
                "no disk",
            ),
            (Ending::Fault { reason: reason.clone() }, good, Error, None, "no disk"),
        ] {
            let verdict = verdict(ending.clone(), report);
            assert_eq!((verdict.state, verdict.exit_code), (state, code), "{ending:?}");
            assert_eq!(verdict.message, message, "{ending:?}");
        }
    }

    #[test]
    fn an_output_that_is_lost_is_an_error_unless_cancelled() {
        for (ending, state, message) in [
            (
                Ending::Exited { code: 0 },
                TerminalState::Error,
                "the output cannot be stored: a socket",
            ),
            (
                Ending::Exited { code: 1 },
                TerminalState::Error,
                "exit code 1; the output cannot be stored: a socket",
            ),
            (
                Ending::Stopped,
                TerminalState::Killed,
                "cancelled; the output cannot be stored: a socket",
            ),
        ] {
            let verdict = verdict(ending, "<testsuite/>").without_output("a socket");
            assert_eq!((verdict.state, verdict.message.as_str()), (state, message));
        }
    }
}
