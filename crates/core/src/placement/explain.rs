//! Why a job is where it is, in words.

use super::contradiction::contradictory;
use super::{Candidate, Choice, ClusterVerdict, Demand, Explanation, Miss, Resource, over_limit};
use crate::build::TerminalState;
use crate::label::Requirement;
use crate::name::{ClusterName, JobName};
use crate::resources::Resources;

/// The most names that a summary lists.
const MAX_NAMES: usize = 3;

/// Where a job stands, as far as placement is concerned.
#[derive(Debug, Clone)]
pub enum Situation<'a> {
    /// It waits for these parents.
    WaitsFor(Vec<&'a JobName>),
    /// Something else holds it up, in these words.
    Held(&'a str),
    /// It waits for a cluster, or first for a limit to have room, in these words.
    Queued(Option<&'a str>),
    /// A cluster has it.
    Placed(Placed<'a>),
    /// It is over.
    Ended(TerminalState),
}

/// Where a job is.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    /// The cluster that it was given to.
    pub cluster: &'a ClusterName,
    /// Why that one; none if it was given to it before this master began.
    pub choice: Option<Choice>,
    /// What holds it up there, in words.
    pub held_up: Option<&'a str>,
}

/// What keeps the job from the cluster now, all of it; empty if nothing does. A cluster that is not connected is judged by what its agent said last, except
/// for the room that it has now.
pub fn misses(demand: &Demand<'_>, candidate: &Candidate<'_>) -> Vec<Miss> {
    let requirements = demand.selector.requirements.iter();
    let unmet = requirements
        .filter(|requirement| !requirement.matches(candidate.labels))
        .map(|requirement| unmet(demand, candidate, requirement));
    let mut misses: Vec<Miss> = over_limit::over_limits(demand).chain(unmet).collect();
    misses.extend(
        demand
            .volumes
            .elsewhere(candidate.name)
            .map(|(volume, cluster)| Miss::VolumeElsewhere {
                volume,
                cluster: cluster.clone(),
            }),
    );
    let beside = demand.volumes.beside_elsewhere(candidate.name).cloned();
    misses.extend(beside.map(|cluster| Miss::Apart { cluster }));
    if !candidate.admits(demand) {
        let availability = candidate.availability;
        misses.push(Miss::Closed { availability });
    }
    if !candidate.connected {
        misses.push(Miss::Disconnected);
        if !candidate.is_known() {
            return misses;
        }
    }
    if !demand.volumes.wanted.is_empty() && !candidate.volumes {
        misses.push(Miss::NoVolumes);
    }
    let lacking = demand.needs.without(candidate.capabilities);
    misses.extend(lacking.iter().map(|capability| Miss::Incapable { capability }));
    let too_small = too_small(demand, candidate);
    let may_be_full = too_small.is_empty() && candidate.connected;
    if may_be_full && !candidate.has_room(&demand.resources) {
        misses.extend(short(demand, candidate));
    } else if may_be_full && candidate.kept {
        misses.push(Miss::Kept);
    }
    misses.extend(too_small);
    misses
}

/// Who requires what does not hold there.
fn unmet(demand: &Demand<'_>, candidate: &Candidate<'_>, requirement: &Requirement) -> Miss {
    let found = candidate.labels.get(&requirement.key).map(str::to_owned);
    let requirement = requirement.clone();
    match requirement.by_project {
        true => Miss::Residency {
            requirement,
            found,
            project: demand.project.cloned(),
        },
        false => Miss::Label {
            is_contested: demand.selector.requires_otherwise(&requirement),
            job: demand.required_by(&requirement).cloned(),
            requirement,
            found,
        },
    }
}

/// What is short on a cluster that has no room for the job now: each of it, and how much.
fn short(demand: &Demand<'_>, candidate: &Candidate<'_>) -> Vec<Miss> {
    let (capacity, request) = (candidate.capacity, demand.resources);
    let free = capacity.minus(&candidate.used);
    let slots = u64::from(candidate.slots);
    let slots_free = slots.saturating_sub(candidate.attempts.into());
    let all = [
        (Resource::Slots, slots, slots_free, 1),
        (Resource::Cpu, capacity.cpu_milli, free.cpu_milli, request.cpu_milli),
        (
            Resource::Memory,
            capacity.memory_bytes,
            free.memory_bytes,
            request.memory_bytes,
        ),
    ];
    all.into_iter()
        .filter(|(_, _, free, request)| free < request)
        .map(|(resource, capacity, free, request)| Miss::Full {
            resource,
            capacity,
            free,
            request,
        })
        .collect()
}

fn too_small(demand: &Demand<'_>, candidate: &Candidate<'_>) -> Vec<Miss> {
    let request = demand.largest();
    let whole = candidate.capacity;
    let node = candidate.largest.unwrap_or(whole);
    // The node counts where it has less than there is in all.
    let capacity = Resources {
        cpu_milli: whole.cpu_milli.min(node.cpu_milli),
        memory_bytes: whole.memory_bytes.min(node.memory_bytes),
    };
    let miss = |resource, capacity, request, on_a_node| Miss::TooSmall {
        resource,
        capacity,
        on_a_node,
        request,
        job: demand.needed_by(resource).cloned(),
    };
    let mut misses = Vec::new();
    if capacity.cpu_milli < request.cpu_milli {
        let on_a_node = node.cpu_milli < whole.cpu_milli;
        misses.push(miss(Resource::Cpu, capacity.cpu_milli, request.cpu_milli, on_a_node));
    }
    if capacity.memory_bytes < request.memory_bytes {
        let (capacity, request) = (capacity.memory_bytes, request.memory_bytes);
        let on_a_node = node.memory_bytes < whole.memory_bytes;
        misses.push(miss(Resource::Memory, capacity, request, on_a_node));
    }
    if candidate.slots == 0 {
        misses.push(miss(Resource::Slots, 0, 1, false));
    }
    misses
}

/// Says where the job stands and what each cluster, given by name, is to it.
pub fn explain<'a>(
    situation: &Situation<'_>,
    demand: &Demand<'_>,
    clusters: impl IntoIterator<Item = Candidate<'a>>,
) -> Explanation {
    let verdicts: Vec<ClusterVerdict> = clusters
        .into_iter()
        .map(|candidate| ClusterVerdict {
            cluster: candidate.name.clone(),
            misses: misses(demand, &candidate),
            held_up: candidate.held_up,
        })
        .collect();
    let nearest = verdicts.iter().min_by_key(|verdict| verdict.distance());
    let contradiction = demand.selector.contradiction();
    let contradiction = contradiction.map(|requirements| contradictory(&requirements, demand));
    let advice = match (situation, &contradiction) {
        (Situation::Queued(_), Some((_, advice))) => Some(advice.clone()),
        (Situation::Queued(_), None) => over_limit::advice(demand, nearest.and_then(advice)),
        _ => None,
    };
    let over_limit = over_limit::summary(demand);
    let summary = match situation {
        Situation::WaitsFor(parents) => format!("it waits for {}", list(parents.iter().map(|name| name.as_str()))),
        Situation::Held(words) => (*words).to_owned(),
        Situation::Queued(limit) => match contradiction {
            Some((words, _)) => words,
            None => over_limit.clone().unwrap_or_else(|| queued(&verdicts, nearest, *limit)),
        },
        Situation::Placed(placed) => placed.account(demand),
        Situation::Ended(state) => format!("it is over: {state}"),
    };
    let placed = match situation {
        Situation::Placed(placed) => Some(placed),
        _ => None,
    };
    Explanation {
        summary,
        cluster: placed.map(|placed| placed.cluster.clone()),
        reason: placed.and_then(|placed| placed.choice.map(|choice| choice.account(&demand.wishes))),
        limit: match situation {
            // What it passes by itself it does not wait for.
            Situation::Queued(limit) if over_limit.is_none() => limit.map(str::to_owned),
            _ => None,
        },
        advice,
        retry_at: None,
        clusters: verdicts,
    }
}

impl Placed<'_> {
    fn account(&self, demand: &Demand<'_>) -> String {
        let choice = match self.choice {
            Some(choice) => format!(" ({})", choice.account(&demand.wishes)),
            None => String::new(),
        };
        let held_up = match self.held_up {
            Some(reason) => format!(", and {reason}"),
            None => String::new(),
        };
        format!("it was given to cluster `{}`{choice}{held_up}", self.cluster)
    }
}

impl ClusterVerdict {
    /// What makes it worse than others that suit the job, in words.
    pub fn drawback(&self) -> Option<String> {
        match self.held_up {
            0 => None,
            1 => Some("a job that it was given does not start there".to_owned()),
            count => Some(format!("{count} jobs that it was given do not start there")),
        }
    }

    /// It fits there now, or will when there is room.
    fn would_do(&self) -> bool {
        self.misses.iter().all(Miss::is_for_room)
    }

    /// The job fits there, or will without anybody changing what it or the cluster is.
    pub fn will_do(&self) -> bool {
        self.misses.iter().all(Miss::passes)
    }
}

/// What would have to change on the cluster, if the job does not fit there and waiting does not help.
fn advice(nearest: &ClusterVerdict) -> Option<String> {
    let nearest = nearest.without_limits();
    let remedy = nearest.remedy().filter(|_| !nearest.would_do())?;
    Some(format!("to have it fit on cluster `{}`: {remedy}", nearest.cluster))
}

fn queued(verdicts: &[ClusterVerdict], nearest: Option<&ClusterVerdict>, limit: Option<&str>) -> String {
    let names = |wanted: fn(&[Miss]) -> bool| {
        let names: Vec<&str> = verdicts
            .iter()
            .filter(|verdict| wanted(&verdict.misses))
            .map(|verdict| verdict.cluster.as_str())
            .collect();
        (!names.is_empty()).then(|| list(names.into_iter()))
    };
    if verdicts.is_empty() {
        return "no cluster has joined".to_owned();
    }
    if let Some(limit) = limit.filter(|_| verdicts.iter().any(ClusterVerdict::would_do)) {
        return limit.to_owned();
    }
    if let Some(names) = names(<[Miss]>::is_empty) {
        return format!("it is about to be given to {names}");
    }
    if let Some(names) = names(|misses| misses.iter().all(Miss::is_for_room)) {
        return format!("it waits for room on {names}");
    }
    if let Some(names) = names(|misses| misses == [Miss::Disconnected]) {
        return format!("it waits for {names} to connect");
    }
    if let Some(words) = closed(verdicts) {
        return words;
    }
    match nearest.and_then(|verdict| Some((&verdict.cluster, verdict.misses.first()?))) {
        Some((cluster, miss)) => format!("no cluster can run it; the nearest is `{cluster}`: {miss}"),
        None => "no cluster can run it".to_owned(),
    }
}

/// Which clusters would do if administrators let jobs in again.
fn closed(verdicts: &[ClusterVerdict]) -> Option<String> {
    let suited: Vec<&ClusterVerdict> = verdicts.iter().filter(|verdict| verdict.will_do()).collect();
    match suited.as_slice() {
        [] => None,
        [only] => Some(format!(
            "only cluster `{}` would do: {}",
            only.cluster,
            only.misses.first()?
        )),
        several => {
            let names = list(several.iter().map(|verdict| verdict.cluster.as_str()));
            Some(format!("only clusters {names} would do, and they take no new jobs"))
        }
    }
}

/// The names, at most [`MAX_NAMES`] of them.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let shown: Vec<String> = names.take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
    match count.saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
