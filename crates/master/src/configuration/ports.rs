//! The ports for agents and users.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use super::{DEFAULT_AGENT_PORT, DEFAULT_USER_PORT};

/// The port for agents: gRPC over mutual TLS, never to be terminated by anything between.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where agents reach this port: `host:port`, in the order to try. Invites carry it. The public URL's host with the port
    /// of `listen` if this is empty.
    pub addresses: Vec<String>,
    /// How many connections are open at once; an agent has three.
    pub connections: usize,
}

impl Default for Agents {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_AGENT_PORT)),
            addresses: Vec::new(),
            connections: 20_000,
        }
    }
}

/// The port for users: REST over TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Where to listen.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain for this port. Without it the master's own CA makes one, for the host of the public
    /// URL, `hosts` and `localhost`; users then have to trust `trust.pem` in the data folder.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub key_file: Option<PathBuf>,
    /// Further host names and addresses for the certificate that the master's own CA makes.
    pub hosts: Vec<String>,
    /// How many connections are open at once.
    pub connections: usize,
}

impl Default for Users {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_USER_PORT)),
            certificate_file: None,
            key_file: None,
            hosts: Vec::new(),
            connections: 2_000,
        }
    }
}
