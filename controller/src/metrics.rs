//! What the controller counts.

use std::time::Duration;

use ipam::Usage;
use names::PoolName;
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
struct ByReason {
    reason: &'static str,
}

/// Handles on every metric; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    total: Family<ByPool, Gauge>,
    assigned: Family<ByPool, Gauge>,
    available: Family<ByPool, Gauge>,
    allocations: Counter,
    refusals: Family<ByReason, Counter>,
    status_write_seconds: Histogram,
    leads: Gauge,
}

impl Metrics {
    /// Registers every metric under `ferritelb_controller_`.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            total: Family::default(),
            assigned: Family::default(),
            available: Family::default(),
            allocations: Counter::default(),
            refusals: Family::default(),
            status_write_seconds: Histogram::new(BUCKETS),
            leads: Gauge::default(),
        };
        let all = registry.sub_registry_with_prefix("ferritelb_controller");
        all.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        all.register(
            "pool_addresses",
            "Addresses that a pool can give out, at most 2^63 - 1",
            metrics.total.clone(),
        );
        all.register("pool_assigned", "Addresses of a pool that Services have", metrics.assigned.clone());
        all.register("pool_available", "Addresses of a pool that are left", metrics.available.clone());
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
        all.register("leader", "1 while this replica decides, else 0", metrics.leads.clone());
        all.register_with_unit(
            "status_write",
            "From a decision on a Service to its status seen to say so",
            Unit::Seconds,
            metrics.status_write_seconds.clone(),
        );
        metrics
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

    pub(crate) fn shown(&self, took: Duration) {
        self.status_write_seconds.observe(took.as_secs_f64());
    }

    /// How much of a family a pool has; the series go with the pool.
    pub(crate) fn pool(&self, pool: &PoolName, family: ipam::Family, usage: Option<Usage>) {
        let labels = ByPool { pool: pool.to_string(), family: label(family) };
        let set = |gauge: &Family<ByPool, Gauge>, value: Option<ipam::Count>| match value {
            Some(count) => drop(gauge.get_or_create(&labels).set(count.as_i64())),
            None => drop(gauge.remove(&labels)),
        };
        set(&self.total, usage.map(|usage| usage.total));
        set(&self.assigned, usage.map(|usage| usage.assigned));
        set(&self.available, usage.map(|usage| usage.available));
    }
}

const fn label(family: ipam::Family) -> &'static str {
    match family {
        ipam::Family::V4 => "ipv4",
        ipam::Family::V6 => "ipv6",
    }
}
