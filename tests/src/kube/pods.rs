//! Pods of the light lab: objects that the harness writes, each with a server behind its addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod as Object;
use serde_json::{Value, json};

use super::client::{Kube, Objects};
use super::service::TARGET;
use crate::serve::{self, Server};
use crate::{Host, Topology};

/// The pods of one lab.
#[derive(Default)]
pub(crate) struct Pods {
    running: Mutex<BTreeMap<String, Running>>,
}

struct Running {
    node: usize,
    addresses: [IpAddr; 2],
    servers: Vec<Server>,
}

impl Pods {
    /// Runs a pod labelled `app=APP` on a node and gives its name: `APP-nN`, or with a number behind it when
    /// there is one already.
    #[track_caller]
    pub(crate) fn run(&self, topology: &Topology, kube: &Kube, app: &str, node: usize) -> String {
        let mut running = self.running();
        let name = free_name(&running, &format!("{app}-n{node}"));
        let addresses = free_addresses(&running, node);
        let host = topology.node(node);
        for address in addresses {
            host.add_local(address);
        }
        let servers = addresses.into_iter().flat_map(|address| servers(host, address, &name)).collect();
        let objects: Objects<'_, Object> = kube.namespaced("default");
        objects.create(&manifest(&name, app, host.name()));
        objects.patch_status(&name, &status(addresses, host, "True"));
        running.insert(name.clone(), Running { node, addresses, servers });
        name
    }

    /// Ends a pod's servers and takes its addresses away.
    #[track_caller]
    fn end(&self, topology: &Topology, name: &str) {
        let Some(pod) = self.running().remove(name) else {
            return;
        };
        drop(pod.servers);
        for address in pod.addresses {
            topology.node(pod.node).remove_local(address);
        }
    }

    fn addresses(&self, name: &str) -> Option<[IpAddr; 2]> {
        self.running().get(name).map(|pod| pod.addresses)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pod in the namespace `default`.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    pub(crate) kube: &'a Kube,
    pub(crate) topology: &'a Topology,
    pub(crate) pods: &'a Pods,
    pub(crate) name: &'a str,
}

impl<'a> Pod<'a> {
    /// Its IPv4 and its IPv6 address.
    #[must_use]
    #[track_caller]
    pub fn addresses(&self) -> [IpAddr; 2] {
        self.pods.addresses(self.name).unwrap_or_else(|| panic!("no pod {}", self.name))
    }

    /// Its readiness probe succeeds from now on.
    #[track_caller]
    pub fn become_ready(&self) {
        self.judge("True");
    }

    /// Its readiness probe fails from now on; its server still answers.
    #[track_caller]
    pub fn become_unready(&self) {
        self.judge("False");
    }

    /// It is told to end and goes on serving for its grace period: terminating, until [`Self::delete`].
    #[track_caller]
    pub fn terminate(&self) {
        self.objects().delete(self.name, Duration::from_secs(3600));
    }

    /// It is gone, and its server with it.
    #[track_caller]
    pub fn delete(&self) {
        self.objects().delete(self.name, Duration::ZERO);
        self.pods.end(self.topology, self.name);
    }

    /// Its server is gone, and nobody has noticed yet.
    #[track_caller]
    pub fn crash(&self) {
        self.pods.end(self.topology, self.name);
    }

    #[track_caller]
    fn judge(&self, ready: &str) {
        let conditions = conditions(ready);
        self.objects().patch_status(self.name, &json!({ "status": { "conditions": conditions } }));
    }

    fn objects(&self) -> Objects<'a, Object> {
        self.kube.namespaced("default")
    }
}

fn free_name(running: &BTreeMap<String, Running>, name: &str) -> String {
    let numbered = (2u32..).map(|number| format!("{name}-{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !running.contains_key(name)).expect("numbers do not end")
}

/// Node `n` has `10.244.n.0/24` and `fd10:244:n::/64`; its pods begin at 10.
fn free_addresses(running: &BTreeMap<String, Running>, node: usize) -> [IpAddr; 2] {
    let node = u8::try_from(node).expect("a lab has few nodes");
    let used: Vec<_> = running.values().flat_map(|pod| pod.addresses).collect();
    let free = (10..=250).map(|last| IpAddr::from([10, 244, node, last])).find(|v4| !used.contains(v4));
    let v4 = free.expect("a node runs fewer than 240 pods");
    let IpAddr::V4(octets) = v4 else { unreachable!("it was made of four octets") };
    [v4, paired(octets, node).into()]
}

fn paired(v4: Ipv4Addr, node: u8) -> Ipv6Addr {
    let [.., last] = v4.octets();
    Ipv6Addr::new(0xfd10, 0x244, node.into(), 0, 0, 0, 0, last.into())
}

#[track_caller]
fn servers(host: &Host, address: IpAddr, name: &str) -> [Server; 2] {
    [serve::http(host, address, TARGET, name), serve::udp_name(host, address, TARGET, name)]
}

fn manifest(name: &str, app: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": app } },
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "containers": [{ "name": "server", "image": "none" }],
        },
    })
}

fn status(addresses: [IpAddr; 2], host: &Host, ready: &str) -> Value {
    let addresses = addresses.map(|address| json!({ "ip": address }));
    json!({ "status": {
        "phase": "Running",
        "hostIP": host.v4(),
        "podIP": addresses[0]["ip"],
        "podIPs": addresses,
        "conditions": conditions(ready),
    } })
}

fn conditions(ready: &str) -> Value {
    json!([{ "type": "Ready", "status": ready }])
}
