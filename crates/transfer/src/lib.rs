//! Moves chunks between stores: chunk stores, routes, tunnels, resume.

pub mod bandwidth;
pub mod direct;
mod flow;
pub mod peer;
pub mod pull;
pub mod remote;
pub mod store;
pub mod tunnel;

pub use bandwidth::Bandwidth;
pub use pull::{ChunkSource, Puller, Source};
pub use remote::Remote;
pub use store::{ChunkStore, StoreLocation};
