//! Objects of the cluster as far as the controller looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use api::address_owner::rebalance_asked;
use api::network::{NodeAddresses, service_ranges};
use api::{
    AddressQuota, AddressQuotaStatus, AddressReservation, AddressReservationStatus, BgpAdvertisement,
    BgpPeer, FerriteConfig, Invalid, L2Advertisement, ReservationMeaning, Settings, SliceEndpoints,
    SpeakerStatus,
};
use ipam::{Blocked, Quota};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};
use names::{Labels, Mac, NodeName};

pub(crate) use self::owner::{SeenOwner, owner};
pub(crate) use self::pool::{Recorded, SeenPool, Version, Wish, pool};
pub(crate) use self::service::{Ours, SeenService, Standing};

mod owner;
mod pool;
mod service;

/// The kinds that are watched. Nothing is decided until each of them was listed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Service,
    EndpointSlice,
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
    AddressOwner,
}

impl Kind {
    pub(crate) const ALL: [Self; 14] = [
        Self::Service,
        Self::EndpointSlice,
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
        Self::AddressOwner,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
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
            Self::AddressOwner => "AddressOwner",
        })
    }
}

/// A custom resource: what it means, or which of its fields means nothing; and what stands in its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SeenObject<V, S> {
    /// Unknown where the object could not be decoded, as is the generation.
    pub(crate) uid: Option<String>,
    pub(crate) generation: Option<i64>,
    /// Unknown where the object could not be decoded.
    pub(crate) labels: Option<Labels>,
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
pub(crate) type SeenConfig = Asking<Settings>;

/// An L2Advertisement.
pub(crate) type SeenAdvertisement = Asking<announce::L2Advertisement>;

/// An object that can ask for a rebalance beside what it says for good.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asking<V> {
    /// Nothing: it means nothing, and what it said before goes on.
    pub(crate) said: Option<V>,
    /// When it asked.
    pub(crate) asked: Option<Timestamp>,
    /// Whether all of it is valid.
    pub(crate) verdict: SeenVerdict,
}

impl<V> Asking<V> {
    fn of(object: &impl Resource, said: Result<V, Invalid>, conditions: Option<Vec<Condition>>) -> Self {
        let asked = rebalance_asked(object.annotations());
        let valid = said.as_ref().map(drop).and(asked.as_ref().map(drop)).map_err(Invalid::clone);
        Self {
            said: said.ok(),
            asked: asked.ok().flatten(),
            verdict: SeenObject::of(object, valid, conditions),
        }
    }

    /// An object that could not even be decoded.
    pub(crate) fn garbage(why: String) -> Self {
        Self { said: None, asked: None, verdict: SeenObject::garbage(why) }
    }
}

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
            labels: Some(object.labels().clone()),
            meaning,
            status: Some(status.unwrap_or_default()),
        }
    }

    /// An object that could not even be decoded.
    pub(crate) fn garbage(why: String) -> Self {
        Self {
            uid: None,
            generation: None,
            labels: None,
            meaning: Err(Invalid::new("spec", why)),
            status: None,
        }
    }

    /// Whether both are of one object, as far as is known: one that was deleted and made again is another.
    pub(crate) fn is_same_object(&self, other: &Self) -> bool {
        self.uid.is_none() || other.uid.is_none() || self.uid == other.uid
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
    Asking::of(object, object.parse(), object.status.clone().map(|status| status.conditions))
}

pub(crate) fn l2_advertisement(object: &L2Advertisement) -> SeenAdvertisement {
    let conditions = object.status.as_ref().map(|status| status.conditions.clone());
    Asking::of(object, object.spec.parse(), conditions)
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

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenNode {
    pub(crate) addresses: SeenAddresses,
    /// What it may announce.
    pub(crate) announced: announce::Node,
}

/// Which addresses are a node's own, and which its pods have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeenAddresses {
    pub(crate) own: BTreeSet<IpAddr>,
    pub(crate) pods: BTreeSet<IpNetwork>,
}

pub(crate) fn node(object: &NodeAddresses) -> SeenNode {
    let addresses = SeenAddresses { own: object.own().collect(), pods: object.pod_ranges().collect() };
    SeenNode { addresses, announced: object.announced() }
}

/// A ServiceCIDR: the cluster's ranges for Services.
pub(crate) fn service_cidr(object: &ServiceCIDR) -> BTreeSet<IpNetwork> {
    service_ranges(object).into_iter().collect()
}

/// An EndpointSlice: where a Service's usable endpoints are, if it is of one.
pub(crate) fn slice(object: &EndpointSlice) -> Option<SliceEndpoints> {
    SliceEndpoints::parse(object)
}

/// A SpeakerStatus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SeenSpeaker {
    /// The addresses that its node knows not to be free.
    pub(crate) blocked: BTreeMap<IpAddr, Blocked>,
    /// The subnets that its node is connected to.
    pub(crate) subnets: BTreeSet<IpNetwork>,
    /// What it has found of addresses that no Service has: where one is, or that nobody answers for it.
    pub(crate) probed: BTreeMap<IpAddr, Option<Mac>>,
}

pub(crate) fn speaker(object: &SpeakerStatus) -> SeenSpeaker {
    let node = NodeName::new(object.name_any());
    let Some(status) = &object.status else { return SeenSpeaker::default() };
    SeenSpeaker { blocked: status.blocked(&node), subnets: status.subnets(), probed: status.probed() }
}
