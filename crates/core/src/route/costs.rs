//! What the operator says that it costs to move outputs.

use super::Cost;
use crate::name::ClusterName;

/// How bytes go from one cluster to another, as far as costs are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// Straight: from the bucket, or from agent to agent.
    Direct,
    /// Through the master.
    Relay,
}

/// What a GB costs between some clusters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariff {
    /// Where from; anywhere if none.
    pub from: Option<ClusterName>,
    /// Where to; anywhere if none.
    pub to: Option<ClusterName>,
    /// How; either way if none.
    pub carriage: Option<Carriage>,
    /// What a GB costs.
    pub per_gigabyte: Cost,
}

/// All of it. The default knows no costs, and goes by time alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Costs {
    /// What an hour less of waiting is worth.
    pub waiting_per_hour: Cost,
    /// The first that fits counts; where none does, it costs nothing.
    pub tariffs: Vec<Tariff>,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            waiting_per_hour: Cost(1_000_000),
            tariffs: Vec::new(),
        }
    }
}

impl Costs {
    /// What a second less of waiting is worth; never nothing.
    pub fn waiting_per_second(&self) -> Cost {
        Cost((self.waiting_per_hour.0 / 3600).max(1))
    }

    /// What a GB from one cluster to the other costs.
    pub fn per_gigabyte(&self, from: &ClusterName, to: &ClusterName, carriage: Carriage) -> Cost {
        let fits = |tariff: &&Tariff| {
            tariff.from.as_ref().is_none_or(|name| name == from)
                && tariff.to.as_ref().is_none_or(|name| name == to)
                && tariff.carriage.is_none_or(|only| only == carriage)
        };
        let tariff = self.tariffs.iter().find(fits);
        tariff.map(|tariff| tariff.per_gigabyte).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tariff_that_fits_counts() {
        let name = |text: &str| ClusterName::new(text).unwrap();
        let tariff = |from: Option<&str>, to: Option<&str>, carriage, cost| Tariff {
            from: from.map(name),
            to: to.map(name),
            carriage,
            per_gigabyte: Cost(cost),
        };
        let costs = Costs {
            tariffs: vec![
                tariff(Some("a"), Some("b"), None, 1),
                tariff(Some("a"), None, Some(Carriage::Relay), 2),
                tariff(Some("a"), None, None, 3),
                tariff(None, Some("b"), None, 4),
            ],
            ..Costs::default()
        };
        for (from, to, direct, relay) in [("a", "b", 1, 1), ("a", "c", 3, 2), ("c", "b", 4, 4), ("c", "a", 0, 0)] {
            let cost = |carriage| costs.per_gigabyte(&name(from), &name(to), carriage).0;
            assert_eq!(
                (cost(Carriage::Direct), cost(Carriage::Relay)),
                (direct, relay),
                "{from} {to}"
            );
        }
    }
}
