//! Nodes of the light lab: objects, and a real kube-proxy in each node's namespace.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as Object;
use serde_json::{Value, json};

use super::client::Kube;
use super::control_plane::ControlPlane;
use super::kubeconfig::Identity;
use super::kubelet::proxy_arguments;
use super::product::get;
use crate::{Daemon, Host, Topology, wait};

/// Where kube-proxy says how it is.
const HEALTH: u16 = 10256;
const PROXY_WITHIN: Duration = Duration::from_secs(60);

/// Writes the Node objects, Ready.
#[track_caller]
pub(crate) fn create(topology: &Topology, kube: &Kube) {
    for host in topology.nodes() {
        let nodes = kube.cluster::<Object>();
        nodes.create(&manifest(host));
        let addresses = [("InternalIP", host.v4().to_string()), ("InternalIP", host.v6().to_string())];
        let addresses = addresses.map(|(kind, address)| json!({ "type": kind, "address": address }));
        nodes.patch_status(host.name(), &json!({ "status": { "addresses": addresses } }));
        judge(kube, host, "True");
    }
}

/// Sets a node's Ready condition. No controller judges nodes in the light lab, so it stays.
#[track_caller]
pub(crate) fn judge(kube: &Kube, host: &Host, ready: &str) {
    let condition = json!({ "type": "Ready", "status": ready, "reason": "Lab" });
    let status = json!({ "status": { "conditions": [condition] } });
    kube.cluster::<Object>().patch_status(host.name(), &status);
}

/// Starts a kube-proxy on each node.
#[track_caller]
pub(crate) fn start_proxies(topology: &Topology, plane: &ControlPlane) -> Vec<Daemon> {
    let kubeconfig = plane.kubeconfig(topology, "proxy", Identity::Certificate("kube-proxy"));
    let start = |host: &Host| {
        let mut command = Command::new(plane.programs().path("kube-proxy"));
        command.args(proxy_arguments(host, &kubeconfig));
        host.spawn("kube-proxy", &command)
    };
    topology.nodes().iter().map(start).collect()
}

/// Waits until each kube-proxy has written its rules once.
#[track_caller]
pub(crate) fn wait_proxies(topology: &Topology, proxies: &[Daemon]) {
    for (host, proxy) in topology.nodes().iter().zip(proxies) {
        let what = format!("kube-proxy on {} is healthy", host.name());
        wait::eventually(&what, PROXY_WITHIN, || {
            let health = host.enter(|| get((Ipv4Addr::LOCALHOST, HEALTH).into(), "/healthz"));
            let healthy = health.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
            if healthy { Ok(()) } else { Err(proxy.log()) }
        });
    }
}

fn manifest(host: &Host) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": host.name(),
            "labels": { "kubernetes.io/hostname": host.name(), "kubernetes.io/os": "linux" },
        },
    })
}
