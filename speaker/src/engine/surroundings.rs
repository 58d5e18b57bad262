//! What a port knows of its interface and of the speakers that share its segment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use api::{Interface, Layer2};
use ipnetwork::IpNetwork;
use liveness::{DataPath, Departure, Keys, Member};
use names::NodeName;
use netio::Link;

use crate::engine::interfaces::interface_of;

/// The other speakers, each with its node's interfaces.
pub(crate) type Neighbours = BTreeMap<NodeName, Vec<Interface>>;

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
        let members = members(&Here::new(&link.name, link.link_local(), &networks), neighbours);
        let is_member = |address: IpAddr| members.values().any(|member| member.address == address);
        Some(Self {
            interface,
            witnesses: witnesses
                .into_iter()
                .filter(|witness| !own(*witness) && !is_member(*witness))
                .collect(),
            members,
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
fn members(here: &Here<'_>, neighbours: &Neighbours) -> BTreeMap<NodeName, Member> {
    let member = |(name, theirs): (&NodeName, &Vec<Interface>)| {
        Some((name.clone(), numbered(here, theirs).or_else(|| unnumbered(here, theirs))?))
    };
    neighbours.iter().filter_map(member).collect()
}

/// The interface that the others share a segment with.
struct Here<'a> {
    name: &'a str,
    link_local: Option<Ipv6Addr>,
    /// Networks with room for more than two stations.
    segments: Vec<IpNetwork>,
}

impl<'a> Here<'a> {
    fn new(name: &'a str, link_local: Option<Ipv6Addr>, networks: &[IpNetwork]) -> Self {
        let is_segment = |network: &IpNetwork| match network {
            IpNetwork::V4(network) => network.prefix() < 31,
            IpNetwork::V6(network) => network.prefix() < 127 && !network.ip().is_unicast_link_local(),
        };
        Self { name, link_local, segments: networks.iter().copied().filter(is_segment).collect() }
    }
}

fn numbered<'a>(here: &Here<'_>, theirs: &'a [Interface]) -> Option<Member> {
    let beside = |theirs: &IpNetwork| {
        here.segments.iter().any(|ours| ours.contains(theirs.ip()) && ours.ip() != theirs.ip())
    };
    let same = |theirs: &IpNetwork| {
        beside(theirs)
            && here.segments.iter().any(|ours| ours.contains(theirs.ip()) && ours.prefix() == theirs.prefix())
    };
    // Of a node whose speaker has not said yet which networks it is in, only addresses are known.
    let alone = |theirs: &IpNetwork| beside(theirs) && IpNetwork::from(theirs.ip()) == *theirs;
    let each = |interface: &'a Interface| interface.networks.iter().map(move |one| (*one, interface.mac));
    let all = || theirs.iter().flat_map(each);
    let first = all().filter(|(network, _)| same(network)).min();
    let (network, mac) = first.or_else(|| all().filter(|(network, _)| alone(network)).min())?;
    Some(Member { address: network.ip(), mac })
}

/// An interface without an address, here or there, is reached by what each link has. That it is the same link is only
/// guessed from its name: where it is not, nobody answers.
fn unnumbered(here: &Here<'_>, theirs: &[Interface]) -> Option<Member> {
    let there = theirs.iter().find(|interface| interface.name == here.name)?;
    if here.link_local.is_none() || !(here.segments.is_empty() || there.networks.is_empty()) {
        return None;
    }
    Some(Member { address: there.link_local?.into(), mac: there.mac })
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

    fn interface(name: &str, texts: &[&str]) -> Interface {
        let link_local = texts.iter().find(|text| text.starts_with("fe80")).map(|text| text.parse().unwrap());
        let texts: Vec<_> = texts.iter().copied().filter(|text| !text.starts_with("fe80")).collect();
        Interface { name: name.into(), mac: None, link_local, networks: networks(&texts) }
    }

    fn found(here: &Here<'_>, theirs: Interface) -> Option<String> {
        let name = NodeName::new("other");
        let found = members(here, &Neighbours::from([(name.clone(), vec![theirs])]));
        found.get(&name).map(|member| member.address.to_string())
    }

    #[test]
    fn a_member_is_who_has_an_address_in_one_of_the_interfaces_networks() {
        let here = networks(&["10.77.0.11/24", "2001:db8::11/64", "fe80::1/64", "192.0.2.1/32"]);
        let here = Here::new("eth0", None, &here);
        let there = [
            (vec!["2001:db8::12/64", "10.77.0.12/24"], Some("10.77.0.12")),
            (vec!["2001:db8::13/64"], Some("2001:db8::13")),
            (vec!["10.78.0.14/24", "192.0.2.1/32"], None),
            (vec!["10.78.0.16/32", "10.77.0.16/32"], Some("10.77.0.16")),
            (vec!["10.77.0.1/32", "10.77.0.17/24"], Some("10.77.0.17")),
            (vec!["10.77.0.15/16"], None),
            (vec!["10.77.0.11/24"], None),
        ];
        for (theirs, expected) in there {
            assert_eq!(found(&here, interface("eth0", &theirs)).as_deref(), expected, "{theirs:?}");
        }
    }

    #[test]
    fn where_an_interface_has_no_address_the_one_of_the_same_name_is_reached_by_what_its_link_has() {
        let ours = Some("fe80::1".parse().unwrap());
        let numbered = networks(&["10.77.0.11/24"]);
        let cases = [
            (vec![], "eth1", vec!["fe80::2"], Some("fe80::2")),
            (vec![], "eth1", vec!["fe80::2", "10.77.0.12/24"], Some("fe80::2")),
            (vec![], "eth2", vec!["fe80::2"], None),
            (vec![], "eth1", vec![], None),
            (numbered.clone(), "eth1", vec!["fe80::2"], Some("fe80::2")),
            (numbered.clone(), "eth1", vec!["fe80::2", "10.78.0.12/24"], None),
            (numbered, "eth1", vec!["fe80::2", "10.77.0.12/24"], Some("10.77.0.12")),
        ];
        for (networks, name, theirs, expected) in cases {
            let here = Here::new("eth1", ours, &networks);
            assert_eq!(
                found(&here, interface(name, &theirs)).as_deref(),
                expected,
                "{networks:?} {theirs:?}"
            );
        }
        let mute = Here::new("eth1", None, &[]);
        assert_eq!(found(&mute, interface("eth1", &["fe80::2"])), None, "it could not send there");
    }
}
