//! Reads job files and turns them into build definitions.
//!
//! All faults of a file are found at once, each with its path, line and column. Files are not trusted: whatever they
//! hold, reading takes time in proportion to their size and memory within bounds.

mod decode;
mod expand;
mod fault;
mod format;
mod reader;
pub mod report;
mod schema;
mod sharing;

use tombolo_core::build::BuildDefinition;

pub use expand::{Files, NoFiles};
pub use fault::{Fault, Faults};

use fault::{Collector, Complaint, Position};

/// A JSON Schema of job files (draft 2020-12), for editors. The reader checks more than it can say.
pub const SCHEMA: &str = include_str!("../../../docs/job-file.schema.json");

/// The largest job file, in bytes.
pub const MAX_FILE_BYTES: usize = tombolo_core::build::JOB_FILE_BYTES_MAX;

/// Reads a job file that stands for itself. Its name says how it is written (`.json`, `.yaml`, `.yml`) and whose rules it follows:
/// those of InfraBox if it begins with `infrabox`, else Tombolo's own, which allow more.
pub fn parse(file_name: &str, bytes: &[u8]) -> Result<BuildDefinition, Faults> {
    parse_with(file_name, bytes, &mut NoFiles)
}

/// The same for a file that may have workflows, which are taken from `files` and expanded in their places. If the file's name is a path
/// from the top of the source, theirs begin at its folder.
pub fn parse_with(file_name: &str, bytes: &[u8], files: &mut dyn Files) -> Result<BuildDefinition, Faults> {
    parse_within(MAX_FILE_BYTES, file_name, bytes, files)
}

fn parse_within(limit: usize, file_name: &str, bytes: &[u8], files: &mut dyn Files) -> Result<BuildDefinition, Faults> {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    let path = schema::resolve("", file_name).unwrap_or_else(|_| base.to_owned());
    let file = expand::File {
        name: file_name,
        path: &path,
        bytes,
    };
    expand::expand(limit, file, files)
}

/// The jobs of one file, and what is wrong with it; an error if nothing of it can be read.
fn read_jobs(limit: usize, file: expand::File<'_>) -> Result<(schema::Jobs, Faults), Faults> {
    let refuse = |at: Position, complaint: Complaint| {
        let mut faults = Collector::default();
        faults.add("", at, complaint);
        faults.into_faults(file.name)
    };
    let (syntax, dialect) = format::detect(file.name).map_err(|complaint| refuse(Position::START, complaint))?;
    let text = read_text(limit, file.bytes).map_err(|(at, complaint)| refuse(at, complaint))?;
    let decoder = decode::Decoder::new(reader::Reader::new(syntax, text), dialect, schema::folder_of(file.path));
    Ok(schema::read(decoder, file.name))
}

/// The file as text, without a byte order mark.
fn read_text(limit: usize, bytes: &[u8]) -> Result<&str, (Position, Complaint)> {
    if bytes.len() > limit {
        let message = format!("the file is larger than {} MiB", limit / (1024 * 1024));
        return Err((
            Position::START,
            Complaint::new(message).hint("split it into several builds"),
        ));
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        (
            reader::position_after(valid),
            Complaint::new("the file is not valid UTF-8").hint("save it as UTF-8"),
        )
    })?;
    match text.find('\0') {
        None => Ok(text),
        Some(offset) => Err((
            reader::position_after(&text[..offset]),
            Complaint::new("a NUL byte, which no text may have"),
        )),
    }
}

#[cfg(test)]
mod tests;
