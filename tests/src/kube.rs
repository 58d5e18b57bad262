//! Real Kubernetes on the lab's wires, in two forms.
//!
//! [`light::Lab`] runs the control plane and a kube-proxy per node; nodes and pods are objects that the harness
//! writes, with a server behind each pod's address; controller and speakers are plain processes with their own
//! ServiceAccounts' tokens. [`whole::Whole`] runs kubelets and containers as well.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::workspace;

pub mod certs;
pub mod client;
pub mod control_plane;
pub mod forward;
pub mod kubeconfig;
mod kubelet;
pub mod light;
pub mod machine;
mod nodes;
pub mod packages;
pub mod pods;
pub mod product;
pub mod programs;
pub(crate) mod progress;
pub mod service;
pub mod whole;

/// An object of one of the product's kinds.
#[must_use]
pub fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "ferritelb.io/v1beta1",
        "kind": kind,
        "metadata": { "name": name },
        "spec": spec,
    })
}

/// The folder of the manifests.
pub(crate) fn config() -> PathBuf {
    workspace().join("config")
}

/// The folder of the samples: two pools, peers of both routers, an advertisement of each kind.
#[must_use]
pub fn samples() -> PathBuf {
    config().join("samples")
}
