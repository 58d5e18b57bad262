use announce::{Interfaces, Pools};
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
    /// A selector that is none.
    pub fn parse(&self) -> Result<announce::L2Advertisement, Invalid> {
        let Self {
            ip_address_pools,
            ip_address_pool_selectors,
            node_selectors,
            service_selectors,
            interfaces,
        } = self;
        Ok(announce::L2Advertisement {
            pools: pools(ip_address_pools, ip_address_pool_selectors)?,
            node_selectors: selector::parse_all("spec.nodeSelectors", node_selectors)?,
            service_selectors: selector::parse_all("spec.serviceSelectors", service_selectors)?,
            interfaces: match interfaces.as_slice() {
                [] => Interfaces::All,
                named => Interfaces::Named(named.iter().cloned().collect()),
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
