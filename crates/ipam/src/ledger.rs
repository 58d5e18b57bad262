use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, PoolName, QuotaName, ReservationName, ServiceKey};

use self::movement::Movement;
use self::under::Under;
use crate::entry::Entry;
use crate::quotas::Quotas;
use crate::register::{Register, Rest};
use crate::reservations::Reservations;
use crate::view::{Sharers, View};
use crate::waiters::{Place, Waiters};
use crate::{Decision, Family, OnRemove, QuotaUse, Refusal, Request, Usage};

mod adopt;
mod configure;
mod decide;
mod movement;
mod serve;
mod standing;
mod under;

pub use self::adopt::Adopted;
pub use self::standing::{Preview, Standing};

/// The record of who holds which address, and of who waits for what.
///
/// Everything that changes it tells whose [`Decision`] changed, each Service in the order in which it was
/// served; a Service may stand there twice.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    register: Register,
    quotas: Quotas,
    reservations: Reservations,
    sharers: Sharers,
    namespaces: BTreeMap<String, Labels>,
    /// The pools in the order in which they are tried.
    order: Vec<PoolName>,
    /// What becomes of what is held from pools that are gone.
    gone: BTreeMap<PoolName, OnRemove>,
    entries: BTreeMap<ServiceKey, Entry>,
    under: Under,
    movement: Movement,
    waiters: Waiters,
    /// Everybody who does not have what it asks for, as far as something could help.
    refused: BTreeMap<Place, ServiceKey>,
    places: u64,
}

/// Services whose decision changed, in the order in which they were served.
pub type Changed = Vec<ServiceKey>;

/// What may look different from outside since this was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Pools whose [`Usage`], [`Standing`] or quarantine may have changed.
    pub pools: BTreeSet<PoolName>,
    /// Quotas whose use may have changed.
    pub quotas: BTreeSet<QuotaName>,
    /// Reservations whose state may have changed.
    pub reservations: BTreeSet<ReservationName>,
}

impl Ledger {
    /// What was decided for a Service; nothing if it never asked.
    pub fn decision(&self, key: &ServiceKey) -> Option<&Decision> {
        self.entries.get(key).map(|entry| &entry.decision)
    }

    /// Who holds an address: one, several that share it, and those whose status may still show it.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.register.holders(address)
    }

    /// How much of a family a pool has; nothing if there is no such pool.
    pub fn usage(&self, pool: &PoolName, family: Family) -> Option<Usage> {
        self.register.pools().contains_key(pool).then(|| self.register.usage(pool, family))
    }

    /// Those of a pool's addresses that rest: at most 1024, those that rest longest, by address.
    pub fn quarantined(&self, pool: &PoolName) -> Vec<Rest> {
        let mut rests = self.register.resting_in(pool);
        rests.sort_by_key(|rest| (std::cmp::Reverse(rest.until), rest.address));
        rests.truncate(1024);
        rests.sort_by_key(|rest| rest.address);
        rests
    }

    /// What counts towards a quota, by those who share its limit: at most 256, the fullest first.
    pub fn quota_use(&self, name: &QuotaName) -> Vec<QuotaUse> {
        self.quotas.uses(name)
    }

    /// What may have changed since this was last asked.
    pub fn take_touched(&mut self) -> Touched {
        Touched {
            pools: self.register.take_touched(),
            quotas: self.quotas.take_touched(),
            reservations: self.reservations.take_touched(),
        }
    }

    /// Decides what a Service gets. What it holds stays as it is where the request allows that, and until
    /// there is something to replace it.
    pub fn allocate(&mut self, now: Instant, key: &ServiceKey, request: Request) -> Changed {
        let mut changed = Vec::new();
        let entry = self.entry(key);
        if entry.request.as_ref() == Some(&request) {
            return changed;
        }
        let before = entry.request.replace(request.clone());
        let sharing = (self.sharers.get(key) != request.sharing.as_ref()).then(|| request.sharing.clone());
        if let Some(sharing) = sharing.clone() {
            self.sharers.set(key, sharing);
        }
        if before.is_some_and(|before| before.labels != request.labels) {
            self.judge_fit(key);
        }
        self.decide(now, key, &mut changed);
        if sharing.is_some() {
            self.serve_sharers(now, key, &mut changed);
        }
        changed
    }

    /// Turns down a Service whose request could not be understood. It keeps what it has and waits for nothing.
    pub fn refuse(&mut self, now: Instant, key: &ServiceKey, refusal: Refusal) -> Changed {
        let entry = self.entry(key);
        entry.request = None;
        let decision = Decision { refusal: Some(refusal), ..entry.decision.clone() };
        let mut changed = Vec::new();
        self.carry_out(key, decision, &mut changed);
        self.start_moves(now, &mut changed);
        changed
    }

    /// Frees what a Service gave up, now that its status shows what was decided for it.
    pub fn settle(&mut self, now: Instant, key: &ServiceKey) -> Changed {
        let mut changed = Vec::new();
        let Some(entry) = self.entries.get_mut(key) else { return changed };
        let parting = std::mem::take(&mut entry.parting);
        if !parting.is_empty() {
            let freed = self.free(now, key, parting);
            self.serve(now, freed, &mut changed);
        }
        changed
    }

    /// Forgets a Service and frees what it holds.
    pub fn release(&mut self, now: Instant, key: &ServiceKey) -> Changed {
        let mut changed = Vec::new();
        let Some(entry) = self.entries.get_mut(key) else { return changed };
        let held = entry.held();
        let (place, pool) = (entry.place, entry.decision.grant.take().map(|grant| grant.pool));
        for wanted in std::mem::take(&mut entry.wants) {
            self.waiters.remove(&wanted, place);
        }
        self.refused.remove(&place);
        self.under.leave(key, pool.as_ref());
        self.movement.forget(key, place);
        let freed = self.free(now, key, held);
        self.entries.remove(key);
        self.sharers.set(key, None);
        self.serve(now, freed, &mut changed);
        self.start_moves(now, &mut changed);
        changed
    }

    /// Does what is due: rests, reservations and moves end, and the next ones that are to be moved are.
    pub fn handle_timeout(&mut self, now: Instant) -> Changed {
        let mut changed = Vec::new();
        self.register.wake(now);
        if self.reservations.expire(now) {
            self.lay_out();
            self.ask_refused(now, &mut changed);
        }
        while let Some(key) = self.movement.next_due(now) {
            self.decide(now, &key, &mut changed);
        }
        self.start_moves(now, &mut changed);
        changed
    }

    /// When to call [`Ledger::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ends = [self.register.next_wake(), self.reservations.next_end(), self.movement.next_end()];
        ends.into_iter().flatten().min()
    }

    fn entry(&mut self, key: &ServiceKey) -> &mut Entry {
        if !self.quotas.knows(&key.namespace) {
            self.quotas.assign(&key.namespace, self.namespaces.get(&key.namespace));
        }
        let places = &mut self.places;
        self.entries.entry(key.clone()).or_insert_with(|| {
            *places += 1;
            Entry::new(Place(*places))
        })
    }

    fn view<'a>(
        &'a self,
        key: &'a ServiceKey,
        request: &'a Request,
        held: &'a [(IpAddr, PoolName)],
    ) -> View<'a> {
        View {
            register: &self.register,
            quotas: &self.quotas,
            reservations: &self.reservations,
            sharers: &self.sharers,
            order: &self.order,
            namespace: self.namespaces.get(&key.namespace),
            key,
            request,
            held,
            entries: &self.entries,
        }
    }

    /// Everything that a Service holds, with the pool of each.
    fn held(&self, key: &ServiceKey) -> Vec<(IpAddr, PoolName)> {
        let held = self.entries.get(key).map(Entry::held).unwrap_or_default();
        held.into_iter()
            .filter_map(|address| Some((address, self.register.held_from(address, key)?.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests;
