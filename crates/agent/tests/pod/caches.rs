//! The cache folder of a pod.

use std::fs;

use tombolo_core::digest::Digest;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::finish_request::{Cache, Output};

use crate::agent::{Agent, specification};
use crate::setting::Pod;

async fn agent(script: &str, limit_bytes: u64) -> Agent {
    let agent = Agent::start("east", &specification(script)).await;
    agent.known().description.cache = Some(wire::CacheFolder {
        limit_bytes,
        replaces: false,
    });
    agent
}

#[tokio::test]
async fn a_cache_comes_and_what_is_left_of_it_goes() {
    let agent = agent(
        "cat $TOMBOLO_CACHE/text; echo more >> $INFRABOX_CACHE/text; echo x > $TOMBOLO_OUTPUT/x",
        100,
    )
    .await;
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join("text"), "from before\n").unwrap();
    std::os::unix::fs::symlink("/usr/bin/env", cache.path().join("env")).unwrap();
    agent.add_material("cache", cache.path());
    agent.known().description.materials[0].optional = true;

    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    assert_eq!(agent.lines(), ["from before"]);
    let finish = agent.known().finish.clone().unwrap();
    let Some(Cache::KeptCache(kept)) = &finish.cache else {
        panic!("{finish:?}")
    };
    let Some(Output::Manifest(output)) = &finish.output else {
        panic!("{finish:?}")
    };
    let sizes = |manifest| {
        agent
            .left(manifest)
            .map(|manifest| (manifest.bytes(), manifest.files()))
    };
    assert_eq!((sizes(kept), sizes(output)), (Some((17, 1)), Some((2, 1))));
}

#[tokio::test]
async fn what_cannot_be_had_or_kept_is_said_and_is_no_fault() {
    let agent = agent(
        "ls -A $TOMBOLO_CACHE; head -c 101 /dev/zero > $TOMBOLO_CACHE/large",
        100,
    )
    .await;
    agent.known().description.materials.push(wire::Material {
        folder: "cache".to_owned(),
        manifest: Digest::new([7; 32]).as_bytes().to_vec(),
        optional: true,
        paths: Vec::new(),
    });
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    let lines = agent.lines();
    assert!(
        lines.len() == 1 && lines[0].starts_with("tombolo: the cache cannot be unpacked, and is empty at the start: "),
        "{lines:?}"
    );
    let finish = agent.known().finish.clone().unwrap();
    assert!(
        matches!(&finish.cache, Some(Cache::RefusedCache(reason)) if reason.contains("more than 100 bytes")),
        "{finish:?}"
    );
    assert_eq!(finish.output, Some(Output::Nothing(wire::Nothing {})));
}

#[tokio::test]
async fn a_command_that_fails_leaves_none() {
    let agent = agent("echo x > $TOMBOLO_CACHE/x; exit 3", 100).await;
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(3), Some(0)));
    assert_eq!(agent.known().finish.as_ref().unwrap().cache, None);
}
