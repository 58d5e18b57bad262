//! Services of type LoadBalancer: what they ask for, what they hold, and how that is written down.

mod announced;
mod moving;
mod request;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::Request;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use k8s_openapi::jiff::Timestamp;
use names::PoolName;
use serde_json::{Value, json};

pub use announced::announced;
pub use moving::Moving;

use crate::Invalid;
use crate::annotation::{self, IP_ALLOCATED_FROM_POOL, MOVING};
use crate::condition::{ALLOCATED, Condition, Status};

/// What the controller may know of a Service of type LoadBalancer.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadBalancer {
    /// `metadata.uid`
    pub uid: String,
    /// What it asks for, or which field cannot be understood.
    pub request: Result<Request, Invalid>,
    /// `status.loadBalancer.ingress[].ip`, in order: the record of what it was given.
    pub held: Vec<IpAddr>,
    /// The pool that these came from; without those that it is being moved from.
    pub held_from: Option<PoolName>,
    /// Its way from some of what it holds to the rest.
    pub moving: Option<Moving>,
    /// Since when it has what it asks for, if it has.
    pub allocated_since: Option<Timestamp>,
    recorded: Recorded,
}

/// What stands in the object of all that the controller writes.
#[derive(Debug, Clone, PartialEq)]
struct Recorded {
    ingress: Vec<LoadBalancerIngress>,
    pool: Option<String>,
    moving: Option<String>,
    conditions: Vec<Written>,
}

/// What is to stand in a Service's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The addresses that it was granted, in the order to be shown.
    pub addresses: Vec<IpAddr>,
    /// The pool that they came from.
    pub pool: Option<PoolName>,
    /// What it holds besides, until it is given up; shown after them.
    pub moving: Option<Moving>,
    /// Whether it has what it asks for, of type [`ALLOCATED`].
    pub allocated: Condition,
}

/// Whether a Service is for the process with this `--lb-class`: classes must be equal, and no class is one too.
pub fn is_ours(service: &Service, class: Option<&str>) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
        && spec.and_then(|spec| spec.load_balancer_class.as_deref()) == class
}

impl LoadBalancer {
    /// A Service that is ours.
    pub fn parse(service: &Service, class: Option<&str>) -> Option<Self> {
        let spec = service.spec.as_ref().filter(|_| is_ours(service, class))?;
        let none = BTreeMap::new();
        let annotations = service.metadata.annotations.as_ref().unwrap_or(&none);
        let conditions = service.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
        let conditions: Vec<_> = conditions.filter(|one| one.type_ == ALLOCATED).cloned().collect();
        let ingress = ingress(service);
        let held = held(&ingress);
        let recorded = |name| annotations.get(&annotation::ours(name)).cloned();
        let moving = recorded(MOVING);
        Some(Self {
            uid: service.metadata.uid.clone()?,
            request: request::parse(service, spec),
            held_from: held_from(annotations),
            moving: moving.as_deref().and_then(|text| Moving::parse(text, &held)),
            held,
            allocated_since: allocated_since(&conditions),
            recorded: Recorded { ingress, pool: recorded(IP_ALLOCATED_FROM_POOL), moving, conditions },
        })
    }

    /// The strategic merge patch of `services/status` that makes the object say this; none if it does already.
    /// It is refused for another object of that name, as it states the uid.
    pub fn patch(&self, outcome: &Outcome, now: Timestamp) -> Option<Value> {
        let Outcome { addresses, pool, moving, allocated } = outcome;
        let pool = pool.as_ref().map(PoolName::as_str);
        let old = moving.iter().flat_map(|moving| &moving.from);
        let shown: Vec<_> = addresses.iter().chain(old).copied().collect();
        let moving = moving.as_ref().map(|moving| moving.written(addresses, self.moving.as_ref()));
        let conditions = &self.recorded.conditions;
        let same = self.recorded.shows(&shown)
            && self.recorded.pool.as_deref() == pool
            && self.recorded.moving == moving
            && allocated.is_in(conditions);
        (!same).then(|| {
            let marks = Marks { pool, moving: moving.as_deref() };
            patch(&self.uid, &marks, &shown, json!(allocated.written(conditions, now)))
        })
    }
}

/// The strategic merge patch that takes everything of ours out of a Service that is no longer of type
/// LoadBalancer, or no longer of our class.
pub fn release_patch(uid: &str) -> Value {
    patch(uid, &Marks::default(), &[], json!({ "$patch": "delete", "type": ALLOCATED }))
}

/// The annotations that the controller writes.
#[derive(Debug, Default)]
struct Marks<'a> {
    pool: Option<&'a str>,
    moving: Option<&'a str>,
}

fn patch(uid: &str, marks: &Marks<'_>, addresses: &[IpAddr], condition: Value) -> Value {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({ "ip": address, "ipMode": "VIP" })).collect();
    let ingress = if ingress.is_empty() { Value::Null } else { Value::Array(ingress) };
    let annotations = json!({
        annotation::ours(IP_ALLOCATED_FROM_POOL): marks.pool,
        annotation::ours(MOVING): marks.moving,
    });
    json!({
        "metadata": { "uid": uid, "annotations": annotations },
        "status": { "loadBalancer": { "ingress": ingress }, "conditions": [condition] },
    })
}

fn allocated_since<'a>(conditions: impl IntoIterator<Item = &'a Written>) -> Option<Timestamp> {
    let is_true = |one: &&Written| one.type_ == ALLOCATED && one.status == Status::True.as_str();
    conditions.into_iter().find(is_true).map(|condition| condition.last_transition_time.0)
}

impl Recorded {
    /// Whether the ingress shows just these addresses. The API server sets `ipMode` to VIP where it is absent.
    fn shows(&self, addresses: &[IpAddr]) -> bool {
        let shows = |entry: &LoadBalancerIngress, address: &IpAddr| {
            let LoadBalancerIngress { hostname, ip, ip_mode, ports } = entry;
            ip.as_deref() == Some(&address.to_string())
                && ip_mode.as_deref().unwrap_or("VIP") == "VIP"
                && hostname.is_none()
                && ports.as_ref().is_none_or(Vec::is_empty)
        };
        self.ingress.len() == addresses.len()
            && self.ingress.iter().zip(addresses).all(|(entry, address)| shows(entry, address))
    }
}

fn ingress(service: &Service) -> Vec<LoadBalancerIngress> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.clone()).unwrap_or_default()
}

fn held(ingress: &[LoadBalancerIngress]) -> Vec<IpAddr> {
    ingress.iter().filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect()
}

fn held_from(annotations: &BTreeMap<String, String>) -> Option<PoolName> {
    annotation::find_first(annotations, IP_ALLOCATED_FROM_POOL).map(|found| PoolName::new(found.value))
}

#[cfg(test)]
mod tests;
