//! What must not be lost when something fails: the API server away, programs ended and restarted, garbage.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use lab::kube::light::Lab;
use lab::router::Config;
use lab::{Family, meter, wait};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
const OUTAGE: Duration = Duration::from_secs(30);

fn lab(purpose: &str) -> Lab {
    let lab = Lab::up(purpose);
    lab.bird().start(&Config::default());
    lab.plane().apply_samples();
    lab
}

#[test]
fn an_api_server_that_goes_away_for_half_a_minute_costs_nobody_anything() {
    let lab = lab("trouble: outage");
    let web = lab.expose("web", &[1, 2, 3]);
    let routed = json!({"metadata": {"annotations": {"ferritelb.io/address-pool": "routed"}}});
    let far = lab.expose_with("far", &[1, 2, 3], &routed);
    let (near, behind) = (web.wait_addresses(2), far.wait_addresses(2));
    let nodes = [lab.node(1), lab.node(2), lab.node(3)];
    lab.bird().wait_vip(behind[0], &nodes, SOON);
    wait::eventually("the segment answers", SOON, || lab.client().http(near[0], 80));

    let on_segment =
        meter::probe(&lab.client().vantage(), SocketAddr::new(near[0], 80), meter::SPACING * 5, 1);
    let routed =
        meter::probe(&lab.ext().via(lab.bird()), SocketAddr::new(behind[0], 80), meter::SPACING * 5, 6);
    lab.stop_api();
    thread::sleep(OUTAGE);
    assert_eq!(lab.bird().sessions().values().filter(|session| session.is_established()).count(), 6);
    lab.start_api();
    for continuity in [on_segment.stop(), routed.stop()] {
        assert!(continuity.longest_gap < Duration::from_secs(1), "{continuity:?}");
    }

    assert_eq!((web.addresses(), far.addresses()), (near, behind), "no address has changed");
    // kube-proxy waits up to a minute between its own attempts to reach the API server.
    let new = lab.expose("new", &[1]);
    let address = new.wait_address_of(Family::V4);
    wait::eventually("what comes after the outage works", SOON * 6, || lab.client().http(address, 80));
}

#[test]
fn a_controller_that_restarts_changes_no_address_and_writes_nothing() {
    let lab = lab("trouble: controller");
    let names = ["a", "b", "c", "d"];
    let before: Vec<_> = names.map(|name| lab.expose(name, &[1]).wait_addresses(2)).into();
    let versions = || names.map(|name| lab.service(name).get().metadata.resource_version);
    let settled = versions();
    lab.controller().kill();
    lab.controller().start();
    lab.controller().wait_ready();
    let ended = lab.controller().terminate();
    assert!(ended.success(), "SIGTERM ends cleanly: {ended}");
    lab.service("b").delete();
    lab.controller().start();
    lab.controller().wait_ready();
    let again = lab.expose("e", &[1]).wait_addresses(2);
    assert_eq!(again, before[1], "what was freed while nobody looked is free");
    for (name, addresses) in names.iter().zip(&before).filter(|(name, _)| **name != "b") {
        assert_eq!(&lab.service(name).addresses(), addresses, "{name}");
    }
    let now = ["a", "c", "d"].map(|name| lab.service(name).get().metadata.resource_version);
    let [a, _, c, d] = settled;
    assert_eq!(now, [a, c, d], "no Service was written");
}

#[test]
fn garbage_is_told_on_the_object_and_stops_nobody_else() {
    let lab = lab("trouble: garbage");
    let web = lab.expose("web", &[1]);
    let held = web.wait_addresses(2);
    lab.apply(
        "apiVersion: ferritelb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: backward}\n\
         spec: {addresses: ['10.0.0.9-10.0.0.1']}\n",
    );
    let ready = |pool: &str| {
        lab.kubectl(&[
            "get",
            "ipaddresspool",
            pool,
            "-o",
            r#"jsonpath={.status.conditions[?(@.type=="Ready")]}"#,
        ])
    };
    wait::eventually("the pool says which field", SOON, || {
        let condition = ready("backward");
        let told = condition.contains("False") && condition.contains("spec.addresses[0]");
        told.then_some(()).ok_or(condition)
    });
    assert!(ready("segment").contains("True"), "{}", ready("segment"));

    web.patch(&json!({"metadata": {"annotations": {"ferritelb.io/loadBalancerIPs": "1.2.3"}}}));
    wait::eventually("the Service says which annotation", SOON, || {
        let condition = web.condition("ferritelb.io/Allocated").unwrap_or_default().to_string();
        condition.contains("ferritelb.io/loadBalancerIPs").then_some(()).ok_or(condition)
    });
    assert_eq!(web.addresses(), held, "it keeps what it holds");
    wait::eventually("an Event says so too", SOON, || {
        let events = lab.kubectl(&["get", "events", "-o", "json"]);
        events.contains("loadBalancerIPs").then_some(()).ok_or(events)
    });
    let other = lab.expose("other", &[1]).wait_address_of(Family::V4);
    wait::eventually("others work", SOON, || lab.client().http(other, 80));

    // An edit that makes a good pool bad leaves its last good state in force.
    lab.kubectl(&[
        "patch",
        "ipaddresspool",
        "segment",
        "--type=merge",
        "-p",
        r#"{"spec":{"addresses":["10.0.0.9-10.0.0.1"]}}"#,
    ]);
    wait::eventually("the pool says which field", SOON, || {
        let condition = ready("segment");
        condition.contains("False").then_some(()).ok_or(condition)
    });
    let third = lab.expose("third", &[1]).wait_address_of(Family::V4);
    wait::eventually("the last good state goes on", SOON, || lab.client().http(third, 80));
}

#[test]
fn both_programs_tell_how_they_are() {
    let lab = lab("trouble: health");
    lab.expose("web", &[1]).wait_addresses(2);
    for program in [lab.controller(), lab.speaker(1)] {
        for page in ["/healthz", "/readyz"] {
            let said = program.http(page).unwrap_or_else(|error| panic!("{page}: {error}"));
            assert!(said.starts_with("HTTP/1.1 200"), "{page}: {said}");
        }
        let metrics = program.metrics();
        assert!(metrics.contains("ferritelb_") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
    }
    lab.stop_api();
    lab.speaker(1).restart();
    let unready = wait::eventually("the page is served", SOON, || lab.speaker(1).http("/readyz"));
    assert!(unready.contains("503") && unready.contains("caches"), "{unready}");
    lab.start_api();
    lab.speaker(1).wait_ready();
}
