//! Members that talk to each other over real sockets with mutual TLS: directly, and in tunnels through a real switchboard.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests too

mod hostile;
mod places;
mod pulls;
mod setting;
mod tunnels;
