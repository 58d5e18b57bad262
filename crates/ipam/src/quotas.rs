use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use names::{Labels, PoolName, QuotaName, ServiceKey};

use crate::{Family, Per, Quota, QuotaUse, Refusal};

/// The most namespaces that a quota's use is told of.
const TOLD: usize = 256;

/// The quotas there are, and what counts towards them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    all: BTreeMap<QuotaName, Counted>,
    of_namespace: BTreeMap<String, Member>,
    touched: BTreeSet<QuotaName>,
    /// Limits towards which less counts than before, since this was last asked.
    relieved: BTreeSet<Scope>,
}

/// A namespace with Services.
#[derive(Debug, Clone, Default)]
struct Member {
    services: usize,
    quotas: Vec<QuotaName>,
}

/// One limit: those who share it, and the family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) quota: QuotaName,
    /// `None` is all of the quota's namespaces together.
    pub(crate) namespace: Option<String>,
    pub(crate) family: Family,
}

#[derive(Debug, Clone)]
struct Counted {
    quota: Quota,
    counters: BTreeMap<Option<String>, Counter>,
}

/// Addresses that count together, each once, with the number of Services that hold it.
#[derive(Debug, Clone, Default)]
struct Counter {
    addresses: BTreeMap<IpAddr, u32>,
    ipv4: u32,
    ipv6: u32,
}

/// What a Service would hold of a pool in place of what it holds.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) key: &'a ServiceKey,
    pub(crate) pool: &'a PoolName,
    /// What it would be granted.
    pub(crate) grant: &'a [IpAddr],
    /// Which of it others were granted too, by their namespaces.
    pub(crate) shared: &'a BTreeSet<(IpAddr, &'a str)>,
    /// What it was granted.
    pub(crate) granted: &'a [IpAddr],
    /// All that it holds, with the pool of each.
    pub(crate) held: &'a [(IpAddr, &'a PoolName)],
}

impl Quota {
    fn is_for(&self, namespace: &str, labels: Option<&Labels>) -> bool {
        self.audience.has_namespace(namespace, labels)
    }

    fn counts(&self, pool: &PoolName) -> bool {
        self.pools.is_empty() || self.pools.contains(pool)
    }

    fn scope(&self, namespace: &str) -> Option<String> {
        match self.per {
            Per::Quota => None,
            Per::Namespace => Some(namespace.to_owned()),
        }
    }

    fn limit(&self, family: Family) -> Option<u32> {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }
}

impl Counter {
    fn of_mut(&mut self, family: Family) -> &mut u32 {
        match family {
            Family::V4 => &mut self.ipv4,
            Family::V6 => &mut self.ipv6,
        }
    }

    fn used(&self, family: Family) -> u32 {
        match family {
            Family::V4 => self.ipv4,
            Family::V6 => self.ipv6,
        }
    }

    fn add(&mut self, address: IpAddr) {
        let holders = self.addresses.entry(address).or_default();
        *holders += 1;
        if *holders == 1 {
            *self.of_mut(Family::of(address)) += 1;
        }
    }

    fn remove(&mut self, address: IpAddr) {
        let Some(holders) = self.addresses.get_mut(&address) else { return };
        *holders -= 1;
        if *holders == 0 {
            self.addresses.remove(&address);
            *self.of_mut(Family::of(address)) -= 1;
        }
    }
}

impl Quotas {
    /// Whether some quota cannot be judged without a namespace's labels.
    pub(crate) fn need_labels(&self) -> bool {
        self.all.values().any(|counted| !counted.quota.audience.namespace_selectors.is_empty())
    }

    pub(crate) fn get(&self, name: &QuotaName) -> Option<&Quota> {
        self.all.get(name).map(|counted| &counted.quota)
    }

    /// Puts a quota in place of the one of that name; [`Quotas::join`] and [`Quotas::add`] have to follow for
    /// every namespace and address there is.
    pub(crate) fn set(&mut self, name: &QuotaName, quota: Option<Quota>) {
        self.touched.insert(name.clone());
        for member in self.of_namespace.values_mut() {
            member.quotas.retain(|other| other != name);
        }
        match quota {
            Some(quota) => drop(self.all.insert(name.clone(), Counted { quota, counters: BTreeMap::new() })),
            None => drop(self.all.remove(name)),
        }
    }

    /// Whether a quota is for a namespace with these labels.
    pub(crate) fn is_for(&self, name: &QuotaName, namespace: &str, labels: Option<&Labels>) -> bool {
        self.get(name).is_some_and(|quota| quota.is_for(namespace, labels))
    }

    /// Has a quota count what a namespace holds from now on.
    pub(crate) fn join(&mut self, name: &QuotaName, namespace: &str) {
        let Some(Member { quotas, .. }) = self.of_namespace.get_mut(namespace) else { return };
        if !quotas.contains(name) {
            quotas.push(name.clone());
            quotas.sort();
        }
    }

    /// The namespaces with Services.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.of_namespace.keys().cloned().collect()
    }

    /// Notes that a namespace with these labels has a Service more.
    pub(crate) fn enter(&mut self, namespace: &str, labels: Option<&Labels>) {
        match self.of_namespace.get_mut(namespace) {
            Some(member) => member.services += 1,
            None => {
                let member = Member { services: 1, quotas: self.all_for(namespace, labels) };
                self.of_namespace.insert(namespace.to_owned(), member);
            }
        }
    }

    /// Notes that it has one less.
    pub(crate) fn leave(&mut self, namespace: &str) {
        if let Some(member) = self.of_namespace.get_mut(namespace) {
            member.services -= 1;
            if member.services == 0 {
                self.of_namespace.remove(namespace);
            }
        }
    }

    fn all_for(&self, namespace: &str, labels: Option<&Labels>) -> Vec<QuotaName> {
        let quotas = self.all.iter().filter(|(_, counted)| counted.quota.is_for(namespace, labels));
        quotas.map(|(name, _)| name.clone()).collect()
    }

    /// Which quotas a namespace with these labels has, as they are now; gives back those it had.
    pub(crate) fn assign(&mut self, namespace: &str, labels: Option<&Labels>) -> Vec<QuotaName> {
        let quotas = self.all_for(namespace, labels);
        let member = self.of_namespace.get_mut(namespace);
        member.map(|member| std::mem::replace(&mut member.quotas, quotas)).unwrap_or_default()
    }

    pub(crate) fn of(&self, namespace: &str) -> &[QuotaName] {
        self.of_namespace.get(namespace).map_or(&[], |member| &member.quotas)
    }

    /// Counts an address that a Service of this namespace holds from a pool.
    pub(crate) fn add(&mut self, namespace: &str, pool: &PoolName, address: IpAddr) {
        let Some(member) = self.of_namespace.get(namespace) else { return };
        for name in &member.quotas {
            if let Some(counted) = self.all.get_mut(name) {
                counted.add(namespace, pool, address);
            }
            note(&mut self.touched, name);
        }
    }

    /// Counts it no more.
    pub(crate) fn remove(&mut self, namespace: &str, pool: &PoolName, address: IpAddr) {
        let Some(member) = self.of_namespace.get(namespace) else { return };
        for name in &member.quotas {
            if let Some(counted) = self.all.get_mut(name) {
                self.relieved.extend(counted.remove(name, namespace, pool, address));
            }
            note(&mut self.touched, name);
        }
    }

    /// Counts an address towards one quota.
    pub(crate) fn add_to(&mut self, name: &QuotaName, namespace: &str, pool: &PoolName, address: IpAddr) {
        if let Some(counted) = self.all.get_mut(name) {
            counted.add(namespace, pool, address);
        }
        note(&mut self.touched, name);
    }

    /// Counts it no more towards one quota.
    pub(crate) fn remove_from(
        &mut self,
        name: &QuotaName,
        namespace: &str,
        pool: &PoolName,
        address: IpAddr,
    ) {
        if let Some(counted) = self.all.get_mut(name) {
            self.relieved.extend(counted.remove(name, namespace, pool, address));
        }
        note(&mut self.touched, name);
    }

    pub(crate) fn take_relieved(&mut self) -> BTreeSet<Scope> {
        std::mem::take(&mut self.relieved)
    }

    /// Whether there is room for one address more.
    pub(crate) fn has_room(&self, scope: &Scope) -> bool {
        let Some(counted) = self.all.get(&scope.quota) else { return true };
        let used = counted.counters.get(&scope.namespace).map_or(0, |counter| counter.used(scope.family));
        counted.quota.limit(scope.family).is_none_or(|limit| used < limit)
    }

    /// Whether a Service may have this in place of what it has.
    ///
    /// # Errors
    /// The first quota that it would exceed. One that is exceeded already forbids only what adds to it.
    pub(crate) fn check(&self, exchange: &Exchange<'_>) -> Result<(), Refusal> {
        for name in self.of(&exchange.key.namespace) {
            let Some(counted) = self.all.get(name) else { continue };
            // What only those hold that are leaving it would not go on counting by itself.
            let stays = |address: &IpAddr| {
                let mut others = exchange.shared.iter().filter(|(shared, _)| shared == address);
                others.any(|(_, other)| match counted.quota.per {
                    Per::Namespace => *other == &*exchange.key.namespace,
                    Per::Quota => self.of(other).contains(name),
                })
            };
            for family in Family::ALL {
                counted.check(name, family, exchange, stays)?;
            }
        }
        Ok(())
    }

    /// The first quota that leaves no room for an address more of a family, all of it that is held given up.
    pub(crate) fn stop(&self, exchange: &Exchange<'_>, family: Family) -> Option<Scope> {
        let stops = |name: &QuotaName| {
            let counted = self.all.get(name)?;
            let room = counted.room(family, exchange)?;
            (room == 0).then(|| Scope {
                quota: name.clone(),
                namespace: counted.quota.scope(&exchange.key.namespace),
                family,
            })
        };
        self.of(&exchange.key.namespace).iter().find_map(stops)
    }

    pub(crate) fn uses(&self, name: &QuotaName) -> Vec<QuotaUse> {
        let Some(counted) = self.all.get(name) else { return Vec::new() };
        let mut uses: Vec<_> =
            counted.counters.iter().map(|(namespace, counter)| told(namespace, counter)).collect();
        if uses.is_empty() && counted.quota.per == Per::Quota {
            uses.push(told(&None, &Counter::default()));
        }
        uses.sort_by_key(|used| {
            (std::cmp::Reverse(used.ipv4.saturating_add(used.ipv6)), used.namespace.clone())
        });
        uses.truncate(TOLD);
        uses
    }

    pub(crate) fn take_touched(&mut self) -> BTreeSet<QuotaName> {
        std::mem::take(&mut self.touched)
    }
}

fn told(namespace: &Option<String>, counter: &Counter) -> QuotaUse {
    QuotaUse { namespace: namespace.clone(), ipv4: counter.ipv4, ipv6: counter.ipv6 }
}

fn note(touched: &mut BTreeSet<QuotaName>, name: &QuotaName) {
    if !touched.contains(name) {
        touched.insert(name.clone());
    }
}

impl Counted {
    fn add(&mut self, namespace: &str, pool: &PoolName, address: IpAddr) {
        if self.quota.counts(pool) {
            self.counters.entry(self.quota.scope(namespace)).or_default().add(address);
        }
    }

    /// Counts it no more; gives back the limit that has more room now.
    fn remove(
        &mut self,
        name: &QuotaName,
        namespace: &str,
        pool: &PoolName,
        address: IpAddr,
    ) -> Option<Scope> {
        let scope = self.quota.scope(namespace);
        let counter = self.counters.get_mut(&scope).filter(|_| self.quota.counts(pool))?;
        counter.remove(address);
        if counter.addresses.is_empty() {
            self.counters.remove(&scope);
        }
        Some(Scope { quota: name.clone(), namespace: scope, family: Family::of(address) })
    }

    /// How many addresses of a family there may be beside those that stay: what the limit leaves when all that
    /// is given up is gone; or one in place of each that was granted, also where the limit is exceeded already.
    /// `None` where there is no limit.
    fn room(&self, family: Family, exchange: &Exchange<'_>) -> Option<u32> {
        let limit = self.quota.limit(family).filter(|_| self.quota.counts(exchange.pool))?;
        let counter = self.counters.get(&self.quota.scope(&exchange.key.namespace));
        let used = counter.map_or(0, |counter| counter.used(family));
        let (mut left, mut replaced) = (0, 0);
        for (address, from) in exchange.held {
            if Family::of(*address) == family
                && self.quota.counts(from)
                && !exchange.grant.contains(address)
                && counter.and_then(|counter| counter.addresses.get(address)) == Some(&1)
            {
                left += 1;
                replaced += u32::from(exchange.granted.contains(address));
            }
        }
        Some(limit.saturating_sub(used.saturating_sub(left)).max(replaced))
    }

    fn check(
        &self,
        name: &QuotaName,
        family: Family,
        exchange: &Exchange<'_>,
        stays: impl Fn(&IpAddr) -> bool,
    ) -> Result<(), Refusal> {
        let (Some(limit), Some(room)) = (self.quota.limit(family), self.room(family, exchange)) else {
            return Ok(());
        };
        let scope = self.quota.scope(&exchange.key.namespace);
        let counter = self.counters.get(&scope);
        let counted = |address: &IpAddr| counter.is_some_and(|one| one.addresses.contains_key(address));
        let has = |address: &IpAddr| exchange.granted.contains(address);
        let counts = |address: &IpAddr| has(address) || counted(address) && stays(address);
        let news =
            exchange.grant.iter().filter(|address| Family::of(**address) == family && !counts(address));
        if u32::try_from(news.count()).unwrap_or(u32::MAX) <= room {
            return Ok(());
        }
        let used = counter.map_or(0, |counter| counter.used(family));
        Err(Refusal::QuotaExceeded { quota: name.clone(), namespace: scope, family, used, limit })
    }
}
