//! The harness's own client of the API server: typed, and synchronous.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Error, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

/// What the kinds of Kubernetes have in common.
pub trait Kind: Clone + std::fmt::Debug + DeserializeOwned + Serialize + Resource<DynamicType = ()> {}

impl<K: Clone + std::fmt::Debug + DeserializeOwned + Serialize + Resource<DynamicType = ()>> Kind for K {}

/// One connection to one API server.
pub struct Kube {
    runtime: Runtime,
    client: Client,
}

impl Kube {
    /// As whoever the kubeconfig says.
    #[must_use]
    #[track_caller]
    pub fn connect(kubeconfig: &Path) -> Self {
        // Another client of this process may have installed it.
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let config = Kubeconfig::read_from(kubeconfig).expect("the harness wrote it");
        let client = runtime.block_on(async {
            let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
            Client::try_from(config.expect("the harness wrote it"))
        });
        Self { runtime, client: client.expect("a client needs no connection") }
    }

    /// The asynchronous client, for what is not offered here; see [`Kube::block_on`].
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Waits for an asynchronous call.
    pub fn block_on<T>(&self, call: impl Future<Output = T>) -> T {
        self.runtime.block_on(call)
    }

    /// Objects of a kind without namespaces.
    #[must_use]
    pub fn cluster<K: Kind + Resource<Scope = ClusterResourceScope>>(&self) -> Objects<'_, K> {
        Objects { kube: self, api: Api::all(self.client()) }
    }

    /// Objects of a kind in one namespace.
    #[must_use]
    pub fn namespaced<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
    ) -> Objects<'_, K> {
        Objects { kube: self, api: Api::namespaced(self.client(), namespace) }
    }

    /// Whether the server says that it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let ask = async {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a path is a request");
            tokio::time::timeout(Duration::from_secs(1), self.client.request_text(request)).await
        };
        matches!(self.block_on(ask), Ok(Ok(_)))
    }

    /// A ServiceAccount's bearer token, good for a day; bound to a node, as the token of a pod on it.
    #[must_use]
    #[track_caller]
    pub fn token(&self, namespace: &str, account: &str, node: Option<&str>) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let bound_object_ref = node.map(|name| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(name.to_owned()),
            uid: None,
        });
        let spec =
            TokenRequestSpec { bound_object_ref, expiration_seconds: Some(86_400), ..Default::default() };
        let request = TokenRequest { spec, ..Default::default() };
        let made = self.block_on(accounts.create_token_request(account, &PostParams::default(), &request));
        let made = made.unwrap_or_else(|error| panic!("token of {namespace}/{account}: {error}"));
        made.status.expect("the answer has a status").token
    }
}

/// Objects of one kind, in one namespace or in none.
pub struct Objects<'a, K> {
    kube: &'a Kube,
    api: Api<K>,
}

impl<K: Kind> Objects<'_, K> {
    /// The object, if it is there.
    #[must_use]
    #[track_caller]
    pub fn find(&self, name: &str) -> Option<K> {
        self.insist("get", name, self.kube.block_on(self.api.get_opt(name)))
    }

    /// The object, which must be there.
    #[must_use]
    #[track_caller]
    pub fn get(&self, name: &str) -> K {
        self.insist("get", name, self.kube.block_on(self.api.get(name)))
    }

    /// All that carry a label, or all: `app=web`, `""`.
    #[must_use]
    #[track_caller]
    pub fn list(&self, labels: &str) -> Vec<K> {
        let which = kube::api::ListParams::default().labels(labels);
        self.insist("list", labels, self.kube.block_on(self.api.list(&which))).items
    }

    /// Makes an object of its JSON form.
    #[track_caller]
    pub fn create(&self, object: &Value) -> K {
        let made = self.try_create(object);
        self.insist("create", &object["metadata"]["name"].to_string(), made)
    }

    /// [`Self::create`] for an object that the server may refuse.
    ///
    /// # Errors
    /// The server's refusal.
    #[track_caller]
    pub fn try_create(&self, object: &Value) -> Result<K, Error> {
        let object: K =
            serde_json::from_value(object.clone()).expect("the harness writes well-formed objects");
        self.kube.block_on(self.api.create(&PostParams::default(), &object))
    }

    /// Changes fields of an object (JSON merge patch).
    #[track_caller]
    pub fn patch(&self, name: &str, change: &Value) -> K {
        let (how, change) = (PatchParams::default(), Patch::Merge(change));
        self.insist("patch", name, self.kube.block_on(self.api.patch(name, &how, &change)))
    }

    /// Changes fields of its status (strategic merge patch: conditions by their type).
    #[track_caller]
    pub fn patch_status(&self, name: &str, change: &Value) -> K {
        let (how, change) = (PatchParams::default(), Patch::Strategic(change));
        let call = self.api.patch_status(name, &how, &change);
        self.insist("patch the status of", name, self.kube.block_on(call))
    }

    /// Deletes an object, with that grace; no error when it is not there.
    #[track_caller]
    pub fn delete(&self, name: &str, grace: Duration) {
        let grace = u32::try_from(grace.as_secs()).expect("a grace period is short");
        let how = DeleteParams { grace_period_seconds: Some(grace), ..DeleteParams::default() };
        match self.kube.block_on(self.api.delete(name, &how)) {
            Err(Error::Api(status)) if status.is_not_found() => (),
            other => {
                self.insist("delete", name, other);
            }
        }
    }

    #[track_caller]
    fn insist<T>(&self, verb: &str, name: &str, answer: Result<T, Error>) -> T {
        answer.unwrap_or_else(|error| panic!("cannot {verb} {} {name}: {error}", K::kind(&())))
    }
}
