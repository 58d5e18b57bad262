//! The lab's own tests: the wires carry, each fault does what its name says, and nothing is left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use lab::capture::{Capture, Frame};
use lab::fault::{Direction, partition};
use lab::meter::Continuity;
use lab::{Family, Host, Request, Solicitation, Topology, clock, run, serve, wait};

const PORT: u16 = 8080;
/// Far beyond what is expected: this machine has two busy cores.
const SOON: Duration = Duration::from_secs(30);
const MS: Duration = Duration::from_millis(1);

fn at(host: &Host, family: Family) -> SocketAddr {
    SocketAddr::new(host.address(family), PORT)
}

/// What the client's meter sees of a node while `fault` happens.
fn measured(lab: &Topology, node: &Host, fault: impl FnOnce()) -> Continuity {
    let _server = serve::udp_name(node, node.v4().into(), PORT, node.name());
    let probe = lab.client().probe(at(node, Family::V4));
    thread::sleep(200 * MS);
    fault();
    thread::sleep(300 * MS);
    probe.stop()
}

fn reaches(from: &Host, to: &Host) -> bool {
    let _server = serve::http(to, to.v4().into(), PORT, to.name());
    let answer = from.vantage().http_within(to.v4().into(), PORT, 500 * MS);
    answer.is_ok()
}

/// A neighbour that was given up is asked for again within some seconds.
fn reaches_again(from: &Host, to: &Host) {
    let what = format!("{} reaches {}", from.name(), to.name());
    wait::eventually(&what, SOON, || reaches(from, to).then_some(()).ok_or("not yet"));
}

#[test]
fn the_client_reaches_a_server_on_each_node_in_two_labs_side_by_side() {
    let labs = [Topology::up("net: one"), Topology::up("net: two")];
    assert_ne!(labs[0].name(), labs[1].name());
    for lab in &labs {
        for node in lab.nodes() {
            for family in Family::BOTH {
                let name = format!("{} {}", lab.name(), node.name());
                let _server = serve::http(node, node.address(family), PORT, &name);
                let answer = lab.client().http(node.address(family), PORT);
                assert_eq!(answer.unwrap(), name);
            }
        }
    }
}

#[test]
fn the_outside_client_comes_by_the_router_it_is_told() {
    let lab = Topology::up("net: outside");
    let node = lab.node(2);
    for family in Family::BOTH {
        let _server = serve::http(node, node.address(family), PORT, "n2");
        for router in [lab.frr(), lab.bird()] {
            let syn = |frame: &Frame| frame.ether_type() != 0x0806;
            let capture = Capture::start(router, "eth1", syn);
            let answer = lab.ext().via(router).http(node.address(family), PORT);
            assert_eq!(answer.unwrap(), "n2");
            let passed = capture.stop();
            assert!(passed.iter().any(|frame| frame.outgoing), "{passed:?}");
            assert!(passed.iter().any(|frame| !frame.outgoing), "{passed:?}");
        }
    }
}

#[test]
fn a_pod_is_reached_on_its_node_and_the_control_plane_on_its_own_network() {
    let lab = Topology::up("net: pods");
    let pods: [IpAddr; 2] = ["10.244.3.9".parse().unwrap(), "fd10:244:3::9".parse().unwrap()];
    for pod in pods {
        lab.node(3).add_local(pod);
        let _server = serve::http(lab.node(3), pod, PORT, "pod");
        for host in [lab.node(1), lab.client()] {
            assert_eq!(host.http(pod, PORT).unwrap(), "pod");
        }
    }
    let api = lab.cp().management().into();
    let _server = serve::http(lab.cp(), api, PORT, "api");
    assert_eq!(lab.node(1).http(api, PORT).unwrap(), "api");
    assert!(lab.client().http(api, PORT).is_err());
    let segment = lab.node(1).cut();
    assert_eq!(lab.node(1).http(api, PORT).unwrap(), "api");
    segment.heal();
    let management = lab.node(1).cut_management();
    assert!(lab.node(1).http(api, PORT).is_err());
    assert!(reaches(lab.client(), lab.node(1)));
    management.heal();
    assert_eq!(lab.node(1).http(api, PORT).unwrap(), "api");
}

#[test]
fn an_undisturbed_flow_has_no_gap_worth_the_name() {
    let lab = Topology::up("net: quiet");
    let seen = measured(&lab, lab.node(1), || thread::sleep(500 * MS));
    assert!(seen.sent > 100, "{seen}");
    assert!(seen.longest_gap < 100 * MS, "{seen}");
    assert_eq!(seen.owners(), BTreeSet::from(["n1"]));
    assert_eq!(seen.duplicates, 0);
}

#[test]
fn a_silent_cut_reads_as_long_as_it_lasted() {
    let lab = Topology::up("net: cut");
    for length in [100 * MS, 500 * MS] {
        let mut lasted = Duration::ZERO;
        let seen = measured(&lab, lab.node(1), || {
            let cut = lab.node(1).cut();
            thread::sleep(length);
            let began = cut.began();
            cut.heal();
            lasted = clock::now() - began;
        });
        assert!(lasted >= length);
        assert!(seen.longest_gap >= length - 10 * MS, "{length:?}: {seen}");
        assert!(seen.longest_gap <= lasted + 200 * MS, "{lasted:?}: {seen}");
        assert_eq!(seen.last_owners()[&0], "n1");
    }
}

#[test]
fn a_one_way_cut_loses_that_way_alone() {
    let lab = Topology::up("net: one way");
    let node = lab.node(1);
    let udp_in = |frame: &Frame| !frame.outgoing && frame.bytes.get(23) == Some(&17);
    for lost in [Direction::FromHost, Direction::ToHost] {
        let mut heard = 0;
        let seen = measured(&lab, node, || {
            let cut = node.one_way(lost);
            let capture = Capture::start(node, "eth0", udp_in);
            thread::sleep(200 * MS);
            heard = capture.stop().len();
            cut.heal();
        });
        assert!(seen.longest_gap >= 200 * MS, "{lost:?}: {seen}");
        assert_eq!(heard > 0, lost == Direction::FromHost, "{lost:?}: {heard}");
    }
}

#[test]
fn a_partition_separates_the_sides_and_nobody_else() {
    let lab = Topology::up("net: partition");
    let (n1, n2, n3) = (lab.node(1), lab.node(2), lab.node(3));
    {
        let _apart = partition(&[n1], &[n2, n3]);
        assert!(!reaches(n1, n2));
        assert!(!reaches(n3, n1));
        assert!(reaches(n2, n3));
        assert!(lab.nodes().iter().all(|node| reaches(lab.client(), node)));
    }
    reaches_again(n1, n2);
}

#[test]
fn an_unplugged_node_sees_it_and_has_its_routes_back_after() {
    let lab = Topology::up("net: unplug");
    let node = lab.node(1);
    let routes = || node.sh(&["ip", "route"]) + &node.sh(&["ip", "-6", "route"]);
    let before = routes();
    let pulled = node.unplug();
    assert!(node.sh(&["ip", "link", "show", "eth0"]).contains("NO-CARRIER"));
    let other = lab.node(2).sh(&["ip", "link", "show", "eth0"]);
    assert!(!other.contains("NO-CARRIER"));
    assert!(!reaches(lab.client(), node));
    pulled.heal();
    reaches_again(lab.client(), node);
    assert_eq!(sorted(&before), sorted(&routes()));
}

fn sorted(routes: &str) -> BTreeSet<&str> {
    routes.lines().map(str::trim).collect()
}

#[test]
fn loss_of_one_kind_spares_the_others() {
    let lab = Topology::up("net: loss");
    let (client, node) = (lab.client(), lab.node(1));
    assert_eq!(client.arp(node.v4()), [node.mac()].into());
    let loss = node.lose("ether type arp");
    assert!(client.arp(node.v4()).is_empty());
    assert_eq!(client.ndp(node.v6()), [node.mac()].into());
    loss.heal();
    assert_eq!(client.arp(node.v4()), [node.mac()].into());
}

#[test]
fn every_form_of_arp_and_ndp_question_is_answered_by_each_owner() {
    let lab = Topology::up("net: questions");
    let (client, node) = (lab.client(), lab.node(1));
    for request in [Request::Broadcast, Request::Unicast(node.mac()), Request::Probe] {
        let owners = client.arp_as(node.v4(), request);
        assert_eq!(owners, [node.mac()].into(), "{request:?}");
    }
    let solicitations = [
        Solicitation::Multicast,
        Solicitation::MulticastWithoutOption,
        Solicitation::Unicast(node.mac()),
        Solicitation::UnicastWithoutOption(node.mac()),
        Solicitation::Probe,
    ];
    for solicitation in solicitations {
        let owners = client.ndp_as(node.v6(), solicitation);
        assert_eq!(owners, [node.mac()].into(), "{solicitation:?}");
    }
    assert!(client.arp("10.77.0.200".parse().unwrap()).is_empty());
    let shared: [IpAddr; 2] = ["10.77.0.201".parse().unwrap(), "fd77::201".parse().unwrap()];
    for address in shared {
        lab.node(1).add_on_segment(address);
        lab.node(2).add_on_segment(address);
        assert_eq!(client.resolve(address), [lab.node(1).mac(), lab.node(2).mac()].into());
    }
}

#[test]
fn a_frozen_program_says_nothing_and_a_thawed_one_goes_on() {
    let lab = Topology::up("net: freeze");
    let mut clock = Command::new("sh");
    clock.args(["-c", "while :; do echo tick; sleep 0.02; done"]);
    let clock = lab.node(1).spawn("clock", &clock);
    clock.wait_log("tick\ntick\ntick", SOON);
    clock.freeze();
    thread::sleep(100 * MS);
    let frozen = clock.log().len();
    thread::sleep(200 * MS);
    assert_eq!(clock.log().len(), frozen);
    clock.thaw();
    wait::eventually("it goes on", SOON, || (clock.log().len() > frozen).then_some(()).ok_or("silence"));
    clock.kill();
    assert!(clock.ended().is_some());
    wait::eventually("its last child ends", SOON, || {
        let left = lab.node(1).processes();
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    });
}

#[test]
fn what_a_lab_made_goes_with_it() {
    let lab = Topology::up("net: leftovers");
    let (name, dir) = (lab.name().to_owned(), lab.dir().to_owned());
    let sleep = lab.node(1).spawn("sleep", Command::new("sleep").arg("600"));
    lab.node(2).sh(&stray("601").each_ref().map(String::as_str));
    let stray = lab.node(2).processes();
    assert_eq!(stray.len(), 1);
    assert!(namespaces().iter().any(|n| n.starts_with(&format!("{name}-"))));
    drop(lab);
    assert!(sleep.ended().is_some());
    for pid in stray {
        wait::eventually("the stray program is gone", SOON, || gone(pid.as_raw()));
    }
    assert!(namespaces().iter().all(|n| !n.starts_with(&format!("{name}-"))));
    assert!(!dir.exists());
}

/// A program that takes itself out of the harness's hands.
fn stray(seconds: &str) -> [String; 3] {
    let line = format!("setsid --fork sleep {seconds} >/dev/null 2>&1");
    ["sh".into(), "-c".into(), line]
}

fn namespaces() -> Vec<String> {
    let listed = run::run(Command::new("ip").args(["netns", "list"]));
    listed.lines().map(str::to_owned).collect()
}

/// Gone, or waiting for its parent to notice.
fn gone(pid: i32) -> Result<(), String> {
    match std::fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) if !status.contains("State:\tZ") => Err(status),
        _ => Ok(()),
    }
}

#[test]
fn a_lab_left_standing_stands_until_it_is_taken_down() {
    let lab = Topology::to_stand("net: standing");
    let dir = lab.dir().to_owned();
    let pid = lab.node(1).spawn("sleep", Command::new("sleep").arg("604")).pid();
    let name = lab.leave_standing();
    lab::sweep();
    assert!(dir.exists());
    assert!(gone(pid.as_raw()).is_err());
    assert!(namespaces().iter().any(|n| n.starts_with(&format!("{name}-"))));
    assert!(lab::take_down_one(&name));
    wait::eventually("its program is gone", SOON, || gone(pid.as_raw()));
    assert!(namespaces().iter().all(|n| !n.starts_with(&format!("{name}-"))));
    assert!(!dir.exists());
    assert!(!lab::take_down_one(&name));
}

/// Where the harness that is going to be killed tells of its lab.
const SAYS: &str = "LAB_VICTIM_SAYS";

/// What the next test kills, in a process of its own: it tells its lab's name and waits for its end.
fn be_killed(says: &OsStr) {
    let lab = Topology::up("net: victim");
    let sleep = lab.node(1).spawn("sleep", Command::new("sleep").arg("602"));
    lab.node(2).sh(&stray("603").each_ref().map(String::as_str));
    std::fs::write(says, format!("{} {}", lab.name(), sleep.pid())).unwrap();
    thread::sleep(Duration::from_secs(120));
}

#[test]
fn a_killed_harness_leaves_nothing() {
    if let Some(says) = std::env::var_os(SAYS) {
        return be_killed(&says);
    }
    let lab = Topology::up("net: killer");
    let says = lab.dir().join("victim");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_harness_leaves_nothing"])
        .env(SAYS, &says)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let said = wait::eventually("the victim has a lab", SOON, || {
        std::fs::read_to_string(&says).map_err(|error| error.to_string())
    });
    let (name, sleep) = said.split_once(' ').unwrap();
    assert!(namespaces().iter().any(|n| n.starts_with(&format!("{name}-"))));
    victim.kill().unwrap();
    victim.wait().unwrap();
    wait::eventually("the namespaces are gone", SOON, || {
        let left = namespaces();
        let gone = left.iter().all(|n| !n.starts_with(&format!("{name}-")));
        gone.then_some(()).ok_or(format!("{left:?}"))
    });
    wait::eventually("its program is gone", SOON, || gone(sleep.parse().unwrap()));
    wait::eventually("its folder is gone", SOON, || {
        let left = Path::new("/run/flb").join(name).exists();
        (!left).then_some(()).ok_or("still there")
    });
    assert_eq!(lab.node(1).arp(lab.node(2).v4()), [lab.node(2).mac()].into());
}
