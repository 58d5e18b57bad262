//! Custom resources, annotations and conditions: the only place where a Kubernetes string becomes a domain value.
//!
//! It decides what a manifest means, or says which field means nothing ([`Invalid`]). A spec is destructured
//! whole, so that a field cannot be accepted and ignored. It never talks to the API server and knows no time.
//!
//! The CRD schemas hold what one object can say about itself; [`crds`] gives them, and `config/crd/` has them as
//! files. What needs several objects is a condition that the controller writes.

#![expect(
    clippy::duplicated_attributes,
    reason = "it takes the types of two printer columns for one attribute"
)]

pub mod address_owner;
mod address_quota;
mod address_reservation;
mod addresses;
mod advertisement;
mod annotation;
mod bgp_peer;
pub mod condition;
mod crds;
mod data_path;
mod duration;
mod endpoint_slice;
mod ferrite_config;
pub mod heartbeat_keys;
mod invalid;
mod ip_address_pool;
mod layer2;
pub mod network;
pub mod node;
mod schema;
mod selector;
pub mod service;
pub mod speaker_status;
mod timestamp;
mod tolerant;

pub use address_owner::{AddressOwner, AddressOwnerSpec, AddressOwnerStatus, Answered, Placed};
pub use address_quota::{AddressQuota, AddressQuotaSpec, AddressQuotaStatus, AddressQuotaUsage, Per};
pub use address_reservation::{
    AddressReservation, AddressReservationSpec, AddressReservationStatus, HeldAddress, ReclaimPolicy,
    ReservationMeaning, ReservedFor, ServiceSelector,
};
pub use advertisement::{
    AdvertisementStatus, BgpAdvertisement, BgpAdvertisementSpec, L2Advertisement, L2AdvertisementSpec,
    PreferredNodes, Rebalance,
};
pub use bgp_peer::{BgpPeer, BgpPeerSpec, BgpPeerStatus, Distance, Peer};
pub use condition::Condition;
pub use crds::crds;
pub use data_path::{DataPath, DataPathSpec};
pub use endpoint_slice::{SliceEndpoints, SliceName, Slices};
pub use ferrite_config::{FerriteConfig, FerriteConfigSpec, FerriteConfigStatus, MovesSpec, Settings};
pub use invalid::Invalid;
pub use ip_address_pool::{
    Candidates, Hold, IpAddressPool, IpAddressPoolSpec, IpAddressPoolStatus, NamespaceHolds, OnRemove,
    PoolMeaning, Probe, Quarantined, ServiceAllocation,
};
pub use layer2::{ControlPlaneNodes, Heartbeat, HeartbeatSpec, Layer2, Layer2Spec};
pub use service::LoadBalancer;
pub use speaker_status::{BgpSession, Interface, Network, Probed, SpeakerState, SpeakerStatus, Unheard};
