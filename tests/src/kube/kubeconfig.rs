//! Kubeconfig files: where the API server is, and who one is for it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::certs::Certificates;

/// Who one is for the API server.
#[derive(Debug, Clone, Copy)]
pub enum Identity<'a> {
    /// The client certificate of this name.
    Certificate(&'a str),
    /// A bearer token, such as a ServiceAccount's.
    Token(&'a str),
}

/// Writes a kubeconfig and returns its path.
pub(crate) fn write(path: PathBuf, server: &str, papers: &Certificates, who: Identity<'_>) -> PathBuf {
    let user = match who {
        Identity::Certificate(name) => json!({
            "client-certificate": papers.path(&format!("{name}.crt")),
            "client-key": papers.path(&format!("{name}.key")),
        }),
        Identity::Token(token) => json!({ "token": token }),
    };
    // JSON is YAML.
    let text = document(server, &papers.path("ca.crt"), &user).to_string();
    fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    path
}

fn document(server: &str, authority: &Path, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lab", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "lab", "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab" } }],
        "current-context": "lab",
    })
}
