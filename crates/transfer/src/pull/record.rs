//! How the sources of one pull have behaved.

use std::time::Duration;

use tokio::time::Instant;
use tombolo_core::attempt::{RouteOutcome, RouteReport};

use super::{Answers, Source, SourceError};

/// The first pause after a source could not be reached; doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause: a source that is back is used again soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Record {
    pub(super) last_arrival: Instant,
    pub(super) moved_bytes: u64,
    pub(super) health: Vec<Health>,
}

#[derive(Default)]
pub(super) struct Health {
    pub(super) refused: bool,
    not_offered: bool,
    failures: u32,
    /// It does not have something that it was asked for, or has it damaged only.
    pub(super) lacks: bool,
    pub(super) not_before: Option<Instant>,
    pub(super) last_error: Option<String>,
    /// Its last answer was a good one.
    brought_last: bool,
    pub(super) moved_bytes: u64,
    /// How many requests are under way, and since when at least one is.
    under_way: (u32, Option<Instant>),
    /// For how long there was one.
    busy: Duration,
}

/// What of a source is worth knowing for the next pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// What came by it, in bytes as they crossed the link.
    pub moved_bytes: u64,
    /// For how long something was asked of it.
    pub busy: Duration,
    /// It could not be reached or would give nothing, at least once and at the end.
    pub failed: bool,
}

impl Record {
    pub(super) fn new(sources: usize) -> Self {
        Self {
            last_arrival: Instant::now(),
            moved_bytes: 0,
            health: (0..sources).map(|_| Health::default()).collect(),
        }
    }

    pub(super) fn asked(&mut self, index: usize) {
        let (count, since) = &mut self.health[index].under_way;
        *count += 1;
        since.get_or_insert_with(Instant::now);
    }

    pub(super) fn answered(&mut self, index: usize) {
        let health = &mut self.health[index];
        health.under_way.0 = health.under_way.0.saturating_sub(1);
        if health.under_way.0 == 0 {
            health.busy += health
                .under_way
                .1
                .take()
                .map_or(Duration::ZERO, |since| since.elapsed());
        }
    }

    pub(super) fn arrived(&mut self, index: usize, moved: u64) {
        self.last_arrival = Instant::now();
        self.moved_bytes += moved;
        let health = &mut self.health[index];
        health.failures = 0;
        health.brought_last = true;
        health.not_before = None;
        health.moved_bytes += moved;
    }

    pub(super) fn failed(&mut self, index: usize, error: &SourceError) {
        let health = &mut self.health[index];
        health.last_error = Some(error.to_string());
        health.brought_last = false;
        match error {
            SourceError::Refused(_) => health.refused = true,
            SourceError::NotOffered(_) => {
                health.refused = true;
                health.not_offered = true;
            }
            SourceError::Missing(_) | SourceError::Damaged(_) => {}
            SourceError::Unreachable(_) => {
                let now = Instant::now();
                // What was under way at once fails at once, and counts once.
                if health.not_before.is_none_or(|moment| moment <= now) {
                    let pause = FIRST_PAUSE
                        .saturating_mul(1 << health.failures.min(16))
                        .min(LONGEST_PAUSE);
                    health.failures += 1;
                    health.not_before = Some(now + pause);
                }
            }
        }
    }

    /// What the clusters have answered, from the sources in the same order.
    pub(super) fn answers(&self, sources: &[Source]) -> Answers {
        let mut answers = Answers::default();
        for cluster in sources.iter().filter_map(|source| source.cluster.as_ref()) {
            let ways = || {
                let both = sources.iter().zip(&self.health);
                both.filter(|(source, _)| source.cluster.as_ref() == Some(cluster))
                    .map(|(_, health)| health)
            };
            let list = if ways().any(|health| health.lacks) {
                &mut answers.missing
            } else if ways().any(|health| health.refused && !health.not_offered) {
                &mut answers.refused
            } else {
                &mut answers.unreachable
            };
            if !list.contains(cluster) {
                list.push(cluster.clone());
            }
        }
        answers
    }

    /// What became of each of the sources.
    pub(super) fn reports(&self, sources: &[Source]) -> Vec<RouteReport> {
        let report = |(source, health): (&Source, &Health)| RouteReport {
            from: source.cluster.clone(),
            route: source.route,
            moved_bytes: health.moved_bytes,
            outcome: match &health.last_error {
                // What has moved is the manifest, which the agent gave before it came to the chunks.
                Some(reason) if health.not_offered => RouteOutcome::Unavailable(reason.clone()),
                // It was gone for a while, and then went on to bring what was asked of it.
                Some(_) if health.brought_last => RouteOutcome::Used,
                Some(reason) => RouteOutcome::Failed(reason.clone()),
                None if health.moved_bytes > 0 => RouteOutcome::Used,
                None => RouteOutcome::NotNeeded,
            },
        };
        sources.iter().zip(&self.health).map(report).collect()
    }
}

impl Health {
    pub(super) fn behaviour(&self) -> Behaviour {
        let going_on = self.under_way.1.map_or(Duration::ZERO, |since| since.elapsed());
        Behaviour {
            moved_bytes: self.moved_bytes,
            busy: self.busy + going_on,
            failed: self.refused || self.failures > 0,
        }
    }
}
