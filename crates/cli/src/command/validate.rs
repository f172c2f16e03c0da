//! Checking a job file without a master.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use tombolo_jobfile::report::{self, Report};

use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};

/// One byte more than any job file may have: what is read of a file that is too long.
const READ_AT_MOST: u64 = tombolo_jobfile::MAX_FILE_BYTES as u64 + 1;

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// The job file: `infrabox.json`, `infrabox.yaml` or `tombolo.yaml`.
    file: PathBuf,
}

/// Reads a job file, or its beginning if it is too long to be one.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", file.display()));
    let mut bytes = Vec::new();
    fs::File::open(file)
        .map_err(fail)?
        .take(READ_AT_MOST)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    Ok(bytes)
}

/// Says everything that is wrong with a job file.
pub(crate) fn run(command: &Validate, format: Format) -> Result<(), Failure> {
    format.refuse(&[Format::Name], "validate")?;
    let name = command.file.display().to_string();
    let result = tombolo_jobfile::parse(&name, &read(&command.file)?);
    if matches!(format, Format::Json | Format::Yaml) {
        render::print_value(format, &Report::new(&name, &result))?;
        return result.map(drop).map_err(|_| Failure::silent(ExitCode::Usage));
    }
    match result {
        Ok(definition) => {
            let jobs = render::count(definition.jobs.len() as u64, "job");
            render::line(&format!("{name} is valid: {jobs}."))
        }
        Err(faults) => {
            render::line(&report::plain(&faults))?;
            Err(Failure::silent(ExitCode::Usage))
        }
    }
}
