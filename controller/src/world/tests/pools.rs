use serde_json::json;

use super::cluster::{Cluster, update};
use crate::world::*;

const WHILE: Duration = Duration::from_secs(5);

/// Nothing is written for a while, nor when everything is told again, nor by another process.
pub(super) fn assert_at_rest(cluster: &mut Cluster) {
    cluster.wait(WHILE);
    cluster.written();
    cluster.tell_everything();
    cluster.wait(WHILE);
    assert_eq!(cluster.written(), Vec::<String>::new(), "told again");
    cluster.restart();
    cluster.wait(WHILE);
    assert_eq!(cluster.written(), Vec::<String>::new(), "by another process");
}

fn says(cluster: &Cluster, pool: &str, type_: &str) -> String {
    cluster.says(Kind::Pool, pool, type_)
}

#[test]
fn while_a_pool_is_paused_the_last_spec_goes_on_and_it_is_said_what_the_edit_would_do() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    for name in ["x", "y", "z"] {
        cluster.expose(name, json!({}));
    }
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/31", "10.0.9.0/30"], "paused": true }));
    assert_eq!(
        says(&cluster, "a", "Paused"),
        "True Paused the pool would have 6 IPv4 addresses instead of 4; \
         1 Service would keep an address that the pool would not give out to it"
    );
    assert!(says(&cluster, "a", "Ready").starts_with("False Paused spec.paused"));
    assert_eq!(cluster.status(Kind::Pool, "a")["inEffect"]["addresses"], json!(["10.0.0.0/30"]));
    cluster.expose("next", json!({}));
    assert_eq!(cluster.shows("next"), "10.0.0.3");
    assert_at_rest(&mut cluster);
    cluster.expose("last", json!({}));
    assert_eq!(cluster.shows("last"), "PoolExhausted", "after the restart too");
    let edit = json!({ "addresses": ["10.0.9.0/30"], "paused": true, "onRemove": "Release" });
    cluster.pool("a", edit);
    assert_eq!(says(&cluster, "a", "Paused"), "True Paused 4 Services would lose an address");
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/31", "10.0.9.0/30"] }));
    assert_eq!(says(&cluster, "a", "Paused"), "");
    assert_eq!(cluster.shows("last"), "10.0.9.0");
    assert_eq!(
        cluster.status(Kind::Pool, "a")["inEffect"]["addresses"],
        json!(["10.0.0.0/31", "10.0.9.0/30"])
    );
    assert_at_rest(&mut cluster);
}

#[test]
fn a_drain_waits_while_the_pool_is_paused() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"]), ("b", &["10.0.1.0/31"])]);
    for name in ["x", "y", "z"] {
        cluster.expose(name, json!({}));
    }
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30"], "paused": true, "drain": true }));
    assert_eq!(
        says(&cluster, "a", "Paused"),
        "True Paused 2 Services would be moved to other pools; \
         1 Service would have to be moved and could not be"
    );
    cluster.wait(Duration::from_mins(2));
    assert_eq!(["x", "y", "z"].map(|name| cluster.shows(name)), ["10.0.0.0", "10.0.0.1", "10.0.0.2"]);
    assert_at_rest(&mut cluster);
}

#[test]
fn a_pause_stops_a_drain_that_goes_on() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"]), ("b", &["10.0.1.0/30"])]);
    for name in ["x", "y", "z"] {
        cluster.expose(name, json!({}));
    }
    let moves = json!({ "spec": { "moves": { "maxConcurrent": 1, "overlap": "30s" } } });
    cluster.apply(Kind::Config, "default", moves);
    let drained = json!({ "addresses": ["10.0.0.0/30"], "drain": true });
    cluster.pool("a", drained.clone());
    let mut paused = drained.clone();
    paused["paused"] = true.into();
    cluster.pool("a", paused);
    cluster.wait(Duration::from_mins(2));
    let shown = |cluster: &Cluster| ["x", "y", "z"].map(|name| cluster.shows(name));
    assert_eq!(shown(&cluster), ["10.0.1.0", "10.0.0.1", "10.0.0.2"], "what has begun ends");
    assert_at_rest(&mut cluster);
    cluster.restart();
    assert_eq!(shown(&cluster), ["10.0.1.0", "10.0.0.1", "10.0.0.2"]);
    cluster.pool("a", drained);
    cluster.wait(Duration::from_mins(3));
    assert_eq!(shown(&cluster), ["10.0.1.0", "10.0.1.1", "10.0.1.2"]);
}

#[test]
fn a_pool_that_is_born_paused_gives_nothing_until_it_is_not() {
    let mut cluster = Cluster::with(&[]);
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30"], "paused": true }));
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "NoPool");
    assert_eq!(
        says(&cluster, "a", "Paused"),
        "True Paused the pool would have 4 IPv4 addresses instead of 0; no Service would be affected"
    );
    assert_eq!(
        says(&cluster, "a", "Ready"),
        "False Paused spec.paused: the spec is not used; the pool gives out nothing"
    );
    assert_at_rest(&mut cluster);
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30"] }));
    assert_eq!(cluster.shows("x"), "10.0.0.0");
}

#[test]
fn what_a_service_loses_without_asking_is_told_of_it_and_is_not_in_its_condition() {
    let mut cluster = Cluster::unlisted();
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30", "fd00::/126"], "onRemove": "Release" }));
    cluster.pool("b", json!({ "addresses": ["10.0.1.0/32"], "autoAssign": false }));
    cluster.list();
    let annotations = json!({ "ferritelb.io/address-pool": "a,b" });
    cluster.expose("x", json!({ "metadata": { "annotations": annotations } }));
    cluster.expose("y", json!({}));
    let dual = json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack" } });
    cluster.expose("z", dual);
    let notes = |cluster: &mut Cluster| {
        let notices = std::mem::take(&mut cluster.notices).into_iter();
        let mut notes: Vec<_> = notices
            .map(|notice| format!("{} {}: {}", notice.service.name, notice.reason, notice.note))
            .collect();
        notes.sort();
        notes
    };
    assert!(notes(&mut cluster).iter().all(|note| !note.contains("no longer")));
    cluster.remove_pool("a");
    assert_eq!(
        notes(&mut cluster),
        [
            "x Allocated: 10.0.1.0 from IPAddressPool b; 10.0.0.0 is no longer its own",
            "y NoPool: no IPAddressPool assigns addresses automatically; 10.0.0.1 is no longer its own",
            "z NoPool: no IPAddressPool assigns addresses automatically; \
             10.0.0.2 and fd00:: are no longer its own",
        ]
    );
    assert_eq!(cluster.condition("x")["message"], "10.0.1.0 from IPAddressPool b");
    cluster.pool("c", json!({ "addresses": ["10.0.2.0/32"] }));
    assert_eq!(
        notes(&mut cluster).first().unwrap(),
        "y Allocated: 10.0.2.0 from IPAddressPool c",
        "told once"
    );
}

#[test]
fn a_pool_that_is_made_again_under_its_name_does_not_go_on_as_the_old_one() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.down = true;
    cluster.remove_pool("a");
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30"], "paused": true }));
    cluster.down = false;
    cluster.tell_object(Kind::Pool, "a");
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "NoPool");
}

#[test]
fn an_edit_that_means_nothing_leaves_the_last_good_spec_also_for_the_next_process() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.expose("x", json!({}));
    cluster.wait(WHILE);
    cluster.pool("a", json!({ "addresses": ["10.0.0.9-10.0.0.1"] }));
    assert!(says(&cluster, "a", "Ready").ends_with("; the pool goes on as it was before"));
    assert_at_rest(&mut cluster);
    cluster.expose("y", json!({}));
    assert_eq!(cluster.shows("y"), "10.0.0.1");
}

#[test]
fn an_edit_while_no_controller_ran_waits_or_is_refused_all_the_same() {
    for spec in [
        json!({ "addresses": ["10.0.9.0/30"], "paused": true }),
        json!({ "addresses": ["10.0.9.9-10.0.9.0"] }),
    ] {
        let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
        cluster.expose("x", json!({}));
        cluster.wait(WHILE);
        cluster.down = true;
        cluster.pool("a", spec);
        cluster.down = false;
        cluster.written();
        cluster.restart();
        cluster.wait(WHILE);
        assert_eq!(cluster.written(), ["IPAddressPool a"], "the Service is not touched");
        cluster.expose("y", json!({}));
        assert_eq!(cluster.shows("y"), "10.0.0.1");
    }
}

#[test]
fn a_standby_knows_the_newer_of_what_it_saw_and_what_the_leader_wrote() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.wait(WHILE);
    cluster.feed(Update::StandsBy);
    // The leader died before it took note of the second spec.
    cluster.pool("a", json!({ "addresses": ["10.0.1.0/30"] }));
    cluster.pool("a", json!({ "addresses": ["10.0.2.0/30"], "paused": true }));
    cluster.lead();
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "10.0.1.0");
    cluster.feed(Update::StandsBy);
    // Another leader saw one more that this one did not.
    let generation =
        cluster.objects[&(Kind::Pool, "a".to_owned())]["metadata"]["generation"].as_i64().unwrap();
    cluster.down = true;
    cluster.pool("a", json!({ "addresses": ["10.0.3.0/30"] }));
    let status = json!({
        "inEffect": { "addresses": ["10.0.3.0/30"] },
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "Valid", "message": "", "observedGeneration": generation + 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    cluster.apply(Kind::Pool, "a", json!({ "status": status }));
    cluster.down = false;
    cluster.pool("a", json!({ "addresses": ["10.0.4.0/30"], "paused": true }));
    cluster.lead();
    cluster.expose("y", json!({}));
    assert_eq!((cluster.shows("x"), cluster.shows("y")), ("10.0.1.0".into(), "10.0.3.0".into()));
}

#[test]
fn a_freed_address_rests_over_a_restart_and_goes_back_to_its_former_owner() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/29"])]);
    cluster.expose("x", json!({}));
    cluster.expose("y", json!({}));
    cluster.delete("x");
    cluster.delete("y");
    cluster.wait(WHILE);
    let entry = cluster.status(Kind::Pool, "a")["quarantine"][0].clone();
    assert_eq!((&entry["address"], &entry["name"]), (&json!("10.0.0.0"), &json!("x")));
    assert_eq!(cluster.status(Kind::Pool, "a")["quarantinedIPv4"], 2);
    assert_at_rest(&mut cluster);
    cluster.expose("other", json!({}));
    cluster.expose("y", json!({}));
    assert_eq!((cluster.shows("other"), cluster.shows("y")), ("10.0.0.2".into(), "10.0.0.1".into()));
    cluster.wait(Duration::from_mins(10));
    assert_eq!(cluster.status(Kind::Pool, "a")["quarantine"], json!([]), "until is kept over the restart");
    cluster.expose("late", json!({}));
    assert_eq!(cluster.shows("late"), "10.0.0.0");
}

#[test]
fn the_younger_of_two_that_overlap_gives_nothing_of_it_and_names_the_elder() {
    let mut cluster = Cluster::with(&[("b", &["10.0.0.0/30"]), ("a", &["10.0.0.0/29", "10.0.1.0/31"])]);
    cluster.wait(WHILE);
    assert_eq!(
        says(&cluster, "a", "Overlap"),
        "True ElderPool 10.0.0.0-10.0.0.3 belongs to IPAddressPool b, which comes first: by age, then by name"
    );
    assert_eq!(cluster.status(Kind::Pool, "a")["totalIPv4"], 6);
    assert_eq!(says(&cluster, "b", "Overlap"), "");
    assert_at_rest(&mut cluster);
    cluster.remove_pool("b");
    cluster.wait(WHILE);
    assert_eq!(says(&cluster, "a", "Overlap"), "");
    assert_eq!(cluster.status(Kind::Pool, "a")["totalIPv4"], 10);
}

#[test]
fn what_stays_although_the_pool_no_longer_has_it_is_counted() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    for name in ["x", "y", "team/z"] {
        cluster.expose(name, json!({}));
    }
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/32", "10.0.1.0/31"] }));
    cluster.wait(WHILE);
    assert_eq!(
        says(&cluster, "a", "Outside"),
        "True Kept 2 Services keep an address that the pool would no longer give out to it"
    );
    let status = cluster.status(Kind::Pool, "a");
    assert_eq!(
        (&status["assigned"], &status["totalIPv4"], &status["availableIPv4"]),
        (&json!(3), &json!(3), &json!(2))
    );
    assert_eq!(
        status["holders"],
        json!([{ "namespace": "default", "services": 2 }, { "namespace": "team", "services": 1 }])
    );
    assert_at_rest(&mut cluster);
    cluster.pool("a", json!({ "addresses": ["10.0.1.0/31"] }));
    cluster.wait(WHILE);
    assert_eq!(cluster.status(Kind::Pool, "a")["assigned"], 3, "the pool is in use");
    assert_at_rest(&mut cluster);
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30"] }));
    cluster.wait(WHILE);
    assert_eq!(says(&cluster, "a", "Outside"), "");
}

#[test]
fn a_drained_pool_says_how_far_it_is() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/29"]), ("b", &["10.0.1.0/31"])]);
    cluster.apply(
        Kind::Config,
        "default",
        json!({ "spec": { "moves": { "overlap": "1m", "maxConcurrent": 1 } } }),
    );
    assert_eq!(cluster.says(Kind::Config, "default", "Ready"), "True Valid the configuration is in use");
    for name in ["x", "y", "z"] {
        cluster.expose(name, json!({}));
    }
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/29"], "drain": true }));
    cluster.wait(WHILE);
    assert_eq!(
        says(&cluster, "a", "Draining"),
        "True Moving 1 Service is being moved to other pools; 2 Services are to be moved after others"
    );
    assert_at_rest(&mut cluster);
    cluster.wait(Duration::from_mins(1));
    assert_eq!(cluster.shows("x"), "10.0.1.0");
    cluster.wait(Duration::from_mins(2));
    assert_eq!(
        says(&cluster, "a", "Draining"),
        "True Stuck 1 Service is stuck, such as default/z: \
         no IPAddressPool that assigns automatically has IPv4 addresses free"
    );
    assert_at_rest(&mut cluster);
    cluster.delete("z");
    cluster.wait(WHILE);
    assert_eq!(
        says(&cluster, "a", "Draining"),
        "False Drained no Service has an address from the pool any more"
    );
    assert_eq!(cluster.status(Kind::Pool, "a")["assigned"], 0);
    assert_at_rest(&mut cluster);
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/29"] }));
    assert_eq!(says(&cluster, "a", "Draining"), "");
}

#[test]
fn the_configuration_goes_as_far_as_it_is_good_and_without_it_the_defaults_go() {
    let mut cluster = Cluster::with(&[]);
    let moves = |cluster: &Cluster| {
        cluster.world.configs.values().next().cloned().unwrap_or_default().moves.concurrent
    };
    let config = |max: u32| json!({ "spec": { "moves": { "maxConcurrent": max } } });
    cluster.apply(Kind::Config, "default", config(3));
    assert_eq!(moves(&cluster), 3);
    cluster.apply(Kind::Config, "default", config(0));
    assert_eq!(moves(&cluster), 3);
    assert!(
        cluster
            .says(Kind::Config, "default", "Ready")
            .starts_with("False Invalid spec.moves.maxConcurrent: ")
    );
    cluster.apply(Kind::Config, "other", config(5));
    assert!(cluster.says(Kind::Config, "other", "Ready").starts_with("False Invalid metadata.name: "));
    cluster.remove(Kind::Config, "other");
    assert_eq!(moves(&cluster), 3);
    cluster.remove(Kind::Config, "default");
    assert_eq!(moves(&cluster), 10);
    assert_at_rest(&mut cluster);
}

fn node(addresses: &[&str], pods: &[&str]) -> Value {
    let addresses: Vec<_> =
        addresses.iter().map(|one| json!({ "type": "InternalIP", "address": one })).collect();
    json!({ "spec": { "podCIDRs": pods }, "status": { "addresses": addresses } })
}

#[test]
fn what_is_a_nodes_a_gateway_or_a_subnets_own_is_only_given_out_by_request() {
    let mut cluster = Cluster::unlisted();
    cluster.pool("a", json!({ "addresses": ["192.0.2.0/29"] }));
    cluster.apply(Kind::Node, "n1", node(&["192.0.2.2"], &[]));
    let networks = json!([{ "interface": "eth0", "addresses": ["192.0.2.2/29"], "gateways": ["192.0.2.1"] }]);
    let speaker = json!({ "status": { "networks": networks } });
    cluster.apply(Kind::SpeakerStatus, "n1", speaker.clone());
    cluster.list();
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "192.0.2.3");
    assert_eq!(
        says(&cluster, "a", "Blocked"),
        "True InUse not given out unless a Service asks for it: 192.0.2.0 is the network address of 192.0.2.0/29, \
         192.0.2.1 is a gateway of node n1, 192.0.2.2 is an address of node n1, \
         192.0.2.7 is the broadcast address of 192.0.2.0/29"
    );
    cluster.expose("named", json!({ "spec": { "loadBalancerIP": "192.0.2.1" } }));
    let message = cluster.condition("named")["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "192.0.2.1 from IPAddressPool a; 192.0.2.1 is a gateway of node n1");
    assert_at_rest(&mut cluster);
    cluster.apply(Kind::Node, "n2", node(&["192.0.2.4"], &[]));
    cluster.wait(WHILE);
    cluster.expose("y", json!({}));
    assert_eq!(cluster.shows("y"), "192.0.2.5");
    cluster.remove(Kind::Node, "n2");
    cluster.wait(WHILE);
    cluster.expose("z", json!({}));
    assert_eq!(cluster.shows("z"), "192.0.2.4");
    cluster.wait(WHILE);
    cluster.written();
    cluster.apply(
        Kind::SpeakerStatus,
        "n1",
        json!({ "status": { "networks": networks_of(&speaker), "sessionsTotal": 7 } }),
    );
    cluster.wait(WHILE);
    assert_eq!(cluster.written(), Vec::<String>::new(), "nothing of interest has changed");
}

fn networks_of(speaker: &Value) -> Value {
    speaker["status"]["networks"].clone()
}

#[test]
fn a_pool_in_the_clusters_own_ranges_is_warned_of() {
    let mut cluster = Cluster::with(&[("a", &["10.96.1.0/24", "10.244.7.0/24"]), ("b", &["10.0.0.0/24"])]);
    cluster.apply(Kind::ServiceCidr, "kubernetes", json!({ "spec": { "cidrs": ["10.96.0.0/12"] } }));
    cluster.apply(Kind::Node, "n7", node(&[], &["10.244.7.0/25"]));
    cluster.wait(WHILE);
    assert_eq!(
        says(&cluster, "a", "CIDRConflict"),
        "True InUse the cluster itself uses some of the pool's addresses: \
         10.96.0.0/12 of ServiceCIDR kubernetes, 10.244.7.0/25 of the pods of node n7"
    );
    assert_eq!(says(&cluster, "b", "CIDRConflict"), "");
    cluster.expose("x", json!({ "metadata": { "annotations": { "ferritelb.io/address-pool": "a" } } }));
    assert_eq!(cluster.shows("x"), "10.96.1.0", "it is a warning");
    assert_at_rest(&mut cluster);
    let exclude = json!(["10.96.0.0/16", "10.244.7.0-10.244.7.127"]);
    cluster.pool("a", json!({ "addresses": ["10.96.1.0/24", "10.244.7.0/24"], "exclude": exclude }));
    assert_eq!(says(&cluster, "a", "CIDRConflict"), "");
}

#[test]
fn a_status_that_was_not_written_when_the_lease_was_lost_is_written_by_who_has_it_next() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.wait(WHILE);
    cluster.down = true;
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/31"] }));
    cluster.down = false;
    let object = cluster.objects.get(&(Kind::Pool, "a".to_owned())).cloned();
    let unwritten = cluster.world.apply(update(Kind::Pool, "a", object), cluster.now);
    assert!(matches!(unwritten.as_slice(), [Effect::Status(..)]), "{unwritten:?}");
    cluster.feed(Update::StandsBy);
    assert_eq!(cluster.status(Kind::Pool, "a")["totalIPv4"], 4);
    cluster.lead();
    assert_eq!(cluster.status(Kind::Pool, "a")["totalIPv4"], 2);
}

#[test]
fn the_metrics_follow_pools_quotas_moves_and_those_that_wait_and_end_with_the_lead() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"]), ("b", &["10.0.1.0/32"])]);
    cluster.apply(Kind::Quota, "q", json!({ "spec": { "namespaces": ["team"], "ipv4": 1 } }));
    for name in ["team/x", "team/y", "z"] {
        cluster.expose(name, json!({}));
    }
    assert!(cluster.metrics().contains("services_waiting{reason=\"QuotaExceeded\"} 1\n"));
    cluster.delete("z");
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/30"], "drain": true }));
    cluster.wait(WHILE);
    for line in [
        "pool_addresses{pool=\"a\",family=\"ipv4\"} 4",
        "pool_assigned{pool=\"a\",family=\"ipv4\"} 1",
        "pool_available{pool=\"a\",family=\"ipv4\"} 3",
        "pool_quarantined{pool=\"a\",family=\"ipv4\"} 1",
        "pool_moves{pool=\"a\",state=\"running\"} 1",
        "quota_used{quota=\"q\",family=\"ipv4\"} 2",
        "quota_limit{quota=\"q\",family=\"ipv4\"} 1",
    ] {
        assert!(
            cluster.metrics().contains(&format!("\nferritelb_controller_{line}\n")),
            "{line}\n{}",
            cluster.metrics()
        );
    }
    cluster.delete("team/y");
    let metrics = cluster.metrics();
    let mut waiting = metrics.lines().filter(|line| line.contains("services_waiting{"));
    assert!(waiting.all(|line| line.ends_with(" 0")), "{metrics}");
    cluster.feed(Update::StandsBy);
    let metrics = cluster.metrics();
    assert!(!metrics.contains("pool=") && !metrics.contains("quota="), "{metrics}");
}
