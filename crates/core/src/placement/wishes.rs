//! What a job would rather have of a cluster. None of it keeps it from one.

use std::collections::HashMap;

use crate::build::extensions::Preference;
use crate::label::Labels;
use crate::name::ClusterName;

/// What a job would rather have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The cluster to take when it fits, before all others.
    pub prefer: Option<&'a ClusterName>,
    /// The clusters to take before others.
    pub preferences: &'a [Preference],
    /// The key of the label over whose values it is spread.
    pub spread: Option<&'a str>,
}

impl Wishes<'_> {
    /// What a cluster weighs that the job names: more than all preferences together can.
    const NAMED: u32 = 1_000_000_000;

    /// Whether it has any for which several clusters have to be compared.
    pub fn compares(&self) -> bool {
        !self.preferences.is_empty() || self.spread.is_some()
    }

    /// How much it would rather have this cluster than one of which it says nothing.
    pub fn weight(&self, cluster: &ClusterName, labels: &Labels) -> u32 {
        let named = if self.prefer == Some(cluster) { Self::NAMED } else { 0 };
        let met = self
            .preferences
            .iter()
            .filter(|preference| preference.selector.matches(labels));
        met.fold(named, |sum, preference| sum.saturating_add(preference.weight))
    }
}

/// How many of the jobs that are spread together are where, by the value of the label that they are spread over.
#[derive(Debug, Default)]
pub struct Crowds<'a>(HashMap<&'a str, u32>);

impl<'a> Crowds<'a> {
    /// Counts `jobs` at a value.
    pub fn add(&mut self, value: &'a str, jobs: u32) {
        let count = self.0.entry(value).or_default();
        *count = count.saturating_add(jobs);
    }

    /// How many are where the label has this value. A cluster that does not have it is nowhere: it comes last.
    pub fn at(&self, value: Option<&str>) -> u32 {
        value.map_or(u32::MAX, |value| self.0.get(value).copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Selector;

    #[test]
    fn weights_add_up_and_a_name_outweighs_them() {
        let name = |name| ClusterName::new(name).unwrap();
        let east = name("east");
        let preference = |selector: &str, weight| Preference {
            selector: Selector::parse(selector).unwrap(),
            weight,
        };
        let preferences = [
            preference("gpu", 10),
            preference("region=eu", 5),
            preference("!spot", 1),
        ];
        let wishes = Wishes {
            prefer: Some(&east),
            preferences: &preferences,
            spread: None,
        };
        for (cluster, labels, expected) in [
            ("west", vec!["gpu", "region=eu"], 16),
            ("west", vec!["gpu", "spot"], 10),
            ("west", vec!["spot"], 0),
            ("east", vec!["spot"], Wishes::NAMED),
            ("east", vec!["gpu"], Wishes::NAMED + 11),
        ] {
            let labels = Labels::parse(labels).unwrap();
            assert_eq!(wishes.weight(&name(cluster), &labels), expected, "{cluster} {labels:?}");
        }
        let most = Preference::MAX_WEIGHT * u32::try_from(Preference::MAX_COUNT).unwrap();
        assert!(most < Wishes::NAMED);
    }
}
