//! What the controller knows of the cluster, and what follows from it. One task owns it; there is no lock.
//!
//! Nothing is decided before every kind was listed once. From then on a change is decided in the step that brings
//! it, and its effects are differences: what a status should say and does not. An update that changes nothing, a
//! restart and a change that is no concern of a Service have no effect on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api::Condition;
use cluster::Severity;
use ipam::Ledger;
use k8s_openapi::jiff::Timestamp;
use names::{PoolName, ServiceKey};
use serde_json::{Value, json};

use self::pools::KnownPool;
use self::services::KnownService;
use crate::metrics::Metrics;
use crate::seen::{Kind, SeenPool, SeenService, SeenVerdict};

mod pools;
mod services;

/// One thing that is now so. `None`: it is gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    Service(ServiceKey, Option<SeenService>),
    Pool(PoolName, Option<SeenPool>),
    /// A kind of which the controller only says whether it is valid.
    Verdict(Kind, String, Option<SeenVerdict>),
    Synced(Kind),
}

/// What has to be done so that the cluster says what is decided here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// A strategic merge patch of a Service's status; it replaces one that is not written yet.
    Service(ServiceKey, Value),
    /// Nothing has to be written to this Service any more.
    Forget(ServiceKey),
    /// The status of a custom resource, to be applied.
    Status(Kind, String, Value),
    /// Something that people should be told about a Service.
    Event(Notice),
}

/// An Event about a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) service: ServiceKey,
    pub(crate) uid: String,
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) note: String,
}

/// The time of a step, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// For deadlines.
    pub(crate) instant: Instant,
    /// For what people read.
    pub(crate) wall: Timestamp,
}

pub(crate) struct World {
    unsynced: BTreeSet<Kind>,
    ledger: Ledger,
    services: BTreeMap<ServiceKey, KnownService>,
    /// Services that still carry what was written to them as LoadBalancers, when the first list came.
    marked: BTreeMap<ServiceKey, String>,
    pools: BTreeMap<PoolName, KnownPool>,
    /// Pools whose status may have to be written, and when.
    due: BTreeMap<PoolName, Instant>,
    verdicts: BTreeMap<(Kind, String), SeenVerdict>,
    metrics: Metrics,
    effects: Vec<Effect>,
}

impl World {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            unsynced: Kind::ALL.into(),
            ledger: Ledger::default(),
            services: BTreeMap::new(),
            marked: BTreeMap::new(),
            pools: BTreeMap::new(),
            due: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            metrics,
            effects: Vec::new(),
        }
    }

    /// Whether every kind was listed once.
    pub(crate) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Takes in what is now so; gives back what has to be done about it.
    pub(crate) fn apply(&mut self, update: Update, now: Now) -> Vec<Effect> {
        match update {
            Update::Service(key, seen) => self.apply_service(key, seen, now),
            Update::Pool(name, seen) => self.apply_pool(name, seen, now),
            Update::Verdict(kind, name, seen) => self.apply_verdict(kind, name, seen, now),
            Update::Synced(kind) => {
                if self.unsynced.remove(&kind) && self.is_synced() {
                    self.start(now);
                }
            }
        }
        self.take_effects(now)
    }

    /// Does what was put off until now.
    pub(crate) fn handle_timeout(&mut self, now: Now) -> Vec<Effect> {
        let changed = self.ledger.handle_timeout(now.instant);
        self.show_all(changed, now);
        self.take_effects(now)
    }

    /// When to call [`World::handle_timeout`] next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due.values().copied().chain(self.ledger.poll_timeout()).min()
    }

    /// The first decisions, with everything known that is to be known. Pools come first, then what the statuses
    /// say that the Services hold, and only then what else the Services ask for; the older Service comes first
    /// each time, so of two that hold one address it keeps it.
    fn start(&mut self, now: Now) {
        for name in self.pools.keys().cloned().collect::<Vec<_>>() {
            self.stock(&name, now);
        }
        self.start_services(now);
        for (kind, name) in self.verdicts.keys().cloned().collect::<Vec<_>>() {
            self.judge(kind, &name, now);
        }
    }

    fn apply_verdict(&mut self, kind: Kind, name: String, seen: Option<SeenVerdict>, now: Now) {
        let Some(mut seen) = seen else {
            self.verdicts.remove(&(kind, name));
            return;
        };
        let before = self.verdicts.remove(&(kind, name.clone()));
        // What cannot be decoded does not say what stands in its status: as far as is known, what stood there.
        seen.status = seen.status.or_else(|| before.and_then(|before| before.status));
        self.verdicts.insert((kind, name.clone()), seen);
        if self.is_synced() {
            self.judge(kind, &name, now);
        }
    }

    /// Says of an object whether it is valid, unless its status does.
    fn judge(&mut self, kind: Kind, name: &str, now: Now) {
        let Some(seen) = self.verdicts.get_mut(&(kind, name.to_owned())) else { return };
        let ready = Condition::ready(seen.meaning.as_ref().copied()).at(seen.generation);
        let recorded = seen.status.get_or_insert_default();
        if !ready.is_in(recorded) {
            let written = ready.written(recorded, now.wall);
            let status = json!({ "status": { "conditions": [&written] } });
            // An object that cannot be decoded never shows what was written to it.
            recorded.retain(|condition| condition.type_ != written.type_);
            recorded.push(written);
            self.effects.push(Effect::Status(kind, name.to_owned(), status));
        }
    }

    fn take_effects(&mut self, now: Now) -> Vec<Effect> {
        self.note_touched_pools(now);
        self.write_due_pools(now);
        std::mem::take(&mut self.effects)
    }
}

/// The earlier of two deadlines, of which one may be none.
fn sooner(one: Option<Instant>, other: Instant) -> Instant {
    one.map_or(other, |one| one.min(other))
}

/// A pool's status follows its use within this, so that the Services' own statuses go first.
const SETTLE: Duration = Duration::from_millis(100);
/// A pool's status is written at most so often.
const PACE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
