//! How a router is set up.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// How the router meets its neighbours on the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbors {
    /// Any external AS from any address of the segment may connect; the router never dials.
    AnyOfSegment,
    /// The three nodes by address; the router waits for them.
    NodesPassive,
    /// The three nodes by address; the router dials as well as waits.
    NodesDialed,
}

/// A router's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it meets the nodes.
    pub neighbors: Neighbors,
    /// Keepalive and hold time in seconds; the router's part of the negotiation.
    pub timers: (u16, u16),
    /// Neighbours that it dials besides: address and AS number.
    pub dial: Vec<(IpAddr, u32)>,
    /// What it announces.
    pub announce: Vec<IpNetwork>,
    /// Lines of the router's own language inside the BGP part, for this one test (FRR: within `router bgp`,
    /// BIRD: within the template of the neighbours).
    pub extra: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            neighbors: Neighbors::AnyOfSegment,
            timers: (1, 3),
            dial: Vec::new(),
            announce: Vec::new(),
            extra: String::new(),
        }
    }
}
