//! The first moments of a command that joins an attempt: `tombolo enter [--terminal] -- COMMAND...`, in a process that the supervisor has
//! started with the attempt's variables. A process of its own, since a session and a terminal can only be taken from inside.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The word by which the program knows that it is to be this.
pub const WORD: &str = "enter";
/// Takes standard input as the terminal of the new session.
pub(super) const TERMINAL: &str = "--terminal";
/// What precedes the command.
pub(super) const END: &str = "--";

/// As shells have it: there is no such program, and it cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Becomes the command, in a session of its own; `arguments` are those after [`WORD`]. Returns only if it cannot, with the exit code
/// that shells have for that; what is wrong is said on standard error.
pub fn enter(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut arguments = arguments.into_iter();
    let mut next = arguments.next();
    let terminal = next.as_ref().is_some_and(|argument| argument == TERMINAL);
    if terminal {
        next = arguments.next();
    }
    let (Some(_), Some(program)) = (next.filter(|word| word == END), arguments.next()) else {
        return complain("what to run is not said", NOT_FOUND);
    };
    if let Err(error) = take_session(terminal) {
        return complain(&format!("cannot make a session: {error}"), NOT_EXECUTABLE);
    }
    let error = Command::new(&program).args(arguments).exec();
    let program = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => complain(&format!("the command `{program}` was not found"), NOT_FOUND),
        io::ErrorKind::PermissionDenied => {
            complain(&format!("the command `{program}` may not be executed"), NOT_EXECUTABLE)
        }
        _ => complain(
            &format!("the command `{program}` cannot be run: {error}"),
            NOT_EXECUTABLE,
        ),
    }
}

fn take_session(terminal: bool) -> io::Result<()> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(io::stdin())?;
    }
    Ok(())
}

fn complain(what: &str, code: u8) -> u8 {
    // Nobody else is left to be told.
    let _ = writeln!(io::stderr(), "tombolo: {what}");
    code
}
