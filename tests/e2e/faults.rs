//! What goes wrong in pods: each fault has its state, says what happened, and leaves nothing behind.

use serde_json::json;

use crate::cluster::NAMESPACE;
use crate::install::{CRAMPED, STORAGE};
use crate::user::job;
use crate::world::World;

#[test]
fn an_image_that_does_not_exist() {
    let world = World::get();
    let _whole = world.east.whole();
    let build = world.run("east", "true", &json!({"image": "registry.tombolo.test:5000/none:1"}));
    build.says("it", "tombolo: cannot pull an image: ");
    build.ends(
        "failure",
        &[
            "the job's image does not exist",
            "registry.tombolo.test:5000/none:1",
            "not found",
        ],
    );
}

#[test]
fn an_image_whose_command_cannot_be_looked_up() {
    let world = World::get();
    let _whole = world.east.whole();
    let mut without = job("it", "east", "", &json!({"image": "registry.tombolo.test:5000/none:1"}));
    without.as_object_mut().unwrap().remove("command");
    world.submit("main", &[without]).ends("failure", &["none:1"]);
}

#[test]
fn a_command_that_is_not_there() {
    let world = World::get();
    let _whole = world.east.whole();
    let build = world.run("east", "", &json!({"command": ["/no/such/program"]}));
    build.ends("failure", &["the command `/no/such/program` was not found"]);
    let build = world.run("east", "no-such-program", &json!({}));
    build.ends("failure", &["exit code 127"]);
}

#[test]
fn more_memory_than_the_job_asked_for() {
    let world = World::get();
    let _whole = world.east.whole();
    // `tail` keeps a line that does not end.
    let build = world.run("east", "echo begun; tail /dev/zero", &json!({}));
    let job = build.ends("failure", &["memory", "256 MiB"]);
    assert!(build.log("it").iter().any(|line| line == "begun"), "{job:#}");
}

#[test]
fn more_memory_than_any_node_has() {
    let world = World::get();
    let (_east, _west) = (world.east.whole(), world.west.whole());
    let huge = json!({"resources": {"limits": {"cpu": 1, "memory": 50_000_000}}});
    // An agent that may not look at nodes leaves it to the scheduler, whose words are in the job's log.
    let east = world.run("east", "true", &huge);
    let waits = east.says("it", "tombolo: waits for a node: 0/1 nodes are available: ");
    // Where other tests run, it may miss more than that.
    assert!(waits.contains("1 Insufficient memory"), "{waits}");
    east.tombolo("cancel", &[]).succeeded();
    east.ends("killed", &[]);
    // One that may lets the master say at once that no cluster has as much.
    let west = world.run("west", "true", &huge);
    let explained = crate::cluster::wait_for("the job to be explained", || {
        let explained = west.tombolo("explain", &["it"]);
        (explained.code == 0).then_some(explained.output)
    });
    println!("{explained}");
    let line = explained.lines().find(|line| line.starts_with("west "));
    assert!(line.is_some_and(|line| line.contains("memory in all")), "{explained}");
    west.tombolo("cancel", &[]).succeeded();
    west.ends("killed", &[]);
}

#[test]
fn more_written_to_the_disk_than_a_job_may() {
    let world = World::get();
    let _whole = world.east.whole();
    assert_eq!(STORAGE, "160MiB", "less than what the first job writes");
    let shell = "head -c 200000000 /dev/zero > /tmp/large; echo written; exec sleep 120";
    let evicted = world.run("east", shell, &json!({}));
    // Before it is too late, where there is an output to keep.
    let shell = "head -c 155000000 /dev/zero > $TOMBOLO_OUTPUT/large; echo written; exec sleep 120";
    let ended = world.run("east", shell, &json!({}));
    // What this job may write is its own affair, up to what the cluster allows.
    let small = world.run(
        "east",
        "head -c 20000000 /dev/zero > big; exec sleep 120",
        &json!({"kubernetes": {"storage": 20}}),
    );
    evicted.ends("failure", &["wrote more to the disk than it may"]);
    ended.ends("failure", &["its files took 147 of the 160 MiB", "kubernetes.storage"]);
    let kept = ended.output("it").path().join("output/large").metadata();
    assert_eq!(kept.map(|file| file.len()).ok(), Some(155_000_000));
    small.ends("failure", &["its files took 19 of the 20 MiB"]);
}

#[test]
fn a_pod_that_somebody_deletes() {
    let world = World::get();
    let _whole = world.east.whole();
    let build = world.run(
        "east",
        "echo ready; echo kept > $TOMBOLO_OUTPUT/file; sleep 100",
        &json!({}),
    );
    build.says("it", "ready");
    let (pod, namespace) = world.east.pod_of(&build.id("it"));
    world
        .east
        .kubectl(&["delete", "pod", "--namespace", &namespace, &pod, "--wait=false"])
        .succeeded();
    build.ends("error", &["deleted by hand", "drained"]);
    let output = build.output("it");
    assert!(output.path().join("output/file").exists(), "what it had is kept");
}

#[test]
fn a_pod_that_somebody_deletes_at_once() {
    let world = World::get();
    let _whole = world.east.whole();
    let build = world.run("east", "echo ready; sleep 100", &json!({}));
    build.says("it", "ready");
    let (pod, namespace) = world.east.pod_of(&build.id("it"));
    let delete = [
        "delete",
        "pod",
        "--namespace",
        &namespace,
        &pod,
        "--force",
        "--grace-period=0",
    ];
    world.east.kubectl(&delete).succeeded();
    build.ends("error", &[]);
    assert!(build.log("it").iter().any(|line| line == "ready"));
}

/// What `kubectl drain` does to each pod.
#[test]
fn a_node_that_is_drained() {
    let world = World::get();
    let _whole = world.west.whole();
    let build = world.run("west", "echo ready; sleep 100", &json!({}));
    build.says("it", "ready");
    let (pod, namespace) = world.west.pod_of(&build.id("it"));
    let eviction = json!({
        "apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace},
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eviction.json");
    std::fs::write(&path, eviction.to_string()).unwrap();
    let place = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    world
        .west
        .kubectl(&["create", "--raw", &place, "-f", &path.display().to_string()])
        .succeeded();
    build.ends("error", &["drained"]);
}

#[test]
fn a_namespace_whose_quota_is_used_up() {
    let world = World::get();
    let _whole = world.east.whole();
    let namespace = format!("{NAMESPACE}-{CRAMPED}");
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small", "namespace": namespace},
        "spec": {"hard": {"pods": "1"}},
    });
    world.east.apply(&quota);
    crate::cluster::wait_for("the quota to count", || {
        let quota = world
            .east
            .kubectl(&["get", "quota", "small", "--namespace", &namespace, "-o", "json"]);
        (quota.code == 0 && quota.json()["status"]["used"].is_object()).then_some(())
    });
    let shell = "echo ready; while ! test -e /tmp/go; do sleep 0.2; done";
    let first = world.submit(CRAMPED, &[job("it", "east", shell, &json!({}))]);
    first.says("it", "ready");
    let second = world.submit(CRAMPED, &[job("it", "east", "echo there is room", &json!({}))]);
    second.says("it", "exceeded quota: small");
    let (pod, _) = world.east.pod_of(&first.id("it"));
    let go = [
        "exec",
        "--namespace",
        &namespace,
        &pod,
        "--container",
        "job",
        "--",
        "touch",
        "/tmp/go",
    ];
    world.east.kubectl(&go).succeeded();
    first.ends("finished", &[]);
    // It waited for room, and had it.
    second.ends("finished", &[]);
}
