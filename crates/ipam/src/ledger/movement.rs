use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use crate::Moves;
use crate::waiters::Place;

/// Who is being moved, and who is to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Movement {
    pub(super) moves: Moves,
    running: BTreeMap<ServiceKey, (Instant, PoolName)>,
    ends: BTreeSet<(Instant, ServiceKey)>,
    queue: BTreeMap<Place, ServiceKey>,
    /// Pools out of which another number is moved than before.
    touched: BTreeSet<PoolName>,
}

impl Movement {
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < self.moves.concurrent
    }

    pub(super) fn begin(&mut self, key: &ServiceKey, until: Instant, from: &PoolName) {
        if self.running.get(key).is_some_and(|running| (running.0, &running.1) == (until, from)) {
            return;
        }
        self.end(key);
        self.touched.insert(from.clone());
        self.running.insert(key.clone(), (until, from.clone()));
        self.ends.insert((until, key.clone()));
    }

    pub(super) fn end(&mut self, key: &ServiceKey) {
        if let Some((until, from)) = self.running.remove(key) {
            self.ends.remove(&(until, key.clone()));
            self.touched.insert(from);
        }
    }

    pub(super) fn take_touched(&mut self) -> BTreeSet<PoolName> {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn queue(&mut self, place: Place, key: &ServiceKey) {
        self.queue.insert(place, key.clone());
    }

    pub(super) fn unqueue(&mut self, place: Place) {
        self.queue.remove(&place);
    }

    pub(super) fn forget(&mut self, key: &ServiceKey, place: Place) {
        self.end(key);
        self.queue.remove(&place);
    }

    /// The next one that is to be moved, after this one, if one may be.
    pub(super) fn next_queued(&self, last: Option<Place>) -> Option<(Place, ServiceKey)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut queue = self.queue.range((from, Bound::Unbounded)).filter(|_| self.has_room());
        queue.next().map(|(place, key)| (*place, key.clone()))
    }

    /// The next one whose move is over.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<ServiceKey> {
        let (_, key) = self.ends.first().filter(|(until, _)| *until <= now)?;
        let key = key.clone();
        self.end(&key);
        Some(key)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// How many are on their way out of this pool.
    pub(super) fn running_from(&self, pool: &PoolName) -> usize {
        self.running.values().filter(|(_, from)| from == pool).count()
    }

    pub(super) fn is_queued(&self, place: Place) -> bool {
        self.queue.contains_key(&place)
    }
}
