//! `job.json`.

use serde_json::{Value, json};
use tombolo_core::attempt::{Assignment, ParentJob};
use tombolo_core::name::ClusterName;

/// `job.json`: what the command may want to know.
pub(in crate::executor) fn job_file(assignment: &Assignment, cluster: &ClusterName) -> Vec<u8> {
    let Assignment {
        attempt,
        build,
        job,
        parents,
        ..
    } = assignment;
    let named = |job: &ParentJob| json!({ "id": job.job.to_string(), "name": job.name, "state": job.state });
    let parents: Vec<Value> = parents.iter().map(named).collect();
    let mut text = json!({
        "job": {
            "id": attempt.job.to_string(),
            "name": job.name,
            "type": "docker-image",
            "image": job.image,
            "attempt": attempt.epoch.0,
            "cluster": cluster,
        },
        "build": {
            "id": build.build.to_string(),
            "number": build.number,
            "restart_counter": build.restarts,
        },
        "project": { "id": build.project.to_string(), "name": build.project_name },
        "commit": {
            "id": build.revision.commit,
            "branch": build.revision.branch,
            "tag": build.revision.tag,
        },
        "parent_jobs": parents,
    });
    if let Some(outcome) = &build.outcome {
        text["build"]["state"] = json!(outcome.state);
        text["build"]["failed_jobs"] = outcome.failed.iter().map(named).collect();
    }
    serde_json::to_vec_pretty(&text).expect("a tree of strings and numbers is a text")
}
