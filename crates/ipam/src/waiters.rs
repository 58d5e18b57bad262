use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;

use names::ServiceKey;

use crate::Families;
use crate::layout::Shelf;
use crate::quotas::Scope;

/// Something that would help a Service that waits. A changed pool, reservation, quota or namespace is not among
/// it: that is a reason to ask everybody again who waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// This address.
    Address(IpAddr),
    /// An address on this shelf, by those that need these families from its pool.
    Shelf(Shelf, Families),
    /// An address of others that share under this key, or other terms of theirs.
    Sharer(String),
    /// Room for one address more, by one that holds nothing.
    Quota(Scope),
    /// The same, by one that may give up something for it.
    Exchange(Scope),
}

/// A Service's place in every queue: who came first is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) u64);

/// What a Service lacks that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lack {
    /// What it asks for.
    Everything,
    /// An address of its second family, without which it can do.
    Second,
}

/// When it is asked, of all that wait: the lower first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) lack: Lack,
    pub(crate) place: Place,
}

pub(crate) type Queue = BTreeMap<Turn, ServiceKey>;

/// Who waits for what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiters {
    queues: BTreeMap<Wanted, Queue>,
    /// Everybody who waits, also those whom only a changed pool, quota, reservation or namespace could help.
    all: Queue,
}

impl Waiters {
    pub(crate) fn add(&mut self, turn: Turn, key: &ServiceKey, wants: &[Wanted]) {
        self.all.insert(turn, key.clone());
        for wanted in wants {
            match self.queues.get_mut(wanted) {
                Some(queue) => drop(queue.insert(turn, key.clone())),
                None => drop(self.queues.insert(wanted.clone(), Queue::from([(turn, key.clone())]))),
            }
        }
    }

    pub(crate) fn remove(&mut self, turn: Turn, wants: &[Wanted]) {
        self.all.remove(&turn);
        for wanted in wants {
            if let Some(queue) = self.queues.get_mut(wanted) {
                queue.remove(&turn);
                if queue.is_empty() {
                    self.queues.remove(wanted);
                }
            }
        }
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether somebody waits for this.
    pub(crate) fn has(&self, wanted: &Wanted) -> bool {
        self.queues.contains_key(wanted)
    }

    /// The next one that waits for this, after the one that was asked last.
    pub(crate) fn next(&self, wanted: &Wanted, last: Option<Turn>) -> Option<(Turn, &ServiceKey)> {
        after(self.queues.get(wanted)?, last)
    }

    /// The next one that waits for anything.
    pub(crate) fn next_of_all(&self, last: Option<Turn>) -> Option<(Turn, &ServiceKey)> {
        after(&self.all, last)
    }
}

fn after(queue: &Queue, last: Option<Turn>) -> Option<(Turn, &ServiceKey)> {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    queue.range((from, Bound::Unbounded)).next().map(|(turn, key)| (*turn, key))
}
