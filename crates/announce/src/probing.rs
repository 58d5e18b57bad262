//! Which nodes find out whether an address is free that may be given out next.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use names::{NodeName, PoolName};

use crate::advertisement::{Advertisement, Interfaces, L2Advertisement};
use crate::election::ranking;
use crate::eligibility::{foremost, node_allows};
use crate::view::{Readiness, View};

/// So many nodes probe one address: one may be dead, and nobody may know it yet.
const PROBERS: usize = 2;

/// Whether some L2Advertisement is for a pool's addresses, for those of some Services at least.
pub fn has_segment(view: &View, pool: &PoolName) -> bool {
    advertisements(view, pool).next().is_some()
}

/// The nodes that probe an address of a pool, each with where it may be answered for there. `is_connected` tells
/// whether a node is in the address's subnet on one of these interfaces.
///
/// Neighbouring addresses have the same probers, so that few nodes have something to report.
pub fn probers(
    view: &View,
    pool: &PoolName,
    address: IpAddr,
    is_connected: impl Fn(&NodeName, &Interfaces) -> bool,
) -> Vec<(NodeName, Interfaces)> {
    let advertisements: Vec<_> = advertisements(view, pool).collect();
    let interfaces = |name: &NodeName| {
        let node = view.nodes.get_key_value(name)?;
        let here = advertisements.iter().filter(|one| one.is_from(node));
        here.map(|one| one.interfaces.clone()).reduce(|one, other| one.union(&other))
    };
    let may = |name: &&NodeName| {
        let node = view.nodes.get(*name);
        node.is_some_and(|node| node_allows(view, node).is_ok())
            && interfaces(name).is_some_and(|interfaces| is_connected(name, &interfaces))
    };
    let mut nodes = foremost(view, view.nodes.keys().filter(may).collect());
    let is_ready =
        |name: &&NodeName| view.nodes.get(*name).is_some_and(|node| node.readiness == Readiness::Ready);
    if nodes.iter().any(is_ready) {
        nodes.retain(is_ready);
    }
    let ranked = ranking(neighbourhood(address), nodes.into_iter().map(|name| (name, 0)));
    ranked.into_iter().take(PROBERS).filter_map(|(name, _)| Some((name.clone(), interfaces(name)?))).collect()
}

fn advertisements<'a>(view: &'a View, pool: &PoolName) -> impl Iterator<Item = &'a L2Advertisement> {
    let origin = view.pools.origin_of(pool);
    view.l2.values().filter(move |one| origin.is_some_and(|origin| one.pools.include(origin)))
}

/// The first address of the /24 or /64 that an address is in.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() >> 8 << 8).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use names::{AdvertisementName, Labels, Operator, Requirement, Selector};

    use super::*;
    use crate::view::{Departure, Exclusion, Node, Pool, Reach};
    use crate::{Pools, Preempt, Rebalance};

    fn labels(value: &str) -> Labels {
        [("rack".to_owned(), value.to_owned())].into()
    }

    fn node(rack: &str) -> Node {
        Node {
            labels: labels(rack),
            readiness: Readiness::Ready,
            network: Reach::Available,
            exclusion: Exclusion::None,
            departure: Departure::Staying,
        }
    }

    fn advertisement(pools: &[&str]) -> L2Advertisement {
        let names = pools.iter().map(|name| PoolName::new(*name)).collect();
        L2Advertisement {
            pools: Pools { names, selectors: Vec::new() },
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
            interfaces: Interfaces::All,
            preferences: Vec::new(),
            preempt: Preempt::No,
            rebalance: Rebalance::Explicit,
        }
    }

    /// A pool `edge` that is announced, and so many nodes `n0`, ….
    fn view(nodes: usize) -> View {
        let mut view = View::default();
        view.set_pool(PoolName::new("edge"), Some(Pool { labels: Labels::new(), prefixes: Vec::new() }));
        view.set_l2_advertisement(AdvertisementName::new("l2"), Some(advertisement(&["edge"])));
        for index in 0..nodes {
            view.set_node(NodeName::new(format!("n{index}")), Some(node(&format!("r{index}"))));
        }
        view
    }

    fn of(view: &View, address: &str) -> BTreeSet<String> {
        let found = probers(view, &PoolName::new("edge"), address.parse().unwrap(), |_, _| true);
        found.into_iter().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn two_nodes_probe_an_address_and_its_neighbours_and_others_elsewhere() {
        let view = view(50);
        let first = of(&view, "10.0.0.1");
        assert_eq!(first.len(), 2);
        assert_eq!(of(&view, "10.0.0.200"), first);
        let all: BTreeSet<_> = (0..50).flat_map(|third| of(&view, &format!("10.0.{third}.1"))).collect();
        assert!(all.len() > 25, "{all:?}");
        assert_eq!(of(&view, "fd00::1"), of(&view, "fd00::ffff:1"));
        assert_eq!(of(&self::view(1), "10.0.0.1").len(), 1);
    }

    #[test]
    fn a_node_that_is_not_ready_leaving_or_excluded_does_not_where_others_can() {
        let mut view = view(3);
        let set = |view: &mut View, index: usize, change: fn(&mut Node)| {
            let mut node = node("r");
            change(&mut node);
            view.set_node(NodeName::new(format!("n{index}")), Some(node));
        };
        set(&mut view, 0, |node| node.readiness = Readiness::NotReady);
        assert_eq!(of(&view, "10.0.0.1"), ["n1".to_owned(), "n2".to_owned()].into());
        set(&mut view, 1, |node| node.departure = Departure::Leaving);
        assert_eq!(of(&view, "10.0.0.1"), ["n2".to_owned()].into());
        set(&mut view, 2, |node| node.exclusion = Exclusion::Never);
        assert_eq!(of(&view, "10.0.0.1"), ["n0".to_owned()].into(), "better than none");
    }

    #[test]
    fn a_node_probes_where_its_advertisements_let_it_answer() {
        let mut view = view(3);
        let of_rack = Requirement { key: "rack".into(), operator: Operator::In(["r1".to_owned()].into()) };
        let only = L2Advertisement {
            node_selectors: vec![Selector::new([of_rack])],
            interfaces: Interfaces::Named(["eth7".to_owned()].into()),
            ..advertisement(&["edge"])
        };
        view.set_l2_advertisement(AdvertisementName::new("l2"), Some(only.clone()));
        let edge = PoolName::new("edge");
        let found = probers(&view, &edge, "10.0.0.1".parse().unwrap(), |_, _| true);
        assert_eq!(found, [(NodeName::new("n1"), only.interfaces.clone())]);
        let found =
            probers(&view, &edge, "10.0.0.1".parse().unwrap(), |_, wanted| *wanted != only.interfaces);
        assert_eq!(found, [], "it is not connected there");
    }

    #[test]
    fn a_pool_that_no_advertisement_is_for_has_no_segment() {
        let mut view = view(1);
        let (edge, other) = (PoolName::new("edge"), PoolName::new("other"));
        assert!(has_segment(&view, &edge) && !has_segment(&view, &other));
        view.set_l2_advertisement(AdvertisementName::new("l2"), Some(advertisement(&["other"])));
        assert!(!has_segment(&view, &edge) && of(&view, "10.0.0.1").is_empty());
        assert!(!has_segment(&view, &other), "nobody knows it");
    }
}
