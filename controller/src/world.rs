//! What the controller knows of the cluster, and what follows from it. One task owns it; there is no lock.
//!
//! Nothing is decided before every kind was listed once, nor while another replica leads. From then on a change is decided in the step that brings
//! it, and its effects are differences: what a status should say and does not. An update that changes nothing, a
//! restart and a change that is no concern of a Service have no effect on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api::Condition;
use cluster::Severity;
use ipam::Ledger;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
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
    /// This replica leads from now on; the Services that there are, with their versions.
    Leads(BTreeMap<ServiceKey, u64>),
    /// It does not lead.
    StandsBy,
}

/// What has to be done so that the cluster says what is decided here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// A strategic merge patch of a Service's status; it replaces one that is not written yet.
    Service(ServiceKey, Value),
    /// Nothing has to be written to this Service any more.
    Forget(ServiceKey),
    /// Nothing has to be written to any object any more.
    ForgetAll,
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

impl Now {
    /// A deadline as people read it.
    fn wall_of(self, deadline: Instant) -> Timestamp {
        let ahead =
            SignedDuration::try_from(deadline.saturating_duration_since(self.instant)).unwrap_or_default();
        self.wall.saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// A deadline that people read; one that has passed is now.
    fn instant_of(self, deadline: Timestamp) -> Instant {
        let ahead = Duration::try_from(deadline.duration_since(self.wall)).unwrap_or_default();
        self.instant.checked_add(ahead).unwrap_or(self.instant)
    }
}

/// Whether the world decides.
#[derive(Debug)]
enum Role {
    /// Another does.
    StandsBy,
    /// It will, when it has seen these Services as they are, or newer: what the last leader wrote.
    CatchesUp(BTreeMap<ServiceKey, u64>),
    /// It does.
    Decides,
}

pub(crate) struct World {
    role: Role,
    unsynced: BTreeSet<Kind>,
    /// The version of every Service, of whatever type.
    versions: BTreeMap<ServiceKey, u64>,
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
            role: Role::StandsBy,
            unsynced: Kind::ALL.into(),
            versions: BTreeMap::new(),
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
            Update::Synced(kind) => drop(self.unsynced.remove(&kind)),
            Update::Leads(listed) => self.catch_up(listed),
            Update::StandsBy => self.stand_by(),
        }
        if self.is_synced()
            && let Role::CatchesUp(missing) = &self.role
            && missing.is_empty()
        {
            self.role = Role::Decides;
            self.metrics.decides();
            self.start(now);
        }
        self.take_effects(now)
    }

    fn decides(&self) -> bool {
        matches!(self.role, Role::Decides)
    }

    fn catch_up(&mut self, listed: BTreeMap<ServiceKey, u64>) {
        let missing = listed.into_iter().filter(|(key, version)| self.versions.get(key) < Some(version));
        self.role = Role::CatchesUp(missing.collect());
    }

    /// Forgets what was decided: from now on others do. What is known of the cluster stays, and is kept up to date.
    fn stand_by(&mut self) {
        if !matches!(self.role, Role::StandsBy) {
            self.role = Role::StandsBy;
            self.metrics.stands_by();
            self.ledger = Ledger::default();
            self.due.clear();
            self.effects.push(Effect::ForgetAll);
        }
    }

    /// Notes that a Service was seen at this version; `None`: it is gone.
    fn note_version(&mut self, key: &ServiceKey, version: Option<u64>) {
        match version {
            Some(version) => drop(self.versions.insert(key.clone(), version)),
            None => drop(self.versions.remove(key)),
        }
        if let Role::CatchesUp(missing) = &mut self.role
            && missing.get(key).is_some_and(|least| version.is_none_or(|version| version >= *least))
        {
            missing.remove(key);
        }
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
        self.ledger = Ledger::default();
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
        if self.decides() {
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
