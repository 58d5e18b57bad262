use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{PeerConfig, Role};
use crate::conn::Failure;
use crate::ids::{Asn, Family, HoldTime, RouterId};
use crate::status::{RouteRefreshCapability, Session};
use crate::wire::{AsNumbers, Capabilities, Dialect, ErrorCode, Neighbour, Notification, Open};

/// What both OPENs together have settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) router_id: RouterId,
    pub(crate) hold_time: Option<HoldTime>,
    pub(crate) keepalive_time: Option<Duration>,
    pub(crate) dialect: Dialect,
    pub(crate) route_refresh: RouteRefreshCapability,
}

/// What we say that we can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// All of it.
    Full,
    /// Nothing, to a peer that has refused optional parameters (RFC 5492 §3).
    Bare,
}

impl Offer {
    /// Our OPEN.
    pub(crate) fn open(self, config: &PeerConfig) -> Open {
        let capabilities = match self {
            Self::Full => Capabilities {
                families: Some(config.families.clone()),
                route_refresh: true,
                asn: Some(config.local_asn.get()),
            },
            Self::Bare => Capabilities::default(),
        };
        let my_as = config.local_asn.two_octets();
        Open { my_as, hold_time: config.hold_time, router_id: config.router_id, capabilities }
    }
}

impl Agreed {
    /// What the peer's OPEN and ours amount to, or why they do not go together.
    pub(crate) fn settle(config: &PeerConfig, offer: Offer, open: &Open) -> Result<Self, Failure> {
        check(config, open)?;
        let hold_time = HoldTime::agree(config.hold_time, open.hold_time);
        let dialect = Dialect {
            as_numbers: as_numbers(offer, &open.capabilities),
            neighbour: config.neighbour(),
            families: families(config, offer, &open.capabilities),
        };
        let route_refresh = match open.capabilities.route_refresh {
            true => RouteRefreshCapability::Announced,
            false => RouteRefreshCapability::Absent,
        };
        let keepalive_time = keepalive_time(config.keepalive_time, hold_time);
        Ok(Self { router_id: open.router_id, hold_time, keepalive_time, dialect, route_refresh })
    }

    pub(crate) fn session(&self, role: Role) -> Session {
        Session {
            role,
            router_id: self.router_id,
            hold_time: self.hold_time,
            keepalive_time: self.keepalive_time,
            families: self.dialect.families.clone(),
            as_numbers: self.dialect.as_numbers,
            route_refresh: self.route_refresh,
        }
    }
}

/// RFC 4271 §6.2, as far as it depends on whom we expect.
fn check(config: &PeerConfig, open: &Open) -> Result<(), Failure> {
    if open.asn() != config.peer_asn.get() {
        let why = format!("the peer is in AS {}, configured is AS {}", open.asn(), config.peer_asn);
        return Err(Failure::Refused(Notification::bare(ErrorCode::BAD_PEER_AS), Some(why)));
    }
    // RFC 6286 §2.2: only within an AS must identifiers differ
    if open.router_id == config.router_id && config.neighbour() == Neighbour::Internal {
        let why = format!("the peer has our own router id, {}", open.router_id);
        return Err(Failure::Refused(Notification::bare(ErrorCode::BAD_BGP_IDENTIFIER), Some(why)));
    }
    Ok(())
}

fn as_numbers(offer: Offer, theirs: &Capabilities) -> AsNumbers {
    match (offer, theirs.asn) {
        (Offer::Full, Some(_)) => AsNumbers::FourOctets,
        (Offer::Full, None) | (Offer::Bare, _) => AsNumbers::TwoOctets,
    }
}

/// What both sides offer; a side that does not mention families means IPv4 unicast (RFC 4760 §8).
fn families(config: &PeerConfig, offer: Offer, theirs: &Capabilities) -> BTreeSet<Family> {
    let plain = BTreeSet::from([Family::Ipv4Unicast]);
    let both = match (offer, &theirs.families) {
        (Offer::Full, Some(families)) => families,
        (Offer::Full, None) | (Offer::Bare, _) => &plain,
    };
    config.families.intersection(both).copied().collect()
}

/// The least time between two KEEPALIVEs (RFC 4271 §4.4).
const LEAST_KEEPALIVE_TIME: Duration = Duration::from_secs(1);

/// RFC 4271 §4.4: a third of the hold time is a reasonable maximum.
fn keepalive_time(configured: Option<Duration>, hold_time: Option<HoldTime>) -> Option<Duration> {
    let third = hold_time?.duration() / 3;
    Some(configured.map_or(third, |time| time.max(LEAST_KEEPALIVE_TIME).min(third)))
}

/// Who a speaker is, for the rule below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) router_id: RouterId,
    pub(crate) asn: Asn,
}

/// Of two connections, the one that the speaker with the lower identifier opened has to go (RFC 4271 §6.8);
/// between equal identifiers the AS number decides (RFC 6286 §2.3).
pub(crate) fn collision_loser(ours: Identity, theirs: Identity) -> Role {
    if ours < theirs { Role::Dialed } else { Role::Accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(seconds: u16) -> Option<HoldTime> {
        HoldTime::parse(seconds).unwrap()
    }

    fn identity(id: [u8; 4], asn: u32) -> Identity {
        Identity { router_id: RouterId::parse(id.into()).unwrap(), asn: Asn::parse(asn).unwrap() }
    }

    #[test]
    fn a_keepalive_is_never_rarer_than_a_third_of_the_hold_time() {
        let seconds = |time: u64| Some(Duration::from_secs(time));
        assert_eq!(keepalive_time(None, hold(90)), seconds(30));
        assert_eq!(keepalive_time(seconds(60), hold(90)), seconds(30));
        assert_eq!(keepalive_time(seconds(5), hold(90)), seconds(5));
        assert_eq!(keepalive_time(seconds(5), hold(3)), seconds(1));
        assert_eq!(keepalive_time(seconds(0), hold(9)), seconds(1));
        assert_eq!(keepalive_time(seconds(5), None), None);
    }

    #[test]
    fn both_sides_of_a_collision_drop_the_same_connection() {
        let cases = [
            (identity([10, 0, 0, 2], 65001), identity([10, 0, 0, 10], 65000)),
            (identity([10, 0, 0, 10], 65000), identity([200, 0, 0, 1], 65001)),
            (identity([10, 0, 0, 1], 65000), identity([10, 0, 0, 1], 4_200_000_000)),
        ];
        for (lower, higher) in cases {
            assert_eq!(collision_loser(lower, higher), Role::Dialed);
            assert_eq!(collision_loser(higher, lower), Role::Accepted);
        }
    }
}
