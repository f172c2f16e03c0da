//! How long the outputs of builds are kept.

use serde::{Deserialize, Serialize};

use crate::id::BuildId;
use crate::planted::{Bug, planted};
use crate::time::Timestamp;

const MILLISECONDS_PER_DAY: u64 = 24 * 60 * 60 * 1000;

/// What a project keeps. Each limit that is given holds; without any, outputs are kept for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The outputs of so many builds, the newest.
    pub builds: Option<u32>,
    /// Outputs for so many days after the end of their build.
    pub days: Option<u32>,
    /// So many bytes of outputs, as they are before compression and as if no two were alike. Those of the newest build that is
    /// over stay, however large they are.
    pub bytes: Option<u64>,
}

impl Policy {
    /// Whether nothing ever goes.
    pub fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The limits that are 0, by name. They would let everything go at once, which is a slip more often than it is meant.
    pub fn limits_of_nothing(&self) -> impl Iterator<Item = &'static str> {
        let limits = [
            ("builds", self.builds.map(u64::from)),
            ("days", self.days.map(u64::from)),
            ("bytes", self.bytes),
        ];
        let nothing = limits.into_iter().filter(|(_, limit)| *limit == Some(0));
        nothing.map(|(name, _)| name)
    }
}

/// When an output goes that its job has kept for so many days, counted from when its build ended; none while that runs.
pub fn expiry(keep_days: u32, build_ended_at: Option<Timestamp>) -> Option<Timestamp> {
    let life = u64::from(keep_days) * MILLISECONDS_PER_DAY;
    build_ended_at.map(|ended_at| Timestamp(ended_at.0.saturating_add(life)))
}

/// A build whose outputs are kept until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub build: BuildId,
    /// When it ended; none while it runs.
    pub ended_at: Option<Timestamp>,
    /// The bytes of its outputs.
    pub bytes: u64,
}

/// The builds whose outputs go, given all whose outputs are kept until now, newest first. Those of a build that runs never do: its
/// jobs read them.
pub fn plan(policy: Policy, now: Timestamp, kept: &[Kept]) -> Vec<Kept> {
    let life = policy.days.map(|days| u64::from(days) * MILLISECONDS_PER_DAY);
    let mut bytes = 0_u64;
    let mut has_ended_one = false;
    let mut going = Vec::new();
    for (build, newer) in kept.iter().zip(0_u64..) {
        bytes = bytes.saturating_add(build.bytes);
        let Some(ended_at) = build.ended_at else {
            continue;
        };
        let slip = u64::from(planted(Bug::KeptBuildGivenUp));
        let too_many = policy.builds.is_some_and(|builds| newer + slip >= u64::from(builds));
        let too_old = life.is_some_and(|life| now.0.saturating_sub(ended_at.0) > life);
        let too_large = has_ended_one && policy.bytes.is_some_and(|limit| bytes > limit);
        has_ended_one = true;
        if too_many || too_old || too_large {
            going.push(*build);
        }
    }
    going
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: u64 = MILLISECONDS_PER_DAY;

    fn kept(build: u128, ended_at: Option<u64>, bytes: u64) -> Kept {
        Kept {
            build: BuildId::from_u128(build),
            ended_at: ended_at.map(Timestamp),
            bytes,
        }
    }

    fn going(policy: Policy, now: u64, builds: &[Kept]) -> Vec<u128> {
        let going = plan(policy, Timestamp(now), builds);
        going.iter().map(|build| build.build.uuid().as_u128()).collect()
    }

    #[test]
    fn an_output_goes_so_many_days_after_the_end_of_its_build() {
        assert_eq!(expiry(3, None), None);
        assert_eq!(expiry(0, Some(Timestamp(7))), Some(Timestamp(7)));
        assert_eq!(expiry(3, Some(Timestamp(7))), Some(Timestamp(3 * DAY + 7)));
        assert_eq!(expiry(u32::MAX, Some(Timestamp(u64::MAX))), Some(Timestamp(u64::MAX)));
    }

    #[test]
    fn each_limit_holds() {
        let all = [
            kept(5, None, 100),
            kept(4, Some(9 * DAY), 10),
            kept(3, Some(8 * DAY), 10),
            kept(2, None, 100),
            kept(1, Some(DAY), 10),
        ];
        let nothing = Policy::default();
        for (policy, expected) in [
            (nothing, vec![]),
            (
                Policy {
                    builds: Some(2),
                    ..nothing
                },
                vec![3, 1],
            ),
            (
                Policy {
                    builds: Some(0),
                    ..nothing
                },
                vec![4, 3, 1],
            ),
            (
                Policy {
                    days: Some(2),
                    ..nothing
                },
                vec![1],
            ),
            (
                Policy {
                    days: Some(1),
                    ..nothing
                },
                vec![3, 1],
            ),
            (
                Policy {
                    bytes: Some(120),
                    ..nothing
                },
                vec![1],
            ),
            (
                Policy {
                    bytes: Some(0),
                    ..nothing
                },
                vec![3, 1],
            ),
        ] {
            assert_eq!(going(policy, 10 * DAY, &all), expected, "{policy:?}");
        }
    }

    proptest! {
        #[test]
        fn running_builds_stay_and_limits_are_met(
            builds in proptest::collection::vec((proptest::option::of(0..40 * DAY), 0_u64..1_000), 0..40),
            (most, days, bytes) in (proptest::option::of(0_u32..20), proptest::option::of(0_u32..30), proptest::option::of(0_u64..5_000)),
        ) {
            let all: Vec<Kept> = builds.iter().zip(0..).map(|((ended, bytes), id)| kept(id, *ended, *bytes)).collect();
            let policy = Policy { builds: most, days, bytes };
            let now = 40 * DAY;
            let going = plan(policy, Timestamp(now), &all);
            prop_assert!(going.iter().all(|build| build.ended_at.is_some()));
            let stays: Vec<&Kept> = all.iter().filter(|build| !going.contains(build) && build.ended_at.is_some()).collect();
            if let Some(most) = most {
                prop_assert!(stays.len() <= most as usize);
            }
            if let Some(days) = days {
                prop_assert!(stays.iter().all(|build| now - build.ended_at.unwrap().0 <= u64::from(days) * DAY));
            }
            if let Some(bytes) = bytes {
                prop_assert!(stays.len() <= 1 || stays.iter().map(|build| build.bytes).sum::<u64>() <= bytes);
            }
            if policy.keeps_everything() {
                prop_assert!(going.is_empty());
            }
            // Whoever asks again does not hear of more.
            let left: Vec<Kept> = all.iter().copied().filter(|build| !going.contains(build)).collect();
            if bytes.is_none() {
                prop_assert!(plan(policy, Timestamp(now), &left).is_empty());
            }
        }
    }
}
