//! What `tombolo supervise` does, as a program of its own: `supervise-for-tests supervise <attempt folder>`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os().nth(2).map(PathBuf::from);
    match folder.map(|folder| tombolo_agent::supervisor::run(&folder)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
        None => ExitCode::from(2),
    }
}
