use serde_json::{Value, json};

use super::cluster::{Cluster, key, merge};
use crate::world::*;

const WHILE: Duration = Duration::from_secs(5);

fn assert_at_rest(cluster: &mut Cluster) {
    super::pools::assert_at_rest(cluster);
}

fn namespace(cluster: &mut Cluster, name: &str, labels: Value) {
    let metadata = json!({ "name": name, "labels": labels });
    cluster.apply(Kind::Namespace, name, json!({ "metadata": metadata }));
}

fn shown<const N: usize>(cluster: &Cluster, names: [&str; N]) -> [String; N] {
    names.map(|name| cluster.shows(name))
}

#[test]
fn a_pool_for_labelled_namespaces_serves_these_and_no_request_gets_around_it() {
    let mut cluster = Cluster::unlisted();
    namespace(&mut cluster, "blue", json!({ "team": "blue" }));
    namespace(&mut cluster, "red", json!({ "team": "red" }));
    let selector = json!([{ "matchLabels": { "team": "blue" } }]);
    let allocation = json!({ "namespaceSelectors": selector });
    cluster.pool(
        "a",
        json!({ "addresses": ["10.0.0.0/30"], "serviceAllocation": allocation, "onRemove": "Release" }),
    );
    cluster.list();
    cluster.expose("blue/x", json!({}));
    cluster.expose("red/x", json!({}));
    cluster.expose("red/y", json!({ "spec": { "loadBalancerIP": "10.0.0.3" } }));
    assert_eq!(shown(&cluster, ["blue/x", "red/x", "red/y"]), ["10.0.0.0", "NoPoolForService", "PoolClosed"]);
    assert_at_rest(&mut cluster);
    namespace(&mut cluster, "red", json!({ "team": "blue" }));
    assert_eq!(shown(&cluster, ["red/x", "red/y"]), ["10.0.0.1", "10.0.0.3"]);
    cluster.remove(Kind::Namespace, "red");
    assert_eq!(shown(&cluster, ["red/x"]), ["10.0.0.1"], "nobody knows its labels");
    namespace(&mut cluster, "blue", json!({ "team": "green" }));
    assert_eq!(shown(&cluster, ["blue/x", "red/x"]), ["NoPoolForService", "10.0.0.1"]);
}

fn quota(cluster: &mut Cluster, name: &str, spec: Value) {
    cluster.apply(Kind::Quota, name, json!({ "spec": spec }));
}

#[test]
fn a_quota_limits_and_tells_how_much_is_used_and_takes_nothing_away() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/28"])]);
    quota(&mut cluster, "few", json!({ "namespaces": ["team"], "ipv4": 2 }));
    for name in ["team/x", "team/y", "team/z", "other/x"] {
        cluster.expose(name, json!({}));
    }
    assert_eq!(shown(&cluster, ["team/z", "other/x"]), ["QuotaExceeded", "10.0.0.2"]);
    let message = cluster.condition("team/z")["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "AddressQuota few allows 2 IPv4 addresses, and 2 are held");
    cluster.wait(WHILE);
    let status = cluster.status(Kind::Quota, "few");
    assert_eq!(
        (&status["used"], &status["usage"]),
        (&json!("2 of 2 IPv4"), &json!([{ "ipv4": 2, "ipv6": 0 }]))
    );
    assert_eq!(cluster.says(Kind::Quota, "few", "Ready"), "True Valid the configuration is in use");
    assert_at_rest(&mut cluster);
    quota(&mut cluster, "few", json!({ "namespaces": ["team"], "ipv4": 1 }));
    assert_eq!(shown(&cluster, ["team/x", "team/y", "team/z"]), ["10.0.0.0", "10.0.0.1", "QuotaExceeded"]);
    assert_eq!(cluster.status(Kind::Quota, "few")["used"], "2 of 1 IPv4");
    cluster.delete("team/x");
    assert_eq!(cluster.shows("team/z"), "QuotaExceeded");
    cluster.delete("team/y");
    assert_eq!(cluster.shows("team/z"), "10.0.0.3");
    assert_at_rest(&mut cluster);
    cluster.remove(Kind::Quota, "few");
    cluster.expose("team/free", json!({}));
    assert_eq!(cluster.shows("team/free"), "10.0.0.4");
}

#[test]
fn a_quota_for_each_namespace_tells_of_each() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/28"])]);
    quota(&mut cluster, "each", json!({ "ipv4": 2, "per": "Namespace" }));
    for name in ["blue/x", "red/x", "red/y", "red/z"] {
        cluster.expose(name, json!({}));
    }
    cluster.wait(WHILE);
    let usage = |namespace: &str, ipv4: u32| json!({ "namespace": namespace, "ipv4": ipv4, "ipv6": 0 });
    assert_eq!(cluster.status(Kind::Quota, "each")["usage"], json!([usage("red", 2), usage("blue", 1)]));
    assert_eq!(cluster.status(Kind::Quota, "each")["used"], "red: 2 of 2 IPv4");
    assert_at_rest(&mut cluster);
}

#[test]
fn an_edit_of_a_quota_that_means_nothing_changes_nothing_but_what_it_says() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/28"])]);
    quota(&mut cluster, "none", json!({ "ipv4": 0 }));
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "QuotaExceeded");
    quota(&mut cluster, "none", json!({}));
    assert_eq!(
        cluster.says(Kind::Quota, "none", "Ready"),
        "False Invalid spec: at least one of ipv4 and ipv6 must be set; the quota goes on as it was before"
    );
    cluster.expose("y", json!({}));
    assert_eq!(cluster.shows("y"), "QuotaExceeded");
    quota(
        &mut cluster,
        "bad",
        json!({ "ipv4": 1, "namespaceSelectors": [{ "matchExpressions": [{ "key": "", "operator": "Exists" }] }] }),
    );
    assert!(cluster.says(Kind::Quota, "bad", "Ready").ends_with("; the quota limits nothing"));
    cluster.remove(Kind::Quota, "none");
    assert_eq!(shown(&cluster, ["x", "y"]), ["10.0.0.0", "10.0.0.1"]);
    assert_at_rest(&mut cluster);
}

fn reservation(cluster: &mut Cluster, name: &str, spec: Value) {
    cluster.apply(Kind::Reservation, name, json!({ "spec": spec }));
}

fn reserved(cluster: &Cluster, name: &str, type_: &str) -> String {
    cluster.says(Kind::Reservation, name, type_)
}

#[test]
fn what_is_reserved_is_kept_before_the_service_is_there_and_after_it_is_gone() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/28"])]);
    let shop = json!({ "namespace": "default", "name": "shop" });
    reservation(&mut cluster, "shop", json!({ "addresses": ["10.0.0.0/31"], "service": shop }));
    cluster.expose("x", json!({}));
    cluster.expose("greedy", json!({ "spec": { "loadBalancerIP": "10.0.0.1" } }));
    assert_eq!(shown(&cluster, ["x", "greedy"]), ["10.0.0.2", "AddressReserved"]);
    for _ in 0..2 {
        cluster.expose("shop", json!({}));
        assert_eq!(cluster.shows("shop"), "10.0.0.0");
        cluster.wait(WHILE);
        let used = json!([{ "address": "10.0.0.0", "namespace": "default", "name": "shop" }]);
        assert_eq!(cluster.status(Kind::Reservation, "shop")["used"], used);
        assert_at_rest(&mut cluster);
        cluster.delete("shop");
    }
    assert_eq!(cluster.shows("greedy"), "AddressReserved");
    assert_at_rest(&mut cluster);
    cluster.remove(Kind::Reservation, "shop");
    assert_eq!(cluster.shows("greedy"), "10.0.0.1");
}

#[test]
fn what_was_chosen_of_a_pool_stays_chosen_over_restarts() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/29"])]);
    cluster.expose("x", json!({}));
    cluster.expose("y", json!({}));
    let selector = json!({ "namespaces": ["vip"] });
    reservation(&mut cluster, "two", json!({ "pool": "a", "ipv4": 2, "selector": selector }));
    cluster.delete("x");
    cluster.wait(Duration::from_mins(15));
    assert_eq!(cluster.status(Kind::Reservation, "two")["addresses"], json!(["10.0.0.2", "10.0.0.3"]));
    assert_eq!(cluster.status(Kind::Pool, "a")["reservedIPv4"], 2);
    assert_at_rest(&mut cluster);
    assert_eq!(cluster.status(Kind::Reservation, "two")["addresses"], json!(["10.0.0.2", "10.0.0.3"]));
    cluster.expose("vip/x", json!({}));
    cluster.expose("z", json!({}));
    assert_eq!(shown(&cluster, ["vip/x", "z"]), ["10.0.0.2", "10.0.0.0"]);
    reservation(&mut cluster, "two", json!({ "pool": "a", "ipv4": 5, "selector": selector }));
    assert_eq!(reserved(&cluster, "two", "Pending"), "", "four are left and it has two");
    reservation(&mut cluster, "two", json!({ "pool": "a", "ipv4": 9, "selector": selector }));
    assert_eq!(
        reserved(&cluster, "two", "Pending"),
        "True Waiting IPAddressPool a does not have 3 more IPv4 to reserve"
    );
    assert_at_rest(&mut cluster);
}

#[test]
fn with_reclaim_policy_release_an_address_leaves_when_it_is_given_back() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    let selector = json!({ "serviceSelectors": [{ "matchLabels": { "gold": "yes" } }] });
    let spec = json!({ "addresses": ["10.0.0.0/31"], "selector": selector, "reclaimPolicy": "Release" });
    reservation(&mut cluster, "gold", spec);
    let gold = json!({ "metadata": { "labels": { "gold": "yes" } } });
    cluster.expose("x", gold.clone());
    assert_eq!(cluster.shows("x"), "10.0.0.0");
    cluster.delete("x");
    cluster.wait(WHILE);
    assert_eq!(cluster.status(Kind::Reservation, "gold")["released"], json!(["10.0.0.0"]));
    assert_at_rest(&mut cluster);
    cluster.wait(Duration::from_mins(15));
    cluster.expose("y", gold);
    cluster.expose("z", json!({}));
    assert_eq!(shown(&cluster, ["y", "z"]), ["10.0.0.1", "10.0.0.0"]);
    assert_at_rest(&mut cluster);
}

#[test]
fn a_reservation_ends_when_it_is_to_also_in_another_process() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/31"])]);
    let shop = json!({ "namespace": "default", "name": "shop" });
    let end = cluster.now.wall + Duration::from_mins(10);
    reservation(
        &mut cluster,
        "shop",
        json!({ "addresses": ["10.0.0.0/31"], "service": shop, "expires": end }),
    );
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "PoolExhausted");
    cluster.wait(Duration::from_mins(5));
    assert_at_rest(&mut cluster);
    cluster.wait(Duration::from_mins(4));
    assert_eq!(cluster.shows("x"), "PoolExhausted");
    cluster.wait(Duration::from_mins(1));
    assert_eq!(cluster.shows("x"), "10.0.0.0");
    assert_eq!(cluster.status(Kind::Reservation, "shop")["phase"], "Expired");
    let expired = reserved(&cluster, "shop", "Expired");
    assert_eq!(expired, format!("True TimeIsUp it has had no effect since {end}"));
    assert_at_rest(&mut cluster);
    assert_eq!(cluster.shows("x"), "10.0.0.0");
}

#[test]
fn addresses_that_are_still_held_are_counted_apart_from_who_holds_them() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30", "fd00::/126"])]);
    let shared = |port: u16| {
        let annotations =
            json!({ "ferritelb.io/allow-shared-ip": "k", "ferritelb.io/loadBalancerIPs": "10.0.0.1" });
        json!({ "metadata": { "annotations": annotations }, "spec": { "ports": [{ "port": port }] } })
    };
    for port in 80..84 {
        cluster.expose(&format!("s{port}"), shared(port));
    }
    let dual = json!({ "spec": { "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack" } });
    cluster.expose("team/both", dual);
    assert_eq!(cluster.shows("team/both"), "10.0.0.0 fd00::");
    let mut pending = |addresses: Value| {
        let spec = json!({ "addresses": addresses, "selector": { "namespaces": ["vip"] } });
        reservation(&mut cluster, "r", spec);
        cluster.wait(WHILE);
        reserved(&cluster, "r", "Pending")
    };
    let by = "True Waiting 2 of its addresses are still held by";
    assert_eq!(
        pending(json!(["10.0.0.0/31"])),
        format!("{by} 5 other Services, such as 10.0.0.0 by team/both")
    );
    assert_eq!(
        pending(json!(["10.0.0.0", "fd00::"])),
        format!("{by} another Service, such as 10.0.0.0 by team/both")
    );
    assert_eq!(
        pending(json!(["10.0.0.1"])),
        "True Waiting 1 of its addresses is still held by 4 other Services, such as 10.0.0.1 by default/s80"
    );
}

#[test]
fn a_reservation_says_what_it_does_not_have() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/29"])]);
    cluster.expose("x", json!({}));
    let selector = json!({ "namespaces": ["vip"] });
    reservation(&mut cluster, "elder", json!({ "addresses": ["10.0.0.4/30"], "selector": selector }));
    let spec = json!({ "addresses": ["10.0.0.0", "10.0.0.6/31", "10.9.0.0/31"], "selector": selector });
    reservation(&mut cluster, "younger", spec);
    cluster.wait(WHILE);
    assert_eq!(
        reserved(&cluster, "younger", "Overlap"),
        "True ElderReservation 10.0.0.6-10.0.0.7 is kept by AddressReservation elder, which comes first: by age, then by name"
    );
    assert_eq!(
        reserved(&cluster, "younger", "Outside"),
        "True NotInPool no IPAddressPool has 10.9.0.0-10.9.0.1"
    );
    assert_eq!(
        reserved(&cluster, "younger", "Pending"),
        "True Waiting 1 of its addresses is still held by another Service: 10.0.0.0 by default/x"
    );
    assert_at_rest(&mut cluster);
    cluster.remove(Kind::Reservation, "elder");
    cluster.delete("x");
    cluster.pool("b", json!({ "addresses": ["10.9.0.0/31"] }));
    cluster.wait(WHILE);
    assert_eq!(
        ["Overlap", "Outside", "Pending"].map(|type_| reserved(&cluster, "younger", type_)),
        ["", "", ""]
    );
    assert_at_rest(&mut cluster);
}

#[test]
fn an_edit_of_a_reservation_that_means_nothing_changes_nothing_but_what_it_says() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/29"])]);
    let selector = json!({ "namespaces": ["vip"] });
    reservation(&mut cluster, "two", json!({ "pool": "a", "ipv4": 2, "selector": selector }));
    reservation(&mut cluster, "two", json!({ "pool": "a", "ipv4": 0, "selector": selector }));
    assert!(reserved(&cluster, "two", "Ready").ends_with("; the reservation goes on as it was before"));
    cluster.expose("x", json!({}));
    assert_eq!(cluster.shows("x"), "10.0.0.2");
    cluster.wait(WHILE);
    assert_eq!(cluster.status(Kind::Reservation, "two")["addresses"], json!(["10.0.0.0", "10.0.0.1"]));
    reservation(&mut cluster, "bad", json!({ "addresses": ["x"], "selector": selector }));
    assert_eq!(
        reserved(&cluster, "bad", "Ready"),
        "False Invalid spec.addresses[0]: \"x\" is neither a CIDR nor a range; the reservation keeps nothing"
    );
    cluster.restart();
    cluster.wait(WHILE);
    assert_eq!(
        cluster.status(Kind::Reservation, "two")["addresses"],
        json!(["10.0.0.0", "10.0.0.1"]),
        "kept"
    );
    reservation(&mut cluster, "two", json!({ "pool": "a", "ipv4": 2, "selector": selector }));
    cluster.expose("vip/x", json!({}));
    assert_eq!(cluster.shows("vip/x"), "10.0.0.0");
}

#[test]
fn a_reservation_made_again_under_its_name_chooses_anew() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/29"])]);
    let spec = json!({ "pool": "a", "ipv4": 1, "selector": { "namespaces": ["vip"] } });
    cluster.expose("x", json!({}));
    reservation(&mut cluster, "one", spec.clone());
    cluster.wait(WHILE);
    assert_eq!(cluster.status(Kind::Reservation, "one")["addresses"], json!(["10.0.0.1"]));
    cluster.delete("x");
    cluster.wait(Duration::from_mins(15));
    cluster.down = true;
    cluster.remove(Kind::Reservation, "one");
    reservation(&mut cluster, "one", spec);
    cluster.down = false;
    cluster.tell_object(Kind::Reservation, "one");
    cluster.wait(WHILE);
    assert_eq!(cluster.status(Kind::Reservation, "one")["addresses"], json!(["10.0.0.0"]));
    assert_at_rest(&mut cluster);
}

#[test]
fn what_a_tenant_writes_on_his_service_is_no_record_of_what_he_was_given() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"]), ("b", &["10.0.1.0/30"])]);
    cluster.expose("x", json!({}));
    cluster.down = true;
    cluster.annotate("x", "ferritelb.io/ip-allocated-from-pool", json!("b"));
    cluster.annotate(
        "x",
        "ferritelb.io/moving",
        json!(r#"{"from":["10.0.0.0"],"fromPool":"b","to":["10.0.0.0"],"until":"2999-01-01T00:00:00Z"}"#),
    );
    let ingress = json!([{ "ip": "10.0.0.0", "ipMode": "VIP" }, { "ip": "10.9.9.9", "ipMode": "VIP" }]);
    merge(
        cluster.services.get_mut(&key("x")).unwrap(),
        &json!({ "status": { "loadBalancer": { "ingress": ingress } } }),
    );
    cluster.down = false;
    cluster.restart();
    assert_eq!((cluster.shows("x").as_str(), cluster.allocated_from("x")), ("10.0.0.0", json!("a")));
    assert_eq!(cluster.world.ledger.holders("10.9.9.9".parse().unwrap()).next(), None);
}

#[test]
fn who_stops_sharing_and_listens_where_another_does_leaves_the_address() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/32"])]);
    let shares = |port: u16| {
        json!({
            "metadata": { "annotations": { "ferritelb.io/allow-shared-ip": "k" } },
            "spec": { "ports": [{ "port": port, "protocol": "TCP" }] },
        })
    };
    cluster.expose("x", shares(81));
    cluster.expose("v", shares(80));
    assert_eq!(["x", "v"].map(|name| cluster.shows(name)), ["10.0.0.0", "10.0.0.0"]);
    let mut alone = shares(80);
    alone["metadata"]["annotations"]["ferritelb.io/allow-shared-ip"] = Value::Null;
    cluster.edit("x", alone);
    assert_eq!(["x", "v"].map(|name| cluster.shows(name)), ["PoolExhausted", "10.0.0.0"]);
}
