//! Breaks each rule of the election in turn, in a copy of the sources, and sees its tests fail.
//!
//! A rule that can be broken unnoticed is not tested. The copy has a build folder of its own, so that nothing of the
//! product is touched or built anew.

mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::clock;
pub use rules::{Mutant, RULES};

/// What the election consists of, and its tests.
const MEMBERS: [&str; 3] = ["crates/names", "crates/liveness", "crates/sim"];

/// Its tests, the quick ones first: the first that fails ends it.
const STAGES: [&[&str]; 4] = [
    &["-p", "liveness"],
    &["-p", "sim", "--test", "ownership"],
    &["-p", "sim", "--test", "storms"],
    &["-p", "sim", "--test", "scale"],
];

/// Breaks every rule whose name contains `only`, and ends with those whose breach no test noticed.
///
/// # Panics
/// If there are any, or a rule is not found in the sources any more.
#[track_caller]
pub fn run(root: &Path, only: &str) {
    let copy = root.join("target/mutants");
    copy_sources(root, &copy);
    assert!(test(&copy).is_none(), "the tests of the election fail before anything is broken");
    let chosen: Vec<_> = RULES.iter().filter(|mutant| mutant.rule.contains(only)).collect();
    assert!(!chosen.is_empty(), "no rule is named like {only:?}");
    let unnoticed: Vec<_> = chosen.iter().filter(|mutant| !is_noticed(root, &copy, mutant)).collect();
    let names: Vec<_> = unnoticed.iter().map(|mutant| mutant.rule).collect();
    assert!(names.is_empty(), "no test notices when these are broken: {}", names.join("; "));
    println!("each of {} rules is missed by a test when it is broken", chosen.len());
}

fn is_noticed(root: &Path, copy: &Path, mutant: &Mutant) -> bool {
    let source = root.join("crates/liveness/src").join(mutant.file);
    let place = copy.join("crates/liveness/src").join(mutant.file);
    let whole = fs::read_to_string(&source).expect("the source can be read");
    assert_eq!(
        whole.matches(mutant.from).count(),
        1,
        "{}: {:?} in {}",
        mutant.rule,
        mutant.from,
        mutant.file
    );
    fs::write(&place, whole.replace(mutant.from, mutant.to)).expect("the copy can be written");
    let start = clock::now();
    let failure = test(copy);
    fs::write(&place, whole).expect("the copy can be written");
    let seconds = start.elapsed().as_secs();
    println!("{:<70} {seconds:>4} s  {}", mutant.rule, failure.as_deref().unwrap_or("NOT NOTICED"));
    failure.is_some()
}

/// The first test that fails, and how.
fn test(copy: &Path) -> Option<String> {
    STAGES.iter().find_map(|stage| test_stage(copy, stage))
}

fn test_stage(copy: &Path, stage: &[&str]) -> Option<String> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(copy).args(["test", "--release", "--quiet"]).args(stage);
    command.args(["--", "--test-threads", "2"]).env("RUSTFLAGS", "-Awarnings");
    // What is built anew for each rule is to be built quickly.
    command.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_INCREMENTAL", "1");
    let output = command.output().expect("cargo runs");
    if output.status.success() {
        return None;
    }
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(!said.contains("could not compile"), "the broken source does not build:\n{said}");
    let failed = said.lines().skip_while(|line| !line.contains("panicked at"));
    Some(failed.take(2).collect::<Vec<_>>().join(" ").chars().take(200).collect())
}

fn copy_sources(root: &Path, copy: &Path) {
    let crates = copy.join("crates");
    fs::remove_dir_all(&crates).ok();
    fs::create_dir_all(&crates).expect("the folder of the copy can be made");
    // With their times, so that what is not changed is not built again.
    cp(&MEMBERS.map(|member| root.join(member)), &crates);
    cp(&["Cargo.toml", "Cargo.lock"].map(|name| root.join(name)), copy);
    let manifest = copy.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("the manifest can be read");
    fs::write(manifest, with_members(&text)).expect("the manifest can be written");
}

fn cp(from: &[PathBuf], to: &Path) {
    let status = Command::new("cp").arg("-a").args(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "the sources cannot be copied");
}

/// The same workspace with fewer members.
fn with_members(manifest: &str) -> String {
    let (before, rest) = manifest.split_once("members = [").expect("a workspace has members");
    let (_, after) = rest.split_once(']').expect("a list ends");
    let members: Vec<_> = MEMBERS.iter().map(|member| format!("{member:?}")).collect();
    format!("{before}members = [{}]{after}", members.join(", "))
}
