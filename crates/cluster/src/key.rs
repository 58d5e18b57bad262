use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use names::ServiceKey;

/// An object of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `metadata.namespace`; none for a cluster-scoped kind.
    pub namespace: Option<String>,
    /// `metadata.name`
    pub name: String,
}

impl Key {
    /// An object of a cluster-scoped kind.
    pub fn cluster(name: impl Into<String>) -> Self {
        Self { namespace: None, name: name.into() }
    }

    /// An object in a namespace.
    pub fn namespaced(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), name: name.into() }
    }

    pub(crate) fn of(metadata: &ObjectMeta) -> Self {
        Self { namespace: metadata.namespace.clone(), name: metadata.name.clone().unwrap_or_default() }
    }

    /// The same as the key of a Service.
    pub fn into_service(self) -> ServiceKey {
        ServiceKey::new(self.namespace.unwrap_or_default(), self.name)
    }
}

impl From<&ServiceKey> for Key {
    fn from(key: &ServiceKey) -> Self {
        Self::namespaced(&*key.namespace, &*key.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(out, "{namespace}/{}", self.name),
            None => out.write_str(&self.name),
        }
    }
}
