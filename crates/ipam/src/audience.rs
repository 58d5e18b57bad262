use std::collections::BTreeSet;

use names::{Labels, Selector};

/// For which Services something is: those in certain namespaces and with certain labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audience {
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by their labels. With no name and no selector: every namespace. A selector that matches no
    /// namespace lets none in.
    pub namespace_selectors: Vec<Selector>,
    /// Services by their labels; none given means all.
    pub service_selectors: Vec<Selector>,
}

impl Audience {
    /// Whether a namespace belongs to it; its labels are unknown while it is not seen.
    pub(crate) fn has_namespace(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        let open = self.namespaces.is_empty() && self.namespace_selectors.is_empty();
        let selected = |labels| self.namespace_selectors.iter().any(|selector| selector.matches(labels));
        open || self.namespaces.contains(namespace) || labels.is_some_and(selected)
    }

    /// Whether a Service with these labels, in a namespace that belongs to it, does so too.
    pub(crate) fn has_service(&self, labels: &Labels) -> bool {
        Selector::any_matches(&self.service_selectors, labels)
    }
}
