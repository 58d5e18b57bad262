use std::collections::BTreeSet;
use std::net::IpAddr;

use names::PoolName;

use crate::waiters::{Lack, Place, Turn, Wanted};
use crate::{Decision, Refusal, Request};

/// What is known of a Service.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) place: Place,
    /// What it asks for, as far as it was ever understood.
    pub(crate) request: Option<Request>,
    /// Why what it asks for now cannot be understood.
    pub(crate) garbled: Option<Refusal>,
    pub(crate) decision: Decision,
    /// Addresses that it gave up and that its status may still show.
    pub(crate) parting: BTreeSet<IpAddr>,
    /// The pool that stopped being for it, when its labels or its namespace's changed.
    pub(crate) misfit: Option<PoolName>,
    pub(crate) waits: Option<Waits>,
}

/// What a Service waits for, and what for want of it it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) lack: Lack,
    pub(crate) wants: Vec<Wanted>,
}

impl Entry {
    pub(crate) fn new(place: Place) -> Self {
        Self {
            place,
            request: None,
            garbled: None,
            decision: Decision::default(),
            parting: BTreeSet::new(),
            misfit: None,
            waits: None,
        }
    }

    pub(crate) fn turn(&self, lack: Lack) -> Turn {
        Turn { lack, place: self.place }
    }

    /// What it asks for, if that can be understood now.
    pub(crate) fn asks(&self) -> Option<&Request> {
        self.request.as_ref().filter(|_| self.garbled.is_none())
    }

    pub(crate) fn granted(&self) -> &[IpAddr] {
        self.decision.grant.as_ref().map_or(&[], |grant| &grant.addresses)
    }

    /// What it is moved from.
    pub(crate) fn left(&self) -> &[IpAddr] {
        self.decision.moving.as_ref().map_or(&[], |moving| &moving.from)
    }

    /// All that it holds: what it was granted, what it is moved from, and what it parts with. Each once.
    pub(crate) fn held(&self) -> impl Iterator<Item = IpAddr> {
        self.granted().iter().chain(self.left()).chain(&self.parting).copied()
    }
}
