//! Behind routers: the longest gap of any flow when a node is silently cut from the segment and the API server.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use super::scene::{CALM, SOON, cut_off, local};
use crate::bench::report::Report;
use crate::bench::series::Series;
use crate::bench::{Form, Progress};
use crate::kube::light::Lab;
use crate::meter;
use crate::router::{Config, Router};
use crate::{Family, Host};

const SHORT: Duration = Duration::from_secs(120);
const FULL: Duration = Duration::from_secs(3600);
/// From one spread of flows over three next hops, some go to the node that is cut.
const FLOWS: usize = 12;
const CUT: usize = 2;

#[track_caller]
pub(super) fn measure(report: &mut Report, form: Form) {
    eprintln!("failover: raising a lab with both routers");
    let lab = Lab::up("bench: failover behind routers");
    lab.frr().start(&Config::default());
    lab.bird().start(&Config::default());
    lab.plane().apply_samples();
    let far = lab.expose_with("far", &[1, 2, 3], &local("routed")).wait_address_of(Family::V4);
    let mut routed = [lab.bird(), lab.frr()].map(|router| {
        let what = format!("BGP: longest gap of {FLOWS} flows through {}, hold 3 s", router.name());
        Series::milliseconds(what)
    });
    for _ in Progress::new("BGP, a node cut", form.of(2, 20), form.of(SHORT, FULL)).samples() {
        for (series, gap) in routed.iter_mut().zip(gaps(&lab, far)) {
            series.between(Duration::ZERO, gap);
        }
    }
    report.series.extend(routed);
}

/// Of BIRD and FRR, measured in one cut.
#[track_caller]
fn gaps(lab: &Lab, vip: IpAddr) -> [Duration; 2] {
    let routers = [lab.bird(), lab.frr()];
    let all: Vec<&Host> = lab.nodes().iter().collect();
    let rest: Vec<&Host> = all.iter().copied().filter(|node| node.name() != lab.node(CUT).name()).collect();
    wait_routes(routers, vip, &all);
    let target = SocketAddr::new(vip, 80);
    let probes = routers.map(|router| meter::probe(&lab.ext().via(router), target, meter::SPACING, FLOWS));
    thread::sleep(CALM);
    let cut = cut_off(lab.node(CUT));
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
