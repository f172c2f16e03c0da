//! What stands where `TOMBOLO_BUILD_URL` and `TOMBOLO_JOB_URL` lead, until there is a dashboard: how to see the build or job
//! with the command line.
//!
//! No token is needed, and nothing is looked up: the text says nothing but what the path says.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::Uri;
use serde::Deserialize;
use tombolo_core::name::{JobName, ProjectName};

use super::extract::Path;
use super::{Application, Error, guard};

pub(super) fn routes() -> Router<Arc<Application>> {
    Router::new()
        .route("/projects/{project}/builds/{number}", get(show))
        .route("/projects/{project}/builds/{number}/jobs/{job}", get(show))
}

#[derive(Deserialize)]
pub(super) struct Place {
    project: String,
    number: String,
    job: Option<String>,
}

async fn show(State(state): State<Arc<Application>>, Path(place): Path<Place>, uri: Uri) -> Result<String, Error> {
    match text(&place, &state.public_url) {
        Some(text) => Ok(text),
        None => Err(guard::unknown_path(uri).await),
    }
}

/// None if the path cannot be that of a build or job. Names are valid ones, so that nothing else gets into the text.
fn text(place: &Place, server: &str) -> Option<String> {
    let project = ProjectName::new(&place.project).ok()?;
    let number: u64 = place.number.parse().ok()?;
    let (what, commands) = match &place.job {
        None => {
            let commands = format!("  tombolo jobs {number} -p {project}\n  tombolo watch {number} -p {project}\n");
            (format!("Build {number} of project {project}"), commands)
        }
        Some(job) => {
            let job = JobName::new(job).ok()?;
            let commands =
                format!("  tombolo logs {number} {job} -p {project}\n  tombolo explain {number} {job} -p {project}\n");
            (format!("Job {job} of build {number} of project {project}"), commands)
        }
    };
    Some(format!(
        "{what}\n\nThis server has no pages for people yet. Log in once with `tombolo login {server}`, and type:\n\n{commands}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_as_commands() {
        for (project, number, job, expected) in [
            ("web", "7", None, Some("tombolo jobs 7 -p web\n")),
            ("web", "7", Some("a/b"), Some("tombolo logs 7 a/b -p web\n")),
            ("<b>", "7", None, None),
            ("web", "-1", None, None),
            ("web", "7", Some("a b\n"), None),
        ] {
            let place = Place {
                project: project.to_owned(),
                number: number.to_owned(),
                job: job.map(str::to_owned),
            };
            let text = text(&place, "https://tombolo.example.com");
            match expected {
                Some(expected) => assert!(text.unwrap().contains(expected), "{expected}"),
                None => assert_eq!(text, None, "{project} {number} {job:?}"),
            }
        }
    }
}
