//! How much memory a pod's own processes take of what the job may use.

use std::fs;

use crate::agent::{Agent, specification};
use crate::life::noise;
use crate::setting::Pod;

/// While the command runs. Measured: 12, of which 8 are the program itself.
const OWN_LIMIT_MIB: u64 = 24;
/// Before and after it. Measured: 75: the packer's buffer and a chunk of the longest kind are 32 of them.
const STEPS_LIMIT_MIB: u64 = 96;
/// Measured: 33 to 44.
const COURIER_LIMIT_MIB: u64 = 56;

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
    let (job, courier) = (pod.job.unwrap(), pod.courier.unwrap());
    let (own, steps, courier) = (
        job.peak_kilobytes,
        job.peak_with_steps_kilobytes,
        courier.peak_kilobytes,
    );
    let [own, steps, courier] = [own, steps, courier].map(|kilobytes| kilobytes >> 10);
    println!("peak of the supervisor {own} MiB, with its steps {steps} MiB, of the courier {courier} MiB");
    assert!(own <= OWN_LIMIT_MIB && steps <= STEPS_LIMIT_MIB && courier <= COURIER_LIMIT_MIB);
}
