//! What the controller knows of the cluster, and what follows from it. One task owns it; there is no lock.
//!
//! Nothing is decided before every kind was listed once, nor while another replica leads. From then on a change is
//! decided in the step that brings it, and its effects are differences: what a status should say and does not. An
//! update that changes nothing, a restart and a change that is no concern of a Service have no effect on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use api::{SliceEndpoints, SliceName};
use cluster::{Severity, Write};
use ipam::{Family, Ledger};
use ipnetwork::IpNetwork;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use names::{Labels, NodeName, PoolName, QuotaName, ReservationName, ServiceKey};
use serde_json::Value;

use self::known::Known;
use self::network::Network;
use self::pacing::{Pacing, Subject};
use self::placements::Placements;
use self::pools::Pools;
use self::probes::Found;
use self::quotas::Quotas;
use self::reservations::Reservations;
use self::services::KnownService;
use self::settings::{Configs, Namespaces};
use self::verdicts::Verdicts;
use crate::metrics::Metrics;
use crate::seen::{
    Kind, SeenAdvertisement, SeenConfig, SeenNode, SeenOwner, SeenPool, SeenQuota, SeenReservation,
    SeenService, SeenSpeaker, SeenVerdict,
};

mod known;
mod network;
mod pacing;
mod placements;
mod pools;
mod probes;
mod quotas;
mod reservations;
mod services;
mod settings;
mod verdicts;
mod wording;

/// One thing that is now so. `None`: it is gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    Service(ServiceKey, Option<SeenService>),
    /// A Service is there at this version, and cannot be decoded.
    Unreadable(ServiceKey, u64),
    /// The labels of a Namespace.
    Namespace(String, Option<Labels>),
    Node(NodeName, Option<SeenNode>),
    /// The ranges of a ServiceCIDR.
    ServiceCidr(String, Option<BTreeSet<IpNetwork>>),
    Speaker(NodeName, Option<SeenSpeaker>),
    /// Nothing: it is gone, or of no Service.
    Slice(SliceName, Option<SliceEndpoints>),
    Pool(PoolName, Option<Box<SeenPool>>),
    Quota(QuotaName, Option<SeenQuota>),
    Reservation(ReservationName, Option<Box<SeenReservation>>),
    Config(String, Option<SeenConfig>),
    L2Advertisement(String, Option<Box<SeenAdvertisement>>),
    /// The AddressOwner of an address.
    Owner(IpAddr, Option<Box<SeenOwner>>),
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
    /// What is to become of the AddressOwner of an address; it replaces what is not written yet.
    Owner(IpAddr, Write),
    /// Nothing has to be written to this AddressOwner any more.
    ForgetOwner(IpAddr),
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
    /// The pool that it is about, with its uid: where too much is said at once, it is said of the pool.
    pub(crate) pool: Option<(PoolName, String)>,
    pub(crate) severity: Severity,
    /// What was done or tried, in one word.
    pub(crate) action: &'static str,
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
    /// Services that were last seen to carry what was written to them as LoadBalancers, though they are none. What
    /// is written to take it out of them counts only once it is seen.
    marked: BTreeMap<ServiceKey, String>,
    configs: Configs,
    namespaces: Namespaces,
    network: Network,
    pools: Pools,
    found: Found,
    /// The pools and the subnets whose addresses are probed.
    probed: (BTreeSet<PoolName>, BTreeSet<IpNetwork>),
    quotas: Quotas,
    reservations: Reservations,
    verdicts: Verdicts,
    placements: Placements,
    /// What may have to be done because much has changed.
    pacing: Pacing,
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
            configs: Configs::new(),
            namespaces: Namespaces::new(),
            network: Network::default(),
            pools: Pools::new(),
            found: Found::new(),
            probed: Default::default(),
            quotas: Quotas::new(),
            reservations: Reservations::new(),
            verdicts: Verdicts::new(),
            placements: Placements::new(metrics.clone()),
            pacing: Pacing::default(),
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
            // It goes on as it was known. Of what nobody can read nothing is waited for.
            Update::Unreadable(key, version) => self.note_version(&key, Some(version)),
            Update::Namespace(name, labels) => self.apply_namespace(name, labels, now),
            Update::Node(name, seen) => self.apply_node(name, seen, now),
            Update::ServiceCidr(name, seen) => self.apply_service_cidr(name, seen, now),
            Update::Speaker(name, seen) => self.apply_speaker(name, seen, now),
            Update::Slice(name, seen) => self.apply_slice(name, seen, now),
            Update::Pool(name, seen) => self.apply_pool(name, seen.map(|seen| *seen), now),
            Update::Quota(name, seen) => self.apply_quota(name, seen, now),
            Update::Reservation(name, seen) => self.apply_reservation(name, seen.map(|seen| *seen), now),
            Update::Config(name, seen) => self.apply_config(name, seen, now),
            Update::L2Advertisement(name, seen) => {
                self.apply_l2_advertisement(name, seen.map(|seen| *seen), now);
            }
            Update::Owner(address, seen) => self.apply_owner(address, seen.map(|seen| *seen), now),
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

    /// Whether what is to be done follows from what it takes in.
    pub(crate) fn decides(&self) -> bool {
        matches!(self.role, Role::Decides)
    }

    /// A later list replaces an earlier one, and comes to nothing when all of that was seen.
    fn catch_up(&mut self, listed: BTreeMap<ServiceKey, u64>) {
        if self.decides() {
            return;
        }
        let missing = listed.into_iter().filter(|(key, version)| self.versions.get(key) < Some(version));
        self.role = Role::CatchesUp(missing.collect());
    }

    /// Forgets what was decided: from now on others do. What is known of the cluster stays, and is kept up to date.
    fn stand_by(&mut self) {
        if !matches!(self.role, Role::StandsBy) {
            self.role = Role::StandsBy;
            self.metrics.stands_by();
            self.ledger = Ledger::default();
            self.pacing.clear();
            self.placements.stand_by();
            self.give_up_writing();
            self.forget_counts();
            self.effects.push(Effect::ForgetAll);
        }
    }

    fn forget_counts(&mut self) {
        self.forget_waits();
        for name in self.pools.keys() {
            self.metrics.pool(name, Family::V4, None);
            self.metrics.pool(name, Family::V6, None);
            self.metrics.moves(name, None);
        }
        for name in self.quotas.keys() {
            self.metrics.quota(name, None, &[]);
        }
    }

    /// Notes that what was to be written to custom resources may not have been.
    fn give_up_writing(&mut self) {
        self.pools.values_mut().for_each(|pool| pool.known.give_up());
        self.quotas.values_mut().for_each(|quota| quota.known.give_up());
        self.reservations.values_mut().for_each(|reservation| reservation.known.give_up());
        self.verdicts.values_mut().for_each(Known::give_up);
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
        self.placements.handle_timeout(now);
        self.take_effects(now)
    }

    /// When to call [`World::handle_timeout`] next.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.pacing.next(), self.ledger.poll_timeout(), self.placements.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    /// The first decisions, with everything known that is to be known. What Services may have comes first, then what
    /// the statuses say that they hold or held, so that what reservations choose is free; and only then what else the
    /// Services ask for.
    fn start(&mut self, now: Now) {
        self.ledger = Ledger::default();
        self.set_out(now);
        self.populate(now);
        self.stock_all(now);
        self.limit_all(now);
        self.block(now);
        self.regard_probes(now);
        self.lay_to_rest(now);
        self.adopt_services(now);
        self.reserve_all(now);
        self.ledger.start(now.instant);
        self.placements.start(now);
        self.decide_services(now);
        self.judge_all(now);
    }

    fn take_effects(&mut self, now: Now) -> Vec<Effect> {
        self.effects.append(&mut self.placements.take_effects());
        let due = self.pacing.take_due(now.instant);
        if due.contains(&Subject::Network) {
            self.block(now);
        }
        self.note_touched(now);
        for subject in due {
            match subject {
                Subject::Network => {}
                Subject::Pool(name) => self.write_pool(&name, now),
                Subject::Quota(name) => self.write_quota(&name, now),
                Subject::Reservation(name) => self.write_reservation(&name, now),
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Has the statuses follow of the objects whose use changed.
    fn note_touched(&mut self, now: Now) {
        let touched = self.ledger.take_touched();
        for name in touched.pools {
            for family in [Family::V4, Family::V6] {
                self.metrics.pool(&name, family, self.ledger.usage(&name, family));
            }
            if self.pools.contains_key(&name) {
                self.pacing.soon(Subject::Pool(name), now.instant);
            }
        }
        for name in touched.quotas.into_iter().filter(|name| self.quotas.contains_key(name)) {
            self.pacing.soon(Subject::Quota(name), now.instant);
        }
        for name in touched.reservations.into_iter().filter(|name| self.reservations.contains_key(name)) {
            self.pacing.soon(Subject::Reservation(name), now.instant);
        }
    }
}

#[cfg(test)]
mod tests;
