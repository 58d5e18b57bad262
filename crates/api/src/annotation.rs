use std::collections::BTreeMap;

/// Whose annotations are honoured; of several that are set, the first.
const PREFIXES: [&str; 3] = ["ferritelb.io", "metallb.io", "metallb.universe.tf"];

/// The pools that a Service asks for, separated by commas, the first that can serve it.
pub(crate) const ADDRESS_POOL: &str = "address-pool";
/// The addresses that a Service asks for, separated by commas.
pub(crate) const LOAD_BALANCER_IPS: &str = "loadBalancerIPs";
/// The key under which a Service would share its address.
pub(crate) const ALLOW_SHARED_IP: &str = "allow-shared-ip";
/// With `allow-shared-ip`: which nodes may announce an address whose Services are `externalTrafficPolicy: Local`
/// with different pods. It is ours alone.
pub(crate) const SHARE_LOCAL: &str = "share-local";
/// The addresses that a Service is moved from, as JSON; written by the controller.
pub(crate) const MOVING: &str = "moving";
/// The pool that a Service's addresses came from; written by the controller.
pub(crate) const IP_ALLOCATED_FROM_POOL: &str = "ip-allocated-from-pool";

/// An annotation as it was found: under which full key, and what it says, without surrounding spaces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    pub(crate) key: String,
    pub(crate) value: &'a str,
}

impl Found<'_> {
    /// The path of the annotation in the object.
    pub(crate) fn field(&self) -> String {
        format!("metadata.annotations[{}]", self.key)
    }
}

/// The full key under which we write.
pub(crate) fn ours(name: &str) -> String {
    let [prefix, ..] = PREFIXES;
    format!("{prefix}/{name}")
}

/// Looks for an annotation of ours. An empty one asks for nothing.
pub(crate) fn find_ours<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<Found<'a>> {
    let key = ours(name);
    let value = annotations.get(&key)?.trim();
    (!value.is_empty()).then_some(Found { key, value })
}

/// Looks for an annotation under each of the three prefixes. An empty one asks for nothing.
pub(crate) fn find<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<Found<'a>> {
    let set = PREFIXES.iter().find_map(|prefix| {
        let key = format!("{prefix}/{name}");
        annotations.get(&key).map(|value| Found { value: value.trim(), key })
    });
    set.filter(|found| !found.value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn pool(pairs: &[(&str, &str)]) -> Option<String> {
        find(&annotations(pairs), ADDRESS_POOL).map(|found| found.value.to_string())
    }

    #[test]
    fn ours_wins_then_the_newer_of_metallbs() {
        let [a, b, c] = [
            ("ferritelb.io/address-pool", "a"),
            ("metallb.io/address-pool", "b"),
            ("metallb.universe.tf/address-pool", "c"),
        ];
        assert_eq!(pool(&[a, b, c]).as_deref(), Some("a"));
        assert_eq!(pool(&[b, c]).as_deref(), Some("b"));
        assert_eq!(pool(&[c]).as_deref(), Some("c"));
        assert_eq!(pool(&[("example.org/address-pool", "d")]), None);
    }

    #[test]
    fn an_empty_annotation_asks_for_nothing_and_hides_the_next() {
        assert_eq!(pool(&[("ferritelb.io/address-pool", "  "), ("metallb.io/address-pool", "b")]), None);
    }
}
