//! Objects of the cluster as far as the controller looks at them.

use std::fmt;

use api::{
    BgpAdvertisement, BgpPeer, Invalid, IpAddressPool, IpAddressPoolStatus, L2Advertisement, LoadBalancer,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

/// The kinds that are watched. Nothing is decided until each of them was listed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    Pool,
    L2Advertisement,
    BgpAdvertisement,
    BgpPeer,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Service, Self::Pool, Self::L2Advertisement, Self::BgpAdvertisement, Self::BgpPeer];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Service => "Service",
            Self::Pool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
        })
    }
}

/// A Service of any type: one that stops being a LoadBalancer has to be cleaned, and a watch that selects the
/// type would only say that it is gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenService {
    pub(crate) uid: String,
    /// `metadata.resourceVersion`
    pub(crate) version: u64,
    pub(crate) created: Timestamp,
    pub(crate) standing: Standing,
}

/// What a Service is to this controller.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// A LoadBalancer of our class.
    Ours(LoadBalancer),
    /// No LoadBalancer, but it still carries what a controller of ours wrote when it was one.
    Marked,
    /// None of our business, among these every LoadBalancer of another class.
    Other,
}

impl SeenService {
    /// A Service as it concerns the controller of this `--lb-class`.
    pub(crate) fn project(service: &Service, class: Option<&str>) -> Self {
        Self {
            uid: service.uid().unwrap_or_default(),
            version: cluster::version(service.metadata.resource_version.as_deref()),
            created: service.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            standing: match LoadBalancer::parse(service, class) {
                Some(ours) => Standing::Ours(unless_headless(ours, service)),
                None if is_load_balancer(service) => Standing::Other,
                None if is_marked(service) => Standing::Marked,
                None => Standing::Other,
            },
        }
    }
}

fn is_load_balancer(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"))
}

fn is_marked(service: &Service) -> bool {
    let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == api::condition::ALLOCATED)
        || service.annotations().contains_key("ferritelb.io/ip-allocated-from-pool")
}

fn unless_headless(mut ours: LoadBalancer, service: &Service) -> LoadBalancer {
    let cluster_ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    if cluster_ip == Some("None") {
        let why = "None: kube-proxy does not serve a headless Service, so it gets no address";
        ours.request = Err(Invalid::new("spec.clusterIP", why));
    }
    ours
}

/// A custom resource: what it means, or which of its fields means nothing; and what stands in its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenObject<V, S> {
    pub(crate) generation: Option<i64>,
    pub(crate) meaning: Result<V, Invalid>,
    /// Unknown where the object could not be decoded.
    pub(crate) status: Option<S>,
}

/// An IPAddressPool.
pub(crate) type SeenPool = SeenObject<ipam::Pool, IpAddressPoolStatus>;

/// A kind of which the controller only says whether it is valid.
pub(crate) type SeenVerdict = SeenObject<(), Vec<Condition>>;

impl<V, S> SeenObject<V, S> {
    /// An object that could not even be decoded.
    pub(crate) fn garbage(why: String) -> Self {
        Self { generation: None, meaning: Err(Invalid::new("spec", why)), status: None }
    }
}

pub(crate) fn pool(pool: &IpAddressPool) -> SeenPool {
    SeenObject {
        generation: pool.metadata.generation,
        meaning: pool.parse().map(|meaning| meaning.pool),
        status: Some(pool.status.clone().unwrap_or_default()),
    }
}

pub(crate) fn l2_advertisement(object: &L2Advertisement) -> SeenVerdict {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    verdict(object.metadata.generation, object.spec.parse().map(drop), conditions)
}

pub(crate) fn bgp_advertisement(object: &BgpAdvertisement) -> SeenVerdict {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    verdict(object.metadata.generation, object.spec.parse().map(drop), conditions)
}

pub(crate) fn bgp_peer(object: &BgpPeer) -> SeenVerdict {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    verdict(object.metadata.generation, object.spec.parse().map(drop), conditions)
}

fn verdict(
    generation: Option<i64>,
    meaning: Result<(), Invalid>,
    conditions: Option<Vec<Condition>>,
) -> SeenVerdict {
    SeenObject { generation, meaning, status: Some(conditions.unwrap_or_default()) }
}
