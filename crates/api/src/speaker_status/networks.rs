use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use ipam::Blocked;
use ipnetwork::IpNetwork;
use names::{Mac, NodeName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How many networks a status holds.
pub const MOST_NETWORKS: usize = 64;
/// How many addresses a network holds.
pub const MOST_ADDRESSES: usize = 32;
/// How many gateways a network holds.
pub const MOST_GATEWAYS: usize = 32;

/// An interface of the node, with what it has and whom it reaches by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The interface's name.
    pub interface: String,
    /// Its addresses, each with the length of its subnet's prefix, as 192.0.2.11/24; none that is valid on one link only.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// The routers that it sends packets to, those of default routes first.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Its Ethernet address, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its IPv6 address that is valid on its own link, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_local: Option<String>,
}

/// An interface of a node, as its speaker says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its address that is valid on its own link.
    pub link_local: Option<Ipv6Addr>,
    /// Its other addresses, with their prefixes.
    pub networks: Vec<IpNetwork>,
}

impl Interface {
    pub(super) fn of(network: &Network) -> Self {
        Self {
            name: network.interface.clone(),
            mac: network.mac.as_ref().and_then(|mac| mac.parse().ok()),
            link_local: network.link_local.as_ref().and_then(|address| address.parse().ok()),
            networks: network.addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        }
    }
}

pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_NETWORKS,
        "items": {
            "description": "An interface of the node, with what it has and whom it reaches by it.",
            "type": "object",
            "required": ["interface"],
            "properties": {
                "interface": {
                    "description": "The interface's name.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 15,
                },
                "addresses": {
                    "description": "Its addresses, each with the length of its subnet's prefix, as 192.0.2.11/24; \
                                    none that is valid on one link only.",
                    "type": "array",
                    "maxItems": MOST_ADDRESSES,
                    "items": { "type": "string", "maxLength": 43 },
                    "x-kubernetes-list-type": "atomic",
                },
                "gateways": {
                    "description": "The routers that it sends packets to, those of default routes first.",
                    "type": "array",
                    "maxItems": MOST_GATEWAYS,
                    "items": { "type": "string", "maxLength": 39 },
                    "x-kubernetes-list-type": "atomic",
                },
                "mac": {
                    "description": "Its Ethernet address, if it has one.",
                    "type": "string",
                    "maxLength": 17,
                },
                "linkLocal": {
                    "description": "Its IPv6 address that is valid on its own link, if it has one.",
                    "type": "string",
                    "maxLength": 39,
                },
            },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["interface"],
    })
}

/// What cannot be understood blocks nothing: a status holds what some node has written.
pub(super) fn blocked(networks: &[Network], node: &NodeName) -> BTreeMap<IpAddr, Blocked> {
    let addresses = || {
        let texts = networks.iter().flat_map(|network| &network.addresses);
        texts.filter_map(|text| text.parse::<IpNetwork>().ok())
    };
    let gateways = networks.iter().flat_map(|network| &network.gateways);
    let gateways = gateways.filter_map(|text| text.parse::<IpAddr>().ok());
    let own = addresses().map(|address| (address.ip(), Blocked::Node(node.clone())));
    let gateways = gateways.map(|address| (address, Blocked::Gateway(node.clone())));
    merge(own.chain(gateways).chain(addresses().flat_map(ends)))
}

/// Those that some address besides the node's own is in.
pub(super) fn subnets(networks: &[Network]) -> BTreeSet<IpNetwork> {
    let texts = networks.iter().flat_map(|network| &network.addresses);
    let addresses = texts.filter_map(|text| text.parse::<IpNetwork>().ok());
    let subnets = addresses.filter_map(|one| IpNetwork::new(one.network(), one.prefix()).ok());
    subnets.filter(|subnet| subnet.prefix() < if subnet.is_ipv4() { 32 } else { 128 }).collect()
}

/// What several nodes know, as one. Where they differ, the address of a node counts before a gateway, and that before
/// the ends of a subnet; of two of a kind the first.
pub fn merged<'a>(
    nodes: impl IntoIterator<Item = &'a BTreeMap<IpAddr, Blocked>>,
) -> BTreeMap<IpAddr, Blocked> {
    let all = nodes.into_iter().flatten();
    merge(all.map(|(address, blocked)| (*address, blocked.clone())))
}

fn merge(all: impl Iterator<Item = (IpAddr, Blocked)>) -> BTreeMap<IpAddr, Blocked> {
    let mut merged: BTreeMap<IpAddr, Blocked> = BTreeMap::new();
    for (address, blocked) in all {
        match merged.get(&address) {
            Some(other) if rank(other) <= rank(&blocked) => {}
            Some(_) | None => {
                merged.insert(address, blocked);
            }
        }
    }
    merged
}

const fn rank(blocked: &Blocked) -> u8 {
    match blocked {
        Blocked::Node(_) => 0,
        Blocked::Gateway(_) => 1,
        Blocked::Network(_) => 2,
        Blocked::Broadcast(_) => 3,
    }
}

/// The addresses of a subnet that are no host's. A subnet of two addresses has none (RFC 3021 §2.1, RFC 6164 §5).
fn ends(address: IpNetwork) -> Vec<(IpAddr, Blocked)> {
    let host_bits = match address {
        IpNetwork::V4(address) => 32 - address.prefix(),
        IpNetwork::V6(address) => 128 - address.prefix(),
    };
    let Ok(subnet) = IpNetwork::new(address.network(), address.prefix()) else { return Vec::new() };
    let network = (subnet.ip(), Blocked::Network(subnet));
    match subnet {
        IpNetwork::V4(_) | IpNetwork::V6(_) if host_bits < 2 => Vec::new(),
        IpNetwork::V4(v4) => vec![network, (v4.broadcast().into(), Blocked::Broadcast(subnet))],
        IpNetwork::V6(_) => vec![network],
    }
}

#[cfg(test)]
mod tests;
