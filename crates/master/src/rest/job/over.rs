//! What is said of jobs that are over.

use tombolo_api::Explanation;
use tombolo_core::build::{JobKind, TerminalState};
use tombolo_core::control::asked_by_sharers;
use tombolo_core::control::record::{JobNode, JobStatus};
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::volume::VolumeKind;

/// What became of a job that is over, and why it ran where it did; `jobs` are all of its build. How the clusters are now has nothing to do with it any
/// more.
pub(super) fn over<'a>(
    node: &JobNode,
    jobs: impl Iterator<Item = &'a JobNode>,
    status: &JobStatus,
    end: TerminalState,
) -> Explanation {
    let mut summary = format!("it is over: {end}");
    match (status.message.as_str(), status.exit_code) {
        ("", Some(code)) => summary.push_str(&format!(" (exit code {code})")),
        ("", None) => {}
        (message, _) => summary.push_str(&format!(" ({message})")),
    }
    let reason = status.cluster.as_ref().map(|cluster| {
        let choice = status.choice().map(|choice| choice.account(&node.wishes()));
        let choice = choice.map_or_else(String::new, |choice| format!(" ({choice})"));
        format!("{}{choice}", suitability(node, jobs, cluster))
    });
    match (&status.cluster, &reason) {
        (Some(cluster), Some(reason)) => summary.push_str(&format!("; it ran on cluster `{cluster}`, {reason}")),
        _ if node.array().is_some() => {}
        _ if !status.tries().is_empty() => {
            summary.push_str(&format!("; attempt {} never began", status.tries().len() + 1));
        }
        // No cluster was to have it.
        _ if node.kind != JobKind::Run || end == TerminalState::Skipped => {}
        _ => summary.push_str("; no cluster had it"),
    }
    summary.push_str(&course(status));
    Explanation {
        summary,
        cluster: status.cluster.clone(),
        reason,
        ..Explanation::default()
    }
}

/// Why the cluster suited the job.
fn suitability<'a>(node: &JobNode, jobs: impl Iterator<Item = &'a JobNode>, cluster: &ClusterName) -> String {
    let (confining, own): (Vec<_>, Vec<_>) = node.selector.requirements.iter().partition(|it| it.by_project);
    let requirements: Vec<String> = own.iter().map(ToString::to_string).collect();
    let same_as = node.extensions.as_ref().and_then(|says| says.same_as.as_ref());
    let asked = asked_by_sharers(node, jobs);
    let has_workspace = node.volumes.contains(VolumeKind::Workspace);
    let reason = match (requirements.is_empty(), &node.prefer) {
        _ if same_as.is_some() => format!("as `same_as: {}` asks", same_as.map_or("", JobName::as_str)),
        (_, Some(preferred)) if preferred == cluster => "which it prefers".to_owned(),
        (true, _) if !confining.is_empty() => "with no selector, where its project may run".to_owned(),
        (true, _) if asked.is_some() || has_workspace => "with no selector".to_owned(),
        (true, _) => "with no selector, so that any cluster would have done".to_owned(),
        (false, _) => format!("which met its selector `{}`", requirements.join(", ")),
    };
    let shares = match asked.as_deref() {
        None => "",
        Some("") => ", with the jobs that share the volume of the build",
        Some(_) => ", with the jobs that share the volume of the build, of which ",
    };
    let workspace = match has_workspace {
        true => ", where the workspace of the project is",
        false => "",
    };
    format!("{reason}{workspace}{shares}{}", asked.unwrap_or_default())
}

/// What came before its end, and after it.
fn course(status: &JobStatus) -> String {
    let mut course = String::new();
    if !status.tries().is_empty() {
        let earlier: Vec<&str> = status.tries().iter().map(|earlier| earlier.state.as_str()).collect();
        course.push_str(&format!("; its attempts before that ended as {}", earlier.join(", ")));
    }
    if let Some(loss) = &status.loss {
        match &loss.reason {
            Some(reason) => course.push_str(&format!("; its output is lost: {reason}")),
            None => course.push_str(&format!(
                "; its output was lost later, and made again by attempt {}",
                status.epoch.0
            )),
        }
    } else if status.replacements > 0 {
        let lost = status.replacements;
        course.push_str(&format!(
            "; that was attempt {}, since the system lost {lost} before",
            status.epoch.0
        ));
    }
    if !status.replaced().is_empty() {
        course.push_str(&format!(" ({})", status.account_of_replaced()));
    }
    course
}
