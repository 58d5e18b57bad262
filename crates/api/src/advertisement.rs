use std::ops::RangeInclusive;

use announce::{Interfaces, Pools, Preempt, Preference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use names::{PeerName, PoolName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, schema, selector};

/// Announces addresses by ARP and NDP.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    shortname = "l2adv",
    category = "ferritelb",
    status = "AdvertisementStatus",
    derive = "PartialEq",
    doc = "L2Advertisement announces the addresses of pools by ARP and NDP.",
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
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
pub struct L2AdvertisementSpec {
    /// For addresses of these pools. With no pool selector either: of all pools.
    #[serde(default, rename = "ipAddressPools", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub ip_address_pools: Vec<String>,
    /// For addresses of the pools with these labels; one selector that matches is enough.
    #[serde(default, rename = "ipAddressPoolSelectors", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// From the nodes with these labels; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// For the Services with these labels; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// On these network interfaces of the node; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::interfaces")]
    pub interfaces: Vec<String>,
    /// Of the nodes that may, rather these: the weights of all that match a node add up, within this advertisement
    /// and with those of others that are for the same address and from that node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::preferred_nodes")]
    pub preferred_node_selectors: Vec<PreferredNodes>,
    /// Whether an address goes to a preferred node from one that is less preferred and answers for it. Unset: true
    /// if there are `preferredNodeSelectors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::not_null::<bool>")]
    pub preempt: Option<bool>,
    /// Whether addresses go by themselves from nodes with many to nodes with few (Auto), a few at a time, or only
    /// when annotation `ferritelb.io/rebalance` asks for it (Explicit).
    #[serde(default)]
    pub rebalance: Rebalance,
}

/// Whether addresses go from nodes with many to nodes with few.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Rebalance {
    /// When it is asked for.
    #[default]
    Explicit,
    /// By themselves.
    Auto,
}

/// Nodes that are preferred.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNodes {
    /// How much, from 1 to 100.
    pub weight: u32,
    /// Those with these labels; an empty selector means all.
    pub preference: LabelSelector,
}

/// Announces addresses by BGP.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    root = "BgpAdvertisement",
    plural = "bgpadvertisements",
    shortname = "bgpadv",
    category = "ferritelb",
    status = "AdvertisementStatus",
    derive = "PartialEq",
    doc = "BGPAdvertisement announces the addresses of pools to BGP peers.",
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
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
pub struct BgpAdvertisementSpec {
    /// For addresses of these pools. With no pool selector either: of all pools.
    #[serde(default, rename = "ipAddressPools", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub ip_address_pools: Vec<String>,
    /// For addresses of the pools with these labels; one selector that matches is enough.
    #[serde(default, rename = "ipAddressPoolSelectors", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,
    /// From the nodes with these labels; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Vec<LabelSelector>,
    /// For the Services with these labels; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Vec<LabelSelector>,
    /// To the BGPPeers of these names; none given means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::names")]
    pub peers: Vec<String>,
    /// LOCAL_PREF toward peers of our own AS (RFC 4271 §5.1.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uint32")]
    pub local_pref: Option<u32>,
}

/// What became of an advertisement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdvertisementStatus {
    /// Ready: whether the advertisement is in use as it is written.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl L2AdvertisementSpec {
    /// What it announces from where.
    ///
    /// # Errors
    /// A selector that is none, a weight out of bounds.
    pub fn parse(&self) -> Result<announce::L2Advertisement, Invalid> {
        let Self {
            ip_address_pools,
            ip_address_pool_selectors,
            node_selectors,
            service_selectors,
            interfaces,
            preferred_node_selectors,
            preempt,
            rebalance,
        } = self;
        Ok(announce::L2Advertisement {
            pools: pools(ip_address_pools, ip_address_pool_selectors)?,
            node_selectors: selector::parse_all("spec.nodeSelectors", node_selectors)?,
            service_selectors: selector::parse_all("spec.serviceSelectors", service_selectors)?,
            interfaces: match interfaces.as_slice() {
                [] => Interfaces::All,
                named => Interfaces::Named(named.iter().cloned().collect()),
            },
            preferences: preferences("spec.preferredNodeSelectors", preferred_node_selectors)?,
            preempt: match preempt {
                Some(false) => Preempt::No,
                None if preferred_node_selectors.is_empty() => Preempt::No,
                Some(true) | None => Preempt::Yes,
            },
            rebalance: match rebalance {
                Rebalance::Explicit => announce::Rebalance::Explicit,
                Rebalance::Auto => announce::Rebalance::Auto,
            },
        })
    }
}

impl BgpAdvertisementSpec {
    /// What it announces from where to whom.
    ///
    /// # Errors
    /// A selector that is none.
    pub fn parse(&self) -> Result<announce::BgpAdvertisement, Invalid> {
        let Self {
            ip_address_pools,
            ip_address_pool_selectors,
            node_selectors,
            service_selectors,
            peers,
            local_pref,
        } = self;
        Ok(announce::BgpAdvertisement {
            pools: pools(ip_address_pools, ip_address_pool_selectors)?,
            node_selectors: selector::parse_all("spec.nodeSelectors", node_selectors)?,
            service_selectors: selector::parse_all("spec.serviceSelectors", service_selectors)?,
            peers: peers.iter().map(PeerName::new).collect(),
            local_pref: *local_pref,
        })
    }
}

fn pools(names: &[String], selectors: &[LabelSelector]) -> Result<Pools, Invalid> {
    Ok(Pools {
        names: names.iter().map(PoolName::new).collect(),
        selectors: selector::parse_all("spec.ipAddressPoolSelectors", selectors)?,
    })
}

const WEIGHTS: RangeInclusive<u32> = 1..=100;

fn preferences(field: &str, preferred: &[PreferredNodes]) -> Result<Vec<Preference>, Invalid> {
    let numbered = preferred.iter().enumerate();
    let preferences = numbered.map(|(index, PreferredNodes { weight, preference })| {
        if !WEIGHTS.contains(weight) {
            let why = format!("{weight} is not within {} and {}", WEIGHTS.start(), WEIGHTS.end());
            return Err(Invalid::new(format!("{field}[{index}].weight"), why));
        }
        let nodes = selector::parse(&format!("{field}[{index}].preference"), preference)?;
        Ok(Preference { weight: *weight, nodes })
    });
    preferences.collect()
}

#[cfg(test)]
mod tests {
    use names::Labels;
    use serde_json::json;

    use super::*;

    fn parsed(preferred: serde_json::Value) -> Result<announce::L2Advertisement, Invalid> {
        let spec = json!({ "preferredNodeSelectors": preferred });
        serde_json::from_value::<L2AdvertisementSpec>(spec).unwrap().parse()
    }

    #[test]
    fn preferred_nodes_are_read_as_they_are_written_for_metallb() {
        let preferred = json!([
            { "weight": 100, "preference": { "matchLabels": { "rack": "a" } } },
            { "weight": 1, "preference": {} },
        ]);
        let found = parsed(preferred).unwrap().preferences;
        let rack = |name: &str| Labels::from([("rack".to_owned(), name.to_owned())]);
        let weights = |labels: &Labels| -> Vec<_> {
            found.iter().filter(|one| one.nodes.matches(labels)).map(|one| one.weight).collect()
        };
        assert_eq!((weights(&rack("a")), weights(&rack("b"))), (vec![100, 1], vec![1]));
    }

    #[test]
    fn preferred_nodes_take_over_unless_that_is_forbidden() {
        let preempt =
            |spec| serde_json::from_value::<L2AdvertisementSpec>(spec).unwrap().parse().unwrap().preempt;
        let preferred = json!([{ "weight": 1, "preference": {} }]);
        assert_eq!(preempt(json!({})), Preempt::No);
        assert_eq!(preempt(json!({ "preempt": true })), Preempt::Yes);
        assert_eq!(preempt(json!({ "preferredNodeSelectors": preferred })), Preempt::Yes);
        assert_eq!(preempt(json!({ "preferredNodeSelectors": preferred, "preempt": false })), Preempt::No);
    }

    #[test]
    fn a_preference_that_means_nothing_is_blamed_with_its_path() {
        let blamed = |weight: u32, preference| {
            let preferred = json!([
                { "weight": 1, "preference": {} },
                { "weight": weight, "preference": preference },
            ]);
            parsed(preferred).unwrap_err().field
        };
        for weight in [0, 101] {
            assert_eq!(blamed(weight, json!({})), "spec.preferredNodeSelectors[1].weight");
        }
        let like = json!({ "matchExpressions": [{ "key": "a", "operator": "Like" }] });
        let field = "spec.preferredNodeSelectors[1].preference.matchExpressions[0].operator";
        assert_eq!(blamed(1, like), field);
    }
}
