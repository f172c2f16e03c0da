//! What decided between the clusters that a job could have gone to.

use serde::{Deserialize, Serialize};

use super::{Score, Wishes};
use crate::name::ClusterName;

/// Why a job was given to one cluster, and not to another that had room. Small: it is kept for each attempt, and with the job when that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// How many were compared.
    compared: u32,
    by: Criterion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Criterion {
    /// It has to run where another job did.
    Beside,
    /// It names this one.
    Named,
    /// There was no other.
    Sole,
    Weight(u32),
    Spread,
    Moving,
    HeldUp,
    Free,
}

/// The clusters that are compared for one job, as far as it takes to say what decided.
#[derive(Debug, Clone, Copy, Default)]
pub struct Comparison {
    count: u32,
    first: Option<Score>,
    differs: Differences,
}

/// In what some of the clusters differ.
#[derive(Debug, Clone, Copy, Default)]
struct Differences {
    preferred: bool,
    crowd: bool,
    moving: bool,
    held_up: bool,
}

impl Comparison {
    /// Adds a cluster.
    pub fn add(&mut self, score: &Score) {
        self.count = self.count.saturating_add(1);
        let first = *self.first.get_or_insert(*score);
        self.differs.preferred |= first.preferred != score.preferred;
        self.differs.crowd |= first.crowd != score.crowd;
        self.differs.moving |= first.moving != score.moving;
        self.differs.held_up |= first.held_up != score.held_up;
    }

    /// What decided for this one, which has the greatest score. `is_beside` says of the job that it has to run where another one did.
    pub fn choice(&self, chosen: &ClusterName, score: &Score, wishes: &Wishes<'_>, is_beside: bool) -> Choice {
        let by = match self.differs {
            _ if is_beside => Criterion::Beside,
            _ if wishes.prefer == Some(chosen) => Criterion::Named,
            _ if self.count <= 1 => Criterion::Sole,
            differs if differs.preferred => Criterion::Weight(score.preferred),
            differs if differs.crowd && wishes.spread.is_some() => Criterion::Spread,
            differs if differs.moving => Criterion::Moving,
            differs if differs.held_up => Criterion::HeldUp,
            _ => Criterion::Free,
        };
        Choice {
            compared: self.count,
            by,
        }
    }
}

impl Choice {
    /// Why it would be given to that cluster, in words.
    pub fn expected(&self, wishes: &Wishes<'_>) -> String {
        let reason = match self.by {
            Criterion::Beside => return "the job that `same_as` names goes there".to_owned(),
            Criterion::Named => return "it prefers it".to_owned(),
            Criterion::Sole => return "no other has room and suits it".to_owned(),
            Criterion::Weight(weight) => format!("it prefers it (weight {weight})"),
            Criterion::Spread => format!("the fewest that are spread over `{}` are there", key(wishes)),
            Criterion::Moving => "its inputs come there for the least".to_owned(),
            Criterion::HeldUp => "the fewest jobs wait there to start".to_owned(),
            Criterion::Free => "the most of it is free".to_owned(),
        };
        format!("of {} that suit it, {reason}", self.compared)
    }

    /// Why it was given to that cluster, in words.
    pub fn account(&self, wishes: &Wishes<'_>) -> String {
        let reason = match self.by {
            Criterion::Beside => return "the job that `same_as` names ran there".to_owned(),
            Criterion::Named => return "it prefers it".to_owned(),
            Criterion::Sole => return "no other suited it and had room".to_owned(),
            Criterion::Weight(weight) => format!("it prefers it (weight {weight})"),
            Criterion::Spread => format!("the fewest that are spread over `{}` were there", key(wishes)),
            Criterion::Moving => "its inputs came there for the least".to_owned(),
            Criterion::HeldUp => "the fewest jobs waited there to start".to_owned(),
            Criterion::Free => "the most of it was free".to_owned(),
        };
        format!("of {} that were compared, {reason}", self.compared)
    }
}

fn key<'a>(wishes: &Wishes<'a>) -> &'a str {
    wishes.spread.unwrap_or_default()
}
