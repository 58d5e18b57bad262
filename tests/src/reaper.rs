//! Cleans up after a harness that could not: a small process that outlives it by a moment.

use std::io::{Read, Write, stdin};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::lease::Lease;
use crate::{spawner, wait};

/// What the owner of a lab says before it leaves in good order.
const DONE: &[u8] = b"done";
/// A dead harness lets go of its lock and of our pipe within this.
const LET_GO: Duration = Duration::from_secs(2);

/// The reaper of one lab, from the owner's side. Dropped without a word, it reaps.
pub(crate) struct Reaper {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Reaper {
    pub(crate) fn watch(lab: &str) -> Self {
        let mut command = Command::new("setsid");
        command.arg(lab_program()).args(["reap", lab]);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = spawner::spawn(command).expect("the reaper starts");
        let pipe = child.stdin.take();
        Self { child, pipe }
    }

    /// There is nothing to reap.
    pub(crate) fn dismiss(mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            pipe.write_all(DONE).ok();
        }
        self.child.wait().ok();
    }
}

/// The `lab` program: this one, or the one that was built beside this test.
pub(crate) fn lab_program() -> PathBuf {
    let here = std::env::current_exe().expect("a program knows its file");
    let folders = here.ancestors().skip(1).take(2);
    let candidates: Vec<PathBuf> = folders.map(|folder| folder.join("lab")).collect();
    let found = candidates.iter().find(|file| file.is_file());
    found.cloned().unwrap_or_else(|| panic!("none of {candidates:?} is there: cargo build -p lab --bin lab"))
}

/// Waits for the end of standard input, then removes the lab unless its owner has done so.
pub fn reap(lab: &str) {
    let mut said = Vec::new();
    // An error on the pipe is the end of its writer too.
    stdin().read_to_end(&mut said).ok();
    if said == DONE {
        return;
    }
    let lease = wait::attempt(LET_GO, || Lease::lock(lab).ok_or(()));
    if let Ok(lease) = lease
        && !lease.is_standing()
    {
        lease.clear();
    }
}
