use proptest::prelude::*;

use super::*;
use crate::capability::CapabilitySet;
use crate::label::{Labels, Selector};
use crate::name::ClusterName;
use crate::placement::{Availability, Candidate, Demand, Explanation, Situation, VolumeNeeds, Wishes, explain};
use crate::resources::Resources;

const GIB: u64 = 1 << 30;

/// A cluster of the tests: its labels, processors, memory in GiB, and what it can do.
#[derive(Debug, Clone)]
struct Offer {
    labels: String,
    cpu: u64,
    memory: u64,
    volumes: bool,
}

impl Offer {
    fn new(labels: &str, cpu: u64, memory: u64) -> Self {
        Self {
            labels: labels.to_owned(),
            cpu,
            memory,
            volumes: true,
        }
    }

    fn without_volumes(self) -> Self {
        Self { volumes: false, ..self }
    }
}

/// What is said of a job that asks for a volume, so many processors and GiB of memory; the clusters are `c0`, `c1` and so on.
fn explained(selector: &str, cpu: u64, memory: u64, offers: &[Offer]) -> Explanation {
    let resources = |cpu: u64, memory: u64| Resources {
        cpu_milli: cpu * 1000,
        memory_bytes: memory * GIB,
    };
    let selector = Selector::parse(selector).unwrap();
    let volumes = VolumeNeeds {
        wanted: crate::volume::VolumeSet::of(&[crate::volume::VolumeKind::Shared]),
        ..VolumeNeeds::NONE
    };
    let demand = Demand {
        selector: &selector,
        wishes: Wishes::default(),
        resources: resources(cpu, memory),
        volumes: &volumes,
        needs: CapabilitySet::EMPTY,
        project: None,
        sharers: None,
        share: None,
    };
    let named: Vec<(ClusterName, Labels)> = (0..)
        .zip(offers)
        .map(|(index, offer)| {
            let labels = offer.labels.split(',').filter(|label| !label.is_empty());
            (
                ClusterName::new(&format!("c{index}")).unwrap(),
                Labels::parse(labels).unwrap(),
            )
        })
        .collect();
    let candidates = named.iter().zip(offers).map(|((name, labels), offer)| Candidate {
        name,
        labels,
        availability: Availability::Open,
        kept: false,
        connected: true,
        capacity: resources(offer.cpu, offer.memory),
        largest: None,
        slots: 8,
        volumes: offer.volumes,
        capabilities: CapabilitySet::EMPTY,
        used: Resources::default(),
        attempts: 0,
        held_up: 0,
    });
    explain(&Situation::Queued(None), &demand, candidates)
}

/// Which cluster is said to be the nearest.
fn nearest(selector: &str, cpu: u64, memory: u64, offers: &[Offer]) -> usize {
    let explanation = explained(selector, cpu, memory, offers);
    let advice = explanation.advice.unwrap_or_default();
    let (_, name) = advice.split_once("to have it fit on cluster `c").unwrap();
    let (index, _) = name.split_once('`').unwrap();
    assert!(
        explanation.summary.contains(&format!("the nearest is `c{index}`")),
        "the advice is for the cluster of the summary: {}",
        explanation.summary
    );
    index.parse().unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_nearest_cluster_is_the_one_that_misses_the_least() {
    let offer = Offer::new;
    for (case, selector, (cpu, memory), offers, expected) in [
        (
            "the largest of those that are too small",
            "",
            (64, 1),
            vec![offer("", 2, 8), offer("", 8, 8), offer("", 48, 8)],
            2,
        ),
        (
            "whatever comes after it",
            "",
            (64, 1),
            vec![offer("", 2, 8), offer("", 48, 8), offer("", 8, 8)],
            1,
        ),
        (
            "by the worst resource",
            "",
            (64, 100),
            vec![offer("", 4, 200), offer("", 48, 90)],
            1,
        ),
        (
            "by the other one among those that have as little of the worst",
            "",
            (64, 100),
            vec![offer("", 8, 20), offer("", 8, 90), offer("", 8, 50)],
            1,
        ),
        (
            "nothing at all is further than little",
            "",
            (64, 1),
            vec![offer("", 0, 8), offer("", 1, 8)],
            1,
        ),
        (
            "what else it lacks decides among those of one size",
            "",
            (64, 1),
            vec![offer("", 48, 8).without_volumes(), offer("", 48, 8)],
            1,
        ),
        (
            "size before what else it lacks",
            "",
            (64, 1),
            vec![offer("", 2, 8), offer("", 48, 8).without_volumes()],
            1,
        ),
        (
            "a small one that it wants before a large one that it does not want",
            "region=eu",
            (64, 1),
            vec![offer("region=us", 128, 8), offer("region=eu", 2, 8)],
            1,
        ),
        (
            "a number that is nearer",
            "gpu>4",
            (1, 1),
            vec![offer("gpu=1", 2, 8), offer("gpu=3", 2, 8), offer("gpu=2", 2, 8)],
            1,
        ),
        (
            "from above too",
            "latency<10",
            (1, 1),
            vec![offer("latency=300", 2, 8), offer("latency=12", 2, 8)],
            1,
        ),
        (
            "any number before none, and before what is no number",
            "gpu>4",
            (1, 1),
            vec![offer("", 2, 8), offer("gpu=many", 2, 8), offer("gpu=0", 2, 8)],
            2,
        ),
        (
            "numbers that count different things by their ratio",
            "gpu>3,bandwidth>9999",
            (1, 1),
            vec![
                offer("gpu=1,bandwidth=10000", 2, 8),
                offer("gpu=4,bandwidth=9000", 2, 8),
            ],
            1,
        ),
        (
            "size among those whose labels are as far off",
            "gpu>4",
            (64, 1),
            vec![offer("gpu=3", 2, 8), offer("gpu=3", 48, 8)],
            1,
        ),
    ] {
        assert_eq!(nearest(selector, cpu, memory, &offers), expected, "{case}");
    }
}

#[test]
fn numbers_at_the_ends_of_their_range_are_compared() {
    let high = i64::MAX.to_string();
    for (requirement, near, far) in [
        (format!("n>{high}"), high.as_str(), "0"),
        (format!("n<{}", i64::MIN), "0", high.as_str()),
        ("n>0".to_owned(), "0", "many"),
        ("n<0".to_owned(), "0", high.as_str()),
    ] {
        let requirement: Requirement = requirement.parse().unwrap();
        let (near, far) = (off_by(&requirement, Some(near)), off_by(&requirement, Some(far)));
        assert!(near < far && far <= ABSENT, "{requirement}: {near}, {far}");
    }
    assert!(times(u64::MAX, 1) < times(1, 0));
}

fn sizes() -> impl Strategy<Value = (u64, u64)> {
    (0_u64..64, 0_u64..64)
}

proptest! {
    /// Who has more of something and less of nothing is never further away.
    #[test]
    fn more_is_nearer(
        (cpu, memory) in sizes(),
        (more_cpu, more_memory) in sizes(),
        others in prop::collection::vec(sizes(), 0..4),
        place in 0_usize..5,
    ) {
        prop_assume!((more_cpu, more_memory) != (0, 0));
        let larger = (cpu + more_cpu, memory + more_memory);
        let mut offers: Vec<Offer> = others.iter().map(|(cpu, memory)| Offer::new("", *cpu, *memory)).collect();
        offers.insert(place.min(offers.len()), Offer::new("", larger.0, larger.1));
        offers.insert(0, Offer::new("", cpu, memory));
        prop_assert_ne!(nearest("", 200, 200, &offers), 0);
    }

    /// Of several numbers the nearest is named, wherever it stands.
    #[test]
    fn nearer_numbers_are_nearer(
        bound in 5000_u32..9000,
        mut gaps in prop::collection::vec(0_u32..5000, 2..6),
        below: bool,
    ) {
        gaps.sort_unstable();
        gaps.dedup();
        gaps.reverse();
        let number = |gap: &u32| if below { bound + gap } else { bound - gap };
        let offers: Vec<Offer> = gaps.iter().map(|gap| Offer::new(&format!("n={}", number(gap)), 1, 1)).collect();
        let sign = if below { '<' } else { '>' };
        prop_assert_eq!(nearest(&format!("n{sign}{bound}"), 1, 1, &offers), offers.len() - 1);
    }
}
