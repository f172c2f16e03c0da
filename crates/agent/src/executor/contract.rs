//! What every command finds, whatever runs it: its variables, and `job.json`; and what runs where a job has no command of its own.

mod clone;
mod environment;
mod job_file;

pub(super) use self::clone::{clone_command, job_environment, proxies};
pub(super) use self::environment::variables;
pub(super) use self::job_file::job_file;
