//! Runs every fuzz target for a while: `crates/*/fuzz`, each starting from the corpus that is kept beside it.
//!
//! The targets are libFuzzer's. They are built with the coverage instrumentation that the stable compiler has,
//! so neither a nightly compiler nor `cargo-fuzz` is needed (both work as well).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kube::progress;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks \
    -Ccodegen-units=1";
/// A decoder that needs more than this for one input does not allocate within bounds.
const MEMORY_MIB: u32 = 512;
const SLOWEST_INPUT_SECONDS: u32 = 5;

/// Builds all targets and runs each for `seconds`. A target that does not build, or finds an input that panics,
/// hangs or takes too much memory, ends it with the command and its output, which says where the input is.
#[track_caller]
pub fn run(root: &Path, seconds: u32) {
    let folders = folders(root);
    assert!(!folders.is_empty(), "no fuzz target under crates/*/fuzz");
    for folder in folders {
        for target in names(&folder.join("fuzz_targets")) {
            run_target(root, &folder, &target, seconds);
        }
    }
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let crates = root.join("crates");
    let folders = names(&crates).into_iter().map(|name| crates.join(name).join("fuzz"));
    folders.filter(|folder| folder.join("Cargo.toml").is_file()).collect()
}

/// What is in a folder, without endings and in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let stem = |entry: std::io::Result<fs::DirEntry>| {
        Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned())
    };
    let mut names: Vec<_> = entries.filter_map(stem).collect();
    names.sort();
    names
}

fn run_target(root: &Path, folder: &Path, target: &str, seconds: u32) {
    let built = root.join("target/fuzz");
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--target", TARGET, "--bin", target, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", INSTRUMENTED);
    progress::run(&format!("building fuzz target {target}"), &mut build);

    let found = built.join("found").join(target);
    fs::create_dir_all(&found).unwrap_or_else(|error| panic!("{}: {error}", found.display()));
    let mut fuzz = Command::new(built.join(TARGET).join("release").join(target));
    fuzz.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={SLOWEST_INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(&found)
        .arg(folder.join("corpus").join(target));
    progress::run(&format!("fuzzing {target}"), &mut fuzz);
    println!("   fuzz target {target}: {seconds} s, nothing found");
}
