//! A whole master on loopback ports: real TLS, real SQLite, real gRPC; users are an HTTP client, agents speak the wire's frames.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests are tests too

mod agent;
mod audit;
mod authority;
mod builds;
mod exec;
mod joining;
mod labels;
mod matrix;
mod outputs;
mod placement;
mod recovery;
mod requests;
mod restored;
mod secrets;
mod setting;
mod watching;
