use serde_json::json;

use self::cluster::{Cluster, key, merge};
use super::*;

mod cluster;
mod histories;
mod placements;
mod pools;
mod probing;
mod tenancy;

#[test]
fn an_exposed_service_gets_one_write_that_says_everything() {
    let mut cluster = Cluster::with(&[("edge", &["192.0.2.0/24"])]);
    cluster.expose("web", json!({}));
    assert_eq!(cluster.written(), ["default/web"]);
    let ingress = &cluster.services[&key("web")]["status"]["loadBalancer"]["ingress"];
    assert_eq!(*ingress, json!([{ "ip": "192.0.2.0", "ipMode": "VIP" }]));
    assert_eq!(cluster.allocated_from("web"), "edge");
    let condition = cluster.condition("web");
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Allocated")));
    assert_eq!(condition["message"], "192.0.2.0 from IPAddressPool edge");
    assert_eq!(cluster.events(), [("web".to_owned(), "Allocated")]);
}

#[test]
fn nothing_is_decided_before_every_kind_was_listed() {
    let mut cluster = Cluster::unlisted();
    cluster.expose("web", json!({}));
    cluster.pool("edge", json!({ "addresses": ["192.0.2.0/24"] }));
    cluster.lead();
    let [first @ .., last] = Kind::ALL;
    for kind in first {
        cluster.feed(Update::Synced(kind));
    }
    assert!(!cluster.world.is_synced());
    assert_eq!((cluster.written(), cluster.world.poll_timeout()), (vec![], None));
    cluster.feed(Update::Synced(last));
    assert!(cluster.world.is_synced());
    assert_eq!(cluster.shows("web"), "192.0.2.0");
}

#[test]
fn the_field_and_the_annotations_ask_for_an_address_or_a_pool() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24", "fd00::/64"]), ("b", &["10.0.1.0/24"])]);
    cluster.expose("field", json!({ "spec": { "loadBalancerIP": "10.0.1.7" } }));
    let annotations = json!({ "ferritelb.io/loadBalancerIPs": "fd00::9, 10.0.0.9" });
    let dual = json!({ "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack" });
    cluster.expose("both", json!({ "metadata": { "annotations": annotations }, "spec": dual }));
    cluster.expose("pool", json!({ "metadata": { "annotations": { "ferritelb.io/address-pool": "b" } } }));
    cluster.expose("old", json!({ "metadata": { "annotations": { "metallb.io/address-pool": "b" } } }));
    let shown = ["field", "both", "pool", "old"].map(|name| cluster.shows(name));
    assert_eq!(shown, ["10.0.1.7", "10.0.0.9 fd00::9", "10.0.1.0", "10.0.1.1"]);
}

#[test]
fn a_contradiction_and_a_headless_service_are_refused_by_field() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"])]);
    let both = json!({
        "metadata": { "annotations": { "ferritelb.io/loadBalancerIPs": "10.0.0.2" } },
        "spec": { "loadBalancerIP": "10.0.0.1" },
    });
    cluster.expose("torn", both);
    cluster.expose("headless", json!({ "spec": { "clusterIP": "None" } }));
    assert_eq!((cluster.shows("torn"), cluster.shows("headless")), ("Invalid".into(), "Invalid".into()));
    let message = |name: &str| cluster.condition(name)["message"].as_str().unwrap().to_owned();
    assert!(message("torn").starts_with("spec.loadBalancerIP: "), "{}", message("torn"));
    assert!(message("headless").starts_with("spec.clusterIP: "), "{}", message("headless"));
}

#[test]
fn a_service_of_another_class_is_never_written() {
    let mut cluster = Cluster::unlisted();
    cluster.class = Some("ferritelb.io/lb");
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/24"] }));
    cluster.list();
    cluster.written();
    cluster.expose("ours", json!({ "spec": { "loadBalancerClass": "ferritelb.io/lb" } }));
    cluster.expose("classless", json!({}));
    let theirs = json!({
        "spec": { "loadBalancerClass": "example.org/lb" },
        "metadata": { "annotations": { "ferritelb.io/ip-allocated-from-pool": "a" } },
        "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.9", "ipMode": "VIP" }] } },
    });
    cluster.expose("theirs", theirs);
    cluster.wait(Duration::from_secs(60));
    assert_eq!(cluster.shows("ours"), "10.0.0.0");
    let written = cluster.written();
    assert!(
        written.iter().all(|object| object == "default/ours" || object == "IPAddressPool a"),
        "{written:?}"
    );
}

#[test]
fn deletion_frees_the_address_for_the_one_that_waits_in_the_same_step() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/32"])]);
    cluster.expose("first", json!({}));
    cluster.expose("second", json!({}));
    cluster.expose("third", json!({}));
    assert_eq!(cluster.shows("second"), "PoolExhausted");
    assert_eq!(cluster.events().last().unwrap(), &("third".to_owned(), "PoolExhausted"));
    cluster.written();
    cluster.delete("first");
    assert_eq!(
        (cluster.shows("second"), cluster.shows("third")),
        ("10.0.0.0".into(), "PoolExhausted".into())
    );
    assert_eq!(cluster.written(), ["default/second"]);
    assert_eq!(cluster.events(), [("second".to_owned(), "Allocated")]);
}

#[test]
fn a_service_that_stops_being_a_load_balancer_is_cleaned_and_its_address_is_free_at_once() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/32"])]);
    cluster.expose("web", json!({}));
    cluster.expose("next", json!({}));
    cluster.edit("web", json!({ "spec": { "type": "ClusterIP" } }));
    assert_eq!(cluster.shows("web"), "");
    assert_eq!((cluster.condition("web"), cluster.allocated_from("web")), (Value::Null, Value::Null));
    assert_eq!(cluster.shows("next"), "10.0.0.0");
    cluster.written();
    cluster.edit("web", json!({ "metadata": { "labels": { "a": "b" } } }));
    assert_eq!(cluster.written(), Vec::<String>::new());
}

#[test]
fn a_type_change_while_the_controller_was_away_is_cleaned_at_start() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/32"])]);
    cluster.expose("web", json!({}));
    merge(cluster.services.get_mut(&key("web")).unwrap(), &json!({ "spec": { "type": "NodePort" } }));
    cluster.restart();
    assert_eq!((cluster.shows("web").as_str(), cluster.allocated_from("web")), ("", Value::Null));
}

#[test]
fn what_was_written_to_clean_a_service_and_lost_with_the_lease_is_written_again() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/32"])]);
    cluster.expose("web", json!({}));
    merge(cluster.services.get_mut(&key("web")).unwrap(), &json!({ "spec": { "type": "ClusterIP" } }));
    let service = serde_json::from_value(cluster.services[&key("web")].clone()).unwrap();
    let seen = || Update::Service(key("web"), Some(SeenService::project(&service, None)));
    let lost = cluster.world.apply(seen(), cluster.now);
    assert!(matches!(lost.as_slice(), [Effect::Service(..)]), "{lost:?}");
    for again in 0..2 {
        cluster.feed(Update::StandsBy);
        let lost = cluster.world.apply(Update::Leads(BTreeMap::new()), cluster.now);
        assert!(lost.iter().any(|effect| matches!(effect, Effect::Service(..))), "{again}: {lost:?}");
    }
    cluster.feed(Update::StandsBy);
    cluster.lead();
    assert_eq!((cluster.shows("web").as_str(), cluster.allocated_from("web")), ("", Value::Null));
    cluster.feed(Update::StandsBy);
    cluster.written();
    cluster.lead();
    assert_eq!(cluster.written(), Vec::<String>::new(), "it was seen to be clean");
}

#[test]
fn an_unrelated_change_writes_nothing() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"]), ("b", &["10.0.1.0/24"])]);
    for name in ["x", "y", "z"] {
        cluster.expose(name, json!({}));
    }
    cluster.wait(Duration::from_secs(10));
    cluster.written();
    cluster.edit(
        "x",
        json!({ "metadata": { "labels": { "team": "blue" } }, "spec": { "ports": [{ "port": 80 }] } }),
    );
    cluster.tell_everything();
    cluster.pool("b", json!({ "addresses": ["10.0.1.0/24"] }));
    cluster.wait(Duration::from_secs(10));
    assert_eq!(cluster.written(), Vec::<String>::new());
    cluster.delete("y");
    cluster.wait(Duration::from_secs(10));
    assert_eq!(cluster.written(), ["IPAddressPool a"], "only the counts change");
}

#[test]
fn a_restart_changes_nothing_and_writes_nothing() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/31", "fd00::/64"])]);
    let dual = json!({ "spec": { "ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack" } });
    cluster.expose("gone", json!({}));
    cluster.expose("dual", dual);
    cluster.expose("refused", json!({ "spec": { "loadBalancerIP": "10.9.9.9" } }));
    cluster.expose("waits", json!({}));
    cluster.expose("garbage", json!({ "spec": { "loadBalancerIP": "1.2.3" } }));
    cluster.delete("gone");
    cluster.wait(Duration::from_secs(10));
    cluster.written();
    cluster.events();
    let before = cluster.services.clone();
    cluster.restart();
    cluster.wait(Duration::from_secs(10));
    assert_eq!(cluster.services, before);
    assert_eq!((cluster.written(), cluster.events()), (vec![], vec![]));
}

#[test]
fn of_two_that_hold_one_address_at_start_the_older_keeps_it() {
    let mut cluster = Cluster::unlisted();
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/24"] }));
    let held =
        json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.5", "ipMode": "VIP" }] } } });
    cluster.expose("z-older", held.clone());
    cluster.expose("a-younger", held);
    cluster.list();
    assert_eq!(
        (cluster.shows("z-older"), cluster.shows("a-younger")),
        ("10.0.0.5".into(), "10.0.0.0".into())
    );
    let told: Vec<_> = cluster.events().into_iter().filter(|(name, _)| name == "a-younger").collect();
    assert_eq!(told, [("a-younger".to_owned(), "AddressInUse"), ("a-younger".to_owned(), "Allocated")]);
}

#[test]
fn a_status_edited_by_hand_is_repaired() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"])]);
    cluster.expose("web", json!({}));
    let before = cluster.services[&key("web")].clone();
    cluster.events();
    let ingress = [
        json!([{ "ip": "198.51.100.1", "ipMode": "VIP" }]),
        json!([{ "hostname": "example.org" }]),
        json!([{ "ip": "10.0.0.0" }, { "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }]),
        json!([{ "ip": "10.0.0.0", "ipMode": "Proxy" }]),
        json!([]),
    ];
    for ingress in ingress {
        cluster.edit("web", json!({ "status": { "loadBalancer": { "ingress": ingress } } }));
        assert_eq!(cluster.services[&key("web")], before);
    }
    cluster.annotate("web", "ferritelb.io/ip-allocated-from-pool", json!("b"));
    assert_eq!(cluster.services[&key("web")], before);
    assert_eq!(cluster.events(), []);
    cluster.written();
    cluster.edit("web", json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "10.0.0.0" }] } } }));
    assert_eq!(cluster.written(), Vec::<String>::new(), "an absent ipMode is VIP");
}

#[test]
fn a_garbage_annotation_is_told_by_its_name_and_the_held_address_stays() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"])]);
    cluster.expose("web", json!({}));
    cluster.events();
    cluster.annotate("web", "ferritelb.io/loadBalancerIPs", json!("1.2.3"));
    assert_eq!(cluster.shows("web"), "10.0.0.0 Invalid");
    let message = cluster.condition("web")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("ferritelb.io/loadBalancerIPs") && message.contains("1.2.3"), "{message}");
    assert!(message.ends_with("it keeps 10.0.0.0 meanwhile"), "{message}");
    assert_eq!(cluster.events(), [("web".to_owned(), "Invalid")]);
    cluster.edit("web", json!({ "metadata": { "labels": { "a": "b" } } }));
    assert_eq!(cluster.events(), [], "said once");
    cluster.annotate("web", "ferritelb.io/loadBalancerIPs", Value::Null);
    assert_eq!(cluster.shows("web"), "10.0.0.0");
}

#[test]
fn a_changed_request_keeps_the_old_address_until_the_new_one_is_granted() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"])]);
    cluster.expose("x", json!({}));
    cluster.expose("y", json!({}));
    cluster.edit("y", json!({ "spec": { "loadBalancerIP": "10.0.0.0" } }));
    assert_eq!(cluster.shows("y"), "10.0.0.1 AddressInUse");
    cluster.delete("x");
    assert_eq!(cluster.shows("y"), "10.0.0.0");
}

#[test]
fn a_full_pool_is_said_and_a_new_pool_serves_those_that_wait() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/32"])]);
    for name in ["x", "y", "z"] {
        cluster.expose(name, json!({}));
    }
    cluster.written();
    cluster.pool("b", json!({ "addresses": ["10.0.1.0/32"] }));
    assert_eq!(["x", "y", "z"].map(|name| cluster.shows(name)), ["10.0.0.0", "10.0.1.0", "PoolExhausted"]);
    assert_eq!(cluster.written(), ["IPAddressPool b", "default/y"]);
}

#[test]
fn a_pool_that_goes_or_breaks_takes_nothing_away_and_the_last_good_state_goes_on() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"])]);
    cluster.expose("x", json!({}));
    cluster.wait(Duration::from_secs(10));
    cluster.written();
    cluster.pool("a", json!({ "addresses": ["10.0.0.9-10.0.0.1"] }));
    assert_eq!(cluster.written(), ["IPAddressPool a"]);
    let ready = cluster.status(Kind::Pool, "a")["conditions"][0].clone();
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Invalid")));
    assert!(ready["message"].as_str().unwrap().starts_with("spec.addresses[0]: "), "{ready}");
    cluster.expose("y", json!({}));
    assert_eq!(cluster.shows("y"), "10.0.0.1", "by the last good state");
    cluster.remove_pool("a");
    assert_eq!(["x", "y"].map(|name| cluster.shows(name)), ["10.0.0.0", "10.0.0.1"]);
}

#[test]
fn a_pool_that_was_never_good_gives_nothing_and_harms_no_other() {
    let mut cluster = Cluster::unlisted();
    cluster.pool("bad", json!({ "addresses": ["10.0.0.9-10.0.0.1"] }));
    cluster.pool("worse", json!({ "addresses": 7 }));
    cluster.pool("good", json!({ "addresses": ["10.0.0.0/24"] }));
    cluster.expose("x", json!({}));
    cluster.list();
    assert_eq!(cluster.shows("x"), "10.0.0.0");
    let ready = |name: &str| cluster.status(Kind::Pool, name)["conditions"][0]["status"].clone();
    assert_eq!(["bad", "worse", "good"].map(ready), ["False", "False", "True"]);
    cluster.written();
    cluster.tell_everything();
    assert_eq!(cluster.written(), Vec::<String>::new());
}

#[test]
fn a_pools_status_counts_by_family_and_is_written_at_most_once_a_second() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24", "fd00::/64"])]);
    for number in 0..50 {
        cluster.expose(&format!("s{number}"), json!({}));
        cluster.wait(Duration::from_millis(20));
    }
    cluster.wait(Duration::from_secs(2));
    let writes = cluster.written().iter().filter(|object| *object == "IPAddressPool a").count();
    assert!((1..=3).contains(&writes), "{writes}");
    let status = cluster.status(Kind::Pool, "a").clone();
    assert_eq!((&status["assignedIPv4"], &status["availableIPv4"]), (&json!(50), &json!(206)));
    assert_eq!((&status["assignedIPv6"], &status["availableIPv6"]), (&json!(0), &json!(i64::MAX)));
}

#[test]
fn what_happens_while_the_api_server_is_away_is_not_lost() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/31"])]);
    cluster.expose("x", json!({}));
    cluster.down = true;
    let before = cluster.services.clone();
    cluster.expose("y", json!({}));
    cluster.delete("x");
    cluster.wait(Duration::from_secs(30));
    assert_eq!(cluster.services[&key("y")]["status"], json!({ "loadBalancer": {} }));
    cluster.down = false;
    // The lists that follow an outage become removals and upserts.
    for key in before.keys() {
        cluster.tell(key);
    }
    cluster.tell_everything();
    cluster.wait(Duration::from_secs(1));
    assert_eq!(cluster.shows("y"), "10.0.0.1", "the freed one rests");
}

#[test]
fn a_write_that_is_no_longer_wanted_is_taken_back() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/31"])]);
    cluster.expose("x", json!({}));
    let seen = |cluster: &Cluster| {
        let service = serde_json::from_value(cluster.services[&key("x")].clone()).unwrap();
        Update::Service(key("x"), Some(SeenService::project(&service, None)))
    };
    let (now, good) = (cluster.now, seen(&cluster));
    merge(cluster.services.get_mut(&key("x")).unwrap(), &json!({ "spec": { "loadBalancerIP": "10.9.9.9" } }));
    let effects = cluster.world.apply(seen(&cluster), now);
    assert!(matches!(effects.first(), Some(Effect::Service(..))), "{effects:?}");
    assert!(cluster.world.apply(good, now).contains(&Effect::Forget(key("x"))));
}

#[test]
fn a_service_made_again_under_its_name_is_another_one() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/24"])]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.9" } }));
    assert_eq!(cluster.shows("web"), "10.0.0.9");
    assert_eq!(cluster.world.ledger.holders("10.0.0.7".parse::<IpAddr>().unwrap()).next(), None);
    cluster.expose("web", json!({}));
    assert_eq!(cluster.shows("web"), "10.0.0.9", "both rest for one of that name, which had this one last");
}

#[test]
fn verdicts_are_written_once_and_name_the_field() {
    let mut cluster = Cluster::with(&[]);
    let good = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.1" });
    let bad = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2" });
    let table = [
        (good, "True", "Valid", "the configuration is in use"),
        (bad, "False", "Invalid", "spec.peerAddress: "),
        (json!({ "myASN": 64512, "peerAddress": "192.0.2.1" }), "False", "Invalid", "peerASN"),
    ];
    for (spec, status, reason, message) in table {
        cluster.apply(Kind::BgpPeer, "tor", json!({ "spec": spec }));
        let ready = cluster.status(Kind::BgpPeer, "tor")["conditions"][0].clone();
        assert_eq!(
            (ready["status"].as_str(), ready["reason"].as_str()),
            (Some(status), Some(reason)),
            "{spec}"
        );
        assert!(ready["message"].as_str().unwrap().contains(message), "{ready}");
        assert_eq!(cluster.written(), ["BGPPeer tor"]);
    }
    cluster.tell_everything();
    assert_eq!(cluster.written(), Vec::<String>::new(), "garbage is told once");
}

#[test]
fn a_standby_decides_nothing_and_one_that_leads_waits_for_what_the_last_one_wrote() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/31"])]);
    cluster.expose("x", json!({}));
    cluster.feed(Update::StandsBy);
    cluster.expose("y", json!({}));
    cluster.wait(Duration::from_secs(30));
    assert_eq!(cluster.services[&key("y")]["status"], json!({ "loadBalancer": {} }), "another decides");
    let by_another = json!({ "ingress": [{ "ip": "10.0.0.1", "ipMode": "VIP" }] });
    merge(
        cluster.services.get_mut(&key("y")).unwrap(),
        &json!({ "metadata": { "resourceVersion": "8" }, "status": { "loadBalancer": by_another } }),
    );
    cluster.expose("z", json!({}));
    cluster.lead();
    cluster.written();
    assert_eq!(
        cluster.services[&key("z")]["status"],
        json!({ "loadBalancer": {} }),
        "y was not seen as it is"
    );
    cluster.tell(&key("y"));
    assert_eq!(["x", "y", "z"].map(|name| cluster.shows(name)), ["10.0.0.0", "10.0.0.1", "PoolExhausted"]);
}

#[test]
fn a_service_that_cannot_be_read_stops_nobody_and_keeps_what_it_is_known_to_have() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.expose("x", json!({}));
    cluster.feed(Update::StandsBy);
    cluster.feed(Update::Leads([(key("x"), 8), (key("new"), 9)].into()));
    cluster.expose("y", json!({}));
    cluster.feed(Update::Unreadable(key("x"), 7));
    cluster.feed(Update::Unreadable(key("new"), 9));
    assert_eq!(
        cluster.services[&key("y")]["status"],
        json!({ "loadBalancer": {} }),
        "x was not seen as it is"
    );
    cluster.written();
    cluster.feed(Update::Unreadable(key("x"), 8));
    assert_eq!(["x", "y"].map(|name| cluster.shows(name)), ["10.0.0.0", "10.0.0.1"]);
    assert!(!cluster.written().contains(&"default/x".to_owned()));
    cluster.delete("x");
    cluster.feed(Update::StandsBy);
    cluster.feed(Update::Leads([(key("new"), 9)].into()));
    assert!(cluster.world.decides(), "its version was seen before");
}

#[test]
fn a_service_that_ended_before_its_list_came_is_waited_for_until_the_next_list() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.feed(Update::StandsBy);
    cluster.feed(Update::Leads([(key("gone"), 7)].into()));
    cluster.expose("x", json!({}));
    assert_eq!(cluster.services[&key("x")]["status"], json!({ "loadBalancer": {} }), "gone was not seen yet");
    cluster.lead();
    assert_eq!(cluster.shows("x"), "10.0.0.0");
    cluster.feed(Update::Leads([(key("gone"), 7)].into()));
    cluster.expose("y", json!({}));
    assert_eq!(cluster.shows("y"), "10.0.0.1", "a list that comes too late changes nothing");
}

#[test]
fn after_a_restart_those_that_wait_do_so_in_the_order_in_which_they_were_created() {
    let mut cluster = Cluster::with(&[]);
    for (name, uid) in [("first", "z"), ("second", "a")] {
        cluster.expose(name, json!({ "metadata": { "uid": uid } }));
    }
    cluster.restart();
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/32"] }));
    assert_eq!(["first", "second"].map(|name| cluster.shows(name)), ["10.0.0.0", "PoolExhausted"]);
}

#[test]
fn of_two_that_were_created_in_one_second_the_one_that_was_written_first_waits_first() {
    let mut cluster = Cluster::with(&[]);
    for (name, uid, version) in [("first", "z", "5"), ("second", "a", "7")] {
        let created = "2026-11-21T12:00:00Z";
        let metadata = json!({ "uid": uid, "creationTimestamp": created, "resourceVersion": version });
        cluster.expose(name, json!({ "metadata": metadata }));
    }
    cluster.restart();
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/32"] }));
    assert_eq!(["first", "second"].map(|name| cluster.shows(name)), ["10.0.0.0", "PoolExhausted"]);
}

#[test]
fn what_others_wrote_since_a_service_was_seen_is_not_overwritten_unseen() {
    let mut cluster = Cluster::with(&[("a", &["10.0.0.0/30"])]);
    cluster.down = true;
    cluster.expose("x", json!({ "metadata": { "resourceVersion": "5" } }));
    cluster.down = false;
    let service = serde_json::from_value(cluster.services[&key("x")].clone()).unwrap();
    let seen = Update::Service(key("x"), Some(SeenService::project(&service, None)));
    let on_its_way = cluster.world.apply(seen, cluster.now);
    let by_another = json!({ "ingress": [{ "ip": "10.0.0.1", "ipMode": "VIP" }] });
    merge(
        cluster.services.get_mut(&key("x")).unwrap(),
        &json!({ "metadata": { "resourceVersion": "6" }, "status": { "loadBalancer": by_another } }),
    );
    cluster.take(on_its_way);
    assert_eq!(cluster.shows("x"), "10.0.0.1", "it was seen as 5, and is 6");
    cluster.tell(&key("x"));
    assert_eq!(cluster.shows("x"), "10.0.0.0");
}
