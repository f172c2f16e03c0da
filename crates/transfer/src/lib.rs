//! Moves chunks between stores: chunk stores, routes, tunnels, resume.

pub mod store;
pub mod tunnel;

pub use store::{ChunkStore, StoreLocation};
