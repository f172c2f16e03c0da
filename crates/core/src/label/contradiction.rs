//! Requirements that no cluster can ever meet together, whatever its labels are.

use super::selector::{Operator, Requirement, Selector};

impl Requirement {
    /// Whether some cluster could meet all of these, which are about one key. What it denies is always so; see [`Selector::contradiction`].
    pub fn can_hold_together(group: &[&Self]) -> bool {
        can_hold(group)
    }
}

impl Selector {
    /// Requirements of one key that exclude each other: two where two suffice, else all of that key; one that excludes itself stands alone.
    /// None if some cluster could meet all of them. It may miss numbers that are excluded one by one; what it finds is always so.
    pub fn contradiction(&self) -> Option<Vec<&Requirement>> {
        let own = &self.requirements;
        let of_key = |key: &str| -> Vec<&Requirement> { own.iter().filter(|other| other.key == key).collect() };
        for (index, first) in own.iter().enumerate() {
            if own[..index].iter().any(|other| other.key == first.key) {
                continue;
            }
            let group = of_key(&first.key);
            if can_hold(&group) {
                continue;
            }
            let alone = group.iter().find(|requirement| !can_hold(&[requirement]));
            if let Some(alone) = alone {
                return Some(vec![alone]);
            }
            let pairs = group.iter().enumerate();
            let pair = pairs
                .flat_map(|(index, one)| group[index + 1..].iter().map(move |other| [*one, *other]))
                .find(|pair| !can_hold(pair));
            return Some(pair.map_or(group.clone(), Vec::from));
        }
        None
    }

    /// Whether another requirement, not this one, is about the same label: to change that label for this one may break the other.
    pub fn requires_otherwise(&self, requirement: &Requirement) -> bool {
        let mut others = self.requirements.iter();
        others.any(|other| other.key == requirement.key && other.operator != requirement.operator)
    }
}

/// Whether some value of the label, or that there is none, meets all of these, which are about one key.
fn can_hold(group: &[&Requirement]) -> bool {
    let meets = |value: Option<&str>| group.iter().all(|requirement| requirement.holds_for(value));
    if meets(None) {
        return true;
    }
    let named = group.iter().find_map(|requirement| match &requirement.operator {
        Operator::In(values) => Some(values),
        _ => None,
    });
    if let Some(values) = named {
        return values.iter().any(|value| meets(Some(value)));
    }
    if group
        .iter()
        .any(|requirement| requirement.operator == Operator::Missing)
    {
        return false;
    }
    // There are more values, and more ways to write a number, than can be excluded.
    let (mut least, mut most) = (i128::from(i64::MIN), i128::from(i64::MAX));
    for requirement in group {
        match requirement.operator {
            Operator::Above(bound) => least = least.max(i128::from(bound) + 1),
            Operator::Below(bound) => most = most.min(i128::from(bound) - 1),
            _ => {}
        }
    }
    least <= most
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::label::Labels;

    #[test]
    fn what_excludes_each_other_is_named() {
        for (selector, expected) in [
            ("", ""),
            ("GCP, !AWS", ""),
            ("GCP, !GCP", "GCP, !GCP"),
            ("a=1, b, a=2", "a=1, a=2"),
            ("a in (1, 2), a=2", ""),
            ("a in (1, 2), a!=1, a!=2", "a in (1, 2), a!=1, a!=2"),
            ("a in (1, 2), a notin (1, 2)", "a in (1, 2), a notin (1, 2)"),
            ("a=x, a>0", "a=x, a>0"),
            ("a=5, a>4, a<6", ""),
            ("a>4, a<5", "a>4, a<5"),
            ("a>4, a<6", ""),
            ("a>4, !a", "a>4, !a"),
            ("a>9223372036854775807", "a>9223372036854775807"),
            ("!a, a!=1", ""),
            ("a, a!=1", ""),
        ] {
            let selector = Selector::parse(selector).unwrap();
            let found = selector.contradiction().unwrap_or_default();
            let found: Selector = found.into_iter().cloned().collect();
            assert_eq!(found.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_some_cluster_meets_is_no_contradiction(
            requirements in prop::collection::vec(prop::sample::select(vec![
                "a", "!a", "a=1", "a=2", "a!=1", "a in (1, 3)", "a notin (2, 3)", "a>1", "a<3", "b", "!b",
            ]), 0..5),
            labels in prop::sample::select(vec![vec![], vec!["a"], vec!["a=1"], vec!["a=2", "b"], vec!["a=3"], vec!["a=x", "b"]]),
        ) {
            let selector = Selector::parse(&requirements.join(",")).unwrap();
            if selector.matches(&Labels::parse(labels).unwrap()) {
                prop_assert_eq!(selector.contradiction(), None);
            }
        }
    }
}
