//! What can be broken only where clusters are `cargo xtask cluster`'s own: networks, kubelets, API servers.

use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{Printed, repository, variable};
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
    crosses("relay");
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

/// The courier tells how a job goes, not the kubelet; what comes meanwhile waits for the node.
#[test]
fn a_kubelet_that_stops_and_comes_back() {
    let world = World::get();
    let _alone = world.west.alone();
    let running = world.run(
        "west",
        &format!("{}; echo kept > $TOMBOLO_OUTPUT/file", counting(300)),
        &json!({}),
    );
    running.says("it", "line 5");
    let started = Mended(&["start", "west", "kubelet"]);
    xtask(&["stop", "west", "kubelet"]);
    let job = running.ends("finished", &[]);
    assert_eq!(job["epoch"], 1, "{job:#}");
    counted(&running, 300);
    let waiting = world.run("west", "echo ran in the end", &json!({}));
    waiting.says("it", "waits for a node: 0/1 nodes are available");
    drop(started);
    waiting.ends("finished", &[]);
    assert!(waiting.log("it").iter().any(|line| line == "ran in the end"));
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
