use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use names::{PoolName, ServiceKey};

use crate::pool::number;
use crate::space::Stock;
use crate::{Family, Pool};

/// How long a freed address is given to nobody while others are free: its old clients, and the neighbour
/// caches and routes towards it, forget it meanwhile.
pub(crate) const REUSE_AFTER: Duration = Duration::from_secs(600);

/// Every address that is held or rests, and what that leaves of each pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    stocks: BTreeMap<PoolName, Stock>,
    holders: BTreeMap<IpAddr, ServiceKey>,
    resting: BTreeMap<IpAddr, Instant>,
    ends: BTreeSet<(Instant, IpAddr)>,
    touched: BTreeSet<PoolName>,
}

impl Addresses {
    pub(crate) fn stock(&self, name: &PoolName) -> Option<&Stock> {
        self.stocks.get(name)
    }

    pub(crate) fn stocks(&self) -> impl Iterator<Item = (&PoolName, &Stock)> {
        self.stocks.iter()
    }

    /// The pools that contain an address and would give it out.
    pub(crate) fn pools_of(&self, address: IpAddr) -> impl Iterator<Item = (&PoolName, &Stock)> {
        let (family, number) = (Family::of(address), number(address));
        self.stocks.iter().filter(move |(_, stock)| stock.of(family).contains(number))
    }

    /// Whether a pool contains all of these and would give them out.
    pub(crate) fn contains(&self, pool: &PoolName, addresses: &[IpAddr]) -> bool {
        self.stock(pool).is_some_and(|stock| stock.contains_all(addresses))
    }

    /// The pools that contain all of these and would give them out.
    pub(crate) fn homes(&self, addresses: &[IpAddr]) -> impl Iterator<Item = &PoolName> {
        let first = addresses.first().into_iter().flat_map(|first| self.pools_of(*first));
        first.filter(|(_, stock)| stock.contains_all(addresses)).map(|(name, _)| name)
    }

    pub(crate) fn holder(&self, address: IpAddr) -> Option<&ServiceKey> {
        self.holders.get(&address)
    }

    /// Who holds an address in one of these prefixes.
    pub(crate) fn holders_within(&self, prefixes: &[IpNetwork]) -> BTreeSet<ServiceKey> {
        within(&self.holders, prefixes).map(|(_, key)| key.clone()).collect()
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<PoolName> {
        std::mem::take(&mut self.touched)
    }

    /// Notes who holds a free address.
    pub(crate) fn hold(&mut self, address: IpAddr, key: ServiceKey) {
        let rests = self.resting.remove(&address);
        if let Some(until) = rests {
            self.ends.remove(&(until, address));
        }
        self.holders.insert(address, key);
        self.each_stock(address, |stock| stock.of_mut(Family::of(address)).take(number(address), rests));
    }

    /// Notes that nobody holds it any more; it rests for a while.
    pub(crate) fn free(&mut self, now: Instant, address: IpAddr) {
        if self.holders.remove(&address).is_none() {
            return;
        }
        let until = now + REUSE_AFTER;
        self.resting.insert(address, until);
        self.ends.insert((until, address));
        self.each_stock(address, |stock| stock.of_mut(Family::of(address)).give_back(number(address), until));
    }

    /// Ends the rests that are over.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some((until, address)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.ends.remove(&(until, address));
            self.resting.remove(&address);
            for stock in self.stocks.values_mut() {
                stock.of_mut(Family::of(address)).wake(number(address), until);
            }
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// Puts a pool in place of the one of that name; gives back the old one.
    pub(crate) fn set_pool(&mut self, name: PoolName, pool: Option<Pool>) -> Option<Pool> {
        self.touched.insert(name.clone());
        let Some(pool) = pool else { return self.stocks.remove(&name).map(|stock| stock.pool) };
        let mut stock = Stock::new(pool);
        let prefixes = stock.pool.prefixes.clone();
        for address in within(&self.holders, &prefixes).map(|(address, _)| address).collect::<BTreeSet<_>>() {
            stock.of_mut(Family::of(*address)).take(number(*address), None);
        }
        for (address, until) in within(&self.resting, &prefixes) {
            stock.of_mut(Family::of(*address)).rest(number(*address), *until);
        }
        self.stocks.insert(name, stock).map(|stock| stock.pool)
    }

    fn each_stock(&mut self, address: IpAddr, change: impl Fn(&mut Stock)) {
        let family = Family::of(address);
        for (name, stock) in &mut self.stocks {
            if stock.of(family).contains(number(address)) {
                change(stock);
                self.touched.insert(name.clone());
            }
        }
    }
}

/// What a map has in these prefixes; twice where they overlap.
fn within<'a, V>(
    map: &'a BTreeMap<IpAddr, V>,
    prefixes: &'a [IpNetwork],
) -> impl Iterator<Item = (&'a IpAddr, &'a V)> {
    prefixes.iter().flat_map(|prefix| map.range(prefix.network()..=prefix.broadcast()))
}
