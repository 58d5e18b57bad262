use std::collections::{BTreeMap, BTreeSet};

use names::{PoolName, ServiceKey};

/// Who holds something from which pool, as their grants say.
#[derive(Debug, Clone, Default)]
pub(super) struct Under {
    pools: BTreeMap<PoolName, Tenants>,
}

#[derive(Debug, Clone, Default)]
struct Tenants {
    services: BTreeSet<ServiceKey>,
    namespaces: BTreeMap<String, usize>,
    /// Those that hold something which the pool would no longer give them.
    away: BTreeSet<ServiceKey>,
}

/// Whether a pool would still give out what is held from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// It would.
    There,
    /// It would not.
    Away,
}

impl Under {
    pub(super) fn enter(&mut self, key: &ServiceKey, pool: &PoolName, home: Home) {
        let tenants = match self.pools.get_mut(pool) {
            Some(tenants) => tenants,
            None => self.pools.entry(pool.clone()).or_default(),
        };
        if tenants.services.insert(key.clone()) {
            *tenants.namespaces.entry(key.namespace.clone()).or_default() += 1;
        }
        match home {
            Home::Away => drop(tenants.away.insert(key.clone())),
            Home::There => drop(tenants.away.remove(key)),
        }
    }

    pub(super) fn leave(&mut self, key: &ServiceKey, pool: &PoolName) {
        let Some(tenants) = self.pools.get_mut(pool) else { return };
        tenants.away.remove(key);
        if tenants.services.remove(key)
            && let Some(count) = tenants.namespaces.get_mut(&key.namespace)
        {
            *count -= 1;
            if *count == 0 {
                tenants.namespaces.remove(&key.namespace);
            }
        }
        if tenants.services.is_empty() {
            self.pools.remove(pool);
        }
    }

    pub(super) fn is_empty(&self, pool: &PoolName) -> bool {
        !self.pools.contains_key(pool)
    }

    /// The pools from which something is held, those that are gone among them.
    pub(super) fn pools(&self) -> impl Iterator<Item = &PoolName> {
        self.pools.keys()
    }

    pub(super) fn services(&self, pool: &PoolName) -> impl Iterator<Item = &ServiceKey> {
        self.pools.get(pool).into_iter().flat_map(|tenants| &tenants.services)
    }

    pub(super) fn away(&self, pool: &PoolName) -> impl Iterator<Item = &ServiceKey> {
        self.pools.get(pool).into_iter().flat_map(|tenants| &tenants.away)
    }

    pub(super) fn away_count(&self, pool: &PoolName) -> usize {
        self.pools.get(pool).map_or(0, |tenants| tenants.away.len())
    }

    /// The namespaces with the most Services, the first ones first.
    pub(super) fn top(&self, pool: &PoolName, count: usize) -> Vec<(String, usize)> {
        let namespaces = self.pools.get(pool).into_iter().flat_map(|tenants| &tenants.namespaces);
        let mut top: Vec<_> = namespaces.map(|(namespace, count)| (namespace.clone(), *count)).collect();
        top.sort_by_key(|(namespace, count)| (std::cmp::Reverse(*count), namespace.clone()));
        top.truncate(count);
        top
    }
}
