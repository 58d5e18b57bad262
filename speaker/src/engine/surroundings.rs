//! What a port knows of its interface and of the speakers that share its segment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::Layer2;
use ipnetwork::IpNetwork;
use liveness::{DataPath, Departure, Keys, Member};
use names::NodeName;
use netio::Link;

use crate::engine::interfaces::interface_of;

/// The other speakers, each with its node's addresses and their networks.
pub(crate) type Neighbours = BTreeMap<NodeName, Vec<IpNetwork>>;

/// All that a port is told but for the addresses themselves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Surroundings {
    pub(crate) interface: l2::Interface,
    pub(crate) link: liveness::Link,
    pub(crate) members: BTreeMap<NodeName, Member>,
    pub(crate) witnesses: BTreeSet<IpAddr>,
    pub(crate) keys: Option<Keys>,
    pub(crate) departure: Option<Departure>,
    pub(crate) data_path: DataPath,
    pub(crate) settings: Layer2,
}

impl Surroundings {
    /// `None` for an interface without a MAC.
    pub(crate) fn new(
        link: &Link,
        neighbours: &Neighbours,
        keys: Option<Keys>,
        witnesses: BTreeSet<IpAddr>,
        departure: Option<Departure>,
        data_path: DataPath,
        settings: Layer2,
    ) -> Option<Self> {
        let interface = interface_of(link)?;
        let mac = interface.mac;
        let networks: Vec<_> = link.addresses.iter().map(|address| address.network).collect();
        let own = |address: IpAddr| networks.iter().any(|network| network.ip() == address);
        Some(Self {
            interface,
            members: members(&networks, neighbours),
            witnesses: witnesses.into_iter().filter(|witness| !own(*witness)).collect(),
            link: liveness::Link {
                mac,
                carrier: if link.carrier { liveness::Carrier::Up } else { liveness::Carrier::Down },
                networks: networks.into_iter().filter(|network| !is_link_local(network.ip())).collect(),
            },
            keys,
            departure,
            data_path,
            settings,
        })
    }
}

/// The speakers that are reached on an interface: those with an address in one of its networks, of the same length.
fn members(networks: &[IpNetwork], neighbours: &Neighbours) -> BTreeMap<NodeName, Member> {
    let is_segment = |network: &&IpNetwork| match network {
        IpNetwork::V4(network) => network.prefix() < 31,
        IpNetwork::V6(network) => network.prefix() < 127 && !network.ip().is_unicast_link_local(),
    };
    let segments: Vec<_> = networks.iter().filter(is_segment).collect();
    let beside = |theirs: &IpNetwork| {
        segments.iter().any(|ours| ours.contains(theirs.ip()) && ours.ip() != theirs.ip())
    };
    let same = |theirs: &&IpNetwork| {
        beside(theirs)
            && segments.iter().any(|ours| ours.contains(theirs.ip()) && ours.prefix() == theirs.prefix())
    };
    // Of a node whose speaker has not said yet which networks it is in, only addresses are known.
    let alone = |theirs: &&IpNetwork| beside(theirs) && IpNetwork::from(theirs.ip()) == **theirs;
    let member = |(name, theirs): (&NodeName, &Vec<IpNetwork>)| {
        let first = theirs.iter().filter(same).min().or_else(|| theirs.iter().filter(alone).min())?;
        Some((name.clone(), Member { address: first.ip(), mac: None }))
    };
    neighbours.iter().filter_map(member).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_member_is_who_has_an_address_in_one_of_the_interfaces_networks() {
        let here = networks(&["10.77.0.11/24", "2001:db8::11/64", "fe80::1/64", "192.0.2.1/32"]);
        let there = [
            ("both", vec!["2001:db8::12/64", "10.77.0.12/24"], Some("10.77.0.12")),
            ("v6", vec!["2001:db8::13/64"], Some("2001:db8::13")),
            ("elsewhere", vec!["10.78.0.14/24", "192.0.2.1/32"], None),
            ("unknown", vec!["10.78.0.16/32", "10.77.0.16/32"], Some("10.77.0.16")),
            ("other", vec!["10.77.0.1/32", "10.77.0.17/24"], Some("10.77.0.17")),
            ("wider", vec!["10.77.0.15/16"], None),
            ("same", vec!["10.77.0.11/24"], None),
        ];
        for (name, theirs, expected) in there {
            let neighbours = Neighbours::from([(NodeName::new(name), networks(&theirs))]);
            let found = members(&here, &neighbours);
            let found = found.get(&NodeName::new(name)).map(|member| member.address.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
