//! The light lab itself, without the product: what every other test stands on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use lab::kube::light::Lab;
use lab::kube::service::PORT;
use lab::{run, wait, workspace};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// The addresses behind a Service that the real controller calls ready, of both families.
fn ready_addresses(lab: &Lab, service: &str) -> BTreeSet<IpAddr> {
    let slices = lab.plane().kube().namespaced::<EndpointSlice>("default");
    let slices = slices.list(&format!("kubernetes.io/service-name={service}"));
    let endpoints = slices.into_iter().flat_map(|slice| slice.endpoints);
    let ready = |conditions: Option<k8s_openapi::api::discovery::v1::EndpointConditions>| {
        conditions.and_then(|conditions| conditions.ready) == Some(true)
    };
    let addresses = endpoints.filter(|endpoint| ready(endpoint.conditions.clone()));
    addresses.flat_map(|endpoint| endpoint.addresses).map(|text| text.parse().unwrap()).collect()
}

#[test]
fn pods_become_endpoints_and_kube_proxy_reaches_them_from_another_node() {
    let lab = Lab::without_product("kube: endpoints");
    let service = lab.expose("web", &[1, 2]);
    let all: BTreeSet<_> = ["web-n1", "web-n2"].iter().flat_map(|name| lab.pod(name).addresses()).collect();
    wait::eventually("four endpoints", SOON, || {
        let ready = ready_addresses(&lab, "web");
        if ready == all { Ok(()) } else { Err(format!("{ready:?}")) }
    });
    lab.pod("web-n1").become_unready();
    let second = BTreeSet::from(lab.pod("web-n2").addresses());
    wait::eventually("two endpoints", SOON, || {
        let ready = ready_addresses(&lab, "web");
        if ready == second { Ok(()) } else { Err(format!("{ready:?}")) }
    });
    for address in service.cluster_addresses() {
        let node = lab.node(3);
        wait::eventually("node 3 reaches the pod on node 2", SOON, || match node.http(address, PORT) {
            Ok(answer) if answer == "web-n2" => Ok(()),
            other => Err(format!("{address}: {other:?}")),
        });
    }
}

#[test]
fn an_api_outage_begins_and_ends_when_it_is_told() {
    let lab = Lab::without_product("kube: outage");
    lab.stop_api();
    let ask = ["get", "nodes", "-o", "name", "--request-timeout=2s"];
    lab.plane().try_kubectl(&ask).unwrap_err();
    lab.start_api();
    assert_eq!(lab.kubectl(&ask), "node/n1\nnode/n2\nnode/n3\n");
}

#[test]
fn the_products_accounts_have_their_roles_and_no_more() {
    let lab = Lab::without_product("kube: roles");
    let may = |account: &str, words: &[&str]| {
        let who = format!("--as=system:serviceaccount:ferritelb-system:{account}");
        let asked = [&["auth", "can-i"], words, &[who.as_str()]].concat();
        lab.plane().try_kubectl(&asked).is_ok()
    };
    assert!(may("ferrite-controller", &["patch", "services", "--subresource=status"]));
    assert!(!may("ferrite-controller", &["delete", "services"]));
    assert!(may("ferrite-speaker", &["watch", "endpointslices"]));
    assert!(!may("ferrite-speaker", &["patch", "services", "--subresource=status"]));
}

#[test]
fn a_node_is_ready_as_the_harness_says() {
    let lab = Lab::without_product("kube: nodes");
    let ready = || {
        let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        lab.kubectl(&["get", "node", "n2", "-o", path])
    };
    assert_eq!(ready(), "True");
    lab.node_not_ready(2);
    assert_eq!(ready(), "Unknown");
    lab.node_ready(2);
    assert_eq!(ready(), "True");
}

#[test]
fn nothing_is_left_of_a_lab() {
    let lab = Lab::without_product("kube: cleaning");
    let (name, folder) = (lab.name().to_owned(), lab.dir().to_path_buf());
    lab.run("web", &[1]);
    let inside = |words: &str| run::run(Command::new("sh").args(["-c", words])).contains(&name);
    let commands = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    assert!(inside(commands) && inside("ip netns list"));
    drop(lab);
    assert!(!inside(commands), "a process is left");
    assert!(!inside("ip netns list"), "a namespace is left");
    assert!(!folder.exists(), "the folder is left");
}

#[test]
fn a_service_takes_changes() {
    let lab = Lab::without_product("kube: changes");
    let service = lab.expose_with("web", &[], &json!({ "spec": { "externalTrafficPolicy": "Local" } }));
    let policy = || service.get().spec.unwrap().external_traffic_policy.unwrap();
    assert_eq!(policy(), "Local");
    service.patch(&json!({ "spec": { "externalTrafficPolicy": "Cluster" } }));
    assert_eq!(policy(), "Cluster");
}

#[test]
fn the_kustomization_and_the_rendered_file_install_the_same_objects() {
    let lab = Lab::without_product("kube: install");
    let installed = |option: &str, path: &str| -> BTreeMap<String, Value> {
        let path = workspace().join(path).display().to_string();
        let apply = ["apply", "--server-side", "--dry-run=server", "-o", "json", option, &path];
        let listed: Value = serde_json::from_str(&lab.kubectl(&apply)).unwrap();
        listed["items"].as_array().unwrap().iter().map(said_by_us).collect()
    };
    let from_folder = installed("-k", "config/default");
    assert!(from_folder.contains_key("DaemonSet ferrite-speaker"), "{from_folder:?}");
    assert_eq!(from_folder, installed("-f", "manifests/install.yaml"));
}

/// An object without what the API server makes up anew each time that it is asked about it.
fn said_by_us(object: &Value) -> (String, Value) {
    let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let mut object = object.clone();
    object["metadata"] = object["metadata"]["labels"].take();
    object["status"].take();
    (format!("{kind} {name}"), object)
}
