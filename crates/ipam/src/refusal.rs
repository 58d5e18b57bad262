use std::fmt;
use std::net::IpAddr;

use names::{PoolName, QuotaName, ReservationName, ServiceKey};

use crate::{Clash, Families, Family, Protocol, Taken};

/// Why a Service does not get what it asks for. It keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A field of the Service cannot be understood, or contradicts another.
    Invalid {
        /// The field's path, or the annotation's key.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// No pool gives out addresses by itself.
    NoPool,
    /// The Service names only pools that are not in use; this is the first.
    PoolNotFound(PoolName),
    /// No pool that it may use has addresses of all the families that it must have.
    FamilyNotInPool {
        /// What it must have.
        families: Families,
        /// The pools that it names; none means those that give out by themselves.
        pools: Vec<PoolName>,
    },
    /// The pools that it may use have nothing left.
    PoolExhausted {
        /// What it must have.
        families: Families,
        /// The pools that it names; none means those that give out by themselves.
        pools: Vec<PoolName>,
    },
    /// It asks for an address that another Service holds.
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        by: ServiceKey,
    },
    /// It gave this address up, and its status still shows it.
    AddressParting(IpAddr),
    /// Nobody has found out yet whether somebody else answers for this address. That takes no longer than a moment.
    AddressUnprobed {
        /// The address.
        address: IpAddr,
        /// The pool that has it.
        pool: PoolName,
    },
    /// It asks for an address that a station outside the cluster answers for.
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// Who answers, and who heard that.
        by: Taken,
    },
    /// It asks for an address that no pool that it may use contains.
    AddressNotInPool {
        /// The address.
        address: IpAddr,
        /// The pools that it names; none means all.
        pools: Vec<PoolName>,
    },
    /// It asks for an address ending in .0 or .255, which the pool avoids.
    AddressAvoided {
        /// The address.
        address: IpAddr,
        /// The pool that contains and avoids it.
        pool: PoolName,
    },
    /// It asks for two addresses that no one pool contains.
    DifferentPools(IpAddr, IpAddr),
    /// It asks for addresses of other families than its own.
    FamilyMismatch {
        /// Its own families.
        families: Families,
        /// The addresses that it asks for.
        addresses: Vec<IpAddr>,
    },
    /// It asks for two addresses of one family.
    SameFamily(Family),
    /// No pool that gives out by itself is for Services of this namespace with its labels.
    NoPoolForService(String),
    /// A pool that it names, or that has an address that it names, is not for it (`serviceAllocation`).
    PoolClosed {
        /// The pool.
        pool: PoolName,
        /// Why not.
        why: Closed,
    },
    /// Such a pool gives out nothing new (`disabled`, `drain`).
    PoolDisabled(PoolName),
    /// It asks for an address that the pool leaves out.
    AddressExcluded {
        /// The address.
        address: IpAddr,
        /// The pool whose `exclude` contains it.
        pool: PoolName,
    },
    /// It asks for an address that is kept for others.
    AddressReserved {
        /// The address.
        address: IpAddr,
        /// The reservation that is not for it.
        by: ReservationName,
    },
    /// It would hold more than it may.
    QuotaExceeded {
        /// The quota.
        quota: QuotaName,
        /// The namespace whose limit it is; `None` if the limit is for all of the quota's together.
        namespace: Option<String>,
        /// Addresses of this family.
        family: Family,
        /// How many count already.
        used: u32,
        /// How many may.
        limit: u32,
    },
    /// It asks for an address that another Service holds, which shares it on other terms.
    SharingConflict {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        with: ServiceKey,
        /// What they do not agree on.
        clash: Clash,
    },
    /// Its namespace was not seen yet, and a quota depends on its labels.
    NamespaceUnknown(String),
    /// It cannot be moved, for it names this address.
    AddressNamed(IpAddr),
    /// Its pool takes its address away, and it can have no other.
    CannotMove {
        /// The pool.
        from: PoolName,
        /// Why it can have no other.
        why: Box<Refusal>,
    },
}

/// Why a pool is not for a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// It is not for Services of this namespace.
    Namespace(String),
    /// It is not for Services with its labels.
    Labels,
}

impl Refusal {
    /// The reason as a word: in conditions, Events and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Invalid",
            Self::NoPool => "NoPool",
            Self::PoolNotFound(_) => "PoolNotFound",
            Self::FamilyNotInPool { .. } => "FamilyNotInPool",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::AddressInUse { .. } => "AddressInUse",
            Self::AddressParting(_) => "AddressParting",
            Self::AddressUnprobed { .. } => "AddressUnprobed",
            Self::AddressTaken { .. } => "AddressTaken",
            Self::AddressNotInPool { .. } => "AddressNotInPool",
            Self::AddressAvoided { .. } => "AddressAvoided",
            Self::DifferentPools(..) => "DifferentPools",
            Self::FamilyMismatch { .. } => "FamilyMismatch",
            Self::SameFamily(_) => "SameFamily",
            Self::NoPoolForService(_) => "NoPoolForService",
            Self::PoolClosed { .. } => "PoolClosed",
            Self::PoolDisabled(_) => "PoolDisabled",
            Self::AddressExcluded { .. } => "AddressExcluded",
            Self::AddressReserved { .. } => "AddressReserved",
            Self::QuotaExceeded { .. } => "QuotaExceeded",
            Self::SharingConflict { .. } => "SharingConflict",
            Self::NamespaceUnknown(_) => "NamespaceUnknown",
            Self::AddressNamed(_) => "AddressNamed",
            Self::CannotMove { .. } => "CannotMove",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { field, why } => write!(out, "{field}: {why}"),
            Self::NoPool => out.write_str("no IPAddressPool assigns addresses automatically"),
            Self::PoolNotFound(pool) => not_in_use(pool, out),
            Self::FamilyNotInPool { families, pools } => {
                write!(out, "{} {families} addresses", has_not(pools))
            }
            Self::PoolExhausted { families, pools } => {
                write!(out, "{} {families} addresses free", has_not(pools))
            }
            Self::AddressInUse { address, by } => write!(out, "{address} is held by Service {by}"),
            Self::AddressParting(address) => parting(*address, out),
            Self::AddressUnprobed { address, pool } => being_probed(*address, pool, out),
            Self::AddressTaken { address, by } => write!(out, "address {address} is {by}"),
            Self::AddressNotInPool { address, pools } => write!(out, "{} {address}", contains_not(pools)),
            Self::AddressAvoided { address, pool } => {
                write!(out, "IPAddressPool {pool} avoids {address} (avoidBuggyIPs)")
            }
            Self::DifferentPools(one, other) => {
                write!(out, "no one IPAddressPool contains both {one} and {other}")
            }
            Self::FamilyMismatch { families, addresses } => {
                let (all, named) = (families.all(), Joined(addresses));
                write!(out, "the Service is {all}, but the addresses named are {named}")
            }
            Self::SameFamily(family) => {
                write!(out, "two {family} addresses are named; one a family is possible")
            }
            Self::NoPoolForService(namespace) => write!(
                out,
                "no IPAddressPool that assigns automatically is for Services of namespace {namespace} with \
                 these labels (spec.serviceAllocation)"
            ),
            Self::PoolClosed { pool, why } => {
                write!(out, "IPAddressPool {pool} is not for {why} (spec.serviceAllocation)")
            }
            Self::PoolDisabled(pool) => {
                write!(out, "IPAddressPool {pool} gives out nothing new (spec.disabled or spec.drain)")
            }
            Self::AddressExcluded { address, pool } => {
                write!(out, "IPAddressPool {pool} leaves {address} out (spec.exclude)")
            }
            Self::AddressReserved { address, by } => {
                write!(out, "{address} is kept by AddressReservation {by}, which is not for this Service")
            }
            Self::QuotaExceeded { quota, namespace, family, used, limit } => {
                let to = Told(" to namespace ", namespace.as_ref());
                write!(out, "AddressQuota {quota} allows {limit} {family} addresses{to}, and {used} are held")
            }
            Self::SharingConflict { address, with, clash } => {
                write!(out, "{address} cannot be shared with Service {with}: {clash}")
            }
            Self::NamespaceUnknown(namespace) => {
                write!(out, "namespace {namespace} was not seen yet, and an AddressQuota asks for its labels")
            }
            Self::AddressNamed(address) => write!(out, "the Service itself asks for {address}"),
            Self::CannotMove { from, why } => {
                write!(out, "IPAddressPool {from} takes the address away, but there is no other: {why}")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Closed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(out, "Services of namespace {namespace}"),
            Self::Labels => out.write_str("Services with these labels"),
        }
    }
}

impl fmt::Display for Clash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => out.write_str("the annotations allow-shared-ip differ"),
            Self::Port(protocol, port) => write!(out, "both listen on {protocol} port {port}"),
            Self::Backend => out.write_str(
                "their traffic comes in on different nodes: give both externalTrafficPolicy Cluster, or Local \
                 with one selector, or the same annotation share-local",
            ),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// Denies something of the pools that a Service may use: those it names, or else all of a kind.
struct Denied<'a> {
    pools: &'a [PoolName],
    kind: &'static str,
    verb: &'static str,
    third_person: &'static str,
}

impl fmt::Display for Denied<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pools, kind, verb, third_person } = self;
        match pools {
            [] => write!(out, "no IPAddressPool{kind} {third_person}"),
            [pool] => write!(out, "IPAddressPool {pool} does not {verb}"),
            _ => write!(out, "none of IPAddressPools {} {third_person}", Joined(pools)),
        }
    }
}

fn has_not(pools: &[PoolName]) -> Denied<'_> {
    Denied { pools, kind: " that assigns automatically", verb: "have", third_person: "has" }
}

fn contains_not(pools: &[PoolName]) -> Denied<'_> {
    Denied { pools, kind: " in use", verb: "contain", third_person: "contains" }
}

fn not_in_use(pool: &PoolName, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, "no IPAddressPool {pool} is in use; if there is one, its condition Ready says why")
}

fn parting(address: IpAddr, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, "{address} was given up, and nothing takes its place before the status says so")
}

fn being_probed(address: IpAddr, pool: &PoolName, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, "{address} of IPAddressPool {pool} is being probed")
}

/// A value that may be left out, with what stands before it.
struct Told<'a>(&'static str, Option<&'a String>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |value| write!(out, "{}{value}", self.0))
    }
}

struct Joined<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Joined<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            write!(out, "{}{item}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
