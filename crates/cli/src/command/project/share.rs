//! What a project may have of the clusters.

use std::collections::BTreeMap;

use clap::Args;
use tombolo_api::{Limits, Share as Described};
use tombolo_core::label::{Requirement, Selector};

use crate::failure::Failure;
use crate::{number, render};

/// What the project and its builds may have of the clusters.
#[derive(Debug, Args)]
#[group(id = "share", multiple = true)]
pub(crate) struct Share {
    /// How much the project gets beside others, when all want more than there is; 1 is usual.
    #[arg(long, group = "change", value_name = "N", allow_negative_numbers = true, value_parser = number::weight)]
    weight: Option<u32>,
    /// Gives clusters at most so many of its jobs at once; `none` for no such limit.
    #[arg(long, group = "change", value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| bound(text, number::at_once))]
    max_jobs: Option<Bound<u32>>,
    /// Lets its jobs have so many processors at once, such as `16` or `0.5`; `none` for no such limit.
    #[arg(long, group = "change", value_name = "CPU", allow_negative_numbers = true, value_parser = |text: &str| bound(text, number::cpu))]
    max_cpu: Option<Bound<u64>>,
    /// Lets its jobs have so much memory at once, such as `64GiB`; `none` for no such limit.
    #[arg(long, group = "change", value_name = "SIZE", allow_negative_numbers = true, value_parser = |text: &str| bound(text, number::size))]
    max_memory: Option<Bound<u64>>,
    /// As `--max-jobs`, for each build of the project.
    #[arg(long, group = "change", value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| bound(text, number::at_once))]
    build_max_jobs: Option<Bound<u32>>,
    /// As `--max-cpu`, for each build of the project.
    #[arg(long, group = "change", value_name = "CPU", allow_negative_numbers = true, value_parser = |text: &str| bound(text, number::cpu))]
    build_max_cpu: Option<Bound<u64>>,
    /// As `--max-memory`, for each build of the project.
    #[arg(long, group = "change", value_name = "SIZE", allow_negative_numbers = true, value_parser = |text: &str| bound(text, number::size))]
    build_max_memory: Option<Bound<u64>>,
    /// Lets its jobs run on clusters alone that meet this, such as `region=eu`, whatever the jobs say; may be repeated, and all must hold. `any` for all clusters.
    #[arg(long, group = "change", value_name = "REQUIREMENT", value_parser = requirement)]
    clusters: Vec<String>,
}

fn requirement(text: &str) -> Result<String, String> {
    if text == ANY {
        return Ok(text.to_owned());
    }
    let requirement = text.parse::<Requirement>();
    requirement
        .map(|requirement| requirement.to_string())
        .map_err(|error| error.to_string())
}

/// The word that lifts what holds of clusters.
const ANY: &str = "any";

/// A limit, or the word that there is none.
#[derive(Debug, Clone, Copy)]
struct Bound<T>(Option<T>);

fn bound<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<Bound<T>, String> {
    if text == "none" {
        return Ok(Bound(None));
    }
    let limit = read(text).map_err(|error| format!("{error}; `none` lifts the limit"))?;
    Ok(Bound(Some(limit)))
}

impl Share {
    /// Refuses `any` beside requirements, which one of the two would make void.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let lifts = self.clusters.iter().any(|text| text == ANY);
        match lifts && self.clusters.iter().any(|text| text != ANY) {
            true => Err(Failure::usage("`--clusters any` is given with requirements")
                .hint("leave out one of the two: `any` lets jobs run on all clusters")),
            false => Ok(()),
        }
    }

    /// Whether it says which clusters may run its jobs.
    pub(crate) fn confines(&self) -> bool {
        self.clusters.iter().any(|text| text != ANY)
    }

    /// What the project may have from now on; none if nothing is said of it.
    pub(crate) fn over(&self, now: &Described) -> Option<Described> {
        let next = Described {
            weight: self.weight.unwrap_or(now.weight),
            limits: Limits {
                jobs: self.max_jobs.map_or(now.limits.jobs, |bound| bound.0),
                cpu_milli: self.max_cpu.map_or(now.limits.cpu_milli, |bound| bound.0),
                memory_bytes: self.max_memory.map_or(now.limits.memory_bytes, |bound| bound.0),
            },
            build_limits: Limits {
                jobs: self.build_max_jobs.map_or(now.build_limits.jobs, |bound| bound.0),
                cpu_milli: self.build_max_cpu.map_or(now.build_limits.cpu_milli, |bound| bound.0),
                memory_bytes: self
                    .build_max_memory
                    .map_or(now.build_limits.memory_bytes, |bound| bound.0),
            },
            clusters: match self.clusters.is_empty() {
                true => now.clusters.clone(),
                false => self.clusters.iter().filter(|text| *text != ANY).cloned().collect(),
            },
        };
        (next != *now).then_some(next)
    }
}

/// What to say if no cluster that there is meets all of these.
pub(super) fn warning(requirements: &[String], clusters: &[BTreeMap<String, String>]) -> Option<String> {
    let selector: Selector = requirements.iter().filter_map(|text| text.parse().ok()).collect();
    let meets = |labels: &BTreeMap<String, String>| {
        let requirements = &mut selector.requirements.iter();
        requirements.all(|requirement| requirement.holds_for(labels.get(&requirement.key).map(String::as_str)))
    };
    if selector.is_empty() || clusters.iter().any(meets) {
        return None;
    }
    Some(format!(
        "warning: none of the {} meets `{selector}`: jobs of the project wait until one does",
        render::count(clusters.len() as u64, "cluster")
    ))
}

/// Limits, for people.
pub(crate) fn describe(limits: &Limits) -> String {
    let limits = [
        limits.jobs.map(|jobs| render::count(jobs.into(), "job")),
        limits.cpu_milli.map(|milli| format!("{} m cpu", milli)),
        limits
            .memory_bytes
            .map(|bytes| format!("{} of memory", render::bytes(bytes))),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        "no limit".to_owned()
    } else {
        limits.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_may_run_nowhere_is_warned_of() {
        let labels = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = labels.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let clusters = [
            labels(&[("cluster", "east"), ("region", "us"), ("GCP", "")]),
            labels(&[("cluster", "west"), ("region", "eu")]),
        ];
        let warn = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            warning(&texts, &clusters)
        };
        assert_eq!(warn(&[]), None);
        assert_eq!(warn(&["region=eu", "!GCP"]), None);
        assert_eq!(
            warn(&["region=eu", "GCP"]).as_deref(),
            Some("warning: none of the 2 clusters meets `region=eu, GCP`: jobs of the project wait until one does")
        );
        assert!(warn(&["region=asia"]).is_some());
    }
}
