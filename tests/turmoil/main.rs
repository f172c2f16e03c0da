//! The real master and real agents in simulated time: the drivers, the services, the links over mutual TLS, the attempts and the logs, with a network,
//! commands and faults that a seed decides.
//!
//! Each world is a process of its own, so that all that happens in it follows from its seed. `TOMBOLO_TURMOIL_SEEDS` says how many seeds to run,
//! `TOMBOLO_SEED` runs one and prints its history.

mod agent;
mod chance;
mod chronicle;
mod jobs;
mod master;
mod nemesis;
mod network;
mod node;
mod pipe;
mod room;
mod running;
mod scenario;
mod seeds;
mod supervisor;
mod users;
mod watch;
mod world;
