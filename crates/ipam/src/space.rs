use std::collections::BTreeSet;
use std::time::Instant;

use crate::Count;
use crate::layout::Ranges;

/// What an address is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occupancy {
    /// Some Service has it.
    Held,
    /// It is never given out by itself; or somebody else answers for it.
    Blocked,
    /// Held not long ago, until then.
    Resting(Instant),
    /// None of these, and nobody else answers for it.
    Probed,
    /// None of these.
    Free,
}

/// One family's addresses on one shelf, as numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    all: Ranges,
    free: Ranges,
    /// Those of the free ones that were probed.
    probed: BTreeSet<u128>,
    /// The one freed longest ago stands first.
    resting: BTreeSet<(Instant, u128)>,
    held: usize,
}

/// How much of one family a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Addresses that are its own.
    pub total: Count,
    /// Held by Services, whichever pool these name.
    pub assigned: Count,
    /// Left to give out to any Service that the pool is for; resting ones too.
    pub available: Count,
    /// Of these, resting: freed not long ago.
    pub quarantined: Count,
    /// Left, but only for those that they are reserved for.
    pub reserved: Count,
}

impl Space {
    pub(crate) fn all(&self) -> &Ranges {
        &self.all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The lowest free one, of those first that were probed.
    pub(crate) fn fresh(&self) -> Option<u128> {
        self.probed.first().copied().or_else(|| self.free.first())
    }

    /// The one that has rested longest.
    pub(crate) fn rested(&self) -> Option<u128> {
        self.resting.first().map(|(_, number)| *number)
    }

    /// What there is to give out, the lowest free one first.
    pub(crate) fn left(&self) -> impl Iterator<Item = u128> {
        self.free.iter().chain(self.resting())
    }

    pub(crate) fn resting(&self) -> impl Iterator<Item = u128> {
        self.resting.iter().map(|(_, number)| *number)
    }

    /// The resting ones, the one freed last first.
    pub(crate) fn freed_last(&self) -> impl Iterator<Item = u128> {
        self.resting.iter().rev().map(|(_, number)| *number)
    }

    /// Notes that one of its addresses is something else now.
    pub(crate) fn change(&mut self, number: u128, before: Occupancy, after: Occupancy) {
        self.remove(number, before);
        self.insert(number, after);
    }

    /// Has these addresses from now on; `lost` and `gained` tell what those are that are not free.
    pub(crate) fn replace(
        &mut self,
        all: Ranges,
        lost: impl Iterator<Item = (u128, Occupancy)>,
        gained: impl Iterator<Item = (u128, Occupancy)>,
    ) {
        self.free = &(&self.free & &all) | &(&all - &self.all);
        self.all = all;
        lost.for_each(|(number, occupancy)| self.remove(number, occupancy));
        for (number, occupancy) in gained {
            self.free.remove(number);
            self.insert(number, occupancy);
        }
    }

    fn remove(&mut self, number: u128, occupancy: Occupancy) {
        match occupancy {
            Occupancy::Held => self.held = self.held.saturating_sub(1),
            Occupancy::Blocked => {}
            Occupancy::Resting(until) => drop(self.resting.remove(&(until, number))),
            Occupancy::Probed => {
                self.probed.remove(&number);
                self.free.remove(number);
            }
            Occupancy::Free => drop(self.free.remove(number)),
        }
    }

    fn insert(&mut self, number: u128, occupancy: Occupancy) {
        match occupancy {
            Occupancy::Held => self.held += 1,
            Occupancy::Blocked => {}
            Occupancy::Resting(until) => drop(self.resting.insert((until, number))),
            Occupancy::Probed => {
                self.probed.insert(number);
                self.free.insert(number);
            }
            Occupancy::Free => drop(self.free.insert(number)),
        }
    }

    pub(crate) fn total(&self) -> Count {
        Count::of(&self.all)
    }

    pub(crate) fn held(&self) -> Count {
        Count::of_len(self.held)
    }

    pub(crate) fn quarantined(&self) -> Count {
        Count::of_len(self.resting.len())
    }

    pub(crate) fn available(&self) -> Count {
        Count::of(&self.free).plus(self.quarantined())
    }
}
