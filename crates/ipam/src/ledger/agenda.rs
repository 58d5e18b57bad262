use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use names::ServiceKey;

use super::{Changed, Ledger};
use crate::layout::Shelf;
use crate::quotas::Scope;
use crate::waiters::{Turn, Wanted};
use crate::{Families, Family};

/// Why some of those that wait are to be asked again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A pool, a reservation, a quota or what is blocked changed.
    Everyone,
    /// This address is free.
    Free(IpAddr),
    /// This address has other holders, or they have other terms.
    Named(IpAddr),
    /// Those that share under this key have another address, or other terms.
    Sharer(String),
    /// Less counts towards this limit.
    Quota(Scope),
}

/// Who is still to be asked in this step.
#[derive(Debug, Clone, Default)]
pub(super) struct Agenda {
    /// Each source with the one that it asked last.
    sources: BTreeMap<Source, Option<Turn>>,
    /// Guests at addresses whose other holders changed. They come first: they may have to leave.
    guests: BTreeSet<ServiceKey>,
}

impl Agenda {
    fn push(&mut self, source: Source) {
        self.sources.insert(source, None);
    }

    /// Has everybody be asked who waits.
    pub(super) fn ask_everyone(&mut self) {
        self.push(Source::Everyone);
    }
}

impl Ledger {
    /// Has those be asked whom it may help that an address is free, has other holders, or these other terms.
    pub(super) fn wake(&mut self, address: IpAddr) {
        self.wake_named(address);
        self.agenda.guests.extend(self.sharers.guests(address).cloned());
        if self.waiters.is_empty() {
            return;
        }
        // Nobody can join who has not the key of all that hold it.
        let holder = self.register.holders(address).next().cloned();
        match holder {
            None => self.agenda.push(Source::Free(address)),
            Some(holder) => self.wake_group(&holder),
        }
    }

    /// Has those be asked that name an address.
    pub(super) fn wake_named(&mut self, address: IpAddr) {
        if self.waiters.has(&Wanted::Address(address)) {
            self.agenda.push(Source::Named(address));
        }
    }

    /// Has those be asked that would share with a Service.
    pub(super) fn wake_group(&mut self, key: &ServiceKey) {
        let Some(sharing) = self.sharers.get(key) else { return };
        let wanted = Wanted::Sharer(sharing.key.clone());
        if self.waiters.has(&wanted) {
            self.agenda.push(Source::Sharer(sharing.key.clone()));
        }
    }

    /// Has those be asked that a limit stopped.
    fn wake_stopped(&mut self, scope: Scope) {
        let wanted = [Wanted::Quota(scope.clone()), Wanted::Exchange(scope.clone())];
        if wanted.iter().any(|wanted| self.waiters.has(wanted)) {
            self.agenda.push(Source::Quota(scope));
        }
    }

    /// Asks all that something in this step may have helped, and moves the next ones that are to be moved:
    /// always the one that waits longest, and nobody twice for one reason.
    pub(super) fn run(&mut self, now: Instant, changed: &mut Changed) {
        let mut moved = None;
        loop {
            for scope in self.quotas.take_relieved() {
                self.wake_stopped(scope);
            }
            if let Some(key) = self.agenda.guests.pop_first().or_else(|| self.next_asked()) {
                self.decide(now, &key, changed);
            } else if let Some((place, key)) = self.movement.next_queued(moved) {
                moved = Some(place);
                self.decide(now, &key, changed);
            } else {
                return;
            }
        }
    }

    fn next_asked(&mut self) -> Option<ServiceKey> {
        let nexts: Vec<_> =
            self.agenda.sources.iter().map(|(source, last)| self.next_of(source, *last)).collect();
        let first = nexts.iter().flatten().min_by_key(|(turn, _)| *turn);
        let first = first.map(|(turn, key)| (*turn, (*key).clone()));
        let nexts: Vec<_> = nexts.into_iter().map(|next| next.map(|(turn, _)| turn)).collect();
        for (last, next) in self.agenda.sources.values_mut().zip(&nexts) {
            if *next == first.as_ref().map(|(turn, _)| *turn) {
                *last = *next;
            }
        }
        // One that has nobody left to ask now will have none later, unless it is there anew.
        let mut nexts = nexts.into_iter();
        self.agenda.sources.retain(|_, _| nexts.next().flatten().is_some());
        first.map(|(_, key)| key)
    }

    /// The next one that a source would ask.
    fn next_of(&self, source: &Source, last: Option<Turn>) -> Option<(Turn, &ServiceKey)> {
        let next = |wanted: &Wanted| self.waiters.next(wanted, last);
        match source {
            Source::Everyone => self.waiters.next_of_all(last),
            Source::Free(address) if self.register.is_held(*address) => None,
            Source::Free(address) => {
                let shelf = self.register.shelf(*address)?;
                let helped = self.helped_by(shelf).chain([Wanted::Address(*address)]);
                helped.filter_map(|wanted| self.waiters.next(&wanted, last)).min_by_key(|(turn, _)| *turn)
            }
            Source::Named(address) => next(&Wanted::Address(*address)),
            Source::Sharer(key) => next(&Wanted::Sharer(key.clone())),
            Source::Quota(scope) => {
                let room = self.quotas.has_room(scope).then(|| next(&Wanted::Quota(scope.clone())));
                let exchange = next(&Wanted::Exchange(scope.clone()));
                room.flatten().into_iter().chain(exchange).min_by_key(|(turn, _)| *turn)
            }
        }
    }

    /// The queues of those that an address on this shelf may help.
    fn helped_by(&self, shelf: &Shelf) -> impl Iterator<Item = Wanted> {
        let has = |family: &Family| {
            let mut shelves = self.register.shelves_of(&shelf.pool);
            shelves.any(|(_, spaces)| spaces.of(*family).fresh().or(spaces.of(*family).rested()).is_some())
        };
        let had = Family::ALL.into_iter().filter(has).collect();
        let helped = Families::ALL.into_iter().filter(move |families| families.content_with(&had));
        helped.map(|families| Wanted::Shelf(shelf.clone(), families))
    }
}
