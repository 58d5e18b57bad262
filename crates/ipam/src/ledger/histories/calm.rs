//! Who may lose or get what in a step, and what a restart must not change.

use super::*;
use crate::{Clash, Grant, OnRemove, Refusal};

impl Cluster {
    /// What was known of a Service before a step: after a restart, what its status shows.
    fn known(&self, key: &ServiceKey, step: &Step) -> Option<(Vec<IpAddr>, Vec<IpAddr>)> {
        let shown = &self.services.get(key)?.shown;
        let decision = self.decision(key)?;
        if matches!(step, Step::Restart) {
            let left = shown.moving.as_ref().map_or(Vec::new(), |moving| moving.from.clone());
            let granted: Vec<_> =
                shown.addresses.iter().copied().filter(|address| !left.contains(address)).collect();
            return (Shown::of(decision) == *shown).then_some((granted, left));
        }
        let granted = decision.grant.as_ref().map_or(Vec::new(), |grant| grant.addresses.clone());
        let left = decision.moving.as_ref().map_or(Vec::new(), |moving| moving.from.clone());
        Some((granted, left))
    }

    /// Only the Service that a step is about, those that waited, and those whose pool says so have other
    /// addresses than before; and nobody loses an address for nothing.
    pub(super) fn check_calm(&self, before: &Self, step: &Step) {
        let adopted = matches!(step, Step::Restart);
        for key in self.services.keys() {
            let (Some((granted, left)), Some(was)) = (before.known(key, step), before.decision(key)) else {
                continue;
            };
            let is = self.decision(key).expect("it is there");
            let has: Vec<_> = is.grant.iter().flat_map(|grant| grant.addresses.clone()).collect();
            let entry = before.ledger.entries.get(key).unwrap();
            // What had to wait until its status was written.
            let late = matches!(step, Step::Show(_) | Step::ShowAll) && !entry.parting.is_empty();
            let own = matches!(step, Step::Allocate(..)) && step.service() == Some(key) || late;
            let waited = was.refusal.is_some() && self.services[key].asks.is_ok();
            let lacked = entry.waits.is_some();
            let taken = was.grant.as_ref().map(|grant| match self.away(key, grant) {
                (_, OnRemove::Keep) => self.away(key, &self.found_again(grant)),
                taken => taken,
            });
            let fate =
                taken.as_ref().filter(|(away, _)| !away.is_empty()).map_or(OnRemove::Keep, |(_, fate)| *fate);
            let sharing = granted.iter().any(|address| self.was_at_fault(before, key, *address));
            let grown = lacked && granted.iter().all(|address| has.contains(address));
            let may = own || waited || grown || fate != OnRemove::Keep || sharing;
            assert!(granted == has || may, "{key} had {granted:?} and has {has:?}");
            for address in granted.iter().chain(&left).filter(|address| !is.holds(**address)) {
                let due = left.contains(address)
                    && was.moving.as_ref().is_some_and(|moving| moving.until <= self.now);
                let released = fate == OnRemove::Release
                    && taken.as_ref().is_some_and(|(away, _)| away.contains(address));
                let content = matches!(is.refusal, None | Some(Refusal::CannotMove { .. }));
                // What stays of two addresses goes too if no one pool has both families.
                let forced = fate == OnRemove::Release;
                let replaced = content && is.grant.is_some() && (own || waited || sharing || forced);
                let moved = fate == OnRemove::Move && self.moves.overlap.is_zero() && is.refusal.is_none();
                let intruded = self.was_at_fault(before, key, *address)
                    && (adopted || before.ledger.holders(*address).any(|other| self.port_clash(key, other)));
                let may = due || released || replaced && !left.contains(address) || moved || intruded;
                assert!(may, "{key} had {granted:?} and {left:?} and lost {address}: {is:?}");
            }
            let moved = fate == OnRemove::Move && !own && !waited && !grown && !sharing;
            if let Some(Grant { addresses, .. }) = is.grant.as_ref().filter(|_| moved && granted != has) {
                let families =
                    |all: &[IpAddr]| all.iter().map(|one| Family::of(*one)).collect::<BTreeSet<_>>();
                assert!(families(addresses).is_superset(&families(&granted)), "{key} lost a family: {is:?}");
            }
        }
        let moving = |cluster: &Self| {
            let decisions = cluster.services.keys().filter_map(|key| cluster.decision(key));
            decisions.filter(|decision| decision.moving.is_some()).count()
        };
        assert!(moving(self) <= self.moves.concurrent.max(moving(before)) || adopted, "too many moves");
    }

    /// A grant of a pool that is gone, with the one that has all its addresses now.
    fn found_again(&self, grant: &Grant) -> Grant {
        let homes: BTreeSet<_> = grant.addresses.iter().map(|address| self.home(*address)).collect();
        let home = homes.first().copied().flatten().filter(|_| homes.len() == 1);
        let home = home.filter(|_| !self.pools.contains_key(&grant.pool));
        Grant { pool: home.unwrap_or(&grant.pool).clone(), ..grant.clone() }
    }

    fn was_at_fault(&self, before: &Self, key: &ServiceKey, address: IpAddr) -> bool {
        let fault = (key.clone(), address);
        self.at_fault.contains(&fault) || before.at_fault.contains(&fault) || {
            let before = before.ledger.sharers.get(key);
            before != self.ledger.sharers.get(key)
        }
    }

    pub(super) fn port_clash(&self, one: &ServiceKey, other: &ServiceKey) -> bool {
        let (one, other) = (self.ledger.sharers.get(one), self.ledger.sharers.get(other));
        let clash = one.and_then(|one| one.clash(other?));
        matches!(clash, Some(Clash::Port(..)))
    }

    /// A restart changes no status, and turns nobody down for another reason, where statuses were up to date.
    pub(super) fn check_restart(&self, before: &Self) {
        // What is held on terms that do not agree any more is lost at a restart, and may help others.
        let clashes = |(key, address): &(ServiceKey, IpAddr)| {
            before.ledger.holders(*address).any(|other| other != key && !agree(&before.ledger, key, other))
        };
        if before.stale().next().is_some() || before.at_fault.iter().any(clashes) {
            return;
        }
        for (key, Service { asks, shown, .. }) in &self.services {
            let (was, is) = (before.decision(key).expect("it was"), self.decision(key).expect("it is"));
            let pool = was.grant.as_ref().map(|grant| &grant.pool);
            let forgotten =
                before.misfits.contains_key(key) || pool.is_some_and(|pool| before.gone.contains_key(pool));
            if asks.is_err() && before.held(key).iter().any(|one| self.ledger.holders(*one).count() > 1) {
                continue;
            }
            let now = Shown::of(is);
            assert_eq!(
                (&now.addresses, &now.pool, &now.moving),
                (&shown.addresses, &shown.pool, &shown.moving),
                "{key} was {was:?}, and is {is:?}"
            );
            let reasons = [was, is].map(|decision| decision.refusal.as_ref().map(Refusal::reason));
            let equal = reasons[0] == reasons[1] || is_full(reasons[0]) && is_full(reasons[1]);
            // Whether there is another address is asked only when there is room for a move.
            let waits = reasons[0] == Some("CannotMove") && !self.ledger.movement.has_room();
            let equal = equal || waits && reasons[1].is_none();
            let unseen = reasons[0] == Some("NamespaceUnknown");
            // On which terms one shares that cannot be understood is forgotten too.
            let held = |reason| matches!(reason, Some("AddressInUse" | "SharingConflict"));
            let garbled = self.services.values().any(|service| service.asks.is_err());
            let equal = equal || garbled && held(reasons[0]) && held(reasons[1]);
            assert!(equal || forgotten || unseen, "{key} was {was:?}, and is {is:?}");
        }
        for name in self.reservations.keys() {
            let states = [before, self].map(|cluster| {
                let state = cluster.ledger.reservation_state(name).expect("it is there");
                // For whom it is depends on labels, which are forgotten where they cannot be understood.
                crate::ReservationState { used: Vec::new(), pending: Vec::new(), ..state }
            });
            assert_eq!(states[0], states[1], "{name}");
        }
    }
}

/// Two reasons that depend on what was looked at first.
pub(super) fn is_full(reason: Option<&str>) -> bool {
    matches!(reason, Some("PoolExhausted" | "QuotaExceeded" | "NamespaceUnknown"))
}
