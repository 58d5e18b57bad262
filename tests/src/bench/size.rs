//! Memory of the programs when nothing happens, and sizes of what is shipped.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::Form;
use super::report::{Report, folder};
use super::series::Series;
use crate::image;
use crate::kube::light::Lab;
use crate::kube::product::programs;
use crate::router::Config;

const RESIDENT: &str = "< 25";
const BINARY: &str = "< 15";

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    eprintln!("size: programs and image");
    let mut series: Vec<_> = ["ferrite-controller", "ferrite-speaker"].map(program).into();
    series.push(packed());
    eprintln!("size: raising a lab with the product and both routers");
    let lab = Lab::up("bench: size");
    lab.frr().start(&Config::default());
    lab.bird().start(&Config::default());
    lab.plane().apply_samples();
    series.extend(resident(&lab, "no Service", form));
    let names: Vec<_> = (0..20).map(|number| format!("web-{number}")).collect();
    for name in &names {
        lab.expose(name, &[1]).wait_addresses(2);
    }
    series.extend(resident(&lab, "20 dual-stack Services", form));
    let mut report = Report::new("size", "Memory and sizes", series);
    report
        .notes
        .push("Memory is VmRSS, with four BGP sessions a speaker; the speaker's n is the nodes.".to_owned());
    report
}

fn resident(lab: &Lab, when: &str, form: Form) -> [Series; 2] {
    let settle = Duration::from_secs(form.of(10, 60));
    eprintln!("  {when}: letting the programs rest for {} s", settle.as_secs());
    thread::sleep(settle);
    let speakers = (1..=lab.nodes().len()).map(|node| lab.speaker(node).resident());
    [
        Series::mebibytes(format!("controller, resident, {when}"), [lab.controller().resident()])
            .aim(RESIDENT),
        Series::mebibytes(format!("speaker, resident, {when}"), speakers).aim(RESIDENT),
    ]
}

#[track_caller]
fn program(name: &str) -> Series {
    Series::megabytes(format!("{name}, static and stripped"), length(&programs().join(name))).aim(BINARY)
}

/// The image as it is imported; it is removed again.
#[track_caller]
fn packed() -> Series {
    let file = folder().join(format!("image-{}.tar", std::process::id()));
    fs::create_dir_all(folder()).unwrap_or_else(|error| panic!("{}: {error}", folder().display()));
    image::ferritelb(&programs()).write(&file);
    let size = length(&file);
    fs::remove_file(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Series::megabytes("image archive with both programs", size)
}

#[track_caller]
fn length(file: &Path) -> u64 {
    fs::metadata(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len()
}
