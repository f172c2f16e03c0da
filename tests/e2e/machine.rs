//! What can be broken only where clusters are `cargo xtask cluster`'s own: networks, kubelets, API servers.

mod damage;

use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Printed, repository, variable, wait_for};
use crate::crossing::crosses;
use crate::install::AGENTS;
use crate::restart::{counted, counting};
use crate::user::job;
use crate::world::World;

fn xtask(arguments: &[&str]) -> Printed {
    let mut command = Command::new(variable("TOMBOLO_E2E_XTASK"));
    command.arg("cluster").args(arguments).current_dir(repository());
    Printed::of(&mut command).succeeded()
}

/// Undoes what a test broke, also when that fails.
struct Mended(&'static [&'static str]);

impl Drop for Mended {
    fn drop(&mut self) {
        xtask(self.0);
    }
}

#[test]
fn clusters_that_cannot_reach_each_other_send_outputs_through_the_master() {
    let world = World::get();
    let (_east, _west) = (world.east.alone(), world.west.alone());
    let _healed = Mended(&["heal"]);
    // What is left is the way of west's agent to the master, and nothing between agents.
    xtask(&["cut", "east", "west", "--except-port", &AGENTS.to_string()]);
    // The bucket is nobody's network: what is in it can be read from both sides.
    crosses(&["relay"], &["relay", "signed"]);
}

#[test]
fn an_image_runs_what_it_says_itself() {
    let world = World::get();
    let _whole = world.east.whole();
    let mut greeter = job(
        "it",
        "east",
        "",
        &json!({"image": "registry.tombolo.test:5000/greeter:1"}),
    );
    greeter.as_object_mut().unwrap().remove("command");
    let build = world.submit("main", &[greeter]);
    build.ends("finished", &[]);
    println!("{:?}", build.log("it"));
}

/// The courier tells how a job goes, not the kubelet, also for longer than a node may be silent; what comes meanwhile waits.
#[test]
fn a_kubelet_that_stops_and_comes_back() {
    let world = World::get();
    let _alone = world.west.alone();
    let running = world.run(
        "west",
        &format!("{}; echo kept > $TOMBOLO_OUTPUT/file", counting(800)),
        &json!({}),
    );
    running.says("it", "line 5");
    let started = Mended(&["start", "west", "kubelet"]);
    xtask(&["stop", "west", "kubelet"]);
    let job = running.ends("finished", &[]);
    assert_eq!(job["epoch"], 1, "{job:#}");
    counted(&running, 800);
    let waiting = world.run("west", "echo ran in the end", &json!({}));
    // The agent tells the master that no node is ready, which so gives the job to nobody.
    let why = wait_for("the reason why it does not start", || {
        let why = waiting.job("it")["waiting"].as_str()?.to_owned();
        why.contains("the nearest is `west`").then_some(why)
    });
    println!("{why}");
    drop(started);
    waiting.ends("finished", &[]);
    assert!(waiting.log("it").iter().any(|line| line == "ran in the end"));
}

/// The node dies as far as the job can tell: no kubelet, and none of its processes.
#[test]
fn a_node_that_is_lost() {
    let world = World::get();
    let _alone = world.west.alone();
    let build = world.run("west", "echo ready; sleep 600", &json!({}));
    build.says("it", "ready");
    let id = build.id("it");
    let label = format!("tombolo.dev/job={id}");
    // The kubelet says a little later than the pod itself that it runs.
    let uid = wait_for("the pod to be ready", || {
        let pods = world
            .west
            .kubectl(&["get", "pods", "--all-namespaces", "-o", "json", "-l", &label]);
        let pods = pods.succeeded().json();
        let conditions = pods["items"][0]["status"]["conditions"].as_array()?;
        let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        let is_ready = conditions.iter().any(ready);
        let uid = pods["items"][0]["metadata"]["uid"].as_str()?;
        is_ready.then(|| uid.to_owned())
    });
    let started = Mended(&["start", "west", "kubelet"]);
    xtask(&["stop", "west", "kubelet"]);
    assert!(kill_all_of_pod(&uid) > 0, "the pod has processes");
    build.finish();
    drop(started);
    build.ends("error", &["was lost while the job ran on it", "run the job again"]);
}

/// The clusters' processes are this machine's.
fn processes_of_pod(uid: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").expect("there is /proc").flatten();
    let of_pod = processes.filter_map(|entry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let group = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
        group.contains(uid).then_some(number)
    });
    of_pod.collect()
}

/// Ends every process of a pod, and returns how many there were.
fn kill_all_of_pod(uid: &str) -> usize {
    let numbers: Vec<_> = processes_of_pod(uid).iter().map(i32::to_string).collect();
    Printed::of(Command::new("kill").arg("-KILL").args(&numbers)).succeeded();
    numbers.len()
}

#[test]
fn an_api_server_that_is_away_for_a_minute() {
    let world = World::get();
    let _alone = world.west.alone();
    let running = world.run("west", &counting(450), &json!({}));
    running.says("it", "line 5");
    let started = Mended(&["start", "west", "apiserver"]);
    xtask(&["stop", "west", "apiserver"]);
    let coming = world.run("west", "echo came while it was away", &json!({}));
    thread::sleep(Duration::from_secs(60));
    drop(started);
    let job = running.ends("finished", &[]);
    assert_eq!(job["epoch"], 1, "{job:#}");
    counted(&running, 450);
    coming.ends("finished", &[]);
}
