use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use names::ServiceKey;

use crate::view::Service;

/// Which Services show an address in their status, those first that were known first.
///
/// Of several that no plan was made for yet, those go first that have it for longer, and then those with the
/// lesser uid: nodes that start at the same time agree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holders {
    by_address: BTreeMap<IpAddr, Vec<Holder>>,
    /// How many plans were made.
    plans: u64,
}

#[derive(Debug, Clone)]
struct Holder {
    key: ServiceKey,
    /// How many plans were made before it was known to have the address.
    plans: u64,
    /// What it said of this when it became known: what it says later moves nothing.
    allocated_since: Option<i64>,
}

impl Holders {
    /// From here on, whoever is known goes before whoever becomes known.
    pub(crate) fn planned(&mut self) {
        self.plans += 1;
    }

    /// One that is known keeps its place.
    pub(crate) fn insert(
        &mut self,
        address: IpAddr,
        key: &ServiceKey,
        services: &BTreeMap<ServiceKey, Service>,
    ) {
        let holders = self.by_address.entry(address).or_default();
        if holders.iter().any(|holder| holder.key == *key) {
            return;
        }
        let service = services.get(key);
        let allocated_since = service.and_then(|service| service.allocated_since);
        let new = Holder { key: key.clone(), plans: self.plans, allocated_since };
        let uid = |holder: &Holder| services.get(&holder.key).map(|service| service.uid.as_str());
        let before = |holder: &Holder| holder.seniority(uid(holder)) <= new.seniority(uid(&new));
        let place = holders.partition_point(before);
        holders.insert(place, new);
    }

    pub(crate) fn remove(&mut self, address: IpAddr, key: &ServiceKey) {
        if let Entry::Occupied(mut holders) = self.by_address.entry(address) {
            holders.get_mut().retain(|holder| holder.key != *key);
            if holders.get().is_empty() {
                holders.remove();
            }
        }
    }

    pub(crate) fn of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.by_address.get(&address).into_iter().flatten().map(|holder| &holder.key)
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_address.keys().copied()
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }
}

impl Holder {
    fn seniority<'a>(&'a self, uid: Option<&'a str>) -> impl Ord + use<'a> {
        (self.plans, self.allocated_since.unwrap_or(i64::MAX), uid, &self.key)
    }
}
