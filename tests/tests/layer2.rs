//! Layer 2: who answers ARP and NDP for an address, and how the segment hears of it. Asserted with packets that a
//! client on the segment sends and captures.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lab::capture::{Arp, Capture, Message, Ndp, Operation};
use lab::kube::light::Lab;
use lab::{Family, Mac, Request, Solicitation, wait};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

/// Pools and advertisements as `config/samples` has them.
fn lab(purpose: &str) -> Lab {
    let lab = Lab::up(purpose);
    lab.plane().apply_samples();
    lab
}

fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(address) => panic!("{address} is not IPv6"),
    }
}

fn owner(lab: &Lab, address: IpAddr) -> usize {
    lab.wait_owner(address, SOON)
}

fn nobody_answers(lab: &Lab, address: IpAddr) {
    wait::eventually(&format!("nobody answers for {address}"), SOON, || {
        let macs = lab.client().resolve(address);
        macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
    });
}

#[test]
fn one_node_answers_every_form_of_question() {
    let lab = lab("layer 2: questions");
    let web = lab.expose("web", &[1, 2, 3]);
    let address = v4(web.wait_address_of(Family::V4));
    let address6 = v6(web.wait_address_of(Family::V6));
    let mac = lab.node(owner(&lab, address.into())).mac();
    let mac6 = lab.node(owner(&lab, address6.into())).mac();

    for request in [Request::Broadcast, Request::Unicast(mac), Request::Probe] {
        assert_eq!(lab.client().arp_as(address, request), BTreeSet::from([mac]), "{request:?}");
    }
    for solicitation in [
        Solicitation::Multicast,
        Solicitation::MulticastWithoutOption,
        Solicitation::Unicast(mac6),
        Solicitation::UnicastWithoutOption(mac6),
        Solicitation::Probe,
    ] {
        assert_eq!(lab.client().ndp_as(address6, solicitation), BTreeSet::from([mac6]), "{solicitation:?}");
    }
    let other = v4(IpAddr::from([10, 77, 0, 249]));
    assert_eq!(lab.client().arp(other), BTreeSet::new(), "an address that no Service holds");
    for vip in [IpAddr::from(address), IpAddr::from(address6)] {
        let said = wait::eventually("an answer", SOON, || lab.client().http(vip, 80));
        assert!(said.contains("web-n"), "{said}");
    }
}

#[test]
fn a_new_owner_tells_the_segment_in_every_form() {
    let lab = lab("layer 2: announcements");
    let capture = Capture::start(lab.client(), "eth0", |frame| !frame.outgoing);
    let web = lab.expose("web", &[1]);
    let address = v4(web.wait_address_of(Family::V4));
    let address6 = v6(web.wait_address_of(Family::V6));

    let gratuitous =
        |arp: &Arp, operation| arp.operation == operation && arp.sender == address && arp.is_gratuitous();
    capture.wait_for("a gratuitous request", SOON, |frame| {
        frame.arp().is_some_and(|arp| gratuitous(&arp, Operation::Request))
            && frame.destination() == Mac::BROADCAST
    });
    // Linux takes a gratuitous reply at once only if it names its sender as its target.
    capture.wait_for("a gratuitous reply to its own sender", SOON, |frame| {
        frame.arp().is_some_and(|arp| gratuitous(&arp, Operation::Reply) && arp.target_mac == arp.sender_mac)
    });
    let unsolicited = |ndp: &Ndp| {
        ndp.target == address6
            && ndp.hop_limit == 255
            && ndp.intact
            && matches!(ndp.message, Message::Advertisement { solicited: false, overriding: true, .. })
    };
    capture.wait_for("an unsolicited advertisement to all nodes", SOON, |frame| {
        let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
        frame.ndp().is_some_and(|ndp| unsolicited(&ndp) && ndp.destination == all_nodes)
    });
    let mac = lab.node(owner(&lab, address.into())).mac();
    let senders: BTreeSet<Mac> = capture
        .stop()
        .iter()
        .filter_map(|frame| frame.arp().filter(|arp| arp.sender == address))
        .map(|arp| arp.sender_mac)
        .collect();
    assert_eq!(senders, BTreeSet::from([mac]), "only the owner has spoken for the address");
}

#[test]
fn only_usable_endpoints_make_an_address_answer() {
    let lab = lab("layer 2: endpoints");
    let web = lab.expose("web", &[1]);
    let addresses = web.wait_addresses(2);
    for address in &addresses {
        owner(&lab, *address);
    }
    lab.pod("web-n1").become_unready();
    for address in &addresses {
        nobody_answers(&lab, *address);
    }
    lab.pod("web-n1").become_ready();
    for address in &addresses {
        owner(&lab, *address);
    }
    // kube-proxy serves terminating endpoints when no other is left, so the address stays.
    lab.pod("web-n1").terminate();
    wait::eventually("the slice calls the pod terminating", SOON, || {
        let slices = lab.kubectl(&["get", "endpointslices", "-o", "json"]);
        slices.contains(r#""terminating": true"#).then_some(()).ok_or(slices)
    });
    std::thread::sleep(Duration::from_millis(500));
    for address in &addresses {
        owner(&lab, *address);
    }
    lab.pod("web-n1").delete();
    for address in &addresses {
        nobody_answers(&lab, *address);
    }
}

#[test]
fn with_local_traffic_only_nodes_with_an_endpoint_answer() {
    let lab = lab("layer 2: local");
    let local = json!({"spec": {"externalTrafficPolicy": "Local"}});
    let web = lab.expose_with("web", &[2], &local);
    let addresses = web.wait_addresses(2);
    for address in &addresses {
        assert_eq!(owner(&lab, *address), 2);
    }
    lab.run("web", &[3]);
    lab.pod("web-n2").delete();
    for address in &addresses {
        wait::eventually("node 3 has taken over", SOON, || match owner(&lab, *address) {
            3 => Ok(()),
            other => Err(format!("node {other}")),
        });
    }
}

#[test]
fn a_node_that_the_api_server_calls_not_ready_keeps_what_it_answers_for() {
    let lab = lab("layer 2: readiness");
    let web = lab.expose("web", &[1, 2, 3]);
    for address in web.wait_addresses(2) {
        let first = owner(&lab, address);
        let mac = lab.node(first).mac();
        lab.node_not_ready(first);
        for _ in 0..20 {
            assert_eq!(lab.client().resolve(address), BTreeSet::from([mac]));
            std::thread::sleep(Duration::from_millis(100));
        }
        lab.node_ready(first);
    }
}

#[test]
fn a_speaker_that_ends_is_covered_and_one_that_is_back_answers_for_the_same_addresses() {
    let lab = lab("layer 2: restarts");
    let web = lab.expose("web", &[1, 2, 3]);
    let address = web.wait_address_of(Family::V4);
    let node = owner(&lab, address);
    let mac = lab.node(node).mac();
    let same = |what: &str| {
        wait::eventually(what, SOON, || {
            let macs = lab.client().resolve(address);
            if macs == BTreeSet::from([mac]) { Ok(()) } else { Err(format!("{macs:?}")) }
        });
    };
    let ended = lab.speaker(node).terminate();
    assert!(ended.success(), "SIGTERM ends cleanly: {ended}");
    same("another node answers with the MAC of this one");
    lab.speaker(node).start();
    lab.speaker(node).wait_ready();
    same("it answers again");
    lab.speaker(node).kill();
    same("another node answers with the MAC of this one that was killed");
    lab.speaker(node).start();
    lab.speaker(node).wait_ready();
    same("it answers again");
    wait::eventually("a client is served", SOON, || lab.client().http(address, 80));
}

#[test]
fn an_advertisement_decides_where_an_address_is_answered_for() {
    let lab = lab("layer 2: advertisements");
    let web = lab.expose("web", &[1, 2, 3]);
    let address = web.wait_address_of(Family::V4);
    owner(&lab, address);
    let advertise = |spec: &str| {
        lab.apply(&format!(
            "apiVersion: ferritelb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: segment}}\nspec: {spec}\n"
        ));
    };
    lab.kubectl(&["label", "node", lab.node(3).name(), "edge=yes"]);
    advertise("{ipAddressPools: [segment], nodeSelectors: [{matchLabels: {edge: 'yes'}}]}");
    wait::eventually("the selected node answers", SOON, || match owner(&lab, address) {
        3 => Ok(()),
        other => Err(format!("node {other}")),
    });
    advertise("{ipAddressPools: [segment], interfaces: [mgmt0]}");
    nobody_answers(&lab, address);
    advertise("{ipAddressPools: [routed]}");
    nobody_answers(&lab, address);
    advertise("{ipAddressPools: [segment], interfaces: [eth0]}");
    owner(&lab, address);
}
