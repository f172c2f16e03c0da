//! The charts, installed as their guide says.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE, Printed, variable, wait_for};
use crate::world::World;

/// The ports of the nodes: users and agents at the master, peers at an agent.
const USERS: u16 = 30843;
pub(crate) const AGENTS: u16 = 30743;
const PEERS: u16 = 30745;
/// What one job may write to a disk in `east`.
pub(crate) const STORAGE: &str = "160MiB";
/// Whose token is not secret: it lives as long as the clusters of a test.
const TOKEN: &str = "tombolo_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The project whose namespace in `east` has a small quota.
pub(crate) const CRAMPED: &str = "cramped";
/// The project in whose namespace in `east` a test takes rights from the agent.
pub(crate) const BARE: &str = "bare";

/// Installs everything, in place of what an earlier run may have left.
pub(crate) fn install() -> World {
    let world = World {
        east: Cluster::new("east"),
        west: Cluster::new("west"),
        folder: tempfile::tempdir().expect("a temporary folder"),
    };
    thread::scope(|scope| {
        let clean = [&world.east, &world.west].map(|cluster| scope.spawn(|| remove(cluster)));
        for thread in clean {
            thread.join().expect("what an earlier run left can be removed");
        }
    });
    master(&world);
    for project in ["main", CRAMPED, BARE] {
        world.tombolo(&["project", "create", project]).succeeded();
    }
    thread::scope(|scope| {
        let agents = [
            scope.spawn(|| agent(&world, &world.east, &east(&world), &["-l", "region=us"])),
            scope.spawn(|| agent(&world, &world.west, &west(&world), &["-l", "region=eu", "-l", "gpu=1"])),
        ];
        for thread in agents {
            thread.join().expect("an agent can be installed");
        }
    });
    wait_for("both clusters to be connected", || {
        let list = world.tombolo(&["cluster", "list", "-o", "json"]).succeeded().json();
        let clusters = list["clusters"].as_array().expect("a list").clone();
        (clusters.iter().filter(|cluster| cluster["connected"] == true).count() == 2).then_some(())
    });
    world
}

fn namespaces() -> [String; 3] {
    [
        NAMESPACE.to_owned(),
        format!("{NAMESPACE}-{CRAMPED}"),
        format!("{NAMESPACE}-{BARE}"),
    ]
}

fn remove(cluster: &Cluster) {
    for release in ["tombolo-agent", "tombolo"] {
        let arguments = [
            "uninstall",
            release,
            "--namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait",
        ];
        cluster.helm(&arguments).succeeded();
    }
    let namespaces = namespaces();
    let mut arguments = vec!["delete", "namespace", "--ignore-not-found", "--wait", "--timeout=120s"];
    arguments.extend(namespaces.iter().map(String::as_str));
    cluster.kubectl(&arguments).succeeded();
}

fn master(world: &World) {
    let address = world.east.address();
    let east = &world.east;
    for namespace in namespaces() {
        east.kubectl(&["create", "namespace", &namespace]).succeeded();
    }
    let secret = ["create", "secret", "generic", "tombolo-admin", "--namespace", NAMESPACE];
    let literal = format!("--from-literal=token={TOKEN}");
    east.kubectl(&[&secret[..], &[literal.as_str()]].concat()).succeeded();
    let url = format!("https://{address}:{USERS}");
    let values = json!({
        "publicUrl": url,
        "adminToken": {"existingSecret": "tombolo-admin"},
        "agents": {"addresses": [format!("{address}:{AGENTS}")]},
        "service": {"type": "NodePort", "agents": {"nodePort": AGENTS}, "users": {"nodePort": USERS}},
        "persistence": {"size": "1Gi"},
    });
    let values = write(world, "master.json", &values.to_string());
    let arguments = [
        "upgrade",
        "--install",
        "tombolo",
        "helm/tombolo-master",
        "--namespace",
        NAMESPACE,
    ];
    east.helm(&[&arguments[..], &["--wait", "--values", &values]].concat())
        .succeeded();

    let program = [
        "exec",
        "--namespace",
        NAMESPACE,
        "statefulset/tombolo",
        "--",
        "/tombolo",
        "master",
        "trust",
    ];
    let trust = east.kubectl(&[&program[..], &["--config", "/etc/tombolo/master/master.toml"]].concat());
    let trust = write(world, "trust.pem", &trust.succeeded().output);
    let token = write(world, "token", TOKEN);
    wait_for("a login", || {
        let login = ["login", &url, "--certificate-authority", &trust, "--token-file", &token];
        (world.tombolo(&login).code == 0).then_some(())
    });
}

fn write(world: &World, name: &str, text: &str) -> String {
    let path = world.folder.path().join(name);
    fs::write(&path, text).expect("the folder is writable");
    path.display().to_string()
}

/// Runs what `cluster invite` prints, with a namespace of this test's own and values of the cluster.
fn agent(world: &World, cluster: &Cluster, values: &Value, labels: &[&str]) {
    let invited = world
        .tombolo(&[&["cluster", "invite", cluster.name], labels].concat())
        .succeeded();
    let line = invited.output.lines().find(|line| line.trim().starts_with("helm "));
    let line = line
        .unwrap_or_else(|| panic!("no line for helm: {}", invited.output))
        .trim();
    let own = " --namespace tombolo-agent ";
    assert!(line.contains(own), "{line}");
    let file = write(world, &format!("{}.json", cluster.name), &values.to_string());
    let line = line.replace(own, &format!(" --namespace {NAMESPACE} "));
    let printed = Printed::of(
        cluster
            .command("sh")
            .args(["-c", &format!("{line} --timeout 180s --values {file}")]),
    );
    if printed.code != 0 {
        let pods = cluster.kubectl(&["describe", "pods", "--namespace", NAMESPACE]).output;
        let log = cluster
            .kubectl(&["logs", "--namespace", NAMESPACE, "deployment/tombolo-agent"])
            .output;
        panic!("{printed:?}\n{pods}\n{log}");
    }
}

fn peer(cluster: &Cluster) -> Value {
    json!({
        "advertise": format!("{}:{PEERS}", cluster.address()),
        "service": {"type": "NodePort", "nodePort": PEERS},
    })
}

/// A folder on a volume, no right beyond its namespaces, and little room for what a job writes.
fn east(world: &World) -> Value {
    json!({
        "peer": peer(&world.east),
        "persistence": {"size": "1Gi"},
        "telemetry": {"filter": "info,tombolo_agent=debug"},
        "jobs": {
            "runAsUser": 1000,
            "ephemeralStorageLimit": STORAGE,
            "extraSettings": "insecure_registries = [\"registry.tombolo.test:5000\"]\nephemeral_storage_request = \"10MiB\"",
            "projects": {
                CRAMPED: {"namespace": format!("{NAMESPACE}-{CRAMPED}")},
                BARE: {"namespace": format!("{NAMESPACE}-{BARE}")},
            },
        },
    })
}

/// A bucket, and an agent that looks at the nodes.
fn west(world: &World) -> Value {
    let west = &world.west;
    west.kubectl(&["create", "namespace", NAMESPACE]).succeeded();
    west.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tombolo-s3", "namespace": NAMESPACE},
        "stringData": {"secret_access_key": "not-a-secret"},
    }));
    let store = format!(
        "[store.s3]\nendpoint = \"{}\"\nallow_http = true\nbucket = \"tombolo-west\"\nprefix = \"{}\"\n\
         access_key_id = \"tester\"\nsecret_access_key = {{ file = \"/etc/tombolo/s3/secret_access_key\" }}\n",
        variable("TOMBOLO_E2E_S3"),
        std::process::id(),
    );
    json!({
        "peer": peer(west),
        "store": store,
        "secretMounts": [{"name": "tombolo-s3", "path": "/etc/tombolo/s3"}],
        "persistence": {"size": "1Gi"},
        "rbac": {"nodes": true, "pods": true},
        "telemetry": {"filter": "info,tombolo_agent=debug"},
        "jobs": {"runAsUser": 1000, "extraSettings": "node_lost_deadline = \"20s\""},
    })
}
