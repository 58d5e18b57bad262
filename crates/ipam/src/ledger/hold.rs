use std::net::IpAddr;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use super::Ledger;
use crate::Request;

impl Ledger {
    /// Notes that a Service holds an address, from this pool.
    pub(super) fn hold(&mut self, address: IpAddr, key: &ServiceKey, pool: &PoolName) {
        let from = self.register.held_from(address, key);
        if from == Some(pool) {
            return;
        }
        match from.cloned() {
            Some(from) => self.quotas.remove(&key.namespace, &from, address),
            None => self.sharers.join(address, key),
        }
        self.register.hold(address, key, pool);
        self.quotas.add(&key.namespace, pool, address);
        self.touch_reservation(address);
    }

    /// Frees what a Service holds that asks for this. What its reservation gives away is laid on another shelf.
    pub(super) fn free(
        &mut self,
        now: Instant,
        key: &ServiceKey,
        request: Option<&Request>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) {
        let mut given_away = false;
        let mut is_lacked = false;
        for address in addresses {
            let Some(pool) = self.register.held_from(address, key).cloned() else { continue };
            self.register.free(now, address, key);
            self.sharers.part(address, key);
            self.sharers.see_off(address, key);
            self.quotas.remove(&key.namespace, &pool, address);
            given_away |= self.give_back(key, request, address);
            is_lacked |= self.is_lacked(address);
            self.wake(address);
        }
        if given_away || is_lacked {
            self.lay_out();
        }
    }

    /// Tells an address's reservation that the Service gave it back; says whether it leaves the reservation.
    fn give_back(&mut self, key: &ServiceKey, request: Option<&Request>, address: IpAddr) -> bool {
        let by = self.register.shelf(address).and_then(|shelf| shelf.reservation.clone());
        let Some(by) = by else { return false };
        self.reservations.touch(&by);
        let is_for = request.is_some_and(|request| {
            let namespace = self.namespaces.get(&*key.namespace);
            self.reservations.of(key, &request.labels, namespace).any(|name| *name == by)
        });
        is_for && !self.register.is_held(address) && self.reservations.give_back(&by, address)
    }

    pub(super) fn touch_reservation(&mut self, address: IpAddr) {
        if let Some(by) = self.register.shelf(address).and_then(|shelf| shelf.reservation.as_ref()) {
            self.reservations.touch(by);
        }
    }
}
