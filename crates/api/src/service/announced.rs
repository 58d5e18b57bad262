//! What an announcing node has to know of a Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use announce::{Backend, Protocol, Sharing, TrafficPolicy};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use names::PoolName;
use serde::Deserialize;

use super::{held, held_from, ingress, is_ours};
use crate::annotation::{self, ALLOW_SHARED_IP};
use crate::condition::ALLOCATED;

/// What the controller writes while a Service moves from some addresses to others.
const MOVING: &str = "moving";
/// How Services of `externalTrafficPolicy: Local` share an address.
const SHARE_LOCAL: &str = "share-local";

type Annotations = BTreeMap<String, String>;

/// What an announcing node has to know of a Service that is ours.
///
/// Annotations that mean nothing count as absent: the controller refuses them by name.
pub fn announced(service: &Service, class: Option<&str>) -> Option<announce::Service> {
    let spec = service.spec.as_ref().filter(|_| is_ours(service, class))?;
    let none = BTreeMap::new();
    let annotations = service.metadata.annotations.as_ref().unwrap_or(&none);
    Some(announce::Service {
        uid: service.metadata.uid.clone().unwrap_or_default(),
        labels: service.metadata.labels.clone().unwrap_or_default(),
        addresses: addresses(service, annotations),
        allocated_since: allocated_since(service),
        policy: policy(spec),
        sharing: sharing(spec, annotations),
    })
}

fn policy(spec: &ServiceSpec) -> TrafficPolicy {
    match spec.external_traffic_policy.as_deref() {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    }
}

/// The parts of a move that say under which pool its old addresses are announced.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Moving {
    from: BTreeSet<IpAddr>,
    from_pool: String,
}

fn addresses(service: &Service, annotations: &Annotations) -> BTreeMap<IpAddr, Option<PoolName>> {
    let pool = held_from(annotations);
    let moving = annotations.get(&annotation::ours(MOVING));
    let moving: Option<Moving> = moving.and_then(|text| serde_json::from_str(text).ok());
    let origin = |address: &IpAddr| match &moving {
        Some(moving) if moving.from.contains(address) => Some(PoolName::new(&moving.from_pool)),
        Some(_) | None => pool.clone(),
    };
    held(&ingress(service)).into_iter().map(|address| (address, origin(&address))).collect()
}

fn allocated_since(service: &Service) -> Option<i64> {
    let conditions = service.status.as_ref().and_then(|status| status.conditions.as_ref());
    let allocated = conditions.into_iter().flatten();
    let mut allocated = allocated.filter(|one| one.type_ == ALLOCATED && one.status == "True");
    allocated.next().map(|condition| condition.last_transition_time.0.as_second())
}

fn sharing(spec: &ServiceSpec, annotations: &Annotations) -> Option<Sharing> {
    let key = annotation::find(annotations, ALLOW_SHARED_IP)?.value.to_owned();
    let backend = match annotation::find(annotations, SHARE_LOCAL).map(|found| found.value) {
        Some("any") => Backend::LocalToAny,
        Some("all") => Backend::LocalToAll,
        Some(_) => return None,
        None => backend(spec),
    };
    let ports = spec.ports.iter().flatten().filter_map(port).collect();
    Some(Sharing { key, ports, backend })
}

fn backend(spec: &ServiceSpec) -> Backend {
    match (policy(spec), spec.selector.as_ref().filter(|labels| !labels.is_empty())) {
        (TrafficPolicy::Cluster, _) => Backend::Cluster,
        (TrafficPolicy::Local, Some(labels)) => Backend::Local(labels.clone()),
        (TrafficPolicy::Local, None) => Backend::Unselected,
    }
}

fn port(port: &ServicePort) -> Option<(Protocol, u16)> {
    let protocol = match port.protocol.as_deref() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    Some((protocol, u16::try_from(port.port).ok()?))
}

#[cfg(test)]
mod tests;
