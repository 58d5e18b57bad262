//! The lab's real routers come up, meet their neighbours both ways, and tell what they know.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use lab::router::{Config, Neighbors, Router};
use lab::{Family, Topology, wait};

const SOON: Duration = Duration::from_secs(30);

fn prefixes() -> [IpNetwork; 2] {
    ["203.0.113.0/24", "2001:db8:1::/64"].map(|prefix| prefix.parse().unwrap())
}

/// `speaker` dials `listener` and announces; the listener's kernel forwards to it until it crashes.
fn learns(listener: &Router, speaker: &Router, extra: &str) {
    listener.start(&Config::default());
    assert!(listener.routes().is_empty());
    speaker.start(&Config {
        dial: Family::BOTH.map(|family| (listener.address(family), listener.asn())).to_vec(),
        announce: prefixes().to_vec(),
        extra: extra.to_owned(),
        ..Config::default()
    });
    for family in Family::BOTH {
        listener.wait_session(speaker.address(family), SOON);
        speaker.wait_session(listener.address(family), SOON);
    }
    let session = &listener.sessions()[&speaker.v4().into()];
    assert_eq!(session.asn, Some(speaker.asn()));
    for prefix in prefixes() {
        let family = Family::of(prefix.ip());
        let hop: IpAddr = speaker.address(family);
        listener.wait_route(prefix, &[hop], SOON);
        let told = listener.bgp_routes(family);
        assert!(told[&prefix].contains(&hop), "{told:?}");
    }
    speaker.crash();
    wait::eventually("the routes go with their router", SOON, || {
        let routes = listener.routes();
        routes.is_empty().then_some(()).ok_or(format!("{routes:?}"))
    });
    listener.stop();
    assert!(listener.processes().is_empty());
}

#[test]
fn frr_learns_from_bird() {
    let lab = Topology::up("routers: bird to frr");
    learns(lab.frr(), lab.bird(), "");
}

#[test]
fn bird_learns_from_frr() {
    let lab = Topology::up("routers: frr to bird");
    // FRR offers graceful restart, so BIRD would keep the routes of one that is gone.
    learns(lab.bird(), lab.frr(), "bgp graceful-restart-disable\n");
}

#[test]
fn each_router_dials_the_nodes_when_it_is_told_to_and_waits_otherwise() {
    let lab = Topology::up("routers: who dials");
    for router in [lab.frr(), lab.bird()] {
        for (neighbors, dials) in [(Neighbors::NodesDialed, true), (Neighbors::NodesPassive, false)] {
            let to_bgp = |frame: &lab::capture::Frame| {
                !frame.outgoing && frame.bytes.get(23) == Some(&6) && frame.bytes[36..38] == [0, 179]
            };
            let dialed = lab::capture::Capture::start(lab.node(1), "eth0", to_bgp);
            router.start(&Config { neighbors, ..Config::default() });
            if dials {
                dialed.wait_for("a SYN to port 179", SOON, |_| true);
            } else {
                std::thread::sleep(Duration::from_secs(3));
                assert_eq!(dialed.frames(), []);
            }
            router.stop();
        }
    }
}

#[test]
fn a_frozen_router_loses_its_sessions_by_hold_time_and_gets_them_back() {
    let lab = Topology::up("routers: freeze");
    lab.frr().start(&Config::default());
    lab.bird().start(&Config {
        dial: vec![(lab.frr().v4().into(), lab.frr().asn())],
        announce: prefixes().to_vec(),
        ..Config::default()
    });
    let [prefix, _] = prefixes();
    let hop = lab.bird().v4().into();
    lab.frr().wait_route(prefix, &[hop], SOON);
    lab.bird().freeze();
    lab.frr().wait_route(prefix, &[], SOON);
    lab.bird().thaw();
    lab.frr().wait_route(prefix, &[hop], SOON);
}
