use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use names::{PoolName, ServiceKey};

use super::{Changed, Ledger};
use crate::layout::Shelf;
use crate::pool::address;
use crate::probing::Probes;
use crate::space::Space;
use crate::view::View;
use crate::{Family, Grant, Refusal};

/// So many addresses of each family are probed ahead, and one more for each Service that waits for one.
const AHEAD: usize = 16;
/// But not more than these.
const MOST_AHEAD: usize = 256;
/// Of those that answer to somebody else, so many go on being probed.
const MOST_TAKEN: usize = 256;
/// The most candidates of a pool.
const MOST: usize = 1024;

/// Who waits until an address was probed.
#[derive(Debug, Clone, Default)]
pub(super) struct Probing {
    probes: Probes,
    waiting: BTreeMap<ServiceKey, Waiting>,
    due: BTreeSet<(Instant, ServiceKey)>,
    /// Pools of which nothing was heard in time: who leaves the choice to them waits no more until something is.
    silent: BTreeSet<PoolName>,
}

#[derive(Debug, Clone)]
struct Waiting {
    since: Instant,
    until: Instant,
    pool: PoolName,
    /// What it would get that nothing is known of.
    addresses: Vec<IpAddr>,
    choice: Choice,
}

/// Who chose the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The Service names them.
    Named,
    /// The pool did.
    Pools,
}

impl Probing {
    fn since(&self, key: &ServiceKey) -> Option<Instant> {
        self.waiting.get(key).map(|waiting| waiting.since)
    }

    fn wait(&mut self, key: &ServiceKey, waiting: Waiting) {
        self.forget(key);
        self.due.insert((waiting.until, key.clone()));
        self.waiting.insert(key.clone(), waiting);
    }

    /// Nobody is waited for any more on behalf of a Service.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.due.remove(&(waiting.until, key.clone()));
        }
    }

    /// The next Service that has waited long enough. The pool that chose for it is silent.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<ServiceKey> {
        let (_, key) = self.due.first().filter(|(until, _)| *until <= now).cloned()?;
        self.due.pop_first();
        if let Some(waiting) = self.waiting.get(&key).filter(|waiting| waiting.choice == Choice::Pools) {
            self.silent.insert(waiting.pool.clone());
        }
        Some(key)
    }

    pub(super) fn next_end(&self) -> Option<Instant> {
        self.due.first().map(|(until, _)| *until)
    }

    fn waiting_for<'a>(&'a self, pool: &'a PoolName) -> impl Iterator<Item = &'a Waiting> {
        self.waiting.values().filter(move |waiting| waiting.pool == *pool)
    }
}

impl Ledger {
    /// What is known of probing, all of it. An address that somebody else answers for is not given out; one that
    /// nobody answers for is given out before others.
    pub fn set_probes(&mut self, now: Instant, probes: Probes) -> Changed {
        let mut changed = Vec::new();
        if self.probing.probes == probes {
            return changed;
        }
        self.probing.probes = probes;
        self.regard_findings();
        self.run(now, &mut changed);
        changed
    }

    /// Has the register go by those findings that count.
    pub(super) fn regard_findings(&mut self) {
        let Probes { findings, .. } = &self.probing.probes;
        let counts = |address: IpAddr| {
            self.register.pool_of(address).is_some_and(|pool| self.patience(pool).is_some())
        };
        let findings = findings.iter().filter(|(address, _)| counts(**address));
        let findings = findings.map(|(address, finding)| (*address, finding.clone())).collect();
        let changed = self.register.find(findings);
        if changed.iter().any(|address| self.is_lacked(*address)) {
            self.lay_out();
        }
        for address in changed {
            if self.register.finding(address).is_some()
                && let Some(pool) = self.register.pool_of(address)
            {
                self.probing.silent.remove(pool);
            }
            if self.register.taken(address).is_some() {
                self.wake_named(address);
            } else {
                self.wake(address);
            }
        }
    }

    /// How long addresses of a pool are waited for, if they are probed at all.
    fn patience(&self, pool: &PoolName) -> Option<Duration> {
        let is_announced = self.probing.probes.pools.contains(pool);
        self.register.pools().get(pool).filter(|_| is_announced)?.probe.patience()
    }

    /// Why a Service does not get a grant yet: some of it is new, and nobody knows whether somebody else answers for
    /// it. No longer than that takes where a speaker does it; then it gets it all the same.
    pub(super) fn unprobed(&self, now: Instant, view: &View<'_>, grant: &Grant) -> Option<Refusal> {
        let address = self.unknown_of(view, grant).next()?;
        let pool = self.register.pool_of(address)?;
        let since = self.probing.since(view.key).unwrap_or(now);
        let is_named = !view.request.addresses.is_empty();
        let is_awaited = is_named || !self.probing.silent.contains(pool);
        (is_awaited && now < since + self.patience(pool)?)
            .then(|| Refusal::AddressUnprobed { address, pool: pool.clone() })
    }

    /// What of a grant would be new and was not probed, though it can be.
    fn unknown_of<'a>(&'a self, view: &'a View<'_>, grant: &'a Grant) -> impl Iterator<Item = IpAddr> + 'a {
        let held: BTreeSet<_> = view.entry.held().collect();
        let new = grant.addresses.iter().copied().filter(move |address| !held.contains(address));
        new.filter(|address| {
            let patience = self.register.pool_of(*address).and_then(|pool| self.patience(pool));
            patience.is_some()
                && !self.register.is_held(*address)
                && self.register.finding(*address).is_none()
                && self.probing.probes.segments.iter().any(|segment| segment.contains(*address))
        })
    }

    /// Notes whether a Service waits for addresses to be probed, after it was decided.
    pub(super) fn note_probing(&mut self, now: Instant, key: &ServiceKey) {
        let Some(waiting) = self.waiting(now, key) else { return self.probing.forget(key) };
        self.probing.wait(key, waiting);
    }

    fn waiting(&self, now: Instant, key: &ServiceKey) -> Option<Waiting> {
        let entry = self.entries.get(key)?;
        let Some(Refusal::AddressUnprobed { address, pool }) = &entry.decision.refusal else { return None };
        let named = entry.asks().map(|request| &request.addresses).filter(|named| !named.is_empty());
        let (addresses, choice) = match named {
            Some(named) => (named.iter().copied().collect(), Choice::Named),
            None => (vec![*address], Choice::Pools),
        };
        let since = self.probing.since(key).unwrap_or(now);
        let until = since + self.patience(pool)?;
        Some(Waiting { since, until, pool: pool.clone(), addresses, choice })
    }

    /// Those of a pool's addresses that are to be probed: what is waited for, what it would give out next, what its last holders may ask for again, and what answered to somebody else.
    pub fn candidates(&self, pool: &PoolName) -> Vec<IpAddr> {
        let Some(known) = self.register.pools().get(pool) else { return Vec::new() };
        if self.patience(pool).is_none() || !known.is_open() {
            return Vec::new();
        }
        let segments = &self.probing.probes.segments;
        let can_be = |address: &IpAddr| segments.iter().any(|segment| segment.contains(*address));
        let of_pool = |address: &IpAddr| {
            self.register.pool_of(*address) == Some(pool) && !self.register.is_held(*address)
        };
        let (mut candidates, mut waiting) = (BTreeSet::new(), 0);
        for one in self.probing.waiting_for(pool) {
            candidates.extend(one.addresses.iter().copied().filter(of_pool));
            waiting += usize::from(one.choice == Choice::Pools);
        }
        candidates.retain(can_be);
        let named = candidates.clone();
        let ahead = (AHEAD + waiting).min(MOST_AHEAD);
        for (shelf, spaces) in self.register.shelves_of(pool) {
            for family in Family::ALL {
                let numbers = ahead_of(shelf, spaces.of(family), ahead);
                candidates.extend(numbers.map(|number| address(family, number)));
            }
        }
        let taken = self.register.all_taken().map(|(address, _)| address).filter(of_pool);
        candidates.extend(taken.take(MOST_TAKEN));
        candidates.retain(can_be);
        let rest = candidates.iter().filter(|candidate| !named.contains(candidate));
        let chosen: BTreeSet<_> = named.iter().chain(rest).take(MOST).copied().collect();
        chosen.into_iter().collect()
    }
}

/// What a shelf gives out next, and what was freed last.
fn ahead_of(shelf: &Shelf, space: &Space, ahead: usize) -> impl Iterator<Item = u128> {
    let ahead = if shelf.reservation.is_none() { ahead } else { AHEAD };
    space.left().take(ahead).chain(space.freed_last().take(AHEAD))
}
