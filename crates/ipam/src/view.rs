use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{Labels, PoolName, ReservationName, ServiceKey};

use crate::entry::Entry;
use crate::layout::Shelf;
use crate::pool::address;
use crate::quotas::{Exchange, Quotas};
use crate::refusal::Closed;
use crate::register::Register;
use crate::reservations::Reservations;
use crate::{Clash, Family, Grant, Pool, Refusal, Request, Sharing};

/// With whom Services share, of those that share at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sharers {
    of: BTreeMap<ServiceKey, Sharing>,
    by_key: BTreeMap<String, BTreeSet<ServiceKey>>,
}

impl Sharers {
    pub(crate) fn set(&mut self, key: &ServiceKey, sharing: Option<Sharing>) {
        if let Some(old) = self.of.remove(key)
            && let Some(theirs) = self.by_key.get_mut(&old.key)
        {
            theirs.remove(key);
            if theirs.is_empty() {
                self.by_key.remove(&old.key);
            }
        }
        if let Some(sharing) = sharing {
            self.by_key.entry(sharing.key.clone()).or_default().insert(key.clone());
            self.of.insert(key.clone(), sharing);
        }
    }

    pub(crate) fn get(&self, key: &ServiceKey) -> Option<&Sharing> {
        self.of.get(key)
    }

    /// Everybody who shares under this key.
    pub(crate) fn under(&self, key: &str) -> impl Iterator<Item = &ServiceKey> {
        self.by_key.get(key).into_iter().flatten()
    }
}

/// All that the choice for one Service may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) register: &'a Register,
    pub(crate) quotas: &'a Quotas,
    pub(crate) reservations: &'a Reservations,
    pub(crate) sharers: &'a Sharers,
    /// The pools in the order in which they are tried.
    pub(crate) order: &'a [PoolName],
    /// The labels of the Service's namespace, if it was seen.
    pub(crate) namespace: Option<&'a Labels>,
    pub(crate) key: &'a ServiceKey,
    pub(crate) request: &'a Request,
    /// All that it holds, with the pool of each.
    pub(crate) held: &'a [(IpAddr, PoolName)],
    pub(crate) entries: &'a BTreeMap<ServiceKey, Entry>,
}

/// A pool by name.
pub(crate) type Named<'a> = (&'a PoolName, &'a Pool);

impl<'a> View<'a> {
    /// Whether a pool is for this Service.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn admits(&self, pool: &Pool) -> Result<(), Closed> {
        if !pool.audience.has_namespace(&self.key.namespace, self.namespace) {
            return Err(Closed::Namespace(self.key.namespace.clone()));
        }
        if pool.audience.has_service(&self.request.labels) { Ok(()) } else { Err(Closed::Labels) }
    }

    /// Whether a pool gives this Service anything new.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn enter(&self, (name, pool): Named<'_>) -> Result<(), Refusal> {
        self.admits(pool).map_err(|why| Refusal::PoolClosed { pool: name.clone(), why })?;
        if pool.is_open() { Ok(()) } else { Err(Refusal::PoolDisabled(name.clone())) }
    }

    /// The pools to choose from: the named ones in their order, or those that give out by themselves.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn candidates(&self) -> Result<Vec<Named<'a>>, Refusal> {
        let pools = self.register.pools();
        let names = if self.request.pools.is_empty() { self.order } else { &self.request.pools };
        let there = names.iter().filter_map(|name| pools.get_key_value(name));
        if let Some(first) = self.request.pools.first() {
            let (good, bad) = self.sorted(there);
            let bad = bad.unwrap_or_else(|| Refusal::PoolNotFound(first.clone()));
            return if good.is_empty() { Err(bad) } else { Ok(good) };
        }
        let (good, bad) = self.sorted(there.filter(|(_, pool)| pool.is_automatic()));
        match bad {
            _ if !good.is_empty() => Ok(good),
            Some(Refusal::PoolClosed { .. }) => Err(Refusal::NoPoolForService(self.key.namespace.clone())),
            Some(_) | None => Err(Refusal::NoPool),
        }
    }

    /// Those that can be used, and why the first that cannot be cannot. That a pool is for others says more
    /// than that it is closed to all.
    fn sorted(&self, pools: impl Iterator<Item = Named<'a>>) -> (Vec<Named<'a>>, Option<Refusal>) {
        let (mut good, mut bad) = (Vec::new(), None);
        for pool in pools {
            match self.enter(pool) {
                Ok(()) => good.push(pool),
                Err(why) => bad = bad.or(Some(why)),
            }
        }
        (good, bad)
    }

    pub(crate) fn reservations(&self) -> Vec<&'a ReservationName> {
        self.reservations.of(self.key, &self.request.labels, self.namespace).collect()
    }

    /// Whether an address is reserved, but not for this Service.
    ///
    /// # Errors
    /// The reservation.
    pub(crate) fn may_use(&self, address: IpAddr, shelf: &Shelf) -> Result<(), Refusal> {
        match &shelf.reservation {
            Some(by) if !self.reservations().contains(&by) => {
                Err(Refusal::AddressReserved { address, by: by.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether this Service may hold an address beside those that hold it.
    ///
    /// # Errors
    /// Who holds it, and why they cannot share.
    pub(crate) fn join(&self, address: IpAddr) -> Result<(), Refusal> {
        for other in self.register.holders(address).filter(|other| *other != self.key) {
            match self.clash(other) {
                None => {}
                Some(None) => return Err(Refusal::AddressInUse { address, by: other.clone() }),
                Some(Some(clash)) => {
                    return Err(Refusal::SharingConflict { address, with: other.clone(), clash });
                }
            }
        }
        Ok(())
    }

    /// Why it cannot share with another; with no reason where one of them does not share at all.
    fn clash(&self, other: &ServiceKey) -> Option<Option<Clash>> {
        let (Some(ours), Some(theirs)) = (self.request.sharing.as_ref(), self.sharers.get(other)) else {
            return Some(None);
        };
        ours.clash(theirs).map(Some)
    }

    /// Whether another Service that holds this address has a port of this one.
    pub(crate) fn port_clashes(&self, address: IpAddr) -> bool {
        matches!(self.join(address), Err(Refusal::SharingConflict { clash: Clash::Port(..), .. }))
    }

    /// Whether quotas allow this in place of what it holds.
    ///
    /// # Errors
    /// The first that does not.
    pub(crate) fn afford(&self, grant: &Grant) -> Result<(), Refusal> {
        let Grant { addresses, pool } = grant;
        self.quotas.check(&Exchange { key: self.key, pool, grant: addresses, held: self.held })
    }

    /// The addresses of another Service's grant.
    pub(crate) fn granted(&self, other: &ServiceKey) -> impl Iterator<Item = IpAddr> + use<'a> {
        let grant = self.entries.get(other).and_then(|entry| entry.decision.grant.as_ref());
        grant.into_iter().flat_map(|grant| grant.addresses.iter().copied())
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.held.iter().any(|(held, _)| *held == address)
    }

    /// The lowest free address on a shelf.
    pub(crate) fn fresh(&self, shelf: &Shelf, family: Family) -> Option<IpAddr> {
        Some(address(family, self.register.space(shelf, family)?.fresh()?))
    }

    /// The address on a shelf that has rested longest.
    pub(crate) fn rested(&self, shelf: &Shelf, family: Family) -> Option<IpAddr> {
        Some(address(family, self.register.space(shelf, family)?.rested()?))
    }
}
