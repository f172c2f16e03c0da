use super::*;
use crate::capability::CapabilitySet;
use crate::label::{Labels, Selector};
use crate::placement::words::{bytes, cpu, memory};
use crate::placement::{Availability, Comparison, Score, VolumeNeeds, Wishes};
use crate::resources::Resources;
use crate::route::{Cost, Costs};

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
    use Availability::{Cordoned, Disabled, Draining};
    let east = name("east");
    let labels = Labels::parse(["AWS", "region=us"]).unwrap().with_cluster(&east);
    let base = Candidate {
        name: &east,
        labels: &labels,
        availability: Availability::Open,
        kept: false,
        connected: true,
        capacity: resources(4000, 8 * GIB),
        largest: None,
        slots: 4,
        volumes: false,
        capabilities: CapabilitySet::EMPTY,
        used: Resources::default(),
        attempts: 0,
        held_up: 0,
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
    let never_there = Candidate {
        connected,
        capacity: Resources::default(),
        slots: 0,
        ..base
    };
    let closed = |availability| Candidate { availability, ..base };
    let is_closed = |availability| vec![Miss::Closed { availability }];
    let label = |requirement: &str, found: Option<&str>| Miss::Label {
        requirement: requirement.parse().unwrap(),
        found: found.map(str::to_owned),
        is_contested: false,
        job: None,
    };
    let full = |resource, capacity, free, request| Miss::Full {
        resource,
        capacity,
        free,
        request,
    };
    let small = |resource, capacity, request| Miss::TooSmall {
        resource,
        capacity,
        on_a_node: false,
        request,
        job: None,
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
            vec![
                small(Resource::Cpu, 4000, 4001),
                small(Resource::Memory, 8 * GIB, 9 * GIB),
            ],
        ),
        (
            "too small a node",
            "",
            resources(3000, 8 * GIB),
            small_nodes,
            vec![Miss::TooSmall {
                resource: Resource::Cpu,
                capacity: 2000,
                on_a_node: true,
                request: 3000,
                job: None,
            }],
        ),
        (
            "no slots",
            "",
            resources(1, 1),
            no_slots,
            vec![small(Resource::Slots, 0, 1)],
        ),
        (
            "slots taken",
            "",
            resources(1, 1),
            slots_taken,
            vec![full(Resource::Slots, 4, 0, 1)],
        ),
        (
            "memory taken",
            "",
            resources(1, GIB),
            memory_taken,
            vec![full(Resource::Memory, 8 * GIB, 1, GIB)],
        ),
        (
            "kept",
            "",
            resources(1, 1),
            Candidate { kept: true, ..base },
            vec![Miss::Kept],
        ),
        ("away", "", resources(1, 1), away, vec![Miss::Disconnected]),
        (
            "away and too small",
            "",
            resources(5000, 1),
            away,
            vec![Miss::Disconnected, small(Resource::Cpu, 4000, 5000)],
        ),
        (
            "never there",
            "",
            resources(5000, 1),
            never_there,
            vec![Miss::Disconnected],
        ),
        ("cordoned", "", resources(1, 1), closed(Cordoned), is_closed(Cordoned)),
        ("draining", "", resources(1, 1), closed(Draining), is_closed(Draining)),
        ("disabled", "", resources(1, 1), closed(Disabled), is_closed(Disabled)),
    ] {
        let selector = Selector::parse(selector).unwrap();
        let demand = Demand {
            selector: &selector,
            wishes: Default::default(),
            resources: request,
            volumes: &VolumeNeeds::NONE,
            needs: CapabilitySet::EMPTY,
            project: None,
            sharers: None,
            share: None,
        };
        let found = misses(&demand, &candidate);
        assert_eq!(found, expected, "{case}");
        assert_eq!(
            candidate.suits(&demand) && candidate.has_room(&demand.resources) && !candidate.kept,
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
        availability: Availability::Open,
        kept: false,
        connected,
        capacity: resources(1000, GIB),
        largest: None,
        slots: 1,
        volumes: false,
        capabilities: CapabilitySet::EMPTY,
        used: Resources::default(),
        attempts,
        held_up: 0,
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
    let placed = |choice, held_up| {
        Situation::Placed(Placed {
            cluster: &west,
            choice,
            held_up,
        })
    };
    let (mut comparison, wishes) = (Comparison::default(), Wishes::default());
    let score = Score::new(0, 0, Cost(0), &Costs::default());
    (0..2).for_each(|_| comparison.add(&score));
    let of_two = comparison.choice(&west, &score, &wishes, false);
    for (situation, selector, clusters, summary) in [
        (Situation::Queued(None), &any, vec![], "no cluster has joined"),
        (
            Situation::Queued(None),
            &any,
            vec![candidate(&east, true, 1), candidate(&west, false, 0)],
            "it waits for room on `east`",
        ),
        (
            Situation::Queued(None),
            &any,
            vec![candidate(&east, false, 0), candidate(&west, false, 0)],
            "it waits for `east`, `west` to connect",
        ),
        (
            Situation::Queued(None),
            &any,
            vec![candidate(&east, true, 0)],
            "it is about to be given to `east`",
        ),
        (
            Situation::Queued(None),
            &needs_gpu,
            vec![candidate(&east, false, 0), candidate(&west, true, 0)],
            "no cluster can run it; the nearest is `west`: selector `gpu>0` does not hold",
        ),
        (
            Situation::Queued(None),
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
        (placed(None, None), &any, vec![], "it was given to cluster `west`"),
        (
            placed(None, Some("waits for a node")),
            &any,
            vec![],
            "it was given to cluster `west`, and waits for a node",
        ),
        (
            placed(Some(of_two), Some("waits for a node")),
            &any,
            vec![],
            "it was given to cluster `west` (of 2 that were compared, the most of it was free), and waits for a node",
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
            wishes: Default::default(),
            resources: resources(1, 1),
            volumes: &VolumeNeeds::NONE,
            needs: CapabilitySet::EMPTY,
            project: None,
            sharers: None,
            share: None,
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
    for (size, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (24_000_000, "24.0 MB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (u64::MAX, "18.4 EB"),
    ] {
        assert_eq!(bytes(size), text);
    }
}
