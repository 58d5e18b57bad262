//! What an announcing node has to know of a Service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use announce::{Backend, Protocol, Sharing, TrafficPolicy};
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::jiff::Timestamp;
use names::PoolName;

use super::origin::{Origin, conditions};
use super::{is_ours, request};

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
        addresses: addresses(service),
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

fn addresses(service: &Service) -> BTreeMap<IpAddr, Option<PoolName>> {
    let origin = Origin::read(service);
    origin.held.iter().map(|address| (*address, origin.pool_of(*address))).collect()
}

fn allocated_since(service: &Service) -> Option<i64> {
    super::allocated_since(conditions(service)).map(Timestamp::as_second)
}

fn sharing(spec: &ServiceSpec, annotations: &Annotations) -> Option<Sharing> {
    let ipam::Sharing { key, ports, backend } = request::sharing(spec, annotations).ok()??;
    let ports = ports.into_iter().map(|(protocol, port)| (carried(protocol), port));
    Some(Sharing { key, ports: ports.collect(), backend: reached(backend) })
}

const fn carried(protocol: ipam::Protocol) -> Protocol {
    match protocol {
        ipam::Protocol::Tcp => Protocol::Tcp,
        ipam::Protocol::Udp => Protocol::Udp,
        ipam::Protocol::Sctp => Protocol::Sctp,
    }
}

fn reached(backend: ipam::Backend) -> Backend {
    match backend {
        ipam::Backend::Cluster => Backend::Cluster,
        ipam::Backend::Local(labels) => Backend::Local(labels),
        ipam::Backend::Unselected => Backend::Unselected,
        ipam::Backend::LocalToAny => Backend::LocalToAny,
        ipam::Backend::LocalToAll => Backend::LocalToAll,
    }
}

#[cfg(test)]
mod tests;
