//! Runs a long command: a line now and then while it works, and its output when it fails.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{clock, run};

/// How often a long step says that it is still at work.
const REPORT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// [`run::run`] for a step of minutes.
#[track_caller]
pub(crate) fn run(label: &str, command: &mut Command) {
    let line = run::line(command);
    let start = clock::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("`{line}`: {error}"));
    // The pipes are emptied on a thread: a command that says much would stop at a full one.
    let ending = std::thread::spawn(move || child.wait_with_output());
    let mut reports = 1;
    while !ending.is_finished() {
        std::thread::sleep(POLL);
        if start.elapsed() > REPORT * reports {
            reports += 1;
            eprintln!("  … {label}: {} s", start.elapsed().as_secs());
        }
    }
    let output =
        ending.join().expect("the waiting thread does not panic").expect("a child can be waited for");
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        panic!("`{line}`: {}\n{}", output.status, String::from_utf8_lossy(&said));
    }
}
