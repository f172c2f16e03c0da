//! The rules of the control plane, one table or story for each.

mod attempts;
mod availability;
mod caches;
mod cancel;
mod clusters;
mod companions;
mod conditions;
mod generated;
mod graph;
mod inputs;
mod invites;
mod placement;
mod plan;
mod prefetch;
mod projects;
mod properties;
mod queue_limit;
mod recovery;
mod rerun;
mod restore;
mod retry;
mod secrets;
mod shares;
mod triggers;
mod volumes;
mod waiting;
