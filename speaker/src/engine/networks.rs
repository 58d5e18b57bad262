//! Follows which networks the node is connected to: its addresses and its gateways, interface by interface.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use api::Network;
use api::speaker_status::{MOST_ADDRESSES, MOST_GATEWAYS, MOST_NETWORKS};
use futures::FutureExt;
use names::Mac;
use netio::links::Scope;
use netio::{Gateway, Link, LinkIndex, Links, Routes, clock};
use tokio::sync::watch;
use tracing::{info, warn};

/// Changes that come within this are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// From one look to the next, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// There can be a million routes: of ten parts of the time looking at them takes one.
const REST: u32 = 9;

/// What the names of interfaces begin with that are the near ends of pods' own, or that hold cluster addresses and
/// Services' own, as those of kube-proxy and kube-router do.
const NOT_THE_NODES: [&str; 5] = ["veth", "cali", "lxc", "kube-", "nodelocaldns"];

/// Runs until the netlink socket fails.
pub(crate) async fn run(known: watch::Sender<Option<Vec<Network>>>) -> Result<(), netio::Error> {
    let mut links = Links::open().await?;
    let mut routes = Routes::open()?;
    let mut gateways = Vec::new();
    loop {
        let began = clock::now();
        match routes.gateways().await {
            Ok(found) => gateways = found,
            Err(error) => warn!(%error, "the gateways stay as they were known"),
        }
        let now = networks(links.current(), &gateways);
        known.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&now);
            if changed {
                info!(interfaces = now.len(), "the node's networks");
                *known = Some(now);
            }
            changed
        });
        let took = clock::now().saturating_duration_since(began);
        tokio::time::sleep(PAUSE.max(took * REST)).await;
        // Of a route that goes with its interface, the interface alone tells.
        tokio::select! {
            change = links.next() => drop(change?),
            changed = routes.changed() => changed?,
        }
        tokio::time::sleep(GATHER).await;
        while let Some(change) = links.next().now_or_never() {
            drop(change?);
        }
    }
}

/// As the status holds it: those with a gateway first, and older interfaces before younger ones.
fn networks(links: &BTreeMap<LinkIndex, Link>, gateways: &[Gateway]) -> Vec<Network> {
    let of_the_node =
        links.values().filter(|link| !NOT_THE_NODES.iter().any(|start| link.name.starts_with(start)));
    let all = of_the_node.map(|link| network(link, gateways));
    let mut told: Vec<_> = all
        .filter(|network| {
            // Speakers may hear each other on an interface without any other address.
            let heard = network.mac.is_some() && network.link_local.is_some();
            heard || !network.addresses.is_empty() || !network.gateways.is_empty()
        })
        .collect();
    told.sort_by_key(|network| match (network.gateways.is_empty(), network.addresses.is_empty()) {
        (false, _) => 0,
        (true, false) => 1,
        // Were there too many, those would be left out that have the least to say.
        (true, true) => 2,
    });
    told.truncate(MOST_NETWORKS);
    told
}

fn network(link: &Link, gateways: &[Gateway]) -> Network {
    let addresses = link.addresses.iter().filter(|address| address.scope == Scope::Global);
    let addresses = addresses.map(|address| address.network).filter(|network| can_be_given_out(network.ip()));
    let gateways = gateways.iter().filter(|gateway| gateway.interface == link.index);
    let gateways = gateways.map(|gateway| gateway.address).filter(|address| can_be_given_out(*address));
    Network {
        interface: link.name.clone(),
        addresses: addresses.take(MOST_ADDRESSES).map(|network| network.to_string()).collect(),
        gateways: gateways.take(MOST_GATEWAYS).map(|address| address.to_string()).collect(),
        mac: link.mac.map(|mac| Mac::new(mac).to_string()),
        // What comes in on the port of a bridge or a bond comes to the whole.
        link_local: link.link_local().filter(|_| link.master.is_none()).map(|address| address.to_string()),
    }
}

/// Whether an address is one that a Service could have, were it nobody's.
fn can_be_given_out(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !address.is_loopback() && !address.is_link_local() && !address.is_unspecified()
        }
        IpAddr::V6(address) => {
            address != Ipv6Addr::LOCALHOST && !address.is_unicast_link_local() && !address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use netio::links::Address;

    use super::*;

    fn link(index: u32, name: &str, addresses: &[(&str, Scope)]) -> Link {
        let addresses = addresses.iter();
        let addresses =
            addresses.map(|(text, scope)| Address { network: text.parse().unwrap(), scope: *scope });
        Link {
            index: LinkIndex::new(index),
            name: name.to_owned(),
            mac: None,
            up: true,
            carrier: true,
            loopback: false,
            no_arp: false,
            master: None,
            addresses: addresses.collect(),
        }
    }

    fn gateway(index: u32, address: &str) -> Gateway {
        Gateway { interface: LinkIndex::new(index), address: address.parse().unwrap() }
    }

    /// Each network as one line.
    fn lines(links: &[Link], gateways: &[Gateway]) -> Vec<String> {
        let links = links.iter().map(|link| (link.index, link.clone())).collect();
        let line = |network: Network| {
            let Network { interface, addresses, gateways, mac: _, link_local: _ } = network;
            format!("{interface}: {} via {}", addresses.join(" "), gateways.join(" "))
        };
        networks(&links, gateways).into_iter().map(line).collect()
    }

    #[test]
    fn every_global_address_counts_and_gateways_in_the_order_given() {
        let links = [
            link(
                1,
                "lo",
                &[("127.0.0.1/8", Scope::Host), ("::1/128", Scope::Host), ("198.51.100.7/32", Scope::Global)],
            ),
            link(
                2,
                "eth0",
                &[
                    ("192.0.2.11/24", Scope::Global),
                    ("fe80::1/64", Scope::Link),
                    ("2001:db8::11/64", Scope::Global),
                ],
            ),
            link(3, "eth1", &[]),
        ];
        let gateways = [
            gateway(2, "192.0.2.254"),
            gateway(2, "fe80::2"),
            gateway(2, "192.0.2.1"),
            gateway(9, "10.0.0.1"),
        ];
        let expected =
            ["eth0: 192.0.2.11/24 2001:db8::11/64 via 192.0.2.254 192.0.2.1", "lo: 198.51.100.7/32 via "];
        assert_eq!(lines(&links, &gateways), expected);
    }

    #[test]
    fn a_network_has_the_interfaces_own_addresses_on_its_link() {
        let addresses = [("192.0.2.11/24", Scope::Global), ("fe80::7/64", Scope::Link)];
        let bare = link(1, "eth0", &addresses[..1]);
        let whole = Link { mac: Some([2, 0, 0, 0, 0, 7]), ..link(1, "eth0", &addresses) };
        let told = |link: Link| {
            let Network { mac, link_local, .. } = network(&link, &[]);
            (mac, link_local)
        };
        assert_eq!(told(bare), (None, None));
        assert_eq!(told(whole), (Some("02:00:00:00:00:07".into()), Some("fe80::7".into())));
    }

    #[test]
    fn what_is_valid_on_one_link_or_node_only_is_left_out_whatever_its_scope() {
        let odd = ["127.0.0.9/8", "169.254.20.10/32", "::1/128", "fe80::9/64", "0.0.0.0/0", "::/0"];
        let odd = odd.map(|text| (text, Scope::Global));
        assert_eq!(lines(&[link(1, "lo", &odd)], &[]), [""; 0]);
        assert_eq!(lines(&[link(1, "eth0", &[("192.0.2.11/24", Scope::Link)])], &[]), [""; 0]);
    }

    #[test]
    fn the_near_ends_of_pods_and_what_holds_services_addresses_are_left_out() {
        let names = [
            "veth12ab",
            "cali1f",
            "lxc_health",
            "kube-ipvs0",
            "kube-dummy-if",
            "nodelocaldns",
            "vlan7",
            "docker0",
        ];
        let links: Vec<_> = (1..)
            .zip(names)
            .map(|(index, name)| link(index, name, &[("10.0.0.1/24", Scope::Global)]))
            .collect();
        let gateways = [gateway(1, "10.0.0.2")];
        assert_eq!(lines(&links, &gateways), ["vlan7: 10.0.0.1/24 via ", "docker0: 10.0.0.1/24 via "]);
    }

    #[test]
    fn no_number_of_interfaces_addresses_or_gateways_is_too_many() {
        let many: Vec<_> = (0..200).map(|low| format!("10.0.0.{low}/24")).collect();
        let many: Vec<_> = many.iter().map(|text| (text.as_str(), Scope::Global)).collect();
        let links: BTreeMap<_, _> = (1..200)
            .map(|index| (LinkIndex::new(index), link(index, &format!("eth{index}"), &many)))
            .collect();
        let gateways: Vec<_> = (1..200).map(|low| gateway(150, &format!("10.0.1.{low}"))).collect();
        let found = networks(&links, &gateways);
        assert_eq!(found.len(), MOST_NETWORKS);
        let names: Vec<_> = found.iter().take(3).map(|network| network.interface.as_str()).collect();
        assert_eq!(names, ["eth150", "eth1", "eth2"], "the one with gateways stays");
        assert!(found.iter().all(|network| network.addresses.len() == MOST_ADDRESSES));
        assert_eq!(found[0].gateways.len(), MOST_GATEWAYS);
        assert_eq!(found[0].gateways[0], "10.0.1.1");
    }
}
