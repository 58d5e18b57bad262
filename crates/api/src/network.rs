//! Which addresses the cluster itself uses.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use crate::node;

/// A Node as far as its addresses are concerned and what it announces; the rest of it, which is long, is not decoded.
#[derive(Debug, Clone, Default, Resource, Deserialize)]
#[resource(inherit = Node)]
pub struct NodeAddresses {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    #[serde(default, rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(default, rename = "podCIDRs")]
    pod_cidrs: Vec<String>,
    #[serde(default)]
    taints: Vec<Taint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    addresses: Vec<Address>,
    #[serde(default)]
    conditions: Vec<NodeCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Address {
    #[serde(default)]
    address: String,
}

impl NodeAddresses {
    /// Its own addresses, in their order. A name is none.
    pub fn own(&self) -> impl Iterator<Item = IpAddr> {
        self.status.addresses.iter().filter_map(|one| one.address.parse().ok())
    }

    /// The ranges that its pods have addresses from, as far as Kubernetes gave them to it.
    pub fn pod_ranges(&self) -> impl Iterator<Item = IpNetwork> {
        let Spec { pod_cidr, pod_cidrs, taints: _ } = &self.spec;
        let only = pod_cidr.iter().filter(|_| pod_cidrs.is_empty());
        only.chain(pod_cidrs).filter_map(|text| text.parse().ok())
    }

    /// What the announcing decisions may know of it: the same as [`crate::node::parse`] says of the whole.
    pub fn announced(&self) -> announce::Node {
        node::announced(&self.metadata, &self.spec.taints, &self.status.conditions)
    }
}

/// The ranges that Services have cluster addresses from.
pub fn service_ranges(object: &ServiceCIDR) -> Vec<IpNetwork> {
    let texts = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    texts.filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_node_its_addresses_and_its_pods_ranges_are_read() {
        let node: NodeAddresses = serde_json::from_value(json!({
            "kind": "Node",
            "metadata": { "name": "n1" },
            "spec": { "podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"] },
            "status": {
                "addresses": [
                    { "type": "InternalIP", "address": "192.0.2.11" },
                    { "type": "InternalIP", "address": "2001:db8::11" },
                    { "type": "Hostname", "address": "n1" },
                ],
                "images": [{ "names": ["a"] }],
            },
        }))
        .unwrap();
        let texts = |ranges: Vec<IpNetwork>| ranges.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(node.meta().name.as_deref(), Some("n1"));
        let own: Vec<_> = node.own().map(|address| address.to_string()).collect();
        assert_eq!(own, ["192.0.2.11", "2001:db8::11"]);
        assert_eq!(texts(node.pod_ranges().collect()), ["10.244.1.0/24", "fd00:1::/64"]);
        let leaving = json!({
            "metadata": { "labels": { "a": "b" } },
            "spec": { "taints": [{ "key": "node.kubernetes.io/out-of-service", "effect": "NoExecute" }] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let whole = node::parse(&serde_json::from_value(leaving.clone()).unwrap());
        let node: NodeAddresses = serde_json::from_value(leaving).unwrap();
        assert_eq!(whole.departure, announce::Departure::Leaving);
        assert_eq!(node.announced(), whole);
        let bare: NodeAddresses = serde_json::from_value(json!({ "metadata": {} })).unwrap();
        assert_eq!((bare.own().count(), bare.pod_ranges().count()), (0, 0));
    }

    #[test]
    fn a_service_cidr_has_a_range_for_each_family() {
        let object = json!({ "spec": { "cidrs": ["10.96.0.0/12", "fd00:96::/112", "x"] } });
        let ranges = service_ranges(&serde_json::from_value(object).unwrap());
        assert_eq!(ranges.len(), 2);
        assert_eq!(service_ranges(&ServiceCIDR::default()), []);
    }
}
