//! Services of type LoadBalancer: what they ask for, what they hold, and how that is written down.

mod announced;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam::{Families, Family, Request};
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as Written;
use k8s_openapi::jiff::Timestamp;
use names::PoolName;
use serde_json::{Value, json};

pub use announced::announced;

use crate::Invalid;
use crate::annotation::{self, ADDRESS_POOL, ALLOW_SHARED_IP, IP_ALLOCATED_FROM_POOL, LOAD_BALANCER_IPS};
use crate::condition::{ALLOCATED, Condition};

/// What the controller may know of a Service of type LoadBalancer.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadBalancer {
    /// `metadata.uid`
    pub uid: String,
    /// What it asks for, or which field cannot be understood.
    pub request: Result<Request, Invalid>,
    /// `status.loadBalancer.ingress[].ip`, in order: the record of what it was given.
    pub held: Vec<IpAddr>,
    /// The pool that these came from.
    pub held_from: Option<PoolName>,
    recorded: Recorded,
}

/// What stands in the object of all that the controller writes.
#[derive(Debug, Clone, PartialEq)]
struct Recorded {
    ingress: Vec<LoadBalancerIngress>,
    pool: Option<String>,
    conditions: Vec<Written>,
}

/// What is to stand in a Service's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The addresses that it holds, in the order to be shown.
    pub addresses: Vec<IpAddr>,
    /// The pool that they came from.
    pub pool: Option<PoolName>,
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
        let ingress = ingress(service);
        Some(Self {
            uid: service.metadata.uid.clone()?,
            request: request(spec, annotations),
            held: held(&ingress),
            held_from: held_from(annotations),
            recorded: Recorded {
                ingress,
                pool: annotations.get(&annotation::ours(IP_ALLOCATED_FROM_POOL)).cloned(),
                conditions: conditions.filter(|condition| condition.type_ == ALLOCATED).cloned().collect(),
            },
        })
    }

    /// The strategic merge patch of `services/status` that makes the object say this; none if it does already.
    /// It is refused for another object of that name, as it states the uid.
    pub fn patch(&self, outcome: &Outcome, now: Timestamp) -> Option<Value> {
        let Outcome { addresses, pool, allocated } = outcome;
        let pool = pool.as_ref().map(PoolName::as_str);
        let conditions = &self.recorded.conditions;
        let same = self.recorded.shows(addresses)
            && self.recorded.pool.as_deref() == pool
            && allocated.is_in(conditions);
        (!same).then(|| {
            let condition = json!(allocated.written(conditions, now));
            patch(&self.uid, pool, addresses, condition)
        })
    }
}

/// The strategic merge patch that takes everything of ours out of a Service that is no longer of type
/// LoadBalancer, or no longer of our class.
pub fn release_patch(uid: &str) -> Value {
    patch(uid, None, &[], json!({ "$patch": "delete", "type": ALLOCATED }))
}

fn patch(uid: &str, pool: Option<&str>, addresses: &[IpAddr], condition: Value) -> Value {
    let ingress: Vec<_> = addresses.iter().map(|address| json!({ "ip": address, "ipMode": "VIP" })).collect();
    let ingress = if ingress.is_empty() { Value::Null } else { Value::Array(ingress) };
    json!({
        "metadata": { "uid": uid, "annotations": { annotation::ours(IP_ALLOCATED_FROM_POOL): pool } },
        "status": { "loadBalancer": { "ingress": ingress }, "conditions": [condition] },
    })
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
    annotation::find(annotations, IP_ALLOCATED_FROM_POOL).map(|found| PoolName::new(found.value))
}

fn request(spec: &ServiceSpec, annotations: &BTreeMap<String, String>) -> Result<Request, Invalid> {
    let pool = annotation::find(annotations, ADDRESS_POOL);
    // Sharing that is asked for and not given would look like an address in use.
    if let Some(found) = annotation::find(annotations, ALLOW_SHARED_IP) {
        return Err(Invalid::new(found.field(), "sharing an address is not supported by this version"));
    }
    Ok(Request {
        addresses: addresses(spec, annotations)?,
        pools: pool.into_iter().map(|found| PoolName::new(found.value)).collect(),
        ..Request::of(families(spec)?)
    })
}

/// The families of the Service's cluster addresses, the first one first; the API server has settled them.
fn families(spec: &ServiceSpec) -> Result<Families, Invalid> {
    let named: Vec<_> = match spec.ip_families.as_deref() {
        Some(names @ [_, ..]) => names.iter().filter_map(|name| family_named(name)).collect(),
        Some([]) | None => {
            let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
            addresses.filter_map(|text| text.parse().ok().map(Family::of)).collect()
        }
    };
    let Some(first) = named.first().copied() else {
        return Err(Invalid::new(
            "spec.clusterIPs",
            "the Service has no cluster IP, so its family is unknown",
        ));
    };
    let both = named.iter().any(|family| *family != first);
    Ok(match (spec.ip_family_policy.as_deref(), both) {
        (Some("RequireDualStack"), _) => Families::Both(first),
        (_, true) => Families::Prefer(first),
        (_, false) => Families::One(first),
    })
}

fn family_named(name: &str) -> Option<Family> {
    match name {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

/// The very addresses that are asked for. The field can name one; the annotation one a family. If both are set,
/// the annotation has to contain what the field says.
fn addresses(
    spec: &ServiceSpec,
    annotations: &BTreeMap<String, String>,
) -> Result<BTreeSet<IpAddr>, Invalid> {
    const FIELD: &str = "spec.loadBalancerIP";
    let field = spec.load_balancer_ip.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let field = field.map(|text| parse_address(FIELD, text)).transpose()?;
    let Some(found) = annotation::find(annotations, LOAD_BALANCER_IPS) else {
        return Ok(field.into_iter().collect());
    };
    let listed = parse_list(&found.field(), found.value)?;
    match field {
        Some(one) if !listed.contains(&one) => {
            Err(Invalid::new(FIELD, format!("{one} contradicts {}: {}", found.field(), found.value)))
        }
        Some(_) | None => Ok(listed),
    }
}

fn parse_list(field: &str, text: &str) -> Result<BTreeSet<IpAddr>, Invalid> {
    let listed: Vec<_> =
        text.split(',').map(|one| parse_address(field, one.trim())).collect::<Result<_, _>>()?;
    let families: BTreeSet<_> = listed.iter().map(|address| Family::of(*address)).collect();
    if families.len() == listed.len() {
        Ok(listed.into_iter().collect())
    } else {
        Err(Invalid::new(field, format!("{text:?} names more than one address of a family")))
    }
}

fn parse_address(field: &str, text: &str) -> Result<IpAddr, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("{text:?} is not an IP address")))
}

#[cfg(test)]
mod tests;
