//! The whole cluster: three nodes with kubelet, containerd and runc, on which the product is installed as a user
//! installs it. No container engine is needed on the machine.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as Object;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, Pods};
use super::kubelet::{containerd_socket, prepare};
use super::machine;
use super::product;
use super::programs::{Group, Programs};
use super::service::{self, Service};
use crate::daemon::Lifetime;
use crate::fault::Fault;
use crate::image::{self, Image};
use crate::reaper::lab_program;
use crate::{Daemon, Host, Topology, run, wait, workspace};

const POWERED_WITHIN: Duration = Duration::from_secs(30);
const GONE_WITHIN: Duration = Duration::from_secs(5);
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Where runc keeps the groups of the containers, below each controller.
const GROUPS: &str = "/sys/fs/cgroup";

/// A cluster on the lab's wires; [`Topology`] is what it stands on. Removed when dropped.
pub struct Whole {
    nodes: Vec<Node>,
    groups: EmptyGroups,
    plane: ControlPlane,
    topology: Topology,
}

/// One machine: on or off.
struct Node {
    lifetime: Lifetime,
    power: Mutex<Option<Daemon>>,
    /// What keeps a machine that is off from being heard.
    silence: Mutex<Vec<Fault>>,
}

impl Node {
    fn new(host: &Host) -> Self {
        Self { lifetime: host.lifetime(), power: Mutex::default(), silence: Mutex::default() }
    }

    /// Kills the machine, and returns when the kernel has ended all that ran on it.
    fn kill(&self) {
        let Some(machine) = self.power().take() else { return };
        let first = machine::first_process(machine.pid());
        machine.kill();
        // The first process of a PID namespace ends after all others.
        let gone = || if first.is_none_or(machine::has_ended) { Ok(()) } else { Err(()) };
        wait::attempt(GONE_WITHIN, gone).ok();
    }

    fn power(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.power.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn silence(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.lifetime == Lifetime::Harness {
            self.kill();
        }
    }
}

impl Deref for Whole {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.topology
    }
}

impl Whole {
    /// Raises a cluster of three Ready nodes that have the product's and the lab's images.
    #[must_use]
    #[track_caller]
    pub fn up(purpose: &str) -> Self {
        Self::on(Topology::up(purpose))
    }

    /// A cluster that may be left standing; see [`Self::leave_standing`].
    #[must_use]
    #[track_caller]
    pub fn to_stand(purpose: &str) -> Self {
        Self::on(Topology::to_stand(purpose))
    }

    #[track_caller]
    fn on(topology: Topology) -> Self {
        // What an earlier harness could not remove.
        drop(EmptyGroups);
        let images = write_images(&topology.dir().join("images"));
        let plane = ControlPlane::up(&topology, Pods::Run);
        let nodes = topology.nodes().iter().map(Node::new).collect();
        let cluster = Self { nodes, groups: EmptyGroups, plane, topology };
        cluster.route_from_control_plane();
        for number in cluster.numbers() {
            let host = cluster.node(number);
            let machine = prepare(&cluster.topology, &cluster.plane, host, number);
            let text = serde_json::to_vec(&machine).expect("a description is JSON");
            fs::write(description(host), text).expect("the lab's folder can be written");
            cluster.start(number);
        }
        thread::scope(|scope| {
            for host in cluster.topology.nodes() {
                scope.spawn(|| import(host, &images));
            }
        });
        for number in cluster.numbers() {
            cluster.wait_node_ready(number);
        }
        cluster
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

    /// Installs the product as a user does, and waits until its pods are ready.
    #[track_caller]
    pub fn install(&self) {
        let manifest = workspace().join("manifests/install.yaml");
        let file = manifest.display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &file]);
        for workload in ["deployment/ferrite-controller", "daemonset/ferrite-speaker"] {
            self.wait_rollout("ferritelb-system", workload);
        }
    }

    /// Waits until a workload has all its pods ready.
    #[track_caller]
    pub fn wait_rollout(&self, namespace: &str, workload: &str) {
        let rollout = ["-n", namespace, "rollout", "status", workload, "--timeout=120s"];
        if let Err(failed) = self.plane.try_kubectl(&rollout) {
            let pods = self.plane.try_kubectl(&["-n", namespace, "describe", "pods"]);
            panic!("{failed}\n{}", pods.unwrap_or_else(|failed| failed.to_string()));
        }
    }

    /// Runs a Deployment of web servers in the namespace `default`, labelled `app=NAME`, spread over the nodes;
    /// port 8080 answers as in the light lab, with `POD@NODE`.
    #[track_caller]
    pub fn deploy(&self, name: &str, replicas: usize) {
        self.apply(&deployment(name, replicas).to_string());
        self.wait_rollout("default", &format!("deployment/{name}"));
    }

    /// A Service in the namespace `default`.
    #[must_use]
    pub fn service<'a>(&'a self, name: &'a str) -> Service<'a> {
        Service::new(self.plane.kube(), "default", name)
    }

    /// A power failure: nothing of the node is heard any more, and everything on it is gone at once.
    #[track_caller]
    pub fn power_off(&self, number: usize) {
        let (node, host) = (self.machine(number), self.node(number));
        // Dead sockets of a dead machine send no goodbye.
        node.silence().extend([host.cut(), host.cut_management()]);
        node.kill();
    }

    /// Power is back: the node starts with its disk as it was, and nothing else.
    #[track_caller]
    pub fn power_on(&self, number: usize) {
        let host = self.node(number);
        host.sh(&["nft", "flush", "ruleset"]);
        run::attempt(host.namespace().command("ip").args(["link", "del", "cni0"])).ok();
        self.start(number);
        for fault in self.machine(number).silence().drain(..) {
            fault.heal();
        }
    }

    /// Waits until the API server says that the node is ready.
    #[track_caller]
    pub fn wait_node_ready(&self, number: usize) {
        self.wait_node(number, "True");
    }

    /// Waits until the API server has noticed that the node is gone.
    #[track_caller]
    pub fn wait_node_unknown(&self, number: usize) {
        self.wait_node(number, "Unknown");
    }

    /// Lets the cluster outlive the harness, until `lab down`; gives its name.
    pub fn leave_standing(self) -> String {
        std::mem::forget(self.groups);
        self.topology.leave_standing()
    }

    #[track_caller]
    fn start(&self, number: usize) {
        let host = self.node(number);
        let command = machine::command(&lab_program(), &description(host));
        *self.machine(number).power() = Some(host.spawn("machine", &command));
    }

    #[track_caller]
    fn wait_node(&self, number: usize, wanted: &str) {
        let host = self.node(number);
        let nodes = self.plane.kube().cluster::<Object>();
        wait::eventually(&format!("node {} is Ready={wanted}", host.name()), READY_WITHIN, || {
            let ready = nodes.find(host.name()).and_then(|node| ready(&node));
            if ready.as_deref() == Some(wanted) {
                return Ok(());
            }
            Err(format!("{ready:?}; {}", last_lines(host)))
        });
    }

    fn machine(&self, number: usize) -> &Node {
        number.checked_sub(1).and_then(|index| self.nodes.get(index)).expect("the number of a node")
    }

    fn numbers(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.topology.nodes().len()
    }

    /// The API server reaches kubelets and pods by the management network.
    fn route_from_control_plane(&self) {
        let route = |(number, host): (usize, &Host)| {
            let (v4, via) = (host.v4(), host.management());
            format!("route add {v4} via {via}\nroute add 10.244.{number}.0/24 via {via}\n")
        };
        let lines: String = (1..).zip(self.topology.nodes()).map(route).collect();
        self.topology.cp().ip(&lines);
    }
}

/// Removes the empty control groups that containers leave when they die with their machine. Groups with
/// processes cannot be removed, so those of other clusters stay.
pub fn remove_empty_groups() {
    // A machine that was just killed may still be on its way out.
    wait::attempt(GONE_WITHIN, || {
        for folder in groups() {
            remove_empty(&folder);
        }
        if groups().is_empty() { Ok(()) } else { Err(()) }
    })
    .ok();
}

/// Dropped after the machines.
struct EmptyGroups;

impl Drop for EmptyGroups {
    fn drop(&mut self) {
        groups().iter().for_each(|folder| remove_empty(folder));
    }
}

/// Of each controller (version 1), or of all (version 2).
fn groups() -> Vec<PathBuf> {
    let controllers = fs::read_dir(GROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = controllers.chain([GROUPS.into()]).map(|controller| controller.join("k8s.io"));
    folders.filter(|folder| folder.is_dir()).collect()
}

fn description(host: &Host) -> PathBuf {
    host.dir().join("machine.json")
}

/// The image files, by name.
#[track_caller]
fn write_images(folder: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(folder).expect("the lab's folder can be written");
    let programs = product::programs();
    let images = [image::pause(&programs), image::podsrv(&programs), image::ferritelb(&programs)];
    let write = |(number, image): (usize, &Image)| {
        let file = folder.join(format!("{number}.tar"));
        image.write(&file);
        file
    };
    images.iter().enumerate().map(write).collect()
}

#[track_caller]
fn import(host: &Host, images: &[PathBuf]) {
    let ctr = Programs::of(Group::Nodes).path("ctr");
    let ask = |words: &[&str]| {
        let mut command = Command::new(&ctr);
        command.arg("--address").arg(containerd_socket(host)).args(words);
        command
    };
    wait::eventually("containerd answers", POWERED_WITHIN, || {
        run::attempt(&mut ask(&["version"])).map_err(|failed| format!("{failed}\n{}", last_lines(host)))
    });
    for image in images {
        run::run(ask(&["--namespace=k8s.io", "images", "import"]).arg(image));
    }
}

/// The ends of the logs of what runs on a node.
fn last_lines(host: &Host) -> String {
    let last = |name: &str| {
        let log = fs::read_to_string(host.dir().join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        format!("--- {name}:\n{}\n", lines[lines.len().saturating_sub(12)..].join("\n"))
    };
    ["containerd", "kubelet", "kube-proxy"].map(last).concat()
}

fn ready(node: &Object) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some(ready.status.clone())
}

fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // A group with a process in it refuses, and then its parents do.
    fs::remove_dir(folder).ok();
}

fn deployment(name: &str, replicas: usize) -> Value {
    let labels = json!({ "app": name });
    let field =
        |variable, path| json!({ "name": variable, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let container = json!({
        "name": "server",
        "image": image::PODSRV,
        "imagePullPolicy": "Never",
        "env": [field("POD_NAME", "metadata.name"), field("NODE_NAME", "spec.nodeName")],
        "ports": [{ "containerPort": service::TARGET }, { "containerPort": service::TARGET, "protocol": "UDP" }],
        "readinessProbe": { "httpGet": { "path": "/", "port": service::TARGET }, "periodSeconds": 1 },
    });
    let spread = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": { "matchLabels": labels },
    }]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "automountServiceAccountToken": false,
                    "containers": [container],
                    "terminationGracePeriodSeconds": 1,
                    "topologySpreadConstraints": spread,
                },
            },
        },
    })
}
