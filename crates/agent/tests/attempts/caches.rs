//! Caches: there again for the next run if the last one finished, and never a reason to fail.

use tombolo_core::attempt::{
    Assignment, CacheOrder, CacheStart, InputReference, InputSource, Outcome, OutputReference,
};
use tombolo_core::build::TerminalState::{Failure, Finished, Unstable};
use tombolo_core::digest::Digest;
use tombolo_core::name::ClusterName;
use tombolo_core::route::Cost;

use crate::cluster::{Cluster, script};

const LIMIT_BYTES: u64 = 1 << 20;

/// A job that asks for a cache, and starts from this one.
fn caching(text: &str, start: Option<OutputReference>) -> Assignment {
    let mut assignment = script(text);
    assignment.job.cache = true;
    assignment.cache = Some(CacheOrder {
        limit_bytes: LIMIT_BYTES,
        start: start.map(|output| CacheStart {
            content: InputReference {
                index: None,
                job: assignment.attempt.job,
                name: assignment.job.name.clone(),
                output,
                sources: vec![InputSource {
                    cluster: ClusterName::new("east").unwrap(),
                    peer_address: None,
                    direct_per_gigabyte: Cost(0),
                    relay_per_gigabyte: Cost(0),
                }],
                grant: Vec::new(),
            },
            branch: "main".to_owned(),
            build: 41,
        }),
    });
    assignment
}

async fn run(cluster: &Cluster, assignment: &Assignment) -> (Outcome, String) {
    let outcome = cluster.run(assignment).await;
    let log = cluster.log(assignment.attempt);
    assert_eq!(outcome.log_lines, log.len() as u64, "{log:?}");
    (outcome, log.join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_finds_what_the_last_has_left() {
    let cluster = Cluster::new().await;
    let first = caching(
        "test -z \"$(ls -A /infrabox/cache)\" && mkdir $TOMBOLO_CACHE/d && echo one > $TOMBOLO_CACHE/d/f && ln -s /etc/hosts $INFRABOX_CACHE/l",
        None,
    );
    let (outcome, log) = run(&cluster, &first).await;
    assert_eq!(outcome.state, Finished, "{log}");
    assert!(
        log.contains("tombolo: the cache is empty: no earlier run has left one"),
        "{log}"
    );
    assert!(
        log.contains("tombolo: the cache is kept for the next run: 4 B in 1 file, digest"),
        "{log}"
    );
    let kept = *outcome.cache.unwrap();
    assert_eq!((kept.bytes, kept.files), (4, 1));
    assert_eq!(outcome.output, None);

    let second = caching(
        "cat /tombolo/cache/d/f; readlink /tombolo/cache/l; echo two >> /tombolo/cache/d/f",
        Some(kept),
    );
    let (outcome, log) = run(&cluster, &second).await;
    assert_eq!(cluster.printed(second.attempt), ["one", "/etc/hosts"], "{log}");
    assert!(log.contains("tombolo: the cache (4 B, digest "), "{log}");
    assert!(
        log.contains("is here already; it is of build 41 of the branch `main`"),
        "{log}"
    );
    assert_eq!(outcome.cache.unwrap().bytes, 8);
    assert!(outcome.inputs.is_empty(), "nothing moved: {:?}", outcome.inputs);

    // What the job has emptied is empty; what it has not changed is the same.
    let (outcome, log) = run(&cluster, &caching("rm -r /tombolo/cache/*", Some(kept))).await;
    assert_eq!(
        outcome.cache.as_ref().map(|cache| (cache.bytes, cache.files)),
        Some((0, 0)),
        "{log}"
    );
    let emptied = outcome.cache.as_deref().copied();
    let (outcome, log) = run(&cluster, &caching("ls -A /tombolo/cache", emptied)).await;
    assert_eq!(
        (outcome.state, outcome.cache.as_deref().copied()),
        (Finished, emptied),
        "{log}"
    );
    let (outcome, _) = run(&cluster, &caching("true", Some(kept))).await;
    assert_eq!(outcome.cache.as_deref(), Some(&kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_job_that_finished_and_asked_leaves_one() {
    let cluster = Cluster::new().await;
    let unstable = "echo x > /tombolo/cache/x; \
                    echo '<testsuite><testcase><failure/></testcase></testsuite>' > /tombolo/upload/testresult/a.xml";
    for (text, state) in [("echo x > /tombolo/cache/x; exit 1", Failure), (unstable, Unstable)] {
        let (outcome, log) = run(&cluster, &caching(text, None)).await;
        assert_eq!((outcome.state, outcome.cache), (state, None), "{log}");
        assert!(!log.contains("the cache is kept"), "{log}");
    }
    let (outcome, log) = run(&cluster, &caching("true", None)).await;
    assert_eq!((outcome.state, outcome.cache), (Finished, None), "{log}");
    let (outcome, log) = run(&cluster, &script("echo x > /tombolo/cache/x")).await;
    assert_eq!((outcome.state, outcome.cache), (Finished, None));
    assert!(!log.contains("the cache"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_said_and_the_job_finishes() {
    let cluster = Cluster::new().await;
    for (text, words) in [
        (
            "head -c 1048577 /dev/zero > /tombolo/cache/large",
            "the folder has more than 1048576 bytes",
        ),
        ("mkfifo /tombolo/cache/pipe", "`pipe` is a "),
        ("rmdir /tombolo/cache", "cannot open the folder"),
    ] {
        let start = run(&cluster, &caching("echo x > /tombolo/cache/x", None))
            .await
            .0
            .cache
            .as_deref()
            .copied();
        let text = format!("rm /tombolo/cache/x; {text}; echo y > /tombolo/output/y");
        let (outcome, log) = run(&cluster, &caching(&text, start)).await;
        assert_eq!((outcome.state, outcome.cache), (Finished, None), "{log}");
        assert!(outcome.output.is_some(), "the output is another matter: {log}");
        let line = log
            .lines()
            .find(|line| line.contains("the cache is not kept, and the one before stays: "));
        assert!(line.is_some_and(|line| line.contains(words)), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_damaged_cache_is_an_empty_one() {
    let cluster = Cluster::new().await;
    let filled = run(&cluster, &caching("seq 100000 > /tombolo/cache/numbers", None))
        .await
        .0
        .cache
        .as_deref()
        .copied();
    let lost = OutputReference {
        manifest: Digest::new([9; 32]),
        ..filled.unwrap()
    };
    let starts_empty = "test -z \"$(ls -A /tombolo/cache)\" && echo empty; echo new > /tombolo/cache/new";
    let assignment = caching(starts_empty, Some(lost));
    let (outcome, log) = run(&cluster, &assignment).await;
    assert_eq!(outcome.state, Finished, "{log}");
    assert_eq!(cluster.printed(assignment.attempt), ["empty"]);
    assert!(
        log.contains(
            "tombolo: the cache is empty: that of build 41 of the branch `main` cannot be had: cannot get the manifest"
        ),
        "{log}"
    );
    assert_eq!(outcome.cache.unwrap().bytes, 4);

    // Bytes that are not what they were: nothing of it is taken.
    let mut found = Vec::new();
    files(&cluster.scratch("store"), &mut found);
    let chunk = found
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "chunks"));
    let largest = chunk.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(largest, bytes).unwrap();
    let assignment = caching(starts_empty, filled);
    let (outcome, log) = run(&cluster, &assignment).await;
    assert_eq!(outcome.state, Finished, "{log}");
    assert_eq!(cluster.printed(assignment.attempt), ["empty"], "{log}");
    assert!(
        log.contains("tombolo: the cache cannot be unpacked, and is empty at the start: "),
        "{log}"
    );
    assert_eq!(outcome.cache.unwrap().bytes, 4);
}

fn files(folder: &std::path::Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}
