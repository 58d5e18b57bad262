use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::ServiceKey;

use crate::Sharing;

/// With whom Services share, of those that share at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharers {
    terms: BTreeMap<ServiceKey, Sharing>,
    /// What was granted to those that share under each key, and to how many of them.
    groups: BTreeMap<String, BTreeMap<IpAddr, usize>>,
    /// Services whose terms were never understood. Their statuses are taken at their word.
    unknown: BTreeSet<ServiceKey>,
    /// Who holds an address beside others although its terms do not allow that any more.
    guests: BTreeMap<IpAddr, BTreeSet<ServiceKey>>,
}

/// On which terms a Service shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms<'a> {
    /// On none.
    Alone,
    /// They were never understood.
    Unknown,
    /// On these.
    Known(&'a Sharing),
}

impl Sharers {
    /// Has a Service share on other terms; `granted` is what it was granted.
    pub(crate) fn set(&mut self, key: &ServiceKey, sharing: Option<Sharing>, granted: &[IpAddr]) {
        self.unknown.remove(key);
        self.regrant(key, granted, &[]);
        match sharing {
            Some(sharing) => drop(self.terms.insert(key.clone(), sharing)),
            None => drop(self.terms.remove(key)),
        }
        self.regrant(key, &[], granted);
    }

    pub(crate) fn set_unknown(&mut self, key: &ServiceKey) {
        if !self.terms.contains_key(key) {
            self.unknown.insert(key.clone());
        }
    }

    pub(crate) fn forget(&mut self, key: &ServiceKey) {
        self.set(key, None, &[]);
    }

    pub(crate) fn get(&self, key: &ServiceKey) -> Option<&Sharing> {
        self.terms.get(key)
    }

    pub(crate) fn terms(&self, key: &ServiceKey) -> Terms<'_> {
        match self.terms.get(key) {
            Some(sharing) => Terms::Known(sharing),
            None if self.unknown.contains(key) => Terms::Unknown,
            None => Terms::Alone,
        }
    }

    /// Notes what one that shares was granted, in place of what; says whether its group has an address more.
    pub(crate) fn regrant(&mut self, key: &ServiceKey, before: &[IpAddr], after: &[IpAddr]) -> bool {
        let Some(sharing) = self.terms.get(key) else { return false };
        let group = match self.groups.get_mut(&sharing.key) {
            Some(group) => group,
            None => self.groups.entry(sharing.key.clone()).or_default(),
        };
        let mut more = false;
        for address in after.iter().filter(|address| !before.contains(address)) {
            let count = group.entry(*address).or_default();
            *count += 1;
            more |= *count == 1;
        }
        for address in before.iter().filter(|address| !after.contains(address)) {
            if let Some(count) = group.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    group.remove(address);
                }
            }
        }
        if group.is_empty() {
            self.groups.remove(&sharing.key);
        }
        more
    }

    /// What was granted to those that share under this key.
    pub(crate) fn group(&self, key: &str) -> impl Iterator<Item = IpAddr> {
        self.groups.get(key).into_iter().flat_map(BTreeMap::keys).copied()
    }

    pub(crate) fn is_guest(&self, address: IpAddr, key: &ServiceKey) -> bool {
        self.guests.get(&address).is_some_and(|guests| guests.contains(key))
    }

    pub(crate) fn guests(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.guests.get(&address).into_iter().flatten()
    }

    pub(crate) fn welcome(&mut self, address: IpAddr, key: &ServiceKey) {
        self.guests.entry(address).or_default().insert(key.clone());
    }

    pub(crate) fn see_off(&mut self, address: IpAddr, key: &ServiceKey) {
        if let Some(guests) = self.guests.get_mut(&address) {
            guests.remove(key);
            if guests.is_empty() {
                self.guests.remove(&address);
            }
        }
    }
}
