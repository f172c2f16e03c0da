//! What `tombolo` does in a pod and for an attempt, as a program of its own for tests:
//!
//! ```text
//! supervise-for-tests supervise <attempt folder>
//! supervise-for-tests pod <root folder>           as the user's container
//! supervise-for-tests stage, publish <root folder>  as steps of that
//! supervise-for-tests courier <root folder>       as the courier's
//! supervise-for-tests install <root folder>       as the first container
//! supervise-for-tests clone <order>               as the command of a job that clones
//! supervise-for-tests enter ...                   as the beginning of another command beside the attempt's
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tombolo_agent::pod::supervise::Step;
use tombolo_agent::pod::{self, Places, Settings};
use tombolo_agent::supervisor;

/// As the program does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == supervisor::ENTER) {
        return ExitCode::from(supervisor::enter(words));
    }
    let mut arguments = std::env::args().skip(1);
    let (Some(command), Some(folder)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        return ExitCode::from(2);
    };
    if command == tombolo_agent::clone::WORD {
        let _ = rustls::crypto::ring::default_provider().install_default();
        return ExitCode::from(tombolo_agent::clone::main(&folder.to_string_lossy()));
    }
    let places = places(&folder);
    let ended = match command.as_str() {
        "supervise" => supervisor::run(&folder).map(|()| 0).map_err(|error| error.to_string()),
        "pod" => pod::supervise::run(&places, |step| this_program(step, &folder)).map_err(|error| error.to_string()),
        "stage" => carry_out(Step::Stage, &places),
        "publish" => carry_out(Step::Publish, &places),
        "install" => install(&places).map(|()| 0),
        "courier" => courier(&places).map(|()| 0),
        _ => return ExitCode::from(2),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Those of a pod, below one folder.
fn places(root: &Path) -> Places {
    Places {
        system: root.join("system"),
        sandbox: root.join("sandbox"),
        alias: root.join("sandbox"),
        control_groups: root.join("cgroup"),
    }
}

fn this_program(step: Step, root: &Path) -> Command {
    let mut program = Command::new("/proc/self/exe");
    let step = match step {
        Step::Stage => "stage",
        Step::Publish => "publish",
    };
    program.arg(step).arg(root);
    program
}

fn carry_out(step: Step, places: &Places) -> Result<u8, String> {
    let carried_out = pod::supervise::carry_out(step, places);
    carried_out.map(|()| 0).map_err(|error| error.to_string())
}

fn install(places: &Places) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    pod::install(&program, places).map_err(|error| error.to_string())
}

fn courier(places: &Places) -> Result<(), String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings::read(|name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
    pod::courier::main(&settings, places).map_err(|error| error.to_string())
}
