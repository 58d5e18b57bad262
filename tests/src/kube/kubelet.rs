//! What containerd, the pod network and the kubelet of a node are told.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::certs::Certificates;
use super::control_plane::{ControlPlane, PODS};
use super::kubeconfig::Identity;
use super::machine::{Machine, Service};
use super::programs::{Group, Programs};
use crate::{Host, Topology, image};

/// Where the node's containerd listens; short, as socket names must be.
pub(crate) fn containerd_socket(host: &Host) -> PathBuf {
    host.dir().join("containerd.sock")
}

/// Writes the configuration of a node and gives its description.
#[track_caller]
pub(crate) fn prepare(topology: &Topology, plane: &ControlPlane, host: &Host, number: usize) -> Machine {
    let disk = host.dir();
    let programs = Programs::of(Group::Nodes);
    write(&disk.join("containerd.toml"), &containerd(host, &programs));
    let network = disk.join("cni");
    fs::create_dir_all(&network).expect("the lab's folder can be written");
    write(&network.join("10-lab.conflist"), &pod_network(host, number));
    write(&disk.join("kubelet.json"), &kubelet(host, plane.papers()));
    let user = format!("system:node:{}", host.name());
    let paper = format!("kubelet-{}", host.name());
    plane.papers().client(&paper, &user, Some("system:nodes"));
    let kubeconfig = plane.kubeconfig(topology, &paper, Identity::Certificate(&paper));
    let proxy = plane.kubeconfig(topology, "proxy", Identity::Certificate("kube-proxy"));
    let services = vec![
        service(
            &programs.path("containerd"),
            &[format!("--config={}", disk.join("containerd.toml").display())],
        ),
        service(&programs.path("kubelet"), &kubelet_arguments(host, &kubeconfig)),
        service(&plane.programs().path("kube-proxy"), &proxy_arguments(host, &proxy)),
    ];
    let system = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{system}:/usr/sbin:/sbin", programs.folder().display());
    Machine { lab: topology.dir().to_path_buf(), disk, path, services }
}

pub(crate) fn proxy_arguments(host: &Host, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--cluster-cidr={PODS}"),
        format!("--hostname-override={}", host.name()),
        "--proxy-mode=nftables".to_owned(),
        // The limits are the machine's; a namespace cannot write them.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-tcp-timeout-established=0".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0".to_owned(),
    ]
}

fn service(program: &Path, arguments: &[String]) -> Service {
    let name = program.file_name().map(|name| name.to_string_lossy().into_owned());
    let words = [&[program.display().to_string()], arguments].concat();
    Service { name: name.expect("a program has a name"), words }
}

fn kubelet_arguments(host: &Host, kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--config={}", host.dir().join("kubelet.json").display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={}", host.name()),
        format!("--node-ip={},{}", host.v4(), host.v6()),
        "--root-dir=/var/lib/kubelet".to_owned(),
        "--cert-dir=/var/lib/kubelet/pki".to_owned(),
    ]
}

/// `restrict_oom_score_adj`: root in a container or a small machine may lack `CAP_SYS_RESOURCE`.
fn containerd(host: &Host, programs: &Programs) -> String {
    let disk = host.dir();
    let (disk, folder, pause) = (disk.display(), programs.folder().display(), image::PAUSE);
    let socket = containerd_socket(host);
    format!(
        r#"version = 3
root = "{disk}/containerd"
state = "/run/containerd"
# It would make /opt/containerd on the machine.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{folder}/runc"
  SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{folder}"]
  conf_dir = "{disk}/cni"
"#,
        socket = socket.display()
    )
}

/// A bridge with the node's pod ranges behind it; the topology routes them.
fn pod_network(host: &Host, number: usize) -> String {
    let bridge = json!({
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": true,
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "dataDir": host.dir().join("cni-addresses"),
            "ranges": [
                [{ "subnet": format!("10.244.{number}.0/24") }],
                [{ "subnet": format!("fd10:244:{number}::/64") }],
            ],
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
        },
    });
    json!({ "cniVersion": "1.0.0", "name": "lab", "plugins": [bridge] }).to_string()
}

/// A dead node shows within five seconds: the kubelet renews its lease each second.
fn kubelet(host: &Host, papers: &Certificates) -> String {
    let socket = containerd_socket(host);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": papers.path("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": "/",
        "cgroupsPerQOS": false,
        "containerRuntimeEndpoint": format!("unix://{}", socket.display()),
        "enforceNodeAllocatable": [],
        "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "failCgroupV1": false,
        "failSwapOn": false,
        "nodeLeaseDurationSeconds": 4,
        "nodeStatusUpdateFrequency": "2s",
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    })
    .to_string()
}

#[track_caller]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
