use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{QuotaName, ServiceKey};

use crate::layout::Shelf;
use crate::{Families, Family};

/// Something that would help a Service that waits. A changed pool, reservation or namespace is not among it:
/// that is a reason to ask everybody again who was refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// This address.
    Address(IpAddr),
    /// An address on this shelf, by those that need these families from its pool.
    Shelf(Shelf, Families),
    /// One address of this family on this shelf, beside what the Service has from its pool.
    Beside(Shelf, Family),
    /// Another Service that shares under this key.
    Sharer(String),
    /// An address less of this family that counts towards this quota, by those who share its limit.
    Quota(QuotaName, Option<String>, Family),
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
}
