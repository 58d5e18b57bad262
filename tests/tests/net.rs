//! The lab's own tests: the wires carry, each fault does what its name says, and nothing is left.

use std::net::IpAddr;
use std::time::Duration;

use lab::router::Config;
use lab::{Family, Topology, serve, wait};

#[test]
fn the_client_reaches_a_server_on_each_node_in_two_labs_side_by_side() {
    let labs = [Topology::up("net: one"), Topology::up("net: two")];
    assert_ne!(labs[0].name(), labs[1].name());
    for lab in &labs {
        for node in lab.nodes() {
            for family in Family::BOTH {
                let address = node.address(family);
                let name = format!("{} {}", lab.name(), node.name());
                let _server = serve::http(node, address, 8080, &name);
                assert_eq!(lab.client().http(address, 8080).unwrap(), name);
            }
        }
    }
}

#[test]
fn the_routers_learn_a_static_route_from_each_other() {
    let lab = Topology::up("net: routers");
    let prefixes = ["203.0.113.0/24", "2001:db8:1::/64"].map(|p| p.parse().unwrap());
    lab.frr().start(&Config::default());
    assert!(lab.frr().routes().is_empty());
    let frr = lab.frr();
    let dial = Family::BOTH.map(|family| (frr.address(family), frr.asn()));
    lab.bird().start(&Config { dial: dial.to_vec(), announce: prefixes.to_vec(), ..Config::default() });
    for family in Family::BOTH {
        lab.frr().wait_session(lab.bird().address(family), Duration::from_secs(30));
        lab.bird().wait_session(lab.frr().address(family), Duration::from_secs(30));
    }
    for prefix in prefixes {
        let hop: IpAddr = lab.bird().address(Family::of(prefix.ip()));
        lab.frr().wait_route(prefix, &[hop], Duration::from_secs(30));
        let told = lab.frr().bgp_routes(Family::of(prefix.ip()));
        assert!(told[&prefix].contains(&hop), "{told:?}");
    }
    lab.bird().crash();
    wait::eventually("the route goes with its router", Duration::from_secs(30), || {
        let routes = lab.frr().routes();
        if routes.is_empty() { Ok(()) } else { Err(format!("{routes:?}")) }
    });
}
