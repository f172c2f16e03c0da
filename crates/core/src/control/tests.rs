//! The rules of the control plane, one table or story for each.

mod attempts;
mod availability;
mod caches;
mod cancel;
mod clusters;
mod conditions;
mod generated;
mod graph;
mod invites;
mod placement;
mod plan;
mod prefetch;
mod projects;
mod properties;
mod recovery;
mod rerun;
mod restore;
mod secrets;
mod shares;
mod triggers;
mod volumes;
mod waiting;
