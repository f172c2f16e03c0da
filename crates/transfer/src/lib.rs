//! Moves chunks between stores: chunk stores, routes, tunnels, resume.

pub mod bandwidth;
pub mod direct;
mod flow;
pub mod peer;
pub mod pull;
pub mod remote;
pub mod store;
pub mod tunnel;

/// Says that a planted mistake was found, for `cargo xtask sim --planted`.
#[cfg(all(test, feature = "planted"))]
fn caught(bug: tombolo_core::planted::Bug, checker: &str, seed: u64) {
    println!(
        "{}",
        serde_json::json!({"planted": format!("{bug:?}"), "tier": "transfer", "checker": checker, "seed": seed})
    );
}

pub use bandwidth::Bandwidth;
pub use pull::{ChunkSource, Puller, Source};
pub use remote::Remote;
pub use store::{ChunkStore, StoreLocation};
