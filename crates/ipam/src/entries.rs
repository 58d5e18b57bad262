#![expect(clippy::disallowed_types, reason = "the one that hashes is never walked through")]

use std::collections::{BTreeSet, HashMap};

use names::ServiceKey;

use crate::entry::Entry;

/// What is known of each Service. One step looks many of them up, and compares no names for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries {
    by_key: HashMap<ServiceKey, Entry>,
    keys: BTreeSet<ServiceKey>,
}

impl Entries {
    pub(crate) fn get(&self, key: &ServiceKey) -> Option<&Entry> {
        self.by_key.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &ServiceKey) -> Option<&mut Entry> {
        self.by_key.get_mut(key)
    }

    pub(crate) fn get_or_insert_with(&mut self, key: &ServiceKey, new: impl FnOnce() -> Entry) -> &mut Entry {
        if !self.by_key.contains_key(key) {
            self.keys.insert(key.clone());
        }
        self.by_key.entry(key.clone()).or_insert_with(new)
    }

    pub(crate) fn remove(&mut self, key: &ServiceKey) -> Option<Entry> {
        self.keys.remove(key);
        self.by_key.remove(key)
    }

    /// The Services of a namespace, by name.
    pub(crate) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &ServiceKey> {
        let keys = self.keys.range(ServiceKey::new(namespace, "")..);
        keys.take_while(move |key| *key.namespace == *namespace)
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Entry)> {
        self.keys.iter().map(|key| (key, &self.by_key[key]))
    }
}
