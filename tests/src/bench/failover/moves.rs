//! Moves that somebody asked for, and two halves of the segment that find each other again.

use std::thread;
use std::time::Duration;

use super::scene::{CALM, Noticed, SOON, Scene, Victim};
use crate::bench::report::Report;
use crate::bench::series::Series;
use crate::bench::{Form, Progress};
use crate::fault::{self, Fault};
use crate::{Host, clock, wait};

const LIMIT: Duration = Duration::from_secs(3600);
/// After a move or a heal.
const SETTLES: Duration = Duration::from_millis(1500);
/// How long the halves are apart: more than a detection.
const APART: Duration = Duration::from_secs(1);
/// Connections that were there before are reset by any move.
const MOVED: &str = "0 datagrams, 0 new";
const ONE_OWNER: &str = "≤ 200";

/// A node is drained.
#[track_caller]
pub(super) fn drain(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let mut noticed = Noticed::new("drain", MOVED);
    for _ in Progress::new("the owner is drained", form.of(4, 30), LIMIT).samples() {
        let victim = scene.pick();
        let watching = scene.watch(&victim.addresses);
        scene.lab.drain(victim.node);
        scene.wait_left(&victim);
        thread::sleep(SETTLES);
        watching.stop().iter().for_each(|watched| noticed.note(watched));
        scene.lab.end_drain(victim.node);
        thread::sleep(CALM);
    }
    report.tallies.push(noticed.into_tally());
}

/// An address is asked to move.
#[track_caller]
pub(super) fn request(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let mut noticed = Noticed::new("move", MOVED);
    for _ in Progress::new("the address is moved", form.of(4, 30), LIMIT).samples() {
        let victim = scene.pick();
        let to = victim.node % scene.lab.nodes().len() + 1;
        let watching = scene.watch(&victim.addresses);
        victim.addresses.iter().for_each(|address| scene.lab.move_to(*address, to));
        scene.wait_left(&victim);
        thread::sleep(SETTLES);
        watching.stop().iter().for_each(|watched| noticed.note(watched));
    }
    report.tallies.push(noticed.into_tally());
}

/// Another node is preferred from now on.
#[track_caller]
pub(super) fn prefer(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let mut noticed = Noticed::new("another node is preferred", MOVED);
    for _ in Progress::new("another node is preferred", form.of(4, 30), LIMIT).samples() {
        let victim = scene.pick();
        let preferred = victim.node % scene.lab.nodes().len() + 1;
        let watching = scene.watch(&victim.addresses);
        advertise(
            scene,
            &format!(
                "{{ipAddressPools: [segment], preferredNodeSelectors: [{{weight: 100, preference: \
             {{matchLabels: {{kubernetes.io/hostname: {}}}}}}}]}}",
                scene.lab.node(preferred).name()
            ),
        );
        scene.wait_left(&victim);
        thread::sleep(SETTLES);
        watching.stop().iter().for_each(|watched| noticed.note(watched));
    }
    advertise(scene, "{ipAddressPools: [segment]}");
    report.tallies.push(noticed.into_tally());
}

#[track_caller]
fn advertise(scene: &Scene<'_>, spec: &str) {
    scene.lab.apply(&format!(
        "apiVersion: ferritelb.io/v1beta1\nkind: L2Advertisement\nmetadata: {{name: segment}}\nspec: {spec}\n"
    ));
}

/// The owner and the other nodes do not hear each other; clients and gateway hear all.
#[track_caller]
pub(super) fn partition(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let what = "partition heals";
    let mut noticed = Noticed::new(what, "0 datagrams");
    let mut one_owner = Series::milliseconds(format!("{what}: until one owner is left")).aim(ONE_OWNER);
    for _ in Progress::new("a partition heals", form.of(4, 30), LIMIT).samples() {
        let victim = scene.pick();
        let apart = split(scene, victim.node);
        thread::sleep(APART);
        wait_answered(scene, &victim);
        let watching = scene.watch(&victim.addresses);
        let at = clock::wall();
        apart.heal();
        thread::sleep(SETTLES);
        for watched in watching.stop() {
            let watched = watched.since(at);
            one_owner.between(Duration::ZERO, watched.two_until(at));
            noticed.note(&watched);
        }
    }
    report.series.push(one_owner);
    report.tallies.push(noticed.into_tally());
}

#[track_caller]
fn split(scene: &Scene<'_>, node: usize) -> Fault {
    let alone = scene.lab.node(node);
    let others: Vec<&Host> = scene.lab.nodes().iter().filter(|host| host.name() != alone.name()).collect();
    fault::partition(&[alone], &others)
}

/// Whoever answers: the halves may both.
#[track_caller]
fn wait_answered(scene: &Scene<'_>, victim: &Victim) {
    wait::eventually("each half has its owner, or one has", SOON, || {
        let macs = scene.lab.client().resolve_all(&victim.addresses);
        let good = macs.values().all(|macs| !macs.is_empty());
        if good { Ok(()) } else { Err(format!("{macs:?}")) }
    });
}
