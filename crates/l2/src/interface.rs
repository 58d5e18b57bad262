use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::Mac;

/// Whether frames can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The interface is up and has a link.
    Up,
    /// Nothing is heard, answered or announced.
    Down,
}

/// What the responder must know of its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its MAC: the one that owned addresses resolve to.
    pub mac: Mac,
    /// Its link-local address, the source of advertisements (RFC 4861 §4.4 wants an address of the interface). Without
    /// one they are sent from the announced address.
    pub link_local: Option<Ipv6Addr>,
    /// Its addresses, each with the length of its prefix: in whose name neighbours are asked.
    pub addresses: BTreeSet<IpNetwork>,
    /// Whether it has a link.
    pub carrier: Carrier,
}

impl Interface {
    /// The address in whose name a neighbour is asked: one that is on its segment, or it may not answer.
    pub(crate) fn ipv4_towards(&self, target: Ipv4Addr) -> Option<Ipv4Addr> {
        self.beside(target.into()).find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    /// The link-local address, which is on every neighbour's segment, or else one with the neighbour's prefix.
    pub(crate) fn ipv6_towards(&self, target: Ipv6Addr) -> Option<Ipv6Addr> {
        let beside = || {
            self.beside(target.into()).find_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(address),
            })
        };
        self.link_local.filter(|address| *address != target).or_else(beside)
    }

    /// The addresses of which another one has the prefix. Not that one itself: who asks in its name says to have it.
    fn beside(&self, other: IpAddr) -> impl Iterator<Item = IpAddr> {
        let networks = self.addresses.iter().filter(move |network| network.contains(other));
        networks.map(|network| network.ip()).filter(move |address| *address != other)
    }
}
