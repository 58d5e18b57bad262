use std::collections::BTreeMap;
use std::net::IpAddr;

use names::{Labels, PoolName};

use crate::view::{Pool, Service};

/// The pools that there are, and of those that are gone what Services still need.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownPools {
    pools: BTreeMap<PoolName, Pool>,
    /// How many addresses say that they came from it.
    named: BTreeMap<PoolName, usize>,
    /// The last labels of pools that are gone, while an address says that it came from there.
    gone: BTreeMap<PoolName, Labels>,
}

/// The pool that an address is announced under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) name: &'a PoolName,
    /// `None`: the pool was gone before this View began.
    pub(crate) labels: Option<&'a Labels>,
}

impl KnownPools {
    /// A pool as it is now; says whether that changed anything.
    pub(crate) fn set(&mut self, name: PoolName, pool: Option<Pool>) -> bool {
        let Some(pool) = pool else {
            let Some(gone) = self.pools.remove(&name) else { return false };
            if self.named.contains_key(&name) {
                self.gone.insert(name, gone.labels);
            }
            return true;
        };
        if self.pools.get(&name) == Some(&pool) {
            return false;
        }
        self.gone.remove(&name);
        self.pools.insert(name, pool);
        true
    }

    pub(crate) fn has(&self, name: &PoolName) -> bool {
        self.pools.contains_key(name)
    }

    /// A pool that there is.
    pub(crate) fn origin_of(&self, name: &PoolName) -> Option<Origin<'_>> {
        let (name, pool) = self.pools.get_key_value(name)?;
        Some(Origin { name, labels: Some(&pool.labels) })
    }

    /// A Service's addresses name these pools from now on, and no longer those that they named before.
    pub(crate) fn name(&mut self, before: Option<&Service>, after: Option<&Service>) {
        // First those that are named from now on: a pool that stays named is not forgotten.
        for name in pools_of(after) {
            *self.named.entry(name.clone()).or_default() += 1;
        }
        for name in pools_of(before) {
            let left = self.named.get(name).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.named.remove(name);
                self.gone.remove(name);
            } else {
                self.named.insert(name.clone(), left);
            }
        }
    }

    /// The pool of an address: the one that it came from, known or not; where nothing says which, one that contains
    /// it.
    pub(crate) fn origin<'a>(&'a self, named: Option<&'a PoolName>, address: IpAddr) -> Option<Origin<'a>> {
        if let Some(name) = named {
            let there = self.pools.get(name).map(|pool| &pool.labels);
            return Some(Origin { name, labels: there.or_else(|| self.gone.get(name)) });
        }
        let contains = |pool: &Pool| pool.prefixes.iter().any(|prefix| prefix.contains(address));
        let found = self.pools.iter().find(|(_, pool)| contains(pool));
        found.map(|(name, pool)| Origin { name, labels: Some(&pool.labels) })
    }
}

fn pools_of(service: Option<&Service>) -> impl Iterator<Item = &PoolName> {
    service.into_iter().flat_map(|service| service.addresses.values()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::TrafficPolicy;

    fn service(pools: &[(&str, &str)]) -> Service {
        let address = |(address, pool): &(&str, &str)| (address.parse().unwrap(), Some(PoolName::new(*pool)));
        Service {
            uid: "u".to_owned(),
            labels: Labels::new(),
            addresses: pools.iter().map(address).collect(),
            allocated_since: None,
            policy: TrafficPolicy::Cluster,
            sharing: None,
        }
    }

    fn pool(tier: &str) -> Pool {
        let labels = [("tier".to_owned(), tier.to_owned())].into();
        Pool { labels, prefixes: vec!["10.0.0.0/24".parse().unwrap()] }
    }

    /// The labels under which an address of this pool is announced, as `name tier`.
    fn origin(pools: &KnownPools, named: Option<&str>, address: &str) -> Option<String> {
        let named = named.map(PoolName::new);
        let found = pools.origin(named.as_ref(), address.parse().unwrap())?;
        let tier = found.labels.map_or("?", |labels| labels.get("tier").unwrap());
        Some(format!("{} {tier}", found.name))
    }

    #[test]
    fn a_pool_that_is_gone_is_remembered_while_an_address_names_it() {
        let mut pools = KnownPools::default();
        let old = PoolName::new("old");
        pools.set(old.clone(), Some(pool("gold")));
        let (one, two) =
            (service(&[("10.0.0.1", "old"), ("10.0.0.2", "old")]), service(&[("10.0.0.1", "old")]));
        pools.name(None, Some(&one));
        assert!(pools.set(old.clone(), None));
        assert!(!pools.set(old.clone(), None), "it is gone already");
        assert!(!pools.has(&old));
        assert_eq!(origin(&pools, Some("old"), "10.0.0.1").as_deref(), Some("old gold"));
        pools.name(Some(&one), Some(&two));
        assert_eq!(origin(&pools, Some("old"), "10.0.0.1").as_deref(), Some("old gold"));
        assert_eq!(origin(&pools, None, "10.0.0.1"), None, "it contains nothing any more");
        pools.name(Some(&two), None);
        assert_eq!((pools.gone.len(), pools.named.len()), (0, 0), "nobody names it any more");
        assert_eq!(origin(&pools, Some("old"), "10.0.0.1").as_deref(), Some("old ?"));
    }

    #[test]
    fn a_pool_that_is_gone_and_named_by_nobody_is_forgotten_at_once() {
        let mut pools = KnownPools::default();
        pools.set(PoolName::new("old"), Some(pool("gold")));
        pools.set(PoolName::new("old"), None);
        assert_eq!(pools.gone, BTreeMap::new());
    }

    #[test]
    fn a_pool_that_is_back_counts_as_it_is_now() {
        let mut pools = KnownPools::default();
        pools.name(None, Some(&service(&[("10.0.0.1", "old")])));
        for tier in ["gold", "iron"] {
            pools.set(PoolName::new("old"), Some(pool(tier)));
            assert_eq!(origin(&pools, Some("old"), "10.0.0.1"), Some(format!("old {tier}")));
            pools.set(PoolName::new("old"), None);
            assert_eq!(origin(&pools, Some("old"), "10.0.0.1"), Some(format!("old {tier}")));
        }
    }

    #[test]
    fn the_pool_that_it_came_from_goes_before_one_that_contains_it() {
        let mut pools = KnownPools::default();
        pools.set(PoolName::new("new"), Some(pool("iron")));
        pools.set(PoolName::new("far"), Some(Pool { prefixes: vec![], ..pool("gold") }));
        assert_eq!(origin(&pools, Some("far"), "10.0.0.1").as_deref(), Some("far gold"));
        assert_eq!(origin(&pools, None, "10.0.0.1").as_deref(), Some("new iron"));
        assert_eq!(origin(&pools, Some("never"), "10.0.0.1").as_deref(), Some("never ?"));
        assert_eq!(origin(&pools, None, "10.9.0.1"), None);
    }

    #[test]
    fn counts_follow_every_change_of_a_service() {
        let mut pools = KnownPools::default();
        let states = [
            None,
            Some(service(&[("10.0.0.1", "a")])),
            Some(service(&[("10.0.0.1", "a"), ("10.1.0.1", "b")])),
            Some(service(&[("10.1.0.1", "b")])),
            None,
        ];
        for pair in states.windows(2) {
            pools.name(pair[0].as_ref(), pair[1].as_ref());
            let named: BTreeSet<_> = pools.named.keys().collect();
            assert_eq!(named, pools_of(pair[1].as_ref()).collect());
        }
    }
}
