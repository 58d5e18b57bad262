use std::collections::BTreeSet;
use std::net::IpAddr;

use names::PoolName;

use crate::waiters::{Place, Wanted};
use crate::{Decision, Request};

/// What is known of a Service.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    pub(crate) request: Option<Request>,
    pub(crate) decision: Decision,
    /// Addresses that it gave up and that its status may still show, with the pool of each.
    pub(crate) parting: BTreeSet<IpAddr>,
    /// The pool that stopped being for it, when its labels or its namespace's changed.
    pub(crate) misfit: Option<PoolName>,
    pub(crate) wants: Vec<Wanted>,
}

impl Entry {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            request: None,
            decision: Decision::default(),
            parting: BTreeSet::new(),
            misfit: None,
            wants: Vec::new(),
        }
    }

    /// All that it holds: what it was granted, what it is moved from, and what it parts with.
    pub(crate) fn held(&self) -> BTreeSet<IpAddr> {
        let granted = self.decision.grant.iter().flat_map(|grant| &grant.addresses);
        let left = self.decision.moving.iter().flat_map(|moving| &moving.from);
        granted.chain(left).chain(&self.parting).copied().collect()
    }
}
