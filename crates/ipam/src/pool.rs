use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnetwork::IpNetwork;
use range_set_blaze::{RangeSetBlaze, UIntPlusOne};

use crate::{Audience, Family, Probe};

/// How long a freed address is given to nobody while others are free: its old clients, and the neighbour
/// caches and routes towards it, forget it meanwhile.
pub(crate) const REUSE_AFTER: Duration = Duration::from_secs(600);

/// What an IPAddressPool gives out, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its addresses. Ranges come summarised into prefixes; host bits do not matter.
    pub prefixes: Vec<IpNetwork>,
    /// Who gets an address from it.
    pub assignment: Assignment,
    /// What becomes of addresses that end in .0 or .255.
    pub buggy_addresses: BuggyAddresses,
    /// Addresses that are not its own although `prefixes` contain them.
    pub exclude: Vec<IpNetwork>,
    /// For which Services it is (`serviceAllocation`).
    pub audience: Audience,
    /// Which pools are tried first: the lower number; 0 comes last.
    pub priority: u32,
    /// Whether it gives out anything.
    pub state: State,
    /// What becomes of addresses that are held when they stop being its own.
    pub on_remove: OnRemove,
    /// How long a freed address rests while others are free.
    pub reuse_after: Duration,
    /// How its addresses are probed before they are given out.
    pub probe: Probe,
    /// Where pools overlap, the elder has the addresses.
    pub created: Created,
}

/// Addresses of one family, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

/// When an object was created, as Kubernetes says it: in seconds since 1970. The elder is the lower; of two
/// of one second, the one whose name comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Created(pub i64);

/// Whether a pool gives out anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// It does.
    #[default]
    Open,
    /// It gives out nothing new and keeps what is given (`disabled`).
    Disabled,
    /// It gives out nothing new, and what is given is moved to other pools (`drain`).
    Drained,
}

/// What becomes of an address that is held when its pool no longer has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRemove {
    /// It stays as it is.
    #[default]
    Keep,
    /// Its Service is moved to another pool, the new address beside the old one for a while.
    Move,
    /// It is taken away; the Service asks again like a new one.
    Release,
}

/// Who gets an address from a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment {
    /// Any Service (`autoAssign: true`).
    Automatic,
    /// Those that name the pool or one of its addresses (`autoAssign: false`).
    OnRequest,
}

/// What becomes of IPv4 addresses that end in .0 or .255, which some old equipment drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuggyAddresses {
    /// They are given out like any other.
    GivenOut,
    /// They are never given out, not even by request (`avoidBuggyIPs: true`).
    Avoided,
}

/// How many addresses of one family a pool has. Kubernetes integers end at 2^63 - 1; an IPv6 /64 goes beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Just so many.
    Exactly(i64),
    /// More than an `i64` holds.
    Saturated,
}

impl Default for Pool {
    /// No addresses yet; for any Service, without restriction.
    fn default() -> Self {
        Self {
            prefixes: Vec::new(),
            assignment: Assignment::Automatic,
            buggy_addresses: BuggyAddresses::GivenOut,
            exclude: Vec::new(),
            audience: Audience::default(),
            priority: 0,
            state: State::Open,
            on_remove: OnRemove::Keep,
            reuse_after: REUSE_AFTER,
            probe: Probe::default(),
            created: Created(0),
        }
    }
}

impl Pool {
    /// The pool's addresses of a family as numbers, without those that it never gives out.
    pub(crate) fn space(&self, family: Family) -> RangeSetBlaze<u128> {
        let prefixes = self.prefixes.iter().filter(|prefix| Family::of(prefix.ip()) == family);
        let mut space: RangeSetBlaze<u128> = prefixes.map(|prefix| bounds(*prefix)).collect();
        let excluded = self.exclude.iter().filter(|prefix| Family::of(prefix.ip()) == family);
        space = space - excluded.map(|prefix| bounds(*prefix)).collect::<RangeSetBlaze<u128>>();
        if family == Family::V4 && self.buggy_addresses == BuggyAddresses::Avoided {
            space = space - buggy(&self.prefixes);
        }
        space
    }

    /// Whether one of its prefixes contains the address, given out or not.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether it is for certain Services only.
    pub(crate) fn is_restricted(&self) -> bool {
        self.audience != Audience::default()
    }

    pub(crate) fn is_automatic(&self) -> bool {
        self.assignment == Assignment::Automatic
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The lower is tried first. Pools for certain Services come before those for all.
    pub(crate) fn rank(&self) -> (bool, u32) {
        (!self.is_restricted(), self.priority.checked_sub(1).unwrap_or(u32::MAX))
    }
}

impl Count {
    /// The number as a status field holds it: `i64::MAX` when it is saturated.
    pub const fn as_i64(self) -> i64 {
        match self {
            Self::Exactly(count) => count,
            Self::Saturated => i64::MAX,
        }
    }

    pub(crate) fn of(space: &RangeSetBlaze<u128>) -> Self {
        match space.len() {
            UIntPlusOne::UInt(len) => i64::try_from(len).map_or(Self::Saturated, Self::Exactly),
            UIntPlusOne::MaxPlusOne => Self::Saturated,
        }
    }

    pub(crate) fn of_len(len: usize) -> Self {
        i64::try_from(len).map_or(Self::Saturated, Self::Exactly)
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        let sum = match (self, other) {
            (Self::Exactly(one), Self::Exactly(other)) => one.checked_add(other),
            (Self::Saturated, _) | (_, Self::Saturated) => None,
        };
        sum.map_or(Self::Saturated, Self::Exactly)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => write!(out, "{count}"),
            Self::Saturated => out.write_str("more than 2^63 - 1"),
        }
    }
}

impl Span {
    pub(crate) fn all(family: Family, ranges: &RangeSetBlaze<u128>) -> impl Iterator<Item = Self> + '_ {
        let of = move |number: &u128| address(family, *number);
        ranges.ranges().map(move |range| Self { first: of(range.start()), last: of(range.end()) })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(out, "{}", self.first)
        } else {
            write!(out, "{}-{}", self.first, self.last)
        }
    }
}

/// An address as a number, to be kept in range sets of its family.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of a family with that number.
pub(crate) fn address(family: Family, number: u128) -> IpAddr {
    match family {
        // A number beyond 32 bits cannot come out of an IPv4 set.
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// First and last address of a prefix, as numbers.
pub(crate) fn bounds(prefix: IpNetwork) -> RangeInclusive<u128> {
    number(prefix.network())..=number(prefix.broadcast())
}

/// The addresses of these prefixes that end in .0 or .255.
fn buggy(prefixes: &[IpNetwork]) -> RangeSetBlaze<u128> {
    let spaces = prefixes.iter().filter(|prefix| prefix.is_ipv4()).map(|prefix| bounds(*prefix));
    let blocks = spaces.flat_map(|space| (space.start() >> 8)..=(space.end() >> 8));
    blocks.flat_map(|block| [block << 8, (block << 8) | 0xff]).collect()
}
