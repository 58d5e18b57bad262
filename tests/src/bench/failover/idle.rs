//! Nothing fails, but the processors are busy and frames are lost: nothing should move.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::scene::Scene;
use crate::bench::Form;
use crate::bench::report::Report;
use crate::bench::series::Series;
use crate::fault::Fault;
use crate::witness::Witness;

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
    let mut changes =
        Series::new(format!("{} s busy, {LOSS} % lost: changes of owner", length.as_secs()), "");
    let (changed, doubled) = watch(scene, LOSS, length);
    changed.iter().for_each(|count| changes.count(*count));
    report.series.push(changes.aim("0"));
    let mut answered =
        Series::milliseconds(format!("{} s busy, {LOSS} % lost: two answered", length.as_secs()));
    doubled.iter().for_each(|lasted| answered.between(Duration::ZERO, *lasted));
    report.series.push(answered.aim("0"));
    let mut said = "none of up to 30 % moved anything".to_owned();
    for loss in MORE {
        let (changed, _) = watch(scene, loss, Duration::from_secs(form.of(10, 60)));
        let count: u64 = changed.iter().sum();
        eprintln!("  … {loss} % lost: {count} changes of owner");
        if count > 0 {
            said = format!("{loss} % moved an address {count} times");
            break;
        }
    }
    drop(busy);
    report.notes.push(format!("Busy processors and more loss, {} s each: {said}.", form.of(10, 60)));
}

/// Changes of owner and the time of two owners, of each address.
#[track_caller]
fn watch(scene: &Scene<'_>, loss: u32, length: Duration) -> (Vec<u64>, Vec<Duration>) {
    scene.owners();
    let _loss: Vec<Fault> = scene.lab.nodes().iter().map(|node| node.lose_sent(loss)).collect();
    let client = scene.lab.client();
    let witnesses: Vec<_> = scene.addresses.iter().map(|ip| client.witness_every(*ip, EVERY)).collect();
    thread::sleep(length);
    let seen: Vec<_> = witnesses.into_iter().map(Witness::stop).collect();
    let changes = seen.iter().map(|testimony| testimony.reigns().len().saturating_sub(1) as u64);
    (changes.collect(), seen.iter().map(crate::witness::Testimony::doubled_for).collect())
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
