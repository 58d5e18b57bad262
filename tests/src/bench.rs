//! What `make bench` measures: latency, memory, sizes and gaps, each in a light lab of its own; and the ledger alone.
//!
//! Samples are taken one by one. They are printed as tables and kept raw, beside what is known of the machine, as
//! JSON under `target/bench/`. Nothing is asserted on a time: a slow machine gives a slow table, not an error.

mod allocate;
mod announce;
mod calls;
mod failover;
mod fleet;
mod histogram;
mod ledger;
mod machine;
mod peer;
mod report;
mod series;
mod size;
mod watch;

use std::time::{Duration, Instant};

use clap::ValueEnum;

use self::machine::Machine;
use crate::clock;
use crate::kube::light::Lab;
use crate::kube::samples;

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Status written → announced on the segment and to a BGP peer
    Announce,
    /// Service created → address in its status
    Allocate,
    /// The ledger alone: one call, with 100 to 50,000 Services
    Ledger,
    /// The controller with 10,000 Services
    Fleet,
    /// Memory, programs, image
    Size,
    /// Nodes, speakers and wires fail: what clients notice, beside VRRP
    Failover,
}

/// How many samples are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Minutes.
    Short,
    /// Hours.
    Full,
}

impl Form {
    fn of<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// Measures these groups, or all when none is named; prints tables and writes files.
#[track_caller]
pub fn run(only: &[Group], form: Form) {
    let groups = Group::value_variants().iter().filter(|group| only.is_empty() || only.contains(group));
    let files: Vec<_> = groups.map(|group| measure(*group, form)).collect();
    println!();
    for file in files {
        println!("raw samples: {}", file.display());
    }
}

#[track_caller]
fn measure(group: Group, form: Form) -> std::path::PathBuf {
    let start = clock::now();
    let machine = Machine::look();
    let report = match group {
        Group::Announce => announce::measure(form),
        Group::Allocate => allocate::measure(form),
        Group::Ledger => ledger::measure(form),
        Group::Fleet => fleet::measure(form),
        Group::Size => size::measure(form),
        Group::Failover => failover::measure(form),
    };
    let file = report.write(&machine, form);
    println!("\n{report}  took {} s; {machine}", start.elapsed().as_secs());
    file
}

/// Says how far a measurement is, and ends it when its time is up.
struct Progress {
    what: &'static str,
    wanted: usize,
    deadline: Instant,
    said: Instant,
}

impl Progress {
    const REPORT: Duration = Duration::from_secs(5);

    fn new(what: &'static str, wanted: usize, limit: Duration) -> Self {
        let now = clock::now();
        eprintln!("  {what}: {wanted} samples, at most {} s", limit.as_secs());
        Self { what, wanted, deadline: now + limit, said: now }
    }

    /// The numbers of the samples to take.
    fn samples(mut self) -> impl Iterator<Item = usize> {
        (0..self.wanted).take_while(move |taken| {
            let now = clock::now();
            if now >= self.said + Self::REPORT {
                self.said = now;
                eprintln!("  … {}: {taken} of {}", self.what, self.wanted);
            }
            now < self.deadline
        })
    }
}

/// Applies these files of `config/samples`.
#[track_caller]
fn apply_samples(lab: &Lab, files: &[&str]) {
    let mut words = vec!["apply".to_owned(), "--server-side".to_owned()];
    words.extend(files.iter().flat_map(|file| ["-f".to_owned(), samples().join(file).display().to_string()]));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    lab.kubectl(&words);
}
