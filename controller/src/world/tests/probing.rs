//! Addresses are probed before a Service gets them.

use serde_json::json;

use super::cluster::Cluster;
use crate::world::*;

const TAKEN: &str = "52:54:00:00:00:09";
const PATIENCE: Duration = Duration::from_secs(2);

fn put_node(cluster: &mut Cluster, name: &str, ready: &str) {
    let conditions = json!([{ "type": "Ready", "status": ready }]);
    cluster.apply(Kind::Node, name, json!({ "status": { "conditions": conditions } }));
}

/// A speaker on the segment has found this.
fn finds(cluster: &mut Cluster, node: &str, free: &[&str], taken: &[&str]) {
    let free = free.iter().map(|address| json!({ "address": address }));
    let probes: Vec<_> =
        free.chain(taken.iter().map(|address| json!({ "address": address, "mac": TAKEN }))).collect();
    let networks = json!([{ "interface": "eth0", "addresses": ["10.0.0.250/24"] }]);
    cluster.apply(Kind::SpeakerStatus, node, json!({ "status": { "networks": networks, "probes": probes } }));
}

/// A pool that is announced on a segment where two speakers are, which have found nothing yet.
fn on_segment(spec: Value) -> Cluster {
    let mut cluster = Cluster::unlisted();
    for node in ["n1", "n2"] {
        put_node(&mut cluster, node, "True");
        finds(&mut cluster, node, &[], &[]);
    }
    cluster.pool("a", spec);
    cluster.apply(Kind::L2Advertisement, "l2", json!({ "spec": {} }));
    cluster.list();
    cluster.written();
    cluster
}

fn pool() -> Value {
    json!({ "addresses": ["10.0.0.0/24"] })
}

fn candidates(cluster: &Cluster) -> Vec<String> {
    let candidates = cluster.status(Kind::Pool, "a")["candidates"].as_array().cloned().unwrap_or_default();
    candidates.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_was_probed_is_given_out_at_once_and_the_candidates_go_on() {
    let mut cluster = on_segment(pool());
    let before = candidates(&cluster);
    // The subnet's own addresses and the node's are never given out.
    assert_eq!((before.len(), before[0].as_str()), (16, "10.0.0.1"));
    finds(&mut cluster, "n1", &["10.0.0.2", "10.0.0.3"], &["10.0.0.1"]);
    cluster.written();
    cluster.expose("web", json!({}));
    assert_eq!(cluster.shows("web"), "10.0.0.2");
    cluster.wait(PATIENCE);
    let after = candidates(&cluster);
    assert!(!after.contains(&"10.0.0.2".to_owned()) && after.contains(&"10.0.0.1".to_owned()), "{after:?}");
    assert_eq!(after.len(), 17, "sixteen, and the one that is taken");
}

#[test]
fn a_service_of_which_nothing_is_decided_yet_is_not_written_and_nobody_is_told() {
    let mut cluster = on_segment(pool());
    cluster.expose("web", json!({}));
    assert_eq!((cluster.shows("web").as_str(), cluster.condition("web")), ("", Value::Null));
    assert_eq!(cluster.events(), []);
    let waiting = r#"waiting{reason="AddressUnprobed"} 1"#;
    assert!(cluster.metrics().contains(waiting), "{}", cluster.metrics());
    finds(&mut cluster, "n2", &["10.0.0.7"], &[]);
    assert_eq!(cluster.shows("web"), "10.0.0.7");
    assert_eq!(cluster.events(), [("web".to_owned(), "Allocated")]);
}

#[test]
fn allocation_does_not_depend_on_a_speaker() {
    let mut cluster = on_segment(pool());
    cluster.expose("first", json!({}));
    cluster.wait(PATIENCE - Duration::from_millis(1));
    assert_eq!(cluster.shows("first"), "");
    cluster.wait(Duration::from_millis(1));
    assert_eq!(cluster.shows("first"), "10.0.0.1");
    cluster.expose("second", json!({}));
    assert_eq!(cluster.shows("second"), "10.0.0.2", "none has said anything in time");
}

#[test]
fn nothing_is_probed_that_is_on_no_segment_not_announced_there_or_not_to_be() {
    type Change = fn(&mut Cluster);
    let cases: [(Value, Change); 4] = [
        (json!({ "addresses": ["10.9.0.0/24"] }), |_| {}),
        (json!({ "addresses": ["10.0.0.0/24"], "probe": "Off" }), |cluster| {
            finds(cluster, "n1", &[], &["10.0.0.1"]);
        }),
        (pool(), |cluster| cluster.remove(Kind::L2Advertisement, "l2")),
        (pool(), |cluster| {
            ["n1", "n2"].map(|node| cluster.remove(Kind::SpeakerStatus, node)).into_iter().collect()
        }),
    ];
    for (spec, change) in cases {
        let mut cluster = on_segment(spec.clone());
        change(&mut cluster);
        cluster.wait(PATIENCE);
        assert_eq!(candidates(&cluster), Vec::<String>::new(), "{spec}");
        cluster.expose("web", json!({}));
        assert!(cluster.shows("web").ends_with(".0.1") || cluster.shows("web").ends_with(".0.0"), "{spec}");
    }
}

#[test]
fn a_named_address_is_probed_first_and_refused_by_mac_until_it_is_free() {
    let mut cluster = on_segment(pool());
    cluster.wait(PATIENCE);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.77" } }));
    assert_eq!(cluster.shows("web"), "");
    assert!(candidates(&cluster).contains(&"10.0.0.77".to_owned()), "in the same step");
    finds(&mut cluster, "n2", &[], &["10.0.0.77"]);
    assert_eq!(cluster.shows("web"), "AddressTaken");
    let told = "address 10.0.0.77 is answered for by 52:54:00:00:00:09, as the speaker on n2 hears";
    assert_eq!(cluster.condition("web")["message"], told);
    assert_eq!(cluster.events(), [("web".to_owned(), "AddressTaken")]);
    cluster.wait(PATIENCE);
    let blocked = cluster.says(Kind::Pool, "a", "Blocked");
    assert!(blocked.contains("10.0.0.77 is answered for by 52:54:00:00:00:09"), "{blocked}");
    finds(&mut cluster, "n2", &["10.0.0.77"], &[]);
    assert_eq!(cluster.shows("web"), "10.0.0.77");
}

#[test]
fn one_who_hears_an_answer_counts_more_than_another_who_does_not() {
    let mut cluster = on_segment(pool());
    finds(&mut cluster, "n1", &["10.0.0.1", "10.0.0.2"], &[]);
    finds(&mut cluster, "n2", &[], &["10.0.0.1"]);
    cluster.expose("web", json!({}));
    assert_eq!(cluster.shows("web"), "10.0.0.2");
    put_node(&mut cluster, "n2", "Unknown");
    cluster.expose("next", json!({}));
    assert_eq!(cluster.shows("next"), "10.0.0.1", "a node that is not ready says nothing");
}

#[test]
fn what_a_status_shows_is_never_decided_again() {
    let mut cluster = on_segment(pool());
    finds(&mut cluster, "n1", &["10.0.0.1"], &[]);
    cluster.expose("web", json!({}));
    let before = cluster.services.clone();
    finds(&mut cluster, "n1", &[], &["10.0.0.1"]);
    cluster.wait(PATIENCE);
    assert_eq!(cluster.services, before);
    cluster.restart();
    cluster.wait(PATIENCE);
    assert_eq!(cluster.services, before);
}

#[test]
fn a_new_controller_knows_what_was_found() {
    let mut cluster = on_segment(pool());
    finds(&mut cluster, "n1", &["10.0.0.2"], &["10.0.0.1"]);
    cluster.restart();
    cluster.expose("web", json!({}));
    assert_eq!(cluster.shows("web"), "10.0.0.2");
}

#[test]
fn a_storm_has_more_probed_and_is_served_as_that_comes_in() {
    let mut cluster = on_segment(json!({ "addresses": ["10.0.0.0/24"] }));
    for index in 0..100 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    cluster.wait(Duration::from_millis(300));
    let wanted = candidates(&cluster);
    assert_eq!(wanted.len(), 116);
    let free: Vec<_> = wanted.iter().map(String::as_str).collect();
    finds(&mut cluster, "n1", &free, &[]);
    let served = (0..100).filter(|index| !cluster.shows(&format!("s{index}")).is_empty()).count();
    assert_eq!(served, 100);
    let writes = cluster.written();
    let of_pool = writes.iter().filter(|object| *object == "IPAddressPool a").count();
    assert!(of_pool <= 3, "{of_pool}");
}

#[test]
fn findings_that_stay_the_same_write_nothing() {
    let mut cluster = on_segment(pool());
    finds(&mut cluster, "n1", &["10.0.0.1"], &["10.0.0.2"]);
    cluster.expose("web", json!({}));
    cluster.wait(Duration::from_secs(10));
    cluster.written();
    finds(&mut cluster, "n1", &["10.0.0.1"], &["10.0.0.2"]);
    finds(&mut cluster, "n2", &["10.0.0.1"], &["10.0.0.2"]);
    cluster.wait(Duration::from_secs(10));
    assert_eq!(cluster.written(), Vec::<String>::new());
}
