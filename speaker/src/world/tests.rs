use announce::{
    Departure, Exclusion, Family, Interfaces, Pools, Preempt, Reach, Readiness, Rebalance, Service,
    TrafficPolicy, Usable,
};
use api::{Candidates, Probe};
use names::{Labels, Mac, Operator, Requirement};

use super::*;

const VIP: &str = "192.0.2.10";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

fn node() -> SeenNode {
    SeenNode {
        node: Node {
            labels: Labels::new(),
            readiness: Readiness::Ready,
            network: Reach::Available,
            exclusion: Exclusion::None,
            departure: Departure::Staying,
        },
        uid: "uid".to_owned(),
        addresses: vec!["10.77.0.11".parse().unwrap()],
    }
}

fn service(addresses: &[&str]) -> Service {
    Service {
        uid: "u".to_owned(),
        labels: Labels::new(),
        addresses: addresses.iter().map(|text| (address(text), None)).collect(),
        allocated_since: None,
        policy: TrafficPolicy::Cluster,
        sharing: None,
    }
}

fn slice(service: &str, nodes: &[&str]) -> SliceEndpoints {
    let usable = Usable { elsewhere: 0, nodes: nodes.iter().map(|name| NodeName::new(*name)).collect() };
    SliceEndpoints { service: key(service), family: Family::V4, usable }
}

fn slice_name(name: &str) -> SliceName {
    ("default".to_owned(), name.to_owned())
}

fn connected(addresses: &[(&str, &str)]) -> SeenSpeaker {
    let interface = |(name, address): &(&str, &str)| Interface {
        name: (*name).to_owned(),
        networks: vec![address.parse().unwrap()],
        ..Interface::default()
    };
    SeenSpeaker { connected: addresses.iter().map(interface).collect(), ready_in: None }
}

fn peer(address: &str, port: u16) -> Peer {
    let spec =
        format!(r#"{{"myASN": 64500, "peerASN": 64512, "peerAddress": "{address}", "peerPort": {port}}}"#);
    serde_json::from_str::<api::BgpPeerSpec>(&spec).unwrap().parse().unwrap()
}

fn advertisement() -> L2Advertisement {
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

/// Everything that one node needs to announce one Service by both ways, before anything is synced.
fn unsynced() -> World {
    let mut world = World::new(NodeName::new("n1"));
    world.apply(Update::Node(NodeName::new("n1"), Some(node())));
    let prefixes = vec!["192.0.2.0/24".parse().unwrap()];
    let pool = Pool { labels: Labels::new(), prefixes };
    world.apply(Update::Pool(PoolName::new("pool"), Some(pool)));
    world.apply(Update::L2Advertisement(AdvertisementName::new("l2"), Some(advertisement())));
    let bgp = BgpAdvertisement {
        pools: Pools::default(),
        node_selectors: vec![],
        service_selectors: vec![],
        peers: BTreeSet::new(),
        local_pref: None,
    };
    world.apply(Update::BgpAdvertisement(AdvertisementName::new("bgp"), Some(bgp)));
    world.apply(Update::Peer(PeerName::new("tor"), Some(peer("10.77.0.1", 179))));
    world.apply(Update::Service(key("web"), Some(service(&[VIP]))));
    world.apply(Update::EndpointSlice(slice_name("web-1"), Some(slice("web", &["n1"]))));
    world
}

fn synced() -> World {
    let mut world = unsynced();
    for kind in Kind::ALL {
        world.apply(Update::Synced(kind));
    }
    world
}

fn route(to: &str) -> (PeerName, IpNetwork) {
    (PeerName::new("tor"), address(to).into())
}

#[test]
fn nothing_is_decided_until_every_kind_was_listed() {
    let mut world = unsynced();
    for kind in Kind::ALL {
        assert_eq!(world.decide(), Commands::default(), "before {kind:?}");
        world.apply(Update::Synced(kind));
    }
    let commands = world.decide();
    assert_eq!(commands.l2, [(address(VIP), Some(elected_by(&["n1"])))].into());
    assert_eq!(commands.neighbours, Some(Arc::default()), "there is nobody else, and that is known");
    assert_eq!(commands.routes, [(route(VIP), Some(Route { local_pref: None }))].into());
    assert_eq!(commands.peers.keys().collect::<Vec<_>>(), [&PeerName::new("tor")]);
}

#[test]
fn what_is_told_again_causes_nothing() {
    let mut world = synced();
    world.decide();
    world.apply(Update::Service(key("web"), Some(service(&[VIP]))));
    world.apply(Update::EndpointSlice(slice_name("web-1"), Some(slice("web", &["n1"]))));
    world.apply(Update::Node(NodeName::new("n1"), Some(node())));
    world.apply(Update::Peer(PeerName::new("tor"), Some(peer("10.77.0.1", 179))));
    assert_eq!(world.decide(), Commands::default());
}

#[test]
fn one_service_that_changes_touches_no_other() {
    let mut world = synced();
    world.decide();
    world.apply(Update::EndpointSlice(slice_name("mail-1"), Some(slice("mail", &["n1"]))));
    world.apply(Update::Service(key("mail"), Some(service(&["192.0.2.11"]))));
    let commands = world.decide();
    assert_eq!(commands.l2.keys().collect::<Vec<_>>(), [&address("192.0.2.11")]);
    assert_eq!(commands.routes.keys().collect::<Vec<_>>(), [&route("192.0.2.11")]);
    assert_eq!(commands.peers, BTreeMap::new());
}

/// An election that these may win, on every interface of this node.
fn elected_by(ranked: &[&str]) -> Elected {
    let ranked = ranked.iter().map(NodeName::new).collect();
    Elected {
        interfaces: Some(Interfaces::All),
        ballot: liveness::Ballot { ranked, ..liveness::Ballot::default() },
    }
}

#[test]
fn who_may_answer_is_told_in_order_whether_the_node_list_calls_it_ready_or_not() {
    let mut world = synced();
    world.decide();
    for (name, readiness) in [("n1", Readiness::NotReady), ("n2", Readiness::Ready)] {
        let seen = SeenNode { node: Node { readiness, ..node().node }, ..node() };
        world.apply(Update::Node(NodeName::new(name), Some(seen)));
    }
    let elected = world.decide().l2.remove(&address(VIP)).flatten().unwrap();
    let nodes = ["n1", "n2"].map(NodeName::new);
    let expected: Vec<_> = announce::ranking(address(VIP), nodes.iter().map(|node| (node, 0)))
        .into_iter()
        .map(|(node, _)| node.clone())
        .collect();
    assert_eq!(elected.ballot.ranked, expected);
}

#[test]
fn who_begins_knows_the_claims_on_record_and_is_not_told_of_each_that_is_made() {
    let mut world = synced();
    let owner = |epoch: i64| {
        let placement = Placement { node: NodeName::new("n1"), generation: 5, displaces: true };
        let recorded = Recorded { node: Some("n2".into()), generation: 5, epoch, conflict: None };
        Update::Owner(address(VIP), Some((placement, recorded)))
    };
    world.apply(owner(17));
    let elected = world.decide().l2.remove(&address(VIP)).flatten().unwrap();
    assert_eq!(elected.ballot.recorded, Some(liveness::Recorded { generation: 5, epoch: 17 }));
    world.apply(owner(18));
    assert_eq!(world.decide().l2, BTreeMap::new());
}

#[test]
fn another_node_is_a_neighbour_by_its_addresses_until_its_speaker_says_more() {
    let mut world = synced();
    world.decide();
    let other = || SeenNode { addresses: vec![address("10.77.0.12")], ..node() };
    world.apply(Update::Node(NodeName::new("n2"), Some(other())));
    let neighbours = |commands: Commands| {
        let neighbours = commands.neighbours.expect("they changed");
        neighbours.iter().map(|(node, networks)| format!("{node} {networks:?}")).collect::<Vec<_>>()
    };
    let first = neighbours(world.decide());
    assert!(first.len() == 1 && first[0].contains("10.77.0.12") && first[0].contains("32"), "{first:?}");
    let networks = connected(&[("eth0", "10.77.0.12/24"), ("eth1", "10.88.0.12/24")]);
    world.apply(Update::Speaker(NodeName::new("n2"), Some(networks)));
    let second = neighbours(world.decide());
    assert!(second[0].contains("10.88.0.12"), "{second:?}");
    world.apply(Update::Speaker(NodeName::new("n1"), Some(SeenSpeaker::default())));
    assert_eq!(world.decide().neighbours, None, "this node is not its own neighbour");
    world.apply(Update::Node(NodeName::new("n2"), None));
    assert_eq!(neighbours(world.decide()), [""; 0], "its status may stay for a while");
}

#[test]
fn the_node_that_an_address_is_placed_on_ranks_first() {
    for placed in ["n1", "n2"] {
        let mut world = synced();
        world.apply(Update::Node(NodeName::new("n2"), Some(node())));
        let placement = Placement { node: NodeName::new(placed), generation: 1, displaces: true };
        world.apply(Update::Owner(address(VIP), Some((placement, Recorded::default()))));
        let ballot = world.decide().l2.remove(&address(VIP)).flatten().map(|elected| elected.ballot);
        let first = ballot.map(|ballot| (ballot.generation, ballot.ranked.first().cloned()));
        assert_eq!(first, Some((1, Some(NodeName::new(placed)))));
    }
}

#[test]
fn the_last_endpoint_gone_withdraws_and_silences() {
    let mut world = synced();
    world.apply(Update::EndpointSlice(slice_name("web-2"), Some(slice("web", &["n2"]))));
    world.decide();
    world.apply(Update::EndpointSlice(slice_name("web-1"), None));
    assert_eq!(world.decide(), Commands::default(), "the other slice still has one");
    world.apply(Update::EndpointSlice(slice_name("web-2"), Some(slice("web", &[]))));
    let commands = world.decide();
    let nobody = Elected { interfaces: None, ballot: liveness::Ballot::default() };
    assert_eq!(commands.l2, [(address(VIP), Some(nobody))].into());
    assert_eq!(commands.routes, [(route(VIP), None)].into());
}

#[test]
fn a_slice_that_moves_to_another_service_leaves_the_first_without() {
    let mut world = synced();
    world.decide();
    world.apply(Update::EndpointSlice(slice_name("web-1"), Some(slice("mail", &["n1"]))));
    assert_eq!(world.decide().routes, [(route(VIP), None)].into());
}

#[test]
fn an_address_that_is_gone_is_withdrawn_and_a_new_one_announced() {
    let mut world = synced();
    world.decide();
    world.apply(Update::Service(key("web"), Some(service(&["192.0.2.12"]))));
    let commands = world.decide();
    assert_eq!(commands.l2.get(&address(VIP)), Some(&None));
    assert_eq!(commands.l2.get(&address("192.0.2.12")), Some(&Some(elected_by(&["n1"]))));
    world.apply(Update::Service(key("web"), None));
    assert_eq!(world.decide().routes, [(route("192.0.2.12"), None)].into());
}

#[test]
fn peers_follow_their_objects_and_the_nodes_labels() {
    let mut world = synced();
    world.decide();
    world.apply(Update::Peer(PeerName::new("tor"), Some(peer("10.77.0.1", 1790))));
    let changed = world.decide().peers.remove(&PeerName::new("tor")).flatten().unwrap();
    assert_eq!(changed.remote.port(), 1790);
    world.apply(Update::Node(NodeName::new("n1"), None));
    assert_eq!(world.decide().peers, [(PeerName::new("tor"), None)].into());
}

#[test]
fn the_nodes_address_is_its_router_id_and_no_edit_of_the_node_resets_a_session() {
    let mut world = synced();
    let settings = world.decide().peers.into_values().next().flatten().unwrap();
    assert_eq!(settings.config.router_id.to_string(), "10.77.0.11");
    let moved = SeenNode { addresses: vec![address("10.77.0.99")], ..node() };
    world.apply(Update::Node(NodeName::new("n1"), Some(moved)));
    assert_eq!(world.decide().peers, BTreeMap::new());
}

#[test]
fn a_pool_that_was_never_understood_still_carries_the_services_that_name_it() {
    let mut world = synced();
    world.decide();
    world.apply(Update::UnreadablePool(PoolName::new("pool"), Labels::new()));
    assert_eq!(world.decide(), Commands::default(), "a known one stays as it is");
    let gold = Selector::new([Requirement { key: "tier".into(), operator: Operator::Exists }]);
    let pools = Pools { names: BTreeSet::new(), selectors: vec![gold] };
    let by_label = BgpAdvertisement {
        pools,
        node_selectors: vec![],
        service_selectors: vec![],
        peers: BTreeSet::new(),
        local_pref: None,
    };
    world.apply(Update::BgpAdvertisement(AdvertisementName::new("bgp"), Some(by_label)));
    world.decide();
    let far = address("198.51.100.1");
    let addresses = [(far, Some(PoolName::new("broken")))].into();
    world.apply(Update::Service(key("far"), Some(Service { addresses, ..service(&[]) })));
    world.apply(Update::EndpointSlice(slice_name("far-1"), Some(slice("far", &["n1"]))));
    assert_eq!(world.decide().routes, BTreeMap::new(), "nobody knows that pool's labels");
    let labels = [("tier".to_owned(), "gold".to_owned())].into();
    world.apply(Update::UnreadablePool(PoolName::new("broken"), labels));
    assert!(world.decide().routes.contains_key(&route("198.51.100.1")));
}

#[test]
fn a_service_that_shows_anothers_address_takes_nothing_over() {
    for at_start in [false, true] {
        let mut world = synced();
        world.apply(Update::EndpointSlice(slice_name("mail-1"), Some(slice("mail", &["n1"]))));
        if !at_start {
            world.decide();
        }
        // The elder, by what it says of itself.
        let other = Service { uid: "a".to_owned(), allocated_since: Some(0), ..service(&[VIP]) };
        world.apply(Update::Service(key("mail"), Some(other)));
        world.decide();
        world.apply(Update::EndpointSlice(slice_name("web-1"), None));
        let routes = world.decide().routes;
        let expected = if at_start { [].into() } else { BTreeMap::from([(route(VIP), None)]) };
        assert_eq!(routes, expected, "at start: {at_start}");
    }
}

fn candidates(addresses: &[&str], probe: Probe) -> Candidates {
    Candidates { addresses: addresses.iter().map(|text| address(text)).collect(), probe }
}

/// What a command says is probed here.
fn probed(commands: &Commands) -> Option<Vec<String>> {
    let probes = commands.probes.as_ref()?;
    Some(probes.candidates.keys().map(ToString::to_string).collect())
}

/// A node whose pool has candidates, and whose speaker says how it is connected.
fn probing() -> World {
    let mut world = synced();
    let pool = PoolName::new("pool");
    world.apply(Update::Candidates(pool, Some(candidates(&["192.0.2.7", "198.51.100.7"], Probe::Quick))));
    world.apply(Update::Speaker(NodeName::new("n1"), Some(connected(&[("eth0", "192.0.2.1/24")]))));
    world
}

#[test]
fn candidates_are_probed_where_the_node_is_on_their_segment() {
    let mut world = probing();
    assert_eq!(probed(&world.decide()), Some(vec!["192.0.2.7".to_owned()]));
    assert_eq!(probed(&world.decide()), None, "nothing has changed");
    world.apply(Update::Service(key("web"), None));
    assert_eq!(probed(&world.decide()), None);
    world.apply(Update::Speaker(NodeName::new("n1"), Some(connected(&[("cni0", "192.0.2.1/24")]))));
    assert_eq!(probed(&world.decide()), Some(vec![]), "it may not be answered for there");
}

#[test]
fn nothing_is_probed_of_a_pool_that_is_not_to_be_or_that_is_gone() {
    let pool = PoolName::new("pool");
    for change in [
        Update::Candidates(pool.clone(), Some(candidates(&["192.0.2.7"], Probe::Off))),
        Update::Candidates(pool.clone(), None),
        Update::L2Advertisement(AdvertisementName::new("l2"), None),
        Update::Node(NodeName::new("n1"), None),
    ] {
        let mut world = probing();
        world.decide();
        let text = format!("{change:?}");
        world.apply(change);
        assert_eq!(probed(&world.decide()), Some(vec![]), "{text}");
    }
}

#[test]
fn two_of_many_nodes_probe_an_address_and_each_knows_the_others() {
    let names: Vec<_> = (1..=9).map(|number| format!("n{number}")).collect();
    let mut probers = 0;
    for me in &names {
        let mut world = World::new(NodeName::new(me.clone()));
        for (number, name) in (1..).zip(&names) {
            world.apply(Update::Node(NodeName::new(name.clone()), Some(node())));
            let mut own = connected(&[("eth0", &format!("192.0.2.{number}/24"))]);
            own.connected[0].mac = Some(Mac::new([2, 0, 0, 0, 0, number]));
            world.apply(Update::Speaker(NodeName::new(name.clone()), Some(own)));
        }
        let pool = Pool { labels: Labels::new(), prefixes: vec![] };
        world.apply(Update::Pool(PoolName::new("pool"), Some(pool)));
        let all = candidates(&["192.0.2.7"], Probe::Full);
        world.apply(Update::Candidates(PoolName::new("pool"), Some(all)));
        world.apply(Update::L2Advertisement(AdvertisementName::new("l2"), Some(advertisement())));
        for kind in Kind::ALL {
            world.apply(Update::Synced(kind));
        }
        let probes = world.decide().probes.unwrap();
        assert_eq!(probes.speakers.len(), 8);
        let how: Vec<_> = probes.candidates.values().map(|(_, how)| *how).collect();
        assert!(how.iter().all(|how| *how == l2::prober::Thoroughness::Full));
        probers += how.len();
    }
    assert_eq!(probers, 2);
}
