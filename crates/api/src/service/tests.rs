use super::*;
use crate::condition::Status;

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
        allocated: Condition::new(ALLOCATED, Status::True, "Allocated", "from pool p"),
    }
}

/// The Service as the API server would have it after a strategic merge patch of ours.
fn patched(mut service: Service, patch: &Value) -> Service {
    let ours = annotation::ours(IP_ALLOCATED_FROM_POOL);
    let pool = patch.pointer("/metadata/annotations").unwrap().get(&ours).unwrap().as_str();
    let annotations = service.metadata.annotations.get_or_insert_default();
    annotations.remove(&ours);
    annotations.extend(pool.map(|pool| (ours, pool.to_string())));
    service.status = serde_json::from_value(patch.get("status").unwrap().clone()).unwrap();
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

#[test]
fn sharing_is_refused_by_name_and_not_ignored() {
    let refused =
        request(json!({"clusterIP": "10.96.0.1"}), json!({"metallb.io/allow-shared-ip": "k"})).unwrap_err();
    assert_eq!(refused.field, "metadata.annotations[metallb.io/allow-shared-ip]");
}

#[test]
fn a_pool_is_asked_for_by_annotation() {
    let pools = |annotations| request(json!({}), annotations).unwrap().pools;
    assert_eq!(pools(json!({"metallb.universe.tf/address-pool": "p"})), [PoolName::new("p")]);
    assert_eq!(pools(json!({})), []);
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
    assert!(is_patched(&|service| service.status.as_mut().unwrap().conditions = None));
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
