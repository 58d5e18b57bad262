//! The owner goes: silently, or with its carrier; and comes back.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::plot;
use super::scene::{CALM, Noticed, Scene, Victim, Watched, cut_off};
use crate::bench::report::Report;
use crate::bench::series::Series;
use crate::bench::{Form, Progress};
use crate::fault::Fault;
use crate::meter::{Continuity, Probe};
use crate::vrrp::{self, Vrrp};
use crate::{Family, Host, clock};

const LIMIT: Duration = Duration::from_secs(7200);
/// Before anyone asks who answers now: the clients and the network are left alone.
const TAKEOVER: Duration = Duration::from_millis(1200);
/// After a heal.
const SETTLES: Duration = Duration::from_millis(1500);
/// Heals that are looked at, of the outages that are.
const HEALS: usize = 40;

const AIM: &str = "p50 ≤ 150, p95 ≤ 250";
const ONE_OWNER: &str = "≤ 200";

/// Of one fault, as clients see it.
struct Outages {
    ours: [Series; 2],
    connections: Series,
    waits: Series,
    resets: Series,
    vrrp: [Series; 2],
    healed: Noticed,
    one_owner: Series,
}

impl Outages {
    fn new(what: &str) -> Self {
        let gap = |who: &str| Series::milliseconds(format!("{what}: {who}"));
        Self {
            ours: [gap("outage, IPv4").aim(AIM), gap("outage, IPv6").aim(AIM)],
            connections: gap("no new connection for"),
            waits: gap("longest wait on a held connection"),
            resets: Series::new(format!("{what}: held connections reset, of 100"), ""),
            vrrp: [gap("outage with VRRP, IPv4"), gap("outage with VRRP, IPv6")],
            healed: Noticed::new(&format!("{what} heals"), "0 datagrams"),
            one_owner: gap("heals: until one owner is left").aim(ONE_OWNER),
        }
    }

    fn note(&mut self, family: Family, watched: &Watched) {
        let seen = &watched.seen;
        of(&mut self.ours, family).between(Duration::ZERO, seen.datagrams.longest_gap);
        self.connections.between(Duration::ZERO, seen.connections.longest_gap);
        self.waits.between(Duration::ZERO, seen.held.longest_wait);
        self.resets.count(seen.held.resets);
    }

    fn report(self, report: &mut Report) {
        let Self { ours, connections, waits, resets, vrrp, healed, one_owner } = self;
        report.series.extend(ours.into_iter().chain(vrrp));
        report.series.extend([connections, waits, resets, one_owner]);
        report.tallies.push(healed.into_tally());
    }
}

fn of(series: &mut [Series; 2], family: Family) -> &mut Series {
    let [v4, v6] = series;
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
}

/// Nothing passes, and nobody is told.
#[track_caller]
pub(super) fn silent_cut(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let mut outages = Outages::new("silent cut");
    for number in Progress::new("the owner is cut", form.of(6, 200), LIMIT).samples() {
        once(scene, &mut outages, number, |node| cut_off(node).into());
    }
    let pairs = [("FerriteLB", &outages.ours), ("VRRP, 0.1 s", &outages.vrrp)];
    report.notes.push(plot::write(&pairs, form));
    outages.report(report);
}

/// The owner sees it too.
#[track_caller]
pub(super) fn carrier_loss(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let mut outages = Outages::new("carrier loss");
    for number in Progress::new("the owner loses its carrier", form.of(4, 30), LIMIT).samples() {
        once(scene, &mut outages, number, |node| vec![node.unplug()]);
    }
    outages.report(report);
}

#[track_caller]
fn once(scene: &mut Scene<'_>, outages: &mut Outages, number: usize, fail: impl Fn(&Host) -> Vec<Fault>) {
    let victim = scene.pick();
    scene.vrrp.wait_master(victim.node);
    let watching = scene.watch(&victim.addresses);
    let baseline = Family::BOTH.map(|family| vrrp_probe(scene, victim.node, family));
    thread::sleep(uneven(number));
    let faults = fail(scene.lab.node(victim.node));
    thread::sleep(TAKEOVER);
    scene.wait_left(&victim);
    thread::sleep(CALM);
    for (series, probe) in outages.vrrp.iter_mut().zip(baseline) {
        let seen: Continuity = probe.stop();
        series.between(Duration::ZERO, seen.longest_gap);
    }
    for (address, watched) in victim.addresses.iter().zip(watching.stop()) {
        if watched.seen.datagrams.lost == 0 {
            eprintln!("  … {address}: {}; {}", watched.seen, watched.testimony);
        }
        outages.note(Family::of(*address), &watched);
    }
    if number < HEALS {
        heal(scene, outages, &victim, faults);
    } else {
        faults.into_iter().for_each(Fault::heal);
    }
}

/// What clients of the new owner notice of the old one's return.
#[track_caller]
fn heal(scene: &Scene<'_>, outages: &mut Outages, victim: &Victim, faults: Vec<Fault>) {
    let watching = scene.watch(&victim.addresses);
    let at = clock::wall();
    faults.into_iter().for_each(Fault::heal);
    thread::sleep(SETTLES);
    for watched in watching.stop() {
        let watched = watched.since(at);
        outages.one_owner.between(Duration::ZERO, watched.two_until(at));
        outages.healed.note(&watched);
    }
}

fn vrrp_probe(scene: &Scene<'_>, node: usize, family: Family) -> Probe {
    scene.lab.client().probe(SocketAddr::new(Vrrp::address(node, family), vrrp::PORT))
}

/// No cut comes at the same place between two heartbeats or advertisements.
fn uneven(number: usize) -> Duration {
    let number = u64::try_from(number).unwrap_or(0);
    Duration::from_micros(number * 37_813 % 100_000)
}
