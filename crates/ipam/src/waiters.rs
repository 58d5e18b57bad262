use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{PoolName, ServiceKey};

use crate::{Families, Family};

/// Something that would help a Service. Ordered, so that addresses of a range can be looked up together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// This address, free and in a pool.
    Address(IpAddr),
    /// Enough for these families in any pool that gives out by itself.
    Automatic(Families),
    /// Enough for these families in this pool.
    From(PoolName, Families),
    /// One address of this family in this pool, beside what the Service has from it.
    Beside(PoolName, Family),
    /// Any change of this pool.
    Change(PoolName),
}

/// A Service's place in every queue: who came first is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u64);

type Queue = BTreeMap<Place, ServiceKey>;

/// Who waits for what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters(BTreeMap<Wanted, Queue>);

impl Waiters {
    pub(crate) fn add(&mut self, wanted: Wanted, place: Place, key: ServiceKey) {
        self.0.entry(wanted).or_default().insert(place, key);
    }

    pub(crate) fn remove(&mut self, wanted: &Wanted, place: Place) {
        if let Some(queue) = self.0.get_mut(wanted) {
            queue.remove(&place);
            if queue.is_empty() {
                self.0.remove(wanted);
            }
        }
    }

    /// The first in a queue that was not passed over.
    pub(crate) fn first(&self, wanted: &Wanted, passed: &BTreeSet<Place>) -> Option<(Place, ServiceKey)> {
        let queue = self.0.get(wanted)?;
        let (place, key) = queue.iter().find(|(place, _)| !passed.contains(place))?;
        Some((*place, key.clone()))
    }

    /// Everybody who waits for this.
    pub(crate) fn all(&self, wanted: &Wanted) -> impl Iterator<Item = (Place, ServiceKey)> {
        self.0.get(wanted).into_iter().flatten().map(|(place, key)| (*place, key.clone()))
    }

    /// Everybody who waits for an address from first to last.
    pub(crate) fn within(&self, first: IpAddr, last: IpAddr) -> impl Iterator<Item = (Place, ServiceKey)> {
        let queues = self.0.range(Wanted::Address(first)..=Wanted::Address(last));
        queues.flat_map(|(_, queue)| queue).map(|(place, key)| (*place, key.clone()))
    }
}
