//! The variables that every command finds.

use std::collections::BTreeMap;

use tombolo_core::attempt::Assignment;
use tombolo_core::name::ClusterName;

use crate::supervisor::ATTEMPT_VARIABLE;

/// The variables that the system gives, under both families of names, but for those that tell paths: these are the
/// supervisor's.
pub(in crate::executor) fn variables(assignment: &Assignment, cluster: &ClusterName) -> BTreeMap<String, String> {
    let Assignment {
        attempt,
        build,
        job,
        labels,
        ..
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
        ("CLUSTER_LABELS", Some(labels.to_string())),
        ("ATTEMPT_EPOCH", Some(attempt.epoch.to_string())),
        (
            "BUILD_STATE",
            build.outcome.as_ref().map(|outcome| outcome.state.to_string()),
        ),
    ];
    let mut variables = BTreeMap::new();
    for (name, value) in named {
        let Some(value) = value else { continue };
        variables.insert(format!("INFRABOX_{name}"), value.clone());
        variables.insert(format!("TOMBOLO_{name}"), value);
    }
    variables.insert(ATTEMPT_VARIABLE.to_owned(), attempt.to_string());
    variables
}
