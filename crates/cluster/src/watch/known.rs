use std::collections::BTreeMap;

use crate::Key;

/// Which objects have been told of, so that a list can tell which of them are gone.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// In which list each was last.
    told: BTreeMap<Key, u64>,
    list: u64,
    is_listing: bool,
    listed_once: bool,
}

impl Known {
    /// A list begins; what an unfinished one said before does not count.
    pub(crate) fn begin_list(&mut self) {
        self.list += 1;
        self.is_listing = true;
    }

    pub(crate) fn is_listing(&self) -> bool {
        self.is_listing
    }

    /// The list is complete. What is gone, and whether it was the first.
    pub(crate) fn end_list(&mut self) -> (Vec<Key>, bool) {
        self.is_listing = false;
        let list = self.list;
        let gone = self.told.extract_if(.., |_, last| *last != list).map(|(key, _)| key).collect();
        (gone, !std::mem::replace(&mut self.listed_once, true))
    }

    /// An object of the list, or one that appeared or changed.
    pub(crate) fn apply(&mut self, key: Key) {
        self.told.insert(key, self.list);
    }

    /// An object that was deleted.
    pub(crate) fn delete(&mut self, key: &Key) {
        self.told.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(known: &mut Known, names: &[&str]) {
        known.begin_list();
        for name in names {
            known.apply(Key::cluster(*name));
        }
    }

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key::cluster(*name)).collect()
    }

    #[test]
    fn a_list_removes_what_it_lacks_and_only_the_first_completes() {
        let mut known = Known::default();
        list(&mut known, &["a", "b"]);
        assert_eq!(known.end_list(), (vec![], true));
        known.apply(Key::cluster("c"));
        known.delete(&Key::cluster("a"));
        list(&mut known, &["b"]);
        assert_eq!(known.end_list(), (keys(&["c"]), false));
        list(&mut known, &[]);
        assert_eq!(known.end_list(), (keys(&["b"]), false));
    }

    #[test]
    fn a_list_that_breaks_off_removes_nothing_but_forgets_nothing_either() {
        let mut known = Known::default();
        list(&mut known, &["a"]);
        assert!(known.is_listing());
        list(&mut known, &["b"]);
        assert_eq!(known.end_list(), (keys(&["a"]), true));
        assert!(!known.is_listing());
    }
}
