//! What the lab measures with: clients and witness see what happens and nothing else; the baseline fails over.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use lab::fault::partition_one_way;
use lab::vrrp::{self, Vrrp};
use lab::{Family, Topology, clock, serve};

const PORT: u16 = 8080;
const MS: Duration = Duration::from_millis(1);

#[test]
fn three_clients_see_nothing_where_nothing_happens_and_each_sees_a_cut() {
    let lab = Topology::up("instruments: clients");
    let node = lab.node(1);
    for family in Family::BOTH {
        let address = node.address(family);
        let (_web, _echo) =
            (serve::http(node, address, PORT, "n1"), serve::udp_name(node, address, PORT, "n1"));
        let clients = lab.client().clients(SocketAddr::new(address, PORT));
        thread::sleep(1000 * MS);
        let quiet = clients.stop();
        assert!(quiet.datagrams.longest_gap < 100 * MS, "{quiet}");
        assert!(quiet.connections.made >= 20, "{quiet}");
        assert_eq!((quiet.held.open, quiet.held.resets, quiet.held.stalled), (100, 0, 0), "{quiet}");
        assert!(quiet.held.asked >= 200, "{quiet}");

        let clients = lab.client().clients(SocketAddr::new(address, PORT));
        thread::sleep(300 * MS);
        let cut = node.cut();
        thread::sleep(400 * MS);
        cut.heal();
        thread::sleep(600 * MS);
        let seen = clients.stop();
        assert!(seen.datagrams.longest_gap >= 390 * MS, "{seen}");
        assert!(seen.connections.longest_gap >= 380 * MS && seen.connections.lost >= 10, "{seen}");
        assert!(seen.held.longest_wait >= 200 * MS, "{seen}");
        assert_eq!(seen.held.resets, 0, "{seen}");
    }
}

#[test]
fn connections_that_a_server_resets_are_counted() {
    let lab = Topology::up("instruments: resets");
    let node = lab.node(1);
    let address = node.v4().into();
    let _echo = serve::udp_name(node, address, PORT, "n1");
    let web = serve::http(node, address, PORT, "n1");
    let clients = lab.client().clients(SocketAddr::new(address, PORT));
    thread::sleep(300 * MS);
    web.stop();
    thread::sleep(300 * MS);
    let seen = clients.stop();
    assert_eq!(seen.held.resets, 100, "{seen}");
    assert!(seen.connections.resets >= 5, "{seen}");
    assert_eq!(seen.datagrams.owners(), BTreeSet::from(["n1"]), "{seen}");
}

#[test]
fn a_witness_sees_who_answers_and_when_nobody_does() {
    let lab = Topology::up("instruments: witness");
    let [one, two] = [lab.node(1), lab.node(2)];
    for address in ["10.77.0.210", "fd77::210"].map(|text| text.parse().unwrap()) {
        one.add_on_segment(address);
        let witness = lab.client().witness(address);
        thread::sleep(200 * MS);
        one.remove_on_segment(address);
        thread::sleep(300 * MS);
        two.add_on_segment(address);
        thread::sleep(200 * MS);
        let middle = clock::wall();
        one.add_on_segment(address);
        thread::sleep(300 * MS);
        two.remove_on_segment(address);
        thread::sleep(100 * MS);
        let seen = witness.stop();
        assert_eq!(seen.macs(), BTreeSet::from([one.mac(), two.mac()]), "{seen}");
        let dark = seen.dark().expect("nobody answered").lasted;
        assert!(dark >= 280 * MS && dark < 1000 * MS, "{dark:?}: {seen}");
        assert!(seen.doubled_for() >= 250 * MS, "{seen}");
        assert!(seen.doubled().iter().all(|span| span.from + 100 * MS >= middle), "{seen}");
        assert_eq!(seen.since(middle + 100 * MS).dark(), None, "{seen}");
        assert!(
            lab.client().sh(&["ip", "neigh", "show", &address.to_string()]).is_empty(),
            "its cache stays empty"
        );
        one.remove_on_segment(address);
    }
}

#[test]
fn a_one_way_partition_loses_that_way_alone() {
    let lab = Topology::up("instruments: one way");
    let asks = |from: usize, to: usize| lab.node(from).arp(lab.node(to).v4());
    let apart = partition_one_way(&[lab.node(1)], &[lab.node(2)]);
    assert!(asks(1, 2).is_empty() && asks(2, 1).is_empty(), "a question or its answer is lost");
    assert_eq!(asks(1, 3).len(), 1);
    let seen = lab::capture::Capture::of_neighbours(lab.node(1), "eth0", |frame| !frame.outgoing);
    assert!(asks(2, 1).is_empty());
    assert!(seen.stop().iter().any(|frame| frame.source() == lab.node(2).mac()), "the question arrives");
    apart.heal();
    assert_eq!(asks(1, 2).len(), 1);
}

#[test]
fn random_loss_loses_about_as_much_as_it_says() {
    let lab = Topology::up("instruments: loss");
    let node = lab.node(1);
    let _echo = serve::udp_name(node, node.v4().into(), PORT, "n1");
    // The kernels know each other's MACs before anything is lost: they ask for them once a second only.
    let address = SocketAddr::new(node.v4().into(), PORT);
    let before = lab.client().probe(address);
    thread::sleep(300 * MS);
    let before = before.stop();
    assert!(before.lost * 10 < before.sent, "{before}");
    let _loss = node.lose_percent(10);
    let probe = lab.client().probe(address);
    thread::sleep(2000 * MS);
    let seen = probe.stop();
    // Question and answer: 19 of 100 pairs.
    assert!(seen.lost * 100 >= 12 * seen.sent && seen.lost * 100 <= 27 * seen.sent, "{seen}");
}

#[test]
fn the_baseline_moves_its_addresses_to_another_node_and_back() {
    let lab = Topology::up("instruments: baseline");
    let vrrp = Vrrp::start(&lab);
    let target = |family| SocketAddr::new(Vrrp::address(2, family), vrrp::PORT);
    let probes = Family::BOTH.map(|family| lab.client().probe(target(family)));
    thread::sleep(300 * MS);
    let cut = lab.node(2).cut();
    thread::sleep(2000 * MS);
    for seen in probes.map(lab::meter::Probe::stop) {
        assert!(seen.longest_gap >= 150 * MS && seen.longest_gap < 1900 * MS, "{seen}");
        assert_eq!(seen.last_owners()[&0], "n3", "{seen}");
    }
    cut.heal();
    vrrp.wait_master(2);
}
