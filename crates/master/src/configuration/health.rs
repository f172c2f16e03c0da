//! Where probes ask.

use std::net::SocketAddr;

use serde::Deserialize;

/// Where probes ask. The port for users answers them too, but that of a master that does not lead passes them on to the one that does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// Where to listen for `/healthz` and `/readyz`, without TLS; nowhere if this is not given.
    pub listen: Option<SocketAddr>,
}
