//! Objects of the cluster as far as the controller looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use api::network::{NodeAddresses, service_ranges};
use api::{
    AddressQuota, AddressQuotaStatus, AddressReservation, AddressReservationStatus, BgpAdvertisement,
    BgpPeer, FerriteConfig, Invalid, L2Advertisement, ReservationMeaning, Settings, SpeakerStatus,
};
use ipam::{Blocked, Quota};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use names::{Labels, NodeName};

pub(crate) use self::pool::{Recorded, SeenPool, Version, Wish, pool};
pub(crate) use self::service::{SeenService, Standing};

mod pool;
mod service;

/// The kinds that are watched. Nothing is decided until each of them was listed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    Namespace,
    Node,
    ServiceCidr,
    SpeakerStatus,
    Pool,
    Quota,
    Reservation,
    Config,
    L2Advertisement,
    BgpAdvertisement,
    BgpPeer,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Service,
        Self::Namespace,
        Self::Node,
        Self::ServiceCidr,
        Self::SpeakerStatus,
        Self::Pool,
        Self::Quota,
        Self::Reservation,
        Self::Config,
        Self::L2Advertisement,
        Self::BgpAdvertisement,
        Self::BgpPeer,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Service => "Service",
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::ServiceCidr => "ServiceCIDR",
            Self::SpeakerStatus => "SpeakerStatus",
            Self::Pool => "IPAddressPool",
            Self::Quota => "AddressQuota",
            Self::Reservation => "AddressReservation",
            Self::Config => "FerriteConfig",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BgpPeer => "BGPPeer",
        })
    }
}

/// A custom resource: what it means, or which of its fields means nothing; and what stands in its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenObject<V, S> {
    /// Unknown where the object could not be decoded, as is the generation.
    pub(crate) uid: Option<String>,
    pub(crate) generation: Option<i64>,
    pub(crate) meaning: Result<V, Invalid>,
    /// Unknown where the object could not be decoded.
    pub(crate) status: Option<S>,
}

/// An AddressQuota.
pub(crate) type SeenQuota = SeenObject<Quota, AddressQuotaStatus>;

/// An AddressReservation. What its status records of it stands there and not in its meaning.
pub(crate) type SeenReservation = SeenObject<ReservationMeaning, RecordedReservation>;

/// What stands in an AddressReservation's status.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RecordedReservation {
    pub(crate) status: AddressReservationStatus,
    pub(crate) chosen: BTreeSet<IpAddr>,
    pub(crate) released: BTreeSet<IpAddr>,
}

/// A FerriteConfig.
pub(crate) type SeenConfig = SeenObject<Settings, Vec<Condition>>;

/// A kind of which the controller only says whether it is valid.
pub(crate) type SeenVerdict = SeenObject<(), Vec<Condition>>;

impl<V, S> SeenObject<V, S> {
    fn of(object: &impl Resource, meaning: Result<V, Invalid>, status: Option<S>) -> Self
    where
        S: Default,
    {
        Self {
            uid: object.meta().uid.clone(),
            generation: object.meta().generation,
            meaning,
            status: Some(status.unwrap_or_default()),
        }
    }

    /// An object that could not even be decoded.
    pub(crate) fn garbage(why: String) -> Self {
        Self { uid: None, generation: None, meaning: Err(Invalid::new("spec", why)), status: None }
    }

    /// Whether both are of one object, as far as is known: one that was deleted and made again is another.
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        self.uid.is_none() || other.uid.is_none() || self.uid == other.uid
    }

    /// The same without what it means.
    pub(crate) fn verdict(self) -> SeenObject<(), S> {
        let Self { uid, generation, meaning, status } = self;
        SeenObject { uid, generation, meaning: meaning.map(drop), status }
    }
}

pub(crate) fn quota(object: &AddressQuota) -> SeenQuota {
    SeenObject::of(object, object.spec.parse(), object.status.clone())
}

pub(crate) fn reservation(object: &AddressReservation) -> SeenReservation {
    let mut recorded =
        RecordedReservation { status: object.status.clone().unwrap_or_default(), ..Default::default() };
    let meaning = object.parse().map(|mut meaning| {
        recorded.chosen = std::mem::take(&mut meaning.reservation.chosen);
        recorded.released = std::mem::take(&mut meaning.reservation.released);
        meaning
    });
    SeenObject::of(object, meaning, Some(recorded))
}

pub(crate) fn config(object: &FerriteConfig) -> SeenConfig {
    SeenObject::of(object, object.parse(), object.status.clone().map(|status| status.conditions))
}

pub(crate) fn l2_advertisement(object: &L2Advertisement) -> SeenVerdict {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    SeenObject::of(object, object.spec.parse().map(drop), conditions)
}

pub(crate) fn bgp_advertisement(object: &BgpAdvertisement) -> SeenVerdict {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    SeenObject::of(object, object.spec.parse().map(drop), conditions)
}

pub(crate) fn bgp_peer(object: &BgpPeer) -> SeenVerdict {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    SeenObject::of(object, object.spec.parse().map(drop), conditions)
}

/// A Namespace: its labels.
pub(crate) fn namespace(object: &Namespace) -> Labels {
    object.labels().clone()
}

/// A Node: which addresses are its own, and which its pods have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeenNode {
    pub(crate) own: BTreeSet<IpAddr>,
    pub(crate) pods: BTreeSet<IpNetwork>,
}

pub(crate) fn node(object: &NodeAddresses) -> SeenNode {
    SeenNode { own: object.own().collect(), pods: object.pod_ranges().collect() }
}

/// A ServiceCIDR: the cluster's ranges for Services.
pub(crate) fn service_cidr(object: &ServiceCIDR) -> BTreeSet<IpNetwork> {
    service_ranges(object).into_iter().collect()
}

/// A SpeakerStatus: which addresses its node knows not to be free.
pub(crate) fn speaker(object: &SpeakerStatus) -> BTreeMap<IpAddr, Blocked> {
    let node = NodeName::new(object.name_any());
    object.status.as_ref().map(|status| status.blocked(&node)).unwrap_or_default()
}
