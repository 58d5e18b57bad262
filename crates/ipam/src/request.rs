use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use names::{Labels, PoolName};

use crate::{Protocol, Sharing};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// Which families a Service wants, as its ClusterIPs and its `ipFamilyPolicy` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Families {
    /// One address of this family.
    One(Family),
    /// One of each if a pool can, else one, rather of this family (`PreferDualStack`).
    Prefer(Family),
    /// One of each or nothing; this family's address stands first (`RequireDualStack`).
    Both(Family),
}

/// What a Service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The families.
    pub families: Families,
    /// These very addresses, at most one a family; empty leaves the choice to the pools.
    pub addresses: BTreeSet<IpAddr>,
    /// From one of these pools, the first that can; empty leaves the choice to the pools that give out by
    /// themselves.
    pub pools: Vec<PoolName>,
    /// The Service's labels, which pools and reservations may ask for.
    pub labels: Labels,
    /// With whom it would share its addresses.
    pub sharing: Option<Sharing>,
    /// On what it listens, whether it shares or not.
    pub ports: BTreeSet<(Protocol, u16)>,
}

impl Request {
    /// Any addresses of these families, for a Service without labels that shares with nobody.
    pub const fn of(families: Families) -> Self {
        Self {
            families,
            addresses: BTreeSet::new(),
            pools: Vec::new(),
            labels: Labels::new(),
            sharing: None,
            ports: BTreeSet::new(),
        }
    }
}

impl Family {
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl Families {
    pub(crate) const ALL: [Self; 6] = [
        Self::One(Family::V4),
        Self::One(Family::V6),
        Self::Prefer(Family::V4),
        Self::Prefer(Family::V6),
        Self::Both(Family::V4),
        Self::Both(Family::V6),
    ];

    /// The family whose address stands first.
    pub const fn first(self) -> Family {
        match self {
            Self::One(family) | Self::Prefer(family) | Self::Both(family) => family,
        }
    }

    /// Every family that is welcome, the first one first.
    pub(crate) fn wanted(self) -> impl Iterator<Item = Family> + Clone {
        let second = match self {
            Self::One(_) => None,
            Self::Prefer(family) | Self::Both(family) => Some(family.other()),
        };
        std::iter::once(self.first()).chain(second)
    }

    /// Whether an address of this family is welcome.
    pub(crate) fn welcomes(self, family: Family) -> bool {
        self.wanted().any(|wanted| wanted == family)
    }

    /// All of them, where an address of each has to be named.
    pub(crate) const fn all(self) -> Self {
        match self {
            Self::One(family) => Self::One(family),
            Self::Prefer(family) | Self::Both(family) => Self::Both(family),
        }
    }

    /// Whether one address of each of these is enough.
    pub(crate) fn content_with(self, had: &BTreeSet<Family>) -> bool {
        match self {
            Self::One(family) => had.contains(&family),
            Self::Prefer(_) => !had.is_empty(),
            Self::Both(_) => had.len() == 2,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(family) => write!(out, "{family}"),
            Self::Prefer(_) => out.write_str("IPv4 or IPv6"),
            Self::Both(_) => out.write_str("IPv4 and IPv6"),
        }
    }
}
