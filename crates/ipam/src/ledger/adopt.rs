use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use names::{PoolName, ServiceKey};

use super::{Changed, Ledger};
use crate::register::Rest;
use crate::sharers::Terms;
use crate::{Decision, Grant, Moving, Refusal, Request};

/// What a Service's status says that it holds.
#[derive(Debug, Clone, Default)]
pub struct Adopted {
    /// Its addresses, in order.
    pub addresses: Vec<IpAddr>,
    /// The pool that they came from, as its annotation says.
    pub pool: Option<PoolName>,
    /// The move that it is in the middle of; its addresses are among those above.
    pub moving: Option<Moving>,
    /// What it asks for; nothing if that cannot be understood.
    pub request: Option<Request>,
}

impl Ledger {
    /// Takes over what a Service's status says that it holds.
    ///
    /// Who is adopted first keeps an address that cannot be shared, so the caller brings the elder first. An
    /// address without a record is adopted only if some pool has it. The refusals tell what was not adopted; the
    /// Service gets something else when it asks.
    pub fn adopt(&mut self, key: &ServiceKey, adopted: Adopted) -> Vec<Refusal> {
        let Adopted { addresses, pool: recorded, moving, request } = adopted;
        let had: BTreeSet<_> = self.entry(key).held().collect();
        match request {
            Some(request) => self.share(key, request.sharing),
            None => self.sharers.set_unknown(key),
        }
        let mut refusals = Vec::new();
        let (mut granted, mut left) = (Vec::new(), Vec::new());
        let mut seen = had;
        for address in addresses.into_iter().filter(|address| seen.insert(*address)) {
            let leaves = moving.as_ref().filter(|moving| moving.from.contains(&address));
            let pool = leaves.map(|moving| &moving.pool).or(recorded.as_ref());
            if !self.agrees(key, address)
                && let Some(refusal) = self.clashes(key, address)
            {
                refusals.push(refusal);
            } else if pool.is_none() && self.register.pool_of(address).is_none() {
                refusals.push(Refusal::AddressNotInPool { address, pools: Vec::new() });
            } else if leaves.is_some() {
                left.push(address);
            } else {
                granted.push(address);
            }
        }
        let grant = self.regranted(granted, recorded);
        let moving = moving.map(|moving| Moving { from: left, ..moving });
        let moving = moving.filter(|moving| !moving.from.is_empty());
        self.take_over(key, grant, moving);
        refusals
    }

    /// Whether a Service and all that hold an address share it on terms that agree.
    fn agrees(&self, key: &ServiceKey, address: IpAddr) -> bool {
        let holders = self.register.count(address);
        let sharing = self.sharers.get(key);
        holders == 0 || sharing.is_some_and(|sharing| self.sharers.agree(address, holders, sharing))
    }

    /// Who keeps an address from being adopted: one that does not share it on the same terms. Where those of one of
    /// them were never understood, they are trusted to agree; else what cannot be read of one would cost the others
    /// their address.
    fn clashes(&self, key: &ServiceKey, address: IpAddr) -> Option<Refusal> {
        let ours = self.sharers.terms(key);
        let clashes = |other: &&ServiceKey| match (ours, self.sharers.terms(other)) {
            (Terms::Known(ours), Terms::Known(theirs)) => ours.clash(theirs).is_some(),
            (Terms::Unknown, Terms::Known(_)) | (Terms::Known(_), Terms::Unknown) => false,
            (Terms::Alone, _) | (_, Terms::Alone) | (Terms::Unknown, Terms::Unknown) => true,
        };
        let by = self.register.holders(address).filter(|other| *other != key).find(clashes)?;
        Some(Refusal::AddressInUse { address, by: by.clone() })
    }

    fn regranted(&self, addresses: Vec<IpAddr>, recorded: Option<PoolName>) -> Option<Grant> {
        let first = addresses.first()?;
        let pool = recorded.or_else(|| self.register.pool_of(*first).cloned())?;
        Some(Grant { addresses, pool })
    }

    fn take_over(&mut self, key: &ServiceKey, grant: Option<Grant>, moving: Option<Moving>) {
        let Some(before) = self.decision(key) else { return };
        let grant = match (before.grant.clone(), grant) {
            (Some(mut before), Some(more)) => {
                before.addresses.extend(more.addresses);
                Some(before)
            }
            (before, more) => before.or(more),
        };
        if let Some(moving) = &moving {
            for address in &moving.from {
                self.hold(*address, key, &moving.pool);
            }
        }
        let moving = moving.or_else(|| self.decision(key)?.moving.clone());
        let decision = Decision { grant, moving, ..Decision::default() };
        self.carry_out(key, decision, &mut Changed::new());
    }

    /// Takes over that an address rests, as its pool's status says.
    pub fn rest(&mut self, now: Instant, rest: Rest) {
        if rest.until > now {
            self.register.rest(rest);
        }
    }
}
