//! Changes of a cluster's labels.

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, Label, Labels, NODE_PREFIX, excerpt, grammar, reserved};

/// What is to become of a cluster's labels: some are set, whatever they were, and some are taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    set: BTreeMap<String, String>,
    removed: BTreeSet<String>,
}

impl Change {
    /// Reads changes as `kubectl label` has them: `gpu=8` (and a bare `FLAG`) sets a label, `old-` takes one away. Refuses keys and values outside the
    /// grammar, reserved keys, and a key that is given twice.
    pub fn parse<Text: AsRef<str>>(texts: impl IntoIterator<Item = Text>) -> Result<Self, Error> {
        let mut change = Self::default();
        for text in texts {
            change.add(text.as_ref())?;
        }
        Ok(change)
    }

    fn add(&mut self, text: &str) -> Result<(), Error> {
        // No key ends with a `-`, and no value does.
        let removed = text.strip_suffix('-').filter(|key| !key.contains('='));
        let (key, value) = match removed {
            Some(key) if grammar::is_key(key) => (key.to_owned(), None),
            Some(key) => {
                return Err(Error::Key {
                    key: excerpt(key),
                    rule: grammar::KEY_RULE,
                });
            }
            None => {
                let Label { key, value } = text.parse()?;
                (key, Some(value))
            }
        };
        if let Some(reason) = reserved(&key) {
            return Err(Error::Reserved { key, reason });
        }
        if self.set.contains_key(&key) || self.removed.contains(&key) {
            return Err(Error::Duplicate(key));
        }
        match value {
            Some(value) => {
                self.set.insert(key, value);
            }
            None => {
                self.removed.insert(key);
            }
        }
        Ok(())
    }
}

impl Labels {
    /// These labels, changed. One that is to go and is not there is no error. Refuses more than [`Labels::MAX`].
    pub fn changed(&self, change: &Change) -> Result<Self, Error> {
        let kept = self.0.iter().filter(|(key, _)| !change.removed.contains(*key));
        let mut labels: BTreeMap<String, String> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        labels.extend(change.set.clone());
        if labels.len() > Self::MAX {
            return Err(Error::TooMany);
        }
        Ok(Self(labels))
    }

    /// These labels, and what the cluster's agent has reported under `node.` in the others.
    #[must_use]
    pub fn with_reported(mut self, others: &Self) -> Self {
        let reported = others.0.iter().filter(|(key, _)| key.starts_with(NODE_PREFIX));
        self.0.extend(reported.map(|(key, value)| (key.clone(), value.clone())));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_set_and_taken_away_as_kubectl_has_it() {
        let before = Labels::parse(["GCP", "gpu=1", "old=x"]).unwrap();
        for (changes, after) in [
            (vec!["gpu=8"], "GCP,gpu=8,old=x"),
            (vec!["gpu=8", "old-"], "GCP,gpu=8"),
            (vec!["SSD", "GCP-"], "SSD,gpu=1,old=x"),
            (vec!["gpu="], "GCP,gpu,old=x"),
            (vec!["absent-"], "GCP,gpu=1,old=x"),
            (vec!["example.com/tier=a-b"], "GCP,example.com/tier=a-b,gpu=1,old=x"),
            (vec![], "GCP,gpu=1,old=x"),
        ] {
            let change = Change::parse(&changes).unwrap_or_else(|error| panic!("{changes:?}: {error}"));
            assert_eq!(before.changed(&change).unwrap().to_string(), after, "{changes:?}");
        }
    }

    #[test]
    fn changes_that_cannot_be_are_refused() {
        for (changes, expected) in [
            (vec!["-"], "`` is not a valid label key"),
            (vec!["a b-"], "`a b` is not a valid label key"),
            (vec!["a=b-"], "`b-` is not a valid value of label `a`"),
            (vec!["a--"], "`a-` is not a valid label key"),
            (vec!["cluster=west"], "label `cluster` is reserved"),
            (vec!["cluster-"], "label `cluster` is reserved"),
            (vec!["node.os-"], "label `node.os` is reserved"),
            (vec!["a=1", "a-"], "label `a` is given twice"),
            (vec!["a=1", "a=2"], "label `a` is given twice"),
        ] {
            let error = Change::parse(&changes).expect_err(&changes.join(" ")).to_string();
            assert!(error.starts_with(expected), "{changes:?}: {error}");
        }
        let full: Vec<String> = (0..Labels::MAX).map(|number| format!("k{number}")).collect();
        let full = Labels::parse(full).unwrap();
        let one_more = Change::parse(["more"]).unwrap();
        assert_eq!(full.changed(&one_more), Err(Error::TooMany));
        let exchanged = Change::parse(["more", "k0-"]).unwrap();
        assert_eq!(full.changed(&exchanged).map(|labels| labels.len()), Ok(Labels::MAX));
    }

    #[test]
    fn what_the_agent_reports_stays_as_it_is() {
        let facts = Labels::parse(["os=linux"]).unwrap();
        let seen = Labels::parse(["gpu=1"]).unwrap().with_facts(&facts);
        let changed = Labels::parse(["gpu=8"]).unwrap().with_reported(&seen);
        assert_eq!(changed.to_string(), "gpu=8,node.os=linux");
    }
}
