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
    /// The quotas of each namespace that was asked about since one of them changed.
    of_namespace: BTreeMap<String, Vec<QuotaName>>,
    touched: BTreeSet<QuotaName>,
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
    /// What it would hold.
    pub(crate) grant: &'a [IpAddr],
    /// All that it holds, with the pool of each.
    pub(crate) held: &'a [(IpAddr, PoolName)],
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
        for quotas in self.of_namespace.values_mut() {
            quotas.retain(|other| other != name);
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
        let quotas = self.of_namespace.entry(namespace.to_owned()).or_default();
        if !quotas.contains(name) {
            quotas.push(name.clone());
            quotas.sort();
        }
    }

    /// The namespaces that were asked about.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.of_namespace.keys().cloned().collect()
    }

    /// Which quotas a namespace with these labels has, as they are now; gives back those it had.
    pub(crate) fn assign(&mut self, namespace: &str, labels: Option<&Labels>) -> Vec<QuotaName> {
        let quotas = self.all.iter().filter(|(_, counted)| counted.quota.is_for(namespace, labels));
        let quotas = quotas.map(|(name, _)| name.clone()).collect();
        self.of_namespace.insert(namespace.to_owned(), quotas).unwrap_or_default()
    }

    pub(crate) fn knows(&self, namespace: &str) -> bool {
        self.of_namespace.contains_key(namespace)
    }

    pub(crate) fn of(&self, namespace: &str) -> &[QuotaName] {
        self.of_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Counts an address that a Service of this namespace holds from a pool.
    pub(crate) fn add(&mut self, namespace: &str, pool: &PoolName, address: IpAddr) {
        self.each(namespace, pool, |counter| counter.add(address));
    }

    /// Counts it no more.
    pub(crate) fn remove(&mut self, namespace: &str, pool: &PoolName, address: IpAddr) {
        self.each(namespace, pool, |counter| counter.remove(address));
    }

    /// Counts an address towards one quota.
    pub(crate) fn add_to(&mut self, name: &QuotaName, namespace: &str, pool: &PoolName, address: IpAddr) {
        let Some(counted) = self.all.get_mut(name).filter(|counted| counted.quota.counts(pool)) else {
            return;
        };
        counted.counters.entry(counted.quota.scope(namespace)).or_default().add(address);
    }

    /// Counts it no more towards one quota.
    pub(crate) fn remove_from(
        &mut self,
        name: &QuotaName,
        namespace: &str,
        pool: &PoolName,
        address: IpAddr,
    ) {
        let Some(counted) = self.all.get_mut(name).filter(|counted| counted.quota.counts(pool)) else {
            return;
        };
        let scope = counted.quota.scope(namespace);
        if let Some(counter) = counted.counters.get_mut(&scope) {
            counter.remove(address);
            if counter.addresses.is_empty() {
                counted.counters.remove(&scope);
            }
        }
        self.touched.insert(name.clone());
    }

    fn each(&mut self, namespace: &str, pool: &PoolName, change: impl Fn(&mut Counter)) {
        let Some(names) = self.of_namespace.get(namespace) else { return };
        for name in names {
            let Some(counted) = self.all.get_mut(name).filter(|counted| counted.quota.counts(pool)) else {
                continue;
            };
            let scope = counted.quota.scope(namespace);
            let counter = counted.counters.entry(scope.clone()).or_default();
            change(counter);
            if counter.addresses.is_empty() {
                counted.counters.remove(&scope);
            }
            self.touched.insert(name.clone());
        }
    }

    /// Whether a Service may have this in place of what it has.
    ///
    /// # Errors
    /// The first quota that it would exceed. One that is exceeded already forbids only what adds to it.
    pub(crate) fn check(&self, exchange: &Exchange<'_>) -> Result<(), Refusal> {
        for name in self.of(&exchange.key.namespace) {
            let Some(counted) = self.all.get(name) else { continue };
            for family in Family::ALL {
                counted.check(name, family, exchange)?;
            }
        }
        Ok(())
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

impl Counted {
    fn check(&self, name: &QuotaName, family: Family, exchange: &Exchange<'_>) -> Result<(), Refusal> {
        let Some(limit) = self.quota.limit(family) else { return Ok(()) };
        let Exchange { key, pool, grant, held } = exchange;
        if !self.quota.counts(pool) {
            return Ok(());
        }
        let scope = self.quota.scope(&key.namespace);
        let counter = self.counters.get(&scope);
        let holders = |address: &IpAddr| counter.and_then(|counter| counter.addresses.get(address)).copied();
        let used = counter.map_or(0, |counter| counter.used(family));
        let news =
            grant.iter().filter(|address| Family::of(**address) == family && holders(address).is_none());
        let news = u32::try_from(news.count()).unwrap_or(u32::MAX);
        let left = held.iter().filter(|(address, from)| {
            Family::of(*address) == family
                && self.quota.counts(from)
                && !grant.contains(address)
                && holders(address) == Some(1)
        });
        let left = u32::try_from(left.count()).unwrap_or(u32::MAX);
        if news == 0 || used.saturating_add(news).saturating_sub(left) <= limit {
            return Ok(());
        }
        Err(Refusal::QuotaExceeded { quota: name.clone(), namespace: scope, family, used, limit })
    }
}
