use std::fmt;

use ipnetwork::IpNetwork;
use names::NodeName;

/// Why an address is never given out by itself; a Service that names it gets it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// A node has it.
    Node(NodeName),
    /// A speaker's node uses it as a gateway.
    Gateway(NodeName),
    /// It is the network address of a subnet that a node is connected to; in IPv6 the subnet-router anycast
    /// address (RFC 4291 §2.6.1).
    Network(IpNetwork),
    /// It is the broadcast address of a subnet that a node is connected to.
    Broadcast(IpNetwork),
}

impl fmt::Display for Blocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(out, "an address of node {node}"),
            Self::Gateway(node) => write!(out, "a gateway of node {node}"),
            Self::Network(subnet) => write!(out, "the network address of {subnet}"),
            Self::Broadcast(subnet) => write!(out, "the broadcast address of {subnet}"),
        }
    }
}
