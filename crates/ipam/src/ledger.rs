use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, PoolName, QuotaName, ReservationName, ServiceKey};

use self::agenda::Agenda;
use self::movement::Movement;
use self::probing::Probing;
use self::under::Under;
use crate::entries::Entries;
use crate::entry::{Entry, Waits};
use crate::quotas::Quotas;
use crate::register::{Register, Rest};
use crate::reservations::Reservations;
use crate::sharers::{Sharers, Terms};
use crate::view::View;
use crate::waiters::{Place, Waiters};
use crate::{Decision, Family, OnRemove, QuotaUse, Refusal, Request, Sharing, Usage};

mod adopt;
mod agenda;
mod configure;
mod decide;
mod hold;
mod movement;
mod probing;
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
    entries: Entries,
    under: Under,
    movement: Movement,
    probing: Probing,
    waiters: Waiters,
    agenda: Agenda,
    phase: Phase,
    places: u64,
}

/// Whether anything is decided yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// What was decided before is being taken over, so that nothing can be called free.
    #[default]
    Adopting,
    /// All of it is.
    Deciding,
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
        let mut pools = self.register.take_touched();
        pools.extend(self.movement.take_touched());
        Touched { pools, quotas: self.quotas.take_touched(), reservations: self.reservations.take_touched() }
    }

    /// Begins to decide, when all that was decided before is taken over: reservations choose what they lack of
    /// their counts. The first request does the same.
    pub fn start(&mut self, now: Instant) -> Changed {
        let mut changed = Vec::new();
        if self.phase == Phase::Adopting {
            self.phase = Phase::Deciding;
            self.lay_out();
            self.agenda.ask_everyone();
            self.run(now, &mut changed);
        }
        changed
    }

    /// Decides what a Service gets. What it holds stays as it is where the request allows that, and until
    /// there is something to replace it.
    pub fn allocate(&mut self, now: Instant, key: &ServiceKey, request: Request) -> Changed {
        let mut changed = self.start(now);
        if self.entry(key).asks() == Some(&request) {
            return changed;
        }
        self.probing.forget(key);
        let entry = self.entry(key);
        entry.garbled = None;
        let sharing = request.sharing.clone();
        let labels = entry.request.replace(request).map(|before| before.labels);
        if self.sharers.terms(key) != sharing.as_ref().map_or(Terms::Alone, Terms::Known) {
            self.share(key, sharing);
        }
        if let Some(labels) = labels.filter(|labels| self.labels(key) != Some(labels)) {
            let namespace = self.namespaces.get(&*key.namespace).cloned();
            self.judge_fit(key, &labels, namespace.as_ref());
        }
        self.decide(now, key, &mut changed);
        self.run(now, &mut changed);
        changed
    }

    fn labels(&self, key: &ServiceKey) -> Option<&Labels> {
        Some(&self.entries.get(key)?.request.as_ref()?.labels)
    }

    /// Has a Service share on other terms. Where it then clashes with others, it is their guest.
    fn share(&mut self, key: &ServiceKey, sharing: Option<Sharing>) {
        let Some(entry) = self.entries.get(key) else { return };
        let held: Vec<_> = entry.held().collect();
        self.sharers.set(key, sharing, entry.granted(), &held);
        for address in held {
            if self.is_guest(address, key) {
                self.sharers.welcome(address, key);
            }
            self.wake(address);
        }
    }

    /// Turns down a Service whose request could not be understood. It keeps what it has and waits for nothing.
    ///
    /// Of its terms it is `sharing` that counts from now on, where that much is known: it may not listen where
    /// others do that share its address, whatever else it says. `None` leaves its terms as they were.
    pub fn refuse(
        &mut self,
        now: Instant,
        key: &ServiceKey,
        refusal: Refusal,
        sharing: Option<Sharing>,
    ) -> Changed {
        let mut changed = self.start(now);
        self.entry(key).garbled = Some(refusal);
        if let Some(sharing) = sharing.filter(|sharing| self.sharers.terms(key) != Terms::Known(sharing)) {
            self.share(key, Some(sharing));
        }
        self.decide(now, key, &mut changed);
        self.run(now, &mut changed);
        changed
    }

    /// Frees what a Service gave up, now that its status shows what was decided for it, and decides what had to
    /// wait for that.
    pub fn settle(&mut self, now: Instant, key: &ServiceKey) -> Changed {
        let mut changed = Vec::new();
        let Some(entry) = self.entries.get_mut(key).filter(|entry| !entry.parting.is_empty()) else {
            return changed;
        };
        let (parting, request) = (std::mem::take(&mut entry.parting), entry.request.clone());
        self.free(now, key, request.as_ref(), parting);
        // Those that wait for what is free now come before what it asked for meanwhile.
        self.run(now, &mut changed);
        self.decide(now, key, &mut changed);
        self.run(now, &mut changed);
        changed
    }

    /// Forgets a Service and frees what it holds.
    pub fn release(&mut self, now: Instant, key: &ServiceKey) -> Changed {
        let mut changed = Vec::new();
        let Some(entry) = self.entries.remove(key) else { return changed };
        if let Some(Waits { lack, wants }) = &entry.waits {
            self.waiters.remove(entry.turn(*lack), wants);
        }
        if let Some(grant) = &entry.decision.grant {
            self.under.leave(entry.place, &grant.pool);
            self.register.touch(&grant.pool);
        }
        self.movement.forget(key, entry.place);
        self.probing.forget(key);
        self.sharers.regrant(key, entry.granted(), &[]);
        self.free(now, key, entry.request.as_ref(), entry.held());
        self.sharers.forget(key);
        self.quotas.leave(&key.namespace);
        self.run(now, &mut changed);
        changed
    }

    /// Does what is due: rests, reservations and moves end, and the next ones that are to be moved are.
    pub fn handle_timeout(&mut self, now: Instant) -> Changed {
        let mut changed = Vec::new();
        self.register.wake(now);
        if self.reservations.expire(now) {
            self.lay_out();
            self.reservations.touch_all();
            self.agenda.ask_everyone();
        }
        while let Some(key) = self.movement.next_due(now).or_else(|| self.probing.next_due(now)) {
            self.decide(now, &key, &mut changed);
        }
        self.run(now, &mut changed);
        changed
    }

    /// When to call [`Ledger::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let ends = [self.register.next_wake(), self.reservations.next_end(), self.movement.next_end()];
        ends.into_iter().chain([self.probing.next_end()]).flatten().min()
    }

    fn entry(&mut self, key: &ServiceKey) -> &mut Entry {
        let Self { entries, quotas, namespaces, places, .. } = self;
        entries.get_or_insert_with(key, || {
            quotas.enter(&key.namespace, namespaces.get(&*key.namespace));
            *places += 1;
            Entry::new(Place(*places))
        })
    }

    fn view<'a>(&'a self, key: &'a ServiceKey, entry: &'a Entry, request: &'a Request) -> View<'a> {
        let namespace = self.namespaces.get(&*key.namespace);
        View {
            register: &self.register,
            quotas: &self.quotas,
            reservations: self.reservations.of(key, &request.labels, namespace).collect(),
            sharers: &self.sharers,
            order: &self.order,
            namespace,
            key,
            entry,
            request,
            entries: &self.entries,
        }
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
