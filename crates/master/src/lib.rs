//! The control plane: gRPC for agents, REST for users, and the driver of the core state machine.

pub mod backup;
pub mod bootstrap;
pub mod certificates;
pub mod clock;
pub mod configuration;
mod database;
pub mod definitions;
pub mod driver;
pub mod exec;
pub mod grants;
pub mod grpc;
pub mod leadership;
pub mod logs;
pub mod outputs;
pub mod pace;
pub mod rest;
pub mod retention;
mod run;
pub mod secrets;
mod serving;
pub mod sources;
pub mod tasks;
pub mod triggers;

pub use configuration::Configuration;
pub use database::Database;
pub use run::{Error, Running, run, start};
