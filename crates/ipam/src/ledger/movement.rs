use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use names::{PoolName, ServiceKey};

use super::{Changed, Ledger};
use crate::Moves;
use crate::waiters::Place;

/// Who is being moved, and who is to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Movement {
    pub(super) moves: Moves,
    running: BTreeMap<ServiceKey, (Instant, PoolName)>,
    ends: BTreeSet<(Instant, ServiceKey)>,
    queue: BTreeMap<Place, ServiceKey>,
}

impl Movement {
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < self.moves.concurrent
    }

    pub(super) fn begin(&mut self, key: &ServiceKey, until: Instant, from: &PoolName) {
        self.end(key);
        self.running.insert(key.clone(), (until, from.clone()));
        self.ends.insert((until, key.clone()));
    }

    pub(super) fn end(&mut self, key: &ServiceKey) {
        if let Some((until, _)) = self.running.remove(key) {
            self.ends.remove(&(until, key.clone()));
        }
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

impl Ledger {
    /// Moves the next ones, as many as may be moved at a time.
    pub(super) fn start_moves(&mut self, now: Instant, changed: &mut Changed) {
        for _ in 0..self.movement.queue.len() {
            if !self.movement.has_room() {
                return;
            }
            let Some((_, key)) = self.movement.queue.pop_first() else { return };
            self.decide(now, &key, changed);
        }
    }
}
