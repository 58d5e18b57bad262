use std::collections::{BTreeMap, BTreeSet};

/// An object's labels.
pub type Labels = BTreeMap<String, String>;

/// A label selector: every requirement must hold, so the empty selector matches everything
/// (Kubernetes API reference, LabelSelector).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold for its value.
    pub operator: Operator,
}

/// What a requirement asks of a label's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The label exists with one of these values.
    In(BTreeSet<String>),
    /// The label is absent, or has none of these values.
    NotIn(BTreeSet<String>),
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// A selector that asks for all of these.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let mut requirements: Vec<_> = requirements.into_iter().collect();
        requirements.sort();
        requirements.dedup();
        Self { requirements }
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether any of several selectors matches; none given means no restriction.
    pub fn any_matches(selectors: &[Selector], labels: &Labels) -> bool {
        selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn one(key: &str, operator: Operator) -> Selector {
        Selector::new([Requirement { key: key.into(), operator }])
    }

    fn values(values: &[&str]) -> BTreeSet<String> {
        values.iter().map(|value| value.to_string()).collect()
    }

    #[test]
    fn every_operator_against_present_other_and_absent() {
        let cases = [
            (Operator::In(values(&["a"])), [true, false, false]),
            (Operator::NotIn(values(&["a"])), [false, true, true]),
            (Operator::Exists, [true, true, false]),
            (Operator::DoesNotExist, [false, false, true]),
        ];
        for (operator, expected) in cases {
            let selector = one("zone", operator.clone());
            let found = [labels(&[("zone", "a")]), labels(&[("zone", "b")]), labels(&[("rack", "a")])]
                .map(|labels| selector.matches(&labels));
            assert_eq!(found, expected, "{operator:?}");
        }
    }

    #[test]
    fn requirements_are_anded_and_selectors_are_ored() {
        let both = Selector::new([
            Requirement { key: "zone".into(), operator: Operator::Exists },
            Requirement { key: "rack".into(), operator: Operator::Exists },
        ]);
        assert!(!both.matches(&labels(&[("zone", "a")])));
        let either = [one("zone", Operator::Exists), one("rack", Operator::Exists)];
        assert!(Selector::any_matches(&either, &labels(&[("rack", "r")])));
        assert!(!Selector::any_matches(&either, &labels(&[("row", "r")])));
    }

    #[test]
    fn no_selector_and_an_empty_selector_match_everything() {
        assert!(Selector::any_matches(&[], &Labels::new()));
        assert!(Selector::default().matches(&Labels::new()));
    }
}
