//! Renumbering: what becomes of addresses in use when their pool is drained or edited. Asserted with a client's
//! packets, on the old address and on the new one.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use lab::kube::light::Lab;
use lab::kube::object;
use lab::kube::service::Service;
use lab::meter::Continuity;
use lab::{clock, wait};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// For looking whether something changes that must not.
const WHILE: Duration = Duration::from_secs(3);
const ORIGIN: &str = "ferritelb.io/Origin";
/// What a deadline that is written in whole seconds may be off.
const ROUNDING: Duration = Duration::from_millis(1100);

/// A lab with speakers, and with these pools, all announced on the segment.
fn lab(purpose: &str, overlap: Duration, pools: &[(&str, Value)]) -> Lab {
    let lab = Lab::up(purpose);
    lab.apply(&object("L2Advertisement", "all", &json!({})).to_string());
    let overlap = format!("{}s", overlap.as_secs());
    let moves = json!({ "moves": { "overlap": overlap } });
    lab.apply(&object("FerriteConfig", "default", &moves).to_string());
    for (name, spec) in pools {
        lab.apply(&object("IPAddressPool", name, spec).to_string());
    }
    lab
}

/// A pool that is tried before those without a priority.
fn first(addresses: &[&str]) -> Value {
    json!({ "addresses": addresses, "serviceAllocation": { "priority": 1 } })
}

fn edit(lab: &Lab, pool: &str, spec: &Value) {
    let spec = json!({ "spec": spec }).to_string();
    lab.kubectl(&["patch", "ipaddresspool", pool, "--type=merge", "-p", &spec]);
}

/// Status, reason and message of a pool's condition.
fn pool_condition(lab: &Lab, pool: &str, kind: &str) -> [String; 3] {
    let pool = lab.plane().kube().cluster::<api::IpAddressPool>().get(pool);
    let conditions = pool.status.map(|status| status.conditions).unwrap_or_default();
    let found = conditions.into_iter().find(|condition| condition.type_ == kind);
    found.map(|one| [one.status, one.reason, one.message]).unwrap_or_default()
}

#[track_caller]
fn wait_pool(lab: &Lab, pool: &str, kind: &str, status: &str, words: &[&str]) -> String {
    wait::eventually(&format!("{kind} of pool {pool} is {status} and says {words:?}"), SOON, || {
        let seen = pool_condition(lab, pool, kind);
        let good = seen[0] == status && words.iter().all(|word| seen[2].contains(word));
        if good { Ok(seen[2].clone()) } else { Err(format!("{seen:?}")) }
    })
}

fn v4(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A Service of one family with a pod on each node.
fn expose<'a>(lab: &'a Lab, name: &'a str, annotations: Value) -> Service<'a> {
    let changes = json!({
        "metadata": { "annotations": annotations }, "spec": { "ipFamilyPolicy": "SingleStack" },
    });
    lab.expose_with(name, &[1, 2, 3], &changes)
}

fn from_pool(name: &str) -> Value {
    json!({ "ferritelb.io/address-pool": name })
}

#[track_caller]
fn wait_answer(lab: &Lab, address: IpAddr) {
    wait::eventually(&format!("{address} answers"), SOON, || lab.client().http(address, 80));
}

/// Waits until the status shows just these, whatever the condition says.
#[track_caller]
fn wait_shows(service: Service<'_>, addresses: &[&str]) {
    let wanted: Vec<_> = addresses.iter().map(|text| v4(text)).collect();
    wait::eventually(&format!("the status shows {addresses:?}"), SOON, || {
        let shown = service.addresses();
        if shown == wanted { Ok(()) } else { Err(format!("{shown:?}, {:?}", service.allocated())) }
    })
}

/// What is on record of a move.
fn moving(service: Service<'_>) -> Option<Value> {
    let conditions = service.get().status.and_then(|status| status.conditions).unwrap_or_default();
    let origin = conditions.into_iter().find(|condition| condition.type_ == ORIGIN)?;
    let mut record: Value = serde_json::from_str(&origin.message).expect("the record is JSON");
    record.as_object_mut().expect("the record is an object").remove("moving")
}

fn until(moving: &Value) -> Timestamp {
    moving["until"].as_str().expect("a time").parse().expect("a time as RFC 3339 has it")
}

/// That time on the clock of the meter.
fn instant_of(time: Timestamp) -> Instant {
    let ahead = time.duration_since(Timestamp::now());
    let distance = ahead.unsigned_abs();
    if ahead.is_negative() { clock::now() - distance } else { clock::now() + distance }
}

/// Nothing is lost, or only after an address was to go.
#[track_caller]
fn assert_whole_until(seen: &Continuity, end: Option<Instant>, what: &str) {
    let is_early = |began| end.is_none_or(|end| seen.started + began + ROUNDING < end);
    let early: Vec<_> = seen.gaps.iter().filter(|gap| is_early(gap.began)).collect();
    assert!(early.is_empty(), "{what}: {seen}; {early:?}");
    assert!(seen.sent > 0 && seen.duplicates == 0, "{what}: {seen}");
}

#[test]
fn a_pool_is_drained_and_no_request_is_lost_over_the_old_or_the_new_address() {
    const OVERLAP: Duration = Duration::from_secs(8);
    let pools = [
        ("old", first(&["10.77.0.200-10.77.0.209"])),
        ("new", json!({ "addresses": ["10.77.0.220-10.77.0.229"] })),
    ];
    let lab = lab("renumber: drain", OVERLAP, &pools);
    let web = expose(&lab, "web", json!({}));
    web.wait_has(&["10.77.0.200"]);
    let fixed = expose(&lab, "fixed", json!({ "ferritelb.io/loadBalancerIPs": "10.77.0.205" }));
    fixed.wait_has(&["10.77.0.205"]);
    wait_answer(&lab, v4("10.77.0.200"));
    let old = lab.client().probe(SocketAddr::new(v4("10.77.0.200"), 80));

    // First it is only told what would be.
    edit(&lab, "old", &json!({ "paused": true, "drain": true }));
    wait_pool(
        &lab,
        "old",
        "Paused",
        "True",
        &["1 Service would be moved", "1 Service would have to be moved"],
    );
    std::thread::sleep(WHILE);
    web.wait_has(&["10.77.0.200"]);
    assert_eq!(moving(web), None);

    edit(&lab, "old", &json!({ "paused": false }));
    wait_shows(web, &["10.77.0.220", "10.77.0.200"]);
    let told = moving(web).expect("a move is told");
    let end = instant_of(until(&told));
    assert_eq!(told["from"], json!(["10.77.0.200"]));
    wait_answer(&lab, v4("10.77.0.220"));
    let new = lab.client().probe(SocketAddr::new(v4("10.77.0.220"), 80));
    fixed.wait_refused("CannotMove", &["10.77.0.205", "old"]);
    wait_shows(web, &["10.77.0.220"]);
    assert!(Timestamp::now() >= until(&told).saturating_sub(ROUNDING).unwrap(), "too early: {told}");
    web.wait_has(&["10.77.0.220"]);
    assert_eq!(moving(web), None);
    wait::eventually("the old address is given up", SOON, || {
        let macs = lab.client().resolve(v4("10.77.0.200"));
        macs.is_empty().then_some(()).ok_or(format!("{macs:?}"))
    });
    let (old, new) = (old.stop(), new.stop());
    println!("  old: {old}\n  new: {new}");
    assert_whole_until(&old, Some(end), "the old address");
    assert_whole_until(&new, None, "the new address");
    fixed.wait_refused("CannotMove", &["10.77.0.205"]);
    wait_answer(&lab, v4("10.77.0.205"));
    wait::eventually("what is left in the pool is counted", SOON, || {
        let pool = lab.plane().kube().cluster::<api::IpAddressPool>().get("old");
        let assigned = pool.status.unwrap_or_default().assigned;
        (assigned == 1).then_some(()).ok_or(assigned)
    });
}

#[test]
fn a_move_goes_on_over_a_restart_and_ends_when_it_was_to_end() {
    const OVERLAP: Duration = Duration::from_secs(20);
    let pools = [
        ("old", first(&["10.77.0.200-10.77.0.209"])),
        ("new", json!({ "addresses": ["10.77.0.220-10.77.0.229"] })),
    ];
    let lab = lab("renumber: restart", OVERLAP, &pools);
    let web = expose(&lab, "web", json!({}));
    web.wait_has(&["10.77.0.200"]);
    wait_answer(&lab, v4("10.77.0.200"));
    let old = lab.client().probe(SocketAddr::new(v4("10.77.0.200"), 80));
    edit(&lab, "old", &json!({ "drain": true }));
    wait_shows(web, &["10.77.0.220", "10.77.0.200"]);
    let told = moving(web).expect("a move is told");
    lab.controller().restart();
    lab.controller().wait_ready();
    wait::eventually(
        "it leads again",
        SOON,
        || if lab.controller().leads() { Ok(()) } else { Err("not yet") },
    );
    std::thread::sleep(WHILE);
    assert_eq!(moving(web), Some(told.clone()), "the move is the same");
    assert!(Timestamp::now() < until(&told), "the machine is too slow for this test");
    wait_shows(web, &["10.77.0.220", "10.77.0.200"]);
    wait_shows(web, &["10.77.0.220"]);
    let late = Timestamp::now().duration_since(until(&told));
    let late = Duration::try_from(late).expect("not before it was to end");
    println!("  the old address was taken {late:.1?} after it was to go");
    assert!(late < SOON, "{late:?}");
    assert_whole_until(&old.stop(), Some(instant_of(until(&told))), "the old address");
    web.wait_has(&["10.77.0.220"]);
    wait_answer(&lab, v4("10.77.0.220"));
}

#[test]
fn an_edit_keeps_moves_or_releases_as_the_pool_says() {
    let pool = |from: u8, to: u8, on_remove: &str| {
        json!({
            "addresses": [format!("10.77.0.{from}-10.77.0.{to}")], "autoAssign": false, "onRemove": on_remove,
        })
    };
    let pools = [
        ("keeping", pool(200, 204, "Keep")),
        ("moving", pool(205, 209, "Move")),
        ("releasing", pool(210, 214, "Release")),
    ];
    let lab = lab("renumber: edits", Duration::from_secs(6), &pools);
    let [kept, moved, released] =
        ["keeping", "moving", "releasing"].map(|name| expose(&lab, name, from_pool(name)));
    kept.wait_has(&["10.77.0.200"]);
    moved.wait_has(&["10.77.0.205"]);
    released.wait_has(&["10.77.0.210"]);
    wait_answer(&lab, v4("10.77.0.200"));
    wait_answer(&lab, v4("10.77.0.205"));
    let probes = ["10.77.0.200", "10.77.0.205"].map(|text| lab.client().probe(SocketAddr::new(v4(text), 80)));

    for (name, last) in [("keeping", 200), ("moving", 205), ("releasing", 210)] {
        edit(&lab, name, &json!({ "exclude": [format!("10.77.0.{last}")] }));
    }
    wait_shows(moved, &["10.77.0.206", "10.77.0.205"]);
    let end = instant_of(until(&moving(moved).expect("a move is told")));
    released.wait_has(&["10.77.0.211"]);
    wait_answer(&lab, v4("10.77.0.211"));
    wait_pool(&lab, "keeping", "Outside", "True", &["1"]);
    wait_shows(moved, &["10.77.0.206"]);
    wait_answer(&lab, v4("10.77.0.206"));
    std::thread::sleep(WHILE);
    kept.wait_has(&["10.77.0.200"]);
    wait_answer(&lab, v4("10.77.0.200"));
    let [of_kept, of_moved] = probes.map(lab::meter::Probe::stop);
    println!("  kept: {of_kept}\n  moved: {of_moved}");
    assert_whole_until(&of_kept, None, "what is kept");
    assert_whole_until(&of_moved, Some(end), "what is moved");

    // It is no longer the pool's: whoever comes next does not get it.
    kept.delete();
    let next = expose(&lab, "next", from_pool("keeping"));
    next.wait_has(&["10.77.0.201"]);
    edit(&lab, "keeping", &json!({ "exclude": [] }));
    wait_pool(&lab, "keeping", "Ready", "True", &[]);
    wait::eventually("nothing is outside", SOON, || {
        let [status, ..] = pool_condition(&lab, "keeping", "Outside");
        if status == "True" { Err(status) } else { Ok(()) }
    });
}

#[test]
fn a_paused_pool_does_nothing_and_says_what_it_would_do() {
    let pools = [("paused", json!({ "addresses": ["10.77.0.200-10.77.0.204"], "onRemove": "Release" }))];
    let lab = lab("renumber: paused", Duration::from_secs(6), &pools);
    let web = expose(&lab, "web", json!({}));
    web.wait_has(&["10.77.0.200"]);
    wait_answer(&lab, v4("10.77.0.200"));
    edit(&lab, "paused", &json!({ "paused": true, "addresses": ["10.77.0.230-10.77.0.239"] }));
    let said =
        wait_pool(&lab, "paused", "Paused", "True", &["10 IPv4", "instead of 5", "1 Service would lose"]);
    println!("  {said}");
    let version = web.get().metadata.resource_version;
    // It goes on as it was: over a restart too.
    expose(&lab, "second", json!({})).wait_has(&["10.77.0.201"]);
    lab.controller().restart();
    lab.controller().wait_ready();
    expose(&lab, "third", json!({})).wait_has(&["10.77.0.202"]);
    wait_answer(&lab, v4("10.77.0.202"));
    let speaker = lab.speaker(lab.wait_owner(v4("10.77.0.200"), SOON));
    speaker.restart();
    speaker.wait_ready();
    wait_answer(&lab, v4("10.77.0.200"));
    assert_eq!(web.get().metadata.resource_version, version, "nothing is written");

    edit(&lab, "paused", &json!({ "paused": false }));
    wait::eventually("each has an address of the pool as it is now", SOON, || {
        let shown = ["web", "second", "third"].map(|name| lab.service(name).addresses());
        let new = |address: &IpAddr| (v4("10.77.0.230")..=v4("10.77.0.239")).contains(address);
        let good = shown.iter().all(|all| all.len() == 1 && all.iter().all(new));
        good.then_some(()).ok_or(format!("{shown:?}"))
    });
    wait_answer(&lab, web.addresses()[0]);
    wait::eventually("it waits no longer", SOON, || {
        let [status, ..] = pool_condition(&lab, "paused", "Paused");
        if status == "True" { Err(status) } else { Ok(()) }
    });
}
