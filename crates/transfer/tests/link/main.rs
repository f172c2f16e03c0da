//! Members that talk to each other over real sockets with mutual TLS: directly, and in tunnels through a real switchboard.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests too

mod bandwidth;
mod cuts;
#[path = "../../src/store/tests/embedded.rs"]
mod embedded;
mod hostile;
mod places;
mod pulls;
mod setting;
mod stores;
mod tunnels;
mod ways;

/// The names by which the server of the unit tests knows the configuration of stores.
mod store {
    pub(crate) use tombolo_transfer::store::{StoreLocation, location};
}
