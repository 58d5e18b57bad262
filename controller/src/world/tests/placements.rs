//! Where addresses are placed, as the AddressOwners say.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::cluster::Cluster;
use crate::world::*;

const DRAIN: &str = "ferritelb.io/drain";
const MOVE_TO: &str = "ferritelb.io/move-to";
const MINUTE: Duration = Duration::from_mins(1);

fn ready(status: &str) -> Value {
    json!({ "conditions": [{ "type": "Ready", "status": status }] })
}

/// A node that is ready, with this in its metadata besides.
fn put_node(cluster: &mut Cluster, name: &str, metadata: Value) {
    let mut all = json!({ "name": name, "uid": name, "labels": { "name": name } });
    super::cluster::merge(&mut all, &metadata);
    cluster.apply(Kind::Node, name, json!({ "metadata": all, "status": ready("True") }));
}

fn advertise(cluster: &mut Cluster, spec: Value) {
    cluster.apply(Kind::L2Advertisement, "l2", json!({ "spec": spec }));
}

fn prefer(pairs: &[(u32, &str)]) -> Value {
    let one = |(weight, name): &(u32, &str)| json!({ "weight": weight, "preference": { "matchLabels": { "name": name } } });
    pairs.iter().map(one).collect()
}

/// A pool that is announced by layer 2 from nodes of these names.
fn cluster_of(nodes: &[&str]) -> Cluster {
    let mut cluster = Cluster::unlisted();
    cluster.pool("a", json!({ "addresses": ["10.0.0.0/24"] }));
    for name in nodes {
        put_node(&mut cluster, name, json!({}));
    }
    advertise(&mut cluster, json!({}));
    cluster.list();
    cluster.writes.clear();
    cluster
}

fn names(cluster: &Cluster) -> Vec<String> {
    let owners = cluster.objects.keys().filter(|(kind, _)| *kind == Kind::AddressOwner);
    owners.map(|(_, name)| name.clone()).collect()
}

fn spec(cluster: &Cluster, name: &str) -> Value {
    cluster.objects[&(Kind::AddressOwner, name.to_owned())]["spec"].clone()
}

/// How many addresses are placed on each of these nodes.
fn loads<const N: usize>(cluster: &Cluster, nodes: [&str; N]) -> [usize; N] {
    let on = |node: &str| names(cluster).iter().filter(|name| spec(cluster, name)["node"] == node).count();
    nodes.map(on)
}

/// The node's speaker says that it answers for the address.
fn answers(cluster: &mut Cluster, address: &str, node: &str) {
    cluster.patch_owner(address, &json!({ "status": { "node": node } }));
}

#[test]
fn an_address_is_placed_before_the_service_says_that_it_has_it() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    cluster.down = true;
    cluster.expose("web", json!({}));
    cluster.down = false;
    let (uid, created) = cluster.born();
    let metadata = json!({ "namespace": "default", "name": "dns", "uid": uid, "creationTimestamp": created });
    let service = json!({ "metadata": metadata, "spec": { "type": "LoadBalancer", "ipFamilies": ["IPv4"] } });
    let seen = SeenService::project(&serde_json::from_value(service).unwrap(), None);
    let effects = cluster.world.apply(Update::Service(super::cluster::key("dns"), Some(seen)), cluster.now);
    let order: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Owner(_, Write::Create(_)) => Some("owner"),
            Effect::Service(..) => Some("service"),
            Effect::Owner(..)
            | Effect::ForgetOwner(_)
            | Effect::Forget(_)
            | Effect::ForgetAll
            | Effect::Status(..)
            | Effect::Event(_) => None,
        })
        .collect();
    assert_eq!(order, ["owner", "service"]);
}

#[test]
fn new_addresses_are_spread_evenly_and_go_with_their_service() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    for index in 0..9 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    assert_eq!(loads(&cluster, ["n1", "n2", "n3"]), [3, 3, 3]);
    assert!(names(&cluster).iter().all(|name| spec(&cluster, name)["reason"] == "New"));
    cluster.delete("s0");
    assert_eq!(names(&cluster).len(), 8);
    cluster.edit("s1", json!({ "spec": { "type": "ClusterIP" } }));
    assert_eq!(names(&cluster).len(), 7);
    let metrics = cluster.metrics();
    assert!(metrics.contains("ferritelb_controller_placements_total{reason=\"New\"} 9"), "{metrics}");
}

#[test]
fn what_no_l2_advertisement_selects_is_placed_nowhere_and_evenly_once_one_does() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    cluster.remove(Kind::L2Advertisement, "l2");
    for index in 0..4 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    assert_eq!(names(&cluster), [""; 0]);
    advertise(&mut cluster, json!({}));
    cluster.wait(Duration::from_secs(1));
    assert_eq!(loads(&cluster, ["n1", "n2"]), [2, 2]);
    cluster.remove(Kind::L2Advertisement, "l2");
    cluster.wait(MINUTE);
    let before = names(&cluster).iter().map(|name| spec(&cluster, name)).collect::<Vec<_>>();
    advertise(&mut cluster, json!({}));
    cluster.wait(MINUTE);
    let after = names(&cluster).iter().map(|name| spec(&cluster, name)).collect::<Vec<_>>();
    assert_eq!(before, after, "while the Service has the address, it stays where it is");
}

#[test]
fn a_restart_or_another_leader_writes_nothing() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    for index in 0..9 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    put_node(&mut cluster, "n4", json!({}));
    cluster.wait(MINUTE);
    cluster.written();
    cluster.restart();
    cluster.wait(MINUTE);
    cluster.feed(Update::StandsBy);
    cluster.lead();
    cluster.wait(MINUTE);
    assert_eq!(cluster.written(), [""; 0]);
}

#[test]
fn what_is_in_use_and_on_no_record_is_placed_where_it_is_by_rank() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    for index in 0..9 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    for name in names(&cluster) {
        cluster.objects.remove(&(Kind::AddressOwner, name));
    }
    cluster.restart();
    cluster.wait(Duration::from_secs(1));
    let found = names(&cluster);
    assert_eq!(found.len(), 9);
    let node = |name: &str| NodeName::new(name);
    let nodes = ["n1", "n2", "n3"].map(node);
    for name in found {
        let ranked = announce::ranking(name.parse().unwrap(), nodes.iter().map(|node| (node, 0)));
        assert_eq!(cluster.placed(&name), format!("{} Found", ranked[0].0));
    }
}

#[test]
fn a_node_that_is_drained_loses_its_addresses_at_once_and_gets_none_back() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    for index in 0..9 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    put_node(&mut cluster, "n1", json!({ "annotations": { DRAIN: "" } }));
    cluster.wait(Duration::from_secs(1));
    let [drained, others @ ..] = loads(&cluster, ["n1", "n2", "n3"]);
    assert_eq!((drained, others.iter().sum::<usize>()), (0, 9));
    assert!(others.iter().all(|count| [4, 5].contains(count)), "{others:?}");
    put_node(&mut cluster, "n1", json!({}));
    cluster.wait(MINUTE);
    assert_eq!(loads(&cluster, ["n1"]), [0]);
}

#[test]
fn a_failover_that_stands_is_followed_and_one_that_does_not_is_not() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    let first = spec(&cluster, "10.0.0.7");
    let placed = first["node"].as_str().unwrap();
    let other = if placed == "n1" { "n2" } else { "n1" };
    answers(&mut cluster, "10.0.0.7", other);
    cluster.wait(Duration::from_millis(9900));
    answers(&mut cluster, "10.0.0.7", placed);
    cluster.wait(Duration::from_millis(9900));
    answers(&mut cluster, "10.0.0.7", other);
    cluster.wait(Duration::from_millis(9900));
    assert_eq!(spec(&cluster, "10.0.0.7"), first);
    cluster.wait(Duration::from_millis(200));
    assert_eq!(cluster.placed("10.0.0.7"), format!("{other} Failover"));
    let generation = |spec: &Value| spec["generation"].as_u64().unwrap();
    assert_eq!(generation(&spec(&cluster, "10.0.0.7")), generation(&first) + 1);
    answers(&mut cluster, "10.0.0.7", "n9");
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), format!("{other} Failover"), "nobody knows that node");
}

#[test]
fn a_node_that_lost_an_address_is_not_chosen_again_for_a_while() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    advertise(&mut cluster, json!({ "preferredNodeSelectors": prefer(&[(1, "n1")]) }));
    cluster.wait(Duration::from_secs(1));
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    assert_eq!(cluster.placed("10.0.0.7"), "n1 New");
    answers(&mut cluster, "10.0.0.7", "n2");
    cluster.wait(Duration::from_secs(11));
    assert_eq!(cluster.placed("10.0.0.7"), "n2 Failover");
    cluster.expose("dns", json!({ "spec": { "loadBalancerIP": "10.0.0.8" } }));
    assert_eq!(cluster.placed("10.0.0.8"), "n2 New");
    cluster.wait(Duration::from_secs(58));
    assert_eq!(cluster.placed("10.0.0.7"), "n2 Failover");
    cluster.wait(Duration::from_secs(3));
    assert_eq!([cluster.placed("10.0.0.7"), cluster.placed("10.0.0.8")], ["n1 Preferred"; 2]);
}

#[test]
fn a_node_that_lost_many_addresses_at_once_is_chosen_again_as_soon_as_if_it_had_lost_one() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    advertise(&mut cluster, json!({ "preferredNodeSelectors": prefer(&[(1, "n1")]) }));
    cluster.wait(Duration::from_secs(1));
    let addresses: Vec<_> = (1..=9).map(|low| format!("10.0.0.{low}")).collect();
    for (number, address) in addresses.iter().enumerate() {
        cluster.expose(&format!("web{number}"), json!({ "spec": { "loadBalancerIP": address } }));
    }
    addresses.iter().for_each(|address| answers(&mut cluster, address, "n2"));
    cluster.wait(Duration::from_secs(11));
    addresses.iter().for_each(|address| assert_eq!(cluster.placed(address), "n2 Failover"));
    cluster.wait(Duration::from_secs(61));
    addresses.iter().for_each(|address| assert_eq!(cluster.placed(address), "n1 Preferred"));
}

#[test]
fn a_node_that_never_takes_what_is_placed_on_it_is_tried_less_and_less_often() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    advertise(&mut cluster, json!({ "preferredNodeSelectors": prefer(&[(1, "n1")]) }));
    cluster.wait(Duration::from_secs(1));
    let generation = |cluster: &Cluster| spec(cluster, "10.0.0.7")["generation"].as_u64().unwrap();
    let before = generation(&cluster);
    answers(&mut cluster, "10.0.0.7", "n2");
    cluster.wait(Duration::from_hours(1));
    let moves = generation(&cluster) - before;
    assert!((8..=13).contains(&moves), "{moves}");
    cluster.wait(Duration::from_hours(24));
    let moves = generation(&cluster) - before - moves;
    assert!((30..=50).contains(&moves), "{moves}");
    while cluster.placed("10.0.0.7") != "n1 Preferred" {
        cluster.wait(Duration::from_secs(1));
    }
    answers(&mut cluster, "10.0.0.7", "n1");
    answers(&mut cluster, "10.0.0.7", "n2");
    cluster.wait(Duration::from_secs(75));
    assert_eq!(cluster.placed("10.0.0.7"), "n1 Preferred", "it took it once, and counts as before");
}

#[test]
fn a_node_that_may_not_answer_any_more_is_given_up_after_a_while() {
    let mut cluster = cluster_of(&["n1"]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    put_node(&mut cluster, "n2", json!({}));
    cluster.remove(Kind::Node, "n1");
    cluster.wait(Duration::from_secs(9));
    assert_eq!(cluster.placed("10.0.0.7"), "n1 New");
    cluster.wait(Duration::from_secs(2));
    assert_eq!(cluster.placed("10.0.0.7"), "n2 Ineligible");
}

#[test]
fn endpoints_that_come_and_go_move_nothing_where_any_node_serves() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    let before = cluster.placed("10.0.0.7");
    for endpoints in [json!([]), json!([{ "addresses": ["10.1.0.1"], "nodeName": "n1" }]), json!([])] {
        let labels = json!({ "kubernetes.io/service-name": "web" });
        let metadata = json!({ "name": "web-1", "namespace": "default", "labels": labels });
        let slice = json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": endpoints });
        cluster.apply(Kind::EndpointSlice, "web-1", slice);
        cluster.wait(MINUTE);
        assert_eq!(cluster.placed("10.0.0.7"), before);
    }
    let local = json!({ "spec": { "loadBalancerIP": "10.0.0.8", "externalTrafficPolicy": "Local" } });
    cluster.expose("local", local);
    assert_eq!(cluster.placed("10.0.0.8"), "");
    let metadata =
        json!({ "name": "l", "namespace": "default", "labels": { "kubernetes.io/service-name": "local" } });
    let endpoints = json!([{ "addresses": ["10.1.0.1"], "nodeName": "n2" }]);
    let slice = json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": endpoints });
    cluster.apply(Kind::EndpointSlice, "l", slice);
    cluster.wait(Duration::from_secs(1));
    assert_eq!(cluster.placed("10.0.0.8"), "n2 New");
}

#[test]
fn a_node_without_a_speaker_or_not_in_the_subnet_is_chosen_only_if_there_is_no_other() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    let in_subnet = |cluster: &mut Cluster, node: &str, address: &str| {
        let networks = json!([{ "interface": "eth0", "addresses": [address] }]);
        cluster.apply(Kind::SpeakerStatus, node, json!({ "status": { "networks": networks } }));
    };
    in_subnet(&mut cluster, "n1", "192.0.2.1/24");
    in_subnet(&mut cluster, "n2", "192.0.2.2/24");
    for index in 0..4 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    assert_eq!(loads(&cluster, ["n1", "n2", "n3"]), [2, 2, 0]);
    in_subnet(&mut cluster, "n2", "10.0.0.254/24");
    cluster.wait(MINUTE);
    for index in 4..8 {
        cluster.expose(&format!("s{index}"), json!({}));
    }
    // No speaker says that it probes.
    cluster.wait(Duration::from_secs(2));
    assert_eq!(loads(&cluster, ["n1", "n2", "n3"]), [2, 6, 0]);
}

#[test]
fn a_move_is_asked_for_once_and_carried_out_or_refused() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    let ask = |cluster: &mut Cluster, node: Value| {
        cluster.patch_owner("10.0.0.7", &json!({ "metadata": { "annotations": { MOVE_TO: node } } }));
    };
    let says = |cluster: &Cluster| cluster.says(Kind::AddressOwner, "10.0.0.7", "Moved");
    for node in ["n1", "n2", "n3"] {
        ask(&mut cluster, json!(node));
        assert!(cluster.placed("10.0.0.7").starts_with(node));
        assert_eq!(says(&cluster), format!("True Requested it is placed on {node}, as was asked"));
    }
    ask(&mut cluster, json!("n9"));
    assert_eq!(cluster.placed("10.0.0.7"), "n3 Requested");
    assert!(
        says(&cluster).starts_with("False NodeUnknown it cannot be placed on n9: "),
        "{}",
        says(&cluster)
    );
    put_node(&mut cluster, "n9", json!({}));
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), "n3 Requested", "a request counts once");
    ask(&mut cluster, Value::Null);
    assert_eq!(says(&cluster), "");
    ask(&mut cluster, json!("n9"));
    assert_eq!(cluster.placed("10.0.0.7"), "n9 Requested");
    answers(&mut cluster, "10.0.0.7", "n1");
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), "n1 Failover");
    cluster.restart();
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), "n1 Failover", "it was asked for before the failover");
}

#[test]
fn a_service_asks_for_its_addresses_and_is_heard_before_preferences() {
    let mut cluster = cluster_of(&["n1", "n2", "n3"]);
    advertise(&mut cluster, json!({ "preferredNodeSelectors": prefer(&[(1, "n1")]) }));
    cluster.wait(Duration::from_secs(1));
    let annotations = json!({ MOVE_TO: "n2" });
    let more =
        json!({ "metadata": { "annotations": annotations }, "spec": { "loadBalancerIP": "10.0.0.7" } });
    cluster.expose("web", more);
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), "n2 Requested");
    cluster.annotate("web", MOVE_TO, json!("n3"));
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), "n3 Requested");
    cluster.annotate("web", MOVE_TO, Value::Null);
    cluster.wait(MINUTE);
    assert_eq!(cluster.placed("10.0.0.7"), "n1 Preferred");
}

#[test]
fn a_control_plane_node_that_is_to_be_excluded_gives_its_addresses_up() {
    let mut cluster = cluster_of(&[]);
    let labels = json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "", "node-role.kubernetes.io/control-plane": "" });
    put_node(&mut cluster, "n1", json!({ "labels": labels }));
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    assert_eq!(cluster.placed("10.0.0.7"), "n1 New");
    let layer2 = json!({ "controlPlaneNodes": "Exclude" });
    cluster.apply(Kind::Config, "default", json!({ "spec": { "layer2": layer2 } }));
    cluster.expose("dns", json!({ "spec": { "loadBalancerIP": "10.0.0.8" } }));
    assert_eq!(cluster.placed("10.0.0.8"), "", "no node may answer for it");
    cluster.remove(Kind::Config, "default");
    cluster.wait(Duration::from_secs(1));
    assert_eq!(cluster.placed("10.0.0.8"), "n1 New");
}

#[test]
fn a_rebalance_is_automatic_or_asked_for_and_takes_a_few_at_a_time() {
    let uneven = || {
        let mut cluster = cluster_of(&["n1"]);
        for index in 0..30 {
            cluster.expose(&format!("s{index}"), json!({}));
        }
        put_node(&mut cluster, "n2", json!({}));
        cluster.wait(MINUTE);
        assert_eq!(loads(&cluster, ["n1", "n2"]), [30, 0]);
        cluster
    };
    let mut auto = uneven();
    advertise(&mut auto, json!({ "rebalance": "Auto" }));
    auto.wait(Duration::from_millis(2500));
    assert_eq!(loads(&auto, ["n1", "n2"]), [26, 4]);
    auto.wait(MINUTE);
    assert_eq!(loads(&auto, ["n1", "n2"]), [15, 15]);
    auto.written();
    auto.wait(MINUTE);
    assert_eq!((auto.written(), auto.world.poll_timeout()), (vec![], None), "at rest, nothing is looked at");

    for kind in [Kind::L2Advertisement, Kind::Config] {
        let name = if kind == Kind::Config { "default" } else { "l2" };
        let mut asked = uneven();
        let ask = |cluster: &mut Cluster, time: String| {
            let annotations = json!({ "ferritelb.io/rebalance": time });
            let metadata = json!({ "name": name, "uid": name, "generation": 1, "annotations": annotations });
            cluster.apply(kind, name, json!({ "metadata": metadata, "spec": {} }));
            cluster.wait(MINUTE);
        };
        let long_ago = (asked.now.wall - Duration::from_mins(11)).to_string();
        ask(&mut asked, long_ago);
        assert_eq!(loads(&asked, ["n1", "n2"]), [30, 0], "that is long ago");
        ask(&mut asked, "now".into());
        let field = "metadata.annotations[ferritelb.io/rebalance]";
        assert!(asked.says(kind, name, "Ready").contains(field), "{}", asked.says(kind, name, "Ready"));
        let now = asked.now.wall.to_string();
        ask(&mut asked, now);
        assert_eq!(loads(&asked, ["n1", "n2"]), [15, 15]);
        assert!(asked.says(kind, name, "Ready").starts_with("True"));
    }
}

#[test]
fn an_owner_that_somebody_deletes_or_spoils_is_put_right() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
    let before = spec(&cluster, "10.0.0.7");
    cluster.remove(Kind::AddressOwner, "10.0.0.7");
    assert_eq!(spec(&cluster, "10.0.0.7"), before);
    cluster.patch_owner("10.0.0.7", &json!({ "spec": { "address": "10.0.0.9" } }));
    assert_eq!(spec(&cluster, "10.0.0.7"), before);
}

#[test]
fn the_generation_of_an_address_only_grows_also_when_it_was_given_up() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    let mut last = 0;
    for round in 0..5 {
        cluster.expose("web", json!({ "spec": { "loadBalancerIP": "10.0.0.7" } }));
        let node = if round % 2 == 0 { "n1" } else { "n2" };
        cluster.patch_owner("10.0.0.7", &json!({ "metadata": { "annotations": { MOVE_TO: node } } }));
        let generation = spec(&cluster, "10.0.0.7")["generation"].as_u64().unwrap();
        assert!(generation > last, "{generation} after {last}");
        last = generation;
        cluster.delete("web");
        // Also by no time at all, as by a clock that was set back.
        cluster.wait(Duration::from_secs(round % 3));
        assert_eq!(names(&cluster), [""; 0]);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Expose(&'static str),
    Delete(&'static str),
    Node(&'static str, Fate),
    Advertise(Option<Value>),
    Answer(usize, &'static str),
    Ask(usize, Option<&'static str>),
    Endpoints(&'static str),
    Repeat,
    Outage,
    Recovery,
    Restart,
    Reelection,
    Wait,
}

/// What becomes of a node.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Comes,
    Goes,
    Leaves,
    Ails,
    Excluded,
}

const SERVICES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];

fn some_step() -> impl Strategy<Value = Step> {
    use Fate::{Ails, Comes, Excluded, Goes, Leaves};
    let fate = select(&[Comes, Comes, Comes, Goes, Leaves, Ails, Excluded][..]);
    let preferences = prop::collection::vec((1u32..3, select(&NODES[..])), 0..3);
    let spec = (preferences, any::<bool>(), prop::option::weighted(0.3, select(&NODES[..])), any::<bool>());
    let spec = spec.prop_map(|(preferences, auto, only, preempt)| {
        let mut spec = json!({ "preferredNodeSelectors": prefer(&preferences), "preempt": preempt });
        spec["rebalance"] = json!(if auto { "Auto" } else { "Explicit" });
        if let Some(node) = only {
            let operator = json!({ "key": "name", "operator": "NotIn", "values": [node] });
            spec["nodeSelectors"] = json!([{ "matchExpressions": [operator] }]);
        }
        spec
    });
    prop_oneof![
        6 => select(&SERVICES[..]).prop_map(Step::Expose),
        2 => select(&SERVICES[..]).prop_map(Step::Delete),
        6 => (select(&NODES[..]), fate).prop_map(|(node, fate)| Step::Node(node, fate)),
        2 => prop::option::weighted(0.8, spec).prop_map(Step::Advertise),
        4 => (0usize..6, select(&NODES[..])).prop_map(|(index, node)| Step::Answer(index, node)),
        2 => (0usize..6, prop::option::of(select(&NODES[..]))).prop_map(|(index, node)| Step::Ask(index, node)),
        1 => select(&SERVICES[..]).prop_map(Step::Endpoints),
        1 => Just(Step::Repeat),
        1 => Just(Step::Outage),
        2 => Just(Step::Recovery),
        1 => Just(Step::Restart),
        1 => Just(Step::Reelection),
    ]
}

/// A step and quarters of a second after it.
fn some_steps() -> impl Strategy<Value = Vec<Step>> {
    let then = select(&[0usize, 0, 1, 4, 12, 44, 280][..]);
    let steps = prop::collection::vec((some_step(), then), 1..40);
    let with_waits =
        |(step, then): (Step, usize)| std::iter::once(step).chain(std::iter::repeat_n(Step::Wait, then));
    steps.prop_map(move |steps| steps.into_iter().flat_map(with_waits).collect())
}

fn take(cluster: &mut Cluster, step: &Step) {
    let owner = |cluster: &Cluster, index: usize| names(cluster).get(index).cloned();
    match step {
        Step::Expose(name) => cluster.expose(name, json!({})),
        Step::Delete(name) => cluster.delete(name),
        Step::Node(name, Fate::Comes) => put_node(cluster, name, json!({})),
        Step::Node(name, Fate::Goes) => cluster.remove(Kind::Node, name),
        Step::Node(name, Fate::Leaves) => put_node(cluster, name, json!({ "annotations": { DRAIN: "" } })),
        Step::Node(name, Fate::Ails) => {
            put_node(cluster, name, json!({}));
            cluster.apply(Kind::Node, name, json!({ "status": ready("Unknown") }));
        }
        Step::Node(name, Fate::Excluded) => {
            let labels = json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" });
            put_node(cluster, name, json!({ "labels": labels }));
        }
        Step::Advertise(Some(spec)) => advertise(cluster, spec.clone()),
        Step::Advertise(None) => cluster.remove(Kind::L2Advertisement, "l2"),
        Step::Answer(index, node) => {
            if let Some(name) = owner(cluster, *index) {
                answers(cluster, &name, node);
            }
        }
        Step::Ask(index, node) => {
            if let Some(name) = owner(cluster, *index) {
                cluster.patch_owner(&name, &json!({ "metadata": { "annotations": { MOVE_TO: node } } }));
            }
        }
        Step::Endpoints(name) => {
            let metadata = json!({
                "name": name, "namespace": "default", "labels": { "kubernetes.io/service-name": name },
            });
            let slice = json!({ "metadata": metadata, "addressType": "IPv4", "endpoints": [] });
            cluster.apply(Kind::EndpointSlice, name, slice);
        }
        Step::Repeat => cluster.tell_everything(),
        Step::Outage => cluster.down = true,
        Step::Recovery => cluster.recover(),
        Step::Restart => {
            cluster.recover();
            cluster.restart();
        }
        Step::Reelection => {
            cluster.recover();
            cluster.feed(Update::StandsBy);
            cluster.lead();
        }
        Step::Wait => cluster.wait(Duration::from_millis(250)),
    }
}

/// What the manifests say of a node: whether it may answer, whether it leaves, and what speaks for it.
fn standing(cluster: &Cluster, node: &str) -> (bool, bool, u64) {
    let object = |kind, name: &str| cluster.objects.get(&(kind, name.to_owned()));
    let (Some(found), Some(l2)) = (object(Kind::Node, node), object(Kind::L2Advertisement, "l2")) else {
        return (false, false, 0);
    };
    let metadata = &found["metadata"];
    let excluded = !metadata["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"].is_null();
    let selected = l2["spec"]["nodeSelectors"][0]["matchExpressions"][0]["values"][0] != *node;
    let preferences = l2["spec"]["preferredNodeSelectors"].as_array().cloned().unwrap_or_default();
    let mine = preferences.iter().filter(|one| one["preference"]["matchLabels"]["name"] == *node);
    let weight = mine.map(|one| one["weight"].as_u64().unwrap()).sum();
    (!excluded && selected, !metadata["annotations"][DRAIN].is_null(), weight)
}

/// Whether a change of an address's place has the reason that it says it has.
fn check_reason(cluster: &Cluster, before: &Value, now: &Value) {
    let (from, to) = (before["spec"]["node"].as_str().unwrap(), now["spec"]["node"].as_str().unwrap());
    let ((may, leaves, weight), (_, _, other)) = (standing(cluster, from), standing(cluster, to));
    let l2 = cluster.objects.get(&(Kind::L2Advertisement, "l2".to_owned()));
    let rule = |field: &str| l2.map(|l2| l2["spec"][field].clone()).unwrap_or_default();
    let justified = match now["spec"]["reason"].as_str().unwrap() {
        "Failover" => now["status"]["node"] == *to,
        "Ineligible" => !may || leaves,
        "Leaving" => leaves,
        "Requested" => now["metadata"]["annotations"][MOVE_TO] == *to,
        "Preferred" => other > weight && rule("preempt") == true,
        "Rebalanced" => other >= weight && rule("rebalance") == "Auto",
        _ => false,
    };
    let [before_that, generation] = [before, now].map(|one| one["spec"]["generation"].as_u64().unwrap());
    assert!(generation > before_that);
    // Of two moves at once, such as after a failover to a preferred node, the first is seen by nobody.
    assert!(justified || generation > before_that + 1, "from {before} to {now}");
}

type Owners = BTreeMap<String, Value>;

fn owners(cluster: &Cluster) -> Owners {
    let owners = cluster.objects.iter().filter(|((kind, _), _)| *kind == Kind::AddressOwner);
    owners.map(|((_, name), object)| (name.clone(), object.clone())).collect()
}

/// Of one step, in which the manifests are what they were before or after.
fn check(cluster: &Cluster, before: &Owners, generations: &mut BTreeMap<String, u64>) {
    for (name, now) in owners(cluster) {
        let generation = now["spec"]["generation"].as_u64().unwrap();
        let last = generations.insert(name.clone(), generation).unwrap_or(0);
        assert!(generation >= last, "{name}: {generation} after {last}");
        let before = before.get(&name).filter(|before| before["metadata"]["uid"] == now["metadata"]["uid"]);
        match before {
            Some(before) if before["spec"]["node"] != now["spec"]["node"] => {
                check_reason(cluster, before, &now);
            }
            Some(before) => assert_eq!(before["spec"]["generation"], now["spec"]["generation"]),
            None => assert!(generation > last, "{name} is new, and was known at {last}"),
        }
    }
}

/// Every address that a Service shows and a node may answer for has an AddressOwner, and no other has.
fn check_complete(cluster: &Cluster) {
    let shown: BTreeSet<String> = cluster.services.keys().map(|key| cluster.shows(&key.name)).collect();
    let placed: BTreeSet<_> = names(cluster).into_iter().collect();
    assert!(placed.is_subset(&shown), "{placed:?} of {shown:?}");
    let anybody = NODES.iter().any(|node| standing(cluster, node).0);
    assert!(!anybody || placed == shown, "{placed:?} of {shown:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_moves_without_a_reason(steps in some_steps()) {
        let mut cluster = cluster_of(&["n1", "n2", "n3"]);
        let mut generations = BTreeMap::new();
        for step in &steps {
            let before = owners(&cluster);
            take(&mut cluster, step);
            // After an outage several things may have happened to one address.
            if !matches!(step, Step::Recovery | Step::Restart | Step::Reelection) && !cluster.down {
                check(&cluster, &before, &mut generations);
            } else {
                generations.retain(|name, last| {
                    let now = cluster.objects.get(&(Kind::AddressOwner, name.clone()));
                    now.is_none_or(|now| now["spec"]["generation"].as_u64().unwrap() >= *last)
                });
            }
        }
        cluster.recover();
        cluster.wait(Duration::from_mins(5));
        check_complete(&cluster);
        // At last nobody prefers anything, and nobody answers who should not.
        advertise(&mut cluster, json!({}));
        for name in owners(&cluster).into_keys() {
            cluster.patch_owner(&name, &json!({ "status": { "node": null } }));
        }
        cluster.wait(Duration::from_hours(2));
        check_complete(&cluster);
        let before = owners(&cluster);
        cluster.written();
        cluster.tell_everything();
        cluster.wait(MINUTE);
        cluster.restart();
        cluster.wait(Duration::from_mins(5));
        let after = owners(&cluster);
        prop_assert_eq!(before, after, "at rest, a restart moves nothing");
        let about_owners = |write: &String| write.contains("owner of") || write.contains("AddressOwner");
        let written: Vec<_> = cluster.written().into_iter().filter(about_owners).collect();
        prop_assert_eq!(written, Vec::<String>::new());
    }
}

#[test]
fn a_service_tells_once_of_another_station_that_answers_for_its_address() {
    let mut cluster = cluster_of(&["n1", "n2"]);
    cluster.expose("web", json!({}));
    cluster.expose("other", json!({}));
    let [address, _] = &names(&cluster)[..] else { panic!("{:?}", names(&cluster)) };
    answers(&mut cluster, address, "n1");
    cluster.events();
    let say = |cluster: &mut Cluster, status: &str, message: &str| {
        let condition = json!({
            "type": "Conflict", "status": status, "reason": "R", "message": message,
            "lastTransitionTime": "2026-11-22T00:00:00Z",
        });
        cluster.patch_owner(address, &json!({ "status": { "conditions": [condition] } }));
        let notes: Vec<_> = cluster.notices.iter().map(|notice| notice.note.clone()).collect();
        (cluster.events(), notes)
    };
    let told = |what: &'static str| vec![("web".to_owned(), what)];
    let (events, notes) = say(&mut cluster, "True", "02:01");
    assert_eq!(events, told("AddressConflict"));
    assert_eq!(notes, [format!("{address}: 02:01")]);
    cluster.patch_owner(address, &json!({ "status": { "since": "2026-11-22T00:00:01Z" } }));
    assert_eq!(cluster.events(), [], "that is no news of it");
    assert_eq!(say(&mut cluster, "True", "02:02").0, told("AddressConflict"));
    assert_eq!(say(&mut cluster, "False", "gone").0, told("AddressConflictOver"));
}
