//! What every command finds, whatever runs it: its variables, and `job.json`.

mod environment;
mod job_file;

pub(super) use self::environment::variables;
pub(super) use self::job_file::job_file;
