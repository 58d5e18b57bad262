//! What was measured on: without it a figure says nothing.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde::Serialize;

use crate::run;

/// The machine, the moment and the code.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    date: String,
    commit: String,
    cpu: String,
    cores: usize,
    kernel: String,
    load_before: String,
}

impl Machine {
    /// As it is now.
    pub(super) fn look() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            date: said(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"])),
            commit: said(
                Command::new("git")
                    .current_dir(env!("CARGO_MANIFEST_DIR"))
                    .args(["describe", "--always", "--dirty"]),
            ),
            cpu: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load(),
        }
    }

    /// When: as a part of a file's name.
    pub(super) fn stamp(&self) -> String {
        self.date.replace(['-', ':'], "")
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, commit, cpu, cores, kernel, load_before } = self;
        write!(
            f,
            "{date}, {commit}, {cores} × {cpu}, Linux {kernel}, load average {load_before} before, {} after",
            load()
        )
    }
}

/// Load averages over 1, 5 and 15 minutes.
pub(super) fn load() -> String {
    let line = read("/proc/loadavg");
    line.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// What a command prints; a fact that cannot be had is no reason to lose the samples.
fn said(command: &mut Command) -> String {
    run::attempt(command).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
