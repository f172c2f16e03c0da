//! The master's way to clusters: its own switchboard, called as a member over its own port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::tls::{self, Identity};
use tombolo_identity::transport::{Address, InvalidAddress, Proxy, connect_lazy};
use tombolo_transfer::ChunkSource;
use tombolo_transfer::peer::Links;

use super::{Error, Reach};
use crate::clock::Clock;
use crate::grants::Grants;

/// Why the master cannot be its own client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The address.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
}

/// Reaches clusters by tunnels that the master dials itself.
pub struct Loopback {
    links: Links,
    grants: Grants,
    clock: Arc<dyn Clock>,
}

impl Loopback {
    /// `listening` is where the master takes agents. Connects when it is first needed, and again after that connection broke.
    pub fn new(
        identity: &Identity,
        listening: SocketAddr,
        grants: Grants,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let address = Address::parse(&reachable(listening).to_string())?;
        let channel = connect_lazy(&[address], identity.client(&Member::Master)?, &Proxy::none());
        Ok(Self {
            links: Links::new(identity.clone(), channel, Proxy::none()),
            grants,
            clock,
        })
    }
}

impl Loopback {
    /// The way to clusters for other things than outputs.
    pub fn links(&self) -> Links {
        self.links.clone()
    }
}

impl Reach for Loopback {
    fn source(
        &self,
        cluster: &ClusterName,
        project: ProjectId,
        manifest: Digest,
    ) -> Result<Arc<dyn ChunkSource>, Error> {
        let grant = self.grants.for_master(project, manifest, self.clock.now().wall);
        let grant = grant.ok_or_else(|| Error::Internal("the right to read the output was not signed".to_owned()))?;
        Ok(self.links.relay(cluster.clone(), grant).chunks)
    }
}

/// An address by which a port of this machine is reached from itself.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reached_from_its_own_machine() {
        for (listening, expected) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), expected);
        }
    }
}
