//! Services that share an address: what a client gets on each port, and which nodes announce it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use lab::kube::light::Lab;
use lab::kube::service::{Service, TARGET};
use lab::router::Config;
use lab::{Host, wait};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
/// For looking whether something comes that must not.
const WHILE: Duration = Duration::from_secs(3);
const WEB: u16 = 80;
const MAIL: u16 = 25;

/// A Service of one family on this port, that shares under one key.
fn expose<'a>(lab: &'a Lab, name: &'a str, on: &[usize], port: u16, changes: &Changes<'_>) -> Service<'a> {
    let mut annotations = json!({ "ferritelb.io/allow-shared-ip": "front" });
    for (key, value) in changes.annotations {
        annotations[*key] = json!(value);
    }
    let object = json!({
        "metadata": { "annotations": annotations },
        "spec": {
            "ipFamilyPolicy": "SingleStack",
            "externalTrafficPolicy": changes.policy,
            "ports": [{ "port": port, "targetPort": TARGET }],
        },
    });
    lab.expose_with(name, on, &object)
}

struct Changes<'a> {
    policy: &'a str,
    annotations: &'a [(&'a str, &'a str)],
}

const CLUSTER: Changes<'_> = Changes { policy: "Cluster", annotations: &[] };

#[track_caller]
fn wait_said(lab: &Lab, address: IpAddr, port: u16, by: &str) {
    wait::eventually(&format!("{by} answers at {address} port {port}"), SOON, || {
        match lab.client().http(address, port) {
            Ok(said) if said.starts_with(by) => Ok(()),
            Ok(said) => Err(said),
            Err(error) => Err(error.to_string()),
        }
    });
}

#[test]
fn two_services_on_one_address_are_reached_on_their_own_ports() {
    let lab = Lab::up("sharing: segment");
    lab.plane().apply_samples();
    let web = expose(&lab, "web", &[1, 2, 3], WEB, &CLUSTER);
    let address = web.wait_address();
    let mail = expose(&lab, "mail", &[2], MAIL, &CLUSTER);
    mail.wait_has(&[&address.to_string()]);
    wait_said(&lab, address, WEB, "web-n");
    wait_said(&lab, address, MAIL, "mail-n2");
    let owner = lab.wait_owner(address, SOON);

    let clashing = expose(&lab, "clashing", &[1], WEB, &CLUSTER);
    let own = clashing.wait_address();
    assert_ne!(own, address, "one port for two Services");
    wait_said(&lab, own, WEB, "clashing-n1");
    let named = [("ferritelb.io/loadBalancerIPs", address.to_string())];
    let named = named.each_ref().map(|(key, value)| (*key, value.as_str()));
    let insisting = expose(&lab, "insisting", &[], WEB, &Changes { policy: "Cluster", annotations: &named });
    insisting.wait_refused("SharingConflict", &[&address.to_string(), "TCP port 80"]);

    // One of them goes: the address stays with the other, and with its node.
    web.delete();
    wait_said(&lab, address, MAIL, "mail-n2");
    mail.wait_has(&[&address.to_string()]);
    assert_eq!(lab.wait_owner(address, SOON), owner);
    insisting.wait_has(&[&address.to_string()]);
    wait_said(&lab, address, MAIL, "mail-n2");
    insisting.delete();
    mail.delete();
    wait::eventually("nobody answers for it", SOON, || {
        let macs = lab.client().resolve(address);
        macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
    });
}

/// Waits until just these nodes are next hops, on both routers.
#[track_caller]
fn wait_hops(lab: &Lab, address: IpAddr, nodes: &[usize]) {
    let hosts: Vec<&Host> = nodes.iter().map(|number| lab.node(*number)).collect();
    for router in [lab.frr(), lab.bird()] {
        router.wait_vip(address, &hosts, SOON);
    }
}

/// Waits until one of these nodes answers for it.
#[track_caller]
fn wait_owner_among(lab: &Lab, address: IpAddr, nodes: &[usize]) {
    let nodes = BTreeSet::from_iter(nodes.iter().copied());
    wait::eventually(&format!("one of {nodes:?} answers for {address}"), SOON, || {
        let owner = lab.wait_owner(address, SOON);
        if nodes.contains(&owner) { Ok(()) } else { Err(format!("node {owner}")) }
    });
}

#[test]
fn local_services_with_different_pods_share_where_either_or_each_has_one() {
    let lab = Lab::up("sharing: local");
    lab.frr().start(&Config::default());
    lab.bird().start(&Config::default());
    lab.plane().apply_samples();
    let alone = expose(&lab, "alone", &[1], 99, &Changes { policy: "Local", annotations: &[] });
    let stranger = expose(&lab, "stranger", &[2], 98, &Changes { policy: "Local", annotations: &[] });
    let (first, second) = (alone.wait_address(), stranger.wait_address());
    assert_ne!(first, second, "different pods, and nobody said that it is all the same");
    alone.delete();
    stranger.delete();

    let near = pair(&lab, ["near-web", "near-mail"], &[("ferritelb.io/share-local", "any")]);
    let routed = ("ferritelb.io/address-pool", "routed");
    let far = pair(&lab, ["far-web", "far-mail"], &[("ferritelb.io/share-local", "any"), routed]);
    wait_owner_among(&lab, near, &[1, 2]);
    wait_hops(&lab, far, &[1, 2]);
    for name in ["near-web", "near-mail", "far-web", "far-mail"] {
        lab.service(name).delete();
    }

    // Each: no node has a pod of both, until one has.
    let near = pair(&lab, ["all-web", "all-mail"], &[("ferritelb.io/share-local", "all")]);
    let far = pair(&lab, ["out-web", "out-mail"], &[("ferritelb.io/share-local", "all"), routed]);
    thread::sleep(WHILE);
    wait_hops(&lab, far, &[]);
    assert_eq!(lab.client().resolve(near), BTreeSet::new());
    for app in ["all-mail", "out-mail"] {
        lab.run(app, &[1]);
    }
    wait_owner_among(&lab, near, &[1]);
    wait_hops(&lab, far, &[1]);
    wait_said(&lab, near, WEB, "all-web-n1");
    wait_said(&lab, near, MAIL, "all-mail-n1");
}

/// Two Local Services on one address, the first with a pod on node 1, the second on node 2.
fn pair(lab: &Lab, [web, mail]: [&str; 2], annotations: &[(&str, &str)]) -> IpAddr {
    let local = Changes { policy: "Local", annotations };
    let address = expose(lab, web, &[1], WEB, &local).wait_address();
    expose(lab, mail, &[2], MAIL, &local).wait_has(&[&address.to_string()]);
    address
}
