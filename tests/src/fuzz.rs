//! Runs every fuzz target for a while: `crates/*/fuzz`, each starting from the corpus that is kept beside it.
//!
//! The targets are libFuzzer's. They are built with the coverage instrumentation that the stable compiler has,
//! so neither a nightly compiler nor `cargo-fuzz` is needed (both work as well).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kube::step;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Coverflow-checks \
    -Ccodegen-units=1";
/// A decoder that needs more than this for one input does not allocate within bounds.
const MEMORY_MIB: u32 = 512;
const SLOWEST_INPUT_SECONDS: u32 = 5;

/// Builds all targets and runs each for `seconds`.
///
/// # Errors
/// When a target does not build, or finds an input that panics, hangs or takes too much memory; the failure
/// says where the input was written.
pub fn run(root: &Path, seconds: u32) -> Result<(), step::Failed> {
    let folders = folders(root)?;
    if folders.is_empty() {
        return Err(step::Failed::Missing("no fuzz target under crates/*/fuzz".to_owned()));
    }
    for folder in folders {
        for target in targets(&folder)? {
            run_target(root, &folder, &target, seconds)?;
        }
    }
    Ok(())
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, step::Failed> {
    let crates = root.join("crates");
    let entries = fs::read_dir(&crates).map_err(step::Failed::file(&crates))?;
    let mut folders: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path().join("fuzz")))
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .collect();
    folders.sort();
    Ok(folders)
}

/// The names of a folder's targets: one a file.
fn targets(folder: &Path) -> Result<Vec<String>, step::Failed> {
    let sources = folder.join("fuzz_targets");
    let entries = fs::read_dir(&sources).map_err(step::Failed::file(&sources))?;
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn run_target(root: &Path, folder: &Path, target: &str, seconds: u32) -> Result<(), step::Failed> {
    let built = root.join("target/fuzz");
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--quiet", "--target", TARGET, "--bin", target, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &built)
        .env("RUSTFLAGS", INSTRUMENTED);
    step::run(&format!("building fuzz target {target}"), &mut build)?;

    let found = built.join("found").join(target);
    fs::create_dir_all(&found).map_err(step::Failed::file(&found))?;
    let mut fuzz = Command::new(built.join(TARGET).join("release").join(target));
    fuzz.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-timeout={SLOWEST_INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(&found)
        .arg(folder.join("corpus").join(target));
    step::run(&format!("fuzzing {target}"), &mut fuzz)?;
    println!("   fuzz target {target}: {seconds} s, nothing found");
    Ok(())
}
