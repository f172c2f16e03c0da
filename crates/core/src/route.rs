//! Which way an artifact takes from another cluster: a pure decision about the ways that there are.
//!
//! Every way has a price for so many bytes: what the operator says that a GB costs, and what it is worth not to wait for it. The
//! cheapest comes first. A way that nobody has tried yet is taken to be as fast as its kind usually is, so that it is tried
//! before one that was measured to be slow. One that failed a while ago comes after all others, and is not left out: when all
//! others fail too, it may be what is left.

mod costs;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::RouteKind;
use crate::name::ClusterName;

pub use costs::{Carriage, Costs, Tariff};

/// Bytes of a GB, as costs count them.
const GIGABYTE: u128 = 1_000_000_000;
/// Milliseconds of an hour.
const HOUR: u128 = 3_600_000;
/// How long a way that failed once is tried last; doubled with each further failure in a row.
const FIRST_REST: Duration = Duration::from_secs(30);
/// The longest rest: a firewall that was opened is noticed within this time.
const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

/// Money, in millionths of whatever unit the operator counts in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cost(pub u64);

/// What is known of a way from having used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experience {
    /// Nothing.
    None,
    /// It brought so much a second.
    Brought {
        /// Bytes a second.
        rate: u64,
    },
    /// It failed.
    Failed {
        /// How long ago, the last time.
        ago: Duration,
        /// How often in a row.
        times: u32,
    },
}

/// One way to an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The cluster at its other end; none for the master.
    pub cluster: Option<ClusterName>,
    /// Its kind.
    pub route: RouteKind,
    /// What a GB over it costs.
    pub per_gigabyte: Cost,
    /// What is known of it.
    pub experience: Experience,
}

/// A way's place in a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Which of the given ways it is.
    pub index: usize,
    /// What it would cost, waiting included.
    pub price: Cost,
    /// It failed not long ago, and is only there for when all others fail.
    pub rests: bool,
}

/// The order in which to ask the ways for `bytes` bytes, best first: all of them. `waiting_per_hour`: what an hour less of waiting
/// is worth. Among equals, the given order stays.
pub fn plan(ways: &[Way], bytes: u64, waiting_per_hour: Cost) -> Vec<Planned> {
    let mut planned: Vec<_> = ways
        .iter()
        .enumerate()
        .map(|(index, way)| Planned {
            index,
            price: way.price(bytes, waiting_per_hour),
            rests: way.rests(),
        })
        .collect();
    planned.sort_by_key(|planned| (planned.rests, planned.price));
    planned
}

/// What it costs to bring so many bytes from one cluster to another, waiting included, as far as that is known before: straight, and as
/// fast as that usually is.
pub fn expected(costs: &Costs, from: &ClusterName, to: &ClusterName, bytes: u64) -> Cost {
    let way = Way {
        cluster: None,
        route: RouteKind::Peer,
        per_gigabyte: costs.per_gigabyte(from, to, Carriage::Direct),
        experience: Experience::None,
    };
    way.price(bytes, costs.waiting_per_hour)
}

impl Way {
    fn price(&self, bytes: u64, waiting_per_hour: Cost) -> Cost {
        let carriage = u128::from(bytes) * u128::from(self.per_gigabyte.0) / GIGABYTE;
        let waiting = self.milliseconds(bytes) * u128::from(waiting_per_hour.0) / HOUR;
        Cost(u64::try_from(carriage + waiting).unwrap_or(u64::MAX))
    }

    /// How long so much would take.
    fn milliseconds(&self, bytes: u64) -> u128 {
        let usual = Usual::of(self.route);
        let rate = match self.experience {
            Experience::Brought { rate } => rate.max(1),
            Experience::None | Experience::Failed { .. } => usual.rate,
        };
        usual.beginning.as_millis() + u128::from(bytes) * 1000 / u128::from(rate)
    }

    /// Whether it failed so lately that all others come before it.
    pub fn rests(&self) -> bool {
        match self.experience {
            Experience::Failed { ago, times } => {
                let rest = FIRST_REST.saturating_mul(1 << times.saturating_sub(1).min(16));
                ago < rest.min(LONGEST_REST)
            }
            Experience::None | Experience::Brought { .. } => false,
        }
    }
}

/// What a kind of way is like before anything is known of this one. Their order counts more than the numbers, which measuring
/// replaces soon.
struct Usual {
    /// Until the first byte comes.
    beginning: Duration,
    /// Bytes a second.
    rate: u64,
}

impl Usual {
    const fn of(route: RouteKind) -> Self {
        let (milliseconds, megabytes) = match route {
            RouteKind::Local => (0, 1000),
            // A bucket serves many readers at once, but somebody has to sign first.
            RouteKind::Signed => (100, 120),
            RouteKind::Peer => (20, 100),
            // The other side is asked to dial first.
            RouteKind::ReversePeer => (150, 100),
            RouteKind::Master => (20, 50),
            // Two links, and the master's share for each of its tunnels.
            RouteKind::Relay => (50, 40),
        };
        Self {
            beginning: Duration::from_millis(milliseconds),
            rate: megabytes * 1_000_000,
        }
    }
}

#[cfg(test)]
mod tests;
