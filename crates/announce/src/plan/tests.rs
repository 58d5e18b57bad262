use std::collections::BTreeSet;

use names::{Labels, Operator, PoolName, Requirement, ServiceKey};
use proptest::prelude::*;

use super::*;
use crate::view::{
    ControlPlane, Departure, Endpoints, Exclusion, Families, Peer, Pool, Reach, Readiness, Service,
    TrafficPolicy, Usable,
};
use crate::{L2Advertisement, Placement, Pools, Preempt, Preference, Rebalance, Touched};

mod sharing;

const VIP: &str = "192.0.2.10";
const VIP6: &str = "2001:db8::10";

/// Three ready nodes, one pool, one Service with an endpoint on n1, one advertisement of each kind, one peer.
fn view() -> View {
    let mut view = View::default();
    for name in ["n1", "n2", "n3"] {
        view.set_node(NodeName::new(name), Some(node(name)));
    }
    let prefixes = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    view.set_pool(PoolName::new("pool"), Some(Pool { labels: Labels::new(), prefixes }));
    view.set_service(key(), Some(service(TrafficPolicy::Cluster)));
    view.set_endpoints(key(), Some(endpoints(&["n1"])));
    view.set_l2_advertisement(AdvertisementName::new("l2"), Some(l2_advertisement()));
    view.set_bgp_advertisement(AdvertisementName::new("bgp"), Some(bgp_advertisement(None)));
    view.set_peer(PeerName::new("tor"), Some(peer(&[Family::V4, Family::V6])));
    view
}

fn key() -> ServiceKey {
    ServiceKey::new("default", "web")
}

fn node(name: &str) -> Node {
    Node {
        labels: [("name".to_owned(), name.to_owned())].into(),
        readiness: Readiness::Ready,
        network: Reach::Available,
        exclusion: Exclusion::None,
        departure: Departure::Staying,
    }
}

fn service(policy: TrafficPolicy) -> Service {
    Service {
        uid: "web".to_owned(),
        labels: [("app".to_owned(), "web".to_owned())].into(),
        addresses: addresses(None),
        allocated_since: Some(1),
        policy,
        sharing: None,
    }
}

fn addresses(pool: Option<&str>) -> BTreeMap<IpAddr, Option<PoolName>> {
    [VIP, VIP6].map(|address| (address.parse().unwrap(), pool.map(PoolName::new))).into()
}

fn endpoints(nodes: &[&str]) -> Endpoints {
    let usable = Usable { elsewhere: 0, nodes: nodes.iter().map(|name| NodeName::new(*name)).collect() };
    Endpoints { v4: usable.clone(), v6: usable }
}

fn l2_advertisement() -> L2Advertisement {
    L2Advertisement {
        pools: Pools::default(),
        node_selectors: vec![],
        service_selectors: vec![],
        interfaces: Interfaces::All,
        preferences: vec![],
        preempt: Preempt::No,
        rebalance: Rebalance::Explicit,
    }
}

fn bgp_advertisement(local_pref: Option<u32>) -> BgpAdvertisement {
    BgpAdvertisement {
        pools: Pools::default(),
        node_selectors: vec![],
        service_selectors: vec![],
        peers: BTreeSet::new(),
        local_pref,
    }
}

fn peer(families: &[Family]) -> Peer {
    Peer { node_selectors: vec![], families: families.iter().copied().collect::<Families>() }
}

fn on(label: &str, value: &str) -> Vec<Selector> {
    let operator = Operator::In([value.to_owned()].into());
    vec![Selector::new([Requirement { key: label.into(), operator }])]
}

fn at(view: &View, node: &str, address: &str) -> AddressPlan {
    plan(view, &NodeName::new(node), address.parse().unwrap())
}

/// Who is to answer if all are alive: as each node sees it.
fn owners(view: &View, address: &str) -> Vec<String> {
    let nodes = view.nodes.keys().filter(|node| {
        let AddressPlan { ballot, l2, .. } = plan(view, node, address.parse().unwrap());
        assert_eq!(ballot.ranked.contains(node), l2.is_ok(), "{node}: {l2:?}");
        ballot.ranked.first() == Some(*node)
    });
    nodes.map(ToString::to_string).collect()
}

/// Who may answer, in order.
fn ranked(view: &View, address: &str) -> Vec<String> {
    at(view, "n1", address).ballot.ranked.iter().map(ToString::to_string).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn set(view: &mut View, name: &str, change: impl FnOnce(&mut Node)) {
    let mut changed = node(name);
    change(&mut changed);
    view.set_node(NodeName::new(name), Some(changed));
}

fn place(view: &mut View, name: &str, generation: u64) -> Touched {
    let placement = Placement { node: NodeName::new(name), generation, displaces: true };
    view.set_placement(VIP.parse().unwrap(), Some(placement))
}

/// So much for the nodes of these names.
fn preferring(preferences: &[(u32, &str)]) -> L2Advertisement {
    let preferences = preferences.iter().flat_map(|(weight, name)| {
        on("name", name).into_iter().map(|nodes| Preference { weight: *weight, nodes })
    });
    L2Advertisement { preferences: preferences.collect(), ..l2_advertisement() }
}

fn announcers(view: &View, address: &str) -> Vec<String> {
    let nodes = view.nodes.keys().filter(|node| plan(view, node, address.parse().unwrap()).bgp.is_ok());
    nodes.map(ToString::to_string).collect()
}

#[test]
fn one_node_answers_and_every_node_announces() {
    let view = view();
    for address in [VIP, VIP6] {
        assert_eq!(owners(&view, address).len(), 1);
        assert_eq!(announcers(&view, address), ["n1", "n2", "n3"]);
    }
}

#[test]
fn whether_the_node_list_calls_a_node_ready_changes_nobodys_plan() {
    let mut view = view();
    let before = ["n1", "n2", "n3"].map(|node| at(&view, node, VIP));
    set(&mut view, "n1", |node| node.readiness = Readiness::NotReady);
    assert_eq!(["n1", "n2", "n3"].map(|node| at(&view, node, VIP)), before);
}

#[test]
fn every_node_that_may_answer_is_on_the_ballot_and_every_node_sees_the_same_one() {
    let view = view();
    for address in [VIP, VIP6] {
        let ballots = ["n1", "n2", "n3"].map(|node| at(&view, node, address).ballot);
        assert_eq!(sorted(ranked(&view, address)), ["n1", "n2", "n3"]);
        assert!(ballots.iter().all(|ballot| *ballot == ballots[0] && ballot.generation == 0));
    }
    let nobody = at(&view, "n1", "192.0.2.99").ballot;
    assert_eq!(nobody.ranked, []);
}

#[test]
fn the_node_that_an_address_is_placed_on_goes_first_and_the_others_keep_their_order() {
    let mut view = view();
    let before = ranked(&view, VIP);
    for name in before.clone() {
        assert_eq!(place(&mut view, &name, 7), Touched::Addresses([VIP.parse().unwrap()].into()));
        let rest: Vec<_> = before.iter().filter(|other| **other != name).cloned().collect();
        assert_eq!(ranked(&view, VIP), [vec![name], rest].concat());
        assert_eq!(at(&view, "n1", VIP).ballot.generation, 7);
    }
    let again = before[2].clone();
    assert_eq!(place(&mut view, &again, 7), Touched::Addresses(BTreeSet::new()), "nothing changed");
    set(&mut view, &again, |node| node.exclusion = Exclusion::Never);
    assert_eq!(ranked(&view, VIP), before[..2], "it may not answer");
    assert_eq!(at(&view, "n1", VIP).ballot.generation, 7);
    view.set_placement(VIP.parse().unwrap(), None);
    assert_eq!(at(&view, "n1", VIP).ballot.generation, 0);
}

#[test]
fn weights_add_up_within_and_across_advertisements_and_only_where_these_are_from_the_node() {
    let mut view = view();
    let set_l2 = |view: &mut View, name: &str, one| {
        view.set_l2_advertisement(AdvertisementName::new(name), Some(one));
    };
    let hashed = ranked(&view, VIP);
    let (last, middle) = (hashed[2].clone(), hashed[1].clone());
    set_l2(&mut view, "l2", preferring(&[(10, &last), (25, &middle)]));
    assert_eq!(ranked(&view, VIP), [&middle, &last, &hashed[0]].map(Clone::clone));
    set_l2(&mut view, "l2", preferring(&[(10, &last), (25, &middle), (10, &last), (10, &last)]));
    assert_eq!(ranked(&view, VIP)[0], last);
    set_l2(&mut view, "more", preferring(&[(6, &middle)]));
    assert_eq!(ranked(&view, VIP)[0], middle);
    let elsewhere = L2Advertisement { node_selectors: on("name", &hashed[0]), ..preferring(&[(6, &middle)]) };
    set_l2(&mut view, "more", elsewhere);
    assert_eq!(ranked(&view, VIP)[0], last, "that advertisement is not from it");
    let other_service =
        L2Advertisement { service_selectors: on("app", "mail"), ..preferring(&[(6, &middle)]) };
    set_l2(&mut view, "more", other_service);
    assert_eq!(ranked(&view, VIP)[0], last, "that advertisement is not for it");
}

#[test]
fn a_node_that_leaves_goes_out_while_another_stays() {
    let mut view = view();
    let leave = |view: &mut View, name: &str| set(view, name, |node| node.departure = Departure::Leaving);
    leave(&mut view, "n1");
    assert_eq!(announcers(&view, VIP), ["n2", "n3"]);
    assert_eq!(sorted(ranked(&view, VIP)), ["n2", "n3"]);
    let plan = at(&view, "n1", VIP);
    assert_eq!((plan.l2, plan.bgp), (Err(Silence::NodeLeaving), Err(Silence::NodeLeaving)));
    set(&mut view, "n2", |node| node.exclusion = Exclusion::Reserve);
    leave(&mut view, "n3");
    assert_eq!(ranked(&view, VIP), ["n2"], "the reserve stays, the others do not");
    set(&mut view, "n2", |node| {
        (node.departure, node.exclusion) = (Departure::Leaving, Exclusion::Reserve);
    });
    assert_eq!(sorted(ranked(&view, VIP)), ["n1", "n3"], "when all of them leave, none has to");
    assert_eq!(announcers(&view, VIP), ["n1", "n3"]);
}

proptest! {
    /// The same view gives the same ballot wherever it is made; who is on it may answer, and nobody else.
    #[test]
    fn a_ballot_is_of_those_who_may_answer_by_placement_weight_and_hash(
        nodes in prop::collection::vec((0u32..3, 0u8..3, 0u8..2, 0u8..2), 1..7),
        placed in 0usize..8,
        local in prop::collection::btree_set(0usize..7, 0..7),
        is_local: bool,
    ) {
        let mut view = view();
        let name = |index: usize| format!("n{index}");
        for name in ["n1", "n2", "n3"] {
            view.set_node(NodeName::new(name), None);
        }
        let mut preferences = vec![];
        for (index, (weight, exclusion, departure, network)) in nodes.iter().enumerate() {
            preferences.push((*weight, name(index)));
            set(&mut view, &name(index), |node| {
                node.exclusion = [Exclusion::None, Exclusion::Reserve, Exclusion::Never][usize::from(*exclusion)];
                node.departure = [Departure::Staying, Departure::Leaving][usize::from(*departure)];
                node.network = [Reach::Available, Reach::Unavailable][usize::from(*network)];
            });
        }
        let preferences: Vec<_> = preferences.iter().map(|(weight, name)| (*weight, name.as_str())).collect();
        view.set_l2_advertisement(AdvertisementName::new("l2"), Some(preferring(&preferences)));
        let policy = if is_local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        view.set_service(key(), Some(service(policy)));
        let names: Vec<_> = local.iter().map(|index| name(*index)).collect();
        view.set_endpoints(key(), Some(endpoints(&names.iter().map(String::as_str).collect::<Vec<_>>())));
        place(&mut view, &name(placed), 1);

        let address = VIP.parse().unwrap();
        let ballot = plan(&view, &NodeName::new("n0"), address).ballot;
        let on_it: Vec<_> = ballot.ranked.iter().map(|node| view.nodes.get(node).unwrap()).collect();
        let standing = |node: &Node| (node.departure, node.exclusion);
        for (name, node) in &view.nodes {
            let own = plan(&view, name, address);
            prop_assert_eq!(&own.ballot, &ballot);
            prop_assert_eq!(own.l2.is_ok(), ballot.ranked.contains(name));
            let could = node.exclusion != Exclusion::Never
                && node.network == Reach::Available
                && !local.is_empty()
                && (!is_local || names.contains(&name.to_string()));
            let stands_back = on_it.iter().any(|other| standing(other) < standing(node));
            prop_assert_eq!(own.l2.is_ok(), could && !stands_back, "{}: {:?}", name, own.l2);
        }
        let weight = |node: &NodeName| preferences.iter().find(|one| one.1 == node.as_str()).unwrap().0;
        let by_weight: Vec<_> = ballot.ranked.iter().filter(|node| node.as_str() != name(placed)).collect();
        prop_assert!(by_weight.is_sorted_by_key(|node| std::cmp::Reverse(weight(node))));
        let may = ballot.ranked.iter().any(|node| node.as_str() == name(placed));
        prop_assert!(!may || ballot.ranked[0].as_str() == name(placed));
    }
}

#[test]
fn no_endpoint_no_announcement() {
    let mut view = view();
    view.set_endpoints(key(), None);
    let plan = at(&view, "n1", VIP);
    assert_eq!(plan.l2, Err(Silence::NoUsableEndpoint));
    assert_eq!(plan.bgp, Err(Silence::NoUsableEndpoint));
}

#[test]
fn an_endpoint_of_one_family_announces_that_family_only() {
    let mut view = view();
    let mut only_v6 = endpoints(&["n1"]);
    only_v6.v4 = Usable::default();
    view.set_endpoints(key(), Some(only_v6));
    assert_eq!(announcers(&view, VIP), Vec::<String>::new());
    assert_eq!(announcers(&view, VIP6).len(), 3);
}

#[test]
fn local_traffic_policy_announces_only_where_an_endpoint_lives() {
    let mut view = view();
    view.set_service(key(), Some(service(TrafficPolicy::Local)));
    view.set_endpoints(key(), Some(endpoints(&["n2", "n3"])));
    assert_eq!(announcers(&view, VIP), ["n2", "n3"]);
    assert_eq!(at(&view, "n1", VIP).bgp, Err(Silence::NoLocalEndpoint));
    assert_eq!(at(&view, "n1", VIP).l2, Err(Silence::NoLocalEndpoint));
    assert!(["n2", "n3"].contains(&owners(&view, VIP)[0].as_str()));
}

#[test]
fn an_endpoint_that_names_no_node_counts_for_cluster_and_not_for_local() {
    let mut view = view();
    let usable = Usable { elsewhere: 1, nodes: BTreeSet::new() };
    view.set_endpoints(key(), Some(Endpoints { v4: usable.clone(), v6: usable }));
    assert_eq!(announcers(&view, VIP).len(), 3);
    view.set_service(key(), Some(service(TrafficPolicy::Local)));
    assert_eq!(announcers(&view, VIP), Vec::<String>::new());
}

#[test]
fn the_exclude_label_is_an_order_except_for_a_reserve_that_alone_is_left() {
    let mut view = view();
    let mut exclude = |name: &str, exclusion| {
        view.set_node(NodeName::new(name), Some(Node { exclusion, ..node(name) }));
        view.clone()
    };
    let excluded = exclude("n1", Exclusion::Never);
    assert_eq!(announcers(&excluded, VIP), ["n2", "n3"]);
    assert_eq!(at(&excluded, "n1", VIP).l2, Err(Silence::NodeExcluded));
    let reserve = exclude("n2", Exclusion::Reserve);
    assert_eq!(announcers(&reserve, VIP), ["n3"]);
    assert_eq!(owners(&reserve, VIP), ["n3"]);
    let alone = exclude("n3", Exclusion::Never);
    assert_eq!(announcers(&alone, VIP), ["n2"]);
    assert_eq!(owners(&alone, VIP), ["n2"]);
}

#[test]
fn the_exclude_label_is_an_order_on_control_plane_nodes_too_if_that_is_wanted() {
    let mut view = view();
    for name in ["n1", "n2", "n3"] {
        set(&mut view, name, |node| node.exclusion = Exclusion::Reserve);
    }
    assert_eq!(announcers(&view, VIP), ["n1", "n2", "n3"]);
    assert_eq!(view.set_control_plane(ControlPlane::Exclude), Touched::All);
    assert_eq!((announcers(&view, VIP), ranked(&view, VIP)), (vec![], vec![]));
    assert_eq!(at(&view, "n1", VIP).l2, Err(Silence::NodeExcluded));
    assert_eq!(view.set_control_plane(ControlPlane::Exclude), Touched::Addresses(BTreeSet::new()));
    set(&mut view, "n2", |_| {});
    assert_eq!(announcers(&view, VIP), ["n2"]);
}

#[test]
fn a_node_without_its_network_announces_nothing() {
    let mut view = view();
    view.set_node(NodeName::new("n1"), Some(Node { network: Reach::Unavailable, ..node("n1") }));
    assert_eq!(at(&view, "n1", VIP).bgp, Err(Silence::NodeNetworkUnavailable));
    assert_eq!(announcers(&view, VIP), ["n2", "n3"]);
}

#[test]
fn advertisements_select_pools_nodes_and_services() {
    let select = |change: fn(&mut L2Advertisement)| {
        let mut view = view();
        let mut advertisement = l2_advertisement();
        change(&mut advertisement);
        view.set_l2_advertisement(AdvertisementName::new("l2"), Some(advertisement));
        view
    };
    let other_pool = select(|one| one.pools.names = [PoolName::new("other")].into());
    assert_eq!(at(&other_pool, "n1", VIP).l2, Err(Silence::NoAdvertisement));
    let this_pool = select(|one| one.pools.names = [PoolName::new("pool")].into());
    assert_eq!(owners(&this_pool, VIP).len(), 1);
    let by_label = select(|one| one.pools.selectors = on("tier", "gold"));
    assert_eq!(at(&by_label, "n1", VIP).l2, Err(Silence::NoAdvertisement));
    let one_node = select(|one| one.node_selectors = on("name", "n3"));
    assert_eq!(owners(&one_node, VIP), ["n3"]);
    assert_eq!(at(&one_node, "n1", VIP).l2, Err(Silence::NodeNotSelected));
    let other_service = select(|one| one.service_selectors = on("app", "mail"));
    assert_eq!(at(&other_service, "n1", VIP).l2, Err(Silence::NoAdvertisement));
}

#[test]
fn interfaces_of_several_advertisements_add_up() {
    let mut view = view();
    let named = |name: &str| {
        Some(L2Advertisement {
            interfaces: Interfaces::Named([name.to_owned()].into()),
            ..l2_advertisement()
        })
    };
    view.set_l2_advertisement(AdvertisementName::new("l2"), named("eth0"));
    view.set_l2_advertisement(AdvertisementName::new("more"), named("eth1"));
    let owner = owners(&view, VIP)[0].clone();
    let both = Interfaces::Named(["eth0".to_owned(), "eth1".to_owned()].into());
    assert_eq!(at(&view, &owner, VIP).l2, Ok(both));
    view.set_l2_advertisement(AdvertisementName::new("all"), Some(l2_advertisement()));
    assert_eq!(at(&view, &owner, VIP).l2, Ok(Interfaces::All));
}

#[test]
fn a_route_goes_to_the_peers_that_carry_its_family_on_this_node() {
    let mut view = view();
    view.set_peer(PeerName::new("tor"), Some(peer(&[Family::V4])));
    view.set_peer(PeerName::new("tor6"), Some(peer(&[Family::V6])));
    let far = Peer { node_selectors: on("name", "n9"), ..peer(&[Family::V4]) };
    view.set_peer(PeerName::new("far"), Some(far));
    let peers = |address| at(&view, "n1", address).bgp.unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(peers(VIP), [PeerName::new("tor")]);
    assert_eq!(peers(VIP6), [PeerName::new("tor6")]);
    view.set_peer(PeerName::new("tor6"), None);
    assert_eq!(at(&view, "n1", VIP6).bgp, Err(Silence::NoPeer));
}

#[test]
fn advertisements_that_disagree_for_one_peer_announce_nothing_and_name_each_other() {
    let mut view = view();
    view.set_bgp_advertisement(AdvertisementName::new("other"), Some(bgp_advertisement(Some(200))));
    let conflict =
        Silence::ConflictingAdvertisements(AdvertisementName::new("bgp"), AdvertisementName::new("other"));
    assert_eq!(at(&view, "n1", VIP).bgp, Err(conflict));
    let elsewhere =
        BgpAdvertisement { peers: [PeerName::new("spine")].into(), ..bgp_advertisement(Some(200)) };
    view.set_bgp_advertisement(AdvertisementName::new("other"), Some(elsewhere));
    assert!(at(&view, "n1", VIP).bgp.is_ok());
}

#[test]
fn the_pool_that_the_controller_named_counts_also_when_it_no_longer_has_the_address() {
    let mut view = view();
    let prefixes = vec!["198.51.100.0/24".parse().unwrap()];
    view.set_pool(PoolName::new("pool"), Some(Pool { labels: Labels::new(), prefixes }));
    assert_eq!(at(&view, "n1", VIP).bgp, Err(Silence::NoPool));
    let named = Service { addresses: addresses(Some("pool")), ..service(TrafficPolicy::Cluster) };
    view.set_service(key(), Some(named));
    assert!(at(&view, "n1", VIP).bgp.is_ok());
}

#[test]
fn a_pool_that_was_deleted_goes_on_selecting_advertisements_for_what_came_from_it() {
    let labelled = |tier: &str| {
        let prefixes = vec!["198.51.100.0/24".parse().unwrap()];
        Some(Pool { labels: [("tier".to_owned(), tier.to_owned())].into(), prefixes })
    };
    let mut view = view();
    let gold = L2Advertisement {
        pools: Pools { selectors: on("tier", "gold"), ..Pools::default() },
        ..l2_advertisement()
    };
    view.set_l2_advertisement(AdvertisementName::new("l2"), Some(gold));
    view.set_pool(PoolName::new("old"), labelled("gold"));
    view.set_service(
        key(),
        Some(Service { addresses: addresses(Some("old")), ..service(TrafficPolicy::Cluster) }),
    );
    assert_eq!(owners(&view, VIP).len(), 1);
    assert_eq!(view.set_pool(PoolName::new("old"), None), Touched::All);
    assert_eq!(owners(&view, VIP).len(), 1, "the pool that has the address now is not gold");
    view.set_pool(PoolName::new("old"), labelled("iron"));
    assert_eq!(at(&view, "n1", VIP).l2, Err(Silence::NoAdvertisement));
}

#[test]
fn of_a_pool_that_nobody_knew_only_the_name_counts() {
    let from = |pools: Pools| {
        let mut view = View::default();
        view.set_node(NodeName::new("n1"), Some(node("n1")));
        view.set_l2_advertisement(
            AdvertisementName::new("l2"),
            Some(L2Advertisement { pools, ..l2_advertisement() }),
        );
        let named = Service { addresses: addresses(Some("old")), ..service(TrafficPolicy::Cluster) };
        view.set_service(key(), Some(named));
        view.set_endpoints(key(), Some(endpoints(&["n1"])));
        at(&view, "n1", VIP).l2
    };
    assert!(from(Pools::default()).is_ok());
    assert!(from(Pools { names: [PoolName::new("old")].into(), selectors: vec![] }).is_ok());
    let not_gold = Requirement { key: "tier".into(), operator: Operator::DoesNotExist };
    let selectors = vec![Selector::new([not_gold])];
    assert_eq!(from(Pools { names: BTreeSet::new(), selectors }), Err(Silence::NoAdvertisement));
}

#[test]
fn an_address_that_a_move_gives_up_is_announced_under_its_old_pool() {
    let mut view = view();
    let only = |pool: &str| {
        let pools = Pools { names: [PoolName::new(pool)].into(), selectors: vec![] };
        Some(L2Advertisement { pools, ..l2_advertisement() })
    };
    view.set_l2_advertisement(AdvertisementName::new("l2"), only("old"));
    let (old, new) = (VIP.parse().unwrap(), "192.0.2.11".parse().unwrap());
    let both = [(old, Some(PoolName::new("old"))), (new, Some(PoolName::new("pool")))].into();
    view.set_service(key(), Some(Service { addresses: both, ..service(TrafficPolicy::Cluster) }));
    assert_eq!(owners(&view, VIP).len(), 1);
    assert_eq!(at(&view, "n1", "192.0.2.11").l2, Err(Silence::NoAdvertisement));
    view.set_l2_advertisement(AdvertisementName::new("new"), only("pool"));
    assert_eq!(owners(&view, VIP).len(), 1);
    assert_eq!(owners(&view, "192.0.2.11").len(), 1);
}

#[test]
fn an_unknown_address_and_an_unknown_node_are_silent() {
    let view = view();
    assert_eq!(at(&view, "n1", "192.0.2.99").bgp, Err(Silence::NoService));
    assert_eq!(at(&view, "n9", VIP).bgp, Err(Silence::NodeUnknown));
}
