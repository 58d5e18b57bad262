//! The speaker of the owner goes or stands still, and its node lives: nobody should notice.

use std::thread;
use std::time::Duration;

use super::scene::{Noticed, Scene};
use crate::bench::report::Report;
use crate::bench::{Form, Progress};
use crate::kube::light::Lab;

const LIMIT: Duration = Duration::from_secs(3600);
/// How long a speaker that was killed is away.
const AWAY: Duration = Duration::from_millis(1000);
const FROZEN: Duration = Duration::from_secs(3);
/// After the speaker is back.
const SETTLES: Duration = Duration::from_millis(1500);

/// A crash may cost a client that has to ask one detection.
const CRASH: &str = "0; nobody ≤ 150";
const PLANNED: &str = "0";

#[track_caller]
pub(super) fn measure(scene: &mut Scene<'_>, report: &mut Report, form: Form, row: &str) {
    let (what, aim) = match row {
        "kill" => ("speaker killed", CRASH),
        "freeze" => ("speaker frozen for 3 s", CRASH),
        _ => ("speaker restarted", PLANNED),
    };
    let mut noticed = Noticed::new(what, aim);
    for _ in Progress::new("the owner's speaker goes", form.of(4, 30), LIMIT).samples() {
        let victim = scene.pick();
        let watching = scene.watch(&victim.addresses);
        disturb(scene.lab, victim.node, row);
        thread::sleep(SETTLES);
        watching.stop().iter().for_each(|watched| noticed.note(watched));
    }
    report.tallies.push(noticed.into_tally());
}

#[track_caller]
fn disturb(lab: &Lab, node: usize, row: &str) {
    let speaker = lab.speaker(node);
    match row {
        "kill" => {
            speaker.kill();
            thread::sleep(AWAY);
            speaker.start();
        }
        "freeze" => {
            speaker.freeze();
            thread::sleep(FROZEN);
            speaker.thaw();
        }
        _ => {
            let ended = speaker.terminate();
            assert!(ended.success(), "SIGTERM ends cleanly: {ended}");
            speaker.start();
        }
    }
    speaker.wait_ready();
}
