//! The folders that a command finds.

use std::fs;
use std::io;

use serde_json::{Value, json};
use tombolo_core::attempt::Assignment;
use tombolo_core::name::ClusterName;

use crate::folder::AttemptFolder;

pub(super) fn make(folder: &AttemptFolder, assignment: &Assignment, cluster: &ClusterName) -> io::Result<()> {
    let sandbox = folder.sandbox();
    match tombolo_artifact::remove_tree(&sandbox) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&sandbox)?;
    crate::sandbox::make_folders(&sandbox)?;
    fs::write(
        sandbox.join("job.json"),
        serde_json::to_vec_pretty(&job_file(assignment, cluster))?,
    )
}

/// `job.json`: what the command may want to know.
fn job_file(assignment: &Assignment, cluster: &ClusterName) -> Value {
    let Assignment {
        attempt,
        build,
        job,
        parents,
        ..
    } = assignment;
    let parents: Vec<Value> = parents
        .iter()
        .map(|parent| json!({ "id": parent.job.to_string(), "name": parent.name, "state": parent.state }))
        .collect();
    json!({
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
    })
}
