//! What to say of requirements that no cluster can meet together.

use super::advice::wider_project;
use super::{Demand, words};
use crate::label::Requirement;
use crate::name::JobName;

/// Those of them that one job says.
struct Clause<'a> {
    /// The job; none if it is the one that is spoken of.
    job: Option<&'a JobName>,
    requirements: Vec<&'a Requirement>,
}

/// What is wrong with requirements that no cluster can meet together, and what helps.
pub(super) fn contradictory(contradiction: &[&Requirement], demand: &Demand<'_>) -> (String, String) {
    let (required, own): (Vec<_>, Vec<_>) = contradiction.iter().partition(|it| it.by_project);
    let clauses = clauses(&own, demand);
    let project = words::project(demand.project);
    let (own, required) = (quoted(&own), quoted(&required));
    match (clauses.as_slice(), required.is_empty()) {
        ([], _) => (
            format!("no cluster can ever run it: {project} may run only where {required} holds, which is nowhere"),
            wider_project(demand.project),
        ),
        ([Clause { job, requirements }], true) => {
            let what = match requirements.len() {
                1 => "never holds",
                _ => "exclude each other",
            };
            let selector = match job {
                None => "its selector".to_owned(),
                Some(job) => format!("the selector of `{job}`, with which it shares the volume"),
            };
            (
                format!("no cluster can ever meet {selector}: {own} {what}"),
                remedy("take", &clauses),
            )
        }
        (clauses, true) => (
            format!(
                "no cluster can ever run all jobs that share its volume: {}",
                needs(clauses)
            ),
            format!(
                "{}, or have one of these jobs go without the volume",
                remedy("take", clauses)
            ),
        ),
        ([Clause { job: None, .. }], false) => (
            format!(
                "no cluster can ever run it: its selector has {own}, and {project} may run only where {required} holds"
            ),
            remedy("leave", &clauses),
        ),
        (clauses, false) => (
            format!(
                "no cluster can ever run all jobs that share its volume: {}, and {project} may run only where {required} holds",
                needs(clauses)
            ),
            remedy("leave", clauses),
        ),
    }
}

/// The requirements by the job that says them.
fn clauses<'a>(requirements: &[&'a Requirement], demand: &Demand<'a>) -> Vec<Clause<'a>> {
    let mut clauses: Vec<Clause<'a>> = Vec::new();
    for requirement in requirements {
        let job = demand.required_by(requirement);
        match clauses.iter_mut().find(|clause| clause.job == job) {
            Some(clause) => clause.requirements.push(requirement),
            None => clauses.push(Clause {
                job,
                requirements: vec![requirement],
            }),
        }
    }
    clauses
}

/// `vol` needs `region=us`, it needs `region=eu`
fn needs(clauses: &[Clause<'_>]) -> String {
    let clause = |clause: &Clause<'_>| {
        let job = clause.job.map_or_else(|| "it".to_owned(), |job| format!("`{job}`"));
        format!("{job} needs {}", quoted(&clause.requirements))
    };
    clauses.iter().map(clause).collect::<Vec<_>>().join(", ")
}

/// take `region=us` out of the selector of `vol`, or `region=eu` out of its selector
fn remedy(verb: &str, clauses: &[Clause<'_>]) -> String {
    let clause = |clause: &Clause<'_>| {
        let selector = words::selector_of(clause.job);
        let requirements = quoted(&clause.requirements);
        match clause.requirements.len() {
            1 => format!("{requirements} out of {selector}"),
            _ => format!("one of {requirements} out of {selector}"),
        }
    };
    let clauses: Vec<String> = clauses.iter().map(clause).collect();
    format!("{verb} {}", clauses.join(", or "))
}

fn quoted(requirements: &[&Requirement]) -> String {
    let quoted: Vec<String> = requirements.iter().map(|it| format!("`{it}`")).collect();
    quoted.join(", ")
}
