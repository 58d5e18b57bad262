//! Services as a test looks at them.

use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service as Object;
use serde_json::{Value, json};

use super::client::{Kube, Objects};
use crate::{Family, wait};

/// The port of each Service that [`super::light::Lab::expose`] makes: HTTP over TCP, and datagrams over UDP.
pub const PORT: u16 = 80;
/// The port behind it, in the pods.
pub const TARGET: u16 = 8080;

const ADDRESS_WITHIN: Duration = Duration::from_secs(20);
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// A Service's condition that says whether it has the addresses that it asks for.
const ALLOCATED: &str = "ferritelb.io/Allocated";

/// One Service.
#[derive(Clone, Copy)]
pub struct Service<'a> {
    kube: &'a Kube,
    namespace: &'a str,
    name: &'a str,
}

impl<'a> Service<'a> {
    pub(crate) fn new(kube: &'a Kube, namespace: &'a str, name: &'a str) -> Self {
        Self { kube, namespace, name }
    }

    /// Makes a dual-stack LoadBalancer of this name, with `changes` merged in; no pod is behind it.
    #[track_caller]
    pub(crate) fn create(&self, changes: &Value) {
        self.objects().create(&manifest(self.name, changes));
    }

    /// As the API server has it.
    #[must_use]
    #[track_caller]
    pub fn get(&self) -> Object {
        self.objects().get(self.name)
    }

    /// Changes fields (JSON merge patch).
    #[track_caller]
    pub fn patch(&self, change: &Value) {
        self.objects().patch(self.name, change);
    }

    /// Deletes it.
    #[track_caller]
    pub fn delete(&self) {
        self.objects().delete(self.name, Duration::ZERO);
    }

    /// Its addresses inside the cluster, in the order of its families.
    #[must_use]
    #[track_caller]
    pub fn cluster_addresses(&self) -> Vec<IpAddr> {
        let spec = self.get().spec.unwrap_or_default();
        let texts = spec.cluster_ips.unwrap_or_default();
        texts.iter().map(|text| text.parse().expect("the API server allots addresses")).collect()
    }

    /// The addresses in its status, in that order.
    #[must_use]
    #[track_caller]
    pub fn addresses(&self) -> Vec<IpAddr> {
        addresses(&self.get())
    }

    /// Waits for an address in its status: the first.
    #[track_caller]
    pub fn wait_address(&self) -> IpAddr {
        self.wait_addresses(1)[0]
    }

    /// Waits for an address of that family in its status.
    #[track_caller]
    pub fn wait_address_of(&self, family: Family) -> IpAddr {
        let what = format!("Service {} has an address of {family:?}", self.name);
        wait::eventually(&what, ADDRESS_WITHIN, || {
            let object = self.get();
            let found = addresses(&object).into_iter().find(|address| Family::of(*address) == family);
            found.ok_or_else(|| seen(&object))
        })
    }

    /// Waits until its status has exactly so many addresses.
    #[track_caller]
    pub fn wait_addresses(&self, count: usize) -> Vec<IpAddr> {
        let what = format!("Service {} has {count} addresses", self.name);
        wait::eventually(&what, ADDRESS_WITHIN, || {
            let object = self.get();
            let addresses = addresses(&object);
            if addresses.len() == count { Ok(addresses) } else { Err(seen(&object)) }
        })
    }

    /// A condition of its status, as JSON: `type`, `status`, `reason`, `message`.
    #[must_use]
    #[track_caller]
    pub fn condition(&self, kind: &str) -> Option<Value> {
        let conditions = self.get().status.unwrap_or_default().conditions.unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition.type_ == kind);
        found.map(|condition| serde_json::to_value(condition).expect("a condition is JSON"))
    }

    /// Waits until its status shows just these addresses, and that this is what it asks for.
    #[track_caller]
    pub fn wait_has(&self, addresses: &[&str]) {
        let wanted: Vec<IpAddr> =
            addresses.iter().map(|text| text.parse().expect("a test writes addresses")).collect();
        wait::eventually(&format!("Service {} has {addresses:?}", self.name), TOLD_WITHIN, || {
            let (shown, [status, reason, message]) = (self.addresses(), self.allocated());
            let good = shown == wanted && status == "True";
            good.then_some(()).ok_or(format!("{shown:?} {reason}: {message}"))
        });
    }

    /// Waits until its condition says that it does not get what it asks for, for that reason and in those words.
    #[track_caller]
    pub fn wait_refused(&self, why: &str, words: &[&str]) {
        let what = format!("Service {} is refused for {why} and told {words:?}", self.name);
        wait::eventually(&what, TOLD_WITHIN, || {
            let [status, reason, message] = self.allocated();
            let good = status == "False" && reason == why && words.iter().all(|word| message.contains(word));
            good.then_some(()).ok_or(format!("{status} {reason}: {message}"))
        });
    }

    /// Status, reason and message of the condition `Allocated`; empty without it.
    #[must_use]
    #[track_caller]
    pub fn allocated(&self) -> [String; 3] {
        let condition = self.condition(ALLOCATED).unwrap_or_default();
        ["status", "reason", "message"].map(|field| condition[field].as_str().unwrap_or_default().to_owned())
    }

    fn objects(&self) -> Objects<'a, Object> {
        self.kube.namespaced(self.namespace)
    }
}

/// A dual-stack LoadBalancer Service in front of the pods labelled `app=NAME`, with `changes` merged in.
pub(crate) fn manifest(name: &str, changes: &Value) -> Value {
    let port =
        |name, protocol| json!({ "name": name, "protocol": protocol, "port": PORT, "targetPort": TARGET });
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name },
        "spec": {
            "type": "LoadBalancer",
            "ipFamilyPolicy": "PreferDualStack",
            "selector": { "app": name },
            "ports": [port("http", "TCP"), port("echo", "UDP")],
        },
    });
    merge(&mut object, changes);
    object
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, changes: &Value) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *target, changes) else {
        target.clone_from(changes);
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), change);
        }
    }
}

pub(crate) fn addresses(object: &Object) -> Vec<IpAddr> {
    let status = object.status.clone().unwrap_or_default();
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress).unwrap_or_default();
    let texts = ingress.into_iter().filter_map(|ingress| ingress.ip);
    texts.map(|text| text.parse().unwrap_or_else(|_| panic!("{text:?} in a status is no address"))).collect()
}

fn seen(object: &Object) -> String {
    serde_json::to_string(&object.status).expect("a status is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_adds_replaces_and_removes() {
        let changes = json!({ "spec": { "ipFamilyPolicy": null, "externalTrafficPolicy": "Local" },
                              "metadata": { "annotations": { "a": "b" } } });
        let object = manifest("web", &changes);
        assert_eq!(object["spec"].get("ipFamilyPolicy"), None);
        assert_eq!(object["spec"]["externalTrafficPolicy"], "Local");
        assert_eq!(object["metadata"], json!({ "name": "web", "annotations": { "a": "b" } }));
        assert_eq!(object["spec"]["type"], "LoadBalancer");
    }
}
