//! Decides what this node announces, from one snapshot of the cluster.
//!
//! The unit is the *address*, never the Service: one election per address, for all Services that share it
//! ([`View::unit`]). Where Services show one address that may not share it, it is announced for the one that was
//! known first. [`plan`] is a plain function of the
//! [`View`]; the same view gives the same answer on every node, without a word exchanged. A change to the view
//! says which addresses it [`Touched`], so that the work is proportional to the change.
//!
//! Of an L2 address it says who *may* answer for it, and in which order ([`Ballot`]); who does is a matter of who is
//! alive, which is decided elsewhere and faster than any list of nodes can tell.
//!
//! [`place`] says which of them is to be the one: for new addresses the node that has the fewest, and from then on
//! the same one, unless there is a [`Reason`].
//!
//! [`probers`] says who finds out beforehand whether an address is free.
//!
//! It knows no time, no sockets and no Kubernetes.

mod advertisement;
mod ballot;
mod election;
mod eligibility;
mod holders;
mod place;
mod plan;
mod pools;
mod probing;
mod sharing;
mod silence;
mod unit;
mod view;

pub use advertisement::{
    BgpAdvertisement, Interfaces, L2Advertisement, Pools, Preempt, Preference, Rebalance,
};
pub use ballot::{Ballot, Placement};
pub use election::ranking;
pub use place::{Arrival, Load, Reason, Verdict, could_be_on, place, rebalance};
pub use plan::{AddressPlan, Route, plan};
pub use probing::{has_segment, probers};
pub use sharing::{Backend, Protocol, Sharing};
pub use silence::Silence;
pub use view::{
    ControlPlane, Departure, Endpoints, Exclusion, Families, Family, Node, Peer, Pool, Reach, Readiness,
    Service, Touched, TrafficPolicy, Usable, View,
};
