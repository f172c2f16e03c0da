//! Damage in the store of a cluster whose jobs run in pods.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::processes_of_pod;
use crate::cluster::wait_for;
use crate::restart::pods;
use crate::user::job;
use crate::world::World;

/// What is in the folder that is east's store, as its agent has it mounted.
fn stored(world: &World) -> BTreeSet<PathBuf> {
    let (uid, _) = pods(&world.east, "tombolo-agent").pop().expect("the agent's pod");
    let mounted = processes_of_pod(&uid).into_iter().find_map(|process| {
        let folder = PathBuf::from(format!("/proc/{process}/root/var/lib/tombolo-agent/store"));
        folder.exists().then_some(folder)
    });
    let mut found = BTreeSet::new();
    collect(&mounted.expect("the agent has its store mounted"), &mut found);
    found
}

fn collect(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("readable")
        .flatten()
        .map(|entry| entry.path())
    {
        // What is still being written has a name with `#`.
        if entry.is_dir() {
            collect(&entry, found);
        } else if !entry.to_string_lossy().contains('#') {
            found.insert(entry);
        }
    }
}

fn is_in(path: &Path, folder: &str) -> bool {
    path.components().any(|part| part.as_os_str() == folder)
}

/// The pod fetches its inputs itself: it waits until its agent has brought again what was damaged.
#[test]
fn an_input_that_is_damaged_where_the_pod_runs_is_brought_again() {
    let world = World::get();
    let (_east, _west) = (world.east.alone(), world.west.alone());
    let before = stored(world);
    let jobs = [
        job(
            "make",
            "west",
            "head -c 9000000 /dev/urandom > $TOMBOLO_OUTPUT/noise && sha256sum < $TOMBOLO_OUTPUT/noise",
            &json!({}),
        ),
        job(
            "gate",
            "west",
            "until test -e go; do sleep 0.2; done",
            &json!({"depends_on": ["make"]}),
        ),
        job(
            "it",
            "east",
            "sha256sum < $TOMBOLO_INPUTS/make/noise",
            &json!({"depends_on": ["make", "gate"]}),
        ),
    ];
    let build = world.submit("main", &jobs);
    // It comes ahead, since it is known where it will be needed; its manifest last.
    let ahead = wait_for("the output to have come ahead", || {
        let new: Vec<_> = stored(world).difference(&before).cloned().collect();
        new.iter().any(|path| is_in(path, "manifests")).then_some(new)
    });
    let chunks: Vec<_> = ahead.into_iter().filter(|path| is_in(path, "chunks")).collect();
    assert!(!chunks.is_empty(), "east keeps none of its chunks");
    for path in chunks {
        let mut bytes = fs::read(&path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("writable");
    }
    wait_for("the gate to be opened", || {
        (build.tombolo("exec", &["gate", "--", "touch", "go"]).code == 0).then_some(())
    });
    let child = build.ends("finished", &[]);
    assert_eq!(child["epoch"], 1, "the same attempt: {child:#}");
    assert_eq!(build.job("make")["epoch"], 1, "west still had it");
    assert_eq!(build.log("make").last(), build.log("it").last());
}
