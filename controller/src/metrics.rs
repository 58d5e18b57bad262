//! What the controller counts.

use std::hash::Hash;
use std::time::Duration;

use ipam::{Quota, QuotaUse, Standing, Usage};
use names::{PoolName, QuotaName};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// From a millisecond to half a minute, each bucket twice the one before.
const BUCKETS: [f64; 16] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
    32.768,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPool {
    pool: String,
    family: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByMove {
    pool: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByQuota {
    quota: String,
    family: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Handles on every metric; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    total: Family<ByPool, Gauge>,
    assigned: Family<ByPool, Gauge>,
    available: Family<ByPool, Gauge>,
    reserved: Family<ByPool, Gauge>,
    quarantined: Family<ByPool, Gauge>,
    moves: Family<ByMove, Gauge>,
    quota_used: Family<ByQuota, Gauge>,
    quota_limit: Family<ByQuota, Gauge>,
    allocations: Counter,
    refusals: Family<ByReason, Counter>,
    waiting: Family<ByReason, Gauge>,
    status_write_seconds: Histogram,
    placements: Family<ByReason, Counter>,
    leads: Gauge,
}

impl Metrics {
    /// Registers every metric under `ferritelb_controller_`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            total: Family::default(),
            assigned: Family::default(),
            available: Family::default(),
            reserved: Family::default(),
            quarantined: Family::default(),
            moves: Family::default(),
            quota_used: Family::default(),
            quota_limit: Family::default(),
            allocations: Counter::default(),
            refusals: Family::default(),
            waiting: Family::default(),
            status_write_seconds: Histogram::new(BUCKETS),
            placements: Family::default(),
            leads: Gauge::default(),
        };
        let all = registry.sub_registry_with_prefix("ferritelb_controller");
        all.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        metrics.register_pools(all);
        metrics.register_quotas(all);
        all.register(
            "allocations",
            "Times that a Service was given other addresses than it had",
            metrics.allocations.clone(),
        );
        all.register(
            "refusals",
            "Times that a Service was told why it does not get what it asks for",
            metrics.refusals.clone(),
        );
        all.register(
            "services_waiting",
            "Services that do not have what they ask for, or are not moved",
            metrics.waiting.clone(),
        );
        all.register(
            "placements",
            "Times that an address was placed on a node, by the reason; all but New and Found are moves",
            metrics.placements.clone(),
        );
        all.register("leader", "1 while this replica decides, else 0", metrics.leads.clone());
        all.register_with_unit(
            "status_write",
            "From a decision on a Service to its status seen to say so",
            Unit::Seconds,
            metrics.status_write_seconds.clone(),
        );
        metrics
    }

    fn register_pools(&self, all: &mut Registry) {
        all.register("pool_addresses", "Addresses of a pool, at most 2^63 - 1", self.total.clone());
        all.register("pool_assigned", "Addresses of a pool that Services have", self.assigned.clone());
        all.register("pool_available", "Addresses of a pool that are left", self.available.clone());
        all.register(
            "pool_reserved",
            "Addresses of a pool that are left for those that they are reserved for",
            self.reserved.clone(),
        );
        all.register(
            "pool_quarantined",
            "Addresses of a pool that are left and were freed not long ago",
            self.quarantined.clone(),
        );
        all.register(
            "pool_moves",
            "Services that are being moved out of a pool, are to be, or cannot be",
            self.moves.clone(),
        );
    }

    fn register_quotas(&self, all: &mut Registry) {
        let used = "Addresses that count towards a quota; of namespaces with a limit each, of the fullest";
        all.register("quota_used", used, self.quota_used.clone());
        all.register("quota_limit", "Addresses that a quota allows", self.quota_limit.clone());
    }

    pub(crate) fn decides(&self) {
        self.leads.set(1);
    }

    pub(crate) fn stands_by(&self) {
        self.leads.set(0);
    }

    pub(crate) fn allocated(&self) {
        self.allocations.inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn placed(&self, reason: &'static str) {
        self.placements.get_or_create(&ByReason { reason }).inc();
    }

    /// Why a Service waited, and waits now.
    pub(crate) fn waits(&self, before: Option<&'static str>, now: Option<&'static str>) {
        if before != now {
            before.map(|reason| self.waiting.get_or_create(&ByReason { reason }).dec());
            now.map(|reason| self.waiting.get_or_create(&ByReason { reason }).inc());
        }
    }

    pub(crate) fn shown(&self, took: Duration) {
        self.status_write_seconds.observe(took.as_secs_f64());
    }

    /// How much of a family a pool has; the series go with the pool.
    pub(crate) fn pool(&self, pool: &PoolName, family: ipam::Family, usage: Option<Usage>) {
        let labels = ByPool { pool: pool.to_string(), family: label(family) };
        set(&self.total, &labels, usage.map(|usage| usage.total.as_i64()));
        set(&self.assigned, &labels, usage.map(|usage| usage.assigned.as_i64()));
        set(&self.available, &labels, usage.map(|usage| usage.available.as_i64()));
        set(&self.reserved, &labels, usage.map(|usage| usage.reserved.as_i64()));
        set(&self.quarantined, &labels, usage.map(|usage| usage.quarantined.as_i64()));
    }

    /// How far the moves out of a pool are; the series go with the pool.
    pub(crate) fn moves(&self, pool: &PoolName, standing: Option<&Standing>) {
        let states = [
            ("running", standing.map(|standing| standing.moving)),
            ("queued", standing.map(|standing| standing.queued)),
            ("stuck", standing.map(|standing| standing.stuck)),
        ];
        for (state, count) in states {
            set(&self.moves, &ByMove { pool: pool.to_string(), state }, count.and_then(number));
        }
    }

    /// How much of a quota is used; the series go with the quota, or its limit.
    pub(crate) fn quota(&self, name: &QuotaName, quota: Option<&Quota>, uses: &[QuotaUse]) {
        let most = |of: fn(&QuotaUse) -> u32| uses.iter().map(of).max().unwrap_or_default();
        let families = [
            (ipam::Family::V4, quota.and_then(|quota| quota.ipv4), most(|used| used.ipv4)),
            (ipam::Family::V6, quota.and_then(|quota| quota.ipv6), most(|used| used.ipv6)),
        ];
        for (family, limit, used) in families {
            let labels = ByQuota { quota: name.to_string(), family: label(family) };
            set(&self.quota_limit, &labels, limit.map(i64::from));
            set(&self.quota_used, &labels, limit.map(|_| i64::from(used)));
        }
    }
}

fn number(count: usize) -> Option<i64> {
    i64::try_from(count).ok()
}

fn set<L>(gauge: &Family<L, Gauge>, labels: &L, value: Option<i64>)
where
    L: Clone + Eq + Hash,
{
    match value {
        Some(value) => drop(gauge.get_or_create(labels).set(value)),
        None => drop(gauge.remove(labels)),
    }
}

const fn label(family: ipam::Family) -> &'static str {
    match family {
        ipam::Family::V4 => "ipv4",
        ipam::Family::V6 => "ipv6",
    }
}
