use api::address_owner::{self, address_of};
use k8s_openapi::api::core::v1::Service;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::seen::{self, Asking, SeenObject};
use crate::world::*;

/// An API server that keeps Services and pools, applies what the world writes, and tells the world of every
/// change, as the watches do.
pub(super) struct Cluster {
    pub(super) world: World,
    registry: Registry,
    pub(super) now: Now,
    pub(super) class: Option<&'static str>,
    pub(super) services: BTreeMap<ServiceKey, Value>,
    /// Everything else, by kind and name.
    pub(super) objects: BTreeMap<(Kind, String), Value>,
    /// Objects that were removed, in the order of their removal.
    pub(super) removed: Vec<(Kind, String)>,
    pub(super) uids: u32,
    /// Names of the objects written since last asked.
    pub(super) writes: Vec<String>,
    pub(super) notices: Vec<Notice>,
    pub(super) down: bool,
    pub(super) held_back: BTreeMap<String, Effect>,
}

#[expect(clippy::disallowed_methods, reason = "a test has to get a time from somewhere")]
fn epoch() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::from_second(1_000_000).unwrap() }
}

/// The key of `namespace/name`; without a namespace, of the default one.
pub(super) fn key(name: &str) -> ServiceKey {
    let (namespace, name) = name.split_once('/').unwrap_or(("default", name));
    ServiceKey::new(namespace, name)
}

fn api_version(kind: Kind) -> &'static str {
    if [Kind::Service, Kind::Namespace, Kind::Node].contains(&kind) {
        "v1"
    } else if kind == Kind::ServiceCidr {
        "networking.k8s.io/v1"
    } else if kind == Kind::EndpointSlice {
        "discovery.k8s.io/v1"
    } else {
        "ferritelb.io/v1beta1"
    }
}

/// What the watch of a kind tells of an object; nothing: that it is gone.
pub(super) fn update(kind: Kind, name: &str, object: Option<Value>) -> Update {
    fn told<K: DeserializeOwned, V, S>(
        object: Option<Value>,
        project: fn(&K) -> SeenObject<V, S>,
    ) -> Option<SeenObject<V, S>> {
        let decoded = serde_json::from_value::<K>(object?);
        Some(decoded.map_or_else(|error| SeenObject::garbage(error.to_string()), |object| project(&object)))
    }
    fn asking<K: DeserializeOwned, V>(
        object: Option<Value>,
        project: fn(&K) -> Asking<V>,
    ) -> Option<Asking<V>> {
        let decoded = serde_json::from_value::<K>(object?);
        Some(decoded.map_or_else(|error| Asking::garbage(error.to_string()), |object| project(&object)))
    }
    fn known<K: DeserializeOwned, V>(object: Option<Value>, project: fn(&K) -> V) -> Option<V> {
        Some(project(&serde_json::from_value(object?).unwrap()))
    }
    let string = name.to_owned();
    match kind {
        Kind::Service => unreachable!("Services are told by themselves"),
        Kind::EndpointSlice => {
            Update::Slice(("default".into(), string), known(object, seen::slice).flatten())
        }
        Kind::AddressOwner => {
            Update::Owner(address_of(name).unwrap(), known(object, seen::owner).map(Box::new))
        }
        Kind::Namespace => Update::Namespace(string, known(object, seen::namespace)),
        Kind::Node => Update::Node(NodeName::new(name), known(object, seen::node)),
        Kind::ServiceCidr => Update::ServiceCidr(string, known(object, seen::service_cidr)),
        Kind::SpeakerStatus => Update::Speaker(NodeName::new(name), known(object, seen::speaker)),
        Kind::Pool => Update::Pool(PoolName::new(name), told(object, seen::pool).map(Box::new)),
        Kind::Quota => Update::Quota(QuotaName::new(name), told(object, seen::quota)),
        Kind::Reservation => {
            Update::Reservation(ReservationName::new(name), told(object, seen::reservation).map(Box::new))
        }
        Kind::Config => Update::Config(string, asking(object, seen::config)),
        Kind::L2Advertisement => {
            Update::L2Advertisement(string, asking(object, seen::l2_advertisement).map(Box::new))
        }
        Kind::BgpAdvertisement => Update::Verdict(kind, string, told(object, seen::bgp_advertisement)),
        Kind::BgpPeer => Update::Verdict(kind, string, told(object, seen::bgp_peer)),
    }
}

pub(super) fn merge(into: &mut Value, patch: &Value) {
    let (Some(into), Some(patch)) = (into.as_object_mut(), patch.as_object()) else { return };
    for (name, value) in patch {
        match value {
            Value::Null => drop(into.remove(name)),
            Value::Object(_) => merge(into.entry(name).or_insert_with(|| json!({})), value),
            // The lists that are merged by a key.
            Value::Array(items) if name == "conditions" => {
                let list = into.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap();
                for item in items {
                    list.retain(|one| one["type"] != item["type"]);
                    list.extend((item["$patch"] != "delete").then(|| item.clone()));
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

impl Cluster {
    /// With these pools, and everything listed.
    pub(super) fn with(pools: &[(&str, &[&str])]) -> Self {
        let mut cluster = Self::unlisted();
        for (name, addresses) in pools {
            cluster.pool(name, json!({ "addresses": addresses }));
        }
        cluster.list();
        cluster.writes.clear();
        cluster
    }

    pub(super) fn unlisted() -> Self {
        let mut registry = Registry::default();
        Self {
            world: World::new(Metrics::register(&mut registry)),
            registry,
            now: epoch(),
            class: None,
            services: BTreeMap::new(),
            objects: BTreeMap::new(),
            removed: Vec::new(),
            uids: 0,
            writes: Vec::new(),
            notices: Vec::new(),
            down: false,
            held_back: BTreeMap::new(),
        }
    }

    pub(super) fn list(&mut self) {
        for kind in Kind::ALL {
            self.feed(Update::Synced(kind));
        }
        self.lead();
    }

    /// Has the lease, and knows which Services there are.
    pub(super) fn lead(&mut self) {
        let version =
            |service: &Value| service["metadata"]["resourceVersion"].as_str().unwrap_or("0").parse().unwrap();
        let listed = self.services.iter().map(|(key, service)| (key.clone(), version(service)));
        self.feed(Update::Leads(listed.collect()));
    }

    /// Another process on the same objects.
    pub(super) fn restart(&mut self) {
        self.world = World::new(Metrics::register(&mut Registry::default()));
        self.tell_everything();
        self.list();
    }

    /// The API server is back: what happened meanwhile is listed, and what was held back is written.
    pub(super) fn recover(&mut self) {
        if !self.down {
            return;
        }
        self.down = false;
        let gone: Vec<_> =
            self.world.services.keys().filter(|key| !self.services.contains_key(key)).cloned().collect();
        for key in gone {
            self.tell(&key);
        }
        for (kind, name) in std::mem::take(&mut self.removed) {
            if !self.objects.contains_key(&(kind, name.clone())) {
                self.tell_object(kind, &name);
            }
        }
        self.tell_everything();
        self.write();
    }

    pub(super) fn tell_everything(&mut self) {
        for key in self.services.keys().cloned().collect::<Vec<_>>() {
            self.tell(&key);
        }
        for (kind, name) in self.objects.keys().cloned().collect::<Vec<_>>() {
            self.tell_object(kind, &name);
        }
    }

    /// What `/metrics` says of the first process.
    pub(super) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    pub(super) fn feed(&mut self, update: Update) {
        let effects = self.world.apply(update, self.now);
        self.take(effects);
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while let Some(at) = self.world.poll_timeout().filter(|at| *at <= end) {
            self.pass(at);
            let effects = self.world.handle_timeout(self.now);
            self.take(effects);
        }
        self.pass(end);
    }

    /// Both clocks go on.
    pub(super) fn pass(&mut self, at: Instant) {
        let ahead = at.saturating_duration_since(self.now.instant);
        self.now = Now { instant: self.now.instant + ahead, wall: self.now.wall + ahead };
    }

    pub(super) fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let object = match &effect {
                Effect::Service(key, _) | Effect::Forget(key) => key.to_string(),
                Effect::Status(kind, name, _) => format!("{kind} {name}"),
                Effect::Owner(address, _) | Effect::ForgetOwner(address) => format!("owner of {address}"),
                Effect::Event(notice) => {
                    self.notices.push(notice.clone());
                    continue;
                }
                Effect::ForgetAll => {
                    self.held_back.clear();
                    continue;
                }
            };
            self.held_back.insert(object, effect);
        }
        self.write();
    }

    /// What the writer does: the newest of each object, when the API server is there.
    pub(super) fn write(&mut self) {
        while let Some((object, effect)) = (!self.down).then(|| self.held_back.pop_first()).flatten() {
            match effect {
                Effect::Service(key, patch) => {
                    self.writes.push(object);
                    let Some(service) = self.services.get_mut(&key) else { continue };
                    let differs = |field: &str| service["metadata"][field] != patch["metadata"][field];
                    // One that was never stored has no version, and was seen as the first of all.
                    let stored = !service["metadata"]["resourceVersion"].is_null();
                    if differs("uid") || (stored && differs("resourceVersion")) {
                        continue;
                    }
                    let mut patch = patch;
                    patch["metadata"].as_object_mut().unwrap().remove("resourceVersion");
                    let before = service.clone();
                    merge(service, &patch);
                    if *service != before {
                        self.tell(&key);
                    }
                }
                Effect::Status(kind, name, body) => {
                    self.writes.push(object);
                    let Some(object) = self.objects.get_mut(&(kind, name.clone())) else { continue };
                    let before = object.clone();
                    if kind == Kind::AddressOwner {
                        self.patch_owner(&name, &json!({ "status": body["status"] }));
                        continue;
                    }
                    // All of it is ours, so that what is no longer applied goes. The order is the API server's.
                    object["status"] = body["status"].clone();
                    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
                        conditions.sort_by_key(|one| one["type"].to_string());
                    }
                    if *object != before {
                        self.tell_object(kind, &name);
                    }
                }
                Effect::Owner(address, write) => {
                    self.writes.push(object);
                    self.write_owner(&address_owner::name(address), write);
                }
                Effect::Forget(_) | Effect::ForgetOwner(_) | Effect::ForgetAll | Effect::Event(_) => {}
            }
        }
    }

    /// What the API server does with it, as the schema of the kind says.
    fn write_owner(&mut self, name: &str, write: Write) {
        let key = (Kind::AddressOwner, name.to_owned());
        let stands = self.objects.get(&key).cloned();
        match (write, stands) {
            (Write::Create(body), None) => {
                let (uid, _) = self.born();
                let metadata = json!({ "name": name, "uid": uid, "resourceVersion": "1" });
                self.objects.insert(key, json!({ "metadata": metadata, "spec": body["spec"], "status": {} }));
                self.tell_object(Kind::AddressOwner, name);
            }
            (Write::Merge(body), Some(object)) => {
                let is_known = |field: &str| object["metadata"][field] == body["metadata"][field];
                let generation = |object: &Value| object["spec"]["generation"].as_u64().unwrap();
                let same_node = object["spec"]["node"] == body["spec"]["node"];
                let grows = generation(&body) > generation(&object);
                if is_known("uid") && is_known("resourceVersion") {
                    assert!(
                        grows || generation(&body) == generation(&object) && same_node,
                        "refused: {body}"
                    );
                    self.patch_owner(name, &json!({ "spec": body["spec"] }));
                }
            }
            (Write::Delete { uid }, Some(object)) if object["metadata"]["uid"] == uid => {
                self.remove(Kind::AddressOwner, name);
            }
            (Write::Create(_) | Write::Delete { .. }, Some(_))
            | (Write::Merge(_) | Write::Delete { .. }, None) => {}
            (other, _) => panic!("nobody writes an AddressOwner by {other:?}"),
        }
    }

    /// Somebody changes the AddressOwner of this name.
    pub(super) fn patch_owner(&mut self, name: &str, patch: &Value) {
        let object = self.objects.get_mut(&(Kind::AddressOwner, name.to_owned())).unwrap();
        let before = object.clone();
        merge(object, patch);
        if let Some([]) = patch["status"]["conditions"].as_array().map(Vec::as_slice) {
            object["status"]["conditions"] = json!([]);
        }
        if *object != before {
            let version: u64 = before["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
            self.tell_object(Kind::AddressOwner, name);
        }
    }

    /// Where an address is placed, and why; nothing: it has no AddressOwner.
    pub(super) fn placed(&self, address: &str) -> String {
        let name = address_owner::name(address.parse().unwrap());
        let Some(object) = self.objects.get(&(Kind::AddressOwner, name)) else { return String::new() };
        let text = |field: &str| object["spec"][field].as_str().unwrap();
        format!("{} {}", text("node"), text("reason"))
    }

    pub(super) fn tell(&mut self, key: &ServiceKey) {
        if self.down {
            return;
        }
        let service: Option<Service> =
            self.services.get(key).map(|service| serde_json::from_value(service.clone()).unwrap());
        let seen = service.map(|service| SeenService::project(&service, self.class));
        self.feed(Update::Service(key.clone(), seen));
    }

    pub(super) fn tell_object(&mut self, kind: Kind, name: &str) {
        if !self.down {
            let object = self.objects.get(&(kind, name.to_owned())).cloned();
            self.feed(update(kind, name, object));
        }
    }

    /// `kubectl apply` of an object with these fields; what it had stays as far as they do not say otherwise.
    pub(super) fn apply(&mut self, kind: Kind, name: &str, fields: Value) {
        let (uid, created) = self.born();
        let made = || {
            json!({
                "apiVersion": api_version(kind),
                "kind": kind.to_string(),
                "metadata": { "name": name, "uid": uid, "creationTimestamp": created, "generation": 0 },
            })
        };
        let object = self.objects.entry((kind, name.to_owned())).or_insert_with(made);
        let before = object.clone();
        for (field, value) in fields.as_object().unwrap() {
            object[field] = value.clone();
        }
        if object["spec"] != before["spec"] {
            object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        self.tell_object(kind, name);
    }

    pub(super) fn pool(&mut self, name: &str, spec: Value) {
        self.apply(Kind::Pool, name, json!({ "spec": spec }));
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        self.objects.remove(&(kind, name.to_owned()));
        self.removed.push((kind, name.to_owned()));
        self.tell_object(kind, name);
    }

    pub(super) fn remove_pool(&mut self, name: &str) {
        self.remove(Kind::Pool, name);
    }

    pub(super) fn status(&self, kind: Kind, name: &str) -> &Value {
        &self.objects[&(kind, name.to_owned())]["status"]
    }

    /// What a condition of an object says: its status, reason and message; nothing if it has none of that type.
    pub(super) fn says(&self, kind: Kind, name: &str, type_: &str) -> String {
        let conditions = self.status(kind, name)["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|one| one["type"] == type_);
        let text = |field: &str| Some(found.as_ref()?[field].as_str()?.to_owned());
        let words = [text("status"), text("reason"), text("message")];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Identity and age of an object that is made now.
    pub(super) fn born(&mut self) -> (String, Timestamp) {
        self.uids += 1;
        (format!("uid-{}", self.uids), Timestamp::from_second(1_767_225_600 + i64::from(self.uids)).unwrap())
    }

    /// `kubectl expose --type=LoadBalancer`, with this in the object besides.
    pub(super) fn expose(&mut self, name: &str, more: Value) {
        let (uid, created) = self.born();
        let ServiceKey { namespace, name: only } = key(name);
        let mut service = json!({
            "metadata": { "namespace": &*namespace, "name": &*only, "uid": uid, "creationTimestamp": created },
            "spec": {
                "type": "LoadBalancer",
                "clusterIP": "10.96.0.9",
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
            },
            "status": { "loadBalancer": {} },
        });
        merge(&mut service, &more);
        self.services.insert(key(name), service);
        self.tell(&key(name));
    }

    pub(super) fn edit(&mut self, name: &str, patch: Value) {
        merge(self.services.get_mut(&key(name)).unwrap(), &patch);
        self.tell(&key(name));
    }

    pub(super) fn annotate(&mut self, name: &str, annotation: &str, value: Value) {
        self.edit(name, json!({ "metadata": { "annotations": { annotation: value } } }));
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.services.remove(&key(name));
        self.tell(&key(name));
    }

    /// What `kubectl get` shows: addresses, and where they did not come or not all, why.
    pub(super) fn shows(&self, name: &str) -> String {
        let service = &self.services[&key(name)];
        let ingress = service["status"]["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
        let mut words: Vec<String> = ingress.iter().map(|one| one["ip"].as_str().unwrap().into()).collect();
        let condition = self.condition(name);
        if condition["status"] == "False" {
            words.push(condition["reason"].as_str().unwrap().into());
        }
        words.join(" ")
    }

    pub(super) fn condition(&self, name: &str) -> Value {
        let conditions = self.services[&key(name)]["status"]["conditions"].as_array().cloned();
        let ours = |one: &Value| one["type"] == "ferritelb.io/Allocated";
        conditions.unwrap_or_default().into_iter().find(ours).unwrap_or_default()
    }

    pub(super) fn allocated_from(&self, name: &str) -> Value {
        self.services[&key(name)]["metadata"]["annotations"]["ferritelb.io/ip-allocated-from-pool"].clone()
    }

    pub(super) fn written(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
    }

    pub(super) fn events(&mut self) -> Vec<(String, &'static str)> {
        let notices = std::mem::take(&mut self.notices);
        notices.into_iter().map(|notice| (notice.service.name.to_string(), notice.reason)).collect()
    }
}
