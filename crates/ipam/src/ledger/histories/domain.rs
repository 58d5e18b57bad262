//! Whose an address is, found the slow way.

use std::net::{IpAddr, Ipv4Addr};

use names::{PoolName, ReservationName, ServiceKey};

use super::Cluster;
use crate::{Audience, BuggyAddresses, Holder, Pool, Request};

/// Every address that a history can name.
pub(super) fn all() -> impl Iterator<Item = IpAddr> {
    let v4 = [0, 1, 2, 3, 4, 5, 6, 7, 254, 255].map(|last| IpAddr::from([10, 0, 0, last]));
    let v6 = ["fd00::", "fd00::1", "fd00::2", "fd00::3"].map(|address| address.parse().unwrap());
    v4.into_iter().chain(v6).chain([IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9))])
}

impl Cluster {
    /// The pool that has an address: the eldest that contains it.
    pub(super) fn home(&self, address: IpAddr) -> Option<&PoolName> {
        let with = self.pools.iter().filter(|(_, pool)| contains(pool, address));
        with.min_by_key(|(name, pool)| (pool.created, *name)).map(|(name, _)| name)
    }

    /// The reservation that has it.
    pub(super) fn reserved(&self, address: IpAddr) -> Option<&ReservationName> {
        self.home(address)?;
        let claims = self.reservations.iter().filter(|(name, reservation)| {
            let state = self.ledger.reservation_state(name).expect("it is there");
            let over = reservation.expires.is_some_and(|end| end <= self.now);
            let listed = reservation.prefixes.iter().any(|prefix| prefix.contains(address));
            !over && !state.released.contains(&address) && (listed || state.chosen.contains(&address))
        });
        claims.min_by_key(|(name, reservation)| (reservation.created, *name)).map(|(name, _)| name)
    }

    pub(super) fn is_for(&self, name: &ReservationName, key: &ServiceKey, request: &Request) -> bool {
        match &self.reservations[name].holder {
            Holder::Service(one) => one == key,
            Holder::Audience(many) => self.belongs(many, key, request),
        }
    }

    pub(super) fn has_namespace(&self, audience: &Audience, namespace: &str) -> bool {
        let open = audience.namespaces.is_empty() && audience.namespace_selectors.is_empty();
        let labels = self.namespaces.get(namespace);
        let selected = || {
            labels.is_some_and(|labels| audience.namespace_selectors.iter().any(|one| one.matches(labels)))
        };
        open || audience.namespaces.contains(namespace) || selected()
    }

    pub(super) fn belongs(&self, audience: &Audience, key: &ServiceKey, request: &Request) -> bool {
        let selectors = &audience.service_selectors;
        let selected = selectors.is_empty() || selectors.iter().any(|one| one.matches(&request.labels));
        self.has_namespace(audience, &key.namespace) && selected
    }
}

pub(super) fn contains(pool: &Pool, address: IpAddr) -> bool {
    let buggy = matches!(address, IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
    let avoided = buggy && pool.buggy_addresses == BuggyAddresses::Avoided;
    let within = |prefixes: &[ipnetwork::IpNetwork]| prefixes.iter().any(|prefix| prefix.contains(address));
    within(&pool.prefixes) && !within(&pool.exclude) && !avoided
}
