use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use names::{Labels, ServiceKey};

use super::under::Home;
use super::{Changed, Ledger};
use crate::choose::{choose, replace, wants};
use crate::entry::{Entry, Waits};
use crate::view::{View, admits};
use crate::waiters::{Lack, Place};
use crate::{Decision, Grant, Moving, Note, OnRemove, Refusal, Request, State};

/// What a pool takes away from a Service.
pub(super) struct Away {
    addresses: Vec<IpAddr>,
    /// What is to become of these.
    pub(super) fate: OnRemove,
}

/// What becomes of a Service's addresses.
struct Exchange {
    place: Place,
    before: Decision,
    after: Decision,
    /// All that it held before, and what it parts with now.
    had: Vec<IpAddr>,
    parting: Vec<IpAddr>,
}

impl Ledger {
    /// Decides a Service's request with what there is.
    pub(super) fn decide(&mut self, now: Instant, key: &ServiceKey, changed: &mut Changed) {
        if let Some(decision) = self.weigh(now, key) {
            self.carry_out(key, decision, changed);
            self.note_probing(now, key);
        }
    }

    /// What is to be decided; nothing for a Service that has not asked yet.
    pub(super) fn weigh(&self, now: Instant, key: &ServiceKey) -> Option<Decision> {
        let entry = self.entries.get(key)?;
        let mut moving = entry.decision.moving.clone().filter(|moving| moving.until > now);
        if let Some(moving) = &mut moving {
            moving.from.retain(|address| !self.intrudes(*address, key));
        }
        let mut decision = match (entry.garbled.clone(), &entry.request) {
            (Some(refusal), _) => {
                let grant = self.kept(key, entry);
                let grant =
                    grant.and_then(|grant| without_released(&grant, self.away(key, entry, &grant).as_ref()));
                Decision { grant, refusal: Some(refusal), moving, notes: Vec::new() }
            }
            (None, Some(request)) => self.answer(now, &self.view(key, entry, request), moving),
            (None, None) => return None,
        };
        let granted = decision.grant.as_ref().map_or(&[][..], |grant| &grant.addresses);
        if let Some(moving) = &mut decision.moving {
            moving.from.retain(|old| !granted.contains(old));
        }
        decision.moving = decision.moving.filter(|moving| !moving.from.is_empty());
        decision.notes = self.notes(key, entry, decision.grant.as_ref());
        Some(decision)
    }

    /// What a Service was granted, but for where it listens on a port of another.
    fn kept(&self, key: &ServiceKey, entry: &Entry) -> Option<Grant> {
        let mut grant = entry.decision.grant.clone()?;
        grant.addresses.retain(|address| !self.intrudes(*address, key));
        (!grant.addresses.is_empty()).then_some(grant)
    }

    /// What a request gets that is understood.
    fn answer(&self, now: Instant, view: &View<'_>, moving: Option<Moving>) -> Decision {
        let old = self.kept(view.key, view.entry);
        let old = old.map(|grant| self.located(view, grant));
        let away = old.as_ref().and_then(|old| self.away(view.key, view.entry, old));
        let old = old.and_then(|old| without_released(&old, away.as_ref()));
        let (grant, refusal) = match choose(view, old.as_ref()) {
            Ok(grant) => match view.has_to_wait(&grant) {
                None => match self.unprobed(now, view, &grant) {
                    None => (Some(self.located(view, grant)), None),
                    unprobed => (old, unprobed),
                },
                Some(parting) => postponed(view, old, parting),
            },
            Err(refusal) => (old, Some(refusal)),
        };
        let mut decision = Decision { grant, refusal, moving, notes: Vec::new() };
        self.depart(now, view, &mut decision);
        decision
    }

    /// Begins the move of a Service that still holds what its pool takes away, or says why it cannot.
    fn depart(&self, now: Instant, view: &View<'_>, decision: &mut Decision) {
        let Some(grant) = decision.grant.clone().filter(|_| decision.refusal.is_none()) else { return };
        let away = self.away(view.key, view.entry, &grant).filter(|away| away.fate == OnRemove::Move);
        let Some(Away { addresses: leaving, .. }) = away.filter(|_| decision.moving.is_none()) else {
            return;
        };
        if !self.movement.has_room() {
            let told = view.entry.decision.refusal.clone();
            decision.refusal = told.filter(|told| matches!(told, Refusal::CannotMove { .. }));
            return;
        }
        match replace(view, &grant, &leaving) {
            Ok(new) if view.has_to_wait(&new).is_some() => {}
            Ok(new) => {
                let granted = view.entry.granted().iter().copied();
                let from =
                    granted.filter(|old| grant.addresses.contains(old) && !new.addresses.contains(old));
                let from = from.collect();
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
    pub(super) fn away(&self, key: &ServiceKey, entry: &Entry, grant: &Grant) -> Option<Away> {
        let pool = self.register.pools().get(&grant.pool);
        let drained = pool.is_some_and(|pool| pool.state == State::Drained);
        let misfits = entry.misfit.as_ref() == Some(&grant.pool)
            && pool.is_some_and(|pool| !self.fits(key, entry, pool));
        let gone =
            |address: &IpAddr| drained || misfits || self.register.pool_of(*address) != Some(&grant.pool);
        let addresses: Vec<_> = grant.addresses.iter().copied().filter(gone).collect();
        let last = self.gone.get(&grant.pool).copied().unwrap_or_default();
        let fate = if drained { OnRemove::Move } else { pool.map_or(last, |pool| pool.on_remove) };
        (!addresses.is_empty()).then_some(Away { addresses, fate })
    }

    fn notes(&self, key: &ServiceKey, entry: &Entry, grant: Option<&Grant>) -> Vec<Note> {
        let Some(grant) = grant else { return Vec::new() };
        let blocked = grant.addresses.iter().filter_map(|address| {
            let by = self.register.blocked().get(address)?.clone();
            Some(Note::Blocked { address: *address, by })
        });
        let stays = self.away(key, entry, grant).filter(|away| away.fate == OnRemove::Keep);
        let outside = stays.map(|_| Note::Outside { pool: grant.pool.clone() });
        blocked.chain(outside).collect()
    }

    fn fits(&self, key: &ServiceKey, entry: &Entry, pool: &crate::Pool) -> bool {
        let namespace = self.namespaces.get(&*key.namespace);
        entry.request.as_ref().is_none_or(|request| admits(pool, key, &request.labels, namespace).is_ok())
    }

    /// Remembers whether a Service's pool is still for it, after its labels or its namespace's changed from
    /// these. That a pool's limits were tightened before is none of its doing.
    pub(super) fn judge_fit(&mut self, key: &ServiceKey, labels: &Labels, namespace: Option<&Labels>) {
        let Some(entry) = self.entries.get(key) else { return };
        let held: Vec<_> = entry.held().collect();
        let Some(grant) = &entry.decision.grant else { return };
        let pool = self.register.pools().get(&grant.pool);
        let fitted = pool.is_none_or(|pool| admits(pool, key, labels, namespace).is_ok());
        let fits = pool.is_none_or(|pool| self.fits(key, entry, pool));
        // Of a namespace that is not seen nobody knows the labels.
        let known = self.namespaces.contains_key(&*key.namespace) || namespace.is_none();
        let misfit = match (fitted, fits) {
            (_, true) => None,
            (true, false) if known => Some(grant.pool.clone()),
            (_, false) => entry.misfit.clone(),
        };
        for address in held {
            self.touch_reservation(address);
        }
        if let Some(entry) = self.entries.get_mut(key) {
            entry.misfit = misfit;
        }
    }

    /// Forgets that a Service's pool was not for it, if it is again.
    pub(super) fn forgive(&mut self, key: &ServiceKey) {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.misfit.is_some()) else { return };
        let pool = entry.misfit.as_ref().and_then(|pool| self.register.pools().get(pool));
        let fits = pool.is_none_or(|pool| self.fits(key, entry, pool));
        if let Some(entry) = self.entries.get_mut(key).filter(|_| fits) {
            entry.misfit = None;
        }
    }

    /// Makes a decision so: what is new in it is held from now on; what is no longer in it is held until the
    /// Service's status says so.
    pub(super) fn carry_out(&mut self, key: &ServiceKey, decision: Decision, changed: &mut Changed) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.decision != decision {
            let had: Vec<_> = entry.held().collect();
            let before = std::mem::replace(&mut entry.decision, decision);
            let kept = |address: &IpAddr| entry.granted().contains(address) || entry.left().contains(address);
            entry.parting = had.iter().copied().filter(|address| !kept(address)).collect();
            let pool = entry.decision.grant.as_ref().map(|grant| &grant.pool);
            entry.misfit = entry.misfit.take().filter(|misfit| pool == Some(misfit));
            changed.push(key.clone());
            let parting = entry.parting.iter().copied().collect();
            let after = entry.decision.clone();
            let place = entry.place;
            self.exchange(key, Exchange { place, before, after, had, parting });
        }
        if self.sharers.has_guests() {
            self.regard_guests(key);
        }
        self.index(key);
    }

    /// Holds what a Service was granted in place of what it had before.
    fn exchange(&mut self, key: &ServiceKey, exchange: Exchange) {
        let Exchange { place, before, after, had, parting } = exchange;
        let Decision { grant, moving, .. } = after;
        let old = before.grant.as_ref();
        let granted = grant.as_ref().map_or(&[][..], |grant| &grant.addresses);
        if let Some(grant) = &grant {
            for address in &grant.addresses {
                self.hold(*address, key, &grant.pool);
            }
            self.register.touch(&grant.pool);
        }
        let left = |old: &&Grant| grant.as_ref().is_none_or(|grant| grant.pool != old.pool);
        if let Some(old) = old.filter(left) {
            self.under.leave(place, &old.pool);
            self.register.touch(&old.pool);
        }
        match &moving {
            Some(moving) => self.movement.begin(key, moving.until, &moving.pool),
            None => self.movement.end(key),
        }
        if self.sharers.regrant(key, old.map_or(&[], |old| &old.addresses), granted) {
            self.wake_group(key);
        }
        let came: Vec<_> = granted.iter().copied().filter(|address| !had.contains(address)).collect();
        if came.iter().any(|address| self.counts_anew(key, *address)) {
            self.wake_group(key);
        }
        let went = parting.into_iter().filter(|address| before.holds(*address));
        for address in came.into_iter().chain(went) {
            self.wake(address);
        }
    }

    /// Whether a Service brought an address that is shared to quotas that did not count it, so that it costs others
    /// of its namespace nothing to join.
    fn counts_anew(&self, key: &ServiceKey, address: IpAddr) -> bool {
        let mut others = self.register.holders(address).filter(|other| *other != key);
        let counted = |other: &ServiceKey| {
            other.namespace == key.namespace
                && self.entries.get(other).is_some_and(|other| other.granted().contains(&address))
        };
        self.sharers.get(key).is_some() && !self.quotas.of(&key.namespace).is_empty() && !others.any(counted)
    }

    /// Notes where a Service no longer is a guest: it has left, or the others have, or their terms agree again.
    fn regard_guests(&mut self, key: &ServiceKey) {
        let Some(entry) = self.entries.get(key) else { return };
        let held: Vec<_> = entry.held().filter(|address| self.sharers.is_guest(*address, key)).collect();
        for address in held {
            let Some(entry) = self.entries.get(key) else { return };
            let stays = !entry.parting.contains(&address);
            let is_guest = stays && self.is_guest(address, key);
            if !is_guest {
                self.sharers.see_off(address, key);
            }
        }
    }

    pub(super) fn is_guest(&self, address: IpAddr, key: &ServiceKey) -> bool {
        self.regarded(key, |view| view.is_guest(address))
    }

    fn intrudes(&self, address: IpAddr, key: &ServiceKey) -> bool {
        self.sharers.is_guest(address, key) && self.regarded(key, |view| view.intrudes(address))
    }

    fn regarded(&self, key: &ServiceKey, holds: impl FnOnce(&View<'_>) -> bool) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        let anything = Request::of(crate::Families::One(crate::Family::V4));
        let request = entry.request.as_ref().unwrap_or(&anything);
        holds(&self.view(key, entry, request))
    }

    /// Queues a Service for what it now waits for, and notes from which pool it holds what.
    fn index(&mut self, key: &ServiceKey) {
        let Some(entry) = self.entries.get(key) else { return };
        let Decision { grant, refusal, moving, .. } = &entry.decision;
        let away = grant.as_ref().and_then(|grant| self.away(key, entry, grant));
        let departs = away.as_ref().is_some_and(|away| away.fate == OnRemove::Move);
        let may_move = match refusal {
            None => true,
            Some(Refusal::CannotMove { .. }) => !self.movement.has_room(),
            Some(_) => false,
        };
        let queued = departs && may_move && moving.is_none() && entry.asks().is_some();
        let home = if away.is_some() { Home::Away } else { Home::There };
        let pool = grant.as_ref().map(|grant| grant.pool.clone());
        let (place, waits) = (entry.place, self.waits(key, entry));
        let waits = (entry.waits != waits).then_some(waits);
        if let Some(pool) = pool {
            self.under.enter(place, key, &pool, home);
        }
        if queued {
            self.movement.queue(place, key);
        } else {
            self.movement.unqueue(place);
        }
        if let Some(waits) = waits {
            self.wait(key, waits);
        }
    }

    fn waits(&self, key: &ServiceKey, entry: &Entry) -> Option<Waits> {
        let request = entry.asks()?;
        let Decision { grant, refusal, .. } = &entry.decision;
        let has = |family| grant.as_ref().is_some_and(|grant| grant.of(family).is_some());
        let lack = match refusal {
            Some(_) => Lack::Everything,
            None if request.families.wanted().all(has) => return None,
            None => Lack::Second,
        };
        let wants = wants(&self.view(key, entry, request), grant.as_ref(), refusal.as_ref());
        Some(Waits { lack, wants })
    }

    fn wait(&mut self, key: &ServiceKey, waits: Option<Waits>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(Waits { lack, wants }) = &entry.waits {
            self.waiters.remove(entry.turn(*lack), wants);
        }
        if let Some(Waits { lack, wants }) = &waits {
            self.waiters.add(entry.turn(*lack), key, wants);
        }
        entry.waits = waits;
    }
}

/// What a Service has that could have something else, but has to part with an address first: what was decided
/// for it before, which is what its status is to show.
fn postponed(view: &View<'_>, old: Option<Grant>, parting: IpAddr) -> (Option<Grant>, Option<Refusal>) {
    match old {
        Some(old) => (Some(old), view.entry.decision.refusal.clone()),
        None => (None, Some(Refusal::AddressParting(parting))),
    }
}

/// What a pool that releases leaves of a grant.
fn without_released(grant: &Grant, away: Option<&Away>) -> Option<Grant> {
    let released = |address: &IpAddr| {
        away.is_some_and(|away| away.fate == OnRemove::Release && away.addresses.contains(address))
    };
    let addresses: Vec<_> = grant.addresses.iter().copied().filter(|address| !released(address)).collect();
    (!addresses.is_empty()).then(|| Grant { addresses, pool: grant.pool.clone() })
}
