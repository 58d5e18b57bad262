//! What each speaker says of itself, one object a node.

mod networks;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::Blocked;
use ipnetwork::IpNetwork;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::CustomResource;
use names::{Mac, NodeName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{schema, tolerant};
pub use networks::{Interface, MOST_ADDRESSES, MOST_GATEWAYS, MOST_NETWORKS, Network, merged};

/// How many probed addresses a status holds.
pub const MOST_PROBED: usize = 2048;

/// SpeakerStatus has no spec: its speaker writes it, and nobody else.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "ferritelb.io",
    version = "v1beta1",
    kind = "SpeakerStatus",
    plural = "speakerstatuses",
    shortname = "spk",
    category = "ferritelb",
    status = "SpeakerState",
    no_spec,
    derive = "PartialEq",
    doc = "SpeakerStatus is what the speaker of the node of the same name says of itself.",
    printcolumn(name = "Established", type_ = "integer", json_path = ".status.sessionsEstablished"),
    printcolumn(name = "Sessions", type_ = "integer", json_path = ".status.sessionsTotal"),
    printcolumn(
        name = "Listening",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="BGPListening")].status"#
    ),
    printcolumn(
        name = "Heartbeats",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="HeartbeatsExchanged")].status"#
    ),
    printcolumn(
        name = "DataPath",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="DataPathReady")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="BGPListening")].message"#
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="HeartbeatsExchanged")].message"#
    ),
    printcolumn(
        name = "Address",
        type_ = "string",
        priority = 1,
        json_path = ".status.networks[0].addresses[0]"
    ),
    printcolumn(
        name = "Gateway",
        type_ = "string",
        priority = 1,
        json_path = ".status.networks[0].gateways[0]"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct SpeakerStatusSpec {}

/// What a speaker says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpeakerState {
    /// How many of its BGP sessions are established.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub sessions_established: i64,
    /// How many BGP sessions it should have.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub sessions_total: i64,
    /// Each of them.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["peer"]))]
    pub sessions: Vec<BgpSession>,
    /// The interfaces that connect the node to its networks; those with a gateway first.
    #[serde(default)]
    #[schemars(schema_with = "networks::schema")]
    pub networks: Vec<Network>,
    /// What probing addresses has found that pools may give out next.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "tolerant::field")]
    #[schemars(schema_with = "probes_schema")]
    pub probes: Vec<Probed>,
    /// The speakers that this one should hear on a segment and does not, the first 32 of them.
    #[serde(default)]
    #[schemars(schema_with = "schema::bounded::<Unheard, MOST_UNHEARD>")]
    pub unheard: Vec<Unheard>,
    /// The boot of the node, by its id, in which what it forwards was up to date once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub data_path_ready_in: Option<String>,
    /// BGPListening: whether routers can connect to the speaker, and if not, why. HeartbeatsExchanged: whether it
    /// hears the other speakers. DataPathReady: whether its node forwards what comes to Services.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How many speakers that are not heard a status holds.
pub const MOST_UNHEARD: usize = 32;

/// A speaker that is not heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unheard {
    /// Its node.
    pub node: String,
    /// Where it should be.
    pub address: String,
    /// The interface that it should be heard on.
    pub interface: String,
    /// PortClosed: its node answers ARP or NDP. NodeUnreachable: it does not.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// An address that was probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probed {
    /// The address.
    pub address: String,
    /// Where it is, if somebody answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

fn probes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_PROBED,
        "items": {
            "description": "An address that was probed.",
            "type": "object",
            "required": ["address"],
            "properties": {
                "address": { "description": "The address.", "type": "string", "maxLength": 45 },
                "mac": {
                    "description": "The Ethernet address that it is at, if somebody answers for it.",
                    "type": "string",
                    "maxLength": 17,
                },
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["address"],
    })
}

/// One BGP session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpSession {
    /// The BGPPeer's name.
    pub peer: String,
    /// The router's address.
    pub address: String,
    /// Idle, Connect, Active, OpenSent, OpenConfirm or Established (RFC 4271 §8.2.2).
    pub state: String,
    /// Since when it is in that state.
    pub since: Time,
    /// Seconds of silence that end the session, as agreed with the router; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub hold_time_seconds: Option<i64>,
    /// How many prefixes the router has been told of.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub prefixes: i64,
    /// What ended the session, or an attempt at one, the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::text")]
    pub last_error: Option<String>,
}

impl Probed {
    /// An address, and where it is.
    pub fn new(address: IpAddr, mac: Option<Mac>) -> Self {
        Self { address: address.to_string(), mac: mac.map(|mac| mac.to_string()) }
    }
}

impl SpeakerState {
    /// A state whose counts are those of its sessions.
    pub fn new(sessions: Vec<BgpSession>, networks: Vec<Network>, conditions: Vec<Condition>) -> Self {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let established = sessions.iter().filter(|session| session.state == "Established").count();
        Self {
            sessions_established: count(established),
            sessions_total: count(sessions.len()),
            sessions,
            networks,
            unheard: Vec::new(),
            data_path_ready_in: None,
            probes: Vec::new(),
            conditions,
        }
    }

    /// The addresses that must not be given out by themselves as far as this node knows: its own, its gateways', and
    /// those of its subnets that stand for the network or are for broadcast.
    pub fn blocked(&self, node: &NodeName) -> BTreeMap<IpAddr, Blocked> {
        networks::blocked(&self.networks, node)
    }

    /// What probing has found: where an address is, or that nobody answers for it. What cannot be understood is left
    /// out.
    pub fn probed(&self) -> BTreeMap<IpAddr, Option<Mac>> {
        let found = |probed: &Probed| {
            let mac = probed.mac.as_ref().map(|mac| mac.parse()).transpose().ok()?;
            Some((probed.address.parse().ok()?, mac))
        };
        self.probes.iter().filter_map(found).collect()
    }

    /// The interfaces of the node. What cannot be understood of one is left out.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface> {
        self.networks.iter().map(Interface::of)
    }

    /// The subnets that the node is connected to.
    pub fn subnets(&self) -> BTreeSet<IpNetwork> {
        networks::subnets(&self.networks)
    }
}

/// The object itself, to be applied before its status. It goes when the node with this uid goes.
pub fn object(node: &NodeName, uid: &str) -> Value {
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node.as_str().into(),
        uid: uid.into(),
        ..OwnerReference::default()
    };
    json!({ "metadata": { "name": node.as_str(), "ownerReferences": [owner] } })
}
