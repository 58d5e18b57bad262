use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::{Count, Usage};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use names::ServiceKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::IpAddressPoolSpec;
use crate::{schema, timestamp, tolerant};

/// How many entries a status keeps.
const MOST_QUARANTINED: usize = 1024;

/// What became of the pool. The counts stop at 2^63-1, which stands for all that is beyond; `used` and `free` are
/// for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpAddressPoolStatus {
    /// Addresses that Services have, of both families. While there are any, the pool is not deleted without the
    /// annotation `ferritelb.io/allow-delete: "true"`.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub assigned: i64,
    /// IPv4 addresses that Services have.
    #[serde(default, rename = "assignedIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub assigned_ipv4: i64,
    /// IPv6 addresses that Services have.
    #[serde(default, rename = "assignedIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub assigned_ipv6: i64,
    /// IPv4 addresses that are left for any Service that the pool is for, those in quarantine among them.
    #[serde(default, rename = "availableIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub available_ipv4: i64,
    /// IPv6 addresses that are left for any Service that the pool is for, those in quarantine among them. A /64 has
    /// more than can be counted: then it says 2^63-1.
    #[serde(default, rename = "availableIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub available_ipv6: i64,
    /// IPv4 addresses that were freed not long ago.
    #[serde(default, rename = "quarantinedIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub quarantined_ipv4: i64,
    /// IPv6 addresses that were freed not long ago.
    #[serde(default, rename = "quarantinedIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub quarantined_ipv6: i64,
    /// IPv4 addresses that are left, but only for those that they are reserved for.
    #[serde(default, rename = "reservedIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub reserved_ipv4: i64,
    /// IPv6 addresses that are left, but only for those that they are reserved for.
    #[serde(default, rename = "reservedIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub reserved_ipv6: i64,
    /// IPv4 addresses that are the pool's own.
    #[serde(default, rename = "totalIPv4")]
    #[schemars(schema_with = "schema::count")]
    pub total_ipv4: i64,
    /// IPv6 addresses that are the pool's own. A /64 has more than can be counted: then it says 2^63-1.
    #[serde(default, rename = "totalIPv6")]
    #[schemars(schema_with = "schema::count")]
    pub total_ipv6: i64,
    /// Addresses that Services have, by family.
    #[serde(default)]
    pub used: String,
    /// Addresses that are free, by family.
    #[serde(default)]
    pub free: String,
    /// The namespaces with the most Services that have addresses of the pool, the first the most.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<NamespaceHolds, 5>")]
    pub holders: Vec<NamespaceHolds>,
    /// Addresses that were freed not long ago, and whose Service gets them back first; of more, those that rest
    /// longest.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<Quarantined, MOST_QUARANTINED>")]
    pub quarantine: Vec<Quarantined>,
    /// Addresses that speakers on their segment are to probe: those that the pool gives out next, those that a Service
    /// asks for, and those that somebody else answers for. What they find is in their SpeakerStatus.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::candidates")]
    pub candidates: Vec<String>,
    /// The spec that is in use, and goes on while the one above is paused or cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::not_null::<IpAddressPoolSpec>")]
    pub in_effect: Option<IpAddressPoolSpec>,
    /// Ready: whether the pool is in use as it is written. And where they apply: Overlap (an older pool has some of
    /// its addresses), Outside (Services keep addresses that are no longer its own), Paused, Draining, Blocked
    /// (some of its addresses are a node's, a gateway, or a subnet's own), CIDRConflict (some are the cluster's).
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many Services of a namespace have addresses of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceHolds {
    /// The namespace.
    pub namespace: String,
    /// How many.
    #[schemars(schema_with = "schema::count")]
    pub services: i64,
}

/// An address that was freed not long ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantined {
    /// The address.
    pub address: String,
    /// The namespace of the Service that had it.
    pub namespace: String,
    /// The name of the Service that had it.
    pub name: String,
    /// When others may get it.
    pub until: Time,
}

impl IpAddressPoolStatus {
    /// The status of a pool with these counts; a family that the pool does not have, and has given nothing of, is
    /// `None` or has only zeros. Holders, quarantine, candidates and the spec in effect are
    /// left empty.
    pub fn new(v4: Option<Usage>, v6: Option<Usage>, conditions: Vec<Condition>) -> Self {
        let [v4, v6] = [v4, v6].map(|usage| usage.filter(is_there));
        let of_each = |of: fn(Usage) -> Count| [v4.map(of), v6.map(of)];
        let numbers =
            |of: fn(Usage) -> Count| of_each(of).map(|count| count.map_or(0, |count| count.as_i64()));
        let [assigned_ipv4, assigned_ipv6] = numbers(|usage| usage.assigned);
        let [available_ipv4, available_ipv6] = numbers(|usage| usage.available);
        let [quarantined_ipv4, quarantined_ipv6] = numbers(|usage| usage.quarantined);
        let [reserved_ipv4, reserved_ipv6] = numbers(|usage| usage.reserved);
        let [total_ipv4, total_ipv6] = numbers(|usage| usage.total);
        Self {
            assigned: assigned_ipv4.saturating_add(assigned_ipv6),
            assigned_ipv4,
            assigned_ipv6,
            available_ipv4,
            available_ipv6,
            quarantined_ipv4,
            quarantined_ipv6,
            reserved_ipv4,
            reserved_ipv6,
            total_ipv4,
            total_ipv6,
            used: by_family(of_each(|usage| usage.assigned)),
            free: by_family(of_each(|usage| usage.available)),
            conditions,
            ..Self::default()
        }
    }
}

fn is_there(usage: &Usage) -> bool {
    [usage.total, usage.assigned].iter().any(|count| *count > Count::Exactly(0))
}

fn by_family([v4, v6]: [Option<Count>; 2]) -> String {
    let parts = [v4.map(|count| format!("{count} IPv4")), v6.map(|count| format!("{count} IPv6"))];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl NamespaceHolds {
    /// So many Services in this namespace.
    pub fn new(namespace: impl Into<String>, services: usize) -> Self {
        Self { namespace: namespace.into(), services: i64::try_from(services).unwrap_or(i64::MAX) }
    }
}

impl Quarantined {
    /// The entries as they are to be written, given those that stand there: a time is in whole seconds, and one
    /// that differs by no more than clocks do stays as it is.
    pub fn written(
        rests: impl IntoIterator<Item = (IpAddr, ServiceKey, Timestamp)>,
        before: &[Self],
    ) -> Vec<Self> {
        let before: BTreeMap<_, _> = before.iter().map(|entry| (entry.address.as_str(), entry)).collect();
        let entries = rests.into_iter().map(|(address, former, until)| {
            let address = address.to_string();
            let (namespace, name) = (former.namespace.to_string(), former.name.to_string());
            let stands = before.get(address.as_str()).filter(|entry| {
                (&entry.namespace, &entry.name) == (&namespace, &name)
                    && timestamp::is_about(entry.until.0, until)
            });
            let until = stands.map_or_else(|| timestamp::written(until), |entry| entry.until.clone());
            Self { address, namespace, name, until }
        });
        entries.take(MOST_QUARANTINED).collect()
    }

    /// The address, who had it and until when it rests; none if that is no address.
    pub fn parse(&self) -> Option<(IpAddr, ServiceKey, Timestamp)> {
        let Self { address, namespace, name, until } = self;
        Some((address.parse().ok()?, ServiceKey::new(namespace, name), until.0))
    }
}
