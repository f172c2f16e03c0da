//! Limits that a job passes by itself: to wait is no help to it.

use serde::{Deserialize, Serialize};

use super::{Limits, Share};
use crate::name::ProjectName;
use crate::placement::{Resource, words};
use crate::resources::Resources;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// The project's.
    Project,
    /// Each of the project's builds'.
    Build,
}

/// A limit that one attempt alone passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// Whose limit.
    pub whose: Whose,
    /// Of what: [`Resource::Cpu`] or [`Resource::Memory`].
    pub resource: Resource,
    /// So much there may be at once.
    pub limit: u64,
    /// So much the attempt asks for.
    pub request: u64,
}

impl Share {
    /// The limits that one such attempt passes if it is the only one: no attempt ever ends that would make room for it. A limit of how many
    /// attempts there may be is never among them: that of none holds back every job alike, until it is lifted.
    pub fn over(&self, attempt: &Resources) -> impl Iterator<Item = Over> {
        let attempt = *attempt;
        let all = [(Whose::Project, self.limits), (Whose::Build, self.build_limits)];
        all.into_iter().flat_map(move |(whose, limits)| {
            let Limits {
                cpu_milli,
                memory_bytes,
                ..
            } = limits;
            let of = [
                (Resource::Cpu, cpu_milli, attempt.cpu_milli),
                (Resource::Memory, memory_bytes, attempt.memory_bytes),
            ];
            of.into_iter().filter_map(move |(resource, limit, request)| {
                let limit = limit.filter(|limit| request > *limit)?;
                Some(Over {
                    whose,
                    resource,
                    limit,
                    request,
                })
            })
        })
    }
}

impl Over {
    /// What is asked for, and what there may be, in words.
    pub(crate) fn words(&self, project: Option<&ProjectName>) -> String {
        let whose = match (self.whose, project) {
            (Whose::Build, _) => "its build".to_owned(),
            (Whose::Project, None) => "its project".to_owned(),
            (Whose::Project, Some(name)) => format!("its project `{name}`"),
        };
        format!(
            "it asks for {}, and {whose} may have {} at once",
            self.amount(self.request),
            self.resource.amount(self.limit)
        )
    }

    /// What lets the job run: it asks for less, or an administrator says that there may be more.
    pub(crate) fn remedy(&self, project: Option<&ProjectName>) -> String {
        let name = project.map_or("PROJECT", ProjectName::as_str);
        let of_build = match self.whose {
            Whose::Project => "",
            Whose::Build => "build-",
        };
        let (what, enough) = match self.resource {
            Resource::Memory => ("memory", words::memory_exactly(self.request)),
            Resource::Cpu => ("cpu", words::cpu(self.request)),
            Resource::Slots => ("jobs", self.request.to_string()),
        };
        format!(
            "ask for at most {}, or have an administrator raise the limit: `tombolo project set {name} --{of_build}max-{what} {enough}`",
            self.amount(self.limit)
        )
    }

    fn amount(&self, amount: u64) -> String {
        let number = self.resource.amount(amount);
        match self.resource {
            Resource::Memory => format!("{number} of memory"),
            Resource::Cpu | Resource::Slots => format!("{number} {}", self.resource),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_a_job_passes_by_itself_is_told_with_the_way_out() {
        let limits = |jobs, cpu_milli, memory_bytes| Limits {
            jobs,
            cpu_milli,
            memory_bytes,
        };
        let attempt = Resources {
            cpu_milli: 2000,
            memory_bytes: 3 * GIB / 2,
        };
        let none = Limits::default();
        let name = ProjectName::new("shop").unwrap();
        for (project, build, words, remedies) in [
            (none, none, vec![], vec![]),
            (
                limits(Some(0), Some(2000), None),
                limits(Some(0), None, Some(2 * GIB)),
                vec![],
                vec![],
            ),
            (
                limits(None, Some(1000), None),
                limits(None, Some(500), None),
                vec![
                    "it asks for 2 cpu, and its project `shop` may have 1 at once",
                    "it asks for 2 cpu, and its build may have 0.5 at once",
                ],
                vec![
                    "ask for at most 1 cpu, or have an administrator raise the limit: `tombolo project set shop --max-cpu 2`",
                    "ask for at most 0.5 cpu, or have an administrator raise the limit: `tombolo project set shop --build-max-cpu 2`",
                ],
            ),
            (
                none,
                limits(None, None, Some(GIB)),
                vec!["it asks for 1.5 GiB of memory, and its build may have 1 GiB at once"],
                vec![
                    "ask for at most 1 GiB of memory, or have an administrator raise the limit: `tombolo project set shop --build-max-memory 1536MiB`",
                ],
            ),
        ] {
            let share = Share {
                limits: project,
                build_limits: build,
                ..Share::default()
            };
            let over: Vec<Over> = share.over(&attempt).collect();
            let told: Vec<String> = over.iter().map(|over| over.words(Some(&name))).collect();
            assert_eq!(told, words);
            let told: Vec<String> = over.iter().map(|over| over.remedy(Some(&name))).collect();
            assert_eq!(told, remedies);
        }
    }
}
