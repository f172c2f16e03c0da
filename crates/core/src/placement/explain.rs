//! Why a job is where it is, in words.

use super::{Candidate, ClusterVerdict, Demand, Explanation, Miss};
use crate::build::TerminalState;
use crate::name::{ClusterName, JobName};
use crate::resources::Resources;

/// The most names that a summary lists.
const MAX_NAMES: usize = 3;

/// Where a job stands, as far as placement is concerned.
#[derive(Debug, Clone)]
pub enum Situation<'a> {
    /// It waits for these parents.
    WaitsFor(Vec<&'a JobName>),
    /// It waits for a cluster.
    Queued,
    /// It was given to this cluster, where this holds it up.
    Placed(&'a ClusterName, Option<&'a str>),
    /// It is over.
    Ended(TerminalState),
}

/// What keeps the job from the cluster now, all of it; empty if nothing does. The capacity of a cluster that is not
/// connected is not known for certain and therefore not judged.
pub fn misses(demand: &Demand<'_>, candidate: &Candidate<'_>) -> Vec<Miss> {
    let mut misses: Vec<Miss> = demand
        .selector
        .requirements
        .iter()
        .filter(|requirement| !requirement.matches(candidate.labels))
        .map(|requirement| Miss::Label {
            requirement: requirement.to_string(),
            found: candidate.labels.get(&requirement.key).map(str::to_owned),
        })
        .collect();
    misses.extend(
        demand
            .volumes
            .elsewhere(candidate.name)
            .map(|(volume, cluster)| Miss::VolumeElsewhere {
                volume,
                cluster: cluster.clone(),
            }),
    );
    if !candidate.connected {
        misses.push(Miss::Disconnected);
        return misses;
    }
    if !demand.volumes.wanted.is_empty() && !candidate.volumes {
        misses.push(Miss::NoVolumes);
    }
    let too_small = too_small(demand, candidate);
    if too_small.is_empty() && !candidate.has_room(demand) {
        misses.push(Miss::Full);
    }
    misses.extend(too_small);
    misses
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
    let miss = |resource: &str, capacity, request, on_a_node| Miss::TooSmall {
        resource: resource.to_owned(),
        capacity,
        on_a_node,
        request,
    };
    let mut misses = Vec::new();
    if capacity.cpu_milli < request.cpu_milli {
        let on_a_node = node.cpu_milli < whole.cpu_milli;
        misses.push(miss("cpu", cpu(capacity.cpu_milli), cpu(request.cpu_milli), on_a_node));
    }
    if capacity.memory_bytes < request.memory_bytes {
        misses.push(miss(
            "memory",
            memory(capacity.memory_bytes),
            memory(request.memory_bytes),
            node.memory_bytes < whole.memory_bytes,
        ));
    }
    if candidate.slots == 0 {
        misses.push(miss("slots", "0".to_owned(), "1".to_owned(), false));
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
        })
        .collect();
    let summary = match situation {
        Situation::WaitsFor(parents) => format!("it waits for {}", list(parents.iter().map(|name| name.as_str()))),
        Situation::Queued => queued(&verdicts),
        Situation::Placed(cluster, None) => format!("it was given to cluster `{cluster}`"),
        Situation::Placed(cluster, Some(reason)) => format!("it was given to cluster `{cluster}`, and {reason}"),
        Situation::Ended(state) => format!("it is over: {state}"),
    };
    Explanation {
        summary,
        clusters: verdicts,
    }
}

impl ClusterVerdict {
    /// The job's selector does not hold there.
    fn is_unwanted(&self) -> bool {
        self.misses.iter().any(|miss| matches!(miss, Miss::Label { .. }))
    }
}

fn queued(verdicts: &[ClusterVerdict]) -> String {
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
    if let Some(names) = names(<[Miss]>::is_empty) {
        return format!("it is about to be given to {names}");
    }
    if let Some(names) = names(|misses| misses == [Miss::Full]) {
        return format!("it waits for room on {names}");
    }
    if let Some(names) = names(|misses| misses == [Miss::Disconnected]) {
        return format!("it waits for {names} to connect");
    }
    // A cluster that the job does not want is never the nearest while there is one that it wants.
    let nearest = verdicts
        .iter()
        .min_by_key(|verdict| (verdict.is_unwanted(), verdict.misses.len()));
    match nearest.and_then(|verdict| Some((&verdict.cluster, verdict.misses.first()?))) {
        Some((cluster, miss)) => format!("no cluster can run it; the nearest is `{cluster}`: {miss}"),
        None => "no cluster can run it".to_owned(),
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

/// Processors: `2`, `0.25`.
fn cpu(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes in the largest binary unit that leaves a whole number or one decimal: `512 MiB`, `1.5 GiB`.
fn memory(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (1..UNITS.len())
        .rev()
        .find(|unit| bytes >> (10 * unit) > 0)
        .unwrap_or(0);
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        rest => format!("{}.{rest} {}", tenths / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::{Labels, Selector};
    use crate::placement::VolumeNeeds;
    use crate::resources::Resources;

    const GIB: u64 = 1 << 30;

    fn name(text: &str) -> ClusterName {
        ClusterName::new(text).unwrap()
    }

    fn resources(cpu_milli: u64, memory_bytes: u64) -> Resources {
        Resources {
            cpu_milli,
            memory_bytes,
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_miss_is_found() {
        let east = name("east");
        let labels = Labels::parse(["AWS", "region=us"]).unwrap().with_cluster(&east);
        let base = Candidate {
            name: &east,
            labels: &labels,
            connected: true,
            capacity: resources(4000, 8 * GIB),
            largest: None,
            slots: 4,
            volumes: false,
            used: Resources::default(),
            attempts: 0,
        };
        let small_nodes = Candidate {
            largest: Some(resources(2000, 8 * GIB)),
            ..base
        };
        let no_slots = Candidate { slots: 0, ..base };
        let slots_taken = Candidate { attempts: 4, ..base };
        let used = resources(0, 8 * GIB - 1);
        let memory_taken = Candidate { used, ..base };
        let connected = false;
        let away = Candidate { connected, ..base };
        let label = |requirement: &str, found: Option<&str>| Miss::Label {
            requirement: requirement.to_owned(),
            found: found.map(str::to_owned),
        };
        let small = |resource: &str, capacity: &str, request: &str| Miss::TooSmall {
            resource: resource.to_owned(),
            capacity: capacity.to_owned(),
            on_a_node: false,
            request: request.to_owned(),
        };
        for (case, selector, request, candidate, expected) in [
            ("fits", "AWS, cluster=east", resources(4000, 8 * GIB), base, vec![]),
            ("label", "GCP", resources(1, 1), base, vec![label("GCP", None)]),
            (
                "two labels",
                "region=eu, gpu>0",
                resources(1, 1),
                base,
                vec![label("region=eu", Some("us")), label("gpu>0", None)],
            ),
            (
                "too small",
                "",
                resources(4001, 9 * GIB),
                base,
                vec![small("cpu", "4", "4.001"), small("memory", "8 GiB", "9 GiB")],
            ),
            (
                "too small a node",
                "",
                resources(3000, 8 * GIB),
                small_nodes,
                vec![Miss::TooSmall {
                    resource: "cpu".to_owned(),
                    capacity: "2".to_owned(),
                    on_a_node: true,
                    request: "3".to_owned(),
                }],
            ),
            (
                "no slots",
                "",
                resources(1, 1),
                no_slots,
                vec![small("slots", "0", "1")],
            ),
            ("slots taken", "", resources(1, 1), slots_taken, vec![Miss::Full]),
            ("memory taken", "", resources(1, GIB), memory_taken, vec![Miss::Full]),
            ("away", "", resources(5000, 1), away, vec![Miss::Disconnected]),
        ] {
            let selector = Selector::parse(selector).unwrap();
            let demand = Demand {
                selector: &selector,
                prefer: None,
                resources: request,
                volumes: &VolumeNeeds::NONE,
            };
            let found = misses(&demand, &candidate);
            assert_eq!(found, expected, "{case}");
            assert_eq!(
                candidate.suits(&demand) && candidate.has_room(&demand),
                found.is_empty(),
                "{case}"
            );
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn summaries() {
        let (east, west) = (name("east"), name("west"));
        let labels = Labels::new();
        let candidate = |name, connected, attempts| Candidate {
            name,
            labels: &labels,
            connected,
            capacity: resources(1000, GIB),
            largest: None,
            slots: 1,
            volumes: false,
            used: Resources::default(),
            attempts,
        };
        let jobs: Vec<JobName> = ["a", "b", "c", "d"].map(|name| JobName::new(name).unwrap()).to_vec();
        let needs_gpu = Selector::parse("gpu>0").unwrap();
        let any = Selector::default();
        let only_east = Selector::parse("cluster=east").unwrap();
        let of_east = Labels::new().with_cluster(&east);
        let tiny = Candidate {
            labels: &of_east,
            capacity: Resources::default(),
            slots: 0,
            ..candidate(&east, true, 0)
        };
        for (situation, selector, clusters, summary) in [
            (Situation::Queued, &any, vec![], "no cluster has joined"),
            (
                Situation::Queued,
                &any,
                vec![candidate(&east, true, 1), candidate(&west, false, 0)],
                "it waits for room on `east`",
            ),
            (
                Situation::Queued,
                &any,
                vec![candidate(&east, false, 0), candidate(&west, false, 0)],
                "it waits for `east`, `west` to connect",
            ),
            (
                Situation::Queued,
                &any,
                vec![candidate(&east, true, 0)],
                "it is about to be given to `east`",
            ),
            (
                Situation::Queued,
                &needs_gpu,
                vec![candidate(&east, false, 0), candidate(&west, true, 0)],
                "no cluster can run it; the nearest is `west`: selector `gpu>0` does not hold",
            ),
            (
                Situation::Queued,
                &only_east,
                vec![candidate(&west, true, 0), tiny],
                "no cluster can run it; the nearest is `east`: it has 0 cpu in all, the job needs 0.001",
            ),
            (
                Situation::WaitsFor(jobs.iter().collect()),
                &any,
                vec![],
                "it waits for `a`, `b`, `c` and 1 more",
            ),
            (
                Situation::Placed(&west, None),
                &any,
                vec![],
                "it was given to cluster `west`",
            ),
            (
                Situation::Placed(&west, Some("waits for a node")),
                &any,
                vec![],
                "it was given to cluster `west`, and waits for a node",
            ),
            (
                Situation::Ended(TerminalState::Failure),
                &any,
                vec![],
                "it is over: failure",
            ),
        ] {
            let demand = Demand {
                selector,
                prefer: None,
                resources: resources(1, 1),
                volumes: &VolumeNeeds::NONE,
            };
            let count = clusters.len();
            let explanation = explain(&situation, &demand, clusters);
            assert_eq!(explanation.summary, summary);
            assert_eq!(explanation.clusters.len(), count);
        }
    }

    #[test]
    fn amounts() {
        for (milli, text) in [(0, "0"), (1, "0.001"), (250, "0.25"), (1000, "1"), (10_000, "10")] {
            assert_eq!(cpu(milli), text);
        }
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(memory(bytes), text);
        }
    }
}
