//! How much memory a pod's own processes take of what the job may use.

use std::fs;

use crate::agent::{Agent, specification};
use crate::life::noise;
use crate::setting::Pod;

const LIMIT_KILOBYTES: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_inputs_and_output() {
    let script =
        "head -c 70000000 /dev/urandom > $TOMBOLO_OUTPUT/noise; head -c 30000000 /dev/zero > $TOMBOLO_OUTPUT/zeros
        seq 1000000 > $TOMBOLO_OUTPUT/text";
    let agent = Agent::start("east", &specification(script)).await;
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("noise"), noise(100 << 20)).unwrap();
    agent.add_material("inputs/a", input.path());
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    assert!(agent.known().manifest.as_ref().unwrap().bytes() > 100_000_000);
    let (job, courier) = (pod.job.unwrap().peak_kilobytes, pod.courier.unwrap().peak_kilobytes);
    println!(
        "peak of the supervisor {} MiB, of the courier {} MiB",
        job >> 10,
        courier >> 10
    );
    assert!(job < LIMIT_KILOBYTES && courier < LIMIT_KILOBYTES, "{job} {courier}");
}
