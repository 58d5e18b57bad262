//! The longest gap that a client sees when a node is silently cut from the segment and from the API server.
//!
//! Traffic is `Local`, so that a pod behind the cut node takes no part in what is left.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::report::Report;
use super::series::Series;
use super::{Form, Progress};
use crate::kube::light::Lab;
use crate::meter;
use crate::router::{Config, Router};
use crate::{Family, Host, Mac, fault, wait};

const SHORT: Duration = Duration::from_secs(120);
const FULL: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(30);
/// Of undisturbed traffic, before a fault and after its end is seen.
const CALM: Duration = Duration::from_millis(500);
/// From one spread of flows over three next hops, some go to the node that is cut.
const FLOWS: usize = 12;
const CUT: usize = 2;

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    eprintln!("failover: raising a lab with the product and both routers");
    let lab = Lab::up("bench: failover");
    lab.frr().start(&Config::default());
    lab.bird().start(&Config::default());
    lab.plane().apply_samples();
    let local = |pool: &str| {
        json!({ "metadata": { "annotations": { "ferritelb.io/address-pool": pool } },
                "spec": { "externalTrafficPolicy": "Local" } })
    };
    let near = lab.expose_with("near", &[1, 2, 3], &local("segment")).wait_address_of(Family::V4);
    let far = lab.expose_with("far", &[1, 2, 3], &local("routed")).wait_address_of(Family::V4);
    let count = form.of(2, 20);
    let mut segment = Series::milliseconds("L2: longest gap of one flow, NotReady written at once");
    let mut written = Series::milliseconds("L2: of it, until NotReady was written (the harness)");
    for _ in Progress::new("L2, a node cut", count, form.of(SHORT, FULL)).samples() {
        let (gap, writing) = segment_gap(&lab, near);
        segment.between(Duration::ZERO, gap);
        written.between(Duration::ZERO, writing);
    }
    let mut routed = [lab.bird(), lab.frr()].map(|router| {
        let what = format!("BGP: longest gap of {FLOWS} flows through {}, hold 3 s", router.name());
        Series::milliseconds(what)
    });
    for _ in Progress::new("BGP, a node cut", count, form.of(SHORT, FULL)).samples() {
        for (series, gap) in routed.iter_mut().zip(routed_gaps(&lab, far)) {
            series.between(Duration::ZERO, gap);
        }
    }
    let series = [segment, written].into_iter().chain(routed).collect();
    let mut report = Report::new("failover", "A node is cut: the client's longest gap", series);
    report.notes.push(
        "The election on the segment waits for the API server to call the node NotReady. The harness writes that \
         as soon as the cut is in force; in a cluster it takes the node-monitor grace period, 40 to 50 s, more."
            .to_owned(),
    );
    report
}

/// The gap; and how long the cut had lasted when the API server had been told of it.
#[track_caller]
fn segment_gap(lab: &Lab, vip: IpAddr) -> (Duration, Duration) {
    let owner = lab.wait_owner(vip, SOON);
    let probe = lab.client().probe(SocketAddr::new(vip, 80));
    thread::sleep(CALM);
    let cut = cut(lab.node(owner));
    lab.node_not_ready(owner);
    let writing = cut[1].began().elapsed();
    let heir = wait::eventually("another node answers", SOON, || heir(lab, vip, lab.node(owner).mac()));
    thread::sleep(CALM);
    let continuity = probe.stop();
    let answered = continuity.last_owners().values().any(|name| name.ends_with(&format!("n{heir}")));
    assert!(answered, "node {heir} serves: {continuity}");
    for fault in cut {
        fault.heal();
    }
    lab.node_ready(owner);
    wait::eventually("the ranking decides again", SOON, || match lab.wait_owner(vip, SOON) {
        same if same == owner => Ok(()),
        other => Err(format!("node {other}")),
    });
    (continuity.longest_gap, writing)
}

/// Of BIRD and FRR, measured in one cut.
#[track_caller]
fn routed_gaps(lab: &Lab, vip: IpAddr) -> [Duration; 2] {
    let routers = [lab.bird(), lab.frr()];
    let all: Vec<&Host> = lab.nodes().iter().collect();
    let rest: Vec<&Host> = all.iter().copied().filter(|node| node.name() != lab.node(CUT).name()).collect();
    wait_routes(routers, vip, &all);
    let target = SocketAddr::new(vip, 80);
    let probes = routers.map(|router| meter::probe(&lab.ext().via(router), target, meter::SPACING, FLOWS));
    thread::sleep(CALM);
    let cut = cut(lab.node(CUT));
    wait_routes(routers, vip, &rest);
    thread::sleep(CALM);
    let gaps = probes.map(|probe| probe.stop().longest_gap);
    for fault in cut {
        fault.heal();
    }
    wait_routes(routers, vip, &all);
    gaps
}

#[track_caller]
fn wait_routes(routers: [&Router; 2], vip: IpAddr, hosts: &[&Host]) {
    for router in routers {
        router.wait_vip(vip, hosts, SOON);
    }
}

/// Nothing passes between the node and the rest of the world; the segment goes last.
#[track_caller]
fn cut(node: &Host) -> [fault::Fault; 2] {
    [node.cut_management(), node.cut()]
}

/// A node other than the one with that address.
fn heir(lab: &Lab, vip: IpAddr, former: Mac) -> Result<usize, String> {
    let macs = lab.client().resolve(vip);
    let answers = |number: &usize| macs.contains(&lab.node(*number).mac());
    let mut others = (1..=lab.nodes().len()).filter(|number| lab.node(*number).mac() != former);
    others.find(answers).ok_or_else(|| format!("{macs:?}"))
}
