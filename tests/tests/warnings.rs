//! What layer 2 tells its operator when something is wrong, and what goes on meanwhile.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use api::{AddressOwner, SpeakerStatus, address_owner};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use lab::fault::{close_port, partition};
use lab::kube::light::Lab;
use lab::serve::{self, Server};
use lab::{Host, Mac, wait};

const SECOND: Duration = Duration::from_secs(1);
/// For what is told at once.
const SOON: Duration = Duration::from_secs(20);
/// Each owned address is asked for once in this time, and some more.
const ASKED: Duration = Duration::from_secs(75);

/// A dual-stack Service with a pod on each node.
fn lab(purpose: &str) -> (Lab, Vec<IpAddr>) {
    let lab = Lab::up(purpose);
    lab.plane().apply_samples();
    let addresses = lab.expose("web", &[1, 2, 3]).wait_addresses(2);
    lab.wait_owners(&addresses, SOON);
    thread::sleep(2 * SECOND);
    (lab, addresses)
}

fn conflict(lab: &Lab, address: IpAddr) -> Option<Condition> {
    let owner = lab.plane().kube().cluster::<AddressOwner>().get(&address_owner::name(address));
    owner.status?.conditions.into_iter().find(|condition| condition.type_ == "Conflict")
}

/// Waits until the AddressOwner names the station, by whatever words.
#[track_caller]
fn wait_conflict(lab: &Lab, address: IpAddr, within: Duration, words: &[&str]) {
    wait::eventually(&format!("the conflict about {address} is told"), within, || {
        let said = conflict(lab, address).ok_or("nothing")?;
        let all = words.iter().all(|word| said.message.contains(word));
        (said.status == "True" && all).then_some(()).ok_or(format!("{said:?}"))
    });
}

#[test]
fn a_station_that_claims_an_address_is_named_and_moves_nothing() {
    let (lab, addresses) = lab("warnings: claim");
    let stranger = Mac([2, 0, 0, 0, 0x99, 1]);
    for address in addresses {
        let node = lab.wait_owner(address, SOON);
        assert_eq!(conflict(&lab, address), None);
        lab.client().claim(address, stranger);
        wait_conflict(&lab, address, SOON, &["02:00:00:00:99:01", "eth0", lab.node(node).name()]);
        wait::eventually("an Event of the Service names it", SOON, || {
            let events = lab.kubectl(&["get", "events", "--field-selector=involvedObject.name=web"]);
            let told = events.lines().any(|line| {
                let said = ["AddressConflict", "02:00:00:00:99:01", &address.to_string()];
                said.iter().all(|word| line.contains(word))
            });
            told.then_some(()).ok_or(events)
        });
        let metrics = lab.speaker(node).metrics();
        let counted = metrics.lines().any(|line| {
            let said = ["l2_foreign_answers_total", "02:00:00:00:99:01", "stranger"];
            said.iter().all(|word| line.contains(word))
        });
        assert!(counted, "{metrics}");
        thread::sleep(2 * SECOND);
        assert_eq!(lab.client().resolve(address), BTreeSet::from([lab.node(node).mac()]), "nothing moves");
    }
}

#[test]
fn a_station_that_only_answers_for_an_address_is_found_within_a_minute() {
    let (lab, addresses) = lab("warnings: answer");
    for address in addresses {
        let node = lab.wait_owner(address, SOON);
        lab.client().add_on_segment(address);
        wait_conflict(&lab, address, ASKED, &[&lab.client().mac().to_string()]);
        lab.client().remove_on_segment(address);
        assert_eq!(lab.wait_owner(address, SOON), node, "nothing moves");
    }
}

/// What the speaker of a node says of itself.
fn said(lab: &Lab, node: usize, kind: &str) -> Option<Condition> {
    let status = lab.plane().kube().cluster::<SpeakerStatus>().get(lab.node(node).name()).status?;
    status.conditions.into_iter().find(|condition| condition.type_ == kind)
}

#[track_caller]
fn wait_said(lab: &Lab, node: usize, kind: &str, reason: &str, words: &[&str]) {
    wait::eventually(&format!("node {node} says {kind} {reason}"), SOON, || {
        let said = said(lab, node, kind).ok_or("nothing")?;
        let all = said.reason == reason && words.iter().all(|word| said.message.contains(word));
        all.then_some(()).ok_or(format!("{said:?}"))
    });
}

const HEARTBEATS: &str = "HeartbeatsExchanged";

/// One node answers for each address, and the same one for as long as this looks.
#[track_caller]
fn one_owner(lab: &Lab, addresses: &[IpAddr]) {
    let before = lab.wait_owners(addresses, SOON);
    for address in addresses {
        let seen = lab.client().witness(*address);
        thread::sleep(3 * SECOND);
        let seen = seen.stop();
        assert_eq!(seen.macs(), BTreeSet::from([lab.node(before[address]).mac()]), "{seen}");
    }
}

#[test]
fn a_port_that_is_closed_between_nodes_is_named_with_both_and_one_node_answers() {
    let (lab, addresses) = lab("warnings: port");
    let hosts: Vec<&Host> = lab.nodes().iter().collect();
    (1..=3).for_each(|node| wait_said(&lab, node, HEARTBEATS, "Heard", &[]));
    let owners = lab.wait_owners(&addresses, SOON);

    let closed = close_port(&hosts[..2], 7973);
    let [n1, n2, n3] = [1, 2, 3].map(|node| lab.node(node).name());
    wait_said(&lab, 1, HEARTBEATS, "PortClosed", &["7973", n1, n2]);
    wait_said(&lab, 2, HEARTBEATS, "PortClosed", &["7973", n1, n2]);
    wait_said(&lab, 3, HEARTBEATS, "Heard", &[]);
    one_owner(&lab, &addresses);
    assert_eq!(lab.wait_owners(&addresses, SOON), owners, "the third hears both");
    closed.heal();
    (1..=3).for_each(|node| wait_said(&lab, node, HEARTBEATS, "Heard", &[]));

    let closed = close_port(&hosts, 7973);
    wait_said(&lab, 1, HEARTBEATS, "PortClosed", &["7973", n1, n2, n3]);
    wait_said(&lab, 2, HEARTBEATS, "PortClosed", &["7973", n1, n2, n3]);
    wait_said(&lab, 3, HEARTBEATS, "PortClosed", &["7973", n1, n2, n3]);
    // As long as others answer in an owner's place, and what comes then.
    thread::sleep(12 * SECOND);
    one_owner(&lab, &addresses);
    closed.heal();
    (1..=3).for_each(|node| wait_said(&lab, node, HEARTBEATS, "Heard", &[]));
    one_owner(&lab, &addresses);
    let metrics = lab.speaker(1).metrics();
    for series in [
        r#"ferritelb_speaker_liveness_datagrams_total{interface="eth0",kind="heard"}"#,
        r#"ferritelb_speaker_liveness_speakers{interface="eth0",standing="alive"} 2"#,
        r#"ferritelb_speaker_liveness_isolated{interface="eth0"} 0"#,
        "ferritelb_speaker_l2_covered_addresses 0",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
}

#[test]
fn two_nodes_that_only_each_other_could_hear_both_say_so_within_a_second() {
    let lab = Lab::without_product("warnings: halves");
    lab.kubectl(&["delete", "node", lab.node(3).name()]);
    lab.plane().apply_samples();
    lab.controller().start();
    [1, 2].iter().for_each(|node| lab.speaker(*node).start());
    let addresses = lab.expose("web", &[1, 2]).wait_addresses(2);
    lab.wait_owners(&addresses, SOON);
    [1, 2].iter().for_each(|node| wait_said(&lab, *node, HEARTBEATS, "Heard", &[]));
    let names = [1, 2].map(|node| lab.node(node).name());
    thread::sleep(3 * SECOND);
    let apart = partition(&[lab.node(1)], &[lab.node(2)]);
    // Ten times what it may take is what a slow machine gets.
    [1, 2].iter().for_each(|node| wait_said(&lab, *node, HEARTBEATS, "NodeUnreachable", &names));
    apart.heal();
    [1, 2].iter().for_each(|node| wait_said(&lab, *node, HEARTBEATS, "Heard", &[]));
    one_owner(&lab, &addresses);
}

const DATA_PATH: &str = "DataPathReady";
const HEALTH: u16 = 18256;

/// On each node something that says how its data path is, and the speakers ask it.
fn health_checks(lab: &Lab) -> Vec<(Server, Arc<AtomicU16>)> {
    let checks = lab.nodes().iter().map(|host| {
        let code = Arc::new(AtomicU16::new(200));
        (serve::health(host, HEALTH, &code), code)
    });
    let checks = checks.collect();
    lab.apply(&format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: FerriteConfig\nmetadata: {{name: default}}\nspec: {{dataPath: \
         {{healthz: 'http://127.0.0.1:{HEALTH}/healthz'}}}}\n"
    ));
    (1..=3).for_each(|node| wait_said(lab, node, DATA_PATH, "Ready", &[&HEALTH.to_string()]));
    checks
}

#[test]
fn a_node_whose_proxy_is_not_well_for_long_hands_over_and_the_last_one_does_not() {
    let (lab, addresses) = lab("warnings: data path");
    (1..=3).for_each(|node| wait_said(&lab, node, DATA_PATH, "Ready", &["10256"]));
    let checks = health_checks(&lab);
    let say = |node: usize, code: u16| checks[node - 1].1.store(code, Ordering::Relaxed);
    let address = addresses[0];
    let first = lab.wait_owner(address, SOON);
    say(first, 503);
    wait_said(&lab, first, DATA_PATH, "Unavailable", &["503"]);
    thread::sleep(20 * SECOND);
    assert_eq!(lab.wait_owner(address, SOON), first, "that did not last for long enough");
    let moved = || {
        let macs = lab.client().resolve(address);
        let others = !macs.is_empty() && !macs.contains(&lab.node(first).mac());
        others.then_some(()).ok_or(format!("{macs:?}"))
    };
    wait::eventually("another node answers", 2 * SOON, moved);
    let heir = lab.wait_owner(address, SOON);

    (1..=3).for_each(|node| say(node, 503));
    thread::sleep(40 * SECOND);
    (1..=3).for_each(|node| wait_said(&lab, node, DATA_PATH, "Unavailable", &["no other node can"]));
    one_owner(&lab, &addresses);

    say(heir, 200);
    wait::eventually("the one that is well again answers", SOON, || match lab.wait_owner(address, SOON) {
        owner if owner == heir => Ok(()),
        owner => Err(format!("node {owner}")),
    });
    lab.apply(
        "apiVersion: ferritelb.io/v1beta1\nkind: FerriteConfig\nmetadata: {name: default}\nspec: {dataPath: \
         {healthz: ''}}\n",
    );
    (1..=3).for_each(|node| wait_said(&lab, node, DATA_PATH, "NotAsked", &[]));
    one_owner(&lab, &addresses);
}
