//! The manifests as the real API server takes them: what the definitions of the kinds refuse by name, which pools
//! may be deleted, and that nothing hangs when everything is.

use std::time::Duration;

use lab::kube::light::Lab;
use lab::kube::object;
use lab::{wait, workspace};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// What the API server says to an object that is only tried.
fn said(lab: &Lab, kind: &str, name: &str, spec: &Value) -> Result<String, String> {
    let file = lab.dir().join("tried.json");
    std::fs::write(&file, object(kind, name, spec).to_string()).unwrap();
    let file = file.display().to_string();
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", &file];
    lab.plane().try_kubectl(&create).map_err(|refused| refused.to_string())
}

fn with(mut spec: Value, more: Value) -> Value {
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn pool(more: Value) -> Value {
    with(json!({ "addresses": ["192.0.2.0/24"] }), more)
}

fn reservation(more: Value) -> Value {
    with(json!({ "service": { "namespace": "d", "name": "web" } }), more)
}

fn right() -> [(&'static str, &'static str, Value); 9] {
    let selector = json!([{ "matchLabels": { "a": "b" } }]);
    let everything = json!({
        "exclude": ["192.0.2.1", "192.0.2.8/29", "192.0.2.20 - 192.0.2.30", "2001:db8::1"],
        "serviceAllocation": {
            "priority": 5, "namespaces": ["a"], "namespaceSelectors": selector, "serviceSelectors": selector,
        },
        "disabled": true, "drain": true, "paused": true, "onRemove": "Move", "reuseAfter": "720h",
    });
    let selected = json!({
        "selector": { "serviceSelectors": selector }, "addresses": ["192.0.2.1-192.0.2.3"],
        "pool": "p", "ipv4": 1, "expires": "2030-01-01T00:00:00Z", "reclaimPolicy": "Release",
    });
    [
        ("IPAddressPool", "p", pool(everything)),
        ("IPAddressPool", "p", pool(json!({ "reuseAfter": "0s", "serviceAllocation": {} }))),
        ("AddressQuota", "q", json!({ "ipv4": 0 })),
        ("AddressQuota", "q", json!({ "ipv6": 7, "per": "Namespace", "namespaceSelectors": selector })),
        ("AddressReservation", "r", reservation(json!({ "addresses": ["192.0.2.1", "2001:db8::/64"] }))),
        ("AddressReservation", "r", reservation(json!({ "pool": "p", "ipv6": 1024 }))),
        ("AddressReservation", "r", selected),
        ("FerriteConfig", "default", json!({})),
        ("FerriteConfig", "default", json!({ "moves": { "overlap": "0", "maxConcurrent": 1000 } })),
    ]
}

fn selector(operator: &str, values: &Value) -> Value {
    json!({ "matchExpressions": [{ "key": "tier", "operator": operator, "values": values }] })
}

/// What is wrong, and what the API server names.
fn wrong_pools() -> [(Value, &'static str); 9] {
    let allocation = |allocation: Value| pool(json!({ "serviceAllocation": allocation }));
    [
        (pool(json!({ "exclude": ["x"] })), "spec.exclude[0]"),
        (pool(json!({ "addresses": ["192.0.2.1"] })), "spec.addresses[0]"),
        (pool(json!({ "reuseAfter": "721h" })), "spec.reuseAfter"),
        (pool(json!({ "reuseAfter": "1d" })), "spec.reuseAfter"),
        (pool(json!({ "onRemove": "Forget" })), "spec.onRemove"),
        (allocation(json!({ "priority": -1 })), "spec.serviceAllocation.priority"),
        (allocation(json!({ "namespaces": ["a", "a"] })), "spec.serviceAllocation.namespaces[1]"),
        (pool(json!({ "exlude": [] })), "spec.exlude"),
        (
            allocation(json!({ "namespaceSelectors": [selector("In", &json!([]))] })),
            "spec.serviceAllocation.namespaceSelectors[0].matchExpressions[0].values",
        ),
    ]
}

fn wrong_quotas() -> [(Value, &'static str); 4] {
    [
        (json!({}), "at least one of ipv4 and ipv6"),
        (json!({ "ipv4": -1 }), "spec.ipv4"),
        (json!({ "ipv4": 1, "per": "Service" }), "spec.per"),
        (
            json!({ "ipv4": 1, "namespaceSelectors": [selector("Like", &json!(["x"]))] }),
            "spec.namespaceSelectors[0].matchExpressions[0].operator",
        ),
    ]
}

fn wrong_reservations() -> [(Value, &'static str); 11] {
    let of_one = |more: Value| reservation(with(json!({ "addresses": ["192.0.2.1"] }), more));
    let either = "exactly one of service and selector";
    [
        (reservation(json!({})), "addresses, or a pool"),
        (reservation(json!({ "addresses": [] })), "addresses, or a pool"),
        (reservation(json!({ "addresses": ["x"] })), "spec.addresses[0]"),
        (reservation(json!({ "pool": "p" })), "how many addresses of the pool"),
        (reservation(json!({ "pool": "p", "ipv4": 1025 })), "spec.ipv4"),
        (json!({ "addresses": ["192.0.2.1"] }), either),
        (of_one(json!({ "selector": { "namespaces": ["d"] } })), either),
        (of_one(json!({ "ipv4": 1 })), "the pool that ipv4 and ipv6 are counts of"),
        (
            json!({ "addresses": ["192.0.2.1"], "selector": {} }),
            "at least one of namespaces, namespaceSelectors and serviceSelectors",
        ),
        (of_one(json!({ "expires": "soon" })), "spec.expires"),
        (
            with(
                json!({ "addresses": ["192.0.2.1"] }),
                json!({ "selector": { "serviceSelectors": [selector("Exists", &json!(["x"]))] } }),
            ),
            "spec.selector.serviceSelectors[0].matchExpressions[0].values",
        ),
    ]
}

fn wrong_configurations() -> [(Value, &'static str); 2] {
    [
        (json!({ "moves": { "overlap": "61m" } }), "spec.moves.overlap"),
        (json!({ "moves": { "maxConcurrent": 0 } }), "spec.moves.maxConcurrent"),
    ]
}

#[test]
fn the_definitions_take_what_is_right_and_name_what_is_wrong() {
    let lab = Lab::without_product("manifests: definitions");
    for (kind, name, spec) in right() {
        said(&lab, kind, name, &spec).unwrap_or_else(|refused| panic!("{kind} {spec}: {refused}"));
    }
    let of = |kind, name, wrong: &[(Value, &'static str)]| -> Vec<_> {
        wrong.iter().map(|(spec, expected)| (kind, name, spec.clone(), *expected)).collect()
    };
    let refused = [
        of("IPAddressPool", "p", &wrong_pools()),
        of("AddressQuota", "q", &wrong_quotas()),
        of("AddressReservation", "r", &wrong_reservations()),
        of("FerriteConfig", "default", &wrong_configurations()),
        of("FerriteConfig", "other", &[(json!({}), "its name is default")]),
    ];
    for (kind, name, spec, expected) in refused.into_iter().flatten() {
        let said = said(&lab, kind, name, &spec).expect_err(&format!("{kind} {spec} must be refused"));
        assert!(said.contains(expected), "{kind} {spec}: {said}");
    }
}

/// Makes a pool's status say that Services have so many of its addresses.
fn assign(lab: &Lab, pool: &str, assigned: i64) {
    let patch = json!({ "status": { "assigned": assigned } }).to_string();
    lab.kubectl(&["patch", "ipaddresspool", pool, "--subresource=status", "--type=merge", "-p", &patch]);
}

fn delete_pool(lab: &Lab, how: &[&str]) -> Result<String, String> {
    let words = [&["delete", "ipaddresspool", "segment"], how].concat();
    lab.plane().try_kubectl(&words).map_err(|refused| refused.to_string())
}

/// Applies what a user applies, and has a pool in use.
fn install(lab: &Lab, manifest: &str) {
    lab.kubectl(&["apply", "--server-side", "-f", manifest]);
    lab.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
    lab.plane().apply_samples();
    assign(lab, "segment", 2);
    wait::eventually("the policy is in force", SOON, || match delete_pool(lab, &["--dry-run=server"]) {
        Ok(said) => Err(said),
        Err(_) => Ok(()),
    });
}

#[test]
fn a_pool_in_use_is_deleted_only_on_purpose_and_nothing_hangs_at_the_end() {
    let lab = Lab::without_product("manifests: uninstall");
    let manifest = workspace().join("manifests/install.yaml").display().to_string();
    install(&lab, &manifest);
    let refused = delete_pool(&lab, &[]).unwrap_err();
    for part in ["2 addresses of IPAddressPool segment", "ferritelb.io/allow-delete", "drain"] {
        assert!(refused.contains(part), "{refused}");
    }
    let all = lab.plane().try_kubectl(&["delete", "ipaddresspools", "--all"]).unwrap_err().to_string();
    assert!(all.contains("IPAddressPool segment"), "{all}");
    assert_eq!(lab.kubectl(&["get", "ipaddresspools", "-o", "name"]), "ipaddresspool.ferritelb.io/segment\n");
    lab.kubectl(&["annotate", "ipaddresspool", "segment", "ferritelb.io/allow-delete=yes"]);
    delete_pool(&lab, &[]).unwrap_err();
    lab.kubectl(&["annotate", "--overwrite", "ipaddresspool", "segment", "ferritelb.io/allow-delete=true"]);
    delete_pool(&lab, &[]).unwrap();

    lab.plane().apply_samples();
    delete_pool(&lab, &[]).expect("nobody has an address of it");

    // The definition of the kind goes, and takes pools in use with it, whether the policy stands or not.
    lab.plane().apply_samples();
    assign(&lab, "segment", 2);
    lab.kubectl(&["delete", "crd", "ipaddresspools.ferritelb.io", "--timeout=30s"]);
    install(&lab, &manifest);
    lab.kubectl(&["delete", "-f", &manifest, "--timeout=60s"]);
    let left = lab.kubectl(&["get", "crd,validatingadmissionpolicies,clusterroles,namespaces", "-o", "name"]);
    assert!(!left.contains("ferrite"), "{left}");
}
