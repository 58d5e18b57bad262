//! What the laws remember of a history beside what the API server has.

use std::time::Duration;

use super::domain::all;
use super::*;
use crate::OnRemove;
use crate::sharers::Terms;

impl Cluster {
    pub(super) fn decision(&self, key: &ServiceKey) -> Option<&Decision> {
        self.ledger.decision(key)
    }

    /// All that a Service holds, and what its status may still show.
    pub(super) fn held(&self, key: &ServiceKey) -> BTreeSet<IpAddr> {
        self.ledger.entries.get(key).into_iter().flat_map(Entry::held).collect()
    }

    fn labels(&self, key: &ServiceKey) -> Option<&Labels> {
        Some(&self.ledger.entries.get(key)?.request.as_ref()?.labels)
    }

    fn admits(&self, pool: &Pool, key: &ServiceKey, labels: &Labels) -> bool {
        let request = Request { labels: labels.clone(), ..Request::of(crate::Families::One(Family::V4)) };
        self.belongs(&pool.audience, key, &request)
    }

    /// Which of these addresses their pool takes away from a Service, and what is to become of them.
    pub(super) fn away(&self, key: &ServiceKey, grant: &crate::Grant) -> (BTreeSet<IpAddr>, OnRemove) {
        let pool = self.pools.get(&grant.pool);
        let drained = pool.is_some_and(|pool| pool.state == crate::State::Drained);
        let misfit = self.judged.get(key) == Some(&grant.pool);
        let gone = |address: &IpAddr| drained || misfit || self.home(*address) != Some(&grant.pool);
        let last = self.gone.get(&grant.pool).copied().unwrap_or_default();
        let fate = if drained { OnRemove::Move } else { pool.map_or(last, |pool| pool.on_remove) };
        (grant.addresses.iter().copied().filter(gone).collect(), fate)
    }

    pub(super) fn remember(&mut self, before: &Self, step: &Step) {
        self.remember_pools(before, step);
        self.remember_fits(before, step);
        self.remember_faults(before, step);
        self.remember_rests(before, step);
    }

    fn remember_pools(&mut self, before: &Self, step: &Step) {
        if let Step::SetPool(name, pool) = step {
            if pool.is_some() {
                self.gone.remove(name);
            }
            let last = before.pools.get(name).filter(|_| pool.is_none());
            self.gone.extend(last.map(|last| (name.clone(), last.on_remove)));
        }
        if matches!(step, Step::Restart) {
            self.gone.clear();
        }
    }

    fn remember_fits(&mut self, before: &Self, step: &Step) {
        let mut misfits = std::mem::take(&mut self.misfits);
        self.judged.clear();
        if matches!(step, Step::Restart) {
            return;
        }
        for key in self.services.keys() {
            let grant = before.decision(key).and_then(|decision| decision.grant.as_ref());
            let (Some(grant), Some(old), Some(new)) = (grant, before.labels(key), self.labels(key)) else {
                continue;
            };
            let fits = self.pools.get(&grant.pool).is_none_or(|pool| self.admits(pool, key, new));
            let fitted = self.pools.get(&grant.pool).is_none_or(|pool| before.admits(pool, key, old));
            let vanished = matches!(step, Step::SetNamespace(_, None));
            let own = matches!(step, Step::Allocate(..) | Step::SetNamespace(..));
            if fits {
                misfits.remove(key);
            } else if own && fitted && !vanished {
                misfits.insert(key.clone(), grant.pool.clone());
            }
        }
        self.judged.clone_from(&misfits);
        misfits.retain(|key, pool| {
            let grant = self.decision(key).and_then(|decision| decision.grant.as_ref());
            grant.is_some_and(|grant| grant.pool == *pool)
        });
        self.misfits = misfits;
    }

    fn remember_faults(&mut self, before: &Self, step: &Step) {
        if let Some((key, sharing)) = step.terms() {
            let terms = before.ledger.sharers.terms(key);
            if terms != sharing.map_or(Terms::Alone, Terms::Known) {
                self.at_fault.extend(before.held(key).into_iter().map(|address| (key.clone(), address)));
            }
        }
        let mut at_fault = std::mem::take(&mut self.at_fault);
        if matches!(step, Step::Restart) {
            let garbled = self.services.iter().filter(|(_, service)| service.asks.is_err());
            let held = garbled.flat_map(|(key, _)| self.held(key).into_iter().map(|one| (key.clone(), one)));
            at_fault.extend(held);
        }
        at_fault.retain(|(key, address)| {
            let had = before.decision(key).is_some_and(|decision| decision.holds(*address));
            let has = self.decision(key).is_some_and(|decision| decision.holds(*address));
            let comes = has && !had && !matches!(step, Step::Restart);
            // Where all agree again, the next one to change is at fault.
            let mut others = self.ledger.holders(*address).filter(|other| *other != key);
            let clashes = others.any(|other| !agree(&self.ledger, key, other));
            self.held(key).contains(address) && !comes && clashes
        });
        self.at_fault = at_fault;
    }

    fn remember_rests(&mut self, before: &Self, step: &Step) {
        let mut rests = std::mem::take(&mut self.rests);
        let restart = matches!(step, Step::Restart);
        for address in all() {
            let held = self.ledger.register.is_held(address);
            if held || (restart && self.home(address).is_none()) {
                rests.remove(&address);
            } else if before.ledger.register.is_held(address) && !restart {
                let pool = self.home(address).map(|name| &self.pools[name]);
                let rest = pool.map_or(Duration::from_secs(600), |pool| pool.reuse_after);
                rests.insert(address, self.now + rest);
            }
        }
        rests.retain(|_, until| *until > self.now);
        self.rests = rests;
    }
}
