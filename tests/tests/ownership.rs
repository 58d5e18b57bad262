//! One owner for each address on the segment, whatever fails: who answers, and how often, counted by MAC at the
//! client. What a client loses is asserted where it must lose nothing; times are for `make bench`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use lab::capture::Capture;
use lab::fault::{Direction, Fault, partition, partition_one_way};
use lab::kube::light::Lab;
use lab::kube::service::PORT;
use lab::meter::Seen;
use lab::witness::{Testimony, Witness};
use lab::{Host, Mac, clock, wait};
use serde_json::json;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// For what the test waits for before it begins.
const SOON: Duration = Duration::from_secs(30);
/// Ten times what a takeover may take.
const TAKEN_OVER: Duration = Duration::from_millis(2500);
/// Ten times what two owners may take to find each other.
const ONE_LEFT: Duration = Duration::from_millis(2000);
/// Ten times as long as nobody may answer when a speaker crashes.
const DARK: Duration = Duration::from_millis(1500);
/// How long a node that was lost is given nothing that it is preferred for, and as long again.
const TRUSTED_AGAIN: Duration = Duration::from_mins(2);
/// For looking whether something happens that must not.
const WHILE: Duration = Duration::from_secs(2);
/// How long a standby answers in the owner's place before it takes its place, and a second more.
const COVERED: Duration = Duration::from_secs(11);

/// A dual-stack Service with a pod on each node; whoever answers sends its traffic to its own.
fn lab(purpose: &str) -> (Lab, Vec<IpAddr>) {
    let lab = Lab::up(purpose);
    let addresses = expose(&lab);
    (lab, addresses)
}

/// As [`lab`], in a cluster of so many nodes.
fn lab_of(nodes: usize, purpose: &str) -> (Lab, Vec<IpAddr>) {
    let lab = Lab::without_product(purpose);
    for node in nodes + 1..=lab.nodes().len() {
        lab.kubectl(&["delete", "node", lab.node(node).name()]);
    }
    lab.controller().start();
    (1..=nodes).for_each(|node| lab.speaker(node).start());
    (1..=nodes).for_each(|node| lab.speaker(node).wait_ready());
    let addresses = expose(&lab);
    (lab, addresses)
}

fn expose(lab: &Lab) -> Vec<IpAddr> {
    let files = ["ipaddresspools.yaml", "l2advertisement.yaml"];
    let files = files.map(|file| lab::kube::samples().join(file).display().to_string());
    lab.kubectl(&["apply", "--server-side", "-f", &files[0], "-f", &files[1]]);
    let local = json!({ "spec": { "externalTrafficPolicy": "Local" } });
    let addresses = lab.expose_with("web", &[1, 2, 3], &local).wait_addresses(2);
    lab.wait_owners(&addresses, SOON);
    // Until nothing is new any more.
    thread::sleep(2 * SECOND);
    addresses
}

fn others(lab: &Lab, node: usize) -> Vec<&Host> {
    lab.nodes().iter().filter(|host| host.name() != lab.node(node).name()).collect()
}

fn owner(lab: &Lab, address: IpAddr) -> usize {
    lab.wait_owner(address, SOON)
}

/// Waits until another node, and nobody else, answers.
#[track_caller]
fn wait_heir(lab: &Lab, address: IpAddr, former: usize, within: Duration) -> usize {
    wait::eventually(&format!("another node than {former} answers for {address}"), within, || {
        match lab.client().resolve_all(&[address]).remove(&address) {
            Some(macs) if macs.len() == 1 && !macs.contains(&lab.node(former).mac()) => Ok(()),
            macs => Err(format!("{macs:?}")),
        }
    });
    owner(lab, address)
}

/// What a witness of the address sees meanwhile.
fn witnessed(lab: &Lab, address: IpAddr, meanwhile: impl FnOnce()) -> Testimony {
    let witness = lab.client().witness(address);
    thread::sleep(300 * MS);
    meanwhile();
    witness.stop()
}

/// What three clients and a witness of the address see meanwhile.
fn watched(lab: &Lab, address: IpAddr, meanwhile: impl FnOnce()) -> (Seen, Testimony) {
    let clients = lab.client().clients(SocketAddr::new(address, PORT));
    let testimony = witnessed(lab, address, meanwhile);
    (clients.stop(), testimony)
}

#[track_caller]
fn dark(testimony: &Testimony) -> Duration {
    testimony.dark().map_or(Duration::ZERO, |span| span.lasted)
}

/// One node, and never two at a time.
#[track_caller]
fn only(testimony: &Testimony, node: &Host) {
    assert_eq!(testimony.macs(), BTreeSet::from([node.mac()]), "{}: {testimony}", node.name());
}

/// Nothing was lost, on connections that were there before neither.
#[track_caller]
fn nothing_lost(seen: &Seen) {
    let lost = (seen.datagrams.lost, seen.connections.lost, seen.held.resets, seen.held.delayed);
    assert_eq!(lost, (0, 0, 0, 0), "{seen}");
}

/// Nothing was lost but connections that were there before: a move resets them, and one that is just being made.
#[track_caller]
fn only_old_connections_lost(seen: &Seen) {
    assert_eq!(seen.datagrams.lost, 0, "{seen}");
    assert!(seen.connections.lost <= 1, "{seen}");
}

/// The owner fails; another node answers, alone, with the API server there and away; and who fails and comes back
/// takes nothing.
fn moves_once(purpose: &str, fail: impl Fn(&Lab, usize) -> Vec<Fault>) {
    let (lab, addresses) = lab(purpose);
    for (number, address) in addresses.iter().copied().enumerate() {
        let first = owner(&lab, address);
        let away = number % 2 == 1;
        if away {
            lab.stop_api();
        }
        let witness = lab.client().witness(address);
        thread::sleep(300 * MS);
        let faults = fail(&lab, first);
        let heir = wait_heir(&lab, address, first, TAKEN_OVER);
        let middle = clock::wall();
        thread::sleep(WHILE);
        let seen = witness.stop();
        let both = BTreeSet::from([first, heir].map(|node| lab.node(node).mac()));
        assert_eq!(seen.answers().into_keys().collect::<BTreeSet<_>>(), both, "{seen}");
        assert_eq!(seen.reigns().len(), 2, "one after the other: {seen}");
        only(&seen.since(middle), lab.node(heir));
        let announced = seen.announcements.iter().filter(|said| said.mac == lab.node(heir).mac()).count();
        assert!(announced >= 4, "the heir told the segment {announced} times: {seen}");
        let last = seen.announcements.last().map(|said| said.mac);
        assert_eq!(last, Some(lab.node(heir).mac()), "the heir has the last word: {seen}");

        let back = clock::wall();
        let seen = witnessed(&lab, address, || {
            faults.into_iter().for_each(Fault::heal);
            thread::sleep(ONE_LEFT + WHILE);
        });
        let settled = seen.since(back + 300 * MS + ONE_LEFT);
        only(&settled, lab.node(heir));
        if away {
            lab.start_api();
        }
        thread::sleep(2 * SECOND);
        assert_eq!(owner(&lab, address), heir, "who comes back takes nothing");
    }
}

#[test]
fn a_silent_cut_of_the_owner_moves_its_addresses_once() {
    moves_once("ownership: silent cut", |lab, node| {
        vec![lab.node(node).cut_management(), lab.node(node).cut()]
    });
}

#[test]
fn a_cut_of_the_segment_alone_moves_the_addresses_once() {
    moves_once("ownership: segment cut", |lab, node| vec![lab.node(node).cut()]);
}

#[test]
fn a_carrier_loss_of_the_owner_moves_its_addresses_once() {
    moves_once("ownership: carrier", |lab, node| vec![lab.node(node).unplug()]);
}

#[test]
fn a_node_without_power_is_followed_by_another() {
    let (lab, addresses) = lab("ownership: power");
    let address = addresses[0];
    let first = owner(&lab, address);
    let faults = lab.lose_power(first);
    let heir = wait_heir(&lab, address, first, TAKEN_OVER);
    faults.into_iter().for_each(Fault::heal);
    lab.speaker(first).start();
    lab.speaker(first).wait_ready();
    let seen = witnessed(&lab, address, || thread::sleep(WHILE));
    only(&seen, lab.node(heir));
}

/// The owner's speaker goes and comes back; nothing moves, and nobody loses anything.
fn stays(purpose: &str, dark_for: Duration, disturb: impl Fn(&Lab, usize)) {
    let (lab, addresses) = lab(purpose);
    for address in addresses {
        let node = owner(&lab, address);
        let (seen, testimony) = watched(&lab, address, || {
            disturb(&lab, node);
            lab.speaker(node).wait_ready();
            thread::sleep(WHILE);
        });
        only(&testimony, lab.node(node));
        nothing_lost(&seen);
        assert!(dark(&testimony) <= dark_for, "{testimony}");
        assert_eq!(seen.datagrams.owners().len(), 1, "{seen}");
    }
}

#[test]
fn a_speaker_that_is_killed_and_comes_back_moves_nothing() {
    stays("ownership: kill", DARK, |lab, node| {
        lab.speaker(node).kill();
        thread::sleep(2 * SECOND);
        lab.speaker(node).start();
    });
}

#[test]
fn a_speaker_that_is_frozen_and_thawed_moves_nothing() {
    stays("ownership: freeze", DARK, |lab, node| {
        lab.speaker(node).freeze();
        thread::sleep(3 * SECOND);
        lab.speaker(node).thaw();
    });
}

#[test]
fn a_speaker_that_is_restarted_moves_nothing_and_is_never_missed() {
    stays("ownership: restart", 150 * MS, |lab, node| {
        let ended = lab.speaker(node).terminate();
        assert!(ended.success(), "SIGTERM ends cleanly: {ended}");
        lab.speaker(node).start();
    });
}

#[test]
fn every_speaker_is_restarted_one_after_the_other_and_nothing_moves() {
    let (lab, addresses) = lab("ownership: upgrade");
    let owners = lab.wait_owners(&addresses, SOON);
    let clients: Vec<_> =
        addresses.iter().map(|address| lab.client().clients(SocketAddr::new(*address, PORT))).collect();
    for node in 1..=lab.nodes().len() {
        lab.speaker(node).terminate();
        lab.speaker(node).start();
        lab.speaker(node).wait_ready();
        thread::sleep(SECOND);
    }
    clients.into_iter().for_each(|clients| nothing_lost(&clients.stop()));
    assert_eq!(lab.wait_owners(&addresses, SOON), owners);
}

#[test]
fn a_speaker_that_stays_away_is_covered_and_then_followed() {
    let (lab, addresses) = lab("ownership: gone");
    let address = addresses[0];
    let first = owner(&lab, address);
    let witness = lab.client().witness(address);
    let probe = lab.client().probe(SocketAddr::new(address, PORT));
    thread::sleep(300 * MS);
    lab.speaker(first).kill();
    thread::sleep(COVERED / 2);
    let middle = clock::wall();
    let covered = lab.client().resolve_all(&[address]);
    assert_eq!(covered[&address], BTreeSet::from([lab.node(first).mac()]), "answered in its place");
    let heir = wait_heir(&lab, address, first, 2 * COVERED);
    thread::sleep(WHILE);
    let seen = witness.stop();
    assert!(dark(&seen) <= DARK, "{seen}");
    assert!(dark(&seen.since(middle)) <= 150 * MS, "{seen}");
    assert_eq!(seen.answers().len(), 2, "{seen}");
    let continuity = probe.stop();
    assert_eq!(continuity.lost, 0, "its node still forwards: {continuity}");
    lab.speaker(first).start();
    lab.speaker(first).wait_ready();
    only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(heir));
}

#[test]
fn a_drained_node_hands_its_addresses_over_before_it_lets_go() {
    let (lab, addresses) = lab("ownership: drain");
    for address in addresses {
        let first = owner(&lab, address);
        let (seen, testimony) = watched(&lab, address, || {
            lab.drain(first);
            wait_heir(&lab, address, first, 10 * SECOND);
            thread::sleep(WHILE);
        });
        only_old_connections_lost(&seen);
        assert!(dark(&testimony) <= 150 * MS, "{testimony}");
        let heir = owner(&lab, address);
        assert_eq!(testimony.answers().len(), 2, "{testimony}");
        assert!(testimony.doubled_for() <= ONE_LEFT, "{testimony}");
        lab.end_drain(first);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(heir));
    }
}

#[test]
fn speakers_whose_daemon_set_is_deleted_hand_over_before_they_end() {
    let (lab, addresses) = lab("ownership: removal");
    let labels = json!({ "app": "speaker" });
    // No node is like this: its pods are the lab's own processes.
    let nowhere = json!({ "nowhere": "" });
    let containers = json!([{ "name": "speaker", "image": "none" }]);
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "ferrite-speaker", "namespace": "ferritelb-system" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "nodeSelector": nowhere, "containers": containers },
            },
        },
    });
    let address = addresses[0];
    let first = owner(&lab, address);
    lab.apply(&set.to_string());
    thread::sleep(SECOND);
    let restarted = witnessed(&lab, address, || {
        lab.speaker(first).terminate();
        thread::sleep(SECOND);
    });
    only(&restarted, lab.node(first));
    lab.speaker(first).start();
    lab.speaker(first).wait_ready();
    thread::sleep(SECOND);
    lab.kubectl(&["delete", "-n", "ferritelb-system", "daemonset", "ferrite-speaker"]);
    thread::sleep(SECOND);
    let (seen, testimony) = watched(&lab, address, || {
        lab.speaker(first).terminate();
        wait_heir(&lab, address, first, TAKEN_OVER);
        thread::sleep(WHILE);
    });
    only_old_connections_lost(&seen);
    assert!(dark(&testimony) <= 150 * MS, "{testimony}");
    assert_eq!(testimony.answers().len(), 2, "{testimony}");
}

#[test]
fn an_address_that_is_asked_to_move_moves_without_a_loss() {
    let (lab, addresses) = lab("ownership: move");
    for address in addresses {
        let first = owner(&lab, address);
        let to = first % lab.nodes().len() + 1;
        let (seen, testimony) = watched(&lab, address, || {
            lab.move_to(address, to);
            assert_eq!(wait_heir(&lab, address, first, 10 * SECOND), to);
            thread::sleep(WHILE);
        });
        only_old_connections_lost(&seen);
        assert!(dark(&testimony) <= 150 * MS, "{testimony}");
        assert_eq!(testimony.reigns(), [first, to].map(|node| lab.node(node).mac()), "{testimony}");
    }
}

#[test]
fn a_preferred_node_that_comes_back_has_its_addresses_back_without_a_loss() {
    let (lab, addresses) = lab("ownership: preference");
    lab.apply(
        "apiVersion: ferritelb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: segment}\nspec:\n  \
         ipAddressPools: [segment]\n  preferredNodeSelectors:\n  - weight: 10\n    preference: {matchLabels: \
         {kubernetes.io/hostname: n2}}\n",
    );
    for address in addresses {
        wait::eventually("the preferred node answers", SOON, || match owner(&lab, address) {
            2 => Ok(()),
            other => Err(format!("node {other}")),
        });
        thread::sleep(SECOND);
        let cut = lab.node(2).cut();
        wait_heir(&lab, address, 2, TAKEN_OVER);
        thread::sleep(SECOND);
        let (seen, testimony) = watched(&lab, address, || {
            cut.heal();
            wait::eventually("the preferred node answers again", TRUSTED_AGAIN, || {
                match owner(&lab, address) {
                    2 => Ok(()),
                    other => Err(format!("node {other}")),
                }
            });
            thread::sleep(WHILE);
        });
        only_old_connections_lost(&seen);
        assert_eq!(testimony.reigns().last(), Some(&lab.node(2).mac()), "{testimony}");
    }
}

/// Who hears whom breaks for a while; both halves are told apart by nothing but each other.
fn parted(purpose: &str, api: Api) {
    let (lab, addresses) = lab(purpose);
    for address in addresses {
        let first = owner(&lab, address);
        if matches!(api, Api::Away) {
            lab.stop_api();
        }
        let apart = partition(&[lab.node(first)], &others(&lab, first));
        thread::sleep(TAKEN_OVER);
        let during = witnessed(&lab, address, || thread::sleep(SECOND));
        assert!(dark(&during) <= 150 * MS, "somebody answers: {during}");
        let healed = clock::wall();
        let probe = lab.client().probe(SocketAddr::new(address, PORT));
        let after = witnessed(&lab, address, || {
            apart.heal();
            thread::sleep(ONE_LEFT + WHILE);
        });
        let seen = probe.stop();
        assert_eq!(seen.lost, 0, "{seen}");
        let settled = after.since(healed + 800 * MS + ONE_LEFT);
        assert_eq!(settled.answers().len(), 1, "one owner is left: {settled}");
        if matches!(api, Api::Away) {
            lab.start_api();
        }
        thread::sleep(2 * SECOND);
        let [left] = settled.answers().into_keys().collect::<Vec<Mac>>()[..] else { panic!("{settled}") };
        assert_eq!(lab.client().resolve(address), BTreeSet::from([left]), "and stays");
    }
}

#[derive(Clone, Copy)]
enum Api {
    There,
    Away,
}

#[test]
fn halves_that_find_each_other_again_have_one_owner() {
    parted("ownership: partition", Api::There);
}

#[test]
fn halves_that_find_each_other_again_have_one_owner_without_an_api_server() {
    parted("ownership: partition without API", Api::Away);
}

#[test]
fn two_nodes_that_a_third_hears_do_not_both_answer() {
    let (lab, addresses) = lab("ownership: pairwise");
    for address in addresses {
        let first = owner(&lab, address);
        for other in others(&lab, first) {
            let faults: [&dyn Fn() -> Fault; 3] = [
                &|| partition(&[lab.node(first)], &[other]),
                &|| partition_one_way(&[lab.node(first)], &[other]),
                &|| partition_one_way(&[other], &[lab.node(first)]),
            ];
            for fault in faults {
                let seen = witnessed(&lab, address, || {
                    let apart = fault();
                    thread::sleep(WHILE);
                    apart.heal();
                    thread::sleep(SECOND);
                });
                only(&seen, lab.node(first));
                assert!(dark(&seen) <= 150 * MS, "{seen}");
            }
        }
    }
}

#[test]
fn an_owner_that_is_heard_by_nobody_hands_over_and_one_that_hears_nobody_lets_go() {
    let (lab, addresses) = lab("ownership: one way");
    for (address, lost) in addresses.into_iter().zip([Direction::FromHost, Direction::ToHost]) {
        let first = owner(&lab, address);
        let cut = lab.node(first).one_way(lost);
        let heir = wait_heir(&lab, address, first, TAKEN_OVER);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(heir));
        cut.heal();
        thread::sleep(ONE_LEFT);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(heir));
    }
}

#[test]
fn a_node_that_is_alone_stops_answering_though_its_carrier_stays() {
    let (lab, addresses) = lab("ownership: isolation");
    for address in addresses {
        let first = owner(&lab, address);
        assert_eq!(lab.node(first).asked_at_its_port(address), BTreeSet::from([lab.node(first).mac()]));
        let alone = lab.node(first).unbridge();
        wait::eventually("the one that is alone is silent", TAKEN_OVER, || {
            let macs = lab.node(first).asked_at_its_port(address);
            macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
        });
        let heir = wait_heir(&lab, address, first, TAKEN_OVER);
        alone.heal();
        thread::sleep(ONE_LEFT);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(heir));
    }
}

#[test]
fn of_two_nodes_the_one_that_reaches_the_gateway_has_the_address() {
    let (lab, addresses) = lab_of(2, "ownership: two nodes");
    for address in addresses {
        let first = owner(&lab, address);
        let second = 3 - first;
        let alone = lab.node(first).unbridge();
        assert_eq!(wait_heir(&lab, address, first, TAKEN_OVER), second);
        wait::eventually("the one that is alone is silent", TAKEN_OVER, || {
            let macs = lab.node(first).asked_at_its_port(address);
            macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
        });
        alone.heal();
        thread::sleep(ONE_LEFT);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(second));

        // The standby alone: it claims nothing.
        let alone = lab.node(first).unbridge();
        thread::sleep(TAKEN_OVER);
        assert_eq!(lab.node(first).asked_at_its_port(address), BTreeSet::new(), "it is alone");
        let seen = witnessed(&lab, address, || {
            alone.heal();
            thread::sleep(WHILE);
        });
        only(&seen, lab.node(second));
    }
}

#[test]
fn interfaces_without_an_address_have_one_owner_and_another_when_it_dies() {
    let (lab, addresses) = lab("ownership: no addresses");
    for node in lab.nodes() {
        node.sh(&["ip", "addr", "flush", "dev", "eth0", "scope", "global"]);
    }
    thread::sleep(TAKEN_OVER);
    for address in addresses {
        let first = owner(&lab, address);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(first));
        let cut = lab.node(first).unbridge();
        let heir = wait_heir(&lab, address, first, TAKEN_OVER);
        cut.heal();
        thread::sleep(ONE_LEFT);
        only(&witnessed(&lab, address, || thread::sleep(WHILE)), lab.node(heir));
    }
}

#[test]
fn one_box_at_home_just_answers() {
    let (lab, addresses) = lab_of(1, "ownership: one node");
    let box_alone = lab.node(1).unbridge();
    thread::sleep(TAKEN_OVER);
    for address in &addresses {
        assert_eq!(lab.node(1).asked_at_its_port(*address), BTreeSet::from([lab.node(1).mac()]));
    }
    box_alone.heal();
    for address in addresses {
        only(&witnessed(&lab, address, || thread::sleep(SECOND)), lab.node(1));
    }
}

#[test]
fn a_little_loss_and_a_pause_of_every_speaker_move_nothing() {
    let (lab, addresses) = lab("ownership: loss");
    let owners = lab.wait_owners(&addresses, SOON);
    let loss: Vec<_> = lab.nodes().iter().map(|node| node.lose_sent(1)).collect();
    let witnesses: Vec<_> = addresses.iter().map(|address| lab.client().witness(*address)).collect();
    thread::sleep(20 * SECOND);
    drop(loss);
    for (address, witness) in addresses.iter().zip(witnesses) {
        only(&Witness::stop(witness), lab.node(owners[address]));
    }
}

fn advertise_on(lab: &Lab, interface: &str) {
    lab.apply(&format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: segment}}\nspec: \
         {{ipAddressPools: [segment], interfaces: [{interface}]}}\n"
    ));
}

fn v4(addresses: &[IpAddr]) -> Ipv4Addr {
    let v4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    v4.expect("the Service is dual-stack")
}

#[test]
fn an_advertisement_moved_to_another_interface_leaves_the_old_one_at_once() {
    let (lab, addresses) = lab("ownership: interfaces");
    let address = v4(&addresses);
    advertise_on(&lab, "eth0");
    thread::sleep(SECOND);
    owner(&lab, address.into());
    lab.lay_wire("wire0", (lab.node(1), "10.77.9.1/24"), (lab.client(), "10.77.9.2/24"));
    let on_wire = Capture::of_arp(lab.client(), "wire0", address);
    let witness = lab.client().witness(address.into());
    thread::sleep(SECOND);
    advertise_on(&lab, "wire0");
    wait::eventually("node 1 answers on the wire", SOON, || {
        let macs = lab.client().arp_on("wire0", address);
        (macs.len() == 1).then_some(()).ok_or(format!("{macs:?}"))
    });
    let answered = |frame: &lab::capture::Frame| !frame.outgoing && frame.arp().is_some();
    let first = on_wire.stop().into_iter().find(answered).expect("it was answered").at;
    thread::sleep(WHILE);
    let after = witness.stop().since(first + SECOND);
    assert_eq!(after.macs(), BTreeSet::new(), "nobody answers on the old one: {after}");
    advertise_on(&lab, "eth0");
    owner(&lab, address.into());
    assert_eq!(lab.client().arp_on("wire0", address), BTreeSet::new());
}

#[test]
fn an_interface_that_appears_late_is_answered_on() {
    let (lab, addresses) = lab("ownership: late interface");
    let address = v4(&addresses);
    advertise_on(&lab, "late0");
    wait::eventually("nobody answers on the segment", SOON, || {
        let macs = lab.client().arp(address);
        macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
    });
    lab.lay_wire("late0", (lab.node(2), "10.77.9.1/24"), (lab.client(), "10.77.9.2/24"));
    wait::eventually("node 2 answers on it", 2 * SECOND, || {
        let macs = lab.client().arp_on("late0", address);
        (macs.len() == 1).then_some(()).ok_or(format!("{macs:?}"))
    });
}

#[test]
fn a_stranger_who_claims_an_address_is_told_once_and_named() {
    let (lab, addresses) = lab("ownership: stranger");
    let stranger = Mac([0x02, 0x66, 0, 0, 0, 0x66]);
    for address in addresses {
        let node = owner(&lab, address);
        let witness = lab.client().witness(address);
        thread::sleep(300 * MS);
        let begun = clock::wall();
        for _ in 0..20 {
            lab.client().claim(address, stranger);
            thread::sleep(100 * MS);
        }
        thread::sleep(SECOND);
        let seen = witness.stop();
        assert_eq!(seen.answers().into_keys().collect::<Vec<_>>(), [lab.node(node).mac()], "{seen}");
        let defended = seen
            .announcements
            .iter()
            .filter(|said| said.at > begun && said.mac == lab.node(node).mac())
            .count();
        assert!(
            (1..=2).contains(&defended),
            "at most once in 10 s, a request and a reply: {defended}, {seen}"
        );
        wait::eventually("an Event names the stranger", SOON, || {
            let events = lab.kubectl(&["get", "events", "-A", "-o", "json"]);
            events.contains(&stranger.to_string()).then_some(()).ok_or(events)
        });
        wait::eventually("the address's owner says who it is", SOON, || {
            let shown = lab.kubectl(&["get", "addressowners", "-o", "json"]);
            shown.contains(&stranger.to_string()).then_some(()).ok_or(shown)
        });
        let metrics = lab.speaker(node).metrics();
        assert!(metrics.contains(&stranger.to_string()), "{metrics}");
    }
}
