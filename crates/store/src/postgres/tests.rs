//! The suite on a real server, and what is special about servers.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod away;
mod leading;
mod opening;
mod proxy;
pub(crate) mod server;
mod sessions;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use server::Server;

/// How long tests wait for a server or another master.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server for all tests that do it no harm; each has a database of its own.
static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start(&["max_connections=200"]));

/// Makes a database on the server and returns its name.
fn database(server: &Server) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    server.sql("postgres", &format!("CREATE DATABASE {name}"));
    name
}

async fn open(server: &Server, database: &str) -> Postgres {
    let location = Location::new(server.url(database));
    Postgres::open(&location, PATIENCE).await.unwrap()
}

async fn new_store() -> (Postgres, ()) {
    (open(&SERVER, &database(&SERVER)).await, ())
}

crate::conformance_suite!(suite, new_store().await);
