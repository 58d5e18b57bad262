use std::borrow::Cow;
use std::sync::Arc;

use kube::Resource;
use serde_json::{Value, json};

use crate::Key;

/// Where something is written. A copy costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object(Arc<Identity>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    key: Key,
    kind: Cow<'static, str>,
    api_version: Cow<'static, str>,
    /// The path of its kind in its namespace.
    path: String,
}

impl Object {
    /// An object of kind `K`.
    pub fn of<K: Resource<DynamicType = ()>>(key: Key) -> Self {
        let path = K::url_path(&(), key.namespace.as_deref());
        Self(Arc::new(Identity { key, kind: K::kind(&()), api_version: K::api_version(&()), path }))
    }

    /// Its path at the API server.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.0.path, self.0.key.name)
    }

    /// The path of its kind in its namespace.
    pub(super) fn collection(&self) -> &str {
        &self.0.path
    }

    pub(super) fn key(&self) -> &Key {
        &self.0.key
    }

    pub(super) fn kind(&self) -> &str {
        &self.0.kind
    }

    /// A body as server-side apply wants it: with the object's identity.
    pub(super) fn identified(&self, mut body: Value) -> Value {
        if let Value::Object(fields) = &mut body {
            fields.insert("apiVersion".into(), json!(self.0.api_version));
            fields.insert("kind".into(), json!(self.0.kind));
            let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
            if let Value::Object(metadata) = metadata {
                metadata.insert("name".into(), json!(self.0.key.name));
            }
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, Service};

    use super::*;

    #[test]
    fn an_applied_body_says_which_object_it_is_about() {
        let object = Object::of::<Service>(Key::namespaced("d", "web"));
        let body = object.identified(json!({"metadata": {"uid": "u"}, "status": {}}));
        let expected = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "uid": "u"}, "status": {},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn objects_are_told_apart_by_kind_namespace_and_name() {
        let web = Object::of::<Service>(Key::namespaced("d", "web"));
        assert_eq!(web.path(), "/api/v1/namespaces/d/services/web");
        assert_eq!(web, Object::of::<Service>(Key::namespaced("d", "web")));
        assert_ne!(web, Object::of::<Service>(Key::namespaced("e", "web")));
        let node = Object::of::<Node>(Key::cluster("web"));
        assert_eq!(node.path(), "/api/v1/nodes/web");
        assert_ne!(web, node);
    }
}
