use serde_json::{Value, json};

use super::*;

/// A Service that has 10.0.0.1, 10.0.0.2 and fd00::1, with this spec and these annotations.
fn seen(spec: Value, annotations: Value) -> announce::Service {
    recorded(spec, annotations, None)
}

/// The same, with this on record.
fn recorded(spec: Value, annotations: Value, record: Option<&str>) -> announce::Service {
    let mut whole = json!({"type": "LoadBalancer", "selector": {"app": "web"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let ingress = [json!({"ip": "10.0.0.1"}), json!({"ip": "fd00::1"}), json!({"ip": "10.0.0.2"})];
    let conditions: Vec<_> = record
        .map(|record| {
            json!({"type": "ferritelb.io/Origin", "status": "True", "reason": "Recorded", "message": record,
                "lastTransitionTime": "2026-11-21T12:00:00Z"})
        })
        .into_iter()
        .collect();
    let service = serde_json::from_value(json!({
        "metadata": {"namespace": "d", "name": "web", "uid": "u-1", "annotations": annotations, "labels": {"a": "b"}},
        "spec": whole,
        "status": {"loadBalancer": {"ingress": ingress}, "conditions": conditions},
    }));
    announced(&service.unwrap(), None).unwrap()
}

fn pools(annotations: Value, record: Option<&str>) -> Vec<String> {
    let seen = recorded(json!({}), annotations, record);
    let pool = |pool: Option<PoolName>| pool.map_or("-".to_owned(), |pool| pool.to_string());
    seen.addresses.into_iter().map(|(address, from)| format!("{address} {}", pool(from))).collect()
}

fn backend_of(spec: Value, annotations: Value) -> Option<Backend> {
    seen(spec, annotations).sharing.map(|sharing| sharing.backend)
}

#[test]
fn each_address_has_the_pool_that_it_came_from() {
    let all_new = ["10.0.0.1 new", "10.0.0.2 new", "fd00::1 new"];
    assert_eq!(pools(json!({}), None), ["10.0.0.1 -", "10.0.0.2 -", "fd00::1 -"]);
    assert_eq!(pools(json!({"metallb.io/ip-allocated-from-pool": "new"}), None), all_new);
    let annotated = |record: &str| pools(json!({"ferritelb.io/ip-allocated-from-pool": "new"}), Some(record));
    let moving = r#"{"addresses":["10.0.0.2"],"pool":"p","moving":{"from":["10.0.0.1","fd00:0::1"],"pool":"old","until":"2026-11-21T17:00:00Z"}}"#;
    assert_eq!(annotated(moving), ["10.0.0.1 old", "10.0.0.2 p", "fd00::1 old"]);
    assert_eq!(
        annotated(r#"{"addresses":["10.0.0.1"],"pool":"p"}"#),
        ["10.0.0.1 p"],
        "the others were not given"
    );
    for garbage in ["", "{}", "[]", "null", r#"{"addresses":["x"]}"#, r#"{"addresses":"10.0.0.1"}"#] {
        assert_eq!(annotated(garbage), all_new, "{garbage}");
    }
}

#[test]
fn sharing_is_what_the_annotations_and_the_spec_say() {
    let key = |annotations| seen(json!({}), annotations).sharing.map(|sharing| sharing.key);
    assert_eq!(key(json!({})), None);
    assert_eq!(key(json!({"ferritelb.io/allow-shared-ip": " "})), None);
    for prefix in ["ferritelb.io", "metallb.io", "metallb.universe.tf"] {
        assert_eq!(key(json!({(format!("{prefix}/allow-shared-ip")): "k"})).as_deref(), Some("k"));
    }
    let (local, none) = (json!({"externalTrafficPolicy": "Local"}), json!({"selector": null}));
    let bare = json!({"externalTrafficPolicy": "Local", "selector": {}});
    let plain = json!({"ferritelb.io/allow-shared-ip": "k"});
    let shared = |how: &str| json!({"metallb.io/allow-shared-ip": "k", "ferritelb.io/share-local": how});
    let web = [("app".to_owned(), "web".to_owned())].into();
    assert_eq!(backend_of(json!({}), plain.clone()), Some(Backend::Cluster));
    assert_eq!(backend_of(none, plain.clone()), Some(Backend::Cluster));
    assert_eq!(backend_of(local.clone(), plain.clone()), Some(Backend::Local(web)));
    assert_eq!(backend_of(bare, plain), Some(Backend::Unselected));
    for spec in [json!({}), local] {
        assert_eq!(backend_of(spec.clone(), shared("any")), Some(Backend::LocalToAny));
        assert_eq!(backend_of(spec.clone(), shared("all")), Some(Backend::LocalToAll));
        assert_eq!(backend_of(spec, shared("some")), None, "shares with nobody");
    }
    assert_eq!(backend_of(json!({}), json!({"ferritelb.io/share-local": "any"})), None, "no key");
}

#[test]
fn ports_are_by_protocol_and_tcp_is_meant_where_none_is_said() {
    let ports = json!([
        {"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80},
        {"port": 9, "protocol": "SCTP"},
    ]);
    let sharing =
        seen(json!({"ports": ports}), json!({"ferritelb.io/allow-shared-ip": "k"})).sharing.unwrap();
    let expected = [(Protocol::Tcp, 53), (Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 9)];
    assert_eq!(sharing.ports, expected.into());
}

#[test]
fn only_a_true_allocation_says_since_when() {
    let since = |kind: &str, status: &str| {
        let condition = json!({
            "type": kind, "status": status, "reason": "r", "message": "",
            "lastTransitionTime": "1970-01-01T00:01:40Z",
        });
        let service = json!({
            "metadata": {"namespace": "d", "name": "web", "uid": "u-1"},
            "spec": {"type": "LoadBalancer"},
            "status": {"conditions": [condition]},
        });
        announced(&serde_json::from_value(service).unwrap(), None).unwrap().allocated_since
    };
    assert_eq!(since("ferritelb.io/Allocated", "True"), Some(100));
    assert_eq!(since("ferritelb.io/Allocated", "False"), None);
    assert_eq!(since("Other", "True"), None);
}
