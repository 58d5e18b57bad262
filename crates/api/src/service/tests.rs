use std::collections::BTreeSet;

use ipam::{Backend, Families, Family, Protocol, Sharing};

use super::*;
use crate::Invalid;

/// A Service of type LoadBalancer with this spec and these annotations.
fn service(spec: Value, annotations: Value) -> Service {
    let mut whole = json!({"type": "LoadBalancer", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": {"namespace": "d", "name": "web", "uid": "u-1", "annotations": annotations},
        "spec": whole,
    }))
    .unwrap()
}

fn request(spec: Value, annotations: Value) -> Result<Request, Invalid> {
    LoadBalancer::parse(&service(spec, annotations), None).unwrap().request
}

fn asked(spec: Value, annotations: Value) -> Result<Vec<String>, String> {
    let request = request(spec, annotations).map_err(|invalid| invalid.field)?;
    Ok(request.addresses.iter().map(ToString::to_string).collect())
}

fn outcome(addresses: &[&str]) -> Outcome {
    Outcome {
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        pool: (!addresses.is_empty()).then(|| PoolName::new("p")),
        moving: None,
        allocated: Condition::new(ALLOCATED, Status::True, "Allocated", "from pool p"),
    }
}

/// The Service as the API server would have it after a strategic merge patch of ours.
fn patched(mut service: Service, patch: &Value) -> Service {
    let annotations = service.metadata.annotations.get_or_insert_default();
    for (key, value) in patch.pointer("/metadata/annotations").unwrap().as_object().unwrap() {
        annotations.remove(key);
        annotations.extend(value.as_str().map(|value| (key.clone(), value.to_string())));
    }
    let mut status = patch.get("status").unwrap().clone();
    let conditions = status.get_mut("conditions").unwrap().as_array_mut().unwrap();
    conditions.retain(|condition| condition.get("$patch").is_none());
    service.status = serde_json::from_value(status).unwrap();
    service
}

#[test]
fn only_load_balancers_of_our_class_are_ours() {
    let classless = service(json!({}), json!({}));
    let classy = service(json!({"loadBalancerClass": "example.org/lb"}), json!({}));
    let other = service(json!({"type": "NodePort"}), json!({}));
    let ours = |class| [&classless, &classy, &other].map(|service| is_ours(service, class));
    assert_eq!(ours(None), [true, false, false]);
    assert_eq!(ours(Some("example.org/lb")), [false, true, false]);
    assert_eq!(ours(Some("example.org/other")), [false, false, false]);
}

#[test]
fn families_follow_the_service() {
    let families = |spec| request(spec, json!({})).map(|request| request.families);
    let cases = [
        (json!({}), Families::One(Family::V4)),
        (json!({"ipFamilies": ["IPv6"]}), Families::One(Family::V6)),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), Families::One(Family::V4)),
        (
            json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
            Families::Prefer(Family::V6),
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}),
            Families::Both(Family::V4),
        ),
        (
            json!({"ipFamilies": null, "clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}),
            Families::One(Family::V6),
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(families(spec.clone()), Ok(expected), "{spec}");
    }
    assert_eq!(families(json!({"ipFamilies": null})).unwrap_err().field, "spec.clusterIPs");
}

#[test]
fn addresses_are_asked_for_by_field_or_annotation() {
    let both = json!({"ferritelb.io/loadBalancerIPs": "10.0.0.5, fd00::5"});
    assert_eq!(asked(json!({}), json!({})), Ok(vec![]));
    assert_eq!(asked(json!({"loadBalancerIP": "10.0.0.5"}), json!({})), Ok(vec!["10.0.0.5".into()]));
    assert_eq!(asked(json!({}), both.clone()), Ok(vec!["10.0.0.5".into(), "fd00::5".into()]));
    assert_eq!(
        asked(json!({"loadBalancerIP": "10.0.0.5"}), both),
        asked(json!({}), json!({"metallb.io/loadBalancerIPs": "fd00::5,10.0.0.5"}))
    );
}

#[test]
fn what_cannot_be_honoured_is_named() {
    let annotated = |text: &str| json!({"metallb.io/loadBalancerIPs": text});
    let annotation = || Err("metadata.annotations[metallb.io/loadBalancerIPs]".to_string());
    assert_eq!(asked(json!({}), annotated("1.2.3")), annotation());
    assert_eq!(asked(json!({}), annotated("10.0.0.1,")), annotation());
    assert_eq!(asked(json!({}), annotated("10.0.0.1,10.0.0.2")), annotation());
    assert_eq!(asked(json!({"loadBalancerIP": "x"}), json!({})), Err("spec.loadBalancerIP".into()));
    assert_eq!(
        asked(json!({"loadBalancerIP": "10.0.0.2"}), annotated("10.0.0.1")),
        Err("spec.loadBalancerIP".into())
    );
}

/// The prefixes under which annotations are honoured.
const PREFIXES: [&str; 3] = ["ferritelb.io", "metallb.io", "metallb.universe.tf"];

fn field(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}

#[test]
fn every_annotation_is_honoured_under_every_prefix() {
    for prefix in PREFIXES {
        let annotated = |name: &str, value: &str| {
            request(json!({}), json!({ format!("{prefix}/{name}"): value })).unwrap()
        };
        let addresses = annotated("loadBalancerIPs", "10.0.0.5").addresses;
        assert_eq!(addresses, ["10.0.0.5".parse().unwrap()].into(), "{prefix}");
        assert_eq!(annotated("address-pool", "p").pools, [PoolName::new("p")], "{prefix}");
        assert_eq!(annotated("allow-shared-ip", "k").sharing.unwrap().key, "k", "{prefix}");
        let service = service(json!({}), json!({ format!("{prefix}/ip-allocated-from-pool"): "p" }));
        let held_from = LoadBalancer::parse(&service, None).unwrap().held_from;
        assert_eq!(held_from, Some(PoolName::new("p")), "{prefix}");
    }
}

#[test]
fn what_is_ours_alone_is_read_under_our_prefix_only() {
    for prefix in ["metallb.io", "metallb.universe.tf"] {
        let service = service(json!({}), json!({ format!("{prefix}/share-local"): "nonsense" }));
        assert_eq!(LoadBalancer::parse(&service, None).unwrap().request.unwrap().sharing, None, "{prefix}");
    }
}

#[test]
fn pools_are_asked_for_in_order_and_once_each() {
    let pools = |text: &str| {
        let request = request(json!({}), json!({ "ferritelb.io/address-pool": text }));
        let names = request.map(|request| request.pools.iter().map(ToString::to_string).collect::<Vec<_>>());
        names.map_err(|invalid| invalid.field)
    };
    assert_eq!(pools(" b , a,c "), Ok(vec!["b".into(), "a".into(), "c".into()]));
    assert_eq!(pools("b,a,b"), Ok(vec!["b".into(), "a".into()]));
    assert_eq!(pools(" "), Ok(vec![]));
    for text in ["a,", ",a", "a,,b", ","] {
        assert_eq!(pools(text), Err(field("ferritelb.io/address-pool")), "{text}");
    }
}

#[test]
fn more_than_anyone_can_mean_is_refused_by_its_size() {
    let names = |count: u32| (0..count).map(|name| name.to_string()).collect::<Vec<_>>().join(",");
    let pools = |text: &str| request(json!({}), json!({ "ferritelb.io/address-pool": text }));
    assert_eq!(pools(&names(64)).unwrap().pools.len(), 64);
    let address_pool = field("ferritelb.io/address-pool");
    let refusals = [
        (names(65), "names 65 IPAddressPools; 64 are possible".to_string()),
        (names(67_000), "names 67000 IPAddressPools; 64 are possible".to_string()),
        (",".repeat(250_000), "names 250001 IPAddressPools; 64 are possible".to_string()),
        ("a".repeat(254), format!("\"{}\"… is longer than a name can be", "a".repeat(64))),
    ];
    for (text, why) in refusals {
        assert_eq!(pools(&text).unwrap_err(), Invalid::new(&address_pool, why));
    }
    let addresses = |text: String| request(json!({}), json!({ "ferritelb.io/loadBalancerIPs": text }));
    for text in ["10.0.0.1,".repeat(25_000), "x".repeat(250_000)] {
        let refused = addresses(text).unwrap_err();
        assert!(refused.why.len() < 128, "{refused}");
    }
}

#[test]
fn prefixes_that_contradict_each_other_are_refused_for_every_annotation() {
    for (name, one, other) in [
        ("loadBalancerIPs", "10.0.0.5", "10.0.0.6"),
        ("address-pool", "p", "q"),
        ("allow-shared-ip", "k", "l"),
    ] {
        let [ours, theirs] = ["ferritelb.io", "metallb.io"].map(|prefix| format!("{prefix}/{name}"));
        let asked = |other: &str| request(json!({}), json!({ &ours: one, &theirs: other }));
        let refused = asked(other).unwrap_err();
        assert_eq!(refused.field, field(&ours));
        assert!(refused.why.contains(&theirs) && refused.why.contains(other), "{refused}");
        assert!(asked(one).is_ok(), "{name}");
    }
    let recorded = ["ferritelb.io", "metallb.io"].map(|prefix| format!("{prefix}/ip-allocated-from-pool"));
    let [ours, theirs] = recorded;
    let adopted = LoadBalancer::parse(&service(json!({}), json!({ ours: "p", theirs: "q" })), None).unwrap();
    assert_eq!(adopted.held_from, Some(PoolName::new("p")), "it is not asked for");
    assert!(adopted.request.is_ok());
}

#[test]
fn labels_are_asked_with() {
    let mut service = service(json!({}), json!({}));
    service.metadata.labels = Some([("app".to_string(), "web".to_string())].into());
    let request = LoadBalancer::parse(&service, None).unwrap().request.unwrap();
    assert_eq!(request.labels, service.metadata.labels.unwrap());
}

fn sharing(spec: Value, annotations: Value) -> Result<Option<Sharing>, String> {
    request(spec, annotations).map(|request| request.sharing).map_err(|invalid| invalid.field)
}

#[test]
fn a_key_shares_by_what_the_service_listens_on() {
    let ports = json!([{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 9, "protocol": "SCTP"}]);
    let shared = sharing(json!({ "ports": ports }), json!({ "metallb.io/allow-shared-ip": " k " }));
    let ports: BTreeSet<_> = [(Protocol::Tcp, 80), (Protocol::Udp, 53), (Protocol::Sctp, 9)].into();
    assert_eq!(shared, Ok(Some(Sharing { key: "k".into(), ports, backend: Backend::Cluster })));
    for key in ["", "  "] {
        assert_eq!(sharing(json!({}), json!({ "ferritelb.io/allow-shared-ip": key })), Ok(None));
    }
}

#[test]
fn where_traffic_may_come_in_follows_policy_selector_and_share_local() {
    let (local, selector) = ("Local", json!({"app": "web"}));
    let pods = || Backend::Local([("app".to_string(), "web".to_string())].into());
    let cases = [
        (json!({ "selector": selector }), None, Backend::Cluster),
        (json!({ "externalTrafficPolicy": "Cluster", "selector": selector }), None, Backend::Cluster),
        (json!({ "externalTrafficPolicy": local, "selector": selector }), None, pods()),
        (json!({ "externalTrafficPolicy": local }), None, Backend::Unselected),
        (json!({ "externalTrafficPolicy": local, "selector": {} }), None, Backend::Unselected),
        (json!({ "externalTrafficPolicy": local, "selector": selector }), Some("any"), Backend::LocalToAny),
        (json!({ "externalTrafficPolicy": local }), Some("all"), Backend::LocalToAll),
        (json!({ "externalTrafficPolicy": "Cluster" }), Some("any"), Backend::LocalToAny),
        (json!({}), Some(" all "), Backend::LocalToAll),
        (json!({}), Some(""), Backend::Cluster),
    ];
    for (spec, share_local, expected) in cases {
        let mut annotations = json!({ "ferritelb.io/allow-shared-ip": "k" });
        if let Some(value) = share_local {
            annotations["ferritelb.io/share-local"] = json!(value);
        }
        let shared = sharing(spec.clone(), annotations).unwrap().unwrap();
        assert_eq!(shared.backend, expected, "{spec} {share_local:?}");
    }
}

#[test]
fn sharing_that_means_nothing_is_named() {
    let share_local = "ferritelb.io/share-local";
    assert_eq!(sharing(json!({}), json!({ share_local: "any" })), Err(field(share_local)));
    let refused = request(json!({}), json!({ share_local: "any", "metallb.io/allow-shared-ip": "" }));
    let refused = refused.unwrap_err();
    assert_eq!(refused.field, field(share_local));
    assert!(refused.why.contains("ferritelb.io/allow-shared-ip"), "{refused}");
    for value in ["both", "Any", "any,all"] {
        let annotations = json!({ share_local: value, "ferritelb.io/allow-shared-ip": "k" });
        assert_eq!(sharing(json!({}), annotations), Err(field(share_local)), "{value}");
    }
    let odd = json!({ "ports": [{"port": 80}, {"port": 80, "protocol": "QUIC"}] });
    let key = || json!({ "ferritelb.io/allow-shared-ip": "k" });
    assert_eq!(sharing(odd, key()), Err("spec.ports[1].protocol".into()));
    assert_eq!(sharing(json!({ "ports": [{"port": 70000}] }), key()), Err("spec.ports[0].port".into()));
}

const RECORD: &str = r#"{"addresses":["10.1.0.5"],"pool":"p","moving":{"from":["10.0.0.5"],"pool":"old","until":"2026-11-21T12:00:30Z"}}"#;

/// A Service that shows a new and an old address, and has this on record.
fn moved(record: &str) -> Service {
    let mut service = service(json!({}), json!({ "ferritelb.io/ip-allocated-from-pool": "p" }));
    let ingress = json!([{"ip": "10.1.0.5"}, {"ip": "10.0.0.5"}]);
    let origin = Condition::new(ORIGIN, Status::True, "Recorded", record);
    let conditions = json!([origin.written(&[], Timestamp::UNIX_EPOCH)]);
    let status = json!({ "loadBalancer": { "ingress": ingress }, "conditions": conditions });
    service.status = serde_json::from_value(status).unwrap();
    service
}

fn moving(until: &str) -> Moving {
    Moving {
        from: vec!["10.0.0.5".parse().unwrap()],
        pool: PoolName::new("old"),
        until: until.parse().unwrap(),
    }
}

#[test]
fn a_way_from_old_addresses_to_new_ones_is_read() {
    let read = |record: &str| LoadBalancer::parse(&moved(record), None).unwrap().moving;
    assert_eq!(read(RECORD), Some(moving("2026-11-21T12:00:30Z")));
    let garbage = [
        String::new(),
        "{}".into(),
        RECORD.replace("10.0.0.5", "10.0.0.6"),
        RECORD.replace("10.1.0.5", "10.1.0.6"),
        RECORD.replace("10.1.0.5", "x"),
        RECORD.replace(r#"["10.0.0.5"]"#, "[]"),
        RECORD.replace(r#"["10.1.0.5"]"#, "[]"),
        RECORD.replace("12:00:30", "12:00:77"),
    ];
    for record in garbage {
        assert_eq!(read(&record), None, "{record}");
    }
}

#[test]
fn what_is_shown_beside_the_record_was_never_given() {
    let held = |record: &str| {
        let LoadBalancer { held, held_from, .. } = LoadBalancer::parse(&moved(record), None).unwrap();
        let held: Vec<_> = held.iter().map(ToString::to_string).collect();
        (held.join(" "), held_from.map(|pool| pool.to_string()))
    };
    let of = |held: &str, pool: &str| (held.to_owned(), Some(pool.to_owned()));
    assert_eq!(held(RECORD), of("10.1.0.5 10.0.0.5", "p"));
    assert_eq!(held(r#"{"addresses":["10.1.0.5"],"pool":"q"}"#), of("10.1.0.5", "q"));
    assert_eq!(held(r#"{"addresses":["10.9.9.9"]}"#), (String::new(), None));
    assert_eq!(held("nonsense"), of("10.1.0.5 10.0.0.5", "p"), "as without a record");
}

#[test]
fn a_move_is_in_the_same_patch_as_its_addresses_and_read_back() {
    let blank = service(json!({}), json!({}));
    let wanted = Outcome { moving: Some(moving("2026-11-21T12:00:29.3Z")), ..outcome(&["10.1.0.5"]) };
    let patch = LoadBalancer::parse(&blank, None).unwrap().patch(&wanted, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(
        patch.pointer("/status/loadBalancer/ingress"),
        Some(&json!([{"ip": "10.1.0.5", "ipMode": "VIP"}, {"ip": "10.0.0.5", "ipMode": "VIP"}]))
    );
    assert_eq!(
        patch.pointer("/metadata/annotations"),
        Some(&json!({ "ferritelb.io/ip-allocated-from-pool": "p" }))
    );
    assert_eq!(patch.pointer("/status/conditions/1/message"), Some(&json!(RECORD)));
    let after = LoadBalancer::parse(&patched(blank, &patch), None).unwrap();
    assert_eq!(after.moving, Some(moving("2026-11-21T12:00:30Z")));
    assert_eq!(after.held_from, Some(PoolName::new("p")));
    assert_eq!(after.patch(&wanted, Timestamp::UNIX_EPOCH), None);
}

#[test]
fn a_move_is_not_written_again_because_clocks_differ_a_little() {
    let mut service = moved(RECORD);
    let wanted = |until| Outcome { moving: Some(moving(until)), ..outcome(&["10.1.0.5"]) };
    let allocated = wanted("2026-11-21T12:00:30Z").allocated.written(&[], Timestamp::UNIX_EPOCH);
    service.status.as_mut().unwrap().conditions.as_mut().unwrap().push(allocated);
    let seen = LoadBalancer::parse(&service, None).unwrap();
    let is_patched = |outcome: &Outcome| seen.patch(outcome, Timestamp::UNIX_EPOCH).is_some();
    assert!(!is_patched(&wanted("2026-11-21T12:00:28.1Z")));
    assert!(!is_patched(&wanted("2026-11-21T12:00:31.9Z")));
    assert!(is_patched(&wanted("2026-11-21T12:00:33Z")));
    let elsewhere = Moving { pool: PoolName::new("other"), ..moving("2026-11-21T12:00:30Z") };
    assert!(is_patched(&Outcome { moving: Some(elsewhere), ..outcome(&["10.1.0.5"]) }));
    assert!(is_patched(&outcome(&["10.1.0.5", "10.0.0.5"])), "the end of a move has to be written");
}

#[test]
fn everything_of_ours_is_taken_out_at_the_end() {
    let patch = release_patch("u-1");
    let annotations = json!({ "ferritelb.io/ip-allocated-from-pool": null });
    assert_eq!(patch.pointer("/metadata/annotations"), Some(&annotations));
    assert_eq!(patch.pointer("/metadata/uid"), Some(&json!("u-1")));
    assert_eq!(patch.pointer("/status/loadBalancer/ingress"), Some(&Value::Null));
    let deleted = json!([{ "$patch": "delete", "type": ALLOCATED }, { "$patch": "delete", "type": ORIGIN }]);
    assert_eq!(patch.pointer("/status/conditions"), Some(&deleted));
}

#[test]
fn a_service_says_since_when_it_has_what_it_asks_for() {
    let since = |status: &str| {
        let mut service = service(json!({}), json!({}));
        let conditions = json!([
            { "type": "other", "status": "True", "reason": "R", "message": "",
              "lastTransitionTime": "2026-01-01T00:00:00Z" },
            { "type": ALLOCATED, "status": status, "reason": "R", "message": "",
              "lastTransitionTime": "2026-11-21T12:00:00Z" },
        ]);
        service.status = serde_json::from_value(json!({ "conditions": conditions })).unwrap();
        LoadBalancer::parse(&service, None).unwrap().allocated_since
    };
    assert_eq!(since("True"), Some("2026-11-21T12:00:00Z".parse().unwrap()));
    assert_eq!(since("False"), None);
    let blank = service(json!({}), json!({}));
    assert_eq!(LoadBalancer::parse(&blank, None).unwrap().allocated_since, None);
}

#[test]
fn what_a_patch_writes_is_read_back_and_not_written_again() {
    let blank = service(json!({}), json!({}));
    let wanted = outcome(&["10.0.0.5", "fd00::5"]);
    let patch = LoadBalancer::parse(&blank, None).unwrap().patch(&wanted, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(patch.pointer("/metadata/uid"), Some(&json!("u-1")));
    let after = LoadBalancer::parse(&patched(blank, &patch), None).unwrap();
    assert_eq!((&after.held, after.held_from.as_ref()), (&wanted.addresses, wanted.pool.as_ref()));
    assert_eq!(after.patch(&wanted, Timestamp::UNIX_EPOCH), None);
}

#[test]
fn every_difference_is_worth_a_patch() {
    let blank = service(json!({}), json!({}));
    let wanted = outcome(&["10.0.0.5"]);
    let patch = LoadBalancer::parse(&blank, None).unwrap().patch(&wanted, Timestamp::UNIX_EPOCH).unwrap();
    let stands = patched(blank, &patch);
    let is_patched = |change: &dyn Fn(&mut Service)| {
        let mut service = stands.clone();
        change(&mut service);
        LoadBalancer::parse(&service, None).unwrap().patch(&wanted, Timestamp::UNIX_EPOCH).is_some()
    };
    let entry = |service: &mut Service| -> LoadBalancerIngress {
        service.status.as_mut().unwrap().load_balancer.as_mut().unwrap().ingress.as_mut().unwrap().remove(0)
    };
    let put = |service: &mut Service, entry: LoadBalancerIngress| {
        service
            .status
            .as_mut()
            .unwrap()
            .load_balancer
            .as_mut()
            .unwrap()
            .ingress
            .as_mut()
            .unwrap()
            .push(entry);
    };
    let mode = |mode: Option<&'static str>| {
        move |service: &mut Service| {
            let entry = LoadBalancerIngress { ip_mode: mode.map(Into::into), ..entry(service) };
            put(service, entry);
        }
    };
    assert!(!is_patched(&|_| {}));
    assert!(!is_patched(&mode(None)), "the API server reads an absent ipMode as VIP");
    assert!(is_patched(&mode(Some("Proxy"))));
    assert!(is_patched(&|service| {
        entry(service);
    }));
    assert!(is_patched(&|service| service.metadata.annotations = None));
    for one in [ALLOCATED, ORIGIN] {
        assert!(is_patched(&|service| {
            let conditions = service.status.as_mut().unwrap().conditions.as_mut().unwrap();
            conditions.retain(|condition| condition.type_ != one);
        }));
    }
}

#[test]
fn an_announcing_node_reads_status_and_policy() {
    let mut service =
        service(json!({"externalTrafficPolicy": "Local"}), json!({"metallb.io/ip-allocated-from-pool": "p"}));
    service.status = serde_json::from_value(
        json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.5"}, {"hostname": "lb.example"}, {"ip": "fd00::5"}]}}),
    )
    .unwrap();
    let announced = announced(&service, None).unwrap();
    let from_p = |text: &str| (text.parse().unwrap(), Some(PoolName::new("p")));
    assert_eq!(announced.addresses, ["10.0.0.5", "fd00::5"].map(from_p).into());
    assert_eq!(announced.policy, announce::TrafficPolicy::Local);
}

#[test]
fn where_a_service_listens_is_known_also_when_it_cannot_be_understood() {
    let ports = json!({ "loadBalancerIP": "10", "ports": [{ "port": 53, "protocol": "UDP" }] });
    let terms = |annotations| {
        let seen = LoadBalancer::parse(&service(ports.clone(), annotations), None).unwrap();
        assert!(seen.request.is_err());
        seen.terms.unwrap()
    };
    let table = [
        (json!({ "ferritelb.io/allow-shared-ip": "k" }), "k", Backend::Cluster),
        (
            json!({ "ferritelb.io/allow-shared-ip": "k", "ferritelb.io/share-local": "x" }),
            "k",
            Backend::Unselected,
        ),
        (json!({}), "", Backend::Unselected),
    ];
    for (annotations, key, backend) in table {
        let ports = BTreeSet::from([(Protocol::Udp, 53)]);
        let expected = Sharing { key: key.to_owned(), ports, backend };
        assert_eq!(terms(annotations.clone()), expected, "{annotations}");
    }
}
