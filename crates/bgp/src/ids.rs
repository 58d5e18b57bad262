use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::time::Duration;

use ipnetwork::IpNetwork;

/// Stands in two octets for an AS number that needs four (RFC 6793 §9).
pub(crate) const AS_TRANS: u16 = 23456;

/// An autonomous system number, neither 0 (RFC 7607) nor AS_TRANS, 23456 (RFC 6793 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asn(u32);

/// The number may not stand for an autonomous system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AS number {0} is reserved")]
pub struct ReservedAsn(pub u32);

impl Asn {
    /// Refuses 0 and 23456.
    pub const fn parse(number: u32) -> Result<Self, ReservedAsn> {
        match number {
            0 | 23456 => Err(ReservedAsn(number)),
            _ => Ok(Self(number)),
        }
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// As a speaker reads it that knows two-octet numbers only.
    pub(crate) fn two_octets(self) -> u16 {
        u16::try_from(self.0).unwrap_or(AS_TRANS)
    }
}

impl fmt::Display for Asn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A BGP Identifier: any four octets but zero (RFC 6286 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouterId(u32);

/// 0.0.0.0 identifies nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a router id of 0.0.0.0 is not allowed")]
pub struct ZeroRouterId;

impl RouterId {
    /// Refuses 0.0.0.0.
    pub fn parse(id: Ipv4Addr) -> Result<Self, ZeroRouterId> {
        if id.is_unspecified() { Err(ZeroRouterId) } else { Ok(Self(id.into())) }
    }

    /// In the form of an address.
    pub fn address(self) -> Ipv4Addr {
        self.0.into()
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address().fmt(f)
    }
}

/// How long silence is borne: 3 to 65535 seconds (RFC 4271 §4.2). "For ever", zero on the wire, is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldTime(NonZeroU16);

/// One or two seconds may not be a hold time (RFC 4271 §6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hold time of 1 or 2 seconds is not allowed")]
pub struct UnacceptableHoldTime;

impl HoldTime {
    /// From seconds; zero is `None`: no hold and no keepalive timer.
    pub fn parse(seconds: u16) -> Result<Option<Self>, UnacceptableHoldTime> {
        match seconds {
            1 | 2 => Err(UnacceptableHoldTime),
            _ => Ok(NonZeroU16::new(seconds).map(Self)),
        }
    }

    /// The smaller of both offers; none if one side wants none (RFC 4271 §4.2).
    pub fn agree(ours: Option<Self>, theirs: Option<Self>) -> Option<Self> {
        // Not `zip` and `map`: inlined, rustc 1.95 to 1.99 makes "some" of these where one is none.
        Some(ours?.min(theirs?))
    }

    /// In seconds.
    pub const fn seconds(self) -> u16 {
        self.0.get()
    }

    /// As a time span.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.get().into())
    }
}

/// Which routes a session carries (RFC 4760: AFI 1 or 2, SAFI 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// The family that carries this prefix.
    pub const fn of(prefix: &IpNetwork) -> Self {
        match prefix {
            IpNetwork::V4(_) => Self::Ipv4Unicast,
            IpNetwork::V6(_) => Self::Ipv6Unicast,
        }
    }

    pub(crate) const fn parse(afi: u16, safi: u8) -> Option<Self> {
        match (afi, safi) {
            (1, 1) => Some(Self::Ipv4Unicast),
            (2, 1) => Some(Self::Ipv6Unicast),
            _ => None,
        }
    }

    pub(crate) const fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    pub(crate) const fn safi(self) -> u8 {
        1
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "ipv4-unicast",
            Self::Ipv6Unicast => "ipv6-unicast",
        })
    }
}

/// The prefix without its host bits, since these do not travel.
pub(crate) fn masked(prefix: IpNetwork) -> IpNetwork {
    let network: IpAddr = prefix.network();
    IpNetwork::new(network, prefix.prefix()).unwrap_or(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(seconds: u16) -> Option<HoldTime> {
        HoldTime::parse(seconds).unwrap()
    }

    #[test]
    fn reserved_numbers_are_no_asn() {
        assert_eq!((Asn::parse(0), Asn::parse(23456)), (Err(ReservedAsn(0)), Err(ReservedAsn(23456))));
        assert_eq!(Asn::parse(4_200_000_001).map(Asn::two_octets), Ok(23456));
        assert_eq!(Asn::parse(65535).map(Asn::two_octets), Ok(65535));
        assert_eq!(RouterId::parse(Ipv4Addr::UNSPECIFIED), Err(ZeroRouterId));
    }

    #[test]
    fn the_smaller_hold_time_is_agreed_and_zero_means_none() {
        assert_eq!(
            (HoldTime::parse(1), HoldTime::parse(2)),
            (Err(UnacceptableHoldTime), Err(UnacceptableHoldTime))
        );
        assert_eq!(HoldTime::agree(hold(90), hold(3)), hold(3));
        assert_eq!(HoldTime::agree(hold(3), hold(90)), hold(3));
        assert_eq!(HoldTime::agree(hold(90), hold(0)), None);
        assert_eq!(HoldTime::agree(hold(0), hold(90)), None);
        assert_eq!(hold(65535).map(HoldTime::duration), Some(Duration::from_secs(65535)));
    }

    #[test]
    fn router_ids_compare_as_unsigned_numbers() {
        let id = |text: &str| RouterId::parse(text.parse().unwrap()).unwrap();
        assert!(id("200.0.0.1") > id("10.0.0.200"));
    }

    #[test]
    fn host_bits_do_not_make_another_prefix() {
        let masked = |text: &str| masked(text.parse().unwrap()).to_string();
        assert_eq!(
            (masked("10.1.2.3/8"), masked("2001:db8::1/32")),
            ("10.0.0.0/8".into(), "2001:db8::/32".into())
        );
    }
}
