use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use crate::layout::{ByFamily, Claim, Disputes, Layout, Ranges, Shelf};
use crate::pool::{REUSE_AFTER, address, number};
use crate::space::{Occupancy, Space, Usage};
use crate::{Blocked, Count, Family, Finding, Pool, Taken};

/// An address that nobody holds any more and that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// The address.
    pub address: IpAddr,
    /// Who had it; it gets it back if it asks meanwhile.
    pub former: ServiceKey,
    /// How long it rests.
    pub until: Instant,
}

/// Every address that is held, rests or is blocked, and what that leaves on each shelf.
#[derive(Debug, Clone, Default)]
pub(crate) struct Register {
    pools: BTreeMap<PoolName, Pool>,
    layout: Layout,
    disputes: Disputes,
    shelves: BTreeMap<Shelf, ByFamily<Space>>,
    /// Who holds it, and from which pool each of them says.
    holdings: BTreeMap<IpAddr, BTreeMap<ServiceKey, PoolName>>,
    resting: BTreeMap<IpAddr, (ServiceKey, Instant)>,
    ends: BTreeSet<(Instant, IpAddr)>,
    former: BTreeMap<ServiceKey, BTreeSet<(Instant, IpAddr)>>,
    blocked: BTreeMap<IpAddr, Blocked>,
    /// What probing has found of addresses, where that counts.
    findings: BTreeMap<IpAddr, Finding>,
    touched: BTreeSet<PoolName>,
}

impl Register {
    pub(crate) fn pools(&self) -> &BTreeMap<PoolName, Pool> {
        &self.pools
    }

    pub(crate) fn disputes(&self) -> &Disputes {
        &self.disputes
    }

    pub(crate) fn shelf(&self, address: IpAddr) -> Option<&Shelf> {
        self.layout.shelf(address)
    }

    /// The pool that has an address.
    pub(crate) fn pool_of(&self, address: IpAddr) -> Option<&PoolName> {
        self.shelf(address).map(|shelf| &shelf.pool)
    }

    pub(crate) fn space(&self, shelf: &Shelf, family: Family) -> Option<&Space> {
        self.shelves.get(shelf).map(|spaces| spaces.of(family))
    }

    /// A pool's shelves, the one without reservation first.
    pub(crate) fn shelves_of(&self, pool: &PoolName) -> impl Iterator<Item = (&Shelf, &ByFamily<Space>)> {
        let first = Shelf { pool: pool.clone(), reservation: None };
        let pool = pool.clone();
        self.shelves.range(first..).take_while(move |(shelf, _)| shelf.pool == pool)
    }

    pub(crate) fn is_held(&self, address: IpAddr) -> bool {
        self.holdings.contains_key(&address)
    }

    pub(crate) fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.holdings.get(&address).into_iter().flat_map(BTreeMap::keys)
    }

    /// How many hold an address.
    pub(crate) fn count(&self, address: IpAddr) -> usize {
        self.holdings.get(&address).map_or(0, BTreeMap::len)
    }

    /// The pool from which a Service holds an address.
    pub(crate) fn held_from(&self, address: IpAddr, key: &ServiceKey) -> Option<&PoolName> {
        self.holdings.get(&address)?.get(key)
    }

    /// Who holds an address in one of these ranges.
    pub(crate) fn holders_within(&self, family: Family, ranges: &Ranges) -> BTreeSet<ServiceKey> {
        let held = within(&self.holdings, family, ranges);
        held.flat_map(|(_, holders)| holders.keys().cloned()).collect()
    }

    /// Who holds which address in these ranges.
    pub(crate) fn held_within<'a>(
        &'a self,
        family: Family,
        ranges: &'a Ranges,
    ) -> impl Iterator<Item = (IpAddr, &'a ServiceKey)> {
        let held = within(&self.holdings, family, ranges);
        held.flat_map(|(address, holders)| holders.keys().map(move |key| (*address, key)))
    }

    pub(crate) fn shelves(&self) -> impl Iterator<Item = (&Shelf, &ByFamily<Space>)> {
        self.shelves.iter()
    }

    pub(crate) fn blocked(&self) -> &BTreeMap<IpAddr, Blocked> {
        &self.blocked
    }

    /// Addresses that this Service had and that rest, the latest first.
    pub(crate) fn former(&self, key: &ServiceKey) -> impl Iterator<Item = IpAddr> {
        self.former.get(key).into_iter().flatten().rev().map(|(_, address)| *address)
    }

    /// Those of a pool that rest, by address.
    pub(crate) fn resting_in(&self, pool: &PoolName) -> Vec<Rest> {
        let mut rests = Vec::new();
        for (_, spaces) in self.shelves_of(pool) {
            for family in Family::ALL {
                let resting = within(&self.resting, family, spaces.of(family).all());
                rests.extend(resting.map(|(address, (former, until))| Rest {
                    address: *address,
                    former: former.clone(),
                    until: *until,
                }));
            }
        }
        rests.sort_by_key(|rest| rest.address);
        rests
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<PoolName> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn touch(&mut self, pool: &PoolName) {
        if !self.touched.contains(pool) {
            self.touched.insert(pool.clone());
        }
    }

    /// Notes that a Service holds an address, from this pool; alone, or beside others.
    pub(crate) fn hold(&mut self, address: IpAddr, key: &ServiceKey, pool: &PoolName) {
        self.change(address, |register| {
            register.forget_rest(address);
            register.holdings.entry(address).or_default().insert(key.clone(), pool.clone());
        });
    }

    /// Notes that a Service holds it no more; if nobody else does, it rests for a while.
    pub(crate) fn free(&mut self, now: Instant, address: IpAddr, key: &ServiceKey) {
        let pool = self.pool_of(address).and_then(|pool| self.pools.get(pool));
        let until = now + pool.map_or(REUSE_AFTER, |pool| pool.reuse_after);
        self.change(address, |register| {
            let Some(holders) = register.holdings.get_mut(&address) else { return };
            if holders.remove(key).is_some() && holders.is_empty() {
                register.holdings.remove(&address);
                if until > now {
                    register.remember_rest(Rest { address, former: key.clone(), until });
                }
            }
        });
    }

    /// Has an address rest that nobody holds.
    pub(crate) fn rest(&mut self, rest: Rest) {
        let address = rest.address;
        if !self.is_held(address) {
            self.change(address, |register| {
                register.forget_rest(address);
                register.remember_rest(rest);
            });
        }
    }

    /// Ends the rests that are over.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some((_, address)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.change(address, |register| register.forget_rest(address));
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Blocks these and no others; gives back those whose blocking changed.
    pub(crate) fn block(&mut self, blocked: BTreeMap<IpAddr, Blocked>) -> BTreeSet<IpAddr> {
        let news = blocked.iter().filter(|(address, by)| self.blocked.get(address) != Some(by));
        let gone = self.blocked.keys().filter(|address| !blocked.contains_key(address));
        let changed: BTreeSet<IpAddr> = news.map(|(address, _)| *address).chain(gone.copied()).collect();
        for address in &changed {
            self.change(*address, |register| {
                register.blocked.remove(address);
                if let Some(by) = blocked.get(address) {
                    register.blocked.insert(*address, by.clone());
                }
            });
        }
        changed
    }

    /// Goes by these findings and no others; gives back those addresses of which something else is known now.
    pub(crate) fn find(&mut self, findings: BTreeMap<IpAddr, Finding>) -> BTreeSet<IpAddr> {
        let news = findings.iter().filter(|(address, found)| self.findings.get(address) != Some(found));
        let gone = self.findings.keys().filter(|address| !findings.contains_key(address));
        let changed: BTreeSet<IpAddr> = news.map(|(address, _)| *address).chain(gone.copied()).collect();
        for address in &changed {
            self.change(*address, |register| match findings.get(address) {
                Some(found) => drop(register.findings.insert(*address, found.clone())),
                None => drop(register.findings.remove(address)),
            });
        }
        changed
    }

    pub(crate) fn finding(&self, address: IpAddr) -> Option<&Finding> {
        self.findings.get(&address)
    }

    /// Who outside the cluster answers for an address.
    pub(crate) fn taken(&self, address: IpAddr) -> Option<&Taken> {
        match self.findings.get(&address)? {
            Finding::Taken(taken) => Some(taken),
            Finding::Free => None,
        }
    }

    pub(crate) fn all_taken(&self) -> impl Iterator<Item = (IpAddr, &Taken)> {
        self.findings.keys().filter_map(|address| Some((*address, self.taken(*address)?)))
    }

    /// Puts a pool in place of the one of that name; gives back the old one. [`Register::lay_out`] has to follow.
    pub(crate) fn set_pool(&mut self, name: &PoolName, pool: Option<Pool>) -> Option<Pool> {
        self.touched.insert(name.clone());
        match pool {
            Some(pool) => self.pools.insert(name.clone(), pool),
            None => self.pools.remove(name),
        }
    }

    /// Lays every address on its shelf anew; gives back those that changed shelves.
    pub(crate) fn lay_out(&mut self, claims: Vec<Claim>) -> ByFamily<Ranges> {
        let (layout, disputes) = Layout::new(&self.pools, claims);
        let mut spaces = layout.spaces();
        for shelf in self.shelves.keys() {
            spaces.entry(shelf.clone()).or_default();
        }
        (self.layout, self.disputes) = (layout, disputes);
        let mut moved = ByFamily::<Ranges>::default();
        for (shelf, new) in spaces {
            for family in Family::ALL {
                let changed = self.restock(&shelf, family, new.of(family));
                let all = moved.of_mut(family);
                *all = &*all | &changed;
            }
        }
        self.shelves.retain(|_, spaces| !(spaces.v4.is_empty() && spaces.v6.is_empty()));
        moved
    }

    fn restock(&mut self, shelf: &Shelf, family: Family, new: &Ranges) -> Ranges {
        let old = self.space(shelf, family).map_or_else(Ranges::new, |space| space.all().clone());
        let (lost, gained) = (&old - new, new - &old);
        if lost.is_empty() && gained.is_empty() {
            return lost;
        }
        let (occupied, joining) = (self.occupied(family, &lost), self.occupied(family, &gained));
        let space = self.shelves.entry(shelf.clone()).or_default().of_mut(family);
        space.replace(new.clone(), occupied.into_iter(), joining.into_iter());
        self.touched.insert(shelf.pool.clone());
        &lost | &gained
    }

    /// Those in these ranges that are not free.
    fn occupied(&self, family: Family, ranges: &Ranges) -> Vec<(u128, Occupancy)> {
        let held = within(&self.holdings, family, ranges).map(|(address, _)| *address);
        let resting = within(&self.resting, family, ranges).map(|(address, _)| *address);
        let blocked = within(&self.blocked, family, ranges).map(|(address, _)| *address);
        let found = within(&self.findings, family, ranges).map(|(address, _)| *address);
        let all: BTreeSet<IpAddr> = held.chain(resting).chain(blocked).chain(found).collect();
        all.into_iter().map(|address| (number(address), self.occupancy(address))).collect()
    }

    fn occupancy(&self, address: IpAddr) -> Occupancy {
        match self.resting.get(&address) {
            _ if self.is_held(address) => Occupancy::Held,
            _ if self.blocked.contains_key(&address) || self.taken(address).is_some() => Occupancy::Blocked,
            Some((_, until)) => Occupancy::Resting(*until),
            None if self.finding(address).is_some() => Occupancy::Probed,
            None => Occupancy::Free,
        }
    }

    /// Changes what is known of an address, and with it its shelf.
    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut Self)) {
        let before = self.occupancy(address);
        change(self);
        let after = self.occupancy(address);
        let Some(shelf) = self.layout.shelf(address) else { return };
        if let Some(spaces) = self.shelves.get_mut(shelf) {
            spaces.of_mut(Family::of(address)).change(number(address), before, after);
        }
        if before != after {
            self.touch_pool_of(address);
        }
    }

    fn touch_pool_of(&mut self, address: IpAddr) {
        if let Some(shelf) = self.layout.shelf(address).filter(|shelf| !self.touched.contains(&shelf.pool)) {
            self.touched.insert(shelf.pool.clone());
        }
    }

    fn remember_rest(&mut self, rest: Rest) {
        let Rest { address, former, until } = rest;
        self.touch_pool_of(address);
        self.ends.insert((until, address));
        self.former.entry(former.clone()).or_default().insert((until, address));
        self.resting.insert(address, (former, until));
    }

    fn forget_rest(&mut self, address: IpAddr) {
        let Some((former, until)) = self.resting.remove(&address) else { return };
        self.touch_pool_of(address);
        self.ends.remove(&(until, address));
        if let Some(theirs) = self.former.get_mut(&former) {
            theirs.remove(&(until, address));
            if theirs.is_empty() {
                self.former.remove(&former);
            }
        }
    }

    pub(crate) fn usage(&self, pool: &PoolName, family: Family) -> Usage {
        let none = Count::Exactly(0);
        let mut usage =
            Usage { total: none, assigned: none, available: none, quarantined: none, reserved: none };
        for (shelf, spaces) in self.shelves_of(pool) {
            let space = spaces.of(family);
            usage.total = usage.total.plus(space.total());
            usage.assigned = usage.assigned.plus(space.held());
            usage.quarantined = usage.quarantined.plus(space.quarantined());
            let left = if shelf.reservation.is_none() { &mut usage.available } else { &mut usage.reserved };
            *left = left.plus(space.available());
        }
        usage
    }
}

/// What a map has in these ranges.
fn within<'a, V>(
    map: &'a BTreeMap<IpAddr, V>,
    family: Family,
    ranges: &'a Ranges,
) -> impl Iterator<Item = (&'a IpAddr, &'a V)> {
    let bounds =
        move |range: RangeInclusive<u128>| address(family, *range.start())..=address(family, *range.end());
    ranges.ranges().flat_map(move |range| map.range(bounds(range)))
}
