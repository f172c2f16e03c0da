//! The ways to artifacts elsewhere.

mod experiences;

use tombolo_core::attempt::{InputReference, InputSource, RouteKind, RouteOutcome, RouteReport, SourceReference};
use tombolo_core::name::ClusterName;
use tombolo_core::route::{Cost, Way, plan};
use tombolo_identity::transport::Address;
use tombolo_transfer::peer::Links;
use tombolo_transfer::pull::Source;

use experiences::Experiences;

/// Turns references into sources of chunks. Cheap to clone; clones share connections, and what was learnt of them.
#[derive(Clone)]
pub struct Network {
    links: Links,
    own: ClusterName,
    experiences: Experiences,
}

/// The ways to one artifact.
#[derive(Clone, Default)]
pub struct Ways {
    /// Those that there are, best first.
    pub sources: Vec<Source>,
    /// Those that there are not, and why.
    pub unavailable: Vec<RouteReport>,
}

impl Network {
    /// The ways of the cluster `own`.
    pub fn new(links: Links, own: ClusterName) -> Self {
        Self {
            links,
            own,
            experiences: Experiences::default(),
        }
    }

    /// This cluster.
    pub const fn own(&self) -> &ClusterName {
        &self.own
    }

    /// Where an input can be fetched. This cluster's own store is not among them: a pull looks there first anyway.
    pub fn input(&self, input: &InputReference, waiting_per_hour: Cost) -> Ways {
        let mut ways = Ways::default();
        let mut found = Vec::new();
        for place in input.sources.iter().filter(|place| place.cluster != self.own) {
            for route in [
                RouteKind::Signed,
                RouteKind::Peer,
                RouteKind::ReversePeer,
                RouteKind::Relay,
            ] {
                match self.source_at(place, route, &input.grant) {
                    Ok(source) => found.push((self.way(place, route), source)),
                    Err(reason) => ways.unavailable.push(RouteReport {
                        from: Some(place.cluster.clone()),
                        route,
                        moved_bytes: 0,
                        outcome: RouteOutcome::Unavailable(reason),
                    }),
                }
            }
        }
        let (facts, sources): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let planned = plan(&facts, input.output.bytes, waiting_per_hour);
        ways.sources = planned.iter().map(|planned| sources[planned.index].clone()).collect();
        ways
    }

    /// Where a build's source can be fetched: at the master.
    pub fn source(&self, source: &SourceReference) -> Ways {
        Ways {
            sources: vec![self.links.master(source.grant.clone())],
            unavailable: Vec::new(),
        }
    }

    fn way(&self, place: &InputSource, route: RouteKind) -> Way {
        Way {
            cluster: Some(place.cluster.clone()),
            route,
            per_gigabyte: match route {
                RouteKind::Relay => place.relay_per_gigabyte,
                _ => place.direct_per_gigabyte,
            },
            experience: self.experiences.of(&place.cluster, route),
        }
    }

    fn source_at(&self, place: &InputSource, route: RouteKind, grant: &[u8]) -> Result<Source, String> {
        let cluster = || place.cluster.clone();
        let grant = grant.to_vec();
        let mut source = match route {
            RouteKind::Peer => self.links.peer(cluster(), address(place)?, grant),
            RouteKind::ReversePeer if !self.links.has_door() => {
                return Err("this cluster has no port for peers (`peer` in its agent's configuration)".to_owned());
            }
            RouteKind::ReversePeer => self.links.reverse(cluster(), grant),
            RouteKind::Signed => {
                let peer_rests = self.way(place, RouteKind::Peer).rests();
                self.links.signed(cluster(), address(place).ok(), peer_rests, grant)
            }
            RouteKind::Local | RouteKind::Relay | RouteKind::Master => self.links.relay(cluster(), grant),
        };
        source.observer = Some(self.experiences.observer(cluster(), route));
        Ok(source)
    }
}

fn address(place: &InputSource) -> Result<Address, String> {
    let Some(text) = &place.peer_address else {
        return Err("that cluster has no port for peers (`peer` in its agent's configuration)".to_owned());
    };
    Address::parse(text).map_err(|error| format!("the address that the cluster gives for peers is none: {error}"))
}

#[cfg(test)]
mod tests;
