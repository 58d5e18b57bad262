use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use super::{Changed, Ledger};
use crate::layout::Shelf;
use crate::waiters::{Place, Wanted};
use crate::{Families, Family, Per, Refusal};

/// An address that a Service of this namespace holds no more, from this pool.
#[derive(Debug)]
pub(super) struct Freed {
    address: IpAddr,
    pool: PoolName,
    namespace: String,
}

impl Ledger {
    /// Frees what a Service holds. One that its reservation gives away is laid on another shelf.
    pub(super) fn free(&mut self, now: Instant, key: &ServiceKey, addresses: BTreeSet<IpAddr>) -> Vec<Freed> {
        let mut freed = Vec::new();
        let mut given_away = false;
        for address in addresses {
            let Some(pool) = self.register.held_from(address, key).cloned() else { continue };
            self.register.free(now, address, key);
            self.quotas.remove(&key.namespace, &pool, address);
            given_away |= !self.register.is_held(address) && self.give_back(key, address);
            freed.push(Freed { address, pool, namespace: key.namespace.clone() });
        }
        if given_away {
            self.lay_out();
        }
        freed
    }

    /// Tells an address's reservation that the Service gave it back; says whether it leaves the reservation.
    fn give_back(&mut self, key: &ServiceKey, address: IpAddr) -> bool {
        let by = self.register.shelf(address).and_then(|shelf| shelf.reservation.clone());
        let Some(by) = by else { return false };
        let request = self.entries.get(key).and_then(|entry| entry.request.as_ref());
        let is_for = request.is_some_and(|request| {
            let namespace = self.namespaces.get(&key.namespace);
            self.reservations.of(key, &request.labels, namespace).any(|name| *name == by)
        });
        self.reservations.touch(&by);
        is_for && self.reservations.give_back(&by, address)
    }

    /// Gives freed addresses to those that wait and can use them, first come first served.
    pub(super) fn serve(&mut self, now: Instant, freed: Vec<Freed>, changed: &mut Changed) {
        for freed in VecDeque::from(freed) {
            self.serve_quotas(now, &freed, changed);
            self.choose_missing(now, &freed.pool, changed);
            self.serve_address(now, freed.address, changed);
        }
    }

    /// Offers an address that is free now.
    pub(super) fn serve_address(&mut self, now: Instant, address: IpAddr, changed: &mut Changed) {
        let mut passed = BTreeSet::new();
        while let Some((place, key)) = self.next_waiter(address, &passed) {
            // One that still cannot have all that it named stays in its place; nobody is asked twice.
            passed.insert(place);
            self.decide(now, &key, changed);
        }
        // Those that named it are told who has it now.
        self.ask_all(now, &Wanted::Address(address), changed);
    }

    /// Asks those again that may share with this Service: its addresses or terms are others now.
    pub(super) fn serve_sharers(&mut self, now: Instant, key: &ServiceKey, changed: &mut Changed) {
        let held: Vec<_> =
            self.decision(key).and_then(|decision| decision.grant.clone()).into_iter().collect();
        let sharing = self.sharers.get(key).map(|sharing| Wanted::Sharer(sharing.key.clone()));
        for address in held.into_iter().flat_map(|grant| grant.addresses) {
            self.ask_all(now, &Wanted::Address(address), changed);
        }
        if let Some(wanted) = sharing {
            self.ask_all(now, &wanted, changed);
        }
    }

    fn ask_all(&mut self, now: Instant, wanted: &Wanted, changed: &mut Changed) {
        for (_, key) in self.waiters.all(wanted).collect::<Vec<_>>() {
            self.decide(now, &key, changed);
        }
    }

    /// Those whom a quota stops have room for one more.
    fn serve_quotas(&mut self, now: Instant, freed: &Freed, changed: &mut Changed) {
        let family = Family::of(freed.address);
        for name in self.quotas.of(&freed.namespace).to_vec() {
            let Some(quota) = self.quotas.get(&name) else { continue };
            let scope = (quota.per == Per::Namespace).then(|| freed.namespace.clone());
            let wanted = Wanted::Quota(name, scope, family);
            let mut passed = BTreeSet::new();
            while let Some((place, key)) = self.waiters.first(&wanted, &passed) {
                passed.insert(place);
                self.decide(now, &key, changed);
                let refusal = self.decision(&key).and_then(|decision| decision.refusal.as_ref());
                if matches!(refusal, Some(Refusal::QuotaExceeded { .. })) {
                    break;
                }
            }
        }
    }

    /// The longest waiting Service that this free address helps; one that lacks only a second address comes
    /// after those that lack everything.
    fn next_waiter(&self, address: IpAddr, passed: &BTreeSet<Place>) -> Option<(Place, ServiceKey)> {
        if self.register.is_held(address) {
            return None;
        }
        let shelf = self.register.shelf(address);
        let queues = shelf.into_iter().flat_map(|shelf| self.served(shelf)).chain([Wanted::Address(address)]);
        let first = queues.filter_map(|wanted| self.waiters.first(&wanted, passed)).min();
        first.or_else(|| self.waiters.first(&Wanted::Beside(shelf?.clone(), Family::of(address)), passed))
    }

    /// The queues of those that an address on this shelf may help.
    fn served(&self, shelf: &Shelf) -> impl Iterator<Item = Wanted> {
        let has = |family: &Family| {
            let mut shelves = self.register.shelves_of(&shelf.pool);
            shelves.any(|(_, spaces)| spaces.of(*family).fresh().or(spaces.of(*family).rested()).is_some())
        };
        let had = Family::ALL.into_iter().filter(has).collect();
        let helped = Families::ALL.into_iter().filter(move |families| families.content_with(&had));
        helped.map(|families| Wanted::Shelf(shelf.clone(), families))
    }
}
