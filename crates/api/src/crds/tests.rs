//! Every field of every kind is honoured, or refused by name: a table with at least one row for each that stands in
//! the schemas, and none for a field that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::*;
use crate::Invalid;

/// What an object means, as text that differs where the meaning does; or why it means nothing.
type Meaning = Result<String, String>;

/// A kind, its least spec, and what it means.
struct Kind {
    plural: &'static str,
    least: Value,
    meaning: fn(Value) -> Meaning,
}

/// What a field does.
enum Row {
    /// Between these two changes of the least spec, which differ in the field alone, the meaning differs.
    Honoured(&'static str, Value, Value),
    /// With this change of the least spec, that field is blamed.
    Refused(&'static str, Value, &'static str),
}

use Row::{Honoured, Refused};

fn meaning<K: DeserializeOwned, M: Debug>(
    object: Value,
    parse: impl Fn(&K) -> Result<M, Invalid>,
) -> Meaning {
    let object: K = serde_json::from_value(object).map_err(|error| error.to_string())?;
    parse(&object).map(|meaning| format!("{meaning:?}")).map_err(|invalid| invalid.field)
}

fn kinds() -> Vec<Kind> {
    let service = json!({ "namespace": "d", "name": "web" });
    vec![
        Kind {
            plural: "ipaddresspools",
            least: json!({ "addresses": ["192.0.2.0/24"] }),
            meaning: |object| meaning(object, IpAddressPool::parse),
        },
        Kind {
            plural: "addressquotas",
            least: json!({ "ipv4": 1 }),
            meaning: |object| meaning(object, |quota: &AddressQuota| quota.spec.parse()),
        },
        Kind {
            plural: "addressreservations",
            least: json!({ "service": service, "addresses": ["192.0.2.1"], "pool": "p", "ipv4": 1 }),
            meaning: |object| meaning(object, AddressReservation::parse),
        },
        Kind {
            plural: "ferriteconfigs",
            least: json!({}),
            meaning: |object| meaning(object, FerriteConfig::parse),
        },
        Kind {
            plural: "l2advertisements",
            least: json!({}),
            meaning: |object| meaning(object, |object: &L2Advertisement| object.spec.parse()),
        },
        Kind {
            plural: "bgpadvertisements",
            least: json!({}),
            meaning: |object| meaning(object, |object: &BgpAdvertisement| object.spec.parse()),
        },
        Kind {
            plural: "bgppeers",
            least: json!({ "myASN": 64500, "peerASN": 64512, "peerAddress": "192.0.2.1" }),
            meaning: |object| meaning(object, |object: &BgpPeer| object.spec.parse()),
        },
        Kind {
            plural: "addressowners",
            least: json!({ "address": "192.0.2.1", "node": "n1", "generation": 1 }),
            meaning: |object| meaning(object, |object: &AddressOwner| object.spec.parse()),
        },
    ]
}

fn rows(plural: &str) -> Vec<Row> {
    match plural {
        "ipaddresspools" => pool_rows(),
        "addressquotas" => quota_rows(),
        "addressreservations" => reservation_rows(),
        "ferriteconfigs" => config_rows(),
        "l2advertisements" => l2_rows(),
        "bgpadvertisements" => bgp_rows(),
        "bgppeers" => peer_rows(),
        "addressowners" => owner_rows(),
        other => panic!("no table for {other}"),
    }
}

/// The field is absent, and then it is this.
fn set(path: &'static str, value: Value) -> Row {
    Honoured(path, json!({}), nested(path, value))
}

fn blamed(path: &'static str, value: Value, field: &'static str) -> Row {
    Refused(path, nested(path, value), field)
}

fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, name| json!({ name: value }))
}

fn selectors() -> Value {
    json!([{ "matchLabels": { "a": "b" } }])
}

fn no_selectors() -> Value {
    json!([{ "matchExpressions": [{ "key": "a", "operator": "Like" }] }])
}

fn pool_rows() -> Vec<Row> {
    const OPERATOR: &str = "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0].operator";
    const SERVICE_OPERATOR: &str = "spec.serviceAllocation.serviceSelectors[0].matchExpressions[0].operator";
    vec![
        set("addresses", json!(["192.0.2.0/25"])),
        blamed("addresses", json!(["192.0.2.9-192.0.2.1"]), "spec.addresses[0]"),
        blamed("addresses", json!(["192.0.2.9-2001:db8::1"]), "spec.addresses[0]"),
        set("exclude", json!(["192.0.2.1"])),
        blamed("exclude", json!(["192.0.2.1", "192.0.2.9-192.0.2.1"]), "spec.exclude[1]"),
        set("autoAssign", json!(false)),
        set("avoidBuggyIPs", json!(true)),
        set("serviceAllocation.priority", json!(1)),
        set("serviceAllocation.namespaces", json!(["a"])),
        set("serviceAllocation.namespaceSelectors", selectors()),
        blamed("serviceAllocation.namespaceSelectors", no_selectors(), OPERATOR),
        set("serviceAllocation.serviceSelectors", selectors()),
        blamed("serviceAllocation.serviceSelectors", no_selectors(), SERVICE_OPERATOR),
        set("disabled", json!(true)),
        set("drain", json!(true)),
        set("paused", json!(true)),
        set("onRemove", json!("Move")),
        set("onRemove", json!("Release")),
        Honoured("onRemove", json!({ "onRemove": "Move" }), json!({ "onRemove": "Release" })),
        set("reuseAfter", json!("0s")),
        set("reuseAfter", json!("720h")),
        blamed("reuseAfter", json!("720h1s"), "spec.reuseAfter"),
        blamed("reuseAfter", json!("long"), "spec.reuseAfter"),
        set("probe", json!("Full")),
        set("probe", json!("Off")),
        Honoured("probe", json!({ "probe": "Full" }), json!({ "probe": "Off" })),
    ]
}

fn quota_rows() -> Vec<Row> {
    vec![
        set("namespaces", json!(["a"])),
        set("namespaceSelectors", selectors()),
        blamed(
            "namespaceSelectors",
            no_selectors(),
            "spec.namespaceSelectors[0].matchExpressions[0].operator",
        ),
        set("pools", json!(["p"])),
        set("ipv4", json!(0)),
        Refused("ipv4", json!({ "ipv4": null }), "spec"),
        set("ipv6", json!(0)),
        set("per", json!("Namespace")),
    ]
}

fn reservation_rows() -> Vec<Row> {
    let anyone =
        json!({ "service": null, "selector": { "namespaces": ["x"], "serviceSelectors": selectors() } });
    let with = |change: Value| {
        let mut changed = anyone.clone();
        merge(&mut changed["selector"], &change);
        changed
    };
    const OPERATOR: &str = "spec.selector.namespaceSelectors[0].matchExpressions[0].operator";
    const SERVICE_OPERATOR: &str = "spec.selector.serviceSelectors[0].matchExpressions[0].operator";
    let two_counts = json!({ "ipv6": 1 });
    vec![
        set("addresses", json!(["192.0.2.2"])),
        blamed("addresses", json!(["192.0.2.1", "x"]), "spec.addresses[1]"),
        Refused("addresses", json!({ "addresses": null, "pool": null, "ipv4": null }), "spec"),
        set("pool", json!("q")),
        Refused("pool", json!({ "ipv4": 0 }), "spec.pool"),
        set("ipv4", json!(2)),
        Honoured("ipv4", two_counts.clone(), json!({ "ipv6": 1, "ipv4": null })),
        blamed("ipv4", json!(1025), "spec.ipv4"),
        Refused("ipv4", json!({ "pool": null }), "spec.ipv4"),
        Honoured("ipv6", json!({}), two_counts),
        blamed("ipv6", json!(1025), "spec.ipv6"),
        Refused("ipv6", json!({ "pool": null, "ipv4": 0, "ipv6": 1 }), "spec.ipv6"),
        set("service.namespace", json!("e")),
        set("service.name", json!("dns")),
        Refused("service.name", json!({ "service": null }), "spec.service"),
        Honoured("selector.namespaces", anyone.clone(), with(json!({ "namespaces": ["y"] }))),
        Honoured(
            "selector.namespaceSelectors",
            anyone.clone(),
            with(json!({ "namespaceSelectors": selectors() })),
        ),
        Refused(
            "selector.namespaceSelectors",
            with(json!({ "namespaceSelectors": no_selectors() })),
            OPERATOR,
        ),
        Honoured("selector.serviceSelectors", anyone.clone(), with(json!({ "serviceSelectors": null }))),
        Refused(
            "selector.serviceSelectors",
            with(json!({ "serviceSelectors": no_selectors() })),
            SERVICE_OPERATOR,
        ),
        Refused("selector.namespaces", json!({ "service": null, "selector": {} }), "spec.selector"),
        Refused("selector.namespaces", json!({ "selector": { "namespaces": ["x"] } }), "spec.selector"),
        set("expires", json!("2030-01-01T00:00:00Z")),
        set("reclaimPolicy", json!("Release")),
    ]
}

fn config_rows() -> Vec<Row> {
    vec![
        set("moves.overlap", json!("1h")),
        blamed("moves.overlap", json!("61m"), "spec.moves.overlap"),
        set("moves.maxConcurrent", json!(1000)),
        blamed("moves.maxConcurrent", json!(0), "spec.moves.maxConcurrent"),
        blamed("moves.maxConcurrent", json!(1001), "spec.moves.maxConcurrent"),
        set("layer2.heartbeat.interval", json!("10ms")),
        blamed("layer2.heartbeat.interval", json!("9ms"), "spec.layer2.heartbeat.interval"),
        blamed("layer2.heartbeat.interval", json!("10001ms"), "spec.layer2.heartbeat.interval"),
        set("layer2.heartbeat.multiplier", json!(10)),
        blamed("layer2.heartbeat.multiplier", json!(1), "spec.layer2.heartbeat.multiplier"),
        blamed("layer2.heartbeat.multiplier", json!(11), "spec.layer2.heartbeat.multiplier"),
        set("layer2.cover", json!("0s")),
        blamed("layer2.cover", json!("11m"), "spec.layer2.cover"),
        set("layer2.refresh", json!("0s")),
        blamed("layer2.refresh", json!("2h"), "spec.layer2.refresh"),
        set("layer2.icmpEcho", json!(true)),
        set("dataPath.healthz", json!("")),
        set("layer2.promiscuous", json!(true)),
        set("layer2.controlPlaneNodes", json!("Exclude")),
    ]
}

fn l2_rows() -> Vec<Row> {
    let preferring =
        |weight: u32, selectors: Value| json!([{ "weight": weight, "preference": selectors[0] }]);
    let weight = "spec.preferredNodeSelectors[0].weight";
    let operator = "spec.preferredNodeSelectors[0].preference.matchExpressions[0].operator";
    vec![
        set("ipAddressPools", json!(["p"])),
        set("ipAddressPoolSelectors", selectors()),
        set("nodeSelectors", selectors()),
        set("serviceSelectors", selectors()),
        set("interfaces", json!(["eth0"])),
        set("preferredNodeSelectors", preferring(100, selectors())),
        blamed("preferredNodeSelectors", preferring(101, selectors()), weight),
        blamed("preferredNodeSelectors", preferring(1, no_selectors()), operator),
        set("preempt", json!(true)),
        set("rebalance", json!("Auto")),
    ]
}

fn owner_rows() -> Vec<Row> {
    vec![
        set("address", json!("192.0.2.2")),
        blamed("address", json!("here"), "spec.address"),
        set("node", json!("n2")),
        blamed("node", json!(""), "spec.node"),
        set("generation", json!(2)),
        blamed("generation", json!(0), "spec.generation"),
        set("reason", json!("New")),
        set("answered.addressOwner", json!("n1")),
        set("answered.service", json!("n1")),
    ]
}

fn bgp_rows() -> Vec<Row> {
    vec![
        set("ipAddressPools", json!(["p"])),
        set("ipAddressPoolSelectors", selectors()),
        set("nodeSelectors", selectors()),
        set("serviceSelectors", selectors()),
        set("peers", json!(["r1"])),
        set("localPref", json!(200)),
    ]
}

fn peer_rows() -> Vec<Row> {
    vec![
        set("myASN", json!(64501)),
        blamed("myASN", json!(23456), "spec.myASN"),
        set("peerASN", json!(64513)),
        set("peerAddress", json!("192.0.2.2")),
        blamed("peerAddress", json!("fe80::1"), "spec.peerAddress"),
        set("peerPort", json!(1179)),
        set("sourceAddress", json!("192.0.2.9")),
        blamed("sourceAddress", json!("2001:db8::1"), "spec.sourceAddress"),
        set("holdTime", json!("30s")),
        set("keepaliveTime", json!("10s")),
        blamed("keepaliveTime", json!("91000s"), "spec.keepaliveTime"),
        set("connectTime", json!("20s")),
        set("routerID", json!("192.0.2.7")),
        set("nodeSelectors", selectors()),
        set("ebgpMultiHop", json!(true)),
        set("dualStackAddressFamily", json!(true)),
    ]
}

/// A merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

impl Kind {
    fn with(&self, change: &Value) -> Meaning {
        let mut spec = self.least.clone();
        merge(&mut spec, change);
        let object = json!({
            "apiVersion": "ferritelb.io/v1beta1",
            "kind": self.plural,
            "metadata": { "name": "default" },
            "spec": spec,
        });
        (self.meaning)(object)
    }

    /// The fields of the spec by their paths. A label selector is one field.
    fn fields(&self) -> BTreeMap<String, Value> {
        let definition = crds().into_iter().find(|crd| crd.spec.names.plural == self.plural).unwrap();
        let definition = serde_json::to_value(definition).unwrap();
        let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
        let mut fields = BTreeMap::new();
        collect(spec, "", &mut fields);
        fields
    }
}

fn collect(schema: &Value, path: &str, fields: &mut BTreeMap<String, Value>) {
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => {
            for (name, schema) in properties {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(schema, &path, fields);
            }
        }
        None => drop(fields.insert(path.to_owned(), schema.clone())),
    }
}

#[test]
fn the_tables_have_every_kind_and_every_field() {
    let mut plurals: BTreeSet<_> = crds().into_iter().map(|crd| crd.spec.names.plural).collect();
    assert!(plurals.remove("speakerstatuses"), "it has no spec");
    assert_eq!(plurals, kinds().iter().map(|kind| kind.plural.to_owned()).collect());
    for kind in kinds() {
        let rows = rows(kind.plural);
        let honoured: BTreeSet<_> = rows
            .iter()
            .filter_map(|row| match row {
                Honoured(path, ..) => Some((*path).to_owned()),
                Refused(..) => None,
            })
            .collect();
        assert_eq!(honoured, kind.fields().into_keys().collect(), "{}", kind.plural);
    }
}

#[test]
fn every_field_is_honoured_or_refused_by_name() {
    for kind in kinds() {
        for row in rows(kind.plural) {
            match row {
                Honoured(path, from, to) => {
                    let [from, to] = [from, to].map(|change| kind.with(&change));
                    assert!(from.is_ok() && to.is_ok(), "{} {path}: {from:?} {to:?}", kind.plural);
                    assert_ne!(from, to, "{} {path} has no effect", kind.plural);
                }
                Refused(path, change, field) => {
                    assert_eq!(kind.with(&change), Err(field.to_owned()), "{} {path}", kind.plural);
                }
            }
        }
    }
}

#[test]
fn what_the_schemas_say_of_absent_fields_is_what_is_meant() {
    for kind in kinds() {
        let absent = kind.with(&json!({}));
        assert!(absent.is_ok(), "{} {absent:?}", kind.plural);
        for (path, schema) in kind.fields() {
            let is_least = path.split('.').try_fold(&kind.least, |value, name| value.get(name)).is_some();
            if let Some(default) = schema.get("default").filter(|_| !is_least) {
                let present = kind.with(&nested(&path, default.clone()));
                assert_eq!(present, absent, "{} {path}", kind.plural);
            }
        }
    }
}

#[test]
fn a_configuration_of_another_name_is_refused() {
    let named = |name: &str| {
        let object = json!({
            "apiVersion": "ferritelb.io/v1beta1", "kind": "FerriteConfig", "metadata": { "name": name }, "spec": {},
        });
        meaning(object, FerriteConfig::parse)
    };
    assert!(named("default").is_ok());
    assert_eq!(named("other"), Err("metadata.name".to_owned()));
}
