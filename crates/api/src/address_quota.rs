use ipam::{Quota, QuotaUse};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use names::PoolName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, schema, selector, tolerant};

/// Limits how many addresses the Services of some namespaces have.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "AddressQuota",
    plural = "addressquotas",
    shortname = "aq",
    category = "ferritelb",
    status = "AddressQuotaStatus",
    derive = "PartialEq",
    doc = "AddressQuota limits how many addresses the Services of some namespaces have.",
    printcolumn(name = "IPv4", type_ = "integer", json_path = ".spec.ipv4"),
    printcolumn(name = "IPv6", type_ = "integer", json_path = ".spec.ipv6"),
    printcolumn(name = "Per", type_ = "string", json_path = ".spec.per"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.used"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    { "rule": "has(self.ipv4) || has(self.ipv6)", "message": "at least one of ipv4 and ipv6 must be set" },
]))]
pub struct AddressQuotaSpec {
    /// For Services in these namespaces. With no namespace selector either: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub namespaces: Vec<String>,
    /// For Services in namespaces with these labels; one selector that matches is enough. A selector that matches
    /// no namespace limits none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Only addresses of these pools count; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub pools: Vec<String>,
    /// The most IPv4 addresses; unset for no limit. An address that Services share counts once. What is held
    /// already when a limit is set is not taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uint32")]
    pub ipv4: Option<u32>,
    /// The most IPv6 addresses; unset for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uint32")]
    pub ipv6: Option<u32>,
    /// Who has the limit. Quota: all its namespaces together. Namespace: each of them for itself.
    #[serde(default)]
    pub per: Per,
}

/// Who has the limit of a quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Per {
    /// All its namespaces together.
    #[default]
    Quota,
    /// Each of them for itself.
    Namespace,
}

/// What became of the quota.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddressQuotaStatus {
    /// The fullest count beside its limit.
    #[serde(default)]
    pub used: String,
    /// How much of the limit is used, the fullest first.
    #[serde(default, deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "schema::bounded::<AddressQuotaUsage, MOST_USES>")]
    pub usage: Vec<AddressQuotaUsage>,
    /// Ready: whether the quota is in use as it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many addresses one namespace, or all of a quota together, have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressQuotaUsage {
    /// The namespace; unset where all have one limit together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub namespace: Option<String>,
    /// IPv4 addresses that count.
    #[schemars(schema_with = "schema::count")]
    pub ipv4: u32,
    /// IPv6 addresses that count.
    #[schemars(schema_with = "schema::count")]
    pub ipv6: u32,
}

/// How many entries a status keeps.
const MOST_USES: usize = 256;

impl AddressQuotaSpec {
    /// The quota.
    ///
    /// # Errors
    /// A selector that is none; no limit at all.
    pub fn parse(&self) -> Result<Quota, Invalid> {
        let Self { namespaces, namespace_selectors, pools, ipv4, ipv6, per } = self;
        if ipv4.is_none() && ipv6.is_none() {
            return Err(Invalid::new("spec", "at least one of ipv4 and ipv6 must be set"));
        }
        Ok(Quota {
            audience: selector::audience("spec", namespaces, namespace_selectors, &[])?,
            pools: pools.iter().map(PoolName::new).collect(),
            ipv4: *ipv4,
            ipv6: *ipv6,
            per: match per {
                Per::Quota => ipam::Per::Quota,
                Per::Namespace => ipam::Per::Namespace,
            },
        })
    }
}

impl AddressQuotaStatus {
    /// The status of a quota of which so much is used, the fullest first.
    pub fn new(quota: &Quota, uses: &[QuotaUse], conditions: Vec<Condition>) -> Self {
        let usage = uses.iter().take(MOST_USES).map(|QuotaUse { namespace, ipv4, ipv6 }| AddressQuotaUsage {
            namespace: namespace.clone(),
            ipv4: *ipv4,
            ipv6: *ipv6,
        });
        let used = uses.first().map(|fullest| used(quota, fullest)).unwrap_or_default();
        Self { used, usage: usage.collect(), conditions }
    }
}

/// Such as `team-a: 3 of 10 IPv4`.
fn used(quota: &Quota, fullest: &QuotaUse) -> String {
    let of = |used: u32, limit: Option<u32>, family| Some(format!("{used} of {} {family}", limit?));
    let parts = [of(fullest.ipv4, quota.ipv4, "IPv4"), of(fullest.ipv6, quota.ipv6, "IPv6")];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match &fullest.namespace {
        Some(namespace) => format!("{namespace}: {parts}"),
        None => parts,
    }
}

#[cfg(test)]
mod tests;
