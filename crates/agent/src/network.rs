//! The ways to artifacts elsewhere.

use tombolo_core::attempt::{InputReference, SourceReference};
use tombolo_core::name::ClusterName;
use tombolo_identity::transport::Address;
use tombolo_transfer::peer::Links;
use tombolo_transfer::pull::Source;

/// Turns references into sources of chunks. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Network {
    links: Links,
    own: ClusterName,
}

impl Network {
    /// The ways of the cluster `own`.
    pub const fn new(links: Links, own: ClusterName) -> Self {
        Self { links, own }
    }

    /// Where an input can be fetched, best first: at each cluster that has it, directly if it says an address, then through
    /// the master. This cluster's own store is not among them: a pull looks there first anyway.
    pub fn input(&self, input: &InputReference) -> Vec<Source> {
        let mut sources = Vec::new();
        for place in input.sources.iter().filter(|place| place.cluster != self.own) {
            let grant = || input.grant.clone();
            if let Some(text) = &place.peer_address {
                match Address::parse(text) {
                    Ok(address) => sources.push(self.links.peer(place.cluster.clone(), address, grant())),
                    Err(error) => tracing::warn!(cluster = %place.cluster, %error, "a peer's address cannot be used"),
                }
            }
            sources.push(self.links.relay(place.cluster.clone(), grant()));
        }
        sources
    }

    /// Where a build's source can be fetched: at the master.
    pub fn source(&self, source: &SourceReference) -> Vec<Source> {
        vec![self.links.master(source.grant.clone())]
    }
}

#[cfg(test)]
mod tests;
