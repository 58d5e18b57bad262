use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::ids::{Asn, Family, HoldTime, RouterId};
use crate::wire::{Communication, ErrorCode, Neighbour, NextHop, Notification};

/// One peer, as the operator wants it. A change to any of this is another [`crate::Peer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Our autonomous system.
    pub local_asn: Asn,
    /// The peer's; equal to ours on an internal session.
    pub peer_asn: Asn,
    /// Our BGP Identifier.
    pub router_id: RouterId,
    /// The hold time that we offer; none offers zero, and then no session has a hold or keepalive timer.
    pub hold_time: Option<HoldTime>,
    /// How often we say that we are there, at least a second; a third of the agreed hold time where that is
    /// less, or if unset.
    pub keepalive_time: Option<Duration>,
    /// The longest wait between two attempts to connect.
    pub connect_retry_time: Duration,
    /// The families that we offer.
    pub families: BTreeSet<Family>,
}

impl PeerConfig {
    pub(crate) fn neighbour(&self) -> Neighbour {
        if self.local_asn == self.peer_asn { Neighbour::Internal } else { Neighbour::External }
    }
}

/// Which side opened a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// We did.
    Dialed,
    /// The peer did.
    Accepted,
}

impl Role {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Dialed => Self::Accepted,
            Self::Accepted => Self::Dialed,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dialed => "dialed",
            Self::Accepted => "accepted",
        })
    }
}

/// Our end of a TCP connection: the next hops that may be announced on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LocalEnd {
    /// For IPv4 routes; without it none are announced.
    pub v4: Option<Ipv4Addr>,
    /// For IPv6 routes, not link-local; without it none are announced.
    pub v6: Option<Ipv6Addr>,
    /// To go with `v6` if, and only if, the peer is on the same link (RFC 2545 §3).
    pub v6_link_local: Option<Ipv6Addr>,
}

impl LocalEnd {
    pub(crate) fn next_hop(&self, family: Family) -> Option<NextHop> {
        match family {
            Family::Ipv4Unicast => self.v4.map(NextHop::V4),
            Family::Ipv6Unicast => {
                self.v6.map(|global| NextHop::V6 { global, link_local: self.v6_link_local })
            }
        }
    }
}

/// What a route says beside its prefix and next hop.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// LOCAL_PREF toward internal peers, 100 if unset; external peers never see it (RFC 4271 §5.1.5).
    pub local_pref: Option<u32>,
}

/// How a peer is left for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shutdown {
    /// TCP ends and nothing is said.
    Silent,
    /// The peer is told why.
    Cease(Cease),
}

/// Why a session ends that nothing was wrong with (RFC 4486).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cease {
    /// 6/2: the speaker goes away.
    AdministrativeShutdown(Communication),
    /// 6/3: the peer is no longer configured.
    PeerDeconfigured,
    /// 6/4: somebody asked for a fresh start.
    AdministrativeReset(Communication),
    /// 6/6: a parameter of this peer is different now.
    OtherConfigurationChange,
}

impl Cease {
    pub(crate) fn notification(&self) -> Notification {
        match self {
            Self::AdministrativeShutdown(text) => {
                Notification::about(ErrorCode::ADMINISTRATIVE_SHUTDOWN, &text.data())
            }
            Self::PeerDeconfigured => Notification::bare(ErrorCode::PEER_DECONFIGURED),
            Self::AdministrativeReset(text) => {
                Notification::about(ErrorCode::ADMINISTRATIVE_RESET, &text.data())
            }
            Self::OtherConfigurationChange => Notification::bare(ErrorCode::OTHER_CONFIGURATION_CHANGE),
        }
    }
}
