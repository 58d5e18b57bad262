//! Nothing fails, but the processors are busy and frames are lost: nothing should move.

use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::scene::Scene;
use crate::Family;
use crate::bench::Form;
use crate::bench::report::Report;
use crate::bench::series::Series;
use crate::fault::Fault;
use crate::vrrp::Vrrp;
use crate::witness::{Testimony, Witness};

/// Slow: with one question in a hundred lost, who answers is what matters.
const EVERY: Duration = Duration::from_millis(50);
const LOSS: u32 = 1;
/// What it takes: so much is lost until something moves.
const MORE: [u32; 5] = [2, 5, 10, 20, 30];

#[track_caller]
pub(super) fn measure(scene: &mut Scene<'_>, report: &mut Report, form: Form) {
    let length = Duration::from_secs(form.of(60, 600));
    eprintln!("  busy processors, {LOSS} % of frames lost: {} s", length.as_secs());
    let busy = Busy::start();
    let what = format!("{} s busy, {LOSS} % lost", length.as_secs());
    let [ours, vrrp] = watch(scene, LOSS, length);
    report.series.push(ours.changes(&what).aim("0"));
    report.series.push(ours.doubled(&what).aim("0"));
    report.series.push(vrrp.changes(&format!("{what}, VRRP")));
    report.series.push(vrrp.doubled(&format!("{what}, VRRP")));
    let mut said = "none of up to 30 % moved anything".to_owned();
    for loss in MORE {
        let counts = watch(scene, loss, Duration::from_secs(form.of(10, 60))).map(|seen| seen.count());
        let [count, vrrp] = counts;
        eprintln!("  … {loss} % lost: {count} changes of owner, {vrrp} with VRRP");
        if count > 0 {
            said = format!("{loss} % moved an address {count} times");
            break;
        }
    }
    drop(busy);
    report.notes.push(format!("Busy processors and more loss, {} s each: {said}.", form.of(10, 60)));
}

/// What witnesses of several addresses saw.
struct Seen(Vec<Testimony>);

impl Seen {
    fn each(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|testimony| testimony.reigns().len().saturating_sub(1) as u64)
    }

    fn count(&self) -> u64 {
        self.each().sum()
    }

    fn changes(&self, what: &str) -> Series {
        let mut series = Series::new(format!("{what}: changes of owner, an address"), "");
        self.each().for_each(|count| series.count(count));
        series
    }

    fn doubled(&self, what: &str) -> Series {
        let mut series = Series::milliseconds(format!("{what}: two answered, an address"));
        self.0.iter().for_each(|testimony| series.between(Duration::ZERO, testimony.doubled_for()));
        series
    }
}

/// Of our addresses, and of those of VRRP.
#[track_caller]
fn watch(scene: &Scene<'_>, loss: u32, length: Duration) -> [Seen; 2] {
    scene.owners();
    let nodes = 1..=scene.lab.nodes().len();
    let of_vrrp = nodes.flat_map(|node| Family::BOTH.map(|family| Vrrp::address(node, family)));
    let addresses = [scene.addresses.clone(), of_vrrp.collect()];
    let _loss: Vec<Fault> = scene.lab.nodes().iter().map(|node| node.lose_sent(loss)).collect();
    let client = scene.lab.client();
    let witness = |ip: &IpAddr| client.witness_every(*ip, EVERY);
    let witnesses = addresses.map(|addresses| addresses.iter().map(witness).collect::<Vec<_>>());
    thread::sleep(length);
    witnesses.map(|witnesses| Seen(witnesses.into_iter().map(Witness::stop).collect()))
}

/// A loop on every processor, of the lowest priority that an ordinary program can have.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let mut command = Command::new("nice");
            command.args(["-n", "19", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().expect("a shell starts")
        };
        Self((0..cores).map(start).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
