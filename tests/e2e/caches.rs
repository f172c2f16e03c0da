//! What a pod leaves in its cache folder, and the next one finds, also in the other cluster.

use serde_json::json;

use crate::user::job;
use crate::world::World;

#[test]
fn the_next_pod_finds_it_in_either_cluster() {
    let world = World::get();
    let (_east, _west) = (world.east.whole(), world.west.whole());
    let project = "caches";
    world.tombolo(&["project", "create", project]).succeeded();
    let mut before: Vec<String> = Vec::new();
    for (cluster, name) in [
        ("east", "first"),
        ("east", "second"),
        ("west", "third"),
        ("west", "fourth"),
    ] {
        let shell = format!("cat $TOMBOLO_CACHE/seen; echo {name} >> $TOMBOLO_CACHE/seen");
        let build = world.submit(project, &[job("it", cluster, &shell, &json!({"cache": true}))]);
        build.ends("finished", &[]);
        let mut seen = build.log("it");
        seen.retain(|line| ["first", "second", "third"].contains(&line.as_str()));
        assert_eq!(seen, before);
        before.push(name.to_owned());
    }
    let list = world
        .tombolo(&["cache", "list", "-p", project, "-o", "json"])
        .succeeded();
    let list = list.json();
    let caches = list["caches"].as_array().expect("a list");
    let mut places: Vec<_> = caches
        .iter()
        .map(|cache| (cache["cluster"].as_str(), cache["build"].as_u64()))
        .collect();
    places.sort_unstable();
    assert_eq!(places, [(Some("east"), Some(2)), (Some("west"), Some(4))]);
    world.tombolo(&["cache", "clear", "-p", project]).succeeded();
    let build = world.submit(
        project,
        &[job(
            "it",
            "east",
            "ls -A $TOMBOLO_CACHE | wc -l",
            &json!({"cache": true}),
        )],
    );
    build.ends("finished", &[]);
    assert!(build.log("it").iter().any(|line| line == "0"), "{:?}", build.log("it"));
}
