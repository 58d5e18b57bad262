use std::collections::BTreeMap;
use std::net::IpAddr;

use names::{PoolName, ReservationName};
use range_set_blaze::RangeSetBlaze;

use crate::pool::number;
use crate::{Created, Family, Pool};

/// Numbers of the addresses of one family.
pub(crate) type Ranges = RangeSetBlaze<u128>;

/// Whose an address is: each one that can be given out belongs to one pool, and there to one reservation or none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shelf {
    pub(crate) pool: PoolName,
    pub(crate) reservation: Option<ReservationName>,
}

/// A value for each family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ByFamily<T> {
    pub(crate) v4: T,
    pub(crate) v6: T,
}

impl<T> ByFamily<T> {
    pub(crate) fn of(&self, family: Family) -> &T {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(crate) fn of_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// What a reservation would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) name: ReservationName,
    pub(crate) created: Created,
    pub(crate) ranges: ByFamily<Ranges>,
}

/// Which address is on which shelf. Shelves do not overlap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layout(ByFamily<BTreeMap<u128, (u128, Shelf)>>);

/// What several want, and the elder has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disputes {
    /// What a pool lacks, by the elder pool that has it.
    pub(crate) pools: BTreeMap<PoolName, Vec<(Family, Ranges, PoolName)>>,
    /// What a reservation lacks, by the elder reservation that has it.
    pub(crate) reservations: BTreeMap<ReservationName, Vec<(Family, Ranges, ReservationName)>>,
    /// What a reservation lacks because no pool has it.
    pub(crate) outside: BTreeMap<ReservationName, ByFamily<Ranges>>,
}

impl Layout {
    /// Gives every address to the eldest pool that contains it, and in it to the eldest reservation.
    pub(crate) fn new(pools: &BTreeMap<PoolName, Pool>, claims: Vec<Claim>) -> (Self, Disputes) {
        let (mut layout, mut disputes) = (Self::default(), Disputes::default());
        for family in Family::ALL {
            layout.settle_pools(family, pools, &mut disputes);
            layout.settle_claims(family, &claims, &mut disputes);
        }
        (layout, disputes)
    }

    /// The shelf that an address is on, if any pool has it.
    pub(crate) fn shelf(&self, address: IpAddr) -> Option<&Shelf> {
        let number = number(address);
        let (_, (last, shelf)) = self.0.of(Family::of(address)).range(..=number).next_back()?;
        (number <= *last).then_some(shelf)
    }

    /// What is on each shelf.
    pub(crate) fn spaces(&self) -> BTreeMap<Shelf, ByFamily<Ranges>> {
        let mut spaces: BTreeMap<Shelf, ByFamily<Ranges>> = BTreeMap::new();
        for family in Family::ALL {
            for (first, (last, shelf)) in self.0.of(family) {
                spaces.entry(shelf.clone()).or_default().of_mut(family).ranges_insert(*first..=*last);
            }
        }
        spaces
    }

    fn settle_pools(&mut self, family: Family, pools: &BTreeMap<PoolName, Pool>, disputes: &mut Disputes) {
        let mut by_age: Vec<_> = pools.iter().map(|(name, pool)| (pool.created, name, pool)).collect();
        by_age.sort_by_key(|(created, name, _)| (*created, *name));
        let mut taken = Ranges::new();
        let mut spaces: Vec<(&PoolName, Ranges)> = Vec::new();
        for (_, name, pool) in by_age {
            let space = pool.space(family);
            let own = &space - &taken;
            if own != space {
                let lost = spaces.iter().map(|(elder, theirs)| (family, &space & theirs, (*elder).clone()));
                let lost = lost.filter(|(_, lost, _)| !lost.is_empty());
                disputes.pools.entry(name.clone()).or_default().extend(lost);
            }
            taken = &taken | &space;
            let shelf = Shelf { pool: name.clone(), reservation: None };
            let ranges = own.ranges().map(|range| (*range.start(), (*range.end(), shelf.clone())));
            self.0.of_mut(family).extend(ranges);
            spaces.push((name, space));
        }
    }

    fn settle_claims(&mut self, family: Family, claims: &[Claim], disputes: &mut Disputes) {
        let mut by_age: Vec<_> = claims.iter().collect();
        by_age.sort_by_key(|claim| (claim.created, &claim.name));
        let mut taken = Ranges::new();
        for (index, claim) in by_age.iter().enumerate() {
            let wanted = claim.ranges.of(family);
            let own = wanted - &taken;
            if own != *wanted {
                let elders = by_age.iter().take(index);
                let lost = elders.map(|elder| (family, wanted & elder.ranges.of(family), elder.name.clone()));
                let lost = lost.filter(|(_, lost, _)| !lost.is_empty());
                disputes.reservations.entry(claim.name.clone()).or_default().extend(lost);
            }
            taken = &taken | wanted;
            let had: Ranges = own
                .ranges()
                .flat_map(|range| self.carve(family, *range.start(), *range.end(), &claim.name))
                .collect();
            *disputes.outside.entry(claim.name.clone()).or_default().of_mut(family) = &own - &had;
        }
    }

    /// Puts what pools have of a range on a reservation's shelves; gives back what that is.
    fn carve(
        &mut self,
        family: Family,
        first: u128,
        last: u128,
        name: &ReservationName,
    ) -> Vec<std::ops::RangeInclusive<u128>> {
        let map = self.0.of_mut(family);
        let before = map.range(..first).next_back().map(|(start, _)| *start);
        let starts: Vec<u128> =
            before.into_iter().chain(map.range(first..=last).map(|(start, _)| *start)).collect();
        let mut had = Vec::new();
        for start in starts {
            let Some((end, shelf)) = map.get(&start).cloned().filter(|(end, _)| *end >= first) else {
                continue;
            };
            let (from, to) = (start.max(first), end.min(last));
            map.remove(&start);
            if let Some(before) = from.checked_sub(1).filter(|before| *before >= start) {
                map.insert(start, (before, shelf.clone()));
            }
            if let Some(after) = to.checked_add(1).filter(|after| *after <= end) {
                map.insert(after, (end, shelf.clone()));
            }
            map.insert(from, (to, Shelf { reservation: Some(name.clone()), ..shelf }));
            had.push(from..=to);
        }
        had
    }
}
