//! What projects and builds may have of the clusters at once.

mod over;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::label::Selector;
use crate::placement::words;
use crate::resources::Resources;

pub use over::{Over, Whose};

/// How much of the clusters a project gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Share {
    /// How much it gets beside others, when all want more than there is: one of weight 2 twice as much as one of weight 1.
    pub weight: u32,
    /// What all its attempts may take together.
    pub limits: Limits,
    /// What the attempts of each of its builds may take together.
    pub build_limits: Limits,
    /// The clusters that may run its jobs, and so have its sources and outputs. Holds for builds that are submitted from then on.
    #[serde(skip_serializing_if = "Selector::is_empty")]
    pub clusters: Selector,
}

impl Share {
    /// The greatest weight.
    pub const MAX_WEIGHT: u32 = 1000;
}

impl Default for Share {
    fn default() -> Self {
        Self {
            weight: 1,
            limits: Limits::default(),
            build_limits: Limits::default(),
            clusters: Selector::default(),
        }
    }
}

/// The most that attempts may take at once. What is not given has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// So many attempts.
    pub jobs: Option<u32>,
    /// So many thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// So many bytes of memory.
    pub memory_bytes: Option<u64>,
}

/// What attempts take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many they are.
    pub attempts: u32,
    /// What they take together.
    pub resources: Resources,
}

impl Usage {
    /// With one more attempt.
    #[must_use]
    pub const fn plus(&self, attempt: &Resources) -> Self {
        Self {
            attempts: self.attempts.saturating_add(1),
            resources: self.resources.plus(attempt),
        }
    }

    /// With one less.
    #[must_use]
    pub const fn minus(&self, attempt: &Resources) -> Self {
        Self {
            attempts: self.attempts.saturating_sub(1),
            resources: self.resources.minus(attempt),
        }
    }
}

/// A limit that leaves no room for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// There are as many attempts as there may be.
    Jobs(u32),
    /// Processors: what there may be, and what it would come to.
    Cpu(u64, u64),
    /// Memory: what there may be, and what it would come to.
    Memory(u64, u64),
}

impl Limits {
    /// The first limit that would be passed if there were one more attempt.
    pub fn passed_by(&self, usage: &Usage, attempt: &Resources) -> Option<Passed> {
        let next = usage.plus(attempt);
        let (cpu, memory) = (next.resources.cpu_milli, next.resources.memory_bytes);
        let jobs = self.jobs.filter(|limit| next.attempts > *limit).map(Passed::Jobs);
        let cpu = || {
            let limit = self.cpu_milli.filter(|limit| cpu > *limit)?;
            Some(Passed::Cpu(limit, cpu))
        };
        let memory = || {
            let limit = self.memory_bytes.filter(|limit| memory > *limit)?;
            Some(Passed::Memory(limit, memory))
        };
        jobs.or_else(cpu).or_else(memory)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Passed {
    /// The same of what is only planned, where nobody has anything yet.
    pub fn expected(&self) -> String {
        match self {
            Self::Jobs(1) => "may have 1 job at once, and would have it already".to_owned(),
            Self::Jobs(limit) => format!("may have {limit} jobs at once, and would have them already"),
            Self::Cpu(..) | Self::Memory(..) => self.to_string(),
        }
    }
}

impl fmt::Display for Passed {
    /// What is said of a project or build: `may have 4 jobs at once, and has them`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs(1) => formatter.write_str("may have 1 job at once, and has it"),
            Self::Jobs(limit) => write!(formatter, "may have {limit} jobs at once, and has them"),
            Self::Cpu(limit, with) => {
                let (limit, with) = (words::cpu(*limit), words::cpu(*with));
                write!(formatter, "may have {limit} cpu at once, and would have {with} with it")
            }
            Self::Memory(limit, with) => {
                let (limit, with) = (words::memory(*limit), words::memory(*with));
                write!(
                    formatter,
                    "may have {limit} of memory at once, and would have {with} with it"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn resources(cpu_milli: u64, memory_bytes: u64) -> Resources {
        Resources {
            cpu_milli,
            memory_bytes,
        }
    }

    #[test]
    fn the_first_limit_that_is_passed_is_named() {
        let usage = Usage::default().plus(&resources(1000, GIB)).plus(&resources(1000, GIB));
        let limits = |jobs, cpu_milli, memory_bytes| Limits {
            jobs,
            cpu_milli,
            memory_bytes,
        };
        let attempt = resources(500, GIB);
        for (limits, expected) in [
            (limits(None, None, None), ""),
            (limits(Some(3), Some(2500), Some(3 * GIB)), ""),
            (limits(Some(2), Some(1), None), "may have 2 jobs at once, and has them"),
            (
                limits(None, Some(2499), Some(1)),
                "may have 2.499 cpu at once, and would have 2.5 with it",
            ),
            (
                limits(None, None, Some(2 * GIB)),
                "may have 2 GiB of memory at once, and would have 3 GiB with it",
            ),
        ] {
            let passed = limits.passed_by(&usage, &attempt);
            assert_eq!(passed.map(|passed| passed.to_string()).unwrap_or_default(), expected);
        }
        assert_eq!(
            usage.minus(&resources(1000, GIB)),
            Usage::default().plus(&resources(1000, GIB))
        );
    }
}
