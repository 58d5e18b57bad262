use std::fmt;

use names::{AdvertisementName, NodeName};

/// Why this node does not announce an address. Ordered: of several reasons the greatest is the nearest to
/// announcing, and the one worth telling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Silence {
    /// No Service holds the address.
    NoService,
    /// No pool has it.
    NoPool,
    /// No advertisement of this kind selects the pool and the Service.
    NoAdvertisement,
    /// Advertisements do, but none from this node.
    NodeNotSelected,
    /// The node list does not have this node.
    NodeUnknown,
    /// The node carries the label that keeps it from announcing.
    NodeExcluded,
    /// The node's pod network does not work.
    NodeNetworkUnavailable,
    /// The node is being drained or shut down, and others are not.
    NodeLeaving,
    /// The node is not ready.
    NodeNotReady,
    /// No endpoint could serve it anywhere.
    NoUsableEndpoint,
    /// `externalTrafficPolicy: Local`, and no endpoint on this node.
    NoLocalEndpoint,
    /// Another node answers for it.
    NotOwner(NodeName),
    /// No peer on this node carries this address family.
    NoPeer,
    /// Two advertisements want different attributes for the same peer.
    ConflictingAdvertisements(AdvertisementName, AdvertisementName),
}

impl Silence {
    /// The reason as a word: in conditions, Events and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoService => "NoService",
            Self::NoPool => "NoPool",
            Self::NoAdvertisement => "NoAdvertisement",
            Self::NodeNotSelected => "NodeNotSelected",
            Self::NodeUnknown => "NodeUnknown",
            Self::NodeExcluded => "NodeExcluded",
            Self::NodeNetworkUnavailable => "NodeNetworkUnavailable",
            Self::NodeLeaving => "NodeLeaving",
            Self::NodeNotReady => "NodeNotReady",
            Self::NoUsableEndpoint => "NoUsableEndpoint",
            Self::NoLocalEndpoint => "NoLocalEndpoint",
            Self::NotOwner(_) => "NotOwner",
            Self::NoPeer => "NoPeer",
            Self::ConflictingAdvertisements(..) => "ConflictingAdvertisements",
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => out.write_str("no Service holds the address"),
            Self::NoPool => out.write_str("no IPAddressPool has the address"),
            Self::NoAdvertisement => out.write_str("no advertisement selects the pool and the Service"),
            Self::NodeNotSelected => out.write_str("no advertisement selects this node"),
            Self::NodeUnknown => out.write_str("the node list does not have this node"),
            Self::NodeExcluded => {
                out.write_str("the node is labelled node.kubernetes.io/exclude-from-external-load-balancers")
            }
            Self::NodeNetworkUnavailable => out.write_str("the node's condition NetworkUnavailable is True"),
            Self::NodeLeaving => out.write_str("the node is being drained, shut down or deleted"),
            Self::NodeNotReady => out.write_str("the node is not ready"),
            Self::NoUsableEndpoint => out.write_str("no endpoint is ready or serving"),
            Self::NoLocalEndpoint => out
                .write_str("externalTrafficPolicy is Local and no endpoint on this node is ready or serving"),
            Self::NotOwner(owner) => write!(out, "node {owner} answers for it"),
            Self::NoPeer => out.write_str("no BGPPeer of this node carries the address family"),
            Self::ConflictingAdvertisements(one, other) => {
                write!(out, "BGPAdvertisements {one} and {other} want different attributes for one peer")
            }
        }
    }
}
