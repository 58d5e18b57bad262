//! Who answers for an address on the segment, and what clients notice of it, while nodes, speakers and wires fail.
//!
//! Clients and witness are on the segment: three clients of each address under test, as [`crate::meter`] has
//! them, and somebody who asks for it every five milliseconds. Traffic is `Local`, so that a pod behind a node
//! that is cut takes no part in what is left. `FAILOVER_ROWS=cut,drain` measures these rows alone.

mod answers;
mod idle;
mod living;
mod many;
mod moves;
mod outage;
mod plot;
mod routed;
mod scene;

use self::scene::Scene;
use super::Form;
use super::report::Report;
use crate::kube::light::Lab;

/// The rows, in the order in which they are measured. A node that was lost is not preferred for a while: what moves
/// by wish comes first.
const ROWS: &[&str] = &[
    "prefer",
    "move",
    "drain",
    "kill",
    "freeze",
    "restart",
    "cut",
    "carrier",
    "partition",
    "idle",
    "many",
    "answers",
    "routed",
];

#[track_caller]
pub(super) fn measure(form: Form) -> Report {
    let mut report = Report::new("failover", "Nodes, speakers and wires fail", Vec::new());
    let named = std::env::var("FAILOVER_ROWS").unwrap_or_default();
    let named: Vec<&str> = named.split(',').filter(|row| !row.is_empty()).collect();
    if let Some(unknown) = named.iter().find(|row| !ROWS.contains(row)) {
        panic!("FAILOVER_ROWS: there is no {unknown:?}; there are {}", ROWS.join(", "));
    }
    let wanted = |row: &str| named.is_empty() || named.contains(&row);
    on_the_segment(&mut report, form, wanted);
    if wanted("many") {
        many::measure(&mut report);
    }
    if wanted("answers") {
        answers::measure(&mut report, form);
    }
    if wanted("routed") {
        routed::measure(&mut report, form);
    }
    report
}

/// The rows that share a lab.
#[track_caller]
fn on_the_segment(report: &mut Report, form: Form, wanted: impl Fn(&str) -> bool) {
    let alone = ["many", "answers", "routed"];
    if !ROWS.iter().any(|row| wanted(row) && !alone.contains(row)) {
        return;
    }
    eprintln!("failover: raising a lab with the product and keepalived");
    let lab = Lab::up("bench: failover");
    let mut scene = Scene::set(&lab);
    for row in ROWS.iter().copied().filter(|row| wanted(row)) {
        match row {
            "cut" => outage::silent_cut(&mut scene, report, form),
            "carrier" => outage::carrier_loss(&mut scene, report, form),
            "kill" | "freeze" | "restart" => living::measure(&mut scene, report, form, row),
            "drain" => moves::drain(&mut scene, report, form),
            "move" => moves::request(&mut scene, report, form),
            "prefer" => moves::prefer(&mut scene, report, form),
            "partition" => moves::partition(&mut scene, report, form),
            "idle" => idle::measure(&mut scene, report, form),
            _ => {}
        }
    }
    report.notes.extend(scene.notes());
}
