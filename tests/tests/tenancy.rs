//! Tenants: quotas, reservations and namespace limits, and that no request gets around them.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use lab::kube::light::Lab;
use lab::kube::object;
use lab::kube::service::Service;
use lab::{wait, workspace};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// For looking whether something changes that must not.
const WHILE: Duration = Duration::from_secs(3);
const SHARED: &str = "ferritelb.io/allow-shared-ip";
const NAMED: &str = "ferritelb.io/loadBalancerIPs";

/// A lab with the controller alone, and with these objects.
fn lab(purpose: &str, objects: &[Value]) -> Lab {
    let lab = Lab::without_product(purpose);
    objects.iter().for_each(|object| lab.apply(&object.to_string()));
    lab.controller().start();
    lab.controller().wait_ready();
    lab
}

fn pool(name: &str, spec: Value) -> Value {
    object("IPAddressPool", name, &spec)
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

fn label(lab: &Lab, name: &str, label: &str) {
    lab.kubectl(&["label", "--overwrite", "namespace", name, label]);
}

/// A Service of one family, that listens on this port.
fn asks<'a>(
    lab: &'a Lab,
    namespace: &'a str,
    name: &'a str,
    port: u16,
    annotations: &[(&str, &str)],
) -> Service<'a> {
    let annotations: Value = annotations.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
    let changes = json!({
        "metadata": { "annotations": annotations },
        "spec": { "ipFamilyPolicy": "SingleStack", "ports": [{ "port": port }] },
    });
    lab.ask(namespace, name, &changes)
}

fn plain<'a>(lab: &'a Lab, namespace: &'a str, name: &'a str) -> Service<'a> {
    asks(lab, namespace, name, 80, &[])
}

fn named<'a>(lab: &'a Lab, namespace: &'a str, name: &'a str, address: &str) -> Service<'a> {
    asks(lab, namespace, name, 80, &[(NAMED, address)])
}

fn of_pool<'a>(lab: &'a Lab, namespace: &'a str, name: &'a str, pool: &str) -> Service<'a> {
    asks(lab, namespace, name, 80, &[("ferritelb.io/address-pool", pool)])
}

/// A part of an object, as kubectl shows it.
fn field(lab: &Lab, object: &str, path: &str) -> String {
    lab.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")])
}

#[track_caller]
fn wait_field(lab: &Lab, object: &str, path: &str, wanted: &str) {
    wait::eventually(&format!("{path} of {object} is {wanted:?}"), SOON, || {
        let seen = field(lab, object, path);
        (seen == wanted).then_some(()).ok_or(seen)
    });
}

fn edit(lab: &Lab, object: &str, spec: &Value) {
    lab.kubectl(&["patch", object, "--type=merge", "-p", &json!({ "spec": spec }).to_string()]);
}

/// Three namespaces, two of them tenants; two pools, one of them for those who name it; at most two addresses a tenant.
fn lab_with_a_quota(purpose: &str) -> Lab {
    let tenant = json!({ "tenant": "true" });
    let quota = json!({ "namespaceSelectors": [{ "matchLabels": tenant }], "per": "Namespace", "ipv4": 2 });
    lab(
        purpose,
        &[
            namespace("team-a", tenant.clone()),
            namespace("team-b", tenant.clone()),
            namespace("guests", json!({})),
            pool("public", json!({ "addresses": ["192.0.2.10-192.0.2.29"] })),
            pool("gold", json!({ "addresses": ["198.51.100.0/28"], "autoAssign": false })),
            object("AddressQuota", "tenants", &quota),
        ],
    )
}

#[test]
fn a_quota_binds_every_way_to_an_address() {
    let lab = lab_with_a_quota("tenancy: quota");
    asks(&lab, "team-a", "one", 80, &[(SHARED, "ours")]).wait_has(&["192.0.2.10"]);
    let two = plain(&lab, "team-a", "two");
    two.wait_has(&["192.0.2.11"]);
    asks(&lab, "team-b", "others", 80, &[(SHARED, "theirs")]).wait_has(&["192.0.2.12"]);
    let beyond = [
        plain(&lab, "team-a", "automatic"),
        named(&lab, "team-a", "named", "192.0.2.25"),
        of_pool(&lab, "team-a", "by-pool", "gold"),
        asks(&lab, "team-a", "joins", 81, &[(SHARED, "theirs")]),
        asks(&lab, "team-a", "joins-named", 82, &[(SHARED, "theirs"), (NAMED, "192.0.2.12")]),
    ];
    for service in beyond {
        service.wait_refused("QuotaExceeded", &["AddressQuota tenants", "allows 2", "namespace team-a"]);
        assert!(service.addresses().is_empty());
    }
    wait::eventually("an Event says so", SOON, || {
        let events = lab.plane().kube().namespaced::<Event>("team-a").list("");
        let told = |event: &Event| event.reason.as_deref() == Some("QuotaExceeded");
        events.iter().any(told).then_some(()).ok_or(format!("{} others", events.len()))
    });
    // What the namespace has already, it may share.
    asks(&lab, "team-a", "beside", 81, &[(SHARED, "ours")]).wait_has(&["192.0.2.10"]);
    plain(&lab, "team-b", "second").wait_has(&["192.0.2.13"]);
    wait_field(&lab, "addressquota/tenants", r#".status.usage[?(@.namespace=="team-a")].ipv4"#, "2");

    two.delete();
    // The address itself still rests, for `two`.
    beyond[0].wait_has(&["192.0.2.14"]);
    for service in &beyond[1..] {
        service.wait_refused("QuotaExceeded", &["tenants"]);
    }
    edit(&lab, "addressquota/tenants", &json!({ "ipv4": 4 }));
    beyond[1].wait_has(&["192.0.2.25"]);
    beyond[2].wait_has(&["198.51.100.0"]);
    beyond[3].wait_refused("QuotaExceeded", &["allows 4"]);
    lab.kubectl(&["delete", "addressquota", "tenants"]);
    beyond[3].wait_has(&["192.0.2.12"]);
    beyond[4].wait_has(&["192.0.2.12"]);
}

#[test]
fn a_quota_that_comes_later_takes_nothing_away() {
    let lab = lab_with_a_quota("tenancy: tightened");
    let one = plain(&lab, "team-a", "one");
    let guests = ["g1", "g2", "g3"].map(|name| plain(&lab, "guests", name));
    let before = guests.map(|service| service.wait_addresses(1));
    let of_one = one.wait_addresses(1);
    edit(&lab, "addressquota/tenants", &json!({ "ipv4": 1 }));
    label(&lab, "guests", "tenant=true");
    wait_field(&lab, "addressquota/tenants", r#".status.usage[?(@.namespace=="guests")].ipv4"#, "3");
    let late = plain(&lab, "guests", "late");
    late.wait_refused("QuotaExceeded", &["allows 1", "namespace guests", "3 are held"]);
    std::thread::sleep(WHILE);
    assert_eq!(guests.map(|service| service.addresses()), before, "what is held is not taken away");
    assert_eq!(one.addresses(), of_one);
    label(&lab, "guests", "tenant-");
    late.wait_addresses(1);
}

#[test]
fn a_reserved_address_waits_for_its_service_and_comes_back_to_it() {
    let service = |name: &str| json!({ "namespace": "shop", "name": name });
    let lab = lab(
        "tenancy: reservation",
        &[
            namespace("shop", json!({})),
            object(
                "AddressReservation",
                "web",
                &json!({ "addresses": ["192.0.2.10"], "service": service("web") }),
            ),
            object(
                "AddressReservation",
                "dns",
                &json!({ "pool": "small", "ipv4": 1, "service": service("dns") }),
            ),
            pool("small", json!({ "addresses": ["192.0.2.10-192.0.2.13"] })),
        ],
    );
    wait_field(&lab, "addressreservation/dns", ".status.addresses[*]", "192.0.2.11");
    plain(&lab, "default", "a").wait_has(&["192.0.2.12"]);
    plain(&lab, "default", "b").wait_has(&["192.0.2.13"]);
    let waiting = plain(&lab, "default", "waiting");
    waiting.wait_refused("PoolExhausted", &["free"]);
    let greedy = named(&lab, "default", "greedy", "192.0.2.10");
    greedy.wait_refused("AddressReserved", &["192.0.2.10", "AddressReservation web"]);
    // A time of creation is in whole seconds, and who waits longer than whom is looked up there after a restart.
    std::thread::sleep(Duration::from_millis(1100));
    plain(&lab, "shop", "other").wait_refused("PoolExhausted", &[]);

    let web = || asks(&lab, "shop", "web", 80, &[(SHARED, "key")]);
    web().wait_has(&["192.0.2.10"]);
    let dns = plain(&lab, "shop", "dns");
    dns.wait_has(&["192.0.2.11"]);
    let sharing = asks(&lab, "shop", "sharing", 81, &[(SHARED, "key"), (NAMED, "192.0.2.10")]);
    sharing.wait_refused("AddressReserved", &["AddressReservation web"]);
    wait_field(&lab, "addressreservation/web", ".status.used[*].name", "web");

    lab.service_in("shop", "web").delete();
    dns.delete();
    wait_field(&lab, "addressreservation/web", ".status.used[*].name", "");
    lab.controller().restart();
    lab.controller().wait_ready();
    std::thread::sleep(WHILE);
    greedy.wait_refused("AddressReserved", &["192.0.2.10", "AddressReservation web"]);
    waiting.wait_refused("PoolExhausted", &[]);
    wait_field(&lab, "addressreservation/dns", ".status.addresses[*]", "192.0.2.11");
    web().wait_has(&["192.0.2.10"]);

    let soon = Timestamp::from_second(Timestamp::now().as_second() + 7).unwrap();
    edit(&lab, "addressreservation/dns", &json!({ "expires": soon.to_string() }));
    waiting.wait_has(&["192.0.2.11"]);
    assert!(Timestamp::now() >= soon, "not before it has expired");
    wait_field(&lab, "addressreservation/dns", ".status.phase", "Expired");
    wait_field(&lab, "addressreservation/dns", r#".status.conditions[?(@.type=="Expired")].status"#, "True");

    edit(&lab, "addressreservation/web", &json!({ "reclaimPolicy": "Release" }));
    wait_field(
        &lab,
        "addressreservation/web",
        r#".status.conditions[?(@.type=="Ready")].observedGeneration"#,
        "2",
    );
    lab.service_in("shop", "web").delete();
    greedy.wait_has(&["192.0.2.10"]);
    wait_field(&lab, "addressreservation/web", ".status.released[*]", "192.0.2.10");
}

#[test]
fn a_pool_is_for_the_namespaces_that_it_names_and_for_no_request_of_others() {
    let gold = json!({
        "addresses": ["192.0.2.10-192.0.2.19"],
        "serviceAllocation": { "namespaceSelectors": [{ "matchLabels": { "class": "gold" } }] },
    });
    let lab = lab(
        "tenancy: namespaces",
        &[namespace("a", json!({})), namespace("b", json!({ "class": "tin" })), pool("gold", gold)],
    );
    let automatic = plain(&lab, "a", "automatic");
    automatic.wait_refused("NoPoolForService", &["namespace a"]);
    for service in [named(&lab, "b", "named", "192.0.2.15"), of_pool(&lab, "b", "by-pool", "gold")] {
        service.wait_refused("PoolClosed", &["IPAddressPool gold", "namespace b"]);
    }
    label(&lab, "a", "class=gold");
    automatic.wait_has(&["192.0.2.10"]);
    let shared = asks(&lab, "a", "shared", 80, &[(SHARED, "key")]);
    shared.wait_has(&["192.0.2.11"]);
    let address = (NAMED, "192.0.2.11");
    asks(&lab, "b", "sharing", 82, &[(SHARED, "key"), address]).wait_refused("PoolClosed", &["gold"]);
    asks(&lab, "a", "sharing", 81, &[(SHARED, "key"), address]).wait_has(&["192.0.2.11"]);

    label(&lab, "a", "class-");
    plain(&lab, "a", "late").wait_refused("NoPoolForService", &["namespace a"]);
    std::thread::sleep(WHILE);
    automatic.wait_has(&["192.0.2.10"]);
    shared.wait_has(&["192.0.2.11"]);
    label(&lab, "b", "class=gold");
    lab.service_in("b", "named").wait_has(&["192.0.2.15"]);
    lab.service_in("b", "by-pool").wait_has(&["192.0.2.12"]);
    lab.service_in("b", "sharing").wait_has(&["192.0.2.11"]);
}

fn delete_pool(lab: &Lab, how: &[&str]) -> Result<String, String> {
    let words = [&["delete", "ipaddresspool", "used"], how].concat();
    lab.plane().try_kubectl(&words).map_err(|refused| refused.to_string())
}

#[test]
fn a_pool_in_use_stays_until_somebody_insists_and_what_is_removed_at_once_hangs_nowhere() {
    let lab = lab("tenancy: deletion", &[]);
    let manifest = workspace().join("manifests/install.yaml").display().to_string();
    lab.kubectl(&["apply", "--server-side", "-f", &manifest]);
    let used = pool("used", json!({ "addresses": ["192.0.2.10-192.0.2.19"] }));
    lab.apply(&used.to_string());
    let web = plain(&lab, "default", "web");
    web.wait_has(&["192.0.2.10"]);
    // The policy takes some seconds to be in force.
    let refused = wait::eventually("the pool is not deleted", SOON, || {
        match delete_pool(&lab, &["--dry-run=server"]) {
            Ok(deleted) => Err(deleted),
            Err(refused) => Ok(refused),
        }
    });
    for part in ["1 address of IPAddressPool used", "ferritelb.io/allow-delete", "drain"] {
        assert!(refused.contains(part), "{refused}");
    }
    delete_pool(&lab, &[]).expect_err("a Service has an address of it");
    lab.kubectl(&["annotate", "ipaddresspool", "used", "ferritelb.io/allow-delete=true"]);
    delete_pool(&lab, &["--timeout=30s"]).unwrap();
    std::thread::sleep(WHILE);
    assert_eq!(web.addresses(), web.wait_addresses(1), "its Service keeps it");

    lab.apply(&used.to_string());
    wait_field(&lab, "ipaddresspool/used", ".status.assigned", "1");
    web.delete();
    wait_field(&lab, "ipaddresspool/used", ".status.assigned", "0");
    delete_pool(&lab, &["--timeout=30s"]).expect("nobody has an address of it");

    lab.apply(&used.to_string());
    plain(&lab, "default", "last").wait_addresses(1);
    lab.kubectl(&["delete", "-f", &manifest, "--timeout=60s"]);
    let left = lab.kubectl(&["get", "crd,validatingadmissionpolicies,clusterroles,namespaces", "-o", "name"]);
    assert!(!left.contains("ferrite"), "{left}");
}
