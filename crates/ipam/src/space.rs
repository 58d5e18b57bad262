use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use range_set_blaze::RangeSetBlaze;

use crate::pool::number;
use crate::{Assignment, Count, Families, Family, Pool};

/// One family's addresses of one pool, as numbers: every one of them is held, resting or free.
#[derive(Debug, Clone, Default)]
pub(crate) struct Space {
    all: RangeSetBlaze<u128>,
    free: RangeSetBlaze<u128>,
    /// Held not long ago; the one freed longest ago stands first.
    resting: BTreeSet<(Instant, u128)>,
    held: usize,
}

/// A pool and what is left of it.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    pub(crate) pool: Pool,
    pub(crate) v4: Space,
    pub(crate) v6: Space,
}

/// How much of one family a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Addresses that can ever be given out.
    pub total: Count,
    /// Held by Services, whichever pool these name.
    pub assigned: Count,
    /// Left to give out.
    pub available: Count,
}

impl Space {
    fn new(all: RangeSetBlaze<u128>) -> Self {
        Self { free: all.clone(), all, ..Self::default() }
    }

    pub(crate) fn contains(&self, number: u128) -> bool {
        self.all.contains(number)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What to give out next: the lowest that is free, else the one that has rested longest.
    pub(crate) fn next(&self) -> Option<u128> {
        self.free.first().or_else(|| self.resting.first().map(|(_, number)| *number))
    }

    /// Notes that somebody holds it; `rests` if it rested.
    pub(crate) fn take(&mut self, number: u128, rests: Option<Instant>) {
        if self.contains(number) {
            self.held += 1;
            self.free.remove(number);
            if let Some(until) = rests {
                self.resting.remove(&(until, number));
            }
        }
    }

    /// Notes that nobody holds it any more, and that it rests until then.
    pub(crate) fn give_back(&mut self, number: u128, until: Instant) {
        if self.contains(number) {
            self.held -= 1;
            self.resting.insert((until, number));
        }
    }

    /// Notes that one which nobody holds rests until then.
    pub(crate) fn rest(&mut self, number: u128, until: Instant) {
        if self.free.remove(number) {
            self.resting.insert((until, number));
        }
    }

    /// Ends its rest.
    pub(crate) fn wake(&mut self, number: u128, until: Instant) {
        if self.resting.remove(&(until, number)) {
            self.free.insert(number);
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            total: Count::of(&self.all),
            assigned: Count::of_len(self.held),
            available: Count::of(&self.free).plus(Count::of_len(self.resting.len())),
        }
    }
}

impl Stock {
    pub(crate) fn new(pool: Pool) -> Self {
        let (v4, v6) = (pool.space(Family::V4), pool.space(Family::V6));
        Self { pool, v4: Space::new(v4), v6: Space::new(v6) }
    }

    pub(crate) fn of(&self, family: Family) -> &Space {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(crate) fn of_mut(&mut self, family: Family) -> &mut Space {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }

    pub(crate) fn contains_all(&self, addresses: &[IpAddr]) -> bool {
        addresses.iter().all(|address| self.of(Family::of(*address)).contains(number(*address)))
    }

    pub(crate) fn is_automatic(&self) -> bool {
        self.pool.assignment == Assignment::Automatic
    }

    /// Whether it has something left for a Service with nothing yet.
    pub(crate) fn can_serve(&self, families: Families) -> bool {
        self.suffices(families, |space| space.next().is_some())
    }

    /// Whether it could serve such a Service if nobody held anything.
    pub(crate) fn has(&self, families: Families) -> bool {
        self.suffices(families, |space| !space.is_empty())
    }

    fn suffices(&self, families: Families, good: impl Fn(&Space) -> bool) -> bool {
        let had = [Family::V4, Family::V6].into_iter().filter(|family| good(self.of(*family))).collect();
        families.content_with(&had)
    }

    pub(crate) fn usage(&self, family: Family) -> Usage {
        self.of(family).usage()
    }
}
