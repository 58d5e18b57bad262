//! Services of type LoadBalancer: what they ask for, what they hold, and how that is written down.

mod announced;
mod origin;
mod request;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam::{Request, Sharing};
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use k8s_openapi::jiff::Timestamp;
use names::PoolName;
use serde_json::{Value, json};

pub use announced::announced;
pub use origin::Moving;

use self::origin::{Origin, conditions, ingress};
use crate::Invalid;
use crate::annotation::{self, IP_ALLOCATED_FROM_POOL};
use crate::condition::{ALLOCATED, Condition, ORIGIN, Status};

/// What the controller may know of a Service of type LoadBalancer.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadBalancer {
    /// `metadata.uid`
    pub uid: String,
    /// What it asks for, or which field cannot be understood.
    pub request: Result<Request, Invalid>,
    /// On which terms it shares addresses, where the request cannot be understood and these can.
    pub terms: Option<Sharing>,
    /// `status.loadBalancer.ingress[].ip`, in order, as far as it is on record that it was given.
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
    /// Those of ours.
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
        let ours = |one: &&Written| [ALLOCATED, ORIGIN].contains(&one.type_.as_str());
        let conditions: Vec<_> = conditions(service).filter(ours).cloned().collect();
        let pool = annotations.get(&annotation::ours(IP_ALLOCATED_FROM_POOL)).cloned();
        let Origin { held, pool: held_from, moving } = Origin::read(service);
        let request = request::parse(service, spec);
        Some(Self {
            uid: service.metadata.uid.clone()?,
            terms: request.as_ref().err().and_then(|_| request::terms(spec, annotations)),
            request,
            held,
            held_from,
            moving,
            allocated_since: allocated_since(&conditions),
            recorded: Recorded { ingress: ingress(service), pool, conditions },
        })
    }

    /// The strategic merge patch of `services/status` that makes the object say this; none if it does already.
    /// It is refused for another object of that name, as it states the uid.
    pub fn patch(&self, outcome: &Outcome, now: Timestamp) -> Option<Value> {
        let Outcome { addresses, pool, moving, allocated } = outcome;
        let origin = origin::recorded(addresses, pool.as_ref(), moving.as_ref(), self.moving.as_ref());
        let pool = pool.as_ref().map(PoolName::as_str);
        let old = moving.iter().flat_map(|moving| &moving.from);
        let shown: Vec<_> = addresses.iter().chain(old).copied().collect();
        let conditions = &self.recorded.conditions;
        let is_recorded = match &origin {
            Some(origin) => origin.is_in(conditions),
            None => conditions.iter().all(|one| one.type_ != ORIGIN),
        };
        let same = self.recorded.shows(&shown)
            && self.recorded.pool.as_deref() == pool
            && is_recorded
            && allocated.is_in(conditions);
        (!same).then(|| {
            let origin =
                origin.map_or_else(|| without(ORIGIN), |origin| json!(origin.written(conditions, now)));
            patch(&self.uid, pool, &shown, &[json!(allocated.written(conditions, now)), origin])
        })
    }
}

/// The strategic merge patch that takes everything of ours out of a Service that is no longer of type
/// LoadBalancer, or no longer of our class.
pub fn release_patch(uid: &str) -> Value {
    patch(uid, None, &[], &[without(ALLOCATED), without(ORIGIN)])
}

fn without(condition: &str) -> Value {
    json!({ "$patch": "delete", "type": condition })
}

fn patch(uid: &str, pool: Option<&str>, addresses: &[IpAddr], conditions: &[Value]) -> Value {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({ "ip": address, "ipMode": "VIP" })).collect();
    let ingress = if ingress.is_empty() { Value::Null } else { Value::Array(ingress) };
    let annotations = json!({ annotation::ours(IP_ALLOCATED_FROM_POOL): pool });
    json!({
        "metadata": { "uid": uid, "annotations": annotations },
        "status": { "loadBalancer": { "ingress": ingress }, "conditions": conditions },
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

#[cfg(test)]
mod tests;
