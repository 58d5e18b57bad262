//! Names things, and picks them by label.
//!
//! The identities that every decision is about (a node, a Service, a pool, a peer) and the label selectors
//! that choose among them. Plain values: nothing here knows Kubernetes, time or the network.

mod ids;
mod labels;

pub use ids::{AdvertisementName, NodeName, PeerName, PoolName, QuotaName, ReservationName, ServiceKey};
pub use labels::{Labels, Operator, Requirement, Selector};
