//! The rules of the house that the compiler does not know: which crate may import which, and how long a file
//! may be. The map is in the README, section "The house".

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Who may import whom among our own crates. An arrow that is not here does not exist.
const ARROWS: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("timers", &[]),
    ("ipam", &["names", "timers"]),
    ("announce", &["names", "timers"]),
    ("bgp", &["names", "timers"]),
    ("l2", &["names", "timers"]),
    ("liveness", &["names", "timers"]),
    ("api", &["names", "ipam", "announce", "bgp", "l2", "liveness"]),
    ("sim", &["names", "timers", "liveness"]),
    ("cluster", &["names"]),
    ("netio", &[]),
    ("ferrite-controller", &["names", "api", "ipam", "announce", "cluster"]),
    ("ferrite-speaker", &["names", "api", "announce", "bgp", "l2", "liveness", "cluster", "netio"]),
];

/// What a pure core may never see: the network, the API server, a runtime.
const DOORS: &[&str] =
    &["tokio", "kube", "k8s-openapi", "rtnetlink", "socket2", "libc", "nix", "pnet", "serde"];
const PURE: &[&str] = &["names", "timers", "ipam", "announce", "bgp", "l2", "liveness", "sim"];

const LONGEST_FILE: usize = 500;
const LONGEST_README: usize = 200;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the workspace").to_owned()
}

/// Each workspace member's ordinary dependencies, by name.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let ordinary = |package: &Value| {
        let all = package["dependencies"].as_array().expect("a list of dependencies").iter();
        let ordinary = all.filter(|dependency| dependency["kind"].is_null());
        ordinary.map(|dependency| text(&dependency["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), ordinary(package))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

#[test]
fn every_arrow_between_crates_is_on_the_map() {
    let dependencies = dependencies();
    let ours: Vec<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, wanted) in &dependencies {
        if name == "lab" {
            continue;
        }
        let (_, allowed) = ARROWS
            .iter()
            .find(|(known, _)| known == name)
            .unwrap_or_else(|| panic!("crate {name} is not on the map"));
        for dependency in wanted.iter().filter(|dependency| ours.contains(&dependency.as_str())) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not import {dependency}");
        }
    }
}

#[test]
fn the_cores_know_no_door_to_the_outside() {
    let dependencies = dependencies();
    for core in PURE {
        for dependency in &dependencies[*core] {
            assert!(!DOORS.contains(&dependency.as_str()), "{core} may not import {dependency}");
        }
    }
}

#[test]
fn only_api_cluster_and_the_binaries_import_kube() {
    for (name, wanted) in dependencies() {
        let may = ["api", "cluster", "ferrite-controller", "ferrite-speaker", "lab"].contains(&name.as_str());
        assert!(may || !wanted.iter().any(|dependency| dependency == "kube"), "{name} may not import kube");
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder that can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("fuzz") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines before the unit tests; a file of tests has none.
fn lines_of_code(path: &Path) -> usize {
    let harness = path.starts_with(root().join("tests/src"));
    let is_test = path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
    if is_test && !harness {
        return 0;
    }
    let text = fs::read_to_string(path).expect("a file that can be read");
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut files = Vec::new();
    for folder in ["crates", "controller", "speaker", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 20, "the check found hardly any file");
    let long: Vec<_> = files
        .iter()
        .map(|path| (lines_of_code(path), path))
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .collect();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines: {long:#?}");
}

#[test]
fn the_readme_stays_short() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    assert!(readme.lines().count() <= LONGEST_README);
}
