//! Moves chunks between stores: chunk stores, routes, tunnels, resume.

pub mod tunnel;
