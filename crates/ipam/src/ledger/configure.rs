use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, PoolName, QuotaName, ReservationName, ServiceKey};

use super::{Changed, Ledger, Phase};
use crate::entry::Entry;
use crate::layout::{ByFamily, Ranges, Shelf};
use crate::pool::address;
use crate::register::Register;
use crate::reservations::Reservations;
use crate::space::Space;
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
        let moved = self.lay_out();
        self.regard_findings();
        self.reservations.touch_all();
        for key in self.concerned(name, &moved).into_values() {
            self.forgive(&key);
            self.decide(now, &key, &mut changed);
        }
        self.agenda.ask_everyone();
        self.run(now, &mut changed);
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
    fn concerned(&self, name: &PoolName, moved: &ByFamily<Ranges>) -> BTreeMap<Place, ServiceKey> {
        let mut keys: BTreeSet<ServiceKey> = self.under.services(name).cloned().collect();
        for family in Family::ALL {
            keys.extend(self.register.holders_within(family, moved.of(family)));
        }
        // Those whose own pool is gone may find a new one in this.
        let homeless = self.under.pools().filter(|pool| !self.register.pools().contains_key(pool));
        let homeless = homeless.flat_map(|pool| self.under.services(pool));
        keys.extend(homeless.filter(|key| self.holds_of(key, name)).cloned());
        keys.into_iter().filter_map(|key| Some((self.entries.get(&key)?.place, key))).collect()
    }

    fn holds_of(&self, key: &ServiceKey, pool: &PoolName) -> bool {
        let mut held = self.entries.get(key).into_iter().flat_map(Entry::held);
        held.any(|address| self.register.pool_of(address) == Some(pool))
    }

    /// The labels of a namespace as they are now; `None` when it is gone.
    pub fn set_namespace(&mut self, now: Instant, namespace: &str, labels: Option<Labels>) -> Changed {
        let mut changed = Vec::new();
        if self.namespaces.get(namespace) == labels.as_ref() {
            return changed;
        }
        let before = match labels {
            Some(labels) => self.namespaces.insert(namespace.to_owned(), labels),
            None => self.namespaces.remove(namespace),
        };
        let keys: Vec<_> = self.entries.of_namespace(namespace).cloned().collect();
        self.count_anew(namespace, &keys);
        for key in &keys {
            if let Some(labels) = self.entries.get(key).and_then(|entry| entry.request.as_ref()) {
                let labels = labels.labels.clone();
                self.judge_fit(key, &labels, before.as_ref());
            }
            self.decide(now, key, &mut changed);
        }
        self.run(now, &mut changed);
        changed
    }

    fn held_by(&self, keys: &[ServiceKey]) -> Vec<(IpAddr, PoolName)> {
        let held = |key| {
            let held = self.entries.get(key).into_iter().flat_map(Entry::held);
            held.filter_map(move |address| Some((address, self.register.held_from(address, key)?.clone())))
        };
        keys.iter().flat_map(held).collect()
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
        if before != after {
            // To join what counts already costs nothing.
            keys.iter().for_each(|key| self.wake_group(key));
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
            let keys: Vec<_> = self.entries.of_namespace(&namespace).cloned().collect();
            for (address, pool) in self.held_by(&keys) {
                self.quotas.add_to(name, &namespace, &pool, address);
            }
        }
        self.agenda.ask_everyone();
        self.run(now, &mut changed);
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
        self.agenda.ask_everyone();
        self.run(now, &mut changed);
        changed
    }

    /// Addresses that are never given out by themselves, all of them.
    pub fn set_blocked(&mut self, now: Instant, blocked: BTreeMap<IpAddr, Blocked>) -> Changed {
        let mut changed = Vec::new();
        let changes = self.register.block(blocked);
        let freed: Vec<_> =
            changes.iter().copied().filter(|one| !self.register.blocked().contains_key(one)).collect();
        if freed.iter().any(|address| self.is_lacked(*address)) {
            self.lay_out();
        }
        for address in changes {
            for key in self.register.holders(address).cloned().collect::<Vec<_>>() {
                self.decide(now, &key, &mut changed);
            }
            if let Some(pool) = self.register.pool_of(address).cloned() {
                self.register.touch(&pool);
            }
        }
        // One that is blocked now helps nobody.
        freed.into_iter().for_each(|address| self.wake(address));
        self.run(now, &mut changed);
        changed
    }

    /// How Services are moved from now on. Moves that have begun end as they were to.
    pub fn set_moves(&mut self, now: Instant, moves: Moves) -> Changed {
        let mut changed = Vec::new();
        self.movement.moves = moves;
        self.run(now, &mut changed);
        changed
    }

    /// Lays every address on its shelf anew, and has reservations choose what they lack; gives back those that
    /// changed shelves.
    pub(super) fn lay_out(&mut self) -> ByFamily<Ranges> {
        let mut moved = self.register.lay_out(self.reservations.claims());
        while self.phase == Phase::Deciding && choose_all(&self.register, &mut self.reservations) {
            let more = self.register.lay_out(self.reservations.claims());
            moved.v4 = &moved.v4 | &more.v4;
            moved.v6 = &moved.v6 | &more.v6;
        }
        moved
    }

    /// Whether some reservation lacks this address, which could be chosen for it.
    pub(super) fn is_lacked(&self, address: IpAddr) -> bool {
        let shelf = self.register.shelf(address).filter(|shelf| shelf.reservation.is_none());
        let is_left = !self.register.is_held(address)
            && !self.register.blocked().contains_key(&address)
            && self.register.taken(address).is_none();
        let lacks = |shelf: &Shelf| self.reservations.lacks_of(&shelf.pool, Family::of(address));
        is_left && shelf.is_some_and(lacks)
    }
}

/// What is left to choose of each pool, the best first.
type Left<'a> = BTreeMap<(PoolName, Family), Box<dyn Iterator<Item = u128> + 'a>>;

/// Has every reservation choose, each of what those before it left; says whether there was anything of that.
fn choose_all(register: &Register, reservations: &mut Reservations) -> bool {
    let (mut left, mut any) = (Left::new(), false);
    for name in reservations.choosing() {
        any |= choose_anew(register, reservations, &mut left, &name);
    }
    any
}

/// Has a reservation give up what it chose and cannot have, and choose what it lacks, as far as its pool has
/// something left; says whether there was anything of that.
fn choose_anew<'a>(
    register: &'a Register,
    reservations: &mut Reservations,
    left: &mut Left<'a>,
    name: &ReservationName,
) -> bool {
    let pool = reservations.get(name).and_then(|one| Some(one.counts.as_ref()?.pool.clone()));
    let keeps = |address| match (&pool, register.pool_of(address)) {
        (Some(pool), Some(home)) => home == pool,
        (Some(pool), None) => !register.pools().contains_key(pool),
        (None, _) => false,
    };
    let trimmed = reservations.trim(name, keeps, |address| register.is_held(address));
    let (Some(pool), Some(one)) = (pool, reservations.get(name)) else { return trimmed };
    let mut chosen = Vec::new();
    for family in Family::ALL {
        let missing = usize::try_from(one.missing(family)).unwrap_or(usize::MAX);
        let all = left.entry((pool.clone(), family)).or_insert_with(|| {
            let space = register.space(&Shelf { pool: pool.clone(), reservation: None }, family);
            Box::new(space.into_iter().flat_map(Space::left))
        });
        chosen.extend(all.take(missing).map(|number| address(family, number)));
    }
    for address in &chosen {
        reservations.choose(name, *address);
    }
    trimmed || !chosen.is_empty()
}
