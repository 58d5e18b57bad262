//! BGP: what real routers learn from the speakers, and what their clients get. Asserted with the routers' own
//! tables and a client's packets.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use lab::kube::light::Lab;
use lab::kube::service::Service;
use lab::router::{Config, Neighbors, Router};
use lab::{Family, Host, meter, run, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Both routers, and pools, peers and advertisements as `config/samples` has them.
fn lab(purpose: &str, routers: &Config) -> Lab {
    let lab = Lab::up(purpose);
    lab.frr().start(routers);
    lab.bird().start(routers);
    lab.plane().apply_samples();
    lab
}

/// A Service from the pool behind the routers.
fn expose<'a>(lab: &'a Lab, name: &'a str, on: &[usize], spec: &Value) -> Service<'a> {
    let pool = json!({"metadata": {"annotations": {"ferritelb.io/address-pool": "routed"}}, "spec": spec});
    lab.expose_with(name, on, &pool)
}

fn routers(lab: &Lab) -> [&Router; 2] {
    [lab.frr(), lab.bird()]
}

fn wait_vip(lab: &Lab, vip: IpAddr, nodes: &[usize]) {
    let hosts: Vec<&Host> = nodes.iter().map(|number| lab.node(*number)).collect();
    for router in routers(lab) {
        router.wait_vip(vip, &hosts, SOON);
    }
}

/// Waits until the client behind a router gets an answer.
fn wait_answer(lab: &Lab, vip: IpAddr) -> String {
    let mut said = String::new();
    for router in routers(lab) {
        let client = lab.ext().via(router);
        said =
            wait::eventually(&format!("an answer through {}", router.name()), SOON, || client.http(vip, 80));
    }
    said
}

fn established(router: &Router) -> Vec<(IpAddr, Option<u64>)> {
    router.sessions().into_iter().map(|(peer, session)| (peer, session.established)).collect()
}

/// A field of a node's SpeakerStatus.
fn speaker_status(lab: &Lab, node: usize, path: &str) -> String {
    lab.kubectl(&["get", "speakerstatus", lab.node(node).name(), "-o", &format!("jsonpath={path}")])
}

#[test]
fn routers_learn_every_node_and_forget_an_address_with_its_last_endpoint() {
    let lab = lab("bgp: routes", &Config::default());
    let web = expose(&lab, "web", &[1], &json!({}));
    let addresses = web.wait_addresses(2);
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 2, 3]);
        assert!(wait_answer(&lab, *address).contains("web-n1"));
    }
    lab.pod("web-n1").become_unready();
    for address in &addresses {
        wait_vip(&lab, *address, &[]);
    }
    lab.pod("web-n1").become_ready();
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 2, 3]);
    }
    web.delete();
    for address in &addresses {
        wait_vip(&lab, *address, &[]);
    }
}

#[test]
fn with_local_traffic_only_nodes_with_an_endpoint_are_next_hops() {
    let lab = lab("bgp: local", &Config::default());
    let web = expose(&lab, "web", &[1, 3], &json!({"externalTrafficPolicy": "Local"}));
    let addresses = web.wait_addresses(2);
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 3]);
        wait_answer(&lab, *address);
    }
    lab.run("web", &[2]);
    lab.pod("web-n1").delete();
    for address in &addresses {
        wait_vip(&lab, *address, &[2, 3]);
    }
}

#[test]
fn routers_that_dial_and_routers_that_wait_get_one_session_each() {
    for neighbors in [Neighbors::NodesDialed, Neighbors::NodesPassive] {
        let lab = lab("bgp: both ways", &Config { neighbors, ..Config::default() });
        let web = expose(&lab, "web", &[1, 2, 3], &json!({}));
        for address in web.wait_addresses(2) {
            wait_vip(&lab, address, &[1, 2, 3]);
        }
        // A collision that did not end would show as a session that comes and goes.
        let before = established(lab.frr());
        thread::sleep(Duration::from_secs(5));
        assert_eq!(established(lab.frr()), before, "{neighbors:?}");
    }
}

#[test]
fn a_port_that_another_daemon_has_is_a_condition_and_the_speaker_dials_only() {
    let lab = Lab::without_product("bgp: port in use");
    lab.plane().apply_samples();
    lab.frr().start(&Config::default());
    lab.bird().start(&Config::default());
    let taken = lab.node(1).enter(|| {
        let v4 = std::net::TcpListener::bind(("0.0.0.0", 179)).expect("a free port");
        (v4, std::net::TcpListener::bind(("::", 179)))
    });
    lab.controller().start();
    for node in 1..=3 {
        lab.speaker(node).start();
    }
    let web = expose(&lab, "web", &[1], &json!({}));
    for address in web.wait_addresses(2) {
        wait_vip(&lab, address, &[1, 2, 3]);
    }
    let listening =
        |node| speaker_status(&lab, node, r#"{.status.conditions[?(@.type=="BGPListening")].reason}"#);
    wait::eventually("the condition names the port", SOON, || match listening(1).as_str() {
        "PortInUse" => Ok(()),
        other => Err(other.to_owned()),
    });
    assert_eq!(listening(2), "Listening");
    drop(taken);
    wait::eventually("the port is taken as soon as it is free", SOON, || match listening(1).as_str() {
        "Listening" => Ok(()),
        other => Err(other.to_owned()),
    });
}

#[test]
fn a_node_that_is_cut_leaves_the_tables_within_the_hold_time_and_comes_back() {
    let lab = lab("bgp: cut", &Config::default());
    let web = expose(&lab, "web", &[1, 2, 3], &json!({"externalTrafficPolicy": "Local"}));
    let address = web.wait_address_of(Family::V4);
    wait_vip(&lab, address, &[1, 2, 3]);
    let probe = meter::probe(&lab.ext().via(lab.bird()), SocketAddr::new(address, 80), meter::SPACING, 12);
    thread::sleep(Duration::from_millis(500));
    let cut = lab.node(2).cut();
    wait_vip(&lab, address, &[1, 3]);
    thread::sleep(Duration::from_millis(500));
    let continuity = probe.stop();
    assert!(!continuity.last_owners().values().any(|owner| owner.contains("n2")), "{continuity:?}");
    assert!(continuity.owners().len() >= 2, "several nodes have answered: {continuity:?}");
    assert!(continuity.longest_gap < SOON, "{continuity:?}");
    cut.heal();
    wait_vip(&lab, address, &[1, 2, 3]);
}

#[test]
fn edits_that_are_not_about_a_session_reset_none() {
    let lab = lab("bgp: edits", &Config::default());
    let web = expose(&lab, "web", &[1, 2, 3], &json!({}));
    let address = web.wait_address_of(Family::V4);
    wait_vip(&lab, address, &[1, 2, 3]);
    let before = established(lab.frr());
    lab.kubectl(&["label", "node", lab.node(1).name(), "rack=a"]);
    lab.kubectl(&["label", "bgppeer", "frr-v4", "site=one"]);
    lab.kubectl(&[
        "patch",
        "bgppeer",
        "bird-v4",
        "--type=merge",
        "-p",
        r#"{"spec":{"holdTime":"9s","keepaliveTime":"3s"}}"#,
    ]);
    lab.kubectl(&[
        "patch",
        "bgpadvertisement",
        "routed",
        "--type=merge",
        "-p",
        r#"{"spec":{"localPref":200}}"#,
    ]);
    lab.kubectl(&[
        "patch",
        "ipaddresspool",
        "routed",
        "--type=merge",
        "-p",
        r#"{"spec":{"avoidBuggyIPs":true}}"#,
    ]);
    expose(&lab, "mail", &[1], &json!({})).wait_addresses(2);
    lab.kubectl(&["delete", "bgppeer", "bird-v6"]);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(established(lab.frr()), before);
    wait_vip(&lab, address, &[1, 2, 3]);
}

#[test]
fn peers_that_fail_do_not_keep_the_others_from_working() {
    let lab = lab("bgp: bad peers", &Config::default());
    lab.kubectl(&["delete", "bgppeer", "bird-v6"]);
    lab.apply(&format!(
        "{}---\n{}",
        peer("unreachable", "10.77.0.77", 64512),
        peer("wrong-asn", "fd77::2", 64999)
    ));
    let without_asn = peer("no-asn", "10.77.0.9", 64512).replace("  peerASN: 64512\n", "");
    let mut apply = lab.plane().kubectl_command(&["apply", "--server-side", "-f", "-"]);
    let refused = run::attempt_with_input(&mut apply, &without_asn).expect_err("a BGPPeer without peerASN");
    assert!(refused.to_string().contains("peerASN"), "{refused}");

    let web = expose(&lab, "web", &[1], &json!({}));
    let address = web.wait_address_of(Family::V4);
    wait_vip(&lab, address, &[1, 2, 3]);
    lab.frr().wait_vip(web.wait_address_of(Family::V6), &[lab.node(1), lab.node(2), lab.node(3)], SOON);
    for bad in ["unreachable", "wrong-asn"] {
        wait::eventually("the status says what is wrong with the peer", SOON, || {
            let path = format!(r#"{{.status.sessions[?(@.peer=="{bad}")].lastError}}"#);
            let error = speaker_status(&lab, 1, &path);
            if error.is_empty() { Err(format!("no error of {bad}")) } else { Ok(()) }
        });
    }
}

fn peer(name: &str, address: &str, asn: u32) -> String {
    format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: BGPPeer\nmetadata:\n  name: {name}\nspec:\n  myASN: 64500\n  \
         peerASN: {asn}\n  peerAddress: {address}\n"
    )
}

#[test]
fn a_speaker_that_ends_takes_its_routes_with_it_and_brings_them_back() {
    let lab = lab("bgp: restarts", &Config::default());
    let web = expose(&lab, "web", &[1, 2, 3], &json!({}));
    let addresses = web.wait_addresses(2);
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 2, 3]);
    }
    let ended = lab.speaker(2).terminate();
    assert!(ended.success(), "SIGTERM ends cleanly: {ended}");
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 3]);
    }
    lab.speaker(2).start();
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 2, 3]);
    }
    lab.speaker(3).kill();
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 2]);
    }
    lab.speaker(3).start();
    for address in &addresses {
        wait_vip(&lab, *address, &[1, 2, 3]);
    }
}
