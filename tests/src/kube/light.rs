//! The light lab: real control plane and kube-proxies; nodes and pods are objects; the product runs as plain
//! processes whose rights are those of `config/rbac` and no more.

use std::fs;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use api::{AddressOwner, address_owner};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use serde_json::{Value, json};

use super::config;
use super::control_plane::{self, ControlPlane};
use super::kubeconfig::Identity;
use super::nodes;
use super::pods::{Pod, Pods};
use super::product::{HTTP, Program, Slot};
use super::service::Service;
use crate::fault::Fault;
use crate::{Daemon, Topology, run, wait};

/// The product's namespace.
pub const NAMESPACE: &str = "ferritelb-system";

/// How many controllers may run at a time.
pub const REPLICAS: usize = 3;

const SOON: Duration = Duration::from_secs(30);

/// A lab with Kubernetes and the product; [`Topology`] is what it stands on. Removed when dropped.
pub struct Lab {
    controllers: Vec<Slot>,
    speakers: Vec<Slot>,
    proxies: Vec<Daemon>,
    pods: Pods,
    plane: ControlPlane,
    topology: Topology,
}

impl Deref for Lab {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.topology
    }
}

impl Lab {
    /// Raises a lab with the controller and three speakers, all ready.
    #[must_use]
    #[track_caller]
    pub fn up(purpose: &str) -> Self {
        let lab = Self::without_product(purpose);
        lab.controller().start();
        for number in lab.numbers() {
            lab.speaker(number).start();
        }
        lab.controller().wait_ready();
        for number in lab.numbers() {
            lab.speaker(number).wait_ready();
        }
        lab
    }

    /// Raises a lab with CRDs and roles in place, whose controller and speakers the test starts.
    #[must_use]
    #[track_caller]
    pub fn without_product(purpose: &str) -> Self {
        let topology = Topology::up(purpose);
        let plane = ControlPlane::up(&topology, control_plane::Pods::Written);
        nodes::create(&topology, plane.kube());
        let proxies = nodes::start_proxies(&topology, &plane);
        install(&plane);
        let controllers = controllers(&plane, &topology);
        let speakers = topology.nodes().iter();
        let speakers = speakers.map(|node| speaker(&plane, &topology, node.name())).collect();
        nodes::wait_proxies(&topology, &proxies);
        wait_default_account(&plane);
        Self { controllers, speakers, proxies, pods: Pods::default(), plane, topology }
    }

    /// The control plane: its client, kubectl, outages.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Runs the real kubectl as an administrator and gives what it printed; a failure ends the test.
    #[track_caller]
    pub fn kubectl(&self, words: &[&str]) -> String {
        self.plane.kubectl(words)
    }

    /// Applies a manifest with the real kubectl.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        self.plane.apply(manifest);
    }

    /// The controller; of several the first.
    #[must_use]
    pub fn controller(&self) -> Program<'_> {
        self.replica(1)
    }

    /// Controller 1 to [`REPLICAS`]; the second and later ones run where a test starts them.
    #[must_use]
    #[track_caller]
    pub fn replica(&self, number: usize) -> Program<'_> {
        let slot = number.checked_sub(1).and_then(|index| self.controllers.get(index));
        slot.unwrap_or_else(|| panic!("no replica {number}")).on(self.topology.cp())
    }

    /// The speaker of node 1, 2 or 3.
    #[must_use]
    #[track_caller]
    pub fn speaker(&self, node: usize) -> Program<'_> {
        let slot = node.checked_sub(1).and_then(|index| self.speakers.get(index));
        slot.unwrap_or_else(|| panic!("no node {node}")).on(self.topology.node(node))
    }

    /// The kube-proxy of node 1, 2 or 3.
    #[must_use]
    #[track_caller]
    pub fn proxy(&self, node: usize) -> &Daemon {
        let proxy = node.checked_sub(1).and_then(|index| self.proxies.get(index));
        proxy.unwrap_or_else(|| panic!("no node {node}"))
    }

    /// The API server learns that the node is ready.
    #[track_caller]
    pub fn node_ready(&self, node: usize) {
        nodes::judge(self.plane.kube(), self.topology.node(node), "True");
    }

    /// The API server learns that the node is not ready.
    #[track_caller]
    pub fn node_not_ready(&self, node: usize) {
        nodes::judge(self.plane.kube(), self.topology.node(node), "Unknown");
    }

    /// The node is to be left: all that it serves moves to others.
    #[track_caller]
    pub fn drain(&self, node: usize) {
        self.annotate(node, &json!("yes"));
    }

    /// The node may serve again.
    #[track_caller]
    pub fn end_drain(&self, node: usize) {
        self.annotate(node, &Value::Null);
    }

    #[track_caller]
    fn annotate(&self, node: usize, drain: &Value) {
        let change = json!({ "metadata": { "annotations": { "ferritelb.io/drain": drain } } });
        self.plane.kube().cluster::<Node>().patch(self.topology.node(node).name(), &change);
    }

    /// Asks for an address to be moved to a node.
    #[track_caller]
    pub fn move_to(&self, address: IpAddr, node: usize) {
        let change = json!({ "metadata": { "annotations": {
            "ferritelb.io/move-to": self.topology.node(node).name() } } });
        self.plane.kube().cluster::<AddressOwner>().patch(&address_owner::name(address), &change);
    }

    /// A node without power: nothing passes, carrier stays at the others, and its speaker is gone.
    #[track_caller]
    pub fn lose_power(&self, node: usize) -> [Fault; 2] {
        let host = self.topology.node(node);
        let silence = [host.cut(), host.cut_management()];
        self.speaker(node).kill();
        silence
    }

    /// Runs a pod labelled `app=APP` on each of the nodes: `APP-n1`, `APP-n2`, …
    #[track_caller]
    pub fn run(&self, app: &str, on: &[usize]) -> Vec<String> {
        on.iter().map(|node| self.pods.run(&self.topology, self.plane.kube(), app, *node)).collect()
    }

    /// A dual-stack LoadBalancer Service with a pod on each of the nodes. Port 80 answers HTTP with the pod's
    /// name, and datagrams as the meter wants them.
    #[track_caller]
    pub fn expose<'a>(&'a self, name: &'a str, on: &[usize]) -> Service<'a> {
        self.expose_with(name, on, &json!({}))
    }

    /// [`Self::expose`] with changes merged into the Service: annotations, a policy, one family.
    #[track_caller]
    pub fn expose_with<'a>(&'a self, name: &'a str, on: &[usize], changes: &Value) -> Service<'a> {
        self.run(name, on);
        self.ask("default", name, changes)
    }

    /// A dual-stack LoadBalancer Service without pods, in any namespace.
    #[track_caller]
    pub fn ask<'a>(&'a self, namespace: &'a str, name: &'a str, changes: &Value) -> Service<'a> {
        let service = self.service_in(namespace, name);
        service.create(changes);
        service
    }

    /// A Service in the namespace `default`.
    #[must_use]
    pub fn service<'a>(&'a self, name: &'a str) -> Service<'a> {
        self.service_in("default", name)
    }

    /// A Service.
    #[must_use]
    pub fn service_in<'a>(&'a self, namespace: &'a str, name: &'a str) -> Service<'a> {
        Service::new(self.plane.kube(), namespace, name)
    }

    /// A pod of [`Self::run`].
    #[must_use]
    pub fn pod<'a>(&'a self, name: &'a str) -> Pod<'a> {
        Pod { kube: self.plane.kube(), topology: &self.topology, pods: &self.pods, name }
    }

    /// An API outage: connections are refused until [`Self::start_api`].
    pub fn stop_api(&self) {
        self.plane.stop_api();
    }

    /// Ends the outage; returns when the API server says that it is ready.
    #[track_caller]
    pub fn start_api(&self) {
        self.plane.start_api(&self.topology);
    }

    fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.topology.nodes().len()
    }
}

/// Namespace, CRDs, roles and what holds speakers to their nodes, as a user applies them.
#[track_caller]
fn install(plane: &ControlPlane) {
    let mut command = plane.kubectl_command(&["apply", "--server-side", "-f"]);
    command.arg(config().join("default/namespace.yaml"));
    let policy = config().join("admission/speakers.yaml");
    for file in ["crd", "rbac"].into_iter().flat_map(manifests).chain([policy]) {
        command.arg("-f").arg(file);
    }
    run::run(&mut command);
    plane.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
}

/// The manifests of one folder of `config`.
fn manifests(folder: &str) -> Vec<PathBuf> {
    let folder = config().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a folder can be read").path());
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|end| end == "yaml") && !path.ends_with("kustomization.yaml")
    };
    paths.filter(wanted).collect()
}

/// The replicas of the controller: one account, a port each.
#[track_caller]
fn controllers(plane: &ControlPlane, topology: &Topology) -> Vec<Slot> {
    let kubeconfig = kubeconfig(plane, topology, "ferrite-controller", None);
    let ports = (HTTP..).take(REPLICAS);
    ports.map(|port| Slot::new("ferrite-controller", kubeconfig.clone(), port)).collect()
}

#[track_caller]
fn speaker(plane: &ControlPlane, topology: &Topology, node: &str) -> Slot {
    let mut arguments = kubeconfig(plane, topology, "ferrite-speaker", Some(node));
    arguments.extend(["--node-name".to_owned(), node.to_owned()]);
    Slot::new("ferrite-speaker", arguments, HTTP)
}

/// How a program is told of a kubeconfig that holds its ServiceAccount's token. A speaker's token is bound to its
/// node, as the token of a pod there would be.
#[track_caller]
fn kubeconfig(plane: &ControlPlane, topology: &Topology, name: &str, node: Option<&str>) -> Vec<String> {
    let token = plane.kube().token(NAMESPACE, name, node);
    let file = node.map_or_else(|| name.to_owned(), |node| format!("{name}-{node}"));
    let kubeconfig = plane.kubeconfig(topology, &file, Identity::Token(&token));
    vec!["--kubeconfig".to_owned(), kubeconfig.display().to_string()]
}

/// Without it the API server refuses pods.
#[track_caller]
fn wait_default_account(plane: &ControlPlane) {
    let accounts = plane.kube().namespaced::<ServiceAccount>("default");
    wait::eventually("the default ServiceAccount is there", SOON, || {
        accounts.find("default").ok_or("not yet")
    });
}
