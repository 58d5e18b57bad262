use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, PoolName, QuotaName, ReservationName, ServiceKey};

use super::{Changed, Ledger};
use crate::layout::{ByFamily, Ranges, Shelf};
use crate::pool::address;
use crate::waiters::Place;
use crate::{Blocked, Family, Moves, OnRemove, Pool, Quota, Reservation};

impl Ledger {
    /// A pool as it is now; `None` when it is gone. What is held from it stays, is moved or is taken away as
    /// its `on_remove` says; those that wait are asked again.
    pub fn set_pool(&mut self, now: Instant, name: &PoolName, pool: Option<Pool>) -> Changed {
        let mut changed = Vec::new();
        if self.register.pools().get(name) == pool.as_ref() {
            return changed;
        }
        let old = self.register.set_pool(name, pool);
        self.remember_fate(name, old.as_ref());
        self.sort_pools();
        let mut moved = self.lay_out();
        self.reservations.touch_all();
        for reservation in self.reservations.choosing(name) {
            let register = &self.register;
            self.reservations.keep_chosen(&reservation, |address| register.pool_of(address) == Some(name));
            moved.extend(self.choose_counts(&reservation));
        }
        self.ask_refused(now, &mut changed);
        for key in self.concerned(name, &moved).into_values() {
            self.decide(now, &key, &mut changed);
        }
        self.start_moves(now, &mut changed);
        changed
    }

    /// What is held from a pool that is gone is treated as its last version said.
    fn remember_fate(&mut self, name: &PoolName, old: Option<&Pool>) {
        if self.register.pools().contains_key(name) {
            self.gone.remove(name);
        } else if let Some(old) = old.filter(|old| old.on_remove != OnRemove::Keep)
            && !self.under.is_empty(name)
        {
            self.gone.insert(name.clone(), old.on_remove);
        }
        let under = &self.under;
        self.gone.retain(|pool, _| !under.is_empty(pool));
    }

    fn sort_pools(&mut self) {
        let mut order: Vec<_> =
            self.register.pools().iter().map(|(name, pool)| (pool.rank(), name.clone())).collect();
        order.sort();
        self.order = order.into_iter().map(|(_, name)| name).collect();
    }

    /// Those that hold something from this pool or among these addresses, the longest known first.
    fn concerned(&self, name: &PoolName, moved: &[ByFamily<Ranges>]) -> BTreeMap<Place, ServiceKey> {
        let mut keys: BTreeSet<ServiceKey> = self.under.services(name).cloned().collect();
        for (moved, family) in moved.iter().flat_map(|moved| Family::ALL.map(|family| (moved, family))) {
            keys.extend(self.register.holders_within(family, moved.of(family)));
        }
        keys.into_iter().filter_map(|key| Some((self.entries.get(&key)?.place, key))).collect()
    }

    /// The labels of a namespace as they are now; `None` when it is gone.
    pub fn set_namespace(&mut self, now: Instant, namespace: &str, labels: Option<Labels>) -> Changed {
        let mut changed = Vec::new();
        if self.namespaces.get(namespace) == labels.as_ref() {
            return changed;
        }
        match labels {
            Some(labels) => drop(self.namespaces.insert(namespace.to_owned(), labels)),
            None => drop(self.namespaces.remove(namespace)),
        }
        let keys: Vec<_> = self.of_namespace(namespace);
        if self.quotas.knows(namespace) {
            self.count_anew(namespace, &keys);
        }
        for key in &keys {
            self.judge_fit(key);
            self.decide(now, key, &mut changed);
        }
        self.start_moves(now, &mut changed);
        changed
    }

    fn of_namespace(&self, namespace: &str) -> Vec<ServiceKey> {
        let keys = self.entries.range(ServiceKey::new(namespace, "")..).map(|(key, _)| key);
        keys.take_while(|key| key.namespace == namespace).cloned().collect()
    }

    fn held_by(&self, keys: &[ServiceKey]) -> Vec<(IpAddr, PoolName)> {
        keys.iter().flat_map(|key| self.held(key)).collect()
    }

    /// Counts what a namespace holds towards the quotas that it has now, and not towards those that it had.
    fn count_anew(&mut self, namespace: &str, keys: &[ServiceKey]) {
        let before = self.quotas.assign(namespace, self.namespaces.get(namespace));
        let after = self.quotas.of(namespace).to_vec();
        for (address, pool) in self.held_by(keys) {
            for quota in before.iter().filter(|quota| !after.contains(quota)) {
                self.quotas.remove_from(quota, namespace, &pool, address);
            }
            for quota in after.iter().filter(|quota| !before.contains(quota)) {
                self.quotas.add_to(quota, namespace, &pool, address);
            }
        }
    }

    /// A quota as it is now; `None` when it is gone. It takes nothing away.
    pub fn set_quota(&mut self, now: Instant, name: &QuotaName, quota: Option<Quota>) -> Changed {
        let mut changed = Vec::new();
        if self.quotas.get(name) == quota.as_ref() {
            return changed;
        }
        self.quotas.set(name, quota);
        for namespace in self.quotas.namespaces() {
            if !self.quotas.is_for(name, &namespace, self.namespaces.get(&namespace)) {
                continue;
            }
            self.quotas.join(name, &namespace);
            for (address, pool) in self.held_by(&self.of_namespace(&namespace)) {
                self.quotas.add_to(name, &namespace, &pool, address);
            }
        }
        self.ask_refused(now, &mut changed);
        changed
    }

    /// A reservation as it is now; `None` when it is gone. It takes nothing away: what others hold is kept for
    /// it when they give it back.
    pub fn set_reservation(
        &mut self,
        now: Instant,
        name: &ReservationName,
        reservation: Option<Reservation>,
    ) -> Changed {
        let mut changed = Vec::new();
        if self.reservations.is_as(name, reservation.as_ref()) {
            return changed;
        }
        self.reservations.set(now, name, reservation);
        self.lay_out();
        self.reservations.touch_all();
        if let Some(counts) = self.reservations.get(name).and_then(|reservation| reservation.counts.clone()) {
            let register = &self.register;
            self.reservations.keep_chosen(name, |address| register.pool_of(address) == Some(&counts.pool));
            self.choose_counts(name);
        }
        self.ask_refused(now, &mut changed);
        changed
    }

    /// Addresses that are never given out by themselves, all of them.
    pub fn set_blocked(&mut self, now: Instant, blocked: BTreeMap<IpAddr, Blocked>) -> Changed {
        let mut changed = Vec::new();
        for address in self.register.block(blocked) {
            for key in self.register.holders(address).cloned().collect::<Vec<_>>() {
                self.decide(now, &key, &mut changed);
            }
            if !self.register.blocked().contains_key(&address) {
                self.serve_address(now, address, &mut changed);
            }
            if let Some(pool) = self.register.pool_of(address).cloned() {
                self.register.touch(&pool);
            }
        }
        changed
    }

    /// How Services are moved from now on. Moves that have begun end as they were to.
    pub fn set_moves(&mut self, now: Instant, moves: Moves) -> Changed {
        let mut changed = Vec::new();
        self.movement.moves = moves;
        self.start_moves(now, &mut changed);
        changed
    }

    pub(super) fn lay_out(&mut self) -> Vec<ByFamily<Ranges>> {
        vec![self.register.lay_out(self.reservations.claims())]
    }

    /// Has a reservation choose what it lacks of its counts, as far as its pool has something left.
    fn choose_counts(&mut self, name: &ReservationName) -> Vec<ByFamily<Ranges>> {
        let Some(reservation) = self.reservations.get(name) else { return Vec::new() };
        let Some(pool) = reservation.counts.as_ref().map(|counts| counts.pool.clone()) else {
            return Vec::new();
        };
        let shelf = Shelf { pool, reservation: None };
        let mut chosen = Vec::new();
        for family in Family::ALL {
            let missing = usize::try_from(reservation.missing(family)).unwrap_or(usize::MAX);
            let some =
                self.register.space(&shelf, family).map(|space| space.some(missing)).unwrap_or_default();
            chosen.extend(some.into_iter().map(|number| address(family, number)));
        }
        if chosen.is_empty() || self.reservations.is_over(name) {
            return Vec::new();
        }
        for address in chosen {
            self.reservations.choose(name, address);
        }
        self.lay_out()
    }

    /// Has reservations choose of a pool that has something left again.
    pub(super) fn choose_missing(&mut self, now: Instant, pool: &PoolName, changed: &mut Changed) {
        for name in self.reservations.short_of(pool) {
            if !self.choose_counts(&name).is_empty() {
                self.ask_refused(now, changed);
            }
        }
    }

    /// Asks everybody again who was refused, the longest waiting first.
    pub(super) fn ask_refused(&mut self, now: Instant, changed: &mut Changed) {
        for key in self.refused.values().cloned().collect::<Vec<_>>() {
            self.decide(now, &key, changed);
        }
    }
}
