//! Between the frames of users and the messages of agents.

use tombolo_api::exec::{Exit, PIECE_BYTES, ServerFrame, StartExec, TerminalSize};
use tombolo_api::problem::{Code, Problem};
use tombolo_core::id::AttemptId;
use tombolo_proto::exec::v1 as wire;
use tombolo_proto::exec::v1::input::Input;
use tombolo_proto::exec::v1::output::Output;

pub(super) fn message(input: Input) -> wire::Input {
    wire::Input { input: Some(input) }
}

pub(super) fn start(attempt: AttemptId, start: StartExec) -> Input {
    Input::Start(wire::Start {
        job: attempt.job.uuid().as_bytes().to_vec(),
        epoch: attempt.epoch.0,
        command: start.command,
        stdin: start.stdin,
        terminal: start.terminal.map(|terminal| wire::Terminal {
            size: Some(size(terminal.size)),
            kind: terminal.kind,
        }),
    })
}

pub(super) fn size(size: TerminalSize) -> wire::Size {
    wire::Size {
        columns: size.columns.into(),
        rows: size.rows.into(),
    }
}

/// What an agent says, as a frame; none if it makes no sense.
pub(super) fn frame(output: wire::Output) -> Option<ServerFrame> {
    let piece = |bytes: &bytes::Bytes| (1..=PIECE_BYTES).contains(&bytes.len());
    match output.output? {
        Output::Started(_) => Some(ServerFrame::Started),
        Output::Stdout(bytes) => piece(&bytes).then_some(ServerFrame::Stdout(bytes)),
        Output::Stderr(bytes) => piece(&bytes).then_some(ServerFrame::Stderr(bytes)),
        Output::Taken(taken) => Some(ServerFrame::Taken(taken.bytes)),
        Output::Exited(exited) => Some(ServerFrame::Exited(match exited.how? {
            wire::exited::How::Code(code) => Exit::Code(code),
            wire::exited::How::Signal(signal) => Exit::Signal(signal),
        })),
        Output::Failed(failed) => Some(ServerFrame::Failed(problem(&failed))),
    }
}

fn problem(failed: &wire::Failed) -> Problem {
    use wire::FailedReason;
    let (code, hint) = match failed.reason() {
        FailedReason::NotRunning | FailedReason::JobEnded => (
            Code::Conflict,
            "`tombolo jobs` shows the state of the jobs, `tombolo logs` what this one printed",
        ),
        FailedReason::TooMany => (Code::LimitReached, "end another session, or wait until one ends"),
        FailedReason::Unavailable => (
            Code::Unavailable,
            "a job that began under an older agent takes no sessions; else try again in a moment",
        ),
        FailedReason::Fault | FailedReason::Unspecified => {
            (Code::Unavailable, "the log of the cluster's agent may say more")
        }
    };
    let message: String = failed.message.chars().take(500).collect();
    Problem::new(code, message).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(output: Output) -> Option<ServerFrame> {
        frame(wire::Output { output: Some(output) })
    }

    #[test]
    fn what_makes_no_sense_is_no_frame() {
        assert_eq!(frame(wire::Output { output: None }), None);
        assert_eq!(output(Output::Stdout(bytes::Bytes::new())), None);
        assert_eq!(output(Output::Stderr(vec![0; PIECE_BYTES + 1].into())), None);
        assert_eq!(output(Output::Exited(wire::Exited { how: None })), None);
        assert!(output(Output::Stdout(vec![0; PIECE_BYTES].into())).is_some());
    }

    #[test]
    fn failures_have_codes_and_hints() {
        use wire::FailedReason::{Fault, JobEnded, NotRunning, TooMany, Unavailable, Unspecified};
        for (reason, code) in [
            (NotRunning, Code::Conflict),
            (JobEnded, Code::Conflict),
            (TooMany, Code::LimitReached),
            (Unavailable, Code::Unavailable),
            (Fault, Code::Unavailable),
            (Unspecified, Code::Unavailable),
        ] {
            let failed = wire::Failed {
                reason: reason.into(),
                message: "why".repeat(1000),
            };
            let Some(ServerFrame::Failed(problem)) = output(Output::Failed(failed)) else {
                panic!("{reason:?} is no failure");
            };
            assert_eq!(problem.code, code);
            assert!(problem.detail.len() == 500 && !problem.hint.is_empty());
        }
    }
}
