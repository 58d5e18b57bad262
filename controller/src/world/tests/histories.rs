//! Laws over random histories of a whole cluster.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::cluster::{Cluster, key};
use crate::world::*;

const NAMES: [&str; 6] = ["v", "w", "x", "y", "team/y", "team/z"];
const POOLS: [&str; 2] = ["a", "b"];
const ADDRESSES: [&str; 5] = ["10.0.0.0", "10.0.0.2", "10.0.0.9", "10.9.9.9", "1.2.3"];
const RANGES: [&str; 6] =
    ["10.0.0.0/31", "10.0.0.2/31", "10.0.0.0/30", "10.0.0.0/29", "fd00::/126", "10.0.0.9-10.0.0.1"];
const ALLOW_SHARED_IP: &str = "ferritelb.io/allow-shared-ip";

#[derive(Debug, Clone)]
enum Step {
    Service(&'static str, Change),
    Pool(&'static str, Option<Value>),
    Quota(Option<Value>),
    Reservation(&'static str, Option<Value>),
    Namespace(&'static str, Option<&'static str>),
    Node(Option<&'static str>),
    Moves(Option<u32>),
    Repeat,
    Outage,
    Recovery,
    Restart,
    Reelection,
    Wait(u64),
}

/// What happens to a Service.
#[derive(Debug, Clone)]
enum Change {
    Expose(&'static str),
    Ask(Option<&'static str>),
    Families(&'static str),
    Share(Option<&'static str>, u16),
    Label(Option<&'static str>),
    Type(&'static str),
    Vandalize(&'static str),
    Delete,
}

/// Whether pools take anything away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temper {
    Calm,
    Restless,
}

fn some_pool(temper: Temper) -> impl Strategy<Value = Value> {
    let on_remove: &[&str] = match temper {
        Temper::Calm => &["Keep"],
        Temper::Restless => &["Keep", "Move", "Release"],
    };
    let field: &[&str] = match temper {
        Temper::Calm => &["", "", "", "disabled", "paused", "avoidBuggyIPs"],
        Temper::Restless => &["", "", "", "disabled", "paused", "drain"],
    };
    let ranges = prop::sample::subsequence(&RANGES[..], 1..3);
    let allocation = prop_oneof![
        3 => Just(Value::Null),
        1 => Just(json!({ "namespaces": ["team"] })),
        1 => Just(json!({ "namespaceSelectors": [{ "matchLabels": { "color": "blue" } }] })),
        1 => Just(json!({ "serviceSelectors": [{ "matchLabels": { "color": "blue" } }] })),
    ];
    let exclude = prop::option::weighted(0.2, select(&["10.0.0.0", "10.0.0.2/31"][..]));
    let parts = (ranges, select(on_remove), select(field), allocation, exclude, select(&["5m", "0s"][..]));
    parts.prop_map(|(ranges, on_remove, field, allocation, exclude, reuse)| {
        let mut spec = json!({ "addresses": ranges, "onRemove": on_remove, "reuseAfter": reuse });
        spec["exclude"] = exclude.map_or(json!([]), |one| json!([one]));
        if !field.is_empty() {
            spec[field] = json!(true);
        }
        if !allocation.is_null() {
            spec["serviceAllocation"] = allocation;
        }
        spec
    })
}

fn some_quota() -> impl Strategy<Value = Value> {
    let whose = select(&["namespaces", "namespaceSelectors", "per"][..]);
    (whose, 0u32..3).prop_map(|(whose, limit)| match whose {
        "namespaces" => json!({ "namespaces": ["team"], "ipv4": limit }),
        "namespaceSelectors" => {
            json!({ "namespaceSelectors": [{ "matchLabels": { "color": "blue" } }], "ipv4": limit })
        }
        _ => json!({ "per": "Namespace", "ipv4": limit + 1, "ipv6": limit }),
    })
}

fn some_reservation() -> impl Strategy<Value = Value> {
    let what = prop_oneof![
        select(&["10.0.0.0/31", "10.0.0.2", "10.0.0.9"][..])
            .prop_map(|range| json!({ "addresses": [range] })),
        (select(&POOLS[..]), 1u32..3).prop_map(|(pool, count)| json!({ "pool": pool, "ipv4": count })),
    ];
    let whose = prop_oneof![
        Just(json!({ "service": { "namespace": "team", "name": "y" } })),
        Just(json!({ "selector": { "serviceSelectors": [{ "matchLabels": { "color": "blue" } }] } })),
        Just(json!({ "selector": { "namespaces": ["team"] } })),
    ];
    let ends = prop::option::weighted(0.3, 1u32..3);
    (what, whose, select(&["Retain", "Release"][..]), ends).prop_map(|(what, whose, reclaim, ends)| {
        let mut spec = json!({ "reclaimPolicy": reclaim });
        for (field, value) in what.as_object().unwrap().iter().chain(whose.as_object().unwrap()) {
            spec[field] = value.clone();
        }
        if let Some(minutes) = ends {
            // The epoch of the tests is ten to twelve minutes and a bit before.
            spec["expires"] = json!(format!("1970-01-12T13:5{minutes}:00Z"));
        }
        spec
    })
}

fn about_services() -> impl Strategy<Value = Step> {
    let type_ = || select(&["LoadBalancer", "LoadBalancer", "ClusterIP"][..]);
    let color = prop::option::of(select(&["blue", "red"][..]));
    let share = (prop::option::weighted(0.7, select(&["k", "l"][..])), 80u16..82);
    let change = prop_oneof![
        8 => type_().prop_map(Change::Expose),
        2 => prop::option::of(select(&ADDRESSES[..])).prop_map(Change::Ask),
        1 => select(&["SingleStack", "PreferDualStack"][..]).prop_map(Change::Families),
        2 => share.prop_map(|(key, port)| Change::Share(key, port)),
        2 => color.prop_map(Change::Label),
        2 => type_().prop_map(Change::Type),
        1 => select(&ADDRESSES[..]).prop_map(Change::Vandalize),
        3 => Just(Change::Delete),
    ];
    (select(&NAMES[..]), change).prop_map(|(name, change)| Step::Service(name, change))
}

fn about_rules(temper: Temper) -> impl Strategy<Value = Step> {
    let color = || prop::option::of(select(&["blue", "red"][..]));
    let pool = prop::option::weighted(0.85, some_pool(temper));
    prop_oneof![
        4 => (select(&POOLS[..]), pool).prop_map(|(n, spec)| Step::Pool(n, spec)),
        1 => prop::option::weighted(0.7, some_quota()).prop_map(Step::Quota),
        2 => (select(&["r", "s"][..]), prop::option::weighted(0.7, some_reservation()))
            .prop_map(|(n, spec)| Step::Reservation(n, spec)),
        1 => (select(&["default", "team"][..]), color()).prop_map(|(n, color)| Step::Namespace(n, color)),
        1 => prop::option::of(select(&["10.0.0.0", "10.0.0.3"][..])).prop_map(Step::Node),
        1 => prop::option::of(1u32..3).prop_map(Step::Moves),
    ]
}

fn some_step(temper: Temper) -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => about_services(),
        10 => about_rules(temper),
        1 => Just(Step::Repeat),
        1 => Just(Step::Outage),
        2 => Just(Step::Recovery),
        1 => Just(Step::Restart),
        1 => Just(Step::Reelection),
        3 => (0u64..400).prop_map(Step::Wait),
    ]
}

/// A history, and what it is like.
fn some_history() -> impl Strategy<Value = (Temper, Vec<Step>)> {
    let steps =
        |temper| prop::collection::vec(some_step(temper), 1..60).prop_map(move |steps| (temper, steps));
    prop_oneof![steps(Temper::Calm), steps(Temper::Restless)]
}

fn put(cluster: &mut Cluster, kind: Kind, name: &str, fields: Option<Value>) {
    match fields {
        Some(fields) => cluster.apply(kind, name, fields),
        None => cluster.remove(kind, name),
    }
}

fn take(cluster: &mut Cluster, step: &Step) {
    let spec = |spec: &Option<Value>| spec.as_ref().map(|spec| json!({ "spec": spec }));
    match step {
        Step::Service(name, change) => take_change(cluster, name, change),
        Step::Pool(name, pool) => put(cluster, Kind::Pool, name, spec(pool)),
        Step::Quota(quota) => put(cluster, Kind::Quota, "q", spec(quota)),
        Step::Reservation(name, reservation) => put(cluster, Kind::Reservation, name, spec(reservation)),
        Step::Namespace(name, color) => {
            let labels = color.map_or(json!({}), |color| json!({ "color": color }));
            cluster.apply(Kind::Namespace, name, json!({ "metadata": { "name": name, "labels": labels } }));
        }
        Step::Node(address) => {
            let status =
                address.map(|one| json!({ "addresses": [{ "type": "InternalIP", "address": one }] }));
            put(cluster, Kind::Node, "n", status.map(|status| json!({ "status": status })));
        }
        Step::Moves(max) => {
            let moves = max.map(|max| json!({ "spec": { "moves": { "maxConcurrent": max } } }));
            put(cluster, Kind::Config, "default", moves);
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
        Step::Wait(seconds) => cluster.wait(Duration::from_secs(*seconds)),
    }
}

fn take_change(cluster: &mut Cluster, name: &str, change: &Change) {
    if let Change::Expose(kind) = change {
        let ports = json!([{ "port": 80, "protocol": "TCP" }]);
        return cluster.expose(name, json!({ "spec": { "type": kind, "ports": ports } }));
    }
    let Some(service) = cluster.services.get(&key(name)) else { return };
    let is_load_balancer = service["spec"]["type"] == "LoadBalancer";
    match change {
        Change::Delete => cluster.delete(name),
        Change::Ask(address) => cluster.edit(name, json!({ "spec": { "loadBalancerIP": address } })),
        Change::Families(policy) => {
            let families = if *policy == "SingleStack" { json!(["IPv4"]) } else { json!(["IPv4", "IPv6"]) };
            cluster.edit(name, json!({ "spec": { "ipFamilyPolicy": policy, "ipFamilies": families } }));
        }
        Change::Share(key, port) => {
            let annotations = json!({ ALLOW_SHARED_IP: key });
            let ports = json!([{ "port": port, "protocol": "TCP" }]);
            cluster.edit(
                name,
                json!({ "metadata": { "annotations": annotations }, "spec": { "ports": ports } }),
            );
        }
        Change::Label(color) => cluster.edit(name, json!({ "metadata": { "labels": { "color": color } } })),
        Change::Type(kind) => cluster.edit(name, json!({ "spec": { "type": kind } })),
        Change::Vandalize(address) if is_load_balancer => {
            let ingress = json!([{ "ip": address }, { "hostname": "example.org" }]);
            cluster.edit(name, json!({ "status": { "loadBalancer": { "ingress": ingress } } }));
        }
        Change::Vandalize(_) | Change::Expose(_) => {}
    }
}

/// What a Service's status shows. That of one which is no LoadBalancer, and carries nothing of ours, is not ours.
fn shown(service: &Value) -> Vec<String> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
    let conditions = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_ours = service["spec"]["type"] == "LoadBalancer" || !conditions.is_empty();
    ingress
        .iter()
        .filter(|_| is_ours)
        .map(|entry| entry["ip"].as_str().unwrap_or("a name").to_owned())
        .collect()
}

fn share_key(service: &Value) -> Option<&str> {
    service["metadata"]["annotations"][ALLOW_SHARED_IP].as_str()
}

/// Every status says what the ledger has, and no address stands in those of two that do not share it.
fn check_union(cluster: &Cluster) {
    let mut union: BTreeMap<IpAddr, BTreeSet<&ServiceKey>> = BTreeMap::new();
    for (key, service) in &cluster.services {
        let decision = cluster.world.ledger.decision(key).cloned().unwrap_or_default();
        let granted = decision.grant.into_iter().flat_map(|grant| grant.addresses);
        let decided: Vec<_> =
            granted.chain(decision.moving.into_iter().flat_map(|moving| moving.from)).collect();
        assert_eq!(shown(service), decided.iter().map(ToString::to_string).collect::<Vec<_>>(), "{key}");
        for address in decided {
            union.entry(address).or_default().insert(key);
        }
    }
    for (address, keys) in union {
        let holders: BTreeSet<_> = cluster.world.ledger.holders(address).collect();
        assert_eq!(holders, keys, "{address}");
        check_shared(cluster, address, &keys);
    }
}

/// Those that hold one address listen on different ports and share it, but for those that cannot any more and are
/// told so.
fn check_shared(cluster: &Cluster, address: IpAddr, keys: &BTreeSet<&ServiceKey>) {
    if keys.len() < 2 {
        return;
    }
    let services = || keys.iter().map(|key| &cluster.services[*key]);
    let ports: BTreeSet<_> = services().map(|one| one["spec"]["ports"][0]["port"].as_u64()).collect();
    assert_eq!(ports.len(), keys.len(), "{address}: {keys:?} share a port");
    let is_content =
        |key: &ServiceKey| cluster.world.ledger.decision(key).is_some_and(|one| one.refusal.is_none());
    let content: Vec<_> = keys.iter().filter(|key| is_content(key)).collect();
    let terms: BTreeSet<_> = content.iter().map(|key| share_key(&cluster.services[**key])).collect();
    let agree = content.len() < 2 || (terms.len() == 1 && !terms.contains(&None));
    assert!(agree, "{address}: {content:?} share it under {terms:?}");
}

/// Which Services are content with what they have, and what that is.
fn content(cluster: &Cluster) -> BTreeMap<ServiceKey, (Value, Vec<String>)> {
    let services = cluster.services.iter().filter(|(key, _)| {
        let decision = cluster.world.ledger.decision(key);
        decision.is_some_and(|decision| decision.refusal.is_none() && decision.moving.is_none())
    });
    let of = |service: &Value| (service["metadata"]["uid"].clone(), shown(service));
    services.map(|(key, service)| (key.clone(), of(service))).collect()
}

/// Where pools take nothing away, nobody who is content has other addresses after a step that is not its own; only
/// more may come.
fn check_calm(before: &BTreeMap<ServiceKey, (Value, Vec<String>)>, cluster: &Cluster, step: &Step) {
    // What happened while nothing was heard is not told apart.
    if matches!(step, Step::Recovery | Step::Restart | Step::Reelection) {
        return;
    }
    for (key, (uid, had)) in before {
        let own = matches!(step, Step::Service(name, change)
            if super::cluster::key(name) == *key && !matches!(change, Change::Vandalize(_)));
        let service = cluster.services.get(key).filter(|service| service["metadata"]["uid"] == *uid);
        let Some(service) = service.filter(|_| !own) else { continue };
        let has = shown(service);
        assert!(had.iter().all(|address| has.contains(address)), "{key} had {had:?} and has {has:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_after_every_step((temper, steps) in some_history()) {
        let mut cluster = Cluster::unlisted();
        for name in ["default", "team"] {
            cluster.apply(Kind::Namespace, name, json!({ "metadata": { "name": name } }));
        }
        cluster.pool("a", json!({ "addresses": ["10.0.0.0/31"] }));
        cluster.list();
        for step in &steps {
            let before = if cluster.down { BTreeMap::new() } else { content(&cluster) };
            take(&mut cluster, step);
            if !cluster.down {
                check_union(&cluster);
                if temper == Temper::Calm {
                    check_calm(&before, &cluster, step);
                }
            }
        }
        cluster.recover();
        // Also when nothing rests any more, so that nothing ends while it is looked at.
        for rest in [Duration::from_secs(5), Duration::from_mins(15)] {
            cluster.wait(rest);
            check_union(&cluster);
            cluster.written();
            cluster.tell_everything();
            prop_assert_eq!(cluster.written(), Vec::<String>::new(), "at rest, telling again writes nothing");
        }
        cluster.wait(Duration::from_secs(5));
        prop_assert_eq!(cluster.written(), Vec::<String>::new(), "nor does it later");
        let before: Vec<_> = cluster.services.values().map(shown).collect();
        cluster.restart();
        cluster.wait(Duration::from_secs(5));
        let after: Vec<_> = cluster.services.values().map(shown).collect();
        prop_assert_eq!(before, after, "a restart changes no address");
        cluster.written();
        cluster.restart();
        cluster.wait(Duration::from_secs(5));
        prop_assert_eq!(cluster.written(), Vec::<String>::new(), "the next one writes nothing");
    }
}
