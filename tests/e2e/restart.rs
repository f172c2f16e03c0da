//! Agents and masters that go away while pods run.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE, wait_for};
use crate::user::Build;
use crate::world::World;

/// How long an agent may act without a word of the master, by default.
const LEASE: Duration = Duration::from_secs(15);

/// Counts for this many tenths of a second.
pub(crate) fn counting(tenths: u32) -> String {
    format!("i=0; while [ $i -lt {tenths} ]; do echo line $i; i=$((i+1)); sleep 0.1; done")
}

/// Every line of [`counting`] is in the log, once and in order.
#[track_caller]
pub(crate) fn counted(build: &Build<'_>, tenths: u32) {
    let log = build.log("it");
    let lines: Vec<_> = log.into_iter().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<_> = (0..tenths).map(|number| format!("line {number}")).collect();
    assert!(
        lines == expected,
        "{} lines, the last ones {:?}",
        lines.len(),
        lines.iter().rev().take(3).collect::<Vec<_>>()
    );
}

/// The pods of ours with this name that there are, and whether they are ready.
pub(crate) fn pods(cluster: &Cluster, application: &str) -> Vec<(String, bool)> {
    let label = format!("app.kubernetes.io/name={application}");
    let get = ["get", "pods", "--namespace", NAMESPACE, "-l", &label, "-o", "json"];
    let pods = cluster.kubectl(&get).succeeded().json();
    let pods = pods["items"].as_array().expect("a list").iter();
    pods.map(|pod| {
        let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
        let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        (uid, conditions.iter().any(ready))
    })
    .collect()
}

/// Kills a pod of ours as a node does that loses power, and waits until the next one is ready: the old one may answer for a while.
fn kill(cluster: &Cluster, application: &str) {
    let label = format!("app.kubernetes.io/name={application}");
    let before = pods(cluster, application);
    assert_eq!(before.len(), 1, "{before:?}");
    let kill = [
        "delete",
        "pods",
        "--namespace",
        NAMESPACE,
        "-l",
        &label,
        "--force",
        "--grace-period=0",
    ];
    cluster.kubectl(&kill).succeeded();
    wait_for(&format!("another pod of {application}"), || {
        let now = pods(cluster, application);
        let is_new = now.len() == 1 && now[0].0 != before[0].0;
        (is_new && now[0].1).then_some(())
    });
}

#[test]
fn pods_go_on_without_their_agent_and_the_next_one_takes_them_over() {
    let world = World::get();
    let _alone = world.east.alone();
    let build = world.run(
        "east",
        &format!("{}; echo kept > $TOMBOLO_OUTPUT/file", counting(150)),
        &json!({}),
    );
    build.says("it", "line 20");
    let (pod, _) = world.east.pod_of(&build.id("it"));
    kill(&world.east, "tombolo-agent");
    assert_eq!(world.east.pod_of(&build.id("it")).0, pod, "the same pod");
    let job = build.ends("finished", &[]);
    assert_eq!((&job["epoch"], &job["replacements"]), (&json!(1), &json!(0)), "{job:#}");
    counted(&build, 150);
    let output = build.output("it");
    assert!(output.path().join("output/file").exists());
}

#[test]
fn pods_go_on_without_the_master_and_everything_is_told_afterwards() {
    let world = World::get();
    let (_east, _west) = (world.east.alone(), world.west.alone());
    let build = world.run("west", &counting(120), &json!({}));
    build.says("it", "line 20");
    kill(&world.east, "tombolo-master");
    wait_for("the master to be back", || {
        (world.tombolo(&["cluster", "list"]).code == 0).then_some(())
    });
    let job = build.ends("finished", &[]);
    assert_eq!(job["epoch"], 1, "{job:#}");
    counted(&build, 120);
}

/// Longer than a lease: without the handover lease, which the agent asks for when it is told to go, the command would be stopped.
#[test]
fn an_exclusive_pod_goes_on_while_another_pod_takes_the_place_of_its_agent() {
    let world = World::get();
    let _alone = world.west.alone();
    let build = world.run("west", &counting(600), &json!({"exclusive": true}));
    build.says("it", "line 20");
    let scale = |replicas: &str| {
        let replicas = format!("--replicas={replicas}");
        let label = "app.kubernetes.io/name=tombolo-agent";
        let scale = ["scale", "deployment", "--namespace", NAMESPACE, "-l", label, &replicas];
        world.west.kubectl(&scale).succeeded();
    };
    scale("0");
    wait_for("the agent to have gone", || {
        let listed = world.tombolo(&["cluster", "list"]);
        listed.output.contains("handing over").then_some(())
    });
    std::thread::sleep(LEASE + Duration::from_secs(5));
    scale("1");
    let job = build.ends("finished", &[]);
    assert_eq!((&job["epoch"], &job["replacements"]), (&json!(1), &json!(0)), "{job:#}");
    counted(&build, 600);
    wait_for("the cluster to be as before", || {
        let pods = pods(&world.west, "tombolo-agent");
        (pods.len() == 1 && pods[0].1).then_some(())
    });
}
