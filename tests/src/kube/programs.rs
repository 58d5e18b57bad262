//! The programs of a real Kubernetes, built once from Go modules into a cache folder outside the checkout.
//!
//! A clone with the same `go.mod` files and the same Go finds them there. Two groups, so that a test which
//! needs no container does not wait for containerd and runc.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::progress;
use crate::{clock, run};

/// The version that the API server reports; the same as in `go.mod`.
const KUBERNETES: &str = "1.36.3";

/// What is built together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// etcd, the API server, the controller-manager, kube-proxy, kubectl.
    ControlPlane,
    /// kubelet, the scheduler, containerd, runc and the CNI plugins.
    Nodes,
}

/// One `go build`.
struct Build {
    /// The folder of the `go.mod`, below `tests/control-plane`.
    module: &'static str,
    packages: &'static [&'static str],
    tags: &'static str,
    cgo: &'static str,
}

const CONTROL_PLANE: &[Build] = &[Build {
    module: ".",
    packages: &[
        "go.etcd.io/etcd/server/v3",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kubectl",
    ],
    tags: "",
    cgo: "0",
}];

const NODES: &[Build] = &[
    Build {
        module: ".",
        packages: &[
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "github.com/containernetworking/plugins/plugins/main/bridge",
            "github.com/containernetworking/plugins/plugins/main/loopback",
            "github.com/containernetworking/plugins/plugins/ipam/host-local",
        ],
        tags: "",
        cgo: "0",
    },
    Build {
        module: "containerd",
        packages: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        tags: "no_btrfs no_devmapper no_zfs",
        cgo: "0",
    },
    Build { module: "runc", packages: &["github.com/opencontainers/runc"], tags: "seccomp", cgo: "1" },
];

impl Group {
    fn builds(self) -> &'static [Build] {
        match self {
            Self::ControlPlane => CONTROL_PLANE,
            Self::Nodes => NODES,
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Nodes => "nodes",
        }
    }
}

/// A group that has been built.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Finds the programs of a group, or builds them: minutes the first time, milliseconds afterwards.
    #[must_use]
    pub fn of(group: Group) -> Self {
        let cache = cache_folder().join(format!("programs-{}", fingerprint()));
        let done = cache.join(group.folder());
        if done.is_dir() {
            return Self(done);
        }
        fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
        let _turn = turn(&cache.join(format!("{}.lock", group.folder())));
        if !done.is_dir() {
            build(group, &done);
        }
        Self(done)
    }

    /// The folder that holds them, for a `PATH`.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The file of one program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// `${XDG_CACHE_HOME:-$HOME/.cache}/ferritelb`.
fn cache_folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("ferritelb"))
        .expect("HOME or XDG_CACHE_HOME is set: the programs of Kubernetes are kept there")
}

fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("control-plane")
}

/// What the programs depend on: the module files, the Go version, and how they are built.
fn fingerprint() -> String {
    let mut hash = Sha256::new();
    for module in [".", "containerd", "runc"] {
        for file in ["go.mod", "go.sum"] {
            let path = modules().join(module).join(file);
            hash.update(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        }
    }
    hash.update(run::run(Command::new("go").args(["env", "GOVERSION"]).current_dir(modules())));
    hash.update(ldflags("."));
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Held until it is dropped; whoever comes second waits here.
fn turn(path: &Path) -> File {
    let file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if file.try_lock().is_err() {
        eprintln!("  … another process builds beside {}; waiting for it", path.display());
        file.lock().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    file
}

/// Builds into a folder beside the wanted one, and renames it when all is there.
fn build(group: Group, done: &Path) {
    let partial = done.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).expect("what an interrupted build left can be removed");
    }
    fs::create_dir_all(&partial).expect("the cache can be written");
    let start = clock::now();
    eprintln!("building Kubernetes {KUBERNETES}, {} programs: once, minutes from cold", group.folder());
    for one in group.builds() {
        progress::run(&format!("go build ({})", group.folder()), &mut command(one, &partial));
    }
    let etcd = partial.join("server");
    if etcd.exists() {
        fs::rename(&etcd, partial.join("etcd")).expect("the cache can be written");
    }
    fs::rename(&partial, done).expect("the cache can be written");
    eprintln!("built in {} s: {}", start.elapsed().as_secs(), done.display());
}

fn command(build: &Build, into: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .args(["build", "-trimpath", "-buildvcs=false"])
        .args(["-tags", build.tags])
        .args(["-ldflags", &ldflags(build.module)])
        .arg("-o")
        .arg(format!("{}/", into.display()))
        .args(build.packages)
        .env("CGO_ENABLED", build.cgo)
        .current_dir(modules().join(build.module));
    command
}

/// Without these, Kubernetes reports `v0.0.0-master`.
fn ldflags(module: &str) -> String {
    if module != "." {
        return "-s -w".to_string();
    }
    let (major, rest) = KUBERNETES.split_once('.').unwrap_or(("1", "0"));
    let minor = rest.split('.').next().unwrap_or_default();
    let set = |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    [
        "-s -w".to_string(),
        set("gitVersion", &format!("v{KUBERNETES}")),
        set("gitMajor", major),
        set("gitMinor", minor),
        set("gitCommit", "none"),
        set("gitTreeState", "archive"),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_go_mod_is_the_one_that_the_api_server_reports() {
        let wanted = format!("k8s.io/kubernetes v{KUBERNETES}");
        let text = fs::read_to_string(modules().join("go.mod")).unwrap();
        assert!(text.lines().any(|line| line.trim().starts_with(&wanted)), "{wanted}");
    }

    #[test]
    fn every_tool_of_a_module_is_built_by_some_group() {
        let built: Vec<_> = CONTROL_PLANE.iter().chain(NODES).flat_map(|build| build.packages).collect();
        for module in [".", "containerd", "runc"] {
            let text = fs::read_to_string(modules().join(module).join("go.mod")).unwrap();
            let tools = tools(&text);
            assert!(!tools.is_empty());
            for tool in tools {
                assert!(built.iter().any(|package| **package == tool), "{tool}");
            }
        }
    }

    /// Both forms: `tool x` and `tool ( x … )`.
    fn tools(text: &str) -> Vec<&str> {
        let from = text.split_once("\ntool ").unwrap().1;
        match from.strip_prefix('(') {
            Some(block) => block.lines().map(str::trim).skip(1).take_while(|line| *line != ")").collect(),
            None => from.lines().take(1).collect(),
        }
    }
}
