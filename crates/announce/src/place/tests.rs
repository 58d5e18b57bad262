use std::collections::BTreeSet;

use names::{Labels, Operator, Requirement, Selector, ServiceKey};
use proptest::prelude::*;

use super::*;
use crate::view::{Exclusion, Node, Pool, Reach, Service, TrafficPolicy, Usable};
use crate::{Interfaces, Placement, Pools, Preference};

fn name(index: usize) -> NodeName {
    NodeName::new(format!("n{index}"))
}

fn node(index: usize) -> Node {
    Node {
        labels: [("name".to_owned(), name(index).to_string())].into(),
        readiness: Readiness::Ready,
        network: Reach::Available,
        exclusion: Exclusion::None,
        departure: Departure::Staying,
    }
}

fn address(index: usize) -> IpAddr {
    IpAddr::from((0x0a00_0000 + u32::try_from(index).unwrap()).to_be_bytes())
}

fn advertisement(preferences: &[(u32, usize)]) -> L2Advertisement {
    let preferences = preferences.iter().map(|(weight, index)| {
        let operator = Operator::In([name(*index).to_string()].into());
        let nodes = Selector::new([Requirement { key: "name".into(), operator }]);
        Preference { weight: *weight, nodes }
    });
    L2Advertisement {
        pools: Pools::default(),
        node_selectors: vec![],
        service_selectors: vec![],
        interfaces: Interfaces::All,
        preferences: preferences.collect(),
        preempt: Preempt::Yes,
        rebalance: Rebalance::Explicit,
    }
}

/// So many nodes, and so many Services with an address each, which are placed nowhere.
struct Cluster {
    view: View,
    load: Load,
    shunned: BTreeSet<NodeName>,
    addresses: usize,
}

impl Cluster {
    fn new(nodes: usize, addresses: usize) -> Self {
        let mut view = View::default();
        (0..nodes).for_each(|index| drop(view.set_node(name(index), Some(node(index)))));
        let prefixes = vec!["10.0.0.0/8".parse().unwrap()];
        view.set_pool(names::PoolName::new("p"), Some(Pool { labels: Labels::new(), prefixes }));
        let mut cluster = Self { view, load: Load::default(), shunned: BTreeSet::new(), addresses };
        (0..addresses).for_each(|index| cluster.serve(index, TrafficPolicy::Cluster));
        cluster.advertise(advertisement(&[]));
        cluster
    }

    fn key(index: usize) -> ServiceKey {
        ServiceKey::new("d", format!("s{index}"))
    }

    fn serve(&mut self, index: usize, policy: TrafficPolicy) {
        let service = Service {
            uid: index.to_string(),
            labels: Labels::new(),
            addresses: [(address(index), None)].into(),
            allocated_since: None,
            policy,
            sharing: None,
        };
        self.view.set_service(Self::key(index), Some(service));
    }

    fn serve_on(&mut self, index: usize, nodes: &[usize]) {
        let usable = Usable { elsewhere: 0, nodes: nodes.iter().map(|index| name(*index)).collect() };
        let endpoints = crate::Endpoints { v4: usable, ..crate::Endpoints::default() };
        self.view.set_endpoints(Self::key(index), Some(endpoints));
    }

    fn advertise(&mut self, one: L2Advertisement) {
        self.view.set_l2_advertisement(AdvertisementName::new("l2"), Some(one));
    }

    fn set(&mut self, index: usize, change: impl FnOnce(&mut Node)) {
        let mut changed = node(index);
        change(&mut changed);
        self.view.set_node(name(index), Some(changed));
    }

    fn judge(&self, index: usize, arrival: Arrival) -> Verdict {
        place(&self.view, address(index), arrival, &self.load, |_, node| !self.shunned.contains(node))
    }

    fn put(&mut self, index: usize, node: NodeName) {
        let before = self.view.placements.get(&address(index)).cloned();
        before.iter().for_each(|before| self.load.remove(&before.node));
        self.load.add(&node);
        let generation = before.map_or(1, |before| before.generation + 1);
        self.view.set_placement(address(index), Some(Placement { node, generation, displaces: true }));
    }

    /// Does what is decided of every address; says what that was.
    fn place_all(&mut self, arrival: Arrival) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for index in 0..self.addresses {
            if let Verdict::Go(node, reason) = self.judge(index, arrival) {
                self.put(index, node);
                reasons.push(reason);
            }
        }
        reasons
    }

    /// What each of the first few nodes has.
    fn loads<const N: usize>(&self) -> [usize; N] {
        std::array::from_fn(|index| self.load.of(&name(index)))
    }

    fn balance(&self, asked: bool, most: usize) -> Vec<(IpAddr, NodeName)> {
        let addresses = (0..self.addresses).map(address);
        rebalance(&self.view, addresses, |_| asked, &self.load, |_, node| !self.shunned.contains(node), most)
    }

    fn first_by_rank(&self, index: usize) -> NodeName {
        crate::plan(&self.view, &name(0), address(index)).ballot.ranked[0].clone()
    }
}

#[test]
fn new_addresses_go_where_the_fewest_are_and_then_stay() {
    let mut cluster = Cluster::new(3, 30);
    assert_eq!(cluster.place_all(Arrival::New), [Reason::New; 30]);
    assert_eq!(cluster.loads(), [10, 10, 10]);
    assert_eq!(cluster.place_all(Arrival::New), []);
    cluster.set(3, |_| {});
    assert_eq!(cluster.place_all(Arrival::New), [], "a node that comes takes nothing");
    assert_eq!(cluster.place_all(Arrival::Found), []);
}

#[test]
fn an_address_that_is_in_use_is_placed_where_it_is_by_rank() {
    let mut cluster = Cluster::new(3, 30);
    for index in 0..30 {
        cluster.serve_on(index, &[0]);
    }
    let by_rank: Vec<_> = (0..30).map(|index| cluster.first_by_rank(index)).collect();
    assert_eq!(cluster.place_all(Arrival::Found), [Reason::Found; 30]);
    for (index, node) in by_rank.iter().enumerate() {
        assert_eq!(&cluster.view.placements[&address(index)].node, node);
    }
}

#[test]
fn a_new_address_avoids_nodes_that_are_not_ready_or_shunned_while_there_is_another() {
    let mut cluster = Cluster::new(3, 6);
    cluster.set(0, |node| node.readiness = Readiness::NotReady);
    cluster.shunned = [name(1)].into();
    cluster.place_all(Arrival::New);
    assert_eq!(cluster.loads(), [0, 0, 6]);
    let mut cluster = Cluster::new(2, 4);
    cluster.set(0, |node| node.readiness = Readiness::NotReady);
    cluster.shunned = [name(1)].into();
    cluster.place_all(Arrival::New);
    assert_eq!(cluster.loads(), [2, 2], "none is better");
}

#[test]
fn endpoints_count_only_where_they_tell_nodes_apart() {
    let mut cluster = Cluster::new(3, 2);
    cluster.serve(1, TrafficPolicy::Local);
    assert_eq!(cluster.place_all(Arrival::New), [Reason::New], "the one that is served by any node");
    assert_eq!(cluster.judge(1, Arrival::New), Verdict::Stay);
    cluster.serve_on(1, &[2]);
    assert_eq!(cluster.judge(1, Arrival::New), Verdict::Go(name(2), Reason::New));
    assert_eq!(could_be_on(&cluster.view, address(1), &name(0)), Err(Silence::NoLocalEndpoint));
    assert_eq!(could_be_on(&cluster.view, address(1), &name(2)), Ok(()));
    assert_eq!(could_be_on(&cluster.view, address(0), &name(0)), Ok(()));
    assert_eq!(could_be_on(&cluster.view, address(0), &name(9)), Err(Silence::NodeUnknown));
    cluster.put(1, name(2));
    cluster.serve_on(1, &[]);
    assert_eq!(cluster.judge(1, Arrival::Found), Verdict::Stay, "nobody may, and it is where it was");
}

#[test]
fn the_addresses_of_a_node_that_leaves_are_spread_over_the_others() {
    let mut cluster = Cluster::new(3, 30);
    cluster.place_all(Arrival::New);
    cluster.set(0, |node| node.departure = Departure::Leaving);
    assert_eq!(cluster.place_all(Arrival::Found), [Reason::Leaving; 10]);
    assert_eq!(cluster.loads(), [0, 15, 15]);
    cluster.set(0, |_| {});
    assert_eq!(cluster.place_all(Arrival::Found), [], "it gets nothing back by itself");
    for index in 0..3 {
        cluster.set(index, |node| node.departure = Departure::Leaving);
    }
    assert_eq!(cluster.place_all(Arrival::Found), [], "all leave: it does not matter where it is");
}

#[test]
fn a_node_that_may_not_answer_any_more_lapses_to_the_one_that_does_by_rank() {
    let mut cluster = Cluster::new(3, 9);
    (0..9).for_each(|index| cluster.serve_on(index, &[0]));
    cluster.place_all(Arrival::New);
    cluster.view.set_node(name(0), None);
    for index in 0..9 {
        let verdict = cluster.judge(index, Arrival::Found);
        let was_there = cluster.view.placements[&address(index)].node == name(0);
        let lapse = Verdict::Lapse(cluster.first_by_rank(index));
        assert_eq!(verdict, if was_there { lapse } else { Verdict::Stay });
    }
    cluster.set(0, |node| node.exclusion = Exclusion::Never);
    assert!((0..9).any(|index| matches!(cluster.judge(index, Arrival::Found), Verdict::Lapse(_))));
}

#[test]
fn what_more_speaks_for_goes_first_and_takes_an_address_only_with_preempt() {
    let mut cluster = Cluster::new(4, 12);
    cluster.advertise(advertisement(&[(10, 1), (10, 2)]));
    cluster.place_all(Arrival::New);
    assert_eq!(cluster.loads(), [0, 6, 6, 0]);
    for preempt in [Preempt::No, Preempt::Yes] {
        cluster.advertise(L2Advertisement { preempt, ..advertisement(&[(10, 1), (20, 0), (20, 3)]) });
        let expected = if preempt == Preempt::Yes { vec![Reason::Preferred; 12] } else { vec![] };
        assert_eq!(cluster.place_all(Arrival::Found), expected);
    }
    assert_eq!(cluster.loads(), [6, 0, 0, 6]);
    cluster.advertise(advertisement(&[(10, 1), (10, 2)]));
    cluster.shunned = [name(1)].into();
    cluster.set(2, |node| node.readiness = Readiness::NotReady);
    assert_eq!(cluster.place_all(Arrival::Found), [], "neither would answer");
    cluster.set(2, |_| {});
    assert_eq!(cluster.place_all(Arrival::Found), [Reason::Preferred; 12]);
    assert_eq!(cluster.loads(), [0, 0, 12, 0]);
}

#[test]
fn a_rebalance_is_asked_for_or_automatic_and_takes_a_few_at_a_time() {
    let mut cluster = Cluster::new(2, 20);
    cluster.place_all(Arrival::New);
    cluster.set(2, |_| {});
    assert_eq!(cluster.balance(false, 100), []);
    assert_eq!(cluster.balance(true, 2).len(), 2);
    cluster.advertise(L2Advertisement { rebalance: Rebalance::Auto, ..advertisement(&[]) });
    assert_eq!(cluster.balance(false, 100).len(), 6, "no more than it takes");
    cluster.shunned = [name(2)].into();
    assert_eq!(cluster.balance(false, 100), []);
    cluster.shunned.clear();
    for (address, node) in cluster.balance(false, 100) {
        let index = (0..20).find(|index| super::tests::address(*index) == address).unwrap();
        cluster.put(index, node);
    }
    let mut loads = cluster.loads::<3>();
    loads.sort_unstable();
    assert_eq!(loads, [6, 7, 7]);
    assert_eq!(cluster.balance(false, 100), []);
}

#[test]
fn a_rebalance_takes_nothing_to_where_less_speaks_for_it() {
    let mut cluster = Cluster::new(3, 9);
    cluster.advertise(advertisement(&[(10, 0)]));
    cluster.place_all(Arrival::New);
    assert_eq!((cluster.loads(), cluster.balance(true, 100)), ([9, 0, 0], vec![]));
}

proptest! {
    /// However nodes and endpoints are, new addresses that may all be on the same nodes are spread evenly over them.
    #[test]
    fn new_addresses_are_even(nodes in 1usize..9, addresses in 0usize..60, odd in 0usize..9) {
        let mut cluster = Cluster::new(nodes, addresses);
        if nodes > 1 {
            cluster.set(odd % nodes, |node| node.exclusion = Exclusion::Never);
        }
        cluster.place_all(Arrival::New);
        let may = (0..nodes).filter(|index| nodes == 1 || *index != odd % nodes);
        let loads: Vec<_> = may.map(|index| cluster.load.of(&name(index))).collect();
        prop_assert_eq!(loads.iter().sum::<usize>(), addresses);
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
    }

    /// From wherever the addresses are, a rebalance that goes on to the end makes it even, with no move too many.
    #[test]
    fn a_rebalance_ends_even(at in prop::collection::vec(0usize..5, 0..40), most in 1usize..8) {
        let mut cluster = Cluster::new(5, at.len());
        for (index, node) in at.iter().enumerate() {
            cluster.put(index, name(*node));
        }
        let needed: usize = {
            let mut loads = cluster.loads::<5>();
            loads.sort_unstable_by(|one, other| other.cmp(one));
            let (each, rest) = (at.len() / 5, at.len() % 5);
            loads.iter().enumerate().map(|(rank, load)| load.saturating_sub(each + usize::from(rank < rest))).sum()
        };
        let mut moved = 0;
        loop {
            let moves = cluster.balance(true, most);
            prop_assert!(moves.len() <= most);
            if moves.is_empty() {
                break;
            }
            for (address, node) in moves {
                moved += 1;
                let index = (0..at.len()).find(|index| super::tests::address(*index) == address).unwrap();
                cluster.put(index, node);
            }
        }
        let loads = cluster.loads::<5>();
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1, "{:?}", loads);
        prop_assert_eq!(moved, needed);
    }
}
