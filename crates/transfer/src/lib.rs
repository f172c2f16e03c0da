//! Moves chunks between stores: chunk stores, routes, tunnels, resume.

pub mod peer;
pub mod pull;
pub mod store;
pub mod tunnel;

pub use pull::{ChunkSource, Puller, Source};
pub use store::{ChunkStore, StoreLocation};
