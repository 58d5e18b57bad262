//! From a BGPPeer to the session that this node keeps with it.

use std::hash::Hasher;
use std::net::Ipv4Addr;

use api::{Distance, Peer};
use bgp::RouterId;
use names::NodeName;
use netio::tcp::HopLimit;
use siphasher::sip::SipHasher13;

use crate::engine::PeerSettings;

/// The session with a peer, from a node with this BGP Identifier of its own.
pub(crate) fn settings(peer: &Peer, own_id: RouterId) -> PeerSettings {
    PeerSettings {
        peer: peer.announced.clone(),
        config: peer.config(own_id),
        remote: peer.remote,
        source: peer.source,
        hop_limit: match peer.distance {
            Distance::OneHop => HopLimit::DIRECT,
            Distance::ManyHops => HopLimit::MULTIHOP,
        },
    }
}

/// The node's BGP Identifier: its IPv4 address, else a number made from its name, the same after every restart
/// (RFC 6286 §2.1 asks only that it is not zero and unique within the AS).
pub(crate) fn own_router_id(node: &NodeName, address: Option<Ipv4Addr>) -> RouterId {
    let from_name = || {
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(node.as_str().as_bytes());
        let [.., a, b, c, d] = hasher.finish().to_be_bytes();
        // The highest bit keeps it from being zero.
        Ipv4Addr::from([a | 0x80, b, c, d])
    };
    let id = address.filter(|address| !address.is_unspecified()).unwrap_or_else(from_name);
    RouterId::parse(id).unwrap_or_else(|_zero| unreachable!("neither form is zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identifier_is_the_nodes_address_or_stable_for_its_name() {
        let node = NodeName::new("n1");
        let id = |address: Option<&str>| {
            own_router_id(&node, address.map(|text| text.parse().unwrap())).to_string()
        };
        assert_eq!(id(Some("10.77.0.11")), "10.77.0.11");
        assert_eq!(id(None), id(None));
        assert_eq!(id(Some("0.0.0.0")), id(None));
        assert_ne!(id(None), own_router_id(&NodeName::new("n2"), None).to_string());
    }
}
