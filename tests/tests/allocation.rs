//! Allocation, from what a user asks the API server for to what it shows: addresses, condition, annotation, Event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service as Object;
use k8s_openapi::api::events::v1::Event;
use lab::kube::light::Lab;
use lab::kube::object;
use lab::kube::service::Service;
use lab::wait;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
/// For looking whether something changes that must not.
const WHILE: Duration = Duration::from_secs(3);
const TURNS: u32 = 6;
const ALLOCATED: &str = "ferritelb.io/Allocated";
const FROM: &str = "ferritelb.io/ip-allocated-from-pool";

/// A lab with the controller alone and these pools: name, addresses, whether they are given out unasked.
fn lab(purpose: &str, pools: &[(&str, &[&str], bool)]) -> Lab {
    let lab = Lab::without_product(purpose);
    for (name, addresses, auto) in pools {
        pool(&lab, name, addresses, *auto);
    }
    lab.controller().start();
    lab.controller().wait_ready();
    lab
}

fn pool(lab: &Lab, name: &str, addresses: &[&str], auto: bool) {
    let spec = json!({ "addresses": addresses, "autoAssign": auto });
    lab.plane().kube().cluster::<api::IpAddressPool>().create(&object("IPAddressPool", name, &spec));
}

/// A LoadBalancer of one family, IPv4 unless `changes` say otherwise.
fn single<'a>(lab: &'a Lab, name: &'a str, changes: &Value) -> Service<'a> {
    let mut object = json!({ "spec": { "ipFamilyPolicy": "SingleStack" } });
    for part in ["metadata", "spec"] {
        for (field, value) in changes[part].as_object().into_iter().flatten() {
            object[part][field] = value.clone();
        }
    }
    lab.expose_with(name, &[], &object)
}

fn plain<'a>(lab: &'a Lab, name: &'a str) -> Service<'a> {
    single(lab, name, &json!({}))
}

fn asking(address: &str) -> Value {
    json!({ "spec": { "loadBalancerIP": address } })
}

fn annotated(key: &str, value: &str) -> Value {
    json!({ "metadata": { "annotations": { key: value } } })
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Waits for an Event about the Service with that reason and those words.
#[track_caller]
fn is_told(lab: &Lab, name: &str, kind: &str, why: &str, words: &[&str]) {
    wait::eventually(&format!("an Event about {name} says {why} and {words:?}"), SOON, || {
        let events = lab.plane().kube().namespaced::<Event>("default").list("");
        let about = |event: &Event| event.regarding.as_ref().and_then(|one| one.name.clone());
        let told: Vec<_> = events
            .into_iter()
            .filter(|event| about(event).as_deref() == Some(name))
            .map(|event| [event.type_, event.reason, event.note].map(Option::unwrap_or_default))
            .collect();
        let good = |[type_, reason, note]: &[String; 3]| {
            type_ == kind && reason == why && words.iter().all(|word| note.contains(word))
        };
        told.iter().any(good).then_some(()).ok_or(format!("{told:?}"))
    });
}

fn from_pool(service: Service<'_>) -> Option<String> {
    service.get().metadata.annotations.and_then(|annotations| annotations.get(FROM).cloned())
}

/// Nothing of a LoadBalancer is left in the object.
#[track_caller]
fn is_cleared(service: Service<'_>, name: &str) {
    wait::eventually(&format!("nothing is left in {name}"), SOON, || {
        let seen = (service.addresses(), service.condition(ALLOCATED), from_pool(service));
        (seen == (vec![], None, None)).then_some(()).ok_or(format!("{seen:?}"))
    });
}

fn versions(lab: &Lab) -> BTreeMap<String, String> {
    let services = lab.plane().kube().namespaced::<Object>("default").list("");
    let version = |one: Object| Some((one.metadata.name?, one.metadata.resource_version?));
    services.into_iter().filter_map(version).collect()
}

/// Does things that concern no Service that is there, for a while; then none of them has been written.
#[track_caller]
fn nothing_is_written_while_others_are_busy(lab: &Lab, pool: &str) {
    let before = versions(lab);
    for turn in 0..TURNS {
        let label = format!("turn=t{turn}");
        lab.kubectl(&["label", "--overwrite", "ipaddresspool", pool, &label]);
        lab.kubectl(&["label", "--overwrite", "node", "n1", &label]);
        let passing = plain(lab, "passing");
        passing.wait_address();
        passing.delete();
        thread::sleep(WHILE / TURNS);
    }
    assert_eq!(versions(lab), before, "no Service is written for what is no concern of it");
}

#[test]
fn kubectl_expose_is_all_that_it_takes() {
    let lab = lab("allocation: expose", &[("segment", &["10.77.0.200-10.77.0.209", "fd77::200/124"], true)]);
    lab.run("web", &[1]);
    lab.kubectl(&[
        "expose",
        "pod",
        "web-n1",
        "--name=web",
        "--type=LoadBalancer",
        "--port=80",
        "--target-port=8080",
    ]);
    let web = lab.service("web");
    web.wait_has(&["10.77.0.200"]);
    let object = serde_json::to_value(web.get()).unwrap();
    assert_eq!(
        object["status"]["loadBalancer"]["ingress"],
        json!([{ "ip": "10.77.0.200", "ipMode": "VIP" }]),
        "{object}"
    );
    assert_eq!(from_pool(web).as_deref(), Some("segment"));
    let [status, reason, message] = web.allocated();
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Allocated"));
    assert!(message.contains("10.77.0.200") && message.contains("segment"), "{message}");
    is_told(&lab, "web", "Normal", "Allocated", &["10.77.0.200", "segment"]);
    let described = lab.kubectl(&["describe", "service", "web"]);
    assert!(described.contains("Allocated") && described.contains("ferrite-controller"), "{described}");
    let listed = lab.kubectl(&["get", "service", "web", "--no-headers"]);
    assert_eq!(listed.split_whitespace().nth(3), Some("10.77.0.200"), "EXTERNAL-IP: {listed}");

    wait::eventually("kubectl get says how full the pool is", SOON, || {
        let table = lab.kubectl(&["get", "ipaddresspools"]);
        let good =
            ["ADDRESSES", "USED", "FREE", "10.77.0.200-10.77.0.209", "1 IPv4, 0 IPv6", "9 IPv4, 16 IPv6"];
        good.iter().all(|word| table.contains(word)).then_some(()).ok_or(table)
    });
    let short = lab.kubectl(&["get", "ipp", "-o", "name"]);
    assert_eq!(short.trim(), "ipaddresspool.ferritelb.io/segment", "the short name works");
    web.delete();
    wait::eventually("what is deleted counts no more", SOON, || {
        let table = lab.kubectl(&["get", "ipaddresspools"]);
        let good = table.contains("0 IPv4, 0 IPv6") && table.contains("10 IPv4, 16 IPv6");
        good.then_some(()).ok_or(table)
    });
}

#[test]
fn a_service_gets_just_what_it_asks_for_or_hears_why_not() {
    let pools: [(&str, &[&str], bool); 2] = [
        ("segment", &["10.77.0.200-10.77.0.249", "fd77::200-fd77::2ff"], true),
        ("routed", &["198.51.100.0/24", "2001:db8:51::/120"], false),
    ];
    let lab = lab("allocation: requests", &pools);
    let granted = [
        ("field", asking("10.77.0.210"), "10.77.0.210", "segment"),
        ("ours", annotated("ferritelb.io/loadBalancerIPs", "10.77.0.211"), "10.77.0.211", "segment"),
        ("metallb", annotated("metallb.io/loadBalancerIPs", "10.77.0.212"), "10.77.0.212", "segment"),
        ("old", annotated("metallb.universe.tf/loadBalancerIPs", "10.77.0.213"), "10.77.0.213", "segment"),
        ("pool", annotated("ferritelb.io/address-pool", "routed"), "198.51.100.0", "routed"),
        ("pool-metallb", annotated("metallb.io/address-pool", "routed"), "198.51.100.1", "routed"),
        ("pool-old", annotated("metallb.universe.tf/address-pool", "routed"), "198.51.100.2", "routed"),
        ("unasked", asking("198.51.100.99"), "198.51.100.99", "routed"),
    ];
    for (name, changes, address, from) in &granted {
        let service = single(&lab, name, changes);
        service.wait_has(&[address]);
        assert_eq!(from_pool(service).as_deref(), Some(*from), "{name}");
    }
    let both = |text| lab.expose_with("both", &[], &annotated("ferritelb.io/loadBalancerIPs", text));
    both(" fd77::2aa, 10.77.0.220 ").wait_has(&["10.77.0.220", "fd77::2aa"]);
    let agreeing = json!({
        "metadata": { "annotations": { "metallb.io/loadBalancerIPs": "10.77.0.221,fd77::2ab" } },
        "spec": { "loadBalancerIP": "10.77.0.221", "ipFamilyPolicy": "RequireDualStack" },
    });
    lab.expose_with("agreeing", &[], &agreeing).wait_has(&["10.77.0.221", "fd77::2ab"]);

    let contradiction = json!({
        "metadata": { "annotations": { "metallb.io/loadBalancerIPs": "10.77.0.231" } },
        "spec": { "loadBalancerIP": "10.77.0.230" },
    });
    let elsewhere = json!({
        "metadata": { "annotations": { "ferritelb.io/address-pool": "routed" } },
        "spec": { "loadBalancerIP": "10.77.0.230" },
    });
    let ours = "ferritelb.io/loadBalancerIPs";
    let refused: [(&str, Value, &str, &[&str]); 9] = [
        ("contradiction", contradiction, "Invalid", &["spec.loadBalancerIP", "metallb.io/loadBalancerIPs"]),
        ("elsewhere", elsewhere, "AddressNotInPool", &["10.77.0.230", "routed"]),
        ("twice", annotated(ours, "10.77.0.230,10.77.0.231"), "Invalid", &[ours]),
        ("garbage", annotated(ours, "1.2.3"), "Invalid", &[ours, "1.2.3"]),
        ("garbage-field", asking("nonsense"), "Invalid", &["spec.loadBalancerIP", "nonsense"]),
        ("outside", asking("192.0.2.1"), "AddressNotInPool", &["192.0.2.1"]),
        ("no-pool", annotated("ferritelb.io/address-pool", "none"), "PoolNotFound", &["none"]),
        ("family", asking("fd77::2ac"), "FamilyMismatch", &["fd77::2ac"]),
        ("taken", asking("10.77.0.210"), "AddressInUse", &["10.77.0.210", "default/field"]),
    ];
    for (name, changes, why, words) in &refused {
        let service = single(&lab, name, changes);
        service.wait_refused(why, words);
        is_told(&lab, name, "Warning", why, words);
        assert_eq!((service.addresses(), from_pool(service)), (vec![], None), "{name}");
    }
    wait::eventually("what was refused has used nothing", SOON, || {
        let used = lab.kubectl(&["get", "ipp", "-o", "jsonpath={.items[*].status.used}"]);
        (used == "4 IPv4, 0 IPv6 6 IPv4, 2 IPv6").then_some(()).ok_or(used)
    });
    lab.service("contradiction").patch(&annotated("metallb.io/loadBalancerIPs", "10.77.0.230"));
    lab.service("contradiction").wait_has(&["10.77.0.230"]);
}

#[test]
fn families_follow_the_policy_and_rest_is_rest() {
    let pools: [(&str, &[&str], bool); 2] = [
        ("four", &["192.0.2.0/28"], false),
        ("segment", &["10.77.0.200-10.77.0.249", "fd77::200-fd77::2ff"], true),
    ];
    let lab = lab("allocation: families", &pools);
    let policy = |policy: &str| json!({ "spec": { "ipFamilyPolicy": policy } });
    let six = json!({ "spec": { "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"] } });
    let six_first = json!({ "spec": { "ipFamilies": ["IPv6", "IPv4"] } });
    lab.expose_with("four", &[], &policy("SingleStack")).wait_has(&["10.77.0.200"]);
    lab.expose_with("six", &[], &six).wait_has(&["fd77::200"]);
    lab.expose_with("prefer", &[], &policy("PreferDualStack")).wait_has(&["10.77.0.201", "fd77::201"]);
    lab.expose_with("both", &[], &policy("RequireDualStack")).wait_has(&["10.77.0.202", "fd77::202"]);
    lab.expose_with("six-first", &[], &six_first).wait_has(&["fd77::203", "10.77.0.203"]);

    let of_four = |policy: &str| {
        json!({
            "metadata": { "annotations": { "ferritelb.io/address-pool": "four" } },
            "spec": { "ipFamilyPolicy": policy },
        })
    };
    let content = lab.expose_with("content", &[], &of_four("PreferDualStack"));
    content.wait_has(&["192.0.2.0"]);
    let strict = lab.expose_with("strict", &[], &of_four("RequireDualStack"));
    strict.wait_refused("FamilyNotInPool", &["four"]);
    assert_eq!(strict.addresses(), ips(&[]));
    strict.patch(&policy("PreferDualStack"));
    strict.wait_has(&["192.0.2.1"]);

    let four = lab.service("four");
    four.patch(&policy("RequireDualStack"));
    four.wait_has(&["10.77.0.200", "fd77::204"]);
    four.patch(&policy("SingleStack"));
    four.wait_has(&["10.77.0.200"]);
    four.patch(&policy("PreferDualStack"));
    wait::eventually("four has two families again", SOON, || {
        let addresses = four.addresses();
        (addresses.len() == 2).then_some(()).ok_or(format!("{addresses:?}"))
    });
    assert_eq!(four.addresses()[0], ips(&["10.77.0.200"])[0], "it keeps what it has");

    nothing_is_written_while_others_are_busy(&lab, "segment");
    lab.kubectl(&[
        "patch",
        "ipaddresspool",
        "four",
        "--type=merge",
        "-p",
        r#"{"spec":{"addresses":["192.0.2.0/28","2001:db8:2::/124"]}}"#,
    ]);
    content.wait_has(&["192.0.2.0", "2001:db8:2::"]);
}

#[test]
fn a_pool_that_is_empty_says_so_and_serves_whoever_waits_once_something_is_free() {
    let lab = lab("allocation: exhaustion", &[("small", &["10.77.0.200-10.77.0.201"], true)]);
    let [a, b] = ["a", "b"].map(|name| plain(&lab, name));
    a.wait_has(&["10.77.0.200"]);
    b.wait_has(&["10.77.0.201"]);
    let [c, d] = ["c", "d"].map(|name| {
        let service = plain(&lab, name);
        service.wait_refused("PoolExhausted", &["IPv4", "free"]);
        is_told(&lab, name, "Warning", "PoolExhausted", &["IPv4", "free"]);
        service
    });
    assert_eq!((c.addresses(), d.addresses()), (vec![], vec![]));
    let listed = lab.kubectl(&["get", "service", "c", "--no-headers"]);
    assert!(listed.contains("<pending>"), "{listed}");

    a.delete();
    c.wait_has(&["10.77.0.200"]);
    is_told(&lab, "c", "Normal", "Allocated", &["10.77.0.200"]);
    d.wait_refused("PoolExhausted", &[]);
    b.patch(&json!({ "spec": { "type": "ClusterIP" } }));
    d.wait_has(&["10.77.0.201"]);
    is_cleared(b, "b");
    b.patch(&json!({ "spec": { "type": "LoadBalancer" } }));
    b.wait_refused("PoolExhausted", &[]);
    lab.kubectl(&[
        "patch",
        "ipp",
        "small",
        "--type=merge",
        "-p",
        r#"{"spec":{"addresses":["10.77.0.200-10.77.0.202"]}}"#,
    ]);
    b.wait_has(&["10.77.0.202"]);
    assert_eq!((c.addresses(), d.addresses()), (ips(&["10.77.0.200"]), ips(&["10.77.0.201"])));
}

/// Everything that a Service's status said, change by change, as a watch of the real kubectl tells it.
struct Watching(Child, std::path::PathBuf);

impl Watching {
    fn start(lab: &Lab, name: &str) -> Self {
        let format = r#"jsonpath=<{.status.loadBalancer.ingress[*].ip}>{"\n"}"#;
        let path = std::env::temp_dir().join(format!("ferritelb-watch-{}-{name}", std::process::id()));
        let mut command = lab.plane().kubectl_command(&["get", "service", name, "--watch", "-o", format]);
        let file = std::fs::File::create(&path).unwrap();
        let watching = Self(command.stdin(Stdio::null()).stdout(file).spawn().unwrap(), path);
        wait::eventually("the watch has begun", SOON, || {
            let said = watching.said();
            (!said.is_empty()).then_some(()).ok_or("silence")
        });
        watching
    }

    fn said(&self) -> Vec<String> {
        let mut lines: Vec<_> =
            std::fs::read_to_string(&self.1).unwrap().lines().map(str::to_owned).collect();
        lines.dedup();
        lines
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
        std::fs::remove_file(&self.1).ok();
    }
}

#[test]
fn a_new_wish_costs_nothing_until_it_is_granted() {
    let lab = lab("allocation: wishes", &[("segment", &["10.77.0.200-10.77.0.209"], true)]);
    let holder = single(&lab, "holder", &asking("10.77.0.205"));
    holder.wait_has(&["10.77.0.205"]);
    let mover = plain(&lab, "mover");
    mover.wait_has(&["10.77.0.200"]);
    let watching = Watching::start(&lab, "mover");
    mover.patch(&asking("192.0.2.1"));
    mover.wait_refused("AddressNotInPool", &["192.0.2.1", "keeps 10.77.0.200"]);
    mover.patch(&asking("10.77.0.205"));
    mover.wait_refused("AddressInUse", &["10.77.0.205", "default/holder", "keeps 10.77.0.200"]);
    is_told(&lab, "mover", "Warning", "AddressInUse", &["10.77.0.205"]);
    assert_eq!(mover.addresses(), ips(&["10.77.0.200"]));
    let eager = single(&lab, "eager", &asking("10.77.0.200"));
    eager.wait_refused("AddressInUse", &["default/mover"]);

    holder.delete();
    mover.wait_has(&["10.77.0.205"]);
    eager.wait_has(&["10.77.0.200"]);
    is_told(&lab, "mover", "Normal", "Allocated", &["10.77.0.205"]);
    mover.patch(&json!({ "spec": { "loadBalancerIP": "10.77.0.206" } }));
    mover.wait_has(&["10.77.0.206"]);
    is_told(&lab, "mover", "Normal", "Allocated", &["10.77.0.206"]);
    wait::eventually("the watch has told the end", SOON, || {
        let said = watching.said();
        if said.last().is_some_and(|last| last == "<10.77.0.206>") { Ok(()) } else { Err(said.join(" ")) }
    });
    assert_eq!(watching.said(), ["<10.77.0.200>", "<10.77.0.205>", "<10.77.0.206>"], "never without");
}

#[test]
fn what_others_do_to_a_status_is_repaired_and_what_is_others_is_left_alone() {
    let lab = lab("allocation: others", &[("segment", &["10.77.0.200-10.77.0.209"], true)]);
    let services = || lab.plane().kube().namespaced::<Object>("default");
    let foreign = single(&lab, "foreign", &json!({ "spec": { "loadBalancerClass": "example.org/other" } }));
    let theirs = json!({ "status": {
        "loadBalancer": { "ingress": [{ "ip": "192.0.2.77" }] },
        "conditions": [{ "type": "example.org/Fine", "status": "True", "reason": "Fine", "message": "",
                         "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    } });
    services().patch_status("foreign", &theirs);
    let untouched = foreign.get();

    let [web, other] = ["web", "other"].map(|name| plain(&lab, name));
    web.wait_has(&["10.77.0.200"]);
    other.wait_has(&["10.77.0.201"]);
    let edits = [
        json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.99" }] } } }),
        json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "10.77.0.201", "ipMode": "VIP" }] } } }),
        json!({ "status": { "loadBalancer": { "ingress": null } } }),
        json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "10.77.0.200", "ipMode": "Proxy" }] } } }),
        json!({ "status": { "conditions": [{ "type": ALLOCATED, "$patch": "delete" }] } }),
        json!({ "status": { "conditions": [{ "type": ALLOCATED, "status": "False", "reason": "Bored" }] } }),
    ];
    let repaired = |what: &str| {
        wait::eventually(&format!("web is repaired after {what}"), SOON, || {
            let object = serde_json::to_value(web.get()).unwrap();
            let good = object["status"]["loadBalancer"]["ingress"]
                == json!([{ "ip": "10.77.0.200", "ipMode": "VIP" }])
                && web.allocated()[..2] == ["True", "Allocated"]
                && from_pool(web).as_deref() == Some("segment");
            good.then_some(()).ok_or(object.to_string())
        });
    };
    for edit in &edits {
        services().patch_status("web", edit);
        repaired(&edit.to_string());
    }
    for value in [json!("elsewhere"), Value::Null] {
        web.patch(&json!({ "metadata": { "annotations": { FROM: value } } }));
        repaired(&value.to_string());
    }
    services().patch_status("other", &json!({ "status": { "conditions": theirs["status"]["conditions"] } }));

    lab.kubectl(&["delete", "ipaddresspool", "segment"]);
    let late = plain(&lab, "late");
    late.wait_refused("NoPool", &["IPAddressPool"]);
    lab.controller().restart();
    lab.controller().wait_ready();
    let later = plain(&lab, "later");
    later.wait_refused("NoPool", &["IPAddressPool"]);
    web.wait_has(&["10.77.0.200"]);
    other.wait_has(&["10.77.0.201"]);
    pool(&lab, "successor", &["10.77.0.200-10.77.0.202"], true);
    late.wait_has(&["10.77.0.202"]);
    later.wait_refused("PoolExhausted", &[]);
    web.wait_has(&["10.77.0.200"]);

    assert!(other.condition("example.org/Fine").is_some(), "a condition of others stays beside ours");
    other.patch(&json!({ "spec": { "type": "ClusterIP" } }));
    is_cleared(other, "other");
    assert!(other.condition("example.org/Fine").is_some(), "and outlives ours");
    later.wait_has(&["10.77.0.201"]);
    assert_eq!(foreign.get(), untouched, "another class is never touched");
}

#[test]
fn restarts_in_the_middle_of_a_burst_give_nothing_twice_and_take_nothing_away() {
    const BURST: usize = 30;
    // Just as many as are needed: one that is lost or given twice leaves somebody without.
    let lab =
        lab("allocation: burst", &[("exact", &["10.77.0.200-10.77.0.229", "fd77::200-fd77::21d"], true)]);
    let names: Vec<_> = (0..BURST).map(|number| format!("burst-{number:02}")).collect();
    let held = || -> BTreeMap<String, Vec<IpAddr>> {
        let all = names.iter().filter(|name| versions(&lab).contains_key(*name));
        let all = all.map(|name| (name.clone(), lab.service(name).addresses()));
        all.filter(|(_, addresses)| !addresses.is_empty()).collect()
    };
    // They have the first addresses until the first end: later the oldest do not have the lowest, as they would if
    // addresses were given out anew.
    let early = ["early-1", "early-2", "early-3"].map(|name| lab.expose_with(name, &[], &json!({})));
    early.iter().for_each(|service| drop(service.wait_addresses(2)));
    let mut before = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        lab.expose_with(name, &[], &json!({}));
        if [10, 20].contains(&number) {
            // Whatever has been decided and written by now, it ends in the middle of it.
            lab.controller().kill();
            before.append(&mut held());
            early.iter().for_each(Service::delete);
            lab.controller().start();
        }
    }
    lab.controller().restart();
    lab.controller().wait_ready();
    for name in &names {
        let addresses = lab.service(name).wait_addresses(2);
        assert_eq!(before.get(name).unwrap_or(&addresses), &addresses, "{name} keeps what it had");
    }
    assert!(!before.is_empty(), "some were served before the end");
    let distinct: BTreeSet<_> = held().into_values().flatten().collect();
    assert_eq!(distinct.len(), 2 * BURST, "no address twice: {distinct:?}");
    for name in &names {
        assert_eq!(lab.service(name).allocated()[0], "True", "{name}");
    }
}
