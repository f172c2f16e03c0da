//! What moving outputs costs.

use serde::Deserialize;
use tombolo_core::name::ClusterName;
use tombolo_core::route::{Carriage, Cost, Costs, Tariff};
use tombolo_runtime::configuration::Faults;

/// The most that anything may cost, in the operator's unit: more is a slip of the pen.
const DEAREST: f64 = 1e9;
/// The most costs that may be given: each assignment looks through them.
const TARIFFS: usize = 10_000;

/// What moving outputs between clusters costs, in any unit (a currency, say), and what it is worth not to wait. Of the ways to an
/// output, the cheapest is taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transfers {
    /// What an hour less of waiting for an output is worth.
    pub waiting_per_hour: f64,
    /// Whether an output is fetched as soon as it is known which cluster will need it, while the job there still waits for others.
    pub prefetch: bool,
    /// What a GB costs. The first that fits counts; where none does, it costs nothing.
    pub costs: Vec<CostSection>,
}

/// What a GB costs between some clusters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSection {
    /// The cluster that it comes from; any if this is not given.
    #[serde(default)]
    pub from: Option<String>,
    /// The cluster that it goes to; any if this is not given.
    #[serde(default)]
    pub to: Option<String>,
    /// Only this way; any if this is not given.
    #[serde(default)]
    pub way: Option<CarriageSection>,
    /// What 1,000,000,000 bytes cost.
    pub per_gigabyte: f64,
}

/// How bytes go.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarriageSection {
    /// Straight: from the bucket, or from agent to agent.
    Direct,
    /// Through the master.
    Relay,
}

impl Default for Transfers {
    fn default() -> Self {
        Self {
            waiting_per_hour: 1.0,
            prefetch: true,
            costs: Vec::new(),
        }
    }
}

impl Transfers {
    /// Checks what the types do not hold to. What is wrong becomes a fault, and is left out.
    pub(super) fn check(&self, faults: &mut Faults) -> Costs {
        if self.costs.len() > TARIFFS {
            faults.add("transfers.costs", format!("there are more than {TARIFFS}"));
        }
        let waiting = amount(faults, "transfers.waiting_per_hour", self.waiting_per_hour);
        let tariffs = self.costs.iter().take(TARIFFS).map(|section| section.check(faults));
        Costs {
            waiting_per_hour: waiting,
            tariffs: tariffs.collect(),
        }
    }
}

impl CostSection {
    fn check(&self, faults: &mut Faults) -> Tariff {
        let mut name = |key, name: &Option<String>| {
            let name = name.as_deref()?;
            faults.take(key, ClusterName::new(name))
        };
        Tariff {
            from: name("transfers.costs.from", &self.from),
            to: name("transfers.costs.to", &self.to),
            carriage: self.way.map(|way| match way {
                CarriageSection::Direct => Carriage::Direct,
                CarriageSection::Relay => Carriage::Relay,
            }),
            per_gigabyte: amount(faults, "transfers.costs.per_gigabyte", self.per_gigabyte),
        }
    }
}

fn amount(faults: &mut Faults, key: &'static str, amount: f64) -> Cost {
    if (0.0..=DEAREST).contains(&amount) {
        // Within the range, which is far below 2^63 millionths.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        return Cost((amount * 1e6).round() as u64);
    }
    faults.add(key, format!("it is {amount}, not from 0 to {DEAREST}"));
    Cost(0)
}
