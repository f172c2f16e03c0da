//! The pod of a job that clones: of our own image, with no more rights than any job's.

use std::borrow::Cow;
use std::path::Path;

use tombolo_core::attempt::Assignment;

use super::pod::{OWN_USER, PROGRAM_IN_POD};
use super::settings::Settings;
use crate::executor::contract;

/// The assignment as a pod runs it: what clones is this program, in its own image and as its own user.
pub(super) fn as_run<'a>(settings: &Settings, assignment: &'a Assignment) -> Cow<'a, Assignment> {
    let Some(command) = contract::clone_command(assignment, Path::new(PROGRAM_IN_POD)) else {
        return Cow::Borrowed(assignment);
    };
    let mut assignment = assignment.clone();
    assignment.job.image.clone_from(&settings.image);
    assignment.job.command = Some(command);
    let pod = assignment.job.pod.get_or_insert_default();
    pod.run_as_user.get_or_insert(OWN_USER);
    Cow::Owned(assignment)
}

#[cfg(test)]
mod tests {
    use tombolo_core::build::repository::Repository;

    use super::*;
    use crate::executor::kubernetes::execute::job_settings;
    use crate::executor::kubernetes::pod::{Facts, JOB, render, sample};

    #[test]
    fn a_clone_runs_in_our_own_image_with_no_more_rights_than_a_job() {
        let settings = sample::settings();
        let mut assignment = sample::assignment();
        assert_eq!(*as_run(&settings, &assignment), assignment);
        assignment.job.image = String::new();
        assignment.job.command = None;
        assignment.job.pod = None;
        assignment.job.repository = Some(Box::new(Repository {
            url: "https://git.example/shop".to_owned(),
            commit: "main".to_owned(),
            branch: None,
            file: None,
            username: None,
        }));
        let run = as_run(&settings, &assignment);
        let command = run.job.command.clone().unwrap();
        assert_eq!(command[..2], [PROGRAM_IN_POD.to_owned(), "clone".to_owned()]);
        let facts = Facts {
            cluster: &sample::cluster(),
            assignment: &run,
            job: &job_settings(&run),
            image: None,
            trust: "",
        };
        // That keeps to the level of Pod Security which the project has: else there would be no pod.
        let pod = render(&settings, &facts).unwrap();
        let spec = pod.spec.unwrap();
        let job = spec.containers.iter().find(|container| container.name == JOB).unwrap();
        assert_eq!(job.image.as_deref(), Some(settings.image.as_str()));
        assert_eq!(
            job.image_pull_policy.as_deref(),
            Some(settings.image_pull_policy.as_str())
        );
        let context = job.security_context.as_ref().unwrap();
        assert_eq!(context.run_as_user, Some(i64::from(OWN_USER)));
        assert_eq!(spec.automount_service_account_token, Some(false));
        // What it is to do comes by the courier, and nobody who may look at pods sees it.
        let text = serde_json::to_string(job).unwrap();
        assert!(!text.contains("git.example"), "{text}");
    }
}
