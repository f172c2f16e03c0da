//! A real S3 server in a process of its own.

#[path = "seaweed/process.rs"] // other tests include this file from elsewhere
pub(super) mod process;

use std::net::SocketAddr;
use std::time::Duration;

use self::process::{ACCESS_KEY, SECRET_KEY};
use super::{ChunkStore, Patience, embedded, owner};
use crate::store::StoreLocation;

pub(super) struct Server {
    process: process::Server,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self {
            process: process::Server::start(is_ready).await,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.process.address
    }

    pub(super) fn location(&self, prefix: &str) -> StoreLocation {
        location(self.process.address, prefix)
    }
}

fn location(address: SocketAddr, prefix: &str) -> StoreLocation {
    embedded::s3(address, prefix, ACCESS_KEY, SECRET_KEY)
}

async fn is_ready(address: SocketAddr) -> Result<(), String> {
    let patience = Patience {
        request: Duration::from_secs(5),
        operation: Duration::from_secs(5),
    };
    let probe = ChunkStore::open(&location(address, "probe"), &owner("probe"), patience).await;
    probe.map(drop).map_err(|error| error.to_string())
}
