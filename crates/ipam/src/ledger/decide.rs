use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use super::under::Home;
use super::{Changed, Ledger};
use crate::choose::{choose, replace, wants};
use crate::entry::Entry;
use crate::view::View;
use crate::waiters::{Place, Wanted};
use crate::{Decision, Grant, Moving, Note, OnRemove, Refusal, State};

/// What a pool takes away from a Service.
struct Away {
    addresses: Vec<IpAddr>,
    /// What is to become of these.
    fate: OnRemove,
}

impl Ledger {
    /// Decides a Service's request with what there is.
    pub(super) fn decide(&mut self, now: Instant, key: &ServiceKey, changed: &mut Changed) {
        if let Some(decision) = self.weigh(now, key) {
            let shares = self.sharers.get(key).is_some();
            let before = changed.len();
            self.carry_out(key, decision, changed);
            if shares && changed.len() > before {
                self.serve_sharers(now, key, changed);
            }
        }
    }

    /// What is to be decided; nothing for a Service that asks for nothing that can be understood.
    fn weigh(&self, now: Instant, key: &ServiceKey) -> Option<Decision> {
        let entry = self.entries.get(key)?;
        let request = entry.request.as_ref()?;
        let held = self.held(key);
        let view = self.view(key, request, &held);
        let moving = entry.decision.moving.clone().filter(|moving| moving.until > now);
        if self.quotas.need_labels() && view.namespace.is_none() {
            let refusal = Some(Refusal::NamespaceUnknown(key.namespace.clone()));
            return Some(Decision { refusal, moving, ..entry.decision.clone() });
        }
        let old = entry.decision.grant.clone().map(|grant| self.located(&view, grant));
        let away = old.as_ref().and_then(|old| self.away(entry, old));
        let released = away.as_ref().is_some_and(|away| away.fate == OnRemove::Release);
        let old = old.filter(|_| !released);
        let mut decision = match choose(&view, old.as_ref()) {
            Ok(grant) => Decision { grant: Some(grant), moving, ..Decision::default() },
            Err(refusal) => {
                let grant = old.and_then(|old| tolerated(&view, old));
                Decision { grant, refusal: Some(refusal), moving, notes: Vec::new() }
            }
        };
        if let Some(away) = away.filter(|away| away.fate == OnRemove::Move) {
            self.depart(now, &view, entry, &away, &mut decision);
        }
        if let Some(moving) = &mut decision.moving {
            let grant = decision.grant.as_ref();
            moving.from.retain(|old| grant.is_none_or(|grant| !grant.addresses.contains(old)));
        }
        decision.moving = decision.moving.filter(|moving| !moving.from.is_empty());
        decision.notes = self.notes(entry, decision.grant.as_ref());
        Some(decision)
    }

    /// Begins the move of a Service that still holds what its pool takes away, or says why it cannot.
    fn depart(&self, now: Instant, view: &View<'_>, entry: &Entry, away: &Away, decision: &mut Decision) {
        let Some(grant) = decision.grant.clone().filter(|_| decision.refusal.is_none()) else { return };
        let leaving: Vec<_> =
            grant.addresses.iter().copied().filter(|address| away.addresses.contains(address)).collect();
        if leaving.is_empty() || decision.moving.is_some() {
            return;
        }
        if !self.movement.has_room() {
            let told = entry.decision.refusal.clone();
            decision.refusal = told.filter(|told| matches!(told, Refusal::CannotMove { .. }));
            return;
        }
        match replace(view, &grant, &leaving) {
            Ok(new) => {
                let from = grant.addresses.into_iter().filter(|old| !new.addresses.contains(old)).collect();
                let until = now + self.movement.moves.overlap;
                let moving = Moving { from, pool: grant.pool, until };
                decision.moving = Some(moving).filter(|moving| moving.until > now);
                decision.grant = Some(new);
            }
            Err(why) => {
                let refusal = Refusal::CannotMove { from: grant.pool, why: Box::new(why) };
                decision.refusal = Some(refusal);
            }
        }
    }

    /// What is held, with the pool that has it now where its pool is gone.
    fn located(&self, view: &View<'_>, mut held: Grant) -> Grant {
        if self.register.pools().contains_key(&held.pool) {
            return held;
        }
        let homes: BTreeSet<_> =
            held.addresses.iter().map(|address| self.register.pool_of(*address)).collect();
        if let [Some(home)] = homes.into_iter().collect::<Vec<_>>().as_slice()
            && view.request.allows(home)
            && self.register.pools().get(*home).is_some_and(|pool| view.admits(pool).is_ok())
        {
            held.pool = (*home).clone();
        }
        held
    }

    /// What of a grant its pool takes away.
    fn away(&self, entry: &Entry, grant: &Grant) -> Option<Away> {
        let pool = self.register.pools().get(&grant.pool);
        let drained = pool.is_some_and(|pool| pool.state == State::Drained);
        let all = drained || entry.misfit.as_ref() == Some(&grant.pool);
        let gone = |address: &IpAddr| all || self.register.pool_of(*address) != Some(&grant.pool);
        let addresses: Vec<_> = grant.addresses.iter().copied().filter(gone).collect();
        let last = self.gone.get(&grant.pool).copied().unwrap_or_default();
        let fate = if drained { OnRemove::Move } else { pool.map_or(last, |pool| pool.on_remove) };
        (!addresses.is_empty()).then_some(Away { addresses, fate })
    }

    fn notes(&self, entry: &Entry, grant: Option<&Grant>) -> Vec<Note> {
        let Some(grant) = grant else { return Vec::new() };
        let blocked = grant.addresses.iter().filter_map(|address| {
            let by = self.register.blocked().get(address)?.clone();
            Some(Note::Blocked { address: *address, by })
        });
        let stays = self.away(entry, grant).filter(|away| away.fate == OnRemove::Keep);
        let outside = stays.map(|_| Note::Outside { pool: grant.pool.clone() });
        blocked.chain(outside).collect()
    }

    /// Remembers whether a Service's pool is still for it, after its labels or its namespace's changed.
    pub(super) fn judge_fit(&mut self, key: &ServiceKey) {
        let Some(entry) = self.entries.get(key) else { return };
        let (Some(request), Some(grant)) = (&entry.request, &entry.decision.grant) else { return };
        let pool = self.register.pools().get(&grant.pool);
        let fits = pool.is_none_or(|pool| self.view(key, request, &[]).admits(pool).is_ok());
        let misfit = (!fits).then(|| grant.pool.clone());
        if let Some(entry) = self.entries.get_mut(key) {
            entry.misfit = misfit;
        }
    }

    /// Makes a decision so: what is new in it is held from now on; what is no longer in it is held until the
    /// Service's status says so.
    pub(super) fn carry_out(&mut self, key: &ServiceKey, decision: Decision, changed: &mut Changed) {
        let Some(entry) = self.entries.get(key) else { return };
        let (before, place) = (entry.held(), entry.place);
        let old_pool = entry.decision.grant.as_ref().map(|grant| grant.pool.clone());
        if let Some(grant) = &decision.grant {
            for address in &grant.addresses {
                self.hold(*address, key, &grant.pool);
            }
        }
        let pool = decision.grant.as_ref().map(|grant| grant.pool.clone());
        if pool != old_pool {
            self.under.leave(key, old_pool.as_ref());
        }
        match &decision.moving {
            Some(moving) => self.movement.begin(key, moving.until, &moving.pool),
            None => self.movement.end(key),
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        let differs = entry.decision != decision;
        entry.decision = decision;
        entry.misfit = entry.misfit.take().filter(|misfit| pool.as_ref() == Some(misfit));
        entry.parting.clear();
        let kept = entry.held();
        entry.parting = before.difference(&kept).copied().collect();
        if differs {
            changed.push(key.clone());
        }
        self.index(key, place);
    }

    pub(super) fn hold(&mut self, address: IpAddr, key: &ServiceKey, pool: &PoolName) {
        let from = self.register.held_from(address, key);
        if from == Some(pool) {
            return;
        }
        if let Some(from) = from {
            self.quotas.remove(&key.namespace, &from.clone(), address);
        }
        self.register.hold(address, key, pool);
        self.quotas.add(&key.namespace, pool, address);
        if let Some(by) = self.register.shelf(address).and_then(|shelf| shelf.reservation.as_ref()) {
            self.reservations.touch(by);
        }
    }

    /// Queues a Service for what it now waits for, and notes from which pool it holds what.
    fn index(&mut self, key: &ServiceKey, place: Place) {
        let Some(entry) = self.entries.get(key) else { return };
        let Decision { grant, refusal, moving, .. } = &entry.decision;
        let away = grant.as_ref().and_then(|grant| self.away(entry, grant));
        let departs = away.as_ref().is_some_and(|away| away.fate == OnRemove::Move);
        let queued = departs && moving.is_none() && refusal.is_none() && entry.request.is_some();
        let stuck = matches!(refusal, Some(Refusal::CannotMove { .. })) && !self.movement.has_room();
        let waiting = entry.request.as_ref();
        let waiting =
            waiting.map(|request| wants(&self.view(key, request, &[]), grant.as_ref(), refusal.as_ref()));
        let waits = waiting.is_some() && refusal.is_some();
        let home = if away.is_some() { Home::Away } else { Home::There };
        let pool = grant.as_ref().map(|grant| grant.pool.clone());
        if let Some(pool) = &pool {
            self.under.enter(key, pool, home);
            self.register.touch(pool);
        }
        if queued || (departs && stuck) {
            self.movement.queue(place, key);
        } else {
            self.movement.unqueue(place);
        }
        if waits {
            drop(self.refused.insert(place, key.clone()))
        } else {
            drop(self.refused.remove(&place))
        }
        self.wait(key, place, waiting.unwrap_or_default());
    }

    fn wait(&mut self, key: &ServiceKey, place: Place, wants: Vec<Wanted>) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.wants != wants) else { return };
        for wanted in &entry.wants {
            self.waiters.remove(wanted, place);
        }
        for wanted in &wants {
            self.waiters.add(wanted.clone(), place, key.clone());
        }
        entry.wants = wants;
    }
}

/// What a Service keeps that cannot have what it asks for: all, but for addresses on which another listens on
/// one of its ports.
fn tolerated(view: &View<'_>, mut held: Grant) -> Option<Grant> {
    held.addresses.retain(|address| !view.port_clashes(*address));
    (!held.addresses.is_empty()).then_some(held)
}
