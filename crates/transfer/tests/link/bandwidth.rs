//! Limits on what crosses a link.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use tombolo_transfer::Bandwidth;
use tombolo_transfer::pull::{Patience, Puller, Request};
use tombolo_transfer::tunnel::Limits;

use crate::places::{PROJECT, Place, grant};
use crate::setting::{Record, Setting, cluster, name};

/// 6 MiB/s, for 24 MiB: whatever the first chunk is (16 MiB at the most), the rest waits for more than a second.
const LIMIT: Option<NonZeroU64> = NonZeroU64::new(6 * 1024 * 1024);
const AT_LEAST: Duration = Duration::from_secs(1);

/// Brings 24 MiB through the master; how long that took.
async fn timed(sends: Bandwidth, receives: Bandwidth) -> Duration {
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let mut east = Place::new(&setting, cluster("east")).await;
    east.sends_at_most(sends);
    east.serve_tunnels(&setting);
    let west = Place::new(&setting, cluster("west")).await;
    let (output, content) = east.pack(31, 24).await;
    let grant = grant(&setting.signer, &west.member, output.manifest);
    let request = Request {
        project: PROJECT,
        manifest: output.manifest,
        sources: vec![west.links.relay(name("east"), grant)],
    };
    let puller = Puller::new(west.store.clone(), Patience::default()).with_bandwidth(receives);
    let began = Instant::now();
    let receipt = puller.pull(request, |_| {}).await.unwrap();
    let took = began.elapsed();
    assert!(receipt.progress.moved_bytes >= content.len() as u64);
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_receives_can_hold_back() {
    let took = timed(Bandwidth::default(), Bandwidth::new(LIMIT)).await;
    assert!(took > AT_LEAST, "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_can_hold_back() {
    let took = timed(Bandwidth::new(LIMIT), Bandwidth::default()).await;
    assert!(took > AT_LEAST, "{took:?}");
}
