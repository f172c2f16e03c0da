use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::build::{Dependency, TerminalState};
use crate::label::Selector;
use crate::resources::Resources;

fn job(name: &str, parents: &[&str]) -> JobSpec {
    let on = StateSet::of(&[TerminalState::Finished]);
    let dependency = |parent: &&str| Dependency {
        job: JobName::new(parent).expect("a valid name"),
        on,
    };
    JobSpec {
        name: JobName::new(name).expect("a valid name"),
        image: "image".to_owned(),
        command: None,
        environment: BTreeMap::new(),
        secrets: Default::default(),
        timeout: Duration::from_secs(1),
        resources: Resources::default(),
        dependencies: parents.iter().map(dependency).collect(),
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        volumes: Default::default(),
        cache: false,
        pod: None,
        kind: Default::default(),
        source: true,
        needs: Default::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
    }
}

fn jobs(jobs: &[(&str, &[&str])]) -> Vec<JobSpec> {
    jobs.iter().map(|(name, parents)| job(name, parents)).collect()
}

fn parents_come_first(graph: &Graph) -> bool {
    let mut place = vec![0; graph.order().len()];
    for (step, job) in graph.order().iter().enumerate() {
        place[*job as usize] = step;
    }
    graph.order().iter().all(|job| {
        graph
            .parents(*job)
            .iter()
            .all(|(parent, _)| place[*parent as usize] < place[*job as usize])
    })
}

#[test]
fn a_sound_graph_gives_edges_both_ways() {
    let mut jobs = jobs(&[
        ("report", &["test", "build"]),
        ("build", &[]),
        ("test", &["build"]),
        ("alone", &[]),
    ]);
    jobs[0].dependencies[0].on = StateSet::ALL;
    let graph = check(&jobs).expect("a sound graph");
    let finished = StateSet::of(&[TerminalState::Finished]);
    assert_eq!(graph.parents(0), [(2, StateSet::ALL), (1, finished)]);
    assert_eq!(graph.parents(1), []);
    assert_eq!(graph.children(1), [0, 2]);
    assert_eq!(graph.children(3), [] as [u32; 0]);
    assert_eq!(graph.order(), [1, 3, 2, 0]);
    assert_eq!(check(&[]), Ok(Graph::default()));
}

#[test]
fn faults_are_found_all_at_once() {
    type Case<'a> = (&'a [(&'a str, &'a [&'a str])], &'a [&'a str]);
    let cases: [Case<'_>; 9] = [
        (&[("a", &[]), ("a", &[])], &["another job is named `a` already"]),
        (&[("a", &["b"])], &["no job is named `b`"]),
        (&[("a", &["a"])], &["job `a` depends on itself"]),
        (
            &[("a", &[]), ("b", &["a", "a"])],
            &["the dependency on `a` is given twice"],
        ),
        (
            &[("a/test", &[]), ("b/test", &[]), ("c", &["a/test", "b/test"])],
            &["the outputs of `a/test` and `b/test` would both come to `inputs/test`"],
        ),
        (
            &[("a", &["b"]), ("b", &["a"])],
            &["the jobs depend on each other in a cycle: a -> b -> a"],
        ),
        // What comes before or after a cycle is not part of it, and the cycle is named once.
        (
            &[
                ("root", &[]),
                ("x", &["z", "root"]),
                ("y", &["x"]),
                ("z", &["y"]),
                ("after", &["x", "y", "z"]),
            ],
            &["the jobs depend on each other in a cycle: x -> z -> y -> x"],
        ),
        // Two groups, the second of which comes after the first.
        (
            &[("a", &["b"]), ("b", &["a"]), ("c", &["a", "d"]), ("d", &["c"])],
            &[
                "the jobs depend on each other in a cycle: a -> b -> a",
                "the jobs depend on each other in a cycle: c -> d -> c",
            ],
        ),
        (
            &[("a", &["missing"]), ("a", &["b"]), ("b", &["b", "a", "a"])],
            &[
                "another job is named `a` already",
                "no job is named `missing`",
                "job `b` depends on itself",
                "the dependency on `a` is given twice",
            ],
        ),
    ];
    for (given, expected) in cases {
        let faults = check(&jobs(given)).expect_err("a faulty graph");
        let messages: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(messages, expected, "{given:?}");
    }
}

#[test]
fn faults_say_which_dependency() {
    let faults = check(&jobs(&[("a", &[]), ("b", &["a", "c", "a"])])).expect_err("a faulty graph");
    let name = |name| JobName::new(name).expect("a valid name");
    assert_eq!(
        faults,
        [
            Fault::MissingParent {
                job: 1,
                dependency: 1,
                name: name("c")
            },
            Fault::DuplicateDependency {
                job: 1,
                dependency: 2,
                first: 0,
                name: name("a")
            },
        ]
    );
}

/// A validator that follows every path takes 2^30 steps here.
#[test]
fn diamonds_take_linear_time() {
    let mut jobs = vec![job("top", &[])];
    let mut above = "top".to_owned();
    for layer in 0..30 {
        let (left, right, bottom) = (
            format!("left-{layer}"),
            format!("right-{layer}"),
            format!("bottom-{layer}"),
        );
        jobs.extend([
            job(&left, &[&above]),
            job(&right, &[&above]),
            job(&bottom, &[&left, &right]),
        ]);
        above = bottom;
    }
    assert_eq!(check(&jobs).map(|graph| graph.order().len()), Ok(91));

    jobs[0] = job("top", &[&above]);
    let faults = check(&jobs).expect_err("a cycle through all layers");
    assert!(
        matches!(faults.as_slice(), [Fault::Cycle { jobs, .. }] if jobs.len() == 61),
        "{faults:?}"
    );
}

#[test]
fn the_longest_chain_and_the_longest_cycle_need_no_deep_stack() {
    let name = |number: usize| format!("job-{number}");
    let mut jobs: Vec<_> = (1..MAX_JOBS)
        .map(|number| job(&name(number), &[&name(number - 1)]))
        .collect();
    jobs.push(job(&name(0), &[]));
    let graph = check(&jobs).expect("a chain");
    assert!(parents_come_first(&graph));

    *jobs.last_mut().expect("there are jobs") = job(&name(0), &[&name(MAX_JOBS - 1)]);
    let faults = check(&jobs).expect_err("a cycle");
    let [fault] = faults.as_slice() else {
        panic!("one cycle, not {}", faults.len())
    };
    assert!(fault.to_string().ends_with("-> (99980 more) -> job-1"), "{fault}");

    jobs.push(job("one-more", &[]));
    assert_eq!(check(&jobs), Err(vec![Fault::TooManyJobs { count: MAX_JOBS + 1 }]));
}

#[test]
fn the_number_of_dependencies_is_bounded() {
    let parent = job("child", &["parent"]).dependencies.remove(0);
    let mut child = job("child", &[]);
    child.dependencies = vec![parent; MAX_DEPENDENCIES + 1];
    assert_eq!(
        check(&[child]),
        Err(vec![Fault::TooManyDependencies {
            count: MAX_DEPENDENCIES + 1
        }])
    );
}

proptest! {
    /// Against the definition: without a cycle the order is complete, with one the cycle's edges all exist.
    #[test]
    fn cycles_are_real_and_orders_are_right(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..30)) {
        let name = |number: usize| format!("j{number}");
        let mut parents = vec![std::collections::BTreeSet::new(); 12];
        for (child, parent) in edges.into_iter().filter(|(child, parent)| child != parent) {
            parents[child].insert(parent);
        }
        let jobs: Vec<_> = parents.iter().enumerate().map(|(child, parents)| {
            let names: Vec<_> = parents.iter().map(|parent| name(*parent)).collect();
            job(&name(child), &names.iter().map(String::as_str).collect::<Vec<_>>())
        }).collect();
        match check(&jobs) {
            Ok(graph) => {
                prop_assert_eq!(graph.order().len(), 12);
                prop_assert!(parents_come_first(&graph));
            }
            Err(faults) => {
                let mut members = std::collections::BTreeSet::new();
                for fault in faults {
                    let Fault::Cycle { jobs, .. } = fault else { panic!("{fault}") };
                    for (index, child) in jobs.iter().enumerate() {
                        let parent = jobs[(index + 1) % jobs.len()] as usize;
                        prop_assert!(parents[*child as usize].contains(&parent));
                        prop_assert!(members.insert(*child), "cycles share no job");
                    }
                }
            }
        }
    }
}
