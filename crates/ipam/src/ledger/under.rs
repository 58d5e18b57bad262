use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use names::{PoolName, ServiceKey};

use crate::waiters::Place;

/// Who holds something from which pool, as their grants say.
#[derive(Debug, Clone, Default)]
pub(super) struct Under {
    pools: BTreeMap<PoolName, Tenants>,
}

#[derive(Debug, Clone, Default)]
struct Tenants {
    services: BTreeMap<Place, ServiceKey>,
    namespaces: BTreeMap<Arc<str>, usize>,
    /// Those that hold something which the pool would no longer give them.
    away: BTreeMap<Place, ServiceKey>,
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
    pub(super) fn enter(&mut self, place: Place, key: &ServiceKey, pool: &PoolName, home: Home) {
        let tenants = match self.pools.get_mut(pool) {
            Some(tenants) => tenants,
            None => self.pools.entry(pool.clone()).or_default(),
        };
        if let Entry::Vacant(vacant) = tenants.services.entry(place) {
            vacant.insert(key.clone());
            *tenants.namespaces.entry(key.namespace.clone()).or_default() += 1;
        }
        match home {
            Home::Away => drop(tenants.away.insert(place, key.clone())),
            Home::There => drop(tenants.away.remove(&place)),
        }
    }

    pub(super) fn leave(&mut self, place: Place, pool: &PoolName) {
        let Some(tenants) = self.pools.get_mut(pool) else { return };
        tenants.away.remove(&place);
        if let Some(key) = tenants.services.remove(&place)
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
        self.pools.get(pool).into_iter().flat_map(|tenants| tenants.services.values())
    }

    pub(super) fn away(&self, pool: &PoolName) -> impl Iterator<Item = &ServiceKey> {
        self.pools.get(pool).into_iter().flat_map(|tenants| tenants.away.values())
    }

    pub(super) fn away_count(&self, pool: &PoolName) -> usize {
        self.pools.get(pool).map_or(0, |tenants| tenants.away.len())
    }

    /// The namespaces with the most Services, the first ones first.
    pub(super) fn top(&self, pool: &PoolName, count: usize) -> Vec<(String, usize)> {
        let namespaces = self.pools.get(pool).into_iter().flat_map(|tenants| &tenants.namespaces);
        let mut top: Vec<_> = namespaces.map(|(namespace, count)| (namespace.to_string(), *count)).collect();
        top.sort_by_key(|(namespace, count)| (std::cmp::Reverse(*count), namespace.clone()));
        top.truncate(count);
        top
    }
}
