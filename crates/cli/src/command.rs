//! The users' commands, one module for each kind of thing.

pub(crate) mod backup;
pub(crate) mod builds;
pub(crate) mod ca;
pub(crate) mod cache;
pub(crate) mod cluster;
pub(crate) mod indexes;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod outputs;
pub(crate) mod plan;
pub(crate) mod project;
pub(crate) mod rerun;
pub(crate) mod retention;
pub(crate) mod run;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod token;
pub(crate) mod transfers;
pub(crate) mod trigger;
pub(crate) mod validate;
