use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use crate::addresses::Addresses;
use crate::choose::{choose, located, wants};
use crate::space::{Stock, Usage};
use crate::waiters::{Place, Waiters, Wanted};
use crate::{Decision, Families, Family, Grant, Pool, Refusal, Request};

/// The record of who holds which address, and of who waits for what.
///
/// Everything that changes it tells whose [`Decision`] changed, each Service in the order in which it was
/// served; a Service may stand there twice.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    addresses: Addresses,
    entries: BTreeMap<ServiceKey, Entry>,
    waiters: Waiters,
    places: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    place: Place,
    request: Option<Request>,
    decision: Decision,
    wants: Vec<Wanted>,
}

/// Services whose decision changed, in the order in which they were served.
pub type Changed = Vec<ServiceKey>;

impl Ledger {
    /// What was decided for a Service; nothing if it never asked.
    pub fn decision(&self, key: &ServiceKey) -> Option<&Decision> {
        self.entries.get(key).map(|entry| &entry.decision)
    }

    /// Who holds an address.
    pub fn holder(&self, address: IpAddr) -> Option<&ServiceKey> {
        self.addresses.holder(address)
    }

    /// How much of a family a pool has; nothing if there is no such pool.
    pub fn usage(&self, pool: &PoolName, family: Family) -> Option<Usage> {
        self.addresses.stock(pool).map(|stock| stock.usage(family))
    }

    /// The pools whose usage may have changed since this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<PoolName> {
        self.addresses.take_touched()
    }

    /// Takes over what a Service's status says that it holds; `recorded` is the pool that the status names.
    ///
    /// Who is adopted first keeps an address, so the caller brings the older one first. An address without a
    /// record is adopted only if some pool has it. The refusals tell what was not adopted; the Service gets
    /// something else when it asks.
    pub fn adopt(
        &mut self,
        key: &ServiceKey,
        addresses: &[IpAddr],
        recorded: Option<&PoolName>,
    ) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        let mut adopted = Vec::new();
        for address in addresses.iter().copied() {
            match self.addresses.holder(address) {
                Some(by) if by == key => {}
                Some(by) => refusals.push(Refusal::AddressInUse { address, by: by.clone() }),
                None if recorded.is_none() && self.addresses.pools_of(address).next().is_none() => {
                    refusals.push(Refusal::AddressNotInPool { address, pools: Vec::new() });
                }
                None => {
                    self.addresses.hold(address, key.clone());
                    adopted.push(address);
                }
            }
        }
        let pool = recorded.or_else(|| self.addresses.homes(&adopted).next());
        let pool = pool.or_else(|| self.addresses.homes(adopted.get(..1)?).next()).cloned();
        match (&mut self.entry(key).decision.grant, pool) {
            (Some(grant), _) => grant.addresses.extend(adopted),
            (grant, Some(pool)) if !adopted.is_empty() => *grant = Some(Grant { addresses: adopted, pool }),
            (None, _) => {}
        }
        refusals
    }

    /// Decides what a Service gets. What it holds stays as it is where the request allows that, and until
    /// there is something to replace it.
    pub fn allocate(&mut self, now: Instant, key: &ServiceKey, request: Request) -> Changed {
        let mut changed = Vec::new();
        let entry = self.entry(key);
        if entry.request.as_ref() != Some(&request) {
            entry.request = Some(request);
            let freed = self.decide(now, key, &mut changed);
            self.serve(now, freed, &mut changed);
        }
        changed
    }

    /// Turns down a Service whose request could not be understood. It keeps what it has and waits for nothing.
    pub fn refuse(&mut self, key: &ServiceKey, refusal: Refusal) -> Changed {
        self.entry(key).request = None;
        let grant = self.decision(key).and_then(|decision| decision.grant.clone());
        let mut changed = Vec::new();
        self.conclude(key, Decision { grant, refusal: Some(refusal) }, &mut changed);
        changed
    }

    /// Forgets a Service and frees what it holds.
    pub fn release(&mut self, now: Instant, key: &ServiceKey) -> Changed {
        let Some(entry) = self.entries.remove(key) else { return Vec::new() };
        for wanted in &entry.wants {
            self.waiters.remove(wanted, entry.place);
        }
        let freed = entry.decision.grant.map(|grant| grant.addresses).unwrap_or_default();
        for address in &freed {
            self.addresses.free(now, *address);
        }
        let mut changed = Vec::new();
        self.serve(now, freed, &mut changed);
        changed
    }

    /// A pool as it is now; `None` when it is gone. Addresses that are held stay held; those that wait for the
    /// pool, or for an address of it, are decided again.
    pub fn set_pool(&mut self, now: Instant, name: &PoolName, pool: Option<Pool>) -> Changed {
        if self.addresses.stock(name).map(|stock| &stock.pool) == pool.as_ref() {
            return Vec::new();
        }
        let old = self.addresses.set_pool(name.clone(), pool.clone());
        let both: Vec<Pool> = old.into_iter().chain(pool).collect();
        let mut changed = Vec::new();
        for key in self.interested(name, &both) {
            let freed = self.decide(now, &key, &mut changed);
            self.serve(now, freed, &mut changed);
        }
        changed
    }

    /// Lets addresses that have rested long enough be given out like any other.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.addresses.wake(now);
    }

    /// When to call [`Ledger::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.addresses.next_wake()
    }

    fn entry(&mut self, key: &ServiceKey) -> &mut Entry {
        let places = &mut self.places;
        self.entries.entry(key.clone()).or_insert_with(|| {
            *places += 1;
            Entry { place: Place(*places), request: None, decision: Decision::default(), wants: Vec::new() }
        })
    }

    /// Decides a Service's request with what there is; gives back the addresses that this freed.
    fn decide(&mut self, now: Instant, key: &ServiceKey, changed: &mut Changed) -> Vec<IpAddr> {
        let Some(Entry { request: Some(request), decision, .. }) = self.entries.get(key) else {
            return Vec::new();
        };
        let old = decision.grant.clone().map(|grant| located(&self.addresses, request, grant));
        let (grant, refusal) = match choose(&self.addresses, key, request, old.as_ref()) {
            Ok(grant) => (Some(grant), None),
            Err(refusal) => (old.clone(), Some(refusal)),
        };
        let before: BTreeSet<IpAddr> = old.into_iter().flat_map(|grant| grant.addresses).collect();
        let after: BTreeSet<IpAddr> =
            grant.iter().flat_map(|grant| grant.addresses.iter().copied()).collect();
        for address in after.difference(&before) {
            self.addresses.hold(*address, key.clone());
        }
        let freed: Vec<IpAddr> = before.difference(&after).copied().collect();
        for address in &freed {
            self.addresses.free(now, *address);
        }
        self.conclude(key, Decision { grant, refusal }, changed);
        freed
    }

    /// Writes a decision down, and queues the Service for what it now waits for.
    fn conclude(&mut self, key: &ServiceKey, decision: Decision, changed: &mut Changed) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        for wanted in std::mem::take(&mut entry.wants) {
            self.waiters.remove(&wanted, entry.place);
        }
        if let Some(request) = &entry.request {
            entry.wants = wants(request, decision.grant.as_ref(), decision.refusal.as_ref());
        }
        for wanted in &entry.wants {
            self.waiters.add(wanted.clone(), entry.place, key.clone());
        }
        if entry.decision != decision {
            entry.decision = decision;
            changed.push(key.clone());
        }
    }

    /// Gives freed addresses to those that wait and can use them, first come first served.
    fn serve(&mut self, now: Instant, freed: Vec<IpAddr>, changed: &mut Changed) {
        let mut freed = VecDeque::from(freed);
        while let Some(address) = freed.pop_front() {
            let mut passed = BTreeSet::new();
            while let Some((place, key)) = self.next_waiter(address, &passed) {
                // One that still cannot have all that it named stays in its place; nobody is asked twice.
                passed.insert(place);
                freed.extend(self.decide(now, &key, changed));
            }
            // Those that named it are told who has it now.
            for (_, key) in self.waiters.all(&Wanted::Address(address)).collect::<Vec<_>>() {
                freed.extend(self.decide(now, &key, changed));
            }
        }
    }

    /// The longest waiting Service that this free address helps; one that lacks only a second address comes
    /// after those that lack everything.
    fn next_waiter(&self, address: IpAddr, passed: &BTreeSet<Place>) -> Option<(Place, ServiceKey)> {
        if self.addresses.holder(address).is_some() {
            return None;
        }
        let family = Family::of(address);
        let queues = self.addresses.pools_of(address).flat_map(|(name, stock)| served(name, stock));
        let queues = queues.chain([Wanted::Address(address)]);
        let first = queues.filter_map(|wanted| self.waiters.first(&wanted, passed)).min();
        let mut pools = self.addresses.pools_of(address);
        first.or_else(|| {
            pools.find_map(|(name, _)| self.waiters.first(&Wanted::Beside(name.clone(), family), passed))
        })
    }

    /// Those whose decision may hang on a pool that was as one of these versions and is as the other: first
    /// those that wait, then those that have something.
    fn interested(&self, name: &PoolName, versions: &[Pool]) -> Vec<ServiceKey> {
        let prefixes = versions.iter().flat_map(|pool| &pool.prefixes);
        let addressed = prefixes.flat_map(|prefix| self.waiters.within(prefix.network(), prefix.broadcast()));
        let queues = Families::ALL.into_iter().map(Wanted::Automatic);
        let queues =
            queues.chain(Families::ALL.into_iter().map(|families| Wanted::From(name.clone(), families)));
        let queues = queues.chain([Wanted::Change(name.clone())]);
        let queued = queues.flat_map(|wanted| self.waiters.all(&wanted).collect::<Vec<_>>());
        let waiting: BTreeMap<Place, ServiceKey> = addressed.chain(queued).collect();
        let beside = [Family::V4, Family::V6].map(|family| Wanted::Beside(name.clone(), family));
        let beside = beside.iter().flat_map(|wanted| self.waiters.all(wanted));
        let held = versions.iter().flat_map(|pool| self.addresses.holders_within(&pool.prefixes));
        let held = held.filter_map(|key| Some((self.entries.get(&key)?.place, key)));
        let having: BTreeMap<Place, ServiceKey> = beside.chain(held).collect();
        waiting.into_values().chain(having.into_values()).collect()
    }
}

/// The queues of those that a pool can serve.
fn served(name: &PoolName, stock: &Stock) -> impl Iterator<Item = Wanted> {
    Families::ALL.into_iter().filter(|families| stock.can_serve(*families)).flat_map(|families| {
        let automatic = stock.is_automatic().then_some(Wanted::Automatic(families));
        automatic.into_iter().chain([Wanted::From(name.clone(), families)])
    })
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
