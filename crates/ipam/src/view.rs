use std::collections::BTreeSet;
use std::net::IpAddr;

use names::{Labels, PoolName, ReservationName, ServiceKey};

use crate::entries::Entries;
use crate::entry::Entry;
use crate::layout::Shelf;
use crate::pool::address;
use crate::quotas::{Exchange, Quotas, Scope};
use crate::refusal::Closed;
use crate::register::Register;
use crate::sharers::{Sharers, Terms};
use crate::waiters::Wanted;
use crate::{Clash, Family, Grant, Pool, Refusal, Request};

/// All that the choice for one Service may look at.
#[derive(Debug, Clone)]
pub(crate) struct View<'a> {
    pub(crate) register: &'a Register,
    pub(crate) quotas: &'a Quotas,
    /// The reservations that are for it.
    pub(crate) reservations: Vec<&'a ReservationName>,
    pub(crate) sharers: &'a Sharers,
    /// The pools in the order in which they are tried.
    pub(crate) order: &'a [PoolName],
    /// The labels of the Service's namespace, if it was seen.
    pub(crate) namespace: Option<&'a Labels>,
    pub(crate) key: &'a ServiceKey,
    pub(crate) entry: &'a Entry,
    pub(crate) request: &'a Request,
    pub(crate) entries: &'a Entries,
}

/// A pool by name.
pub(crate) type Named<'a> = (&'a PoolName, &'a Pool);

/// Whether a pool is for a Service with these labels, in a namespace with those.
///
/// # Errors
/// Why it is not.
pub(crate) fn admits(
    pool: &Pool,
    key: &ServiceKey,
    labels: &Labels,
    namespace: Option<&Labels>,
) -> Result<(), Closed> {
    if !pool.audience.has_namespace(&key.namespace, namespace) {
        return Err(Closed::Namespace(key.namespace.to_string()));
    }
    if pool.audience.has_service(labels) { Ok(()) } else { Err(Closed::Labels) }
}

impl<'a> View<'a> {
    /// Whether a pool is for this Service.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn admits(&self, pool: &Pool) -> Result<(), Closed> {
        admits(pool, self.key, &self.request.labels, self.namespace)
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
            Some(Refusal::PoolClosed { .. }) => {
                Err(Refusal::NoPoolForService(self.key.namespace.to_string()))
            }
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

    /// Whether an address is reserved, but not for this Service.
    ///
    /// # Errors
    /// The reservation.
    pub(crate) fn may_use(&self, address: IpAddr, shelf: &Shelf) -> Result<(), Refusal> {
        match &shelf.reservation {
            Some(by) if !self.reservations.contains(&by) => {
                Err(Refusal::AddressReserved { address, by: by.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether nobody outside the cluster answers for an address, as far as is known. Of one that some Service has
    /// this is not the place to say it.
    ///
    /// # Errors
    /// Who does.
    pub(crate) fn is_untaken(&self, address: IpAddr) -> Result<(), Refusal> {
        match self.register.taken(address).filter(|_| !self.register.is_held(address)) {
            Some(by) => Err(Refusal::AddressTaken { address, by: by.clone() }),
            None => Ok(()),
        }
    }

    /// Whether this Service may take an address beside all those that hold it, and those that part with it.
    ///
    /// # Errors
    /// Who holds it, and why they cannot share.
    pub(crate) fn join(&self, address: IpAddr) -> Result<(), Refusal> {
        let mut others = self.register.holders(address).filter(|other| *other != self.key);
        others.try_for_each(|other| match (self.request.sharing.as_ref(), self.sharers.get(other)) {
            (Some(ours), Some(theirs)) => match ours.clash(theirs) {
                None => Ok(()),
                Some(clash) => Err(Refusal::SharingConflict { address, with: other.clone(), clash }),
            },
            _ => Err(Refusal::AddressInUse { address, by: other.clone() }),
        })
    }

    /// The same, without a reason.
    pub(crate) fn may_join(&self, address: IpAddr) -> bool {
        let holds = self.register.held_from(address, self.key).is_some();
        match &self.request.sharing {
            Some(sharing) if !holds => self.sharers.agree(address, self.register.count(address), sharing),
            Some(_) | None => self.join(address).is_ok(),
        }
    }

    /// Whether this Service may go on holding an address. One that its status showed it shares, or that others
    /// came to share with it, is not lost because these change their terms: they are the guests then.
    ///
    /// # Errors
    /// Whose guest it is, and why they cannot share.
    pub(crate) fn remain(&self, address: IpAddr) -> Result<(), Refusal> {
        if !self.sharers.is_guest(address, self.key) {
            return Ok(());
        }
        match self.hosts(address).find_map(|host| Some((host, self.clash(host)?))) {
            Some((host, clash)) => Err(Refusal::SharingConflict { address, with: host.clone(), clash }),
            None => Ok(()),
        }
    }

    /// Others that hold an address and go on doing so.
    fn others(&self, address: IpAddr) -> impl Iterator<Item = &'a ServiceKey> {
        let others = self.register.holders(address).filter(|other| *other != self.key);
        others.filter(move |other| {
            self.entries.get(other).is_some_and(|other| !other.parting.contains(&address))
        })
    }

    /// Those of them that hold it by right.
    fn hosts(&self, address: IpAddr) -> impl Iterator<Item = &'a ServiceKey> {
        self.others(address).filter(move |other| !self.sharers.is_guest(address, other))
    }

    /// Why it cannot share with another that has what it has.
    fn clash(&self, other: &ServiceKey) -> Option<Clash> {
        match (self.sharers.terms(self.key), self.sharers.terms(other)) {
            (Terms::Known(ours), Terms::Known(theirs)) => ours.clash(theirs),
            (Terms::Unknown, Terms::Unknown | Terms::Known(_)) | (Terms::Known(_), Terms::Unknown) => None,
            (Terms::Alone, _) | (_, Terms::Alone) => Some(self.port_clash(other).unwrap_or(Clash::Key)),
        }
    }

    /// On what it listens where another does, if one of them shares with nobody any more.
    fn port_clash(&self, other: &ServiceKey) -> Option<Clash> {
        let theirs = match self.sharers.terms(other) {
            Terms::Known(theirs) => &theirs.ports,
            Terms::Alone | Terms::Unknown => &self.entries.get(other)?.request.as_ref()?.ports,
        };
        let ours = match self.sharers.terms(self.key) {
            Terms::Known(ours) => &ours.ports,
            Terms::Alone | Terms::Unknown => &self.request.ports,
        };
        ours.intersection(theirs).next().map(|(protocol, port)| Clash::Port(*protocol, *port))
    }

    /// Whether this Service, a guest at an address, listens where one that stays there does.
    pub(crate) fn intrudes(&self, address: IpAddr) -> bool {
        let mut clashes = self.others(address).filter_map(|other| self.clash(other));
        clashes.any(|clash| matches!(clash, Clash::Port(..)))
    }

    /// Whether it would be a guest at an address that it holds.
    pub(crate) fn is_guest(&self, address: IpAddr) -> bool {
        self.hosts(address).any(|host| self.clash(host).is_some())
    }

    /// Whether quotas allow this in place of what it holds.
    ///
    /// # Errors
    /// The first that does not.
    pub(crate) fn afford(&self, grant: &Grant) -> Result<(), Refusal> {
        let has = |address: &IpAddr| self.entry.granted().contains(address);
        if self.namespace.is_none() && self.quotas.need_labels() && !grant.addresses.iter().all(has) {
            return Err(Refusal::NamespaceUnknown(self.key.namespace.to_string()));
        }
        if self.quotas.of(&self.key.namespace).is_empty() {
            return Ok(());
        }
        let (held, shared) = (self.held(), self.shared(&grant.addresses));
        let exchange = self.exchange(&grant.pool, &held);
        self.quotas.check(&Exchange { grant: &grant.addresses, shared: &shared, ..exchange })
    }

    /// The quota that leaves no room for an address more of a family of a pool, not even in place of what the
    /// Service has of it.
    pub(crate) fn stopped_by(&self, pool: &PoolName, family: Family) -> Option<Scope> {
        if self.quotas.of(&self.key.namespace).is_empty() {
            return None;
        }
        let held = self.held();
        self.quotas.stop(&self.exchange(pool, &held), family)
    }

    fn exchange<'b>(&'b self, pool: &'b PoolName, held: &'b [(IpAddr, &'b PoolName)]) -> Exchange<'b> {
        const NONE: &BTreeSet<(IpAddr, &str)> = &BTreeSet::new();
        Exchange { key: self.key, pool, grant: &[], shared: NONE, granted: self.entry.granted(), held }
    }

    /// Which of these addresses others were granted, by their namespaces.
    fn shared(&self, addresses: &[IpAddr]) -> BTreeSet<(IpAddr, &'a str)> {
        let mut shared = BTreeSet::new();
        for address in addresses {
            let others = self.register.holders(*address).filter(|other| *other != self.key);
            let has = |other: &&ServiceKey| {
                self.entries.get(other).is_some_and(|other| other.granted().contains(address))
            };
            shared.extend(others.filter(has).map(|other| (*address, &*other.namespace)));
        }
        shared
    }

    /// The address that the Service has to part with before it can have this: one that it gave up, where another
    /// of that family would come. However often it asks for something else before its status was written, it
    /// does not gather addresses.
    pub(crate) fn has_to_wait(&self, grant: &Grant) -> Option<IpAddr> {
        let parting = &self.entry.parting;
        let mut news = grant.addresses.iter().filter(|new| !self.entry.held().any(|held| held == **new));
        news.find_map(|new| parting.iter().copied().find(|old| Family::of(*old) == Family::of(*new)))
    }

    /// What one waits for whom a quota stops.
    pub(crate) fn room(&self, scope: Scope) -> Wanted {
        let holds = self.entry.held().next().is_some();
        if holds { Wanted::Exchange(scope) } else { Wanted::Quota(scope) }
    }

    /// All that it holds, with the pool of each.
    fn held(&self) -> Vec<(IpAddr, &'a PoolName)> {
        let from = |address| Some((address, self.register.held_from(address, self.key)?));
        self.entry.held().filter_map(from).collect()
    }

    /// The lowest free address on a shelf, of those first that were probed.
    pub(crate) fn fresh(&self, shelf: &Shelf, family: Family) -> Option<IpAddr> {
        Some(address(family, self.register.space(shelf, family)?.fresh()?))
    }

    /// The address on a shelf that has rested longest.
    pub(crate) fn rested(&self, shelf: &Shelf, family: Family) -> Option<IpAddr> {
        Some(address(family, self.register.space(shelf, family)?.rested()?))
    }
}
