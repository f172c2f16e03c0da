//! `cargo xtask bench failover`: how long nobody leads. Two masters (the real program) on one Postgres server, with 100,000 live jobs; the
//! leader is killed, or told to go, again and again, and users come to the other one from that moment on.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "this program prints a table, and ends where it cannot measure"
)]

#[path = "../it/standby/cable.rs"]
mod cable;
mod cases;
#[path = "../it/standby/installation.rs"]
mod installation;
#[path = "../bench/measure.rs"]
mod measure;
#[path = "../bench/report.rs"]
mod report;
#[path = "../../crates/store/src/postgres/tests/server.rs"]
mod server;

fn main() -> anyhow::Result<()> {
    // As `rustls` wants it: one provider for the process, chosen before anything else.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cases::run()?.print();
    Ok(())
}
