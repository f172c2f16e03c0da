//! The command of a job that clones: this program, as any other command.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tombolo_artifact::PackLimits;
use tombolo_core::attempt::Assignment;

use crate::clone::{self, Order};
use crate::executor::output_limit;

/// The most that is cloned if the job does not say.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// How long a server may be silent: one that counts a large repository's objects says nothing meanwhile.
const SILENCE: Duration = Duration::from_secs(60);

/// By which way to go out.
const PROXIES: [&str; 4] = ["https_proxy", "http_proxy", "all_proxy", "no_proxy"];

/// What a job that clones runs, if it is one. `program` is this one.
pub(in crate::executor) fn clone_command(assignment: &Assignment, program: &Path) -> Option<Vec<String>> {
    let repository = assignment.job.repository.as_deref()?;
    let limit = output_limit(assignment).unwrap_or(LIMIT_BYTES);
    let order = Order {
        repository: repository.clone(),
        limit_bytes: limit.min(PackLimits::default().bytes),
        silence: SILENCE,
    };
    let order = serde_json::to_string(&order).expect("a tree of strings and numbers is a text");
    Some(vec![
        program.to_string_lossy().into_owned(),
        clone::WORD.to_owned(),
        order,
    ])
}

/// The job's own variables. Those of a job that clones are for the jobs that it makes.
pub(in crate::executor) fn job_environment(assignment: &Assignment) -> BTreeMap<String, String> {
    match &assignment.job.repository {
        Some(_) => BTreeMap::new(),
        None => assignment.job.environment.clone(),
    }
}

/// What of these variables, the agent's own, says how to go out.
pub(in crate::executor) fn proxies(
    variables: impl Iterator<Item = (String, String)>,
) -> impl Iterator<Item = (String, String)> {
    variables.filter(|(name, _)| PROXIES.contains(&name.to_lowercase().as_str()))
}
