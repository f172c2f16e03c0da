//! The variables that every command finds, under both families of names.

use std::collections::BTreeMap;

use tombolo_core::attempt::Assignment;
use tombolo_core::name::ClusterName;

use crate::supervisor::ATTEMPT_VARIABLE;

/// What programs are looked for in if the agent itself does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is inherited from the agent's own environment, and what stands for it if it is not there. All else stays out.
const INHERITED: [(&str, &str); 3] = [("PATH", DEFAULT_PATH), ("LANG", "C.UTF-8"), ("TERM", "xterm-256color")];

/// The variables, but for those that tell paths: these are the supervisor's.
pub(super) fn variables(assignment: &Assignment, cluster: &ClusterName) -> BTreeMap<String, String> {
    let Assignment {
        attempt, build, job, ..
    } = assignment;
    let url = &build.public_url;
    let build_api = format!("{url}/api/v1/projects/{}/builds/{}", build.project_name, build.number);
    let job_path = job.name.as_str().replace('/', "%2F");
    let build_page = format!("{url}/projects/{}/builds/{}", build.project_name, build.number);
    let named = [
        ("PROJECT_ID", Some(build.project.to_string())),
        ("PROJECT_NAME", Some(build.project_name.to_string())),
        ("JOB_ID", Some(attempt.job.to_string())),
        ("JOB_NAME", Some(job.name.to_string())),
        ("JOB_URL", Some(format!("{build_page}/jobs/{job_path}"))),
        ("JOB_API_URL", Some(format!("{build_api}/jobs/{job_path}"))),
        ("BUILD_ID", Some(build.build.to_string())),
        ("BUILD_NUMBER", Some(build.number.to_string())),
        ("BUILD_RESTART_COUNTER", Some(build.restarts.to_string())),
        ("BUILD_URL", Some(build_page)),
        ("BUILD_API_URL", Some(build_api)),
        ("GIT_BRANCH", build.revision.branch.clone()),
        ("GIT_TAG", build.revision.tag.clone()),
        ("COMMIT_ID", build.revision.commit.clone()),
        ("CLUSTER_NAME", Some(cluster.to_string())),
        ("ATTEMPT_EPOCH", Some(attempt.epoch.to_string())),
    ];
    let mut variables = BTreeMap::new();
    for (name, value) in named {
        let Some(value) = value else { continue };
        variables.insert(format!("INFRABOX_{name}"), value.clone());
        variables.insert(format!("TOMBOLO_{name}"), value);
    }
    variables.insert(ATTEMPT_VARIABLE.to_owned(), attempt.to_string());
    for (name, default) in INHERITED {
        let value = std::env::var(name).unwrap_or_else(|_| default.to_owned());
        variables.insert(name.to_owned(), value);
    }
    variables
}
