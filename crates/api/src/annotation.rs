use std::collections::BTreeMap;

use crate::Invalid;

/// Whose annotations are honoured, the first one first.
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
///
/// # Errors
/// Two of them say different things.
pub(crate) fn find<'a>(
    annotations: &'a BTreeMap<String, String>,
    name: &str,
) -> Result<Option<Found<'a>>, Invalid> {
    let mut set = all(annotations, name);
    let Some(first) = set.next() else { return Ok(None) };
    match set.find(|other| other.value != first.value) {
        Some(other) => {
            let (ours, theirs) = (quoted(first.value), quoted(other.value));
            let why = format!("{ours} contradicts {}: {theirs}", other.field());
            Err(Invalid::new(first.field(), why))
        }
        None => Ok(Some(first)),
    }
}

/// Looks for an annotation under each of the three prefixes, of which the first one counts: of what is recorded,
/// not asked for.
pub(crate) fn find_first<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<Found<'a>> {
    all(annotations, name).next()
}

fn all<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> impl Iterator<Item = Found<'a>> {
    PREFIXES.iter().filter_map(move |prefix| {
        let key = format!("{prefix}/{name}");
        let value = annotations.get(&key)?.trim();
        (!value.is_empty()).then_some(Found { key, value })
    })
}

/// What a user wrote, to be said again; of something long the beginning is enough.
pub(crate) fn quoted(text: &str) -> String {
    const ENOUGH: usize = 64;
    match text.char_indices().nth(ENOUGH).and_then(|(end, _)| text.get(..end)) {
        Some(beginning) => format!("{beginning:?}…"),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn pool(pairs: &[(&str, &str)]) -> Result<Option<String>, Invalid> {
        find(&annotations(pairs), ADDRESS_POOL).map(|found| found.map(|found| found.key))
    }

    const OURS: &str = "ferritelb.io/address-pool";
    const NEW: &str = "metallb.io/address-pool";
    const OLD: &str = "metallb.universe.tf/address-pool";

    #[test]
    fn it_is_honoured_under_each_prefix_and_several_may_say_the_same() {
        let found = |pairs: &[_]| pool(pairs).unwrap();
        assert_eq!(found(&[(OURS, "a"), (NEW, " a "), (OLD, "a\n")]).as_deref(), Some(OURS));
        assert_eq!(found(&[(NEW, "a"), (OLD, "a")]).as_deref(), Some(NEW));
        assert_eq!(found(&[(OLD, "a")]).as_deref(), Some(OLD));
        assert_eq!(found(&[("example.org/address-pool", "a")]), None);
    }

    #[test]
    fn two_that_say_different_things_are_both_named() {
        let refused = |pairs: &[_]| pool(pairs).unwrap_err().to_string();
        let contradicts = |first, other| {
            format!("metadata.annotations[{first}]: \"a\" contradicts metadata.annotations[{other}]: \"b\"")
        };
        assert_eq!(refused(&[(OURS, "a"), (NEW, "b"), (OLD, "c")]), contradicts(OURS, NEW));
        assert_eq!(refused(&[(OURS, "a"), (NEW, "a"), (OLD, "b")]), contradicts(OURS, OLD));
        assert_eq!(refused(&[(NEW, "a"), (OLD, "b")]), contradicts(NEW, OLD));
        let long = "ä".repeat(200_000);
        let text = refused(&[(OURS, long.as_str()), (OLD, "b")]);
        assert!(text.chars().count() < 256 && text.contains(OLD) && text.contains('…'), "{text}");
    }

    #[test]
    fn an_empty_annotation_asks_for_nothing_and_contradicts_nothing() {
        assert_eq!(pool(&[(OURS, "  ")]), Ok(None));
        assert_eq!(pool(&[(OURS, "  "), (NEW, "b")]), Ok(Some(NEW.into())));
        assert_eq!(pool(&[(OURS, "a"), (NEW, ""), (OLD, "a")]), Ok(Some(OURS.into())));
    }

    #[test]
    fn of_what_is_recorded_the_first_counts() {
        let recorded = annotations(&[(NEW, "b"), (OLD, "c")]);
        assert_eq!(find_first(&recorded, ADDRESS_POOL).unwrap().value, "b");
    }
}
