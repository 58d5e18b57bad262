use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::ServiceKey;

use crate::{Backend, Protocol, Sharing};

/// With whom Services share, of those that share at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharers {
    terms: BTreeMap<ServiceKey, Sharing>,
    /// What those have in common that hold an address, as far as they share.
    units: BTreeMap<IpAddr, Unit>,
    /// What was granted to those that share under each key.
    groups: BTreeMap<String, Group>,
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

/// How many there are of each.
type Counts<T> = BTreeMap<T, usize>;

#[derive(Debug, Clone, Default)]
struct Unit {
    members: usize,
    keys: Counts<String>,
    backends: Counts<Backend>,
    ports: Counts<(Protocol, u16)>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    addresses: Counts<IpAddr>,
    /// On which of them a port is taken.
    ports: BTreeMap<(Protocol, u16), Counts<IpAddr>>,
}

impl Sharers {
    /// Has a Service share on other terms; `granted` is what it was granted of the addresses that it holds.
    pub(crate) fn set(
        &mut self,
        key: &ServiceKey,
        sharing: Option<Sharing>,
        granted: &[IpAddr],
        held: &[IpAddr],
    ) {
        self.unknown.remove(key);
        self.regrant(key, granted, &[]);
        held.iter().for_each(|address| self.part(*address, key));
        match sharing {
            Some(sharing) => drop(self.terms.insert(key.clone(), sharing)),
            None => drop(self.terms.remove(key)),
        }
        held.iter().for_each(|address| self.join(*address, key));
        self.regrant(key, &[], granted);
    }

    pub(crate) fn set_unknown(&mut self, key: &ServiceKey) {
        if !self.terms.contains_key(key) {
            self.unknown.insert(key.clone());
        }
    }

    /// Forgets a Service that holds nothing.
    pub(crate) fn forget(&mut self, key: &ServiceKey) {
        self.unknown.remove(key);
        self.terms.remove(key);
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

    /// Notes that a Service holds an address.
    pub(crate) fn join(&mut self, address: IpAddr, key: &ServiceKey) {
        let Some(sharing) = self.terms.get(key) else { return };
        let unit = self.units.entry(address).or_default();
        unit.members += 1;
        more(&mut unit.keys, &sharing.key);
        more(&mut unit.backends, &sharing.backend);
        for port in &sharing.ports {
            more(&mut unit.ports, port);
        }
    }

    /// Notes that a Service holds it no more.
    pub(crate) fn part(&mut self, address: IpAddr, key: &ServiceKey) {
        let Some((sharing, unit)) = self.terms.get(key).zip(self.units.get_mut(&address)) else { return };
        unit.members -= 1;
        less(&mut unit.keys, &sharing.key);
        less(&mut unit.backends, &sharing.backend);
        sharing.ports.iter().for_each(|port| less(&mut unit.ports, port));
        if unit.members == 0 {
            self.units.remove(&address);
        }
    }

    /// Whether an address that so many hold may be held beside them, on these terms.
    pub(crate) fn agree(&self, address: IpAddr, holders: usize, sharing: &Sharing) -> bool {
        let Some(unit) = self.units.get(&address) else { return holders == 0 };
        let Unit { members, keys, backends, ports } = unit;
        *members == holders
            && keys.get(&sharing.key) == Some(&holders)
            && backends.get(&sharing.backend) == Some(&holders)
            && sharing.backend != Backend::Unselected
            && !sharing.ports.iter().any(|port| ports.contains_key(port))
    }

    /// Notes what one that shares was granted, in place of what; says whether its group has an address more.
    pub(crate) fn regrant(&mut self, key: &ServiceKey, before: &[IpAddr], after: &[IpAddr]) -> bool {
        let Some(sharing) = self.terms.get(key) else { return false };
        let group = match self.groups.get_mut(&sharing.key) {
            Some(group) => group,
            None => self.groups.entry(sharing.key.clone()).or_default(),
        };
        let mut is_more = false;
        for address in after.iter().filter(|address| !before.contains(address)) {
            is_more |= more(&mut group.addresses, address);
            for port in &sharing.ports {
                more(group.ports.entry(*port).or_default(), address);
            }
        }
        for address in before.iter().filter(|address| !after.contains(address)) {
            less(&mut group.addresses, address);
            for port in &sharing.ports {
                group.free(*port, address);
            }
        }
        if group.addresses.is_empty() {
            self.groups.remove(&sharing.key);
        }
        is_more
    }

    /// What was granted to others that share under the key of these terms, unless they have one of its ports on
    /// all of it.
    pub(crate) fn open(&self, sharing: &Sharing) -> impl Iterator<Item = IpAddr> {
        let group = self.groups.get(&sharing.key).filter(|group| {
            let taken = |port| group.ports.get(port).is_some_and(|on| on.len() == group.addresses.len());
            !sharing.ports.iter().any(taken)
        });
        group.into_iter().flat_map(|group| group.addresses.keys().copied())
    }

    pub(crate) fn has_guests(&self) -> bool {
        !self.guests.is_empty()
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

impl Group {
    fn free(&mut self, port: (Protocol, u16), address: &IpAddr) {
        if let Some(on) = self.ports.get_mut(&port) {
            less(on, address);
            if on.is_empty() {
                self.ports.remove(&port);
            }
        }
    }
}

/// Counts one more; says whether it is the first.
fn more<T: Ord + Clone>(counts: &mut Counts<T>, what: &T) -> bool {
    match counts.get_mut(what) {
        Some(count) => {
            *count += 1;
            false
        }
        None => counts.insert(what.clone(), 1).is_none(),
    }
}

/// Counts one less.
fn less<T: Ord>(counts: &mut Counts<T>, what: &T) {
    if let Some(count) = counts.get_mut(what) {
        *count -= 1;
        if *count == 0 {
            counts.remove(what);
        }
    }
}
