//! Addresses are probed before a Service gets them: what another host on the segment has is not given out. Asserted
//! with a host that has addresses, and with the probes that it sees.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use lab::capture::{Arp, Capture, Frame, Ndp};
use lab::kube::light::Lab;
use lab::kube::object;
use lab::kube::service::Service;
use lab::{Mac, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// For looking whether something changes that must not.
const WHILE: Duration = Duration::from_secs(3);
/// A taken address is looked at again within this, and what is found is told.
const AGAIN: Duration = Duration::from_secs(40);
const HELD: [&str; 2] = ["10.77.0.200", "fd77::200"];
const NEXT: [&str; 2] = ["10.77.0.201", "fd77::201"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A lab where a host of the segment has the first addresses of the pool.
fn lab(purpose: &str, probe: &str) -> Lab {
    let lab = Lab::up(purpose);
    HELD.iter().for_each(|held| lab.client().add_on_segment(ip(held)));
    lab.plane().apply_samples();
    lab.kubectl(&["patch", "ipaddresspool", "segment", "--type=merge", "-p", &spec(probe)]);
    lab
}

fn spec(probe: &str) -> String {
    json!({ "spec": { "probe": probe } }).to_string()
}

/// What the speakers say that they have found: each address, and where it is.
fn found(lab: &Lab) -> BTreeMap<IpAddr, BTreeSet<Option<Mac>>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for speaker in lab.plane().kube().cluster::<api::SpeakerStatus>().list("") {
        for (address, mac) in speaker.status.unwrap_or_default().probed() {
            found.entry(address).or_default().insert(mac.map(|mac| Mac(mac.octets())));
        }
    }
    found
}

/// Waits until the pool's next addresses of both families are known to be free, and those that are held to be taken.
fn wait_probed(lab: &Lab) {
    wait::eventually("the pool's next addresses have been probed", SOON, || {
        let found = found(lab);
        let is = |text: &&str, mac| found.get(&ip(text)) == Some(&BTreeSet::from([mac]));
        let held = HELD.iter().all(|text| is(text, Some(lab.client().mac())));
        (held && NEXT.iter().all(|text| is(text, None))).then_some(()).ok_or(format!("{found:?}"))
    });
}

fn asking<'a>(lab: &'a Lab, name: &'a str, address: &str) -> Service<'a> {
    let family = if ip(address).is_ipv4() { "IPv4" } else { "IPv6" };
    let annotation = json!({ "metadata": { "annotations": { "ferritelb.io/loadBalancerIPs": address } } });
    let mut changes = json!({ "spec": { "ipFamilyPolicy": "SingleStack", "ipFamilies": [family] } });
    changes["metadata"] = annotation["metadata"].clone();
    lab.expose_with(name, &[1, 2, 3], &changes)
}

#[test]
fn what_another_host_has_is_not_given_out_until_it_leaves() {
    let lab = lab("probing: held", "Quick");
    wait_probed(&lab);
    let mac = lab.client().mac().to_string();

    let web = lab.expose("web", &[1, 2, 3]);
    web.wait_has(&NEXT);
    for (index, held) in HELD.iter().enumerate() {
        let name = ["one", "two"][index];
        asking(&lab, name, held).wait_refused("AddressTaken", &[held, &mac]);
    }
    let told = format!("{} is answered for by {mac}", HELD[0]);
    wait::eventually("the pool's condition names it", SOON, || {
        let pool = lab.kubectl(&["get", "ipaddresspool", "segment", "-o", "json"]);
        pool.contains(&told).then_some(()).ok_or(pool)
    });

    HELD.iter().for_each(|held| lab.client().remove_on_segment(ip(held)));
    for (index, held) in HELD.iter().enumerate() {
        let name = ["one", "two"][index];
        wait::eventually("the address is free by now", AGAIN, || {
            let shown = lab.service(name).addresses();
            (shown == [ip(held)]).then_some(()).ok_or(format!("{shown:?}"))
        });
        lab.wait_owner(ip(held), SOON);
    }
    assert_eq!(web.addresses(), NEXT.map(ip), "nothing has moved");
}

#[test]
fn an_address_that_a_service_names_is_probed_before_its_status_is_written() {
    let lab = lab("probing: named", "Quick");
    wait_probed(&lab);
    let mac = lab.client().mac().to_string();
    let named = ["10.77.0.245", "fd77::2f5"];
    named.iter().for_each(|address| lab.client().add_on_segment(ip(address)));
    for (index, address) in named.iter().enumerate() {
        let name = ["one", "two"][index];
        let web = asking(&lab, name, address);
        web.wait_refused("AddressTaken", &[address, &mac]);
        assert_eq!(web.addresses(), Vec::<IpAddr>::new());
    }
    let free = asking(&lab, "three", "10.77.0.246");
    free.wait_has(&["10.77.0.246"]);
}

#[test]
fn a_pool_whose_addresses_are_not_to_be_probed_gives_out_what_another_host_has() {
    let lab = lab("probing: off", "Off");
    let capture = Capture::start(lab.client(), "eth0", |frame| !frame.outgoing);
    lab.expose("web", &[1, 2, 3]).wait_has(&HELD);
    std::thread::sleep(WHILE);
    assert_eq!(found(&lab), BTreeMap::new());
    let frames = capture.stop();
    let of_pool = probes(&frames)
        .into_iter()
        .filter(|probe| probe.address != ip(HELD[0]) && probe.address != ip(HELD[1]));
    assert_eq!(of_pool.count(), 0);
}

#[test]
fn whoever_takes_an_address_that_a_service_has_does_not_move_it() {
    let lab = lab("probing: later", "Quick");
    wait_probed(&lab);
    let web = lab.expose("web", &[1, 2, 3]);
    web.wait_has(&NEXT);
    lab.client().add_on_segment(ip(NEXT[0]));
    std::thread::sleep(WHILE);
    lab.controller().restart();
    lab.controller().wait_ready();
    std::thread::sleep(WHILE);
    assert_eq!(web.addresses(), NEXT.map(ip));
}

/// A probe that a host of the segment sees.
struct Probe {
    address: IpAddr,
    from: Mac,
    at: Duration,
}

fn probes(frames: &[Frame]) -> Vec<Probe> {
    let target = |frame: &Frame| {
        let arp = |arp: Arp| arp.sender.is_unspecified().then_some(IpAddr::from(arp.target));
        let ndp = |ndp: Ndp| ndp.source.is_unspecified().then_some(IpAddr::from(ndp.target));
        frame.arp().and_then(arp).or_else(|| frame.ndp().and_then(ndp))
    };
    let probe = |frame: &Frame| Some(Probe { address: target(frame)?, from: frame.source(), at: frame.at });
    frames.iter().filter_map(probe).collect()
}

/// Nodes and pods probe their own addresses too.
fn is_of_pool(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address >= Ipv4Addr::new(10, 77, 0, 200),
        IpAddr::V6(address) => {
            address >= Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x200) && !address.is_unicast_link_local()
        }
    }
}

#[test]
fn two_nodes_probe_the_next_addresses_of_each_family_and_nothing_else() {
    let lab = Lab::up("probing: packets");
    let capture = Capture::start(lab.client(), "eth0", |frame| !frame.outgoing);
    lab.plane().apply_samples();
    // Sixteen of each family, and what the reservation of the samples has.
    let known: BTreeSet<_> = wait::eventually("both families have been probed", SOON, || {
        let found = found(&lab);
        (found.len() == 34).then(|| found.keys().copied().collect()).ok_or(format!("{found:?}"))
    });
    let frames = capture.stop();
    let mut seen: BTreeMap<IpAddr, BTreeMap<Mac, Vec<Duration>>> = BTreeMap::new();
    for Probe { address, from, at } in probes(&frames) {
        if is_of_pool(address) {
            seen.entry(address).or_default().entry(from).or_default().push(at);
        }
    }
    assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), known);
    for (address, by) in &seen {
        assert_eq!(by.len(), 2, "two nodes probe {address}: {by:?}");
        for times in by.values() {
            assert_eq!(times.len(), 2, "{address}: {times:?}");
            assert!(times[1] - times[0] >= Duration::from_millis(90), "{address}: {times:?}");
        }
    }
}

#[test]
fn full_probing_asks_three_times_at_least_a_second_apart() {
    let lab = Lab::up("probing: full");
    let capture = Capture::start(lab.client(), "eth0", |frame| !frame.outgoing);
    lab.apply(
        "
apiVersion: ferritelb.io/v1beta1
kind: L2Advertisement
metadata:
  name: full
spec: {}
",
    );
    let spec: Value = json!({ "addresses": ["10.77.0.230/32"], "probe": "Full" });
    lab.plane().kube().cluster::<api::IpAddressPool>().create(&object("IPAddressPool", "full", &spec));
    let single = json!({ "spec": { "ipFamilyPolicy": "SingleStack" } });
    lab.expose_with("web", &[1], &single).wait_has(&["10.77.0.230"]);
    let frames = capture.stop();
    let mut seen: BTreeMap<Mac, Vec<Duration>> = BTreeMap::new();
    for probe in probes(&frames) {
        if probe.address == ip("10.77.0.230") {
            seen.entry(probe.from).or_default().push(probe.at);
        }
    }
    assert!(!seen.is_empty());
    let whole = seen.values().filter(|times| times.len() >= 3);
    assert!(whole.clone().count() >= 1, "{seen:?}");
    for times in whole {
        assert!(
            times.windows(2).take(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(950)),
            "{times:?}"
        );
    }
}
