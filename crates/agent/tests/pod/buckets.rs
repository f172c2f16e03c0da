//! Pods and the buckets of Azure and Google: what goes there directly.

use tombolo_transfer::store::DirectAccess;

use crate::direct::{INPUT_BYTES, OUTPUT_BYTES, TALK_BYTES, run};
use crate::gcs::Strictness;
use crate::{azurite, gcs};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_s_signatures_are_for_both_ways() {
    let server = gcs::Server::start(Strictness::Signed).await;
    let moved = run(&server.location("pods"), &DirectAccess::default()).await;
    let bytes = moved.agent_bytes;
    assert!(bytes < TALK_BYTES, "{bytes} bytes through the agent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_s_signatures_are_for_reading() {
    let server = azurite::Server::start().await;
    let moved = run(&server.location("pods"), &DirectAccess::default()).await;
    let bytes = moved.agent_bytes;
    let expected = OUTPUT_BYTES..OUTPUT_BYTES + INPUT_BYTES;
    assert!(expected.contains(&bytes), "{bytes} bytes through the agent");
}
