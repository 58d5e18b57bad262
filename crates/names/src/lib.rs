//! Names things, and picks them by label.
//!
//! The identities that every decision is about (a node, a Service, a pool, a peer, a station on a link) and the label selectors
//! that choose among them. Plain values: nothing here knows Kubernetes, time or the network.

mod ids;
mod labels;
mod mac;

pub use ids::{AdvertisementName, NodeName, PeerName, PoolName, QuotaName, ReservationName, ServiceKey};
pub use labels::{Labels, Operator, Requirement, Selector};
pub use mac::{InvalidMac, Mac};
